"""Short stories of pods that do not come so far, or whose node goes away."""

from copr_operator.core import names
from tests.model.cluster import is_there
from tests.model.invariants import status_of, verdict
from tests.model.loop import CLOCK
from tests.model.scenes import SRC, Story, a_build_succeeds
from tests.model.world import ARM, X86
from tests.support.builders import CONFIG


def every_pod_is_evicted(story: Story) -> None:
    story.goes_on(lambda: status_of(story.build).state == "failed", "evicted")
    part = story.part(SRC)
    assert part is not None
    assert part.attempt == names.MAX_ATTEMPTS


def the_last_attempt_does_not_start(story: Story) -> None:
    """Its Job is not ended by anything but the controller."""
    part = story.part
    story.goes_on(lambda: (p := part(SRC)) is not None and p.attempt == names.MAX_ATTEMPTS, "evicted")
    story.goes_on(lambda: story.work().attempt == names.MAX_ATTEMPTS and story.work().pod is not None)
    story.gets_its_node()
    CLOCK.seconds += 601
    story.controller_acts()


def a_pod_is_evicted_after_the_queue_timeout(story: Story) -> None:
    """And is gone: that the build has had its turn, nothing tells but its status."""
    story.world.change_build(story.build, queueTimeout=100)
    story.source_is("running")
    CLOCK.seconds += 200
    story.world.cluster.run_to_end(story.work(), "evicted")
    story.cluster_acts()
    story.world.cluster.delete_pod(story.work())
    story.cluster_acts(2)
    story.goes_on(lambda: status_of(story.build).state == "succeeded")
    assert (part := story.part(SRC)) is not None
    assert part.attempt == 2


def the_node_of_a_build_is_lost(story: Story) -> None:
    """For an hour: nobody waits for it, and nobody blames the user."""
    story.chroots_are("running")
    lost = story.work(X86)
    story.world.cluster.lose_node(lost)
    CLOCK.seconds += CONFIG.deadlines.lost
    story.goes_on(lambda: status_of(story.build).state == "succeeded")
    assert (part := story.part(X86)) is not None
    assert part.attempt == 2
    assert is_there(story.world.cluster.job(lost))
    CLOCK.seconds += 3600
    story.controller_acts()


def no_node_takes_a_pod_for_hours(story: Story) -> None:
    """It is waited for, and has all its time to start when a node takes it."""
    story.world.api.refuse_pods = True
    story.source_is("starting")
    story.world.api.refuse_pods = False
    story.cluster_acts()
    assert (story.work().pod is not None, story.work().stage) == (True, "unscheduled")
    for _ in range(2):
        story.controller_acts()
        CLOCK.seconds += 3600
    story.gets_its_node()
    CLOCK.seconds += 599
    story.controller_acts()
    assert (story.work().attempt, story.state()) == (1, "starting")
    a_build_succeeds(story)


def a_pod_does_not_start(story: Story) -> None:
    """A node has it, but its Job and pod take their time to go when the deadline has passed."""
    story.source_is("starting")
    story.cluster_acts()
    story.gets_its_node()
    story.controller_acts()
    CLOCK.seconds += 601
    story.controller_acts()
    CLOCK.seconds += 61
    story.controller_acts()


def a_chroot_is_disabled_while_a_quota_holds_its_job(story: Story) -> None:
    story.world.api.refuse_jobs = True
    story.goes_on(lambda: verdict(status_of(story.build)) == ("Unknown", "Held"))
    story.world.define_chroot(ARM, enabled=False)
    CLOCK.seconds += CONFIG.deadlines.refusal_retry
    story.goes_on(lambda: verdict(status_of(story.build)) == ("Unknown", "ChrootDisabled"))


POD_SCENES = (
    every_pod_is_evicted,
    the_last_attempt_does_not_start,
    a_pod_is_evicted_after_the_queue_timeout,
    the_node_of_a_build_is_lost,
    no_node_takes_a_pod_for_hours,
    a_pod_does_not_start,
    a_chroot_is_disabled_while_a_quota_holds_its_job,
)
