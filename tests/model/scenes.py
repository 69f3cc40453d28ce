"""Short stories of one build that are known to be dangerous, each played in the model with all its invariants.

The machine can find most of them too, but needs hundreds of examples for what a few lines say.
"""

import re
from collections.abc import Callable
from contextlib import closing

from copr_operator.core import names
from tests.model.apiserver import Obj
from tests.model.calm import check_that_all_ends_well
from tests.model.cluster import End, Work
from tests.model.invariants import Step, shown, status_of, steps_of
from tests.model.life import Call
from tests.model.loop import CLOCK
from tests.model.world import ARM, X86, World

SRC = names.SOURCE_STEP
ROUNDS = 100


class Story:
    """A world with all that the build `one` needs, and one controller."""

    def __init__(self) -> None:
        self.world = World()
        self.world.define_chroot(X86)
        self.world.define_chroot(ARM)
        self.world.define_project()
        self.world.create_build("one")
        self.life = self.world.start()

    @property
    def build(self) -> Obj:
        return self.world.build("one")

    def part(self, step: str) -> Step | None:
        return steps_of(status_of(self.build)).get(step)

    def state(self, step: str = SRC) -> str | None:
        return part.state if (part := self.part(step)) is not None else None

    def work(self, step: str = SRC) -> Work:
        """The step's newest Job."""
        return [work for work in self.world.cluster.works.values() if work.step == step][-1]

    def goes_on(self, until: Callable[[], bool], end: End = "success") -> None:
        """Everybody does what there is to do, and pods end like this, until it is so; a round takes two seconds, so
        that every state is shown."""
        for _ in range(ROUNDS):
            if until():
                return
            self.world.fair_round(end)
            CLOCK.seconds += 2
        raise AssertionError(f"it never comes so far: {shown(status_of(self.build))}")

    def source_is(self, state: str) -> None:
        self.goes_on(lambda: self.state() == state)

    def chroots_are(self, state: str) -> None:
        self.goes_on(lambda: {self.state(X86), self.state(ARM)} == {state})

    def cluster_acts(self, times: int = 1) -> None:
        """Kubernetes' controllers and the kubelet do all there is to do for them."""
        for _ in range(times):
            for act in self.world.cluster.housekeeping():
                act()

    def gets_its_node(self) -> None:
        """The pod of the newest source Job, if it has none; nothing of it is started."""
        if self.work().stage == "unscheduled":
            self.world.cluster.advance(self.work())

    def controller_acts(self, *kinds: str) -> None:
        """It hears what happened to objects of these kinds, of all kinds without any, and does what follows."""
        if not kinds:
            self.life.deliver_all()
        for kind in kinds:
            self.life.deliver(kind, self.life.streams[kind].take())
        self.life.run()

    def comes_to(self, request: str) -> Call:
        """Everybody does what there is to do until the controller asks for this; a regular expression."""
        for _ in range(ROUNDS):
            self.life.deliver_all()
            while self.life.calls:
                if re.search(request, self.life.calls[0].text):
                    return self.life.calls[0]
                self.life.answer(self.life.calls[0])
            self.world.fair_round()
            CLOCK.seconds += 2
        raise AssertionError(f"it never asks for {request}")

    def dies_after(self, request: str) -> None:
        """It is carried out, and the controller does not live to hear so. There is a new one."""
        self.life.answer(self.comes_to(request), "held")
        self.world.crash(self.life)
        self.life = self.world.start()

    def ends_well(self) -> None:
        check_that_all_ends_well(self.world)


def nothing_special_happens(story: Story) -> None:
    assert status_of(story.build).id is None


def a_build_succeeds(story: Story) -> None:
    story.goes_on(lambda: status_of(story.build).state == "succeeded")


def a_build_whose_results_stay_succeeds(story: Story) -> None:
    story.world.change_build(story.build, results="Retain")
    a_build_succeeds(story)


def a_build_excludes_an_architecture(story: Story) -> None:
    story.goes_on(lambda: status_of(story.build).source is not None and story.state() == "succeeded", "no-x86")
    assert (story.state(X86), story.state(ARM)) == ("skipped", "pending")


def the_spec_is_broken(story: Story) -> None:
    story.source_is("succeeded")
    story.goes_on(lambda: status_of(story.build).state == "failed", "user")


def a_pod_is_gone_before_its_job_has_ended(story: Story) -> None:
    story.source_is("running")
    story.world.cluster.delete_pod(story.work())
    for _ in range(2):
        story.world.cluster.terminate(story.work())
    CLOCK.seconds += 2
    story.controller_acts()


