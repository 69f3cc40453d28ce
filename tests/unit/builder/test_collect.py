"""How a step ends, seen from `collect`: whatever the untrusted container did."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from copr_operator.builder.agent import collect
from copr_operator.builder.agent.endsignal import End, wait_for_end
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import PLAN_VARIABLE, PodPaths
from copr_operator.core.wire import AgentExit, StepPlan, StepSummary
from tests.unit.builder.conftest import FakeBackend, wrapper_life, write_results

PlanOf = Callable[..., StepPlan]
RPMS = {"hello-1-1.src.rpm": b"source", "hello-1-1.x86_64.rpm": b"binary", "hello.spec": b"spec"}


@pytest.fixture
def fifo(paths: PodPaths) -> Path:
    os.mkfifo(paths.end_fifo)
    return paths.end_fifo


async def run(plan: StepPlan, paths: PodPaths) -> tuple[StepSummary, AgentExit]:
    """`collect` beside a wrapper that starts and ends."""
    ended = asyncio.create_task(asyncio.to_thread(wrapper_life, paths.end_fifo))
    try:
        return await collect.collect(plan, paths)
    finally:
        await ended


async def test_the_results_of_a_good_step_are_stored_and_then_published(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    write_results(paths, RPMS)
    (paths.out_dir / "builder-live.log").write_text("all good\n")
    (paths.out_dir / "build.log").write_text("make\n")
    (paths.in_dir / "source.sha256").write_text("abc")
    summary, code = await run(plan_of(backend_url=fake_backend.url), paths)
    assert code is AgentExit.OK
    assert fake_backend.files == RPMS
    assert fake_backend.logs == {"builder-live.log": b"all good\n", "build.log": b"make\n"}
    assert [file["name"] for file in fake_backend.finished[0]["files"]] == sorted(RPMS)
    assert fake_backend.finished[0]["outcome"] == "succeeded"
    assert (summary.outcome, summary.packages, summary.source_sha256) == ("succeeded", 1, "abc")


async def test_a_failed_step_stores_its_logs_and_no_results(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    write_results(paths, RPMS, exit_code="22\n")
    (paths.out_dir / "builder-live.log").write_text("error: no\n")
    summary, code = await run(plan_of(backend_url=fake_backend.url), paths)
    assert (summary.outcome, summary.failure, code) == ("failed", None, AgentExit.OK)
    assert fake_backend.files == {}
    assert fake_backend.logs == {"builder-live.log": b"error: no\n"}
    assert fake_backend.finished == [{"outcome": "failed", "files": []}]


async def test_a_killed_wrapper_is_a_failed_step(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    write_results(paths, RPMS, exit_code=None)
    summary, code = await run(plan_of(backend_url=fake_backend.url), paths)
    assert (summary.outcome, code, fake_backend.files) == ("failed", AgentExit.OK, {})


async def test_a_result_that_is_no_plain_file_is_refused_by_name_and_the_logs_are_kept(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    write_results(paths, RPMS)
    (paths.out_dir / "results" / "evil.rpm").symlink_to("/etc/shadow")
    (paths.out_dir / "builder-live.log").write_text("hehe\n")
    summary, code = await run(plan_of(backend_url=fake_backend.url), paths)
    assert code is AgentExit.REFUSED
    assert summary.failure is not None
    assert summary.failure.reason == "ResultsRefused"
    assert "evil.rpm" in summary.failure.message
    assert fake_backend.logs == {"builder-live.log": b"hehe\n"}
    assert fake_backend.finished == [{"outcome": "failed", "files": []}]


async def test_a_log_that_became_a_link_does_not_leak_and_does_not_stop_the_results(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    write_results(paths, RPMS)
    for name in ("builder-live.log", "root.log"):
        (paths.out_dir / name).symlink_to("/etc/passwd")
    _, code = await run(plan_of(backend_url=fake_backend.url), paths)
    assert code is AgentExit.OK
    assert fake_backend.logs == {}


async def test_results_the_backend_refuses_are_the_users_failure(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    write_results(paths, RPMS)
    fake_backend.summary = {"outcome": "failed", "failure": {"reason": "ResultsRefused", "message": "not its name"}}
    summary, code = await run(plan_of(backend_url=fake_backend.url), paths)
    assert code is AgentExit.REFUSED
    assert summary.failure is not None
    assert summary.failure.message == "not its name"


async def test_a_store_that_is_full_at_publication_is_infrastructure(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    write_results(paths, RPMS)
    fake_backend.summary = {"outcome": "failed", "failure": {"reason": "StorageFull", "message": "no space"}}
    _, code = await run(plan_of(backend_url=fake_backend.url), paths)
    assert code is AgentExit.INFRA


@pytest.mark.parametrize(
    ("step", "names", "reason"),
    [
        ("source", ["a.spec"], "NoSRPM"),
        ("source", ["a-1-1.src.rpm", "b-1-1.src.rpm"], "SeveralSRPMs"),
        ("rpm", ["a-1-1.src.rpm", "a.spec"], "NoResults"),
        ("rpm", [], "NoResults"),
    ],
)
async def test_a_step_without_what_it_is_for_has_failed(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend, step: str, names: list[str], reason: str
) -> None:
    write_results(paths, dict.fromkeys(names, b"x"))
    summary, code = await run(plan_of(step=step, backend_url=fake_backend.url), paths)
    assert code is AgentExit.REFUSED
    assert summary.failure is not None
    assert summary.failure.reason == reason


async def test_a_backend_that_is_away_at_the_end_is_infrastructure(
    plan_of: PlanOf, paths: PodPaths, fifo: Path
) -> None:
    write_results(paths, RPMS)
    (paths.out_dir / "builder-live.log").write_text("all good\n")
    with pytest.raises(AgentError, match="CollectFailed") as failed:
        await run(plan_of(backend_url="http://127.0.0.1:1", limits={"upload": 0}), paths)
    assert failed.value.exit_code is AgentExit.INFRA


async def test_a_container_that_never_starts_is_infrastructure(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    with pytest.raises(AgentError, match="StartingTimeout") as failed:
        await collect.collect(plan_of(backend_url=fake_backend.url, limits={"end_signal": 0}), paths)
    assert failed.value.exit_code is AgentExit.INFRA


async def test_a_container_that_never_ends_is_given_up_as_its_own_fault_with_its_logs(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, fake_backend: FakeBackend
) -> None:
    write_results(paths, RPMS)
    (paths.out_dir / "builder-live.log").write_text("still busy\n")
    writer = os.open(fifo, os.O_RDWR)
    os.write(writer, b"started\n")
    try:
        plan = plan_of(backend_url=fake_backend.url, limits={"end_signal": 1})
        summary, code = await collect.collect(plan, paths)
    finally:
        os.close(writer)
    assert code is AgentExit.REFUSED
    assert summary.failure is not None
    assert summary.failure.reason == "Timeout"
    assert fake_backend.files == {}
    assert fake_backend.logs == {"builder-live.log": b"still busy\n"}


async def test_the_end_is_not_seen_before_the_last_writer_is_gone(fifo: Path) -> None:
    waiting = asyncio.create_task(wait_for_end(fifo, 5))
    first = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
    second = os.open(fifo, os.O_WRONLY)
    os.write(first, b"started\n")
    os.close(first)
    done, _ = await asyncio.wait([waiting], timeout=0.02)
    assert not done
    os.close(second)
    assert await waiting is End.ENDED


async def test_noise_on_the_fifo_is_no_end(fifo: Path) -> None:
    waiting = asyncio.create_task(wait_for_end(fifo, 0.05))
    writer = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
    os.write(writer, b"x" * 10_000)
    try:
        assert await waiting is End.STILL_RUNNING
    finally:
        os.close(writer)


def test_the_termination_message_always_has_the_end_of_the_log(
    plan_of: PlanOf, paths: PodPaths, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (paths.out_dir / "builder-live.log").write_text("line\n" * 10_000 + "the last line\n")
    plan = plan_of(backend_url="http://127.0.0.1:1", limits={"end_signal": 0})
    monkeypatch.setenv(PLAN_VARIABLE, plan.model_dump_json())
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert collect.main(paths) == AgentExit.INFRA
    text = paths.termination_log.read_text()
    assert len(text.encode()) <= 4096
    summary = StepSummary.model_validate_json(text)
    assert summary.failure is not None
    assert summary.failure.reason == "StartingTimeout"
    assert summary.log_tail.endswith("the last line\n")
