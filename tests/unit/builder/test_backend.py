"""The HTTP client of the agents: what it repeats, what it gives up, and what it says then."""

import hashlib
import os
from pathlib import Path

import pytest

from copr_operator.builder.agent.backend import Backend
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import AgentExit, FinishRequest
from tests.unit.builder.conftest import FakeBackend

BUSY = (503, "busy")


async def test_a_request_is_repeated_until_the_backend_answers(
    backend: Backend, fake_backend: FakeBackend, tmp_path: Path
) -> None:
    fake_backend.faults = [BUSY, (429, "slow down"), (502, "<html>bad gateway</html>")]
    sha256 = await backend.download("/srpm", tmp_path / "x.src.rpm", 100, missing="FetchFailed")
    assert sha256 == hashlib.sha256(b"an srpm").hexdigest()
    assert (tmp_path / "x.src.rpm").read_bytes() == b"an srpm"


async def test_the_token_is_read_anew_for_every_try(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths, tmp_path: Path
) -> None:
    fake_backend.faults = [(401, "expired")]
    await backend.download("/srpm", tmp_path / "x", 100, missing="FetchFailed")
    paths.token.write_text("another")
    await backend.download("/srpm", tmp_path / "x", 100, missing="FetchFailed")
    assert fake_backend.tokens == ["Bearer the-token", "Bearer the-token", "Bearer another"]


async def test_a_backend_that_stays_away_is_an_infrastructure_failure(
    backend: Backend, fake_backend: FakeBackend
) -> None:
    backend.budget = 0.01
    fake_backend.faults = [BUSY] * 1000
    with pytest.raises(AgentError, match=r"CollectFailed.*503: busy") as failed:
        await backend.finish(FinishRequest(outcome="failed"))
    assert failed.value.exit_code is AgentExit.INFRA


async def test_a_full_store_is_named_as_such(backend: Backend, fake_backend: FakeBackend) -> None:
    backend.budget = 0.01
    fake_backend.faults = [(507, '{"error": "no space", "reason": "StorageFull"}')] * 1000
    with pytest.raises(AgentError, match="StorageFull") as failed:
        await backend.finish(FinishRequest(outcome="failed"))
    assert failed.value.exit_code is AgentExit.INFRA


async def test_a_refusal_with_a_reason_is_not_repeated(backend: Backend, fake_backend: FakeBackend) -> None:
    fake_backend.faults = [(413, '{"error": "too big", "reason": "ResultsRefused"}')]
    with pytest.raises(AgentError, match=r"ResultsRefused.*too big") as failed:
        await backend.finish(FinishRequest(outcome="failed"))
    assert failed.value.exit_code is AgentExit.REFUSED
    assert len(fake_backend.tokens) == 1


async def test_a_reason_that_nobody_knows_is_not_believed(backend: Backend, fake_backend: FakeBackend) -> None:
    fake_backend.faults = [(400, '{"error": "hm", "reason": "Whatever"}')]
    with pytest.raises(AgentError) as failed:
        await backend.finish(FinishRequest(outcome="failed"))
    assert failed.value.reason == "CollectFailed"


async def test_a_file_is_sent_from_its_start_at_every_try(
    backend: Backend, fake_backend: FakeBackend, tmp_path: Path
) -> None:
    content = os.urandom(3 * 1024 * 1024)
    (tmp_path / "a.rpm").write_bytes(content)
    fake_backend.faults = [BUSY]
    fd = os.open(tmp_path / "a.rpm", os.O_RDONLY)
    try:
        sha256 = hashlib.sha256(content).hexdigest()
        ref = await backend.put_file("a.rpm", fd, len(content), sha256)
    finally:
        os.close(fd)
    assert fake_backend.files["a.rpm"] == content
    assert (ref.name, ref.sha256, ref.size) == ("a.rpm", sha256, len(content))


async def test_a_file_that_shrinks_while_it_is_sent_is_refused(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "a.rpm").write_bytes(b"short")
    fd = os.open(tmp_path / "a.rpm", os.O_RDONLY)
    try:
        with pytest.raises(AgentError, match=r"ResultsRefused.*shrank"):
            await backend.put_file("a.rpm", fd, 100, "0" * 64)
    finally:
        os.close(fd)


async def test_a_name_is_one_segment_of_the_path(backend: Backend, fake_backend: FakeBackend, tmp_path: Path) -> None:
    (tmp_path / "libstdc++^1~2.rpm").write_bytes(b"x")
    fd = os.open(tmp_path / "libstdc++^1~2.rpm", os.O_RDONLY)
    try:
        await backend.put_file("libstdc++^1~2.rpm", fd, 1, hashlib.sha256(b"x").hexdigest())
    finally:
        os.close(fd)
    assert list(fake_backend.files) == ["libstdc++^1~2.rpm"]


async def test_a_log_at_the_wrong_offset_says_where_it_is(backend: Backend, fake_backend: FakeBackend) -> None:
    fake_backend.logs["builder-live.log"] = b"12345"
    assert await backend.append_log("builder-live.log", 3, b"45") == 5
    assert fake_backend.logs["builder-live.log"] == b"12345"


async def test_a_download_over_the_limit_is_refused(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"SourceRefused.*larger than 3 bytes"):
        await backend.download("/srpm", tmp_path / "x", 3, missing="FetchFailed")