def a_jobs_end_is_seen_before_its_pods(story: Story) -> None:
    story.source_is("running")
    story.world.cluster.run_to_end(story.work(), "success")
    story.cluster_acts()
    CLOCK.seconds += 2
    story.controller_acts("jobs")
    CLOCK.seconds += 2
    story.controller_acts("pods")
    assert story.state() == "succeeded"


def a_finished_job_expires_while_others_run(story: Story) -> None:
    story.chroots_are("running")
    story.world.cluster.run_to_end(story.work(X86), "success")
    story.goes_on(lambda: story.state(X86) == "succeeded", "user")
    story.world.cluster.expire_jobs()
    story.cluster_acts(2)
    story.controller_acts()


def an_old_event_comes_when_its_job_is_gone(story: Story) -> None:
    story.source_is("pending")
    page = (None, story.build)
    story.chroots_are("running")
    story.world.cluster.expire_jobs()
    story.cluster_acts(2)
    story.controller_acts()
    story.life.deliver("coprbuilds", [page])
    story.life.run()


def an_old_event_comes_after_the_end(story: Story) -> None:
    """A page of a LIST that was read before the end, and takes its time."""
    story.source_is("pending")
    page = (None, story.build)
    a_build_succeeds(story)
    story.world.cluster.expire_jobs()
    story.cluster_acts(2)
    story.controller_acts()
    story.life.deliver("coprbuilds", [page])
    story.life.run()


def a_job_is_lost_and_nobody_says_so(story: Story) -> None:
    """Before it had a pod; the event of its end is missed."""
    story.world.api.refuse_pods = True
    story.source_is("starting")
    story.world.cluster.delete_job(story.work())
    story.cluster_acts(2)
    story.life.streams["jobs"].take()


def a_job_is_deleted_while_it_runs(story: Story) -> None:
    story.chroots_are("running")
    story.world.cluster.delete_job(story.work(ARM))
    story.cluster_acts(4)
    CLOCK.seconds += 2
    story.controller_acts()


def a_job_is_deleted_before_it_has_a_pod(story: Story) -> None:
    """Quota holds its pod, so that its Events are read, and the status can't be written yet."""
    story.world.api.refuse_pods = True
    story.goes_on(lambda: bool(story.world.cluster.works))
    assert story.state() == "pending"
    CLOCK.seconds += 10
    story.life.run(0)
    assert [call.text.rpartition("/")[2] for call in story.life.calls] == ["events"]
    story.world.cluster.delete_job(story.work())
    story.cluster_acts(2)
    story.controller_acts()


def somebody_takes_the_name_of_a_job_that_is_gone(story: Story) -> None:
    """A LIST shows the new one before the watch shows the end of the old one."""
    story.world.api.refuse_pods = True
    story.source_is("starting")
    story.world.cluster.delete_job(story.work())
    story.cluster_acts(2)
    story.world.cluster.take_name(story.build, SRC, 1)
    story.life.resync()
    story.life.run()


def somebody_has_the_name_of_a_job(story: Story) -> None:
    story.goes_on(lambda: story.state() == "pending")
    story.world.cluster.take_name(story.build, X86, 1)
    story.goes_on(lambda: status_of(story.build).state == "failed")


def two_controllers_write_one_status(story: Story) -> None:
    """The first one's write is on its way while a second one brings the build to its end."""
    story.source_is("starting")
    story.world.cluster.run_to_end(story.work(), "success")
    story.cluster_acts()
    CLOCK.seconds += 2
    story.life.deliver_all()
    late = list(story.life.calls)
    assert late
    story.world.lives.remove(story.life)
    story.world.start()
    a_build_succeeds(story)
    for call in late:
        story.life.answer(call)
    story.world.lives.append(story.life)


def a_status_is_seen_before_the_job_that_it_tells_of(story: Story) -> None:
    """A controller lists Jobs, then another makes one and writes so, then the first lists builds."""
    first = story.life
    while "/coprbuilds" not in first.calls[0].text:
        first.answer(first.calls[0])
    story.world.lives.remove(first)
    story.life = story.world.start()
    story.source_is("starting")
    story.world.lives.append(first)
    first.run()
    story.chroots_are("running")
    assert {part.attempt for part in steps_of(status_of(story.build)).values()} == {1}


def a_build_is_canceled_while_it_runs(story: Story) -> None:
    story.chroots_are("running")
    story.world.change_build(story.build, cancel=True)
    story.controller_acts()
    assert status_of(story.build).state == "canceled"


