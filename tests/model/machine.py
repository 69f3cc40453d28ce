"""Rules: what can happen, in any order, with any choice hypothesis likes; and what must be true when all calms down."""

from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from copr_operator.api.common import TERMINAL
from copr_operator.core import names
from tests.model.apiserver import Obj
from tests.model.cluster import ENDS, STAGES, End, Stage
from tests.model.invariants import status_of, steps_of, verdict
from tests.model.life import FAULTS, Fault, Life
from tests.model.loop import CLOCK
from tests.model.world import ARM, X86, World, refused

T = TypeVar("T")
KINDS = ("coprbuilds", "jobs", "pods", "coprprojects")
MOSTLY_WELL: tuple[End, ...] = ("success",) * len(ENDS) + ENDS
INDEX = st.integers(0, 7)
"""Which of several things: counted round."""
COUNT = st.sampled_from((1, 2, 3, 5, 8, None))
"""How many of several things; None is all of them."""
NAMES = ("one", "two", "three")
SPECS: tuple[dict[str, Any], ...] = (
    {},
    {"results": "Retain"},
    {"chroots": [X86]},
    {"chroots": [ARM], "queueTimeout": 100},
    {"projectDirname": "demo:pr:1"},
    {"afterBuild": "one"},
    {"withBuild": "two"},
    {"excludeChroots": ["*"]},
    {"chroots": ["fedora-99-x86_64"]},
)
WAITS_FOR_SOMEBODY = {"ProjectNotFound", "ProjectNotReady", "ChrootNotFound", "ChrootDisabled", "RepositoryNotReady"}
"""Reasons to wait for ever: a user or an administrator has to do something first."""


