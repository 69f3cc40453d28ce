"""What must hold of CoprPackages and of the builds that are made or deleted for them, on every single write."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from copr_operator.api.common import TERMINAL
from copr_operator.api.package import DefinitionStatus, LastBuild
from copr_operator.core import names, reasons
from copr_operator.core.observed import BuildView, PackageView
from copr_operator.core.package import source_digest
from copr_operator.core.views import build_view, package_view
from tests.model.apiserver import ApiServer, Change, Obj

VERDICTS: dict[str, tuple[str | None, ...]] = {
    "BuildSucceeded": ("succeeded", "skipped"), "BuildFailed": ("failed",), "BuildCanceled": ("canceled",),
    "Building": ("pending",), "Defined": (None,),
}  # fmt: skip
"""What the last build is when the package says so; of none: None."""


class World(Protocol):
    """What is known of the whole."""

    split: bool


@dataclass
class PackageHistory:
    """Of one CoprPackage, by uid."""

    became: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often its source became the one with this digest."""
    made: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By a source's digest: names of the builds that controllers have made of it."""
    fewest: int | None = None
    """The smallest number of builds that was to be kept of it."""
    followed: bool = False
    """Whether it ever had buildOnChange."""
    versions: int = 0
    writes: int = 0


class PackageInvariants:
    """`check` is called with every change; it remembers every build and every package there ever was."""

    def __init__(self, api: ApiServer, world: World) -> None:
        self._api = api
        self._world = world
        self.histories: defaultdict[str, PackageHistory] = defaultdict(PackageHistory)
        self.definitions: dict[str, PackageView] = {}
        """By uid: each package as it was last."""
        self._newest: dict[str, Obj] = {}
        """By uid: each build as it was last."""
        self._views: dict[str, BuildView] = {}
        self.leaving: set[str] = set()
        """uids of builds that are deleted, or gone."""

    def check(self, change: Change) -> None:
        """Raises AssertionError for a write that must never happen."""
        ours = change.by.startswith("controller-")
        match change.plural, change.verb:
            case "coprpackages", "status":
                self._check_status(change)
            case "coprpackages", "create" | "update":
                assert not ours, "the definition of a package is the user's"
                self._note_definition(change)
            case "coprbuilds", _:
                self._check_build(change, ours=ours)
            case _:
                pass

    def _note_definition(self, change: Change) -> None:
        package = package_view(change.after)
        before = self.definitions.get(package.uid)
        history = self.histories[package.uid]
        history.versions += 1
        history.followed |= package.spec.build_on_change
        if package.spec.source is not None and (before is None or before.spec.source != package.spec.source):
            history.became[source_digest(package.spec.source)] += 1
        if package.spec.max_builds:
            history.fewest = min(package.spec.max_builds, history.fewest or package.spec.max_builds)
        self.definitions[package.uid] = package

    # -- builds ------------------------------------------------------------------------------------------------------

    def _check_build(self, change: Change, *, ours: bool) -> None:
        meta = change.after["metadata"]
        leaves = (change.gone or "deletionTimestamp" in meta) and meta["uid"] not in self.leaving
        if change.verb == "create" and ours:
            self._check_made(build_view(change.after))
        if leaves and ours:
            self._check_surplus(self.build(meta["uid"]))
        self._newest[meta["uid"]] = change.after
        if leaves:
            self.leaving.add(meta["uid"])

    @property
    def builds(self) -> list[BuildView]:
        """Each that there ever was, as it was last."""
        return [self.build(uid) for uid in self._newest]

    def build(self, uid: str) -> BuildView:
        """It is read when somebody asks: most versions are never looked at."""
        obj, view = self._newest[uid], self._views.get(uid)
        if view is None or view.resource_version != obj["metadata"]["resourceVersion"]:
            view = self._views[uid] = build_view(obj)
        return view

    def _check_made(self, build: BuildView) -> None:
        """One build for each change of the source, whoever has died on the way."""
        history, spec = self.histories.get(build.package_uid), build.spec
        assert history is not None, f"{build.name} is made of no package"
        assert history.followed, f"{build.name} is made of a package that is not to be built"
        assert spec.source is not None
        digest = source_digest(spec.source)
        history.made[digest].add(build.name)
        made = history.made[digest]
        assert len(made) <= history.became[digest], f"one change of the source became the builds {sorted(made)}"
        held = self._api.by_uid("coprpackages", build.package_uid)
        if held is not None and not self._world.split:
            package = package_view(held)
            name = names.package_build_name(
                package.spec.name, package.uid, package.status.sources_built + 1, digest
            )  # fmt: skip
            assert build.name == name, f"{build.name} is made, and its source is latched already"

    def _check_surplus(self, build: BuildView) -> None:
        """Only an ended build is deleted for another, when there are as many newer ones as are to be kept of it."""
        assert build.status.state in TERMINAL, f"{build.name} is deleted, and is {build.status.state}"
        limits = [self.histories[p.uid].fewest for p in self._packages_of(build)]
        assert any(limits), f"{build.name} is deleted, and no package keeps a number of builds only"
        newer = [other for other in self._siblings(build) if (other.status.id or 2**62) > (build.status.id or 0)]
        fewest = min(limit for limit in limits if limit)
        assert len(newer) >= fewest, f"{build.name} is deleted, and is one of the newest {fewest}"
        if build.status.state == "succeeded":
            good = [other for other in newer if other.status.state == "succeeded"]
            assert good, f"{build.name} is deleted, and is the newest that succeeded"

    def _packages_of(self, build: BuildView) -> Iterator[PackageView]:
        for package in self.definitions.values():
            same = (package.spec.owner, package.spec.project) == (build.spec.owner, build.spec.project)
            if same and package.spec.name == build.package:
                yield package

    def _siblings(self, build: BuildView) -> Iterator[BuildView]:
        """Other builds that there ever were of its package in its directory."""
        place = (build.spec.owner, build.dirname, build.package)
        for other in self.builds:
            if other.uid != build.uid and (other.spec.owner, other.dirname, other.package) == place:
                yield other

    # -- status writes -----------------------------------------------------------------------------------------------

    def _check_status(self, change: Change) -> None:
        assert change.before is not None
        before, package = package_view(change.before).status, package_view(change.after)
        after, history = package.status, self.histories[package.uid]
        history.writes += 1
        seen = after.observed_generation
        assert before.observed_generation <= seen <= package.generation, f"generation {seen} was not seen"
        if (before.sources_built, before.source_digest) != (after.sources_built, after.source_digest):
            digest, number = after.source_digest or "", after.sources_built
            assert number == before.sources_built + 1, f"source {before.sources_built} became {number}"
            name = names.package_build_name(package.spec.name, package.uid, number, digest)
            assert name in history.made[digest], f"{name} is latched, and was never made"
        self._check_last(package, before.last_build, after.last_build)
        check_package_conditions(after)

    def _check_last(self, package: PackageView, old: LastBuild | None, new: LastBuild | None) -> None:
        if new is not None:
            found = [build for build in self._named(new) if build.package is None or is_of(build, package)]
            assert found, f"{package.name}'s last build {new.name} ({new.id}) is none of it"
            states = {build.status.state for build in found}
            assert new.state not in TERMINAL or new.state in states, f"{new.name} is {new.state}, says {package.name}"
        if old is None or self._world.split:
            return
        same = new is not None and (new.name, new.id) == (old.name, old.id)
        assert not same or new == old or old.state not in TERMINAL, f"the end of {old.name} is taken back"
        if new is None or (new.id or 2**62) < (old.id or 0):
            assert old.state not in TERMINAL, f"{package.name} forgets {old.name}, that is {old.state}"
            left = [b for b in self._named(old) if b.uid not in self.leaving and is_of(b, package, announced=False)]
            assert not left, f"{package.name} forgets {old.name}"

    def _named(self, last: LastBuild) -> list[BuildView]:
        """Builds that are meant by that, also former ones of its name."""
        return [b for b in self.builds if b.name == last.name and last.id in (None, b.status.id)]


def is_of(build: BuildView, package: PackageView, *, announced: bool = True) -> bool:
    """Whether it is a build of the package: it was made from it, or has its name. `announced`: or was to have it."""
    spec = package.spec
    if (build.spec.owner, build.spec.project) != (spec.owner, spec.project) or build.namespace != package.namespace:
        return False
    known = (build.package, *((build.spec.package_name,) if announced else ()))
    return build.package_uid == package.uid or spec.name in known


def check_package_conditions(status: DefinitionStatus) -> None:
    """They follow from one reason, and the reason from the last build unless something is in the way."""
    conditions = {c.type: c.status.value for c in status.conditions}
    (reason,) = {c.reason for c in status.conditions}
    assert reason in reasons.PACKAGES, reason
    last = status.last_build
    if reason in VERDICTS:
        assert (last.state if last is not None else None) in VERDICTS[reason], f"{reason}, and the last build is {last}"
    kind = "Stalled" if reason in reasons.STALLED_PACKAGES else "Reconciling"
    good = reason in ("BuildSucceeded", "Defined")
    assert conditions == ({"Ready": "True"} if good else {"Ready": "False", kind: "True"}), f"{reason}: {conditions}"
