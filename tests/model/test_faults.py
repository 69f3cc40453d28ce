"""One fault at each single write of a build's way, and every run ends as it does without any.

The controller is killed after the write (which is before the next one), the write's answer is lost, or the write is
refused. Writes are those to the API server and to the backend.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any, Literal

import pytest

from copr_operator.api.common import TERMINAL
from copr_operator.core.views import package_view
from tests.model.cluster import End
from tests.model.invariants import shown, status_of
from tests.model.life import Life
from tests.model.loop import CLOCK
from tests.model.package_calm import check_packages
from tests.model.scenes import Story, a_build_succeeds
from tests.model.world import SOURCE, X86

Blow = Literal["killed", "answer lost", "refused"]
BLOWS: tuple[Blow, ...] = Blow.__args__  # type: ignore[attr-defined]
ROUNDS, AFTERWARDS = 100, 10
"""Until all builds have ended at the latest; and from then on, for what is still to be stopped, told or deleted."""
WRITES = ("POST", "PATCH", "DELETE", "backend PUT", "backend POST", "backend DELETE")


class Blown:
    """A story in which the write number `at` goes wrong, and all others go well."""

    def __init__(self, at: int | None, blow: Blow, begin: Callable[[Story], None] | None = None) -> None:
        """`begin`: what comes before, without any blow."""
        self.story = Story()
        if begin is not None:
            begin(self.story)
        self.writes = 0
        self._at = at
        self._blow = blow

    def plays(self, end: End, event: Callable[[Story], None] | None) -> tuple[Any, ...]:
        """To the end of all builds, with something that happens when the RPMs of `one` are begun: no pod is near its
        end then, not even when a write has to be made again. What there is in the end: Jobs, all that statuses show but
        the id, since ids may have gaps, and what the packages say."""
        rounds = iter(range(ROUNDS))
        while not self._over() and next(rounds, None) is not None:
            if event is not None and self.story.world.builds and self.story.state(X86) == "starting":
                event(self.story)
                event = None
            self._round(end)
        for _ in range(AFTERWARDS):
            self._round(end)
        world = self.story.world
        jobs = sorted((work.build_name, work.step, work.attempt) for work in world.cluster.works.values())
        assert not world.cluster.live(), "Jobs that nobody needs still run"
        check_packages(world)
        packages = [package_view(package).status for package in world.packages]
        told = [(status.sources_built, status.conditions[0].reason) for status in packages]
        return [shown(status_of(build))[1:] for build in world.builds], jobs, told

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


def has_a_package(story: Story) -> None:
    """That makes a build of its own, and keeps only that when it has ended."""
    story.world.define_package("hello", source=SOURCE, buildOnChange=True, maxBuilds=1)


def is_forked(story: Story) -> None:
    a_build_succeeds(story)
    story.world.fork("two", status_of(story.build).id or 0, projectDirname="demo:fork", packageName="hello")
    story.world.define_package("hello")


@pytest.mark.parametrize("blow", BLOWS)
@pytest.mark.parametrize(
    ("begin", "end", "event", "states"),
    [
        (None, "success", None, ["succeeded"]),
        (None, "user", None, ["failed"]),
        (None, "evicted", None, ["failed"]),
        (None, "success", cancels, ["canceled"]),
        (None, "success", deletes, []),
        (has_a_package, "success", None, ["succeeded"]),
        (is_forked, "success", None, ["succeeded", "succeeded"]),
    ],
    ids=["succeeds", "fails", "is evicted", "is canceled", "is deleted", "has a package", "is forked"],
)
def test_a_build_ends_the_same_whichever_write_goes_wrong(
    begin: Callable[[Story], None] | None,
    end: End,
    event: Callable[[Story], None] | None,
    states: list[str],
    blow: Blow,
) -> None:
    undisturbed = Blown(None, blow, begin)
    with closing(undisturbed.story.world):
        expected = undisturbed.plays(end, event)
    assert [shows[0] for shows in expected[0]] == states
    for at in range(1, undisturbed.writes + 1):
        blown = Blown(at, blow, begin)
        with closing(blown.story.world):
            assert blown.plays(end, event) == expected, f"write {at} of {undisturbed.writes}"
