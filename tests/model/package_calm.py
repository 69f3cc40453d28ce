"""What must be true of CoprPackages when all calms down."""

from copr_operator.api.common import TERMINAL
from copr_operator.core.observed import BuildView, PackageView
from copr_operator.core.package import source_digest, wanted_build
from copr_operator.core.views import build_view, package_view
from tests.model.package_invariants import is_of
from tests.model.world import World


def check_packages(world: World) -> None:
    packages = [package_view(obj) for obj in world.packages]
    builds = [build_view(obj) for obj in world.builds]
    for package in packages:
        status, name = package.status, package.name
        assert status.observed_generation == package.generation, f"a change of {name} is unseen"
        check_writes(world, package)
        reason = status.conditions[0].reason
        rivals = [other.name for other in packages if other.spec.name == package.spec.name and other.name < name]
        assert (reason == "NameTaken") is bool(rivals), f"{name} says {reason}, before it comes {rivals}"
        if rivals:
            continue
        check_source_is_built(world, package, reason)
        check_last_build(package, [build for build in builds if is_of(build, package, announced=False)])
        if not world.keeps_all:
            check_number(package, [build for build in builds if build.package == package.spec.name])


def check_source_is_built(world: World, package: PackageView, reason: str) -> None:
    name, spec, status = wanted_build(package), package.spec, package.status
    if name is None:
        assert reason != "NameCollision", f"{package.name} says {reason}, and wants no build"
        return
    in_the_way = world.api.find("coprbuilds", "ns", name)
    assert in_the_way is not None, f"the source of {package.name} is not built: {reason}"
    assert reason == "NameCollision", f"{name} is in the way of {package.name}, which says {reason}"
    assert spec.source is not None
    assert status.source_digest != source_digest(spec.source)


def check_last_build(package: PackageView, builds: list[BuildView]) -> None:
    """The newest that there is, or one that has ended and was deleted since."""
    last = package.status.last_build
    newest = max(builds, key=lambda build: build.status.id or 2**62, default=None)
    assert newest is None or last is not None, f"{package.name} knows nothing of {newest.name if newest else ''}"
    if last is None:
        return
    if newest is not None:
        assert newest.status.id is not None
        assert (last.id or 0) >= newest.status.id, f"{newest.name} is newer than {package.name}'s last: {last.name}"
    if newest is not None and last.id == newest.status.id:
        state = newest.status.state if newest.status.state in TERMINAL else "pending"
        assert (last.name, last.state) == (newest.name, state), f"{package.name} does not know how {last.name} ended"
    else:
        assert last.state in TERMINAL, f"{package.name} waits for {last.name}, that is gone"


def check_number(package: PackageView, builds: list[BuildView]) -> None:
    """No more ended builds in any directory than are to be kept, the newest that succeeded aside. One that waits for
    something takes its place when it has ended."""
    most = package.spec.max_builds
    ended = [build for build in builds if build.status.state in TERMINAL]
    newest = sorted(ended, key=lambda build: -(build.status.id or 0))
    for dirname in {build.dirname for build in ended}:
        there = [build for build in newest if build.dirname == dirname]
        good = next((build.uid for build in there if build.status.state == "succeeded"), None)
        surplus = [build.name for build in there[most or len(there) :] if build.uid != good]
        assert not surplus, f"{package.name} keeps {most} builds in {dirname}, and {surplus} are still there"


def check_writes(world: World, package: PackageView) -> None:
    """One for each change of its definition, a number and an end for each build, and some for what held it up."""
    judge = world.package_invariants
    history = judge.histories[package.uid]
    builds = sum(is_of(build, package) for build in judge.builds)
    most = 2 + 2 * history.versions + 3 * builds + 2 * world.toggled
    assert history.writes <= most, f"{history.writes} writes for {history.versions} versions and {builds} builds"


def check_that_deleted_packages_take_their_builds(world: World) -> None:
    others = {b["metadata"]["name"] for b in world.builds if not build_view(b).package_uid}
    for package in list(world.packages):
        world.remove_package(package["metadata"]["name"])
    world.settle()
    left = {build["metadata"]["name"] for build in world.builds}
    assert left == others, f"of {left} only {others} are of no package"
