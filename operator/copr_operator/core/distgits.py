"""Dist-gits as an administrator names them, to the controller and to the frontend."""

import json

from copr_operator.core import urls
from copr_operator.core.config import DIST_GITS, DistGit

_DIST_GIT_KEYS = {"name": "name", "cloneURL": "clone_url", "lookasideURL": "lookaside_url", "namespace": "namespace"}


def parse_dist_gits(text: str) -> tuple[DistGit, ...]:
    """The built-in dist-gits and those of a JSON list; one of the same name replaces a built-in one.

    `[{"name": "own", "cloneURL": "https://git.example/{namespace}/{package}", "lookasideURL":
    "https://files.example/{package}/{filename}/{hash}", "namespace": "rpms"}]`. Raises ValueError with what is wrong.
    """
    found = {instance.name: instance for instance in DIST_GITS}
    entries = json.loads(text or "[]")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("dist-gits must be a JSON list of objects")
    for entry in entries:
        if unknown := set(entry) - set(_DIST_GIT_KEYS):
            raise ValueError(f"a dist-git has no {', '.join(sorted(unknown))}; it has {', '.join(_DIST_GIT_KEYS)}")
        if missing := {"name", "cloneURL", "lookasideURL"} - set(entry):
            raise ValueError(f"a dist-git lacks {', '.join(sorted(missing))}")
        if not all(isinstance(value, str) for value in entry.values()):
            raise ValueError("all values of a dist-git are strings")
        if "{package}" not in entry["cloneURL"] or "{filename}" not in entry["lookasideURL"]:
            raise ValueError("cloneURL must hold {package}, and lookasideURL {filename}")
        for key in ("cloneURL", "lookasideURL"):
            if problem := urls.problem(entry[key]):
                raise ValueError(f"{key} is no usable URL: {problem}")
        instance = DistGit(**{_DIST_GIT_KEYS[key]: value for key, value in entry.items()})
        found[instance.name] = instance
    return tuple(found.values())
