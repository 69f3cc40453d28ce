"""What is remembered of the backend's answers, and when it is not true any more."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from copr_operator.controller import results as results_module
from copr_operator.controller.backend import BackendAwayError, BackendError
from copr_operator.controller.results import PATIENCE, Results
from copr_operator.core.wire import CopiedBuild
from tests.support.builders import CONFIG, D12, accepted, build, imported, observed, project

pytestmark = pytest.mark.looptime
AWAY = BackendAwayError("the backend can't be reached: no route")
FORK = {"owner": "bob", "projectDirname": "demo", "id": 3}


class Backend:
    def __init__(self, problem: BackendError | None = None, takes: float = 0.0) -> None:
        self.problem = problem
        self.takes = takes
        """Seconds for each answer."""
        self.asked: list[tuple[str, str, str]] = []

    async def ensure_repository(self, owner: str, dirname: str, chroot: str) -> None:
        self.asked.append((owner, dirname, chroot))
        await self._answer()

    async def _answer(self, *_: object) -> None:
        problem = self.problem
        await asyncio.sleep(self.takes)
        if problem is not None:
            raise problem

    remove_project = set_privacy = remove_build = take_srpm = copy_build = _answer


Call = Callable[[Results], Awaitable[None]]
CALLS: dict[str, Call] = {
    "ensure_directory": lambda results: results.ensure_directory(build(accepted())),
    "take_srpm": lambda results: results.take_srpm(replace(observed(build(accepted())), original=build(imported()))),
    "copy": lambda results: results.copy(build(accepted(), forked_from=FORK)),
    "remove": lambda results: results.remove(build(accepted())),
    "set_privacy": lambda results: results.set_privacy(project(), True),
    "ensure_repository": lambda results: results.ensure_repository(project(), D12),
    "remove_project": lambda results: results.remove_project(project()),
}
"""All that asks the backend; those about projects raise."""


async def seconds(call: Awaitable[None]) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with contextlib.suppress(BackendError):
        await call
    return loop.time() - begun


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


async def test_no_more_than_so_many_repositories_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_module, "PLACES", 5)
    backend: Any = Backend()
    results = Results(backend, CONFIG)
    for number in range(20):
        view = build(accepted(), project_dirname=f"demo:pr:{number}")
        for _ in range(2):  # the plan looks at it again when the place was needed
            await results.ensure_directory(view)
        assert {("alice", view.dirname, chroot) for chroot in view.open_chroots} <= results.directories
        assert len(results.directories) <= 5


async def test_a_backend_that_is_away_is_asked_by_one_build_and_not_by_all() -> None:
    """Each would keep a worker until it gives up."""
    backend: Any = Backend(AWAY)
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


class TestAway:
    """Who asks a backend that is away keeps a worker, and that is needed for builds that run."""

    @pytest.mark.parametrize("first", CALLS)
    @pytest.mark.parametrize("then", CALLS)
    async def test_whoever_finds_out_tells_all_others(self, first: str, then: str) -> None:
        backend: Any = Backend(AWAY, takes=5)
        results = Results(backend, CONFIG)
        assert await seconds(CALLS[first](results)) == 5
        assert await seconds(CALLS[then](results)) == 0

    @pytest.mark.parametrize("call", CALLS)
    async def test_it_is_asked_again_after_a_while(self, call: str) -> None:
        backend: Any = Backend(AWAY, takes=5)
        results = Results(backend, CONFIG)
        await seconds(CALLS[call](results))
        await asyncio.sleep(CONFIG.deadlines.backend_retry)
        backend.problem = None
        assert await seconds(CALLS[call](results)) > 0

    async def test_who_comes_last_asks_again_when_all_do(self) -> None:
        backend: Any = Backend(AWAY)
        results = Results(backend, CONFIG)
        await results.remove(replace(build(accepted()), uid="first"))
        await asyncio.sleep(CONFIG.deadlines.backend_retry - 1)
        await results.remove(replace(build(accepted()), uid="last"))
        assert (results.again("last"), results.message("last")) == (1, str(AWAY))
        await asyncio.sleep(1)
        assert (results.again("last"), results.message("last")) == (None, "")

    async def test_only_so_many_find_out_at_the_same_time(self) -> None:
        backend: Any = Backend(AWAY, takes=20)
        results = Results(backend, CONFIG, questions=2)
        calls = [results.remove(replace(build(accepted()), uid=str(number))) for number in range(6)]
        assert await asyncio.gather(*map(seconds, calls)) == [20, 20, *[PATIENCE] * 4]

    async def test_who_waits_for_a_question_that_fails_does_not_ask_it_too(self) -> None:
        backend: Any = Backend(AWAY, takes=PATIENCE / 2)
        results = Results(backend, CONFIG, questions=1)
        calls = [results.remove(replace(build(accepted()), uid=uid)) for uid in ("one", "two", "three")]
        assert await asyncio.gather(*map(seconds, calls)) == [PATIENCE / 2] * 3
        assert results.message("three") == str(AWAY)

    async def test_one_that_answers_others_is_not_away(self) -> None:
        """A large copy takes longer than an answer may."""
        backend: Any = Backend(AWAY, takes=20)
        results = Results(backend, CONFIG)
        copy = asyncio.create_task(seconds(CALLS["copy"](results)))
        await asyncio.sleep(10)
        backend.problem, backend.takes = None, 0.0
        await CALLS["remove"](results)
        await copy
        await CALLS["set_privacy"](results)
        assert results.private == {project().uid: True}

    async def test_an_answer_that_comes_late_says_that_it_is_back(self) -> None:
        backend: Any = Backend(takes=6)
        results = Results(backend, CONFIG)
        late = asyncio.create_task(seconds(CALLS["remove"](results)))
        await asyncio.sleep(0)
        backend.problem, backend.takes = AWAY, 5
        await seconds(CALLS["copy"](results))
        await late
        backend.problem, backend.takes = None, 0.0
        await CALLS["set_privacy"](results)
        assert results.private == {project().uid: True}
