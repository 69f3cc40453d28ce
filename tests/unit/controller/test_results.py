"""What is remembered of the backend's answers, and when it is not true any more."""

from typing import Any

from copr_operator.controller.results import Results
from copr_operator.core.wire import CopiedBuild
from tests.support.builders import CONFIG, project


class Backend:
    async def remove_project(self, owner: str, name: str) -> None:
        """Done."""

    async def ensure_repository(self, owner: str, dirname: str, chroot: str) -> None:
        """Done."""


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
