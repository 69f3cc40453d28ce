"""Settings of the controller process, from the command line or the environment (see cli.py)."""

import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from copr_operator.core.config import DIST_GITS, DistGit, OperatorConfig


def default_identity() -> str:
    """Unique for each start, so that a restarted process never takes its predecessor's Lease for its own."""
    return f"{socket.gethostname()}_{os.urandom(4).hex()}"


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
        instance = DistGit(**{_DIST_GIT_KEYS[key]: value for key, value in entry.items()})
        found[instance.name] = instance
    return tuple(found.values())


@dataclass(frozen=True)
class ControllerSettings:
    operator: OperatorConfig
    namespaces: tuple[str, ...] = ()
    """Namespaces whose builds are looked after; empty: all of them."""
    kubeconfig: str | None = None
    backend_control_url: str = ""
    """How the controller reaches the backend; empty: as build pods do."""
    backend_token_file: Path = Path("/var/run/secrets/copr-backend/token")
    backend_ca_file: Path | None = None
    workers: int = 16
    resync_seconds: float = 600.0
    http_port: int | None = 8080
    """Port of /healthz, /readyz and /metrics; None: none."""
    lease_duration: float = 15.0
    lease_renew: float = 5.0
    identity: str = field(default_factory=default_identity)

    @property
    def watched(self) -> tuple[str, ...]:
        """Namespaces to watch: those with builds, and the installation's own; empty: all."""
        if not self.namespaces:
            return ()
        return tuple(dict.fromkeys((*self.namespaces, self.operator.namespace)))
