"""`plan_package(observed) -> PackagePlan`: builds that follow a CoprPackage's source, and those it keeps. Pure.

A source is built once. Which sources have been built is latched in the status, after the CoprBuild is there; its name
follows from the package and the source, so that a controller that dies in between finds it instead of making another.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from copr_operator.api.common import TERMINAL, ConditionStatus
from copr_operator.api.package import DefinitionStatus, LastBuild
from copr_operator.api.sources import SourceSpec
from copr_operator.core import names
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView, PackageView, ProjectView
from copr_operator.core.reasons import STALLED_PACKAGES
from copr_operator.core.status import merge_conditions


@dataclass(frozen=True)
class CreateBuild:
    """Create the CoprBuild of the package's source."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class DeleteBuild:
    """Delete a CoprBuild that is one too many."""

    name: str
    uid: str


PackageAction = CreateBuild | DeleteBuild


@dataclass(frozen=True)
class ObservedPackage:
    """All that a decision about one package may depend on."""

    package: PackageView
    now: datetime
    rivals: tuple[PackageView, ...] = ()
    """Other CoprPackages of the same project and name, in the same namespace."""
    project: ProjectView | None = None
    wanted: BuildView | None = None
    """The CoprBuild that has the name which the build of the source gets (`wanted_build`)."""
    builds: tuple[BuildView, ...] = ()
    """Builds of the package that have not ended or have just done so, and the one that the status calls the last."""
    history: tuple[BuildView, ...] | None = None
    """All builds of the package; None when they need not be looked at: nothing has ended since they were counted last,
    and the status tells of the last one."""
    refusal: str = ""
    """Why the API server would not create the build, as long as that counts."""


@dataclass(frozen=True)
class PackagePlan:
    actions: tuple[PackageAction, ...] = ()
    status: DefinitionStatus | None = None
    requeue_at: datetime | None = None
    counted: bool = False
    """There is no build too many: `history` need not be looked at again before a build ends."""


def source_digest(source: SourceSpec) -> str:
    """SHA-256 of a source, the same whichever of its defaults were written out."""
    text = json.dumps(source.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def wanted_build(package: PackageView) -> str | None:
    """Name of the CoprBuild that the package's source still has to get; None when it has it, or gets none."""
    spec, status = package.spec, package.status
    if not spec.build_on_change or spec.source is None:
        return None
    digest = source_digest(spec.source)
    if digest == status.source_digest:
        return None
    return names.package_build_name(spec.name, package.uid, status.sources_built + 1, digest)


def is_of(build: BuildView, package: PackageView) -> bool:
    """Whether a build is one of the package: of its project, by its name or made from it however its SRPM is called."""
    mine = (package.namespace, package.spec.owner, package.spec.project)
    if (build.namespace, build.spec.owner, build.spec.project) != mine:
        return False
    return build.package == package.spec.name or build.package_uid == package.uid


def plan_package(observed: ObservedPackage, config: OperatorConfig) -> PackagePlan:
    """Decides what to do about one package."""
    package = observed.package
    rival = min((other.name for other in observed.rivals), default=None)
    if rival is not None and rival < package.name:
        text = f"CoprPackage {rival} defines {package.spec.name} already"
        return PackagePlan(status=_status(observed, "NameTaken", text))
    name = wanted_build(package)
    decision = PackagePlan(status=_status(observed)) if name is None else _follow(observed, name, config)
    if name is not None and decision.requeue_at is None:
        return decision
    # Also while a build can't be made: it may be these that a quota counts.
    surplus = tuple(DeleteBuild(build.name, build.uid) for build in _surplus(observed))
    return PackagePlan(actions=surplus) if surplus else replace(decision, counted=True)


def _follow(observed: ObservedPackage, name: str, config: OperatorConfig) -> PackagePlan:
    """The build first, then the status that says so."""
    package, made = observed.package, observed.wanted
    again = observed.now + timedelta(seconds=config.deadlines.refusal_retry)
    if observed.refusal:
        return PackagePlan(status=_status(observed, "BuildRefused", observed.refusal), requeue_at=again)
    if made is None:
        return PackagePlan(actions=(CreateBuild(_manifest(package, name)),))
    if made.package_uid != package.uid:
        text = f"CoprBuild {name} exists and is not of this package"
        return PackagePlan(status=_status(observed, "NameCollision", text), requeue_at=again)
    assert package.spec.source is not None  # noqa: S101 (see wanted_build)
    latched = {"sources_built": package.status.sources_built + 1, "source_digest": source_digest(package.spec.source)}
    return PackagePlan(status=_status(observed, made=made).model_copy(update=latched))


def _manifest(package: PackageView, name: str) -> dict[str, Any]:
    """It belongs to the package: as in Copr, its builds go with it."""
    spec = package.spec
    assert spec.source is not None  # noqa: S101 (see wanted_build)
    wanted: dict[str, Any] = {
        "owner": spec.owner,
        "project": spec.project,
        "packageName": spec.name,
        "source": spec.source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True),
        # By patterns, and not the chroots that are left: the project may be there only later.
        "excludeChroots": list(dict.fromkeys(spec.chroot_denylist)),
        "timeout": spec.timeout,
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": "CoprBuild",
        "metadata": {"name": name, "namespace": package.namespace, "ownerReferences": [names.owned_by_package(
            package.name, package.uid)]},
        "spec": {key: value for key, value in wanted.items() if value},
    }  # fmt: skip


