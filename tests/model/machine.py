"""Rules: what can happen, in any order, with any choice hypothesis likes."""

from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from copr_operator.api.common import TERMINAL
from copr_operator.core import names
from copr_operator.core.package import wanted_build
from copr_operator.core.views import build_view, package_view
from tests.model.apiserver import Obj
from tests.model.backend import PRIVATE_OWNER
from tests.model.calm import check_that_all_ends_well
from tests.model.cluster import ENDS, STAGES, End, Stage
from tests.model.life import FAULTS, Fault, Life
from tests.model.loop import CLOCK
from tests.model.world import ARM, SOURCE, X86, World, refused

T = TypeVar("T")
KINDS = ("coprbuilds", "jobs", "pods", "coprprojects", "coprpackages")
MOSTLY_WELL: tuple[End, ...] = (*ENDS, *ENDS[:1] * len(ENDS))
"""Every end, and success as often as all of them."""
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
    {"afterBuild": "two"},
    {"withBuild": "two"},
    {"rerunOf": "one", "source": None},
    {"excludeChroots": ["*"]},
    {"packageName": "hello"},
    {"packageName": "other"},
    {"chroots": ["fedora-99-x86_64"]},
)
OTHER_SOURCE = {"type": "link", "link": {"url": "http://x.example/hello-2.src.rpm"}}
PACKAGES = ("hello", "hello", "hello", "hello-again", "other")
"""CoprPackages: the package that all SRPMs are of, a rival's definition of it, and one that no SRPM is of."""
DEFINITIONS: tuple[dict[str, Any], ...] = (
    {"source": SOURCE, "buildOnChange": True},
    {"source": OTHER_SOURCE, "buildOnChange": True},
    {"source": SOURCE, "buildOnChange": True, "maxBuilds": 1},
    {"source": OTHER_SOURCE},
    {"buildOnChange": True},
    {"buildOnChange": False},
    {"maxBuilds": 1},
    {"maxBuilds": 2},
    {"maxBuilds": None},
)
FORKS: tuple[dict[str, Any], ...] = (
    {}, {}, {"packageName": "hello"}, {"chroots": [X86]}, {"projectDirname": "demo:fork"}, {"owner": PRIVATE_OWNER},
)  # fmt: skip


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
        package=st.sampled_from((None, None, None, None, None, None, *DEFINITIONS[:3])),
        rounds=st.sampled_from(range(32)),
        end=st.sampled_from(MOSTLY_WELL),
    )
    def begin(
        self, alone: bool, ready: bool, spec: dict[str, Any], package: dict[str, Any] | None, rounds: int, end: End
    ) -> None:
        """A controller, mostly with everything a build needs, a build that is somewhere on its way, and another of a
        package, perhaps."""
        self.alone = alone
        world = self.world
        world.define_chroot(X86)
        if ready:
            world.define_chroot(ARM)
            world.define_project()
        world.create_build("one", **spec)
        if package is not None:
            world.define_package("hello", **package)
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

    @rule(there=st.booleans(), persistent=st.sampled_from((False, False, False, True)))
    def project(self, there: bool, persistent: bool) -> None:
        if there:
            self.world.define_project(persistent=persistent)
        else:
            self.world.remove_project()

    @rule(name=st.sampled_from(PACKAGES), definition=st.sampled_from(DEFINITIONS))
    def define_package(self, name: str, definition: dict[str, Any]) -> None:
        known = {"name": "hello"} if name == "hello-again" else {}
        self.world.define_package(name, **known, **definition)

    @precondition(lambda self: self.world.packages)
    @rule(index=INDEX)
    def remove_package(self, index: int) -> None:
        self.world.remove_package(self._one_of(self.world.packages, index)["metadata"]["name"])

    @precondition(lambda self: self.world.packages)
    @rule(index=INDEX, name=st.sampled_from(NAMES), spec=st.sampled_from(SPECS[:5]))
    def build_a_package(self, index: int, name: str, spec: dict[str, Any]) -> None:
        """As the API and webhooks do."""
        package = self._one_of(self.world.packages, index)["metadata"]["name"]
        if self.world.api.find("coprbuilds", "ns", name) is None:
            self.world.create_build(name, of_package=package, **spec)

    @precondition(lambda self: self.world.packages)
    @rule(index=INDEX)
    def somebody_takes_a_builds_name(self, index: int) -> None:
        package = package_view(self._one_of(self.world.packages, index))
        if (name := wanted_build(package)) is not None:
            refused(self.world.create_build, name)

    @precondition(lambda self: self._finished())
    @rule(index=INDEX, name=st.sampled_from(NAMES), spec=st.sampled_from(FORKS))
    def fork(self, index: int, name: str, spec: dict[str, Any]) -> None:
        origin = build_view(self._one_of(self._finished(), index))
        if self.world.api.find("coprbuilds", "ns", name) is None:
            self.world.fork(name, origin.status.id or 0, dirname=origin.dirname, **spec)

    def _finished(self) -> list[Obj]:
        """What may be forked; some of it has nothing to be taken over."""
        return [build for build in self.world.builds if build_view(build).status.state in TERMINAL]

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

    @precondition(lambda self: self.world.cluster.busy())
    @rule(index=INDEX)
    def a_node_is_lost(self, index: int) -> None:
        self.world.cluster.lose_node(self._one_of(self.world.cluster.busy(), index))

    @rule()
    def nodes_come_back(self) -> None:
        self.world.cluster.nodes_come_back()

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
        refused(self.world.cluster.take_name, self._one_of(self.world.builds, index), step, attempt)

    @rule(away=st.booleans(), slow=st.booleans(), breaks=st.booleans())
    def backend(self, away: bool, slow: bool, breaks: bool) -> None:
        backend = self.world.backend
        self.world.toggled += 1
        backend.away, backend.slow, backend.breaks = away, slow, breaks

    @rule(jobs=st.booleans(), pods=st.booleans(), builds=st.booleans())
    def quota(self, jobs: bool, pods: bool, builds: bool) -> None:
        api = self.world.api
        self.world.toggled += 1
        api.refuse_jobs, api.refuse_pods, api.refuse_builds = jobs, pods, builds

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
            if self.world.api.objects and self.world.api.judged:
                check_that_all_ends_well(self.world)
        finally:
            self.world.close()

    def _life(self, index: int) -> Life:
        return self._one_of(self.world.lives, index)

    @staticmethod
    def _one_of(things: list[T], index: int) -> T:
        return things[index % len(things)]
