"""Requests for builds -> CoprBuild specs (contract 4.2, 4.3). Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import TypeAdapter, ValidationError

from copr_operator.api.build import DEFAULT_TIMEOUT, MAX_TIMEOUT, BuildSpec
from copr_operator.api.common import ChrootPattern
from copr_operator.api.project import ProjectSpec
from copr_operator.core import urls
from copr_operator.core.selection import select
from copr_operator.frontend.errors import CoprError, Problems, build_form_error
from copr_operator.frontend.fields import Fields

MAX_URLS = 100
BOOTSTRAP = ("unchanged", "default", "on", "off", "image")
ISOLATION = ("unchanged", "default", "nspawn", "simple")
_PATTERN: TypeAdapter[str] = TypeAdapter(ChrootPattern)


@dataclass(frozen=True)
class BuildOptions:
    """Options that all ways to create a build share."""

    spec: Mapping[str, Any]
    """Members of a CoprBuild's spec; those that were not given are absent."""
    after_build_id: int | None = None
    with_build_id: int | None = None
    package: tuple[str, str] | None = None
    """Name and uid of the CoprPackage that the build is made from: it belongs to it."""


def project_name(values: Mapping[str, Any]) -> tuple[str, str]:
    """Owner and name of the project that a request is about. Raises CoprError 400 (Copr: 500)."""
    fields = Fields(values)
    owner, name = fields.text("ownername", required=True), fields.text("projectname", required=True)
    fields.check()
    return owner or "", name or ""


def options(fields: Fields, project: ProjectSpec) -> BuildOptions:
    """What is wrong is collected in `fields`."""
    fields.rename(is_background="background")
    spec: dict[str, Any] = {
        "owner": project.owner,
        "project": project.name,
        "chroots": _patterns(fields, "chroots", project) or None,
        "excludeChroots": _patterns(fields, "exclude_chroots", project) or None,
        "timeout": _timeout(fields),
        "enableNet": fields.flag("enable_net"),
        "background": fields.flag("background"),
    }
    dirname = fields.text("project_dirname")
    if dirname is not None and dirname != project.name:
        _check_dirname(dirname, project.name)
        spec["projectDirname"] = dirname
    _check_selection(fields, spec, project)
    # Builds here need no mock: these are checked as Copr does, and change nothing.
    fields.choice("bootstrap", BOOTSTRAP)
    fields.choice("isolation", ISOLATION)
    after, beside = fields.number("after_build_id", 1, 2**53), fields.number("with_build_id", 1, 2**53)
    if after is not None and beside is not None:
        for name in ("after_build_id", "with_build_id"):
            fields.problem(name, "Only one batch option can be specified")
    return BuildOptions({name: value for name, value in spec.items() if value is not None}, after, beside)


def check_packit(fields: Fields, project: ProjectSpec) -> None:
    """Raises CoprError 403 for a forge project that the owner hasn't allowed (Copr's builds_logic.py)."""
    forge = fields.text("packit_forge_project", longest=512)
    allowed = project.api_settings.packit_forge_projects_allowed
    if forge is not None and not any(fnmatchcase(forge, pattern) for pattern in allowed):
        raise CoprError(403, f"Forge project {forge} can't build in this Copr via Packit.")


def url_sources(fields: Fields) -> list[dict[str, Any]]:
    """One source for each URL of `pkgs`."""
    found = fields.words("pkgs", most=MAX_URLS) or []
    if not found:
        fields.problem("pkgs", "URLs to packages are required")
    for url in found:
        if not re.match(r"https?://[^/]", url) or urls.problem(url):
            fields.problem("pkgs", f"URLs must start with http(s):// and have a host: {url[:200]}")
        elif not url.partition("?")[0].partition("#")[0].endswith((".src.rpm", ".spec")):
            fields.problem("pkgs", f"URLs must end with .src.rpm or .spec (.nosrc.rpm can't be built): {url[:200]}")
    return [{"type": "link", "link": {"url": url}} for url in found]


def upload_problem(filename: str | None) -> str | None:
    """Why a file can't be a source; None for one that can."""
    if filename is None:
        return "This field is required."
    if not filename.endswith((".src.rpm", ".spec")):
        return "You can upload only .src.rpm and .spec files."
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+~^-]{0,239}", filename):
        return "The file's name may hold letters, digits and . _ + ~ ^ - only."
    return None


def upload_source(ref: str, sha256: str) -> dict[str, Any]:
    return {"type": "upload", "upload": {"ref": ref, "sha256": sha256}}


def checked(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec, as the API server will take it. Raises CoprError 400 that names the fields which it would refuse."""
    try:
        BuildSpec.model_validate(spec)
    except ValidationError as error:
        raise build_form_error(_problems(error)) from None
    return dict(spec)


def _problems(error: ValidationError) -> Problems:
    problems: dict[str, list[str]] = {}
    for entry in error.errors()[:20]:
        path = [str(part) for part in entry["loc"]]
        problems.setdefault(path[-1] if len(path) > 1 and not path[-1].isdigit() else path[0], []).append(entry["msg"])
    return problems


def _timeout(fields: Fields) -> int | None:
    """0 is accepted by Copr, and would end every build at once: here it is the default."""
    return fields.number("timeout", 0, MAX_TIMEOUT) or (DEFAULT_TIMEOUT if "timeout" in fields else None)


def _patterns(fields: Fields, name: str, project: ProjectSpec) -> list[str]:
    """Names and shell patterns, each of which must match a chroot of the project."""
    enabled = [chroot.name for chroot in project.chroots]
    patterns = list(dict.fromkeys(fields.words(name, most=64) or ()))
    for pattern in patterns:
        try:
            known = any(fnmatchcase(chroot, _PATTERN.validate_python(pattern)) for chroot in enabled)
        except ValidationError:
            known = False
        if not known:
            fields.problem(name, f"'{pattern[:100]}' is not a valid choice for this field.")
    return patterns


def _check_selection(fields: Fields, spec: Mapping[str, Any], project: ProjectSpec) -> None:
    """Copr builds for all chroots when nothing is left; nobody means that."""
    if not project.chroots:
        name = f"{project.owner}/{project.name}"
        raise CoprError(400, f"Can't create build - project {name} has no active chroots")
    chosen = select(spec["chroots"], spec["excludeChroots"], [chroot.name for chroot in project.chroots])
    if chosen.reason == "NoChroots":
        fields.problem("exclude_chroots", "No chroot is left to build in.")


def _check_dirname(dirname: str, project: str) -> None:
    """`PROJECT:custom:SUFFIX` or `PROJECT:pr:[WORDS-]N` (Copr's CoprDirsLogic). Raises CoprError 400."""
    if not dirname.startswith(f"{project}:"):
        raise CoprError(400, f"Copr dirname must start with '{project}:' prefix")
    kind, _, suffix = dirname.removeprefix(f"{project}:").partition(":")
    number = re.fullmatch(r"(?:[A-Za-z0-9]+-)*[0-9]+", suffix)
    word = re.fullmatch(r"[A-Za-z0-9]+(?:[-:][A-Za-z0-9]+)*", suffix)
    if len(dirname) > 200 or not ((kind == "custom" and word) or (kind == "pr" and number)):
        raise CoprError(
            400,
            f"Please use directory format {project}:custom:<SUFFIX_OF_CHOICE> or {project}:pr:<ID> (for automatically "
            "removed directories)",
        )
