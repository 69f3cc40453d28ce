"""Short stories of builds that take over the results of others, and that are known to be dangerous."""

from typing import Any

from copr_operator.core.views import build_view
from tests.model.backend import PRIVATE_OWNER
from tests.model.invariants import status_of, verdict
from tests.model.scenes import Story, a_build_succeeds
from tests.model.world import ARM, X86

COPY, END = "backend POST .*/copy$", "PATCH .*/coprbuilds/two/status$"


def fork(story: Story, **spec: Any) -> None:
    """`two` takes over the results of `one`."""
    a_build_succeeds(story)
    story.world.fork("two", status_of(story.build).id or 0, **spec)


def state(story: Story) -> tuple[str | None, str]:
    status = status_of(story.world.build("two"))
    return status.state, (verdict(status) or ("", ""))[1]


def succeeds(story: Story) -> None:
    story.goes_on(lambda: state(story)[0] == "succeeded")
    number = status_of(story.world.build("two")).id or 0
    assert {(number, X86), (number, ARM)} <= story.world.backend.listed


def finds_nothing(story: Story) -> None:
    story.goes_on(lambda: state(story) == ("failed", "NothingToFork"))


def a_build_is_forked(story: Story) -> None:
    fork(story)
    succeeds(story)


def a_build_is_forked_into_another_directory(story: Story) -> None:
    fork(story, projectDirname="demo:fork")
    succeeds(story)


def a_fork_of_nothing(story: Story) -> None:
    a_build_succeeds(story)
    story.world.fork("two", 999)
    finds_nothing(story)


def a_fork_of_what_is_private(story: Story) -> None:
    fork(story, owner=PRIVATE_OWNER)
    finds_nothing(story)


def a_chroot_has_nothing_to_fork(story: Story) -> None:
    story.goes_on(lambda: status_of(story.build).state == "succeeded", "no-x86")
    story.world.fork("two", status_of(story.build).id or 0)
    story.goes_on(lambda: state(story)[0] == "succeeded")
    chroots = build_view(story.world.build("two")).status.chroots
    assert {chroot.name: chroot.state for chroot in chroots} == {X86: "skipped", ARM: "succeeded"}


def _is_waited_out(story: Story, trouble: str) -> None:
    """Of the backend, when it is asked for the copy."""
    fork(story)
    setattr(story.world.backend, trouble, True)
    story.goes_on(lambda: state(story) == ("pending", "BackendUnavailable"))
    setattr(story.world.backend, trouble, False)
    succeeds(story)


def a_fork_is_asked_for_while_the_backend_is_away(story: Story) -> None:
    _is_waited_out(story, "away")


def a_copy_breaks(story: Story) -> None:
    """The half of it that is there already is no success."""
    _is_waited_out(story, "breaks")


def an_original_is_deleted_while_it_is_copied(story: Story) -> None:
    """What was taken over before the controller died is asked for again, when the original is gone."""
    fork(story)
    story.dies_after(COPY)
    story.world.delete_build(story.build)
    story.life.deliver_all()
    while story.life.calls:  # the newest first: the removal is done before the fork is looked at
        story.life.answer(story.life.calls[-1])
    succeeds(story)


def an_original_is_deleted_before_it_is_copied(story: Story) -> None:
    fork(story)
    story.comes_to(COPY)
    story.world.delete_build(story.build)
    story.life.deliver_all()
    while story.life.calls:
        story.life.answer(story.life.calls[-1])
    finds_nothing(story)


def a_fork_is_deleted_while_it_is_copied(story: Story) -> None:
    fork(story)
    story.dies_after(COPY)
    story.world.delete_build(story.world.build("two"))


def a_fork_is_canceled_while_the_backend_is_away(story: Story) -> None:
    fork(story)
    story.world.backend.away = True
    story.goes_on(lambda: state(story) == ("pending", "BackendUnavailable"))
    story.world.change_build(story.world.build("two"), cancel=True)
    story.goes_on(lambda: state(story)[0] == "canceled")


def a_forks_project_is_removed_and_made_again(story: Story) -> None:
    """Between the copy and the end: what was taken over is gone with the project."""
    fork(story)
    copy = story.comes_to(COPY)
    story.world.remove_project()
    story.life.deliver_all()
    story.life.answer(copy)
    story.goes_on(lambda: story.world.api.find("coprprojects", "ns", "demo") is None)
    story.world.define_project()
    finds_nothing(story)


FORK_SCENES = (
    a_build_is_forked,
    a_build_is_forked_into_another_directory,
    a_fork_of_nothing,
    a_fork_of_what_is_private,
    a_chroot_has_nothing_to_fork,
    a_fork_is_asked_for_while_the_backend_is_away,
    a_copy_breaks,
    an_original_is_deleted_while_it_is_copied,
    an_original_is_deleted_before_it_is_copied,
    a_fork_is_deleted_while_it_is_copied,
    a_fork_is_canceled_while_the_backend_is_away,
    a_forks_project_is_removed_and_made_again,
)
