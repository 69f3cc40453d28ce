"""Short stories of builds that wait for others, which are deleted meanwhile."""

from tests.model.invariants import status_of, verdict
from tests.model.loop import CLOCK
from tests.model.scenes import ROUNDS, Story


def says(story: Story, name: str) -> tuple[str | None, str]:
    status = status_of(story.world.build(name))
    return status.state, (verdict(status) or ("", ""))[1]


def comes_to(story: Story, name: str, state: str, reason: str) -> None:
    """The build `one` may be gone."""
    for _ in range(ROUNDS):
        if says(story, name) == (state, reason):
            return
        story.world.fair_round()
        CLOCK.seconds += 2
    raise AssertionError(f"{name} never becomes {state}: {says(story, name)}")


def waits(story: Story, name: str) -> None:
    comes_to(story, name, "pending", "WaitingForBatch")


def succeeds(story: Story, name: str) -> None:
    comes_to(story, name, "succeeded", "Succeeded")


def goes(story: Story, name: str) -> None:
    story.world.delete_build(story.world.build(name))
    story.goes_on(lambda: story.world.api.find("coprbuilds", "ns", name) is None)


def restarts(story: Story) -> None:
    story.world.crash(story.life)
    story.life = story.world.start()


def one_that_is_waited_for_is_deleted(story: Story) -> None:
    story.source_is("pending")
    story.world.create_build("two", afterBuild="one")
    waits(story, "two")
    goes(story, "one")
    succeeds(story, "two")


def one_that_is_waited_for_is_deleted_before_a_restart(story: Story) -> None:
    story.source_is("pending")
    story.world.create_build("two", withBuild="one")
    story.world.create_build("three", afterBuild="one")
    waits(story, "three")
    goes(story, "one")
    restarts(story)
    succeeds(story, "two")
    succeeds(story, "three")


def one_is_named_before_it_is_there(story: Story) -> None:
    story.world.create_build("three", afterBuild="two")
    waits(story, "three")
    restarts(story)
    waits(story, "three")
    story.world.create_build("two")
    story.goes_on(lambda: status_of(story.world.build("three")).batch is not None)
    goes(story, "two")
    succeeds(story, "three")


def a_circle_is_closed(story: Story) -> None:
    story.world.create_build("two", afterBuild="three")
    story.world.create_build("three", afterBuild="two")
    story.goes_on(lambda: {says(story, "two")[0], says(story, "three")[0]} == {"failed", "succeeded"})


BATCH_SCENES = (
    one_that_is_waited_for_is_deleted,
    one_that_is_waited_for_is_deleted_before_a_restart,
    one_is_named_before_it_is_there,
    a_circle_is_closed,
)
