"""What is remembered of the backend's answers, and when it is not true any more."""

from dataclasses import replace
from typing import Any

from copr_operator.controller.backend import BackendAwayError, BackendError
from copr_operator.controller.results import Results
from copr_operator.core.wire import CopiedBuild
from tests.support.builders import CONFIG, accepted, build, project


class Backend:
    def __init__(self, problem: BackendError | None = None) -> None:
        self.problem = problem
        self.asked: list[tuple[str, str, str]] = []

    async def remove_project(self, owner: str, name: str) -> None:
        """Done."""

    async def ensure_repository(self, owner: str, dirname: str, chroot: str) -> None:
        self.asked.append((owner, dirname, chroot))
        if self.problem is not None:
            raise self.problem


async def test_with_a_project_goes_what_was_there_for_builds_that_still_wait() -> None:
    """It may be made again, and they must not take what is gone for theirs."""
    backend: Any = Backend()
    results = Results(backend, CONFIG)
    results.copied["a-fork"] = CopiedBuild()
    results.srpms["a-rerun"] = ""
    results.directories = {(owner, dirname, "c-1-x") for owner in ("alice", "bob") for dirname in ("demo:1", "other:1")}
    await results.remove_project(project())
    assert (results.copied, results.srpms) == ({}, {})
    assert ("alice", "demo:1", "c-1-x") not in results.directories
    assert len(results.directories) == 3


async def test_a_repository_that_was_made_for_its_project_is_not_asked_for_again() -> None:
    backend: Any = Backend()
    results = Results(backend, CONFIG)
    await results.ensure_repository(project(), "c-1-x")
    assert results.directories == {("alice", "demo", "c-1-x")}


async def test_repositories_that_are_there_are_not_asked_for_again() -> None:
    backend: Any = Backend()
    results = Results(backend, CONFIG)
    view = build(accepted())
    first, *others = (("alice", "demo", chroot) for chroot in view.open_chroots)
    results.directories = {first}
    await results.ensure_directory(view)
    assert backend.asked == others
    assert results.directories == {first, *others}


async def test_a_backend_that_is_away_is_asked_by_one_build_and_not_by_all() -> None:
    """Each would keep a worker until it gives up."""
    backend: Any = Backend(BackendAwayError("the backend can't be reached: no route"))
    results = Results(backend, CONFIG)
    for uid in ("one", "two"):
        await results.ensure_directory(replace(build(accepted()), uid=uid))
    assert len(backend.asked) == 1
    assert results.message("one") == results.message("two") == "the backend can't be reached: no route"


async def test_what_is_wrong_with_one_repository_keeps_no_other_build_from_its_own() -> None:
    backend: Any = Backend(BackendError("the backend answered 503: it can't be read"))
    results = Results(backend, CONFIG)
    for uid in ("one", "two"):
        await results.ensure_directory(replace(build(accepted()), uid=uid))
    assert len(backend.asked) == 2