class Machine(RuleBasedStateMachine):
    """One example is one world, a few things that happen in it, and the calm afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.alone = True
        """Whether there is never more than one controller at once."""

    @initialize(
        alone=st.sampled_from((True, True, True, False)),
        ready=st.sampled_from((True, True, True, False)),
        spec=st.sampled_from(({}, {}, {}, *SPECS[:5])),
        rounds=st.sampled_from(range(32)),
        end=st.sampled_from(MOSTLY_WELL),
    )
    def begin(self, alone: bool, ready: bool, spec: dict[str, Any], rounds: int, end: End) -> None:
        """A controller, mostly with everything a build needs, and a build that is somewhere on its way."""
        self.alone = alone
        world = self.world
        world.define_chroot(X86)
        if ready:
            world.define_chroot(ARM)
            world.define_project()
        world.create_build("one", **spec)
        world.start()
        self._go_on(rounds, end)

    # -- users -------------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), spec=st.sampled_from(SPECS))
    def create_build(self, name: str, spec: dict[str, Any]) -> None:
        if self.world.api.find("coprbuilds", "ns", name) is None:
            self.world.create_build(name, **spec)

    @precondition(lambda self: self.world.builds)
    @rule(index=INDEX, change=st.sampled_from(({"cancel": True}, {"results": "Retain"}, {"results": "Delete"})))
    def change_build(self, index: int, change: dict[str, Any]) -> None:
        self.world.change_build(self._one_of(self.world.builds, index), **change)

    @precondition(lambda self: self.world.builds)
    @rule(index=INDEX)
    def delete_build(self, index: int) -> None:
        self.world.delete_build(self._one_of(self.world.builds, index))

    @rule(there=st.booleans())
    def project(self, there: bool) -> None:
        (self.world.define_project if there else self.world.remove_project)()

    @rule(name=st.sampled_from((X86, ARM)), enabled=st.booleans())
    def chroot(self, name: str, enabled: bool) -> None:
        self.world.define_chroot(name, enabled=enabled)

    # -- controllers -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.lives)
    @rule(index=INDEX, calls=COUNT, newest=st.booleans())
    def work(self, index: int, calls: int | None, newest: bool) -> None:
        self._life(index).run(calls, newest=newest)

    @precondition(lambda self: any(life.calls for life in self.world.lives))
    @rule(index=INDEX, which=INDEX, fault=st.sampled_from(FAULTS))
    def one_request(self, index: int, which: int, fault: Fault) -> None:
        life = self._one_of([life for life in self.world.lives if life.calls], index)
        life.answer(self._one_of(life.calls, which), fault)

    @precondition(lambda self: any(life.calls for life in self.world.lives))
    @rule(index=INDEX, calls=st.integers(0, 6), carried_out=st.booleans())
    def crash_between_two_writes(self, index: int, calls: int, carried_out: bool) -> None:
        life = self._one_of([life for life in self.world.lives if life.calls], index)
        life.run(calls)
        if carried_out and life.calls:
            life.answer(life.calls[0], "held")
        self.world.crash(life)

    @precondition(lambda self: self.world.lives)
    @rule(index=INDEX)
    def crash(self, index: int) -> None:
        self.world.crash(self._life(index))

    @precondition(lambda self: not self.world.lives or (not self.alone and len(self.world.lives) < 2))
    @rule(calls=COUNT)
    def start(self, calls: int | None) -> None:
        self.world.start().run(calls)

    # -- watches -----------------------------------------------------------------------------------------------------

    def _watching(self) -> list[Life]:
        return [life for life in self.world.lives if life.ready]

    @precondition(lambda self: self._watching())
    @rule(index=INDEX, kind=st.sampled_from((*KINDS, "coprchroots")), count=COUNT)
    def deliver(self, index: int, kind: str, count: int | None) -> None:
        life = self._one_of(self._watching(), index)
        life.deliver(kind, life.streams[kind].take(count))

    @precondition(lambda self: self._watching())
    @rule(index=INDEX)
    def deliver_all(self, index: int) -> None:
        self._one_of(self._watching(), index).deliver_all()

    @precondition(lambda self: self._watching())
    @rule(index=INDEX, kind=st.sampled_from(KINDS), count=COUNT)
    def lose_events(self, index: int, kind: str, count: int | None) -> None:
        self._one_of(self._watching(), index).streams[kind].take(count)

    @precondition(lambda self: self._watching())
    @rule(
        index=INDEX,
        kind=st.sampled_from(KINDS),
        which=st.integers(0, 40),
        ancient=st.sampled_from((False, False, True)),
    )
    def an_old_event_again(self, index: int, kind: str, which: int, ancient: bool) -> None:
        """One that is older than the controller makes it like a second controller, that has not seen what followed."""
        life = self._one_of(self._watching(), index)
        ancient = ancient and not self.alone
        event = life.streams[kind].again(which, ancient=ancient)
        if event is not None:
            self.world.invariants.split |= ancient
            life.deliver(kind, [event])

    @precondition(lambda self: self._watching())
    @rule(index=INDEX, kind=st.sampled_from((*KINDS, "coprchroots")))
    def gone_410(self, index: int, kind: str) -> None:
        self._one_of(self._watching(), index).streams[kind].relist()

    @precondition(lambda self: self._watching())
    @rule(index=INDEX)
    def resync(self, index: int) -> None:
        self._one_of(self._watching(), index).resync()

    # -- the cluster and the backend ---------------------------------------------------------------------------------

    @rule(index=INDEX)
    def a_cluster_controller_acts(self, index: int) -> None:
        self.world.act_of_cluster(index)

    @precondition(lambda self: self.world.cluster.busy())
    @rule(index=INDEX, stage=st.sampled_from(STAGES[1:]), end=st.sampled_from(ENDS))
    def a_pod_goes_on(self, index: int, stage: Stage, end: End) -> None:
        work = self._one_of(self.world.cluster.busy(), index)
        while STAGES.index(work.stage) < STAGES.index(stage):
            self.world.cluster.advance(work, end)

    @precondition(lambda self: self.world.cluster.busy())
    @rule(index=INDEX, end=st.sampled_from(ENDS))
    def a_pod_ends(self, index: int, end: End) -> None:
        self.world.cluster.run_to_end(self._one_of(self.world.cluster.busy(), index), end)

    @precondition(lambda self: self.world.api.all("jobs"))
    @rule(index=INDEX, pod=st.booleans())
    def somebody_deletes(self, index: int, pod: bool) -> None:
        """A third party, or a finished Job's time to live."""
        cluster = self.world.cluster
        works = [work for work in cluster.works.values() if cluster.job(work) is not None]
        if works:
            (cluster.delete_pod if pod else cluster.delete_job)(self._one_of(works, index))

    @precondition(lambda self: self.world.builds)
    @rule(index=INDEX, step=st.sampled_from((names.SOURCE_STEP, X86, ARM)), attempt=st.sampled_from((1, 1, 2, 3)))
    def somebody_takes_a_name(self, index: int, step: str, attempt: int) -> None:
        refused(self.world.cluster.take_name, self._one_of(self.world.builds, index), step, attempt, None)

    @rule(away=st.booleans(), slow=st.booleans())
    def backend(self, away: bool, slow: bool) -> None:
        self.world.toggled += 1
        self.world.backend.away, self.world.backend.slow = away, slow

    @rule(jobs=st.booleans(), pods=st.booleans())
    def quota(self, jobs: bool, pods: bool) -> None:
        self.world.toggled += 1
        self.world.api.refuse_jobs, self.world.api.refuse_pods = jobs, pods

    @rule(seconds=st.sampled_from((1, 1, 2, 5, 10, 11, 20, 30, 61, 301, 601, 901, 1501)))
    def time_goes_on(self, seconds: int) -> None:
        CLOCK.seconds += seconds

    @rule(rounds=st.sampled_from(range(1, 9)), end=st.sampled_from(MOSTLY_WELL))
    def all_goes_well(self, rounds: int, end: End) -> None:
        self._go_on(rounds, end)

    @rule(rounds=st.sampled_from(range(1, 9)), end=st.sampled_from(ENDS))
    def all_goes_on(self, rounds: int, end: End) -> None:
        self._go_on(rounds, end)

    def _go_on(self, rounds: int, end: End) -> None:
        for _ in range(rounds):
            if not self.world.fair_round(end):
                CLOCK.seconds += 1

    # -- the end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.world.api.objects:
                check_that_all_ends_well(self.world)
        finally:
            self.world.close()

    def _life(self, index: int) -> Life:
        return self._one_of(self.world.lives, index)

    @staticmethod
    def _one_of(things: list[T], index: int) -> T:
        return things[index % len(things)]