def a_build_is_deleted_while_it_runs(story: Story) -> None:
    story.chroots_are("running")
    story.world.delete_build(story.build)
    story.controller_acts()


def a_build_is_deleted_while_the_backend_is_away(story: Story) -> None:
    """And comes back slowly: what the status says changes, but not more often than once a minute."""
    a_build_succeeds(story)
    story.world.backend.away = True
    story.world.delete_build(story.build)
    story.controller_acts()
    story.world.backend.away, story.world.backend.slow = False, True
    CLOCK.seconds += 11
    story.controller_acts()


def a_build_is_gone_when_an_old_event_shows_it(story: Story) -> None:
    """As it was before it had a finalizer; to a controller that has never seen it."""
    story.source_is("pending")
    page = next((None, c.after) for c in story.world.api.changes if (c.plural, c.verb) == ("coprbuilds", "status"))
    story.world.delete_build(story.build)
    story.goes_on(lambda: not story.world.builds)
    story.world.crash(story.life)
    story.life = story.world.start()
    story.life.run()
    story.life.deliver("coprbuilds", [page])
    story.life.run()


def a_controller_dies_while_an_ended_build_is_deleted(story: Story) -> None:
    """It has heard of the deletion, and has said so in the Lease; it has done nothing about it."""
    a_build_succeeds(story)
    story.world.cluster.expire_jobs()
    story.controller_acts()
    story.world.delete_build(story.build)
    story.life.deliver_all()
    assert story.life.calls
    story.world.crash(story.life)
    story.life = story.world.start()


def a_failed_chroot_is_rerun(story: Story) -> None:
    works = story.world.cluster.works
    story.goes_on(lambda: any(work.step == X86 and work.pod is not None for work in works.values()))
    story.world.cluster.run_to_end(story.work(X86), "user")
    story.goes_on(lambda: status_of(story.build).state == "failed")
    assert (story.state(X86), story.state(ARM)) == ("failed", "succeeded")
    story.world.create_build("two", rerunOf="one", source=None)
    story.goes_on(lambda: status_of(story.world.build("two")).state == "succeeded")
    assert steps_of(status_of(story.world.build("two"))).keys() == {SRC, X86}
    assert [work.step for work in works.values() if work.build_name == "two"] == [X86]


def the_project_drops_a_chroot_that_waits(story: Story) -> None:
    story.world.define_chroot(ARM, enabled=False)
    story.goes_on(lambda: story.state(ARM) == "pending")
    story.world.define_project(X86)
    story.goes_on(lambda: status_of(story.build).state == "failed")
    assert (story.state(SRC), story.state(X86), story.state(ARM)) == ("succeeded", "succeeded", "failed")
    assert {work.step for work in story.world.cluster.works.values()} == {SRC, X86}


def a_write_is_carried_out_but_its_answer_is_lost(story: Story) -> None:
    story.source_is("pending")
    story.cluster_acts()
    CLOCK.seconds += 2
    story.life.deliver_all()
    while story.life.calls:
        story.life.answer(story.life.calls[0], "unheard")
    story.life.resync()
    story.controller_acts()


def play(scene: Callable[[Story], None]) -> None:
    """The scene, and then everything must come to a good end. Raises AssertionError for a broken invariant."""
    story = Story()
    with closing(story.world):
        scene(story)
        story.ends_well()


SCENES = (
    nothing_special_happens,
    a_build_succeeds,
    a_build_whose_results_stay_succeeds,
    a_build_excludes_an_architecture,
    the_spec_is_broken,
    a_pod_is_gone_before_its_job_has_ended,
    a_jobs_end_is_seen_before_its_pods,
    a_finished_job_expires_while_others_run,
    an_old_event_comes_when_its_job_is_gone,
    an_old_event_comes_after_the_end,
    a_job_is_lost_and_nobody_says_so,
    a_job_is_deleted_while_it_runs,
    a_job_is_deleted_before_it_has_a_pod,
    somebody_takes_the_name_of_a_job_that_is_gone,
    somebody_has_the_name_of_a_job,
    two_controllers_write_one_status,
    a_status_is_seen_before_the_job_that_it_tells_of,
    a_build_is_canceled_while_it_runs,
    a_build_is_deleted_while_it_runs,
    a_build_is_deleted_while_the_backend_is_away,
    a_build_is_gone_when_an_old_event_shows_it,
    a_controller_dies_while_an_ended_build_is_deleted,
    a_failed_chroot_is_rerun,
    the_project_drops_a_chroot_that_waits,
    a_write_is_carried_out_but_its_answer_is_lost,
)