# -- how many builds are kept ------------------------------------------------------------------------------------------


def is_limited(package: PackageView, project: ProjectView | None) -> bool:
    """Whether the package's builds are counted. Those of a persistent project are never deleted, as in Copr."""
    return bool(package.spec.max_builds) and project is not None and not project.spec.api_settings.persistent


def _surplus(observed: ObservedPackage) -> list[BuildView]:
    """Ended builds beyond the newest maxBuilds of each directory (Copr's BuildsLogic.clean_old_builds).

    Unlike in Copr the newest that succeeded stays too: failures must not take away the packages that people install.
    """
    most = observed.package.spec.max_builds
    if not most or not observed.history or not is_limited(observed.package, observed.project):
        return []
    directories: dict[str, list[BuildView]] = {}
    for build in sorted(observed.history, key=_age):
        if build.package == observed.package.spec.name and not build.deleting:
            directories.setdefault(build.dirname, []).append(build)
    return [build for builds in directories.values() for build in _too_many(builds, most)]


def _too_many(builds: Sequence[BuildView], most: int) -> Iterable[BuildView]:
    """`builds`: newest first."""
    good = next((build.uid for build in builds if build.status.state == "succeeded"), None)
    return (build for build in builds[most:] if build.status.state in TERMINAL and build.uid != good)


def _age(build: BuildView) -> tuple[int, float]:
    """The newest first; one without an id yet is newer than all others."""
    return -(build.status.id or 2**62), -build.created.timestamp()


# -- status ------------------------------------------------------------------------------------------------------------


def _status(
    observed: ObservedPackage, reason: str = "", message: str = "", made: BuildView | None = None
) -> DefinitionStatus:
    """With `reason`: why nothing goes on; without: what the newest build says. `made`: the one that was just made."""
    package = observed.package
    # What is held of a build is newer than a list that was read at the same time.
    builds = {build.name: build for build in (*(observed.history or ()), *observed.builds)}
    if made is not None:
        builds[made.name] = made
    last = _last(package.status.last_build, list(builds.values()))
    if not reason:
        reason, message = _verdict(package, last)
    wanted = _conditions(reason, message)
    conditions = merge_conditions(package.status.conditions, wanted, package.generation, observed.now)
    update = {"observed_generation": package.generation, "conditions": conditions, "last_build": last}
    return package.status.model_copy(update=update)


def _conditions(reason: str, message: str) -> list[tuple[str, ConditionStatus, str, str]]:
    true, false = ConditionStatus.TRUE, ConditionStatus.FALSE
    if reason in ("BuildSucceeded", "Defined"):
        return [("Ready", true, reason, message)]
    kind = "Stalled" if reason in STALLED_PACKAGES else "Reconciling"
    return [("Ready", false, reason, message), (kind, true, reason, message)]


def announced(package: PackageView, build: BuildView, now: datetime) -> DefinitionStatus | None:
    """The status that names a build which is about to end; None when it does already, or names a newer one.

    It is written before that end: ended builds are not in the store, and a controller that died in between would leave
    nobody who knows of this one.
    """
    held, status = package.status.last_build, package.status
    if held is not None and (held.id or 0) > (build.status.id or 2**62):
        return None
    if held is not None and held.name == build.name and (held.state not in TERMINAL or held.id == build.status.id):
        return None
    last = LastBuild(name=build.name, id=build.status.id, state="pending")
    update: dict[str, object] = {"last_build": last}
    if not status.conditions or status.conditions[0].reason in _VERDICTS:
        reason, message = _verdict(package, last)
        wanted = _conditions(reason, message)
        update["conditions"] = merge_conditions(status.conditions, wanted, status.observed_generation, now)
    return status.model_copy(update=update)


def _last(held: LastBuild | None, builds: Sequence[BuildView]) -> LastBuild | None:
    """Written when a build begins, gets its number and ends: what it does in between, the build itself says."""
    newest = min(builds, key=_age, default=None)
    if held is not None and held.state not in TERMINAL and held.name not in {build.name for build in builds}:
        held = None  # somebody has deleted it
    if newest is None or (held is not None and (held.id or 0) > (newest.status.id or 2**62)):
        return held
    state = newest.status.state
    ended = state if state is not None and state in TERMINAL else "pending"
    return LastBuild(name=newest.name, id=newest.status.id, state=ended)


_VERDICTS = frozenset({"Defined", "Building", "BuildSucceeded", "BuildFailed", "BuildCanceled"})
"""Reasons that say how the last build does."""


def _verdict(package: PackageView, last: LastBuild | None) -> tuple[str, str]:
    if package.spec.build_on_change and package.spec.source is None:
        return "SourceMissing", "buildOnChange is set, and there is no source to build"
    if last is None:
        return "Defined", "no build has been made of it"
    what = f"build {last.id} ({last.name})" if last.id is not None else f"build {last.name}"
    if last.state not in TERMINAL:
        return "Building", f"{what} has not ended"
    verdicts = {"failed": "BuildFailed", "canceled": "BuildCanceled"}
    return verdicts.get(last.state, "BuildSucceeded"), f"{what}: {last.state}"