def check_that_all_ends_well(world: World) -> None:
    """Under a fair schedule every build ends, or waits for what is missing and says so; then nothing is written."""
    world.backend.away = world.backend.slow = world.api.refuse_jobs = world.api.refuse_pods = False
    del world.lives[1:]
    if not world.lives:
        world.start()
    life = world.lives[0]
    world.settle()
    for build in world.builds:
        check_ended_or_waiting(world, build)
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
    assert not world.cluster.live(), "Jobs that nobody needs still run"
    check_that_late_changes_are_acknowledged(world)
    check_budgets(world)
    check_that_nothing_is_written(world)
    check_that_deleted_builds_go(world)


def check_ended_or_waiting(world: World, build: Obj, *, only_batches: bool = False) -> None:
    status = status_of(build)
    if status.state in TERMINAL and "deletionTimestamp" not in build["metadata"]:
        return
    assert "deletionTimestamp" not in build["metadata"], f"the deletion of {build['metadata']['name']} never ends"
    reason = (verdict(status) or ("", ""))[1]
    if reason == "WaitingForBatch":
        assert _waits_for_a_build(world, build), f"no build is in the way of {build['metadata']['name']}"
        return
    assert not only_batches, f"nothing is missing, and yet {build['metadata']['name']} waits: {reason}"
    assert reason in WAITS_FOR_SOMEBODY, f"{build['metadata']['name']} is {status.state} for ever: {reason}"
    assert not world.complete, f"nothing is missing, and yet {build['metadata']['name']} waits: {reason}"


def _waits_for_a_build(world: World, build: Obj) -> bool:
    """Some build on the way along `afterBuild` and `withBuild` is missing, has not ended, or is this one again."""
    waits_for, ahead = set[str](), [build]
    while ahead:
        spec = ahead.pop()["spec"]
        for name in {spec.get("afterBuild"), spec.get("withBuild")} - {None} - waits_for:
            waits_for.add(name)
            found = world.api.find("coprbuilds", "ns", name)
            if found is None or status_of(found).state not in TERMINAL:
                return True
            ahead.append(found)
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
    for build in list(world.builds):
        world.delete_build(build)
    world.settle()
    left = [build["metadata"]["name"] for build in world.builds]
    assert not left, f"{left} never go"
    ours = [job for job in world.api.all("jobs") if job["metadata"]["uid"] in world.cluster.works]
    assert not ours, "Jobs are left"
    assert not world.api.all("pods"), "pods are left"
    listed = {build_id for build_id, _ in world.backend.listed}
    assert listed <= retained | _deleted_before(world), "packages of deleted builds are left"


def _deleted_before(world: World) -> set[int | None]:
    """Builds that were deleted with `results: Retain`."""
    gone = [c for c in world.api.changes if c.plural == "coprbuilds" and c.gone]
    return {status_of(c.after).id for c in gone if c.after["spec"].get("results") == "Retain"}


assert names.MAX_ATTEMPTS == 3, "the write budget counts on it"
