"""Requests for builds from repositories, indexes and scripts -> sources of CoprBuilds (contract 4.3). Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from copr_operator.api.common import ApiModel
from copr_operator.api.sources import CustomSpec, DistGitSpec, PypiSpec, RubyGemsSpec, ScmSpec
from copr_operator.core import urls
from copr_operator.frontend.fields import REQUIRED, Fields

Source = dict[str, Any]

METHODS = ("rpkg", "tito", "tito_test", "make_srpm")
GENERATORS = ("pyp2spec", "pyp2rpm")
TEMPLATES = ("fedora", "epel7", "mageia", "pld")
MAX_SCRIPT = 4096
LATEST = "fedora-latest-"


def scm(fields: Fields) -> list[Source]:
    """`scm_type` that isn't given is found out from the URL when the build starts."""
    fields.rename(source_build_method="srpm_build_method")
    url = fields.text("clone_url", required=True, longest=2048)
    if url is not None and (not re.match(r"[a-z+]+://[^/]", url) or urls.problem(url)):
        fields.problem("clone_url", "Invalid URL.")
    spec = fields.matching("spec", r".+\.spec", "RPM spec file must end with .spec")
    member = {
        "type": fields.choice("scm_type", ("git", "svn")),
        "cloneURL": url,
        "committish": fields.text("committish"),
        "subdirectory": _inside(fields, "subdirectory", fields.text("subdirectory")),
        "spec": _inside(fields, "spec", spec),
        "method": fields.choice("srpm_build_method", METHODS),
    }
    return _source(fields, "scm", ScmSpec, member, {"type": "scm_type", "method": "srpm_build_method"})


def distgit(fields: Fields, instances: Sequence[str]) -> list[Source]:
    """`instances`: the dist-gits of this installation, the default first."""
    package = fields.matching(
        "package_name", r"[-+_.a-zA-Z0-9]+", "Please enter a valid package name in ^[-+_.a-zA-Z0-9]+$", required=True
    )
    member = {
        "package": package,
        "instance": fields.choice("distgit", instances) or instances[0],
        "namespace": fields.text("namespace"),
        "committish": fields.text("committish"),
    }
    return _source(fields, "distgit", DistGitSpec, member, {"package": "package_name", "instance": "distgit"})


def pypi(fields: Fields) -> list[Source]:
    member = {
        "name": fields.text("pypi_package_name", required=True, longest=128),
        "version": fields.text("pypi_package_version"),
        "specGenerator": fields.choice("spec_generator", GENERATORS),
        "specTemplate": fields.choice("spec_template", TEMPLATES),
        "pythonVersions": _python_versions(fields),
    }
    names = {"name": "pypi_package_name", "version": "pypi_package_version"}
    return _source(fields, "pypi", PypiSpec, member, names)


def rubygems(fields: Fields) -> list[Source]:
    member = {"name": fields.text("gem_name", required=True, longest=128)}
    return _source(fields, "rubygems", RubyGemsSpec, member, {"name": "gem_name"})


def custom(fields: Fields, active: Collection[str]) -> list[Source]:
    """`active`: the chroots of this installation."""
    script = fields.text("script", longest=2 * MAX_SCRIPT, strip=False)
    if script is None or not script.strip():
        fields.problem("script", REQUIRED)
        script = None
    else:
        script = script.replace("\r\n", "\n").rstrip("\n") + "\n"
        if len(script) > MAX_SCRIPT:
            fields.problem("script", "Maximum script size is 4kB")
    member = {
        "script": script,
        "chroot": _chroot(fields, active),
        "builddeps": fields.words("builddeps", most=64) or None,
        "resultdir": _inside(fields, "resultdir", fields.text("resultdir")),
        "repos": fields.words("repos", most=32) or None,
    }
    return _source(fields, "custom", CustomSpec, member, {})


def latest_fedora(active: Collection[str], arch: str) -> str | None:
    """The newest numbered Fedora chroot of an architecture."""
    found = [(int(match[1]), name) for name in active if (match := re.fullmatch(rf"fedora-([0-9]+)-{arch}", name))]
    return max(found)[1] if found else None


def _chroot(fields: Fields, active: Collection[str]) -> str | None:
    """`fedora-latest-ARCH` becomes what that is now, as in Copr. Not given: the project's or installation's own."""
    name = fields.text("chroot")
    if name is None:
        return None
    if name.startswith(LATEST):
        latest = latest_fedora(active, re.escape(name.removeprefix(LATEST)))
        if latest is not None:
            return latest
    elif name in active:
        return name
    fields.problem("chroot", f"'{name[:100]}' is not a valid choice for this field.")
    return None


def _python_versions(fields: Fields) -> list[str] | None:
    """`3`, `"3"`, `3.9`, `"3.9"`, or a list of them."""
    words = fields.words("python_versions", most=8)
    for word in words or ():
        if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", word):
            fields.problem("python_versions", f"'{word[:100]}' is not a version of Python.")
    return words or None


def _inside(fields: Fields, name: str, path: str | None) -> str | None:
    """A path that leaves its root is refused here already."""
    if path is not None and ".." in path.split("/"):
        fields.problem(name, "The path must not leave its root: no '..' in it.")
    return path


def _source(
    fields: Fields, kind: str, model: type[ApiModel], member: Mapping[str, Any], api_names: Mapping[str, str]
) -> list[Source]:
    """The one source of a request, checked. `api_names`: the API's names of members that have others here."""
    given = {name: value for name, value in member.items() if value is not None}
    try:
        model.model_validate(given)
    except ValidationError as error:
        for entry in error.errors()[:20]:
            name = str(entry["loc"][0])
            # What is missing has been named before.
            if entry["type"] != "missing":
                fields.problem(api_names.get(name, _snake(name)), entry["msg"])
    return [{"type": kind, kind: given}]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])[A-Z]+", lambda match: f"_{match[0].lower()}", name)
