"""Packages of a project: those that somebody defined (CoprPackages), and those that its builds brought.

As in Copr, the first build of a package makes it known, with that build's source; here no object is made for it.
"""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from copr_operator.api.package import PackageSpec
from copr_operator.api.sources import SourceSpec
from copr_operator.core.config import SourceSettings
from copr_operator.core.observed import ProjectView
from copr_operator.core.selection import select
from copr_operator.core.sources import api_source
from copr_operator.frontend import build_forms
from copr_operator.frontend.build_forms import BuildOptions
from copr_operator.frontend.errors import form_error
from copr_operator.frontend.fields import Fields
from copr_operator.frontend.present import Json
from copr_operator.frontend.present_project import number
from copr_operator.frontend.records import BuildRecord, PackageRecord

_FORM_NAMES: Mapping[str, Mapping[str, str]] = {
    "scm": {
        "type": "scm_type", "cloneURL": "clone_url", "committish": "committish", "subdirectory": "subdirectory",
        "spec": "spec", "method": "srpm_build_method",
    },
    "distgit": {"instance": "distgit", "namespace": "namespace", "committish": "committish"},
    "pypi": {
        "name": "pypi_package_name", "version": "pypi_package_version", "specGenerator": "spec_generator",
        "specTemplate": "spec_template", "pythonVersions": "python_versions",
    },
    "rubygems": {"name": "gem_name"},
    "custom": {name: name for name in ("script", "chroot", "builddeps", "resultdir", "repos")},
}  # fmt: skip
"""Members of sources, and the fields that give them. A dist-git's package has none: requests always name the package
itself, and it may be called otherwise there."""


@dataclass
class Package:
    """One package, and what there is of it."""

    name: str
    defined: PackageRecord | None = None
    builds: list[BuildRecord] = field(default_factory=list)
    """Oldest first."""

    @property
    def spec(self) -> PackageSpec | None:
        return self.defined.spec if self.defined is not None else None

    @property
    def source(self) -> SourceSpec | None:
        """What was defined, else what the first build had that is no rerun."""
        if self.defined is not None:
            return self.defined.spec.source
        first = next((source for build in self.builds if (source := build.view.spec.source) is not None), None)
        return _lasting(first) if first is not None else None

    def latest(self, dirname: str, *, succeeded: bool = False) -> BuildRecord | None:
        """The newest build in a directory."""
        for record in reversed(self.builds):
            if record.dirname == dirname and (not succeeded or record.state == "succeeded"):
                return record
        return None


def _lasting(source: SourceSpec) -> SourceSpec:
    """Without what was brought for one build only."""
    if source.custom is None or source.custom.hook_payload is None:
        return source
    return source.model_copy(update={"custom": source.custom.model_copy(update={"hook_payload": None})})


def packages_of(defined: Iterable[PackageRecord], builds: Sequence[BuildRecord]) -> dict[str, Package]:
    """By name. `builds`: of the project, oldest first."""
    found = {record.spec.name: Package(record.spec.name, record) for record in defined}
    for build in builds:
        if build.package is not None:
            found.setdefault(build.package, Package(build.package)).builds.append(build)
    return found


def package_json(
    package: Package,
    project: ProjectView,
    sources: SourceSettings,
    *,
    latest: bool = False,
    succeeded: bool = False,
) -> Json:
    """3.9. `latest`, `succeeded`: with the newest build, and with the newest that succeeded."""
    spec, source, main = project.spec, package.source, project.spec.name
    return {
        "id": number(f"{spec.owner}/{spec.name}/{package.name}"),
        "name": package.name,
        "projectname": spec.name,
        "ownername": spec.owner,
        "source_type": source.type if source is not None else "unset",
        "source_dict": _source_dict(source, sources) if source is not None else {},
        "auto_rebuild": package.spec.auto_rebuild if package.spec is not None else False,
        "builds": {
            "latest": _build(package.latest(main) if latest else None),
            "latest_succeeded": _build(package.latest(main, succeeded=True) if succeeded else None),
        },
    }


def _source_dict(source: SourceSpec, sources: SourceSettings) -> Json:
    """Packages call the method of an SCM source otherwise than builds do (3.3)."""
    _, shown = api_source(source, sources)
    if "srpm_build_method" in shown:
        shown["source_build_method"] = shown.pop("srpm_build_method")
    return shown


def _build(record: BuildRecord | None) -> Any:
    return None if record is None else json.loads(record.json)


def edited_source(old: SourceSpec | None, new: Mapping[str, Any], given: Container[str]) -> Mapping[str, Any]:
    """`new`, as a form read it, with what the request did not give from the old source, if that is of the same type.

    Taken as it is: what a form can't say, or would say otherwise, stays too. Credentials are for one URL only.
    """
    kind = new["type"]
    if old is None or old.type != kind:
        return new
    held = old.model_dump(mode="json", by_alias=True, exclude_none=True)[kind]
    named = {member for member, name in _FORM_NAMES[kind].items() if name in given}
    member = {name: value for name, value in held.items() if name not in named}
    member |= {name: value for name, value in new[kind].items() if name in named}
    if member.get("cloneURL") != held.get("cloneURL"):
        member.pop("credentialsSecret", None)
    return {"type": kind, kind: member}


def allowed_chroots(enabled: Sequence[str], denylist: Sequence[str]) -> list[str]:
    """The project's chroots without those that the package is not built in. A list that leaves none is a mistake, and
    counts for nothing, as in Copr."""
    allowed = [name for name in enabled if not any(fnmatchcase(name, pattern) for pattern in denylist)]
    return allowed or list(enabled)


def build_options(project: ProjectView, package: Package, values: Mapping[str, Any]) -> BuildOptions:
    """With the chroots named, so that the answer shows them already, and the package's own timeout."""
    fields = Fields(values, form_error)
    options = build_forms.options(fields, project.spec)
    fields.check()
    build_forms.check_packit(fields, project.spec)
    spec = dict(options.spec)
    enabled = [chroot.name for chroot in project.spec.chroots]
    denylist = package.spec.chroot_denylist if package.spec is not None else []
    allowed = enabled if spec.get("chroots") else allowed_chroots(enabled, denylist)
    chosen = select(spec.get("chroots"), spec.pop("excludeChroots", None), allowed)
    if chosen.reason:
        raise form_error({"chroots": [chosen.message or "No chroot is left to build in."]})
    spec["chroots"], spec["packageName"] = list(chosen.chroots), package.name
    if package.spec is not None and package.spec.timeout is not None:
        spec.setdefault("timeout", package.spec.timeout)
    defined = (package.defined.name, package.defined.uid) if package.defined is not None else None
    return BuildOptions(spec, options.after_build_id, options.with_build_id, defined)
