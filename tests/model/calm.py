"""What must be true when all calms down: no faults any more, one controller, and everybody does what there is to do."""

from copr_operator.api.common import TERMINAL
from tests.model.apiserver import Obj
from tests.model.invariants import is_needless, status_of, steps_of, verdict
from tests.model.loop import CLOCK
from tests.model.package_calm import check_packages, check_that_deleted_packages_take_their_builds
from tests.model.world import ARM, X86, World

WAITS_FOR_SOMEBODY = {"ProjectNotFound", "ProjectNotReady", "ChrootNotFound", "ChrootDisabled", "RepositoryNotReady"}
"""Reasons to wait for ever: a user or an administrator has to do something first."""
WAITS_FOR_A_BUILD = {"WaitingForBatch", "WaitingForOriginal", "OriginalNotFound"}


def check_that_all_ends_well(world: World) -> None:
    """Under a fair schedule every build ends, or waits for what is missing and says so; then nothing is written."""
    world.backend.away = world.backend.slow = world.backend.breaks = False
    world.api.refuse_jobs = world.api.refuse_pods = world.api.refuse_builds = False
    world.cluster.nodes_come_back()
    del world.lives[1:]
    if not world.lives:
        world.start()
    life = world.lives[0]
    check_that_nothing_needless_runs(world)
    world.settle()
    for build in world.builds:
        check_ended_or_waiting(world, build)
    check_packages(world)
    world.cluster.expire_jobs()
    life.resync()
    world.settle()
    for name in (X86, ARM):
        world.define_chroot(name)
    world.define_project()
    life.resync()
    world.settle()
    for build in world.builds:
        check_ended_or_waiting(world, build, only_batches=True)
    check_packages(world)
    assert not world.cluster.live(), "Jobs that nobody needs still run"
    check_that_late_changes_are_acknowledged(world)
    check_budgets(world)
    check_that_nothing_is_written(world)
    check_that_deleted_builds_go(world)


def check_that_nothing_needless_runs(world: World) -> None:
    """A controller that has seen everything has stopped every Job of a step that is done with; even if it hears
    nothing of the cluster any more."""
    life = world.lives[0]
    life.run()
    life.resync()
    life.run()
    for work in world.cluster.live():
        build = world.api.by_uid("coprbuilds", work.build_uid)
        assert build is None or not is_needless(work, build), f"Job {work.job_name} runs on, and nobody needs it"


def check_ended_or_waiting(world: World, build: Obj, *, only_batches: bool = False) -> None:
    status = status_of(build)
    if status.state in TERMINAL and "deletionTimestamp" not in build["metadata"]:
        return
    assert "deletionTimestamp" not in build["metadata"], f"the deletion of {build['metadata']['name']} never ends"
    reason = (verdict(status) or ("", ""))[1]
    if reason in WAITS_FOR_A_BUILD:
        assert _waits_for_a_build(world, build, last=only_batches), (
            f"no build is in the way of {build['metadata']['name']}"
        )
        return
    assert not only_batches, f"nothing is missing, and yet {build['metadata']['name']} waits: {reason}"
    assert reason in WAITS_FOR_SOMEBODY, f"{build['metadata']['name']} is {status.state} for ever: {reason}"
    assert not world.complete, f"nothing is missing, and yet {build['metadata']['name']} waits: {reason}"


def _waits_for_a_build(world: World, build: Obj, *, last: bool, before: tuple[str, ...] = ()) -> bool:
    """Some build on the way along the links of a build is missing or, while more than builds may be missing, has not
    ended. What only comes round again must have failed."""
    before = (*before, build["metadata"]["name"])
    batch = status_of(build).batch
    if batch is not None and not last:
        others = [status_of(other) for other in world.builds if other["spec"].get("withBuild")]
        if any(o.batch and o.batch.leader == batch.after and o.state not in TERMINAL for o in others):
            return True
    found_once = batch is not None and batch.missing is None
    gone = {build["spec"].get(link) for link in ("afterBuild", "withBuild")} if found_once else set()
    for name in {build["spec"].get(link) for link in ("afterBuild", "withBuild", "rerunOf")} - {None}:
        found = world.api.find("coprbuilds", "ns", name)
        if found is None and name in gone:
            continue
        if found is None or (not last and status_of(found).state not in TERMINAL):
            return True
        if name not in before and _waits_for_a_build(world, found, last=last, before=before):
            return True
    return False


def check_that_late_changes_are_acknowledged(world: World) -> None:
    for build in world.builds:
        kept = build["spec"].get("results", "Delete")
        world.change_build(build, results="Delete" if kept == "Retain" else "Retain")
        world.change_build(world.build(build["metadata"]["name"]), results=kept)
    world.settle()
    for build in world.builds:
        assert status_of(build).observed_generation == build["metadata"]["generation"], "a change is unseen"


def check_budgets(world: World) -> None:
    """Status writes: one for each state that was shown, and a few for what the world did to the build."""
    for build in world.builds:
        status, uid = status_of(build), build["metadata"]["uid"]
        attempts = sum(part.attempt for part in steps_of(status).values())
        waits = 2 * world.toggled + CLOCK.seconds / 60
        writes = world.invariants.histories[uid].writes
        assert writes <= 4 + 4 * attempts + waits, f"{writes} writes for {attempts} attempts"


def check_that_nothing_is_written(world: World) -> None:
    """Neither a resync, nor time, nor a restart makes a controller write when nothing has changed."""
    life = world.lives[0]
    world.rest()
    before = world.api.version
    life.resync()
    life.run()
    CLOCK.seconds += 700
    life.resync()
    life.deliver_all()
    life.run()
    world.crash(life)
    world.start().run()
    world.lives[0].deliver_all()
    world.lives[0].run()
    assert world.api.version == before, f"written without a cause: {world.api.changes[-1]}"


def check_that_deleted_builds_go(world: World) -> None:
    retained = {status_of(b).id for b in world.builds if b["spec"].get("results") == "Retain"}
    kept = {entry for entry in world.backend.listed if entry[0] in retained}
    check_that_deleted_packages_take_their_builds(world)
    for build in list(world.builds):
        world.delete_build(build)
    world.settle()
    left = [build["metadata"]["name"] for build in world.builds]
    assert not left, f"{left} never go"
    ours = [job for job in world.api.all("jobs") if job["metadata"]["uid"] in world.cluster.works]
    assert not ours, "Jobs are left"
    assert not world.api.all("pods"), "pods are left"
    listed = {build_id for build_id, _ in world.backend.listed}
    assert kept <= world.backend.listed, "packages that were to be retained are gone"
    assert listed <= retained | _deleted_before(world), "packages of deleted builds are left"


def _deleted_before(world: World) -> set[int | None]:
    """Builds that were deleted with `results: Retain`."""
    gone = [c for c in world.api.changes if c.plural == "coprbuilds" and c.gone]
    return {status_of(c.after).id for c in gone if c.after["spec"].get("results") == "Retain"}
