"""One fault at each single write of a build's way, and every run ends as it does without any.

The controller is killed after the write (which is before the next one), the write's answer is lost, or the write is
refused. Writes are those to the API server and to the backend.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any, Literal

import pytest

from copr_operator.api.common import TERMINAL
from tests.model.cluster import End
from tests.model.invariants import shown, status_of
from tests.model.life import Life
from tests.model.loop import CLOCK
from tests.model.scenes import Story
from tests.model.world import X86

Blow = Literal["killed", "answer lost", "refused"]
BLOWS: tuple[Blow, ...] = Blow.__args__  # type: ignore[attr-defined]
ROUNDS, AFTERWARDS = 100, 6
"""Until a build has its end at the latest; and from then on, for what is still to be stopped or acknowledged."""
WRITES = ("POST", "PATCH", "DELETE", "backend PUT", "backend POST", "backend DELETE")


class Blown:
    """A story in which the write number `at` goes wrong, and all others go well."""

    def __init__(self, at: int | None, blow: Blow) -> None:
        self.story = Story()
        self.writes = 0
        self._at = at
        self._blow = blow

    def plays(self, end: End, event: Callable[[Story], None] | None) -> tuple[Any, ...]:
        """To the end of the build, with something that happens when its RPMs are built; what there is then: its Jobs,
        and all that its status shows but the id, since ids may have gaps."""
        rounds = iter(range(ROUNDS))
        while not self._over() and next(rounds, None) is not None:
            if event is not None and self.story.world.builds and self.story.state(X86) == "running":
                event(self.story)
                event = None
            self._round(end)
        for _ in range(AFTERWARDS):
            self._round(end)
        world = self.story.world
        jobs = sorted(work.job_name for work in world.cluster.works.values())
        assert not world.cluster.live(), "Jobs that nobody needs still run"
        return [shown(status_of(build))[1:] for build in world.builds], jobs

    def _over(self) -> bool:
        return all(status_of(build).state in TERMINAL for build in self.story.world.builds)

    def _round(self, end: End) -> None:
        world, life = self.story.world, self.story.life
        life.deliver_all()
        while life.calls:
            life = self._answers(life)
        for act in world.cluster.housekeeping():
            act()
        for work in world.cluster.busy():
            world.cluster.advance(work, end)
        CLOCK.seconds += 2

    def _answers(self, life: Life) -> Life:
        """The controller that goes on."""
        call = life.calls[0]
        writes = call.text.startswith(WRITES)
        self.writes += writes
        if not writes or self.writes != self._at:
            life.answer(call)
        elif self._blow == "answer lost":
            life.answer(call, "unheard")
        elif self._blow == "refused":
            life.answer(call, "refused")
        else:
            life.answer(call, "held")
            self.story.world.crash(life)
            self.story.life = life = self.story.world.start()
        return life


def cancels(story: Story) -> None:
    story.world.change_build(story.build, cancel=True)


def deletes(story: Story) -> None:
    story.world.delete_build(story.build)


@pytest.mark.parametrize("blow", BLOWS)
@pytest.mark.parametrize(
    ("end", "event", "states"),
    [
        ("success", None, ["succeeded"]),
        ("user", None, ["failed"]),
        ("evicted", None, ["failed"]),
        ("success", cancels, ["canceled"]),
        ("success", deletes, []),
    ],
    ids=["succeeds", "fails", "is evicted", "is canceled", "is deleted"],
)
def test_a_build_ends_the_same_whichever_write_goes_wrong(
    end: End, event: Callable[[Story], None] | None, states: list[str], blow: Blow
) -> None:
    undisturbed = Blown(None, blow)
    with closing(undisturbed.story.world):
        expected = undisturbed.plays(end, event)
    assert [shows[0] for shows in expected[0]] == states
    for at in range(1, undisturbed.writes + 1):
        blown = Blown(at, blow)
        with closing(blown.story.world):
            assert blown.plays(end, event) == expected, f"write {at} of {undisturbed.writes}"
