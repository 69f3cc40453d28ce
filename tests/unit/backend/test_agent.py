"""What build pods send, byte by byte."""

import asyncio
import errno
import gzip
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from copr_operator.backend import ingest
from copr_operator.backend.errors import UnreadableError
from copr_operator.backend.inspector import RpmFile
from tests.unit.backend import rpms
from tests.unit.backend.world import CHROOT, World, bearer, listed, results


@pytest.fixture
def token(world: World) -> str:
    world.add_build(42)
    return world.add_pod(42, CHROOT)


# -- files ---------------------------------------------------------------------------------------------------------


async def test_a_file_with_another_checksum_is_refused_and_leaves_nothing(world: World, token: str) -> None:
    response = await world.put(token, "x.rpm", b"data", sha256="0" * 64)
    assert (response.status_code, response.json()["reason"]) == (422, "ChecksumMismatch")
    assert [path for path in (world.root / "spool").rglob("*") if path.is_file() and path.name != "step.json"] == []


@pytest.mark.parametrize("name", ["..%2f..%2fx", ".hidden", "a%20b", "%00", "x%0a", "%d0%b0.rpm", "-x"])
async def test_a_file_with_an_unusual_name_is_refused(world: World, token: str, name: str) -> None:
    assert (await world.put(token, name, b"x")).status_code in (400, 404)


@pytest.mark.parametrize("value", ["", "abc", "0" * 63, "G" * 64])
async def test_a_file_without_its_checksum_is_refused(world: World, token: str, value: str) -> None:
    headers = bearer(token) | {"X-Content-SHA256": value}
    assert (await world.http.put("/agent/v1/files/x", content=b"", headers=headers)).status_code == 400


async def test_files_over_the_limits_are_refused(tmp_path: Path) -> None:
    world = await World(tmp_path, max_file_bytes=100, max_step_bytes=150, max_step_files=3).start()
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    assert (await world.put(token, "big", b"x" * 101)).status_code == 413
    assert (await world.put(token, "one", b"x" * 100)).status_code == 200
    assert (await world.put(token, "sum", b"x" * 51)).status_code == 413
    assert (await world.put(token, "two", b"x" * 10)).status_code == 200
    assert (await world.put(token, "three", b"x" * 10)).status_code == 200
    assert (await world.put(token, "three", b"y" * 10)).status_code == 200, "sent again"
    response = await world.put(token, "four", b"x")
    assert (response.status_code, response.json()["reason"]) == (413, "ResultsRefused")
    await world.close()


async def test_a_body_that_lies_about_its_length_is_cut_at_the_limit(tmp_path: Path) -> None:
    world = await World(tmp_path, max_file_bytes=1000).start()
    world.add_build(42)
    headers = bearer(world.add_pod(42, CHROOT)) | {"X-Content-SHA256": "0" * 64}

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 400

    response = await world.http.put("/agent/v1/files/x", content=endless(), headers=headers)
    assert response.status_code == 413
    await world.close()


async def test_a_client_that_falls_silent_is_let_go(tmp_path: Path) -> None:
    world = await World(tmp_path, read_timeout=0.05).start()
    world.add_build(42)
    headers = bearer(world.add_pod(42, CHROOT)) | {"X-Content-SHA256": "0" * 64}

    async def silent() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(3600)

    response = await world.http.put("/agent/v1/files/x", content=silent(), headers=headers)
    assert response.status_code == 408
    await world.close()


async def test_a_full_store_is_said_before_anything_is_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.settings = world.settings.model_copy(update={"min_free_bytes": 2**62})
    await world.start()
    world.add_build(42)
    response = await world.put(world.add_pod(42, CHROOT), "x", b"x")
    assert (response.status_code, response.json()["reason"]) == (507, "StorageFull")
    await world.close()


# -- logs ----------------------------------------------------------------------------------------------------------


async def test_a_log_grows_by_what_is_appended_and_says_where_to_go_on(world: World, token: str) -> None:
    assert (await world.append(token, b"one\n", 0)).json() == {"size": 4}
    again = await world.append(token, b"one\n", 0)
    assert (again.status_code, again.json()["size"]) == (409, 4)
    assert (await world.append(token, b"two\n", 4)).json() == {"size": 8}
    ahead = await world.append(token, b"x", 100)
    assert (ahead.status_code, ahead.json()["size"]) == (409, 8)


async def test_two_appends_at_the_same_place_are_not_mixed(world: World, token: str) -> None:
    answers = await asyncio.gather(*(world.append(token, bytes([65 + n]) * 1000, 0) for n in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert len(set((await world.get(f"alice/demo/{CHROOT}/00000042-hello/builder-live.log")).content)) == 1


@pytest.mark.parametrize("name", ["../x.log", "x", ".log", "X.log", "a%2Fb.log", "x.log.gz"])
async def test_a_log_with_an_unusual_name_is_refused(world: World, token: str, name: str) -> None:
    assert (await world.append(token, b"x", 0, name)).status_code in (400, 404)


async def test_a_log_without_a_number_as_offset_is_refused(world: World, token: str) -> None:
    response = await world.http.patch("/agent/v1/log/x.log?offset=a", content=b"", headers=bearer(token))
    assert response.status_code == 400


async def test_a_log_over_its_limit_is_refused(tmp_path: Path) -> None:
    world = await World(tmp_path, max_log_bytes=10).start()
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    assert (await world.append(token, b"0123456789", 0)).status_code == 200
    assert (await world.append(token, b"x", 10)).status_code == 413
    await world.close()


async def test_there_is_a_limit_to_the_number_of_logs(world: World, token: str) -> None:
    answers = [await world.append(token, b"x", 0, f"n{number}.log") for number in range(20)]
    assert [answer.status_code for answer in answers].count(200) == 16
    assert answers[-1].status_code == 413


async def test_logs_are_kept_as_gzip_under_copr_s_names_whether_appended_or_sent(world: World, token: str) -> None:
    await world.append(token, b"live\n", 0)
    await world.put(token, "build.log", b"mock's\n")
    await world.append(token, b"root\n", 0, "root.log")
    await world.finish(token, outcome="failed")
    stored = {path.name: gzip.decompress(path.read_bytes()) for path in (world.repo / "00000042-hello").iterdir()}
    assert stored == {"builder-live.log.gz": b"live\n", "build.log.gz": b"mock's\n", "root.log.gz": b"root\n"}


async def test_a_log_that_was_published_is_never_written_to_again(
    world: World, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_what: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    await world.append(token, b"log\n" * 1000, 0)
    with monkeypatch.context() as patch:
        patch.setattr(world.services.spool, "closed", full)
        assert (await world.finish(token, outcome="failed")).status_code == 507, "its pod will ask again"
    published = world.repo / "00000042-hello" / "builder-live.log.gz"
    fork = world.root / "fork"
    fork.hardlink_to(published)
    before = published.read_bytes(), published.stat().st_ino, published.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        assert (await world.finish(token, outcome="failed")).status_code == 507
    assert (published.read_bytes(), published.stat().st_ino, published.stat().st_mtime_ns) == before
    spool = world.services.spool.step(42, CHROOT, 1)
    assert {path.name for path in spool.logs.iterdir()} == {"builder-live.log", "builder-live.log.gz"}
    assert (await world.finish(token, outcome="failed")).status_code == 200
    assert (fork.read_bytes(), fork.stat().st_ino, fork.stat().st_mtime_ns) == before
    assert published.read_bytes() == fork.read_bytes()


# -- the end -------------------------------------------------------------------------------------------------------


async def test_a_successful_step_has_the_files_copr_s_has(world: World) -> None:
    await world.build(42)
    stored = {path.name for path in (world.repo / "00000042-hello").iterdir()}
    assert stored == {*results(), "builder-live.log.gz", "results.json", "success"}
    packages = json.loads((world.repo / "00000042-hello" / "results.json").read_text())["packages"]
    assert [package["arch"] for package in packages] == ["src", "x86_64"]


async def test_asking_again_gets_the_same_answer_and_changes_nothing(world: World, token: str) -> None:
    first = await world.send(token, results())
    runs = world.runs
    second = await world.finish(token, results())
    assert (second.status_code, second.json()) == (200, first.json())
    assert world.runs == runs
    assert (await world.put(token, "late.rpm", b"x")).status_code == 410
    assert (await world.append(token, b"late", 0)).status_code == 410


async def test_asking_twice_at_once_publishes_once(world: World, token: str) -> None:
    for name, data in results().items():
        await world.put(token, name, data)
    answers = await asyncio.gather(world.finish(token, results()), world.finish(token, results()))
    assert answers[0].json() == answers[1].json()
    assert world.runs == 1


async def test_the_answer_survives_a_restart(world: World, token: str) -> None:
    first = await world.send(token, results())
    await world.restart()
    assert (await world.finish(token, results())).json() == first.json()


async def test_what_was_sent_survives_a_restart(world: World, token: str) -> None:
    await world.append(token, b"one\n", 0)
    for name, data in results().items():
        await world.put(token, name, data)
    await world.restart()
    live = await world.get(f"alice/demo/{CHROOT}/00000042-hello/builder-live.log")
    assert live.text == "one\n"
    assert (await world.append(token, b"two\n", 4)).json() == {"size": 8}
    assert (await world.finish(token, results())).json()["outcome"] == "succeeded"


async def test_refused_results_keep_their_logs_and_publish_nothing(world: World, token: str) -> None:
    files = results() | {"hello-1.0-1.aarch64.rpm": rpms.rpm(arch="aarch64")}
    response = await world.send(token, files, log=b"log\n")
    failure = response.json()["failure"]
    assert (response.status_code, failure["reason"]) == (200, "ResultsRefused")
    assert "hello-1.0-1.aarch64.rpm" in failure["message"]
    assert [path.name for path in (world.repo / "00000042-hello").iterdir()] == ["builder-live.log.gz"]
    assert (await world.finish(token, files)).json() == response.json()
    assert world.runs == 0


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "NoResults"),
        ({"hello-1.0-1.src.rpm": rpms.rpm(arch="src")}, "NoResults"),
        ({"x.rpm": b"#!/bin/sh\nrm -rf /\n" * 20}, "ResultsRefused"),
        ({"x.rpm": b""}, "ResultsRefused"),
        (results() | {"evil.sh": b"x"}, "ResultsRefused"),
        (results() | {"bash-5-1.x86_64.rpm": rpms.rpm()}, "ResultsRefused"),
        (results("other"), "ResultsRefused"),
        (results(version="2.0"), "ResultsRefused"),
    ],
)
async def test_results_that_are_not_the_build_s_are_refused(
    world: World, token: str, files: dict[str, bytes], reason: str
) -> None:
    assert (await world.send(token, files)).json()["failure"]["reason"] == reason
    assert world.runs == 0


async def test_packages_whose_metadata_is_too_large_together_are_refused_before_all_are_read(
    world: World, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = results() | {
        f"hello-{number}-1.0-1.x86_64.rpm": rpms.rpm(f"hello-{number}", sourcerpm="hello-1.0-1.src.rpm")
        for number in range(20)
    }
    monkeypatch.setattr(ingest, "MAX_STEP_METADATA", 3000)
    failure = (await world.send(token, files)).json()["failure"]
    assert (failure["reason"], world.runs) == ("ResultsRefused", 0)
    assert "the packages' metadata takes more than 3000 bytes" in failure["message"]


def unreadable(world: World, monkeypatch: pytest.MonkeyPatch, *, deadly: bool) -> None:
    async def fails(_path: Path, href: str) -> RpmFile:
        raise UnreadableError(f"{href} can't be read", deadly=deadly)

    monkeypatch.setattr(world.inspector, "inspect", fails)


async def test_results_that_can_not_be_read_now_are_asked_for_again(
    world: World, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        unreadable(world, patch, deadly=False)
        response = await world.send(token, results())
    assert (response.status_code, response.json()["reason"]) == (503, "")
    assert (await world.finish(token, results())).json()["outcome"] == "succeeded"


@pytest.mark.parametrize(("step", "reason"), [(CHROOT, "ResultsRefused"), ("src", "SRPMInvalid")])
async def test_a_file_no_reader_survives_is_refused_and_not_tried_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, reason: str
) -> None:
    world.add_build(42, package=None if step == "src" else "hello")
    unreadable(world, monkeypatch, deadly=True)
    files = {"hello-1.0-1.src.rpm": rpms.rpm(arch="src")}
    response = await world.send(world.add_pod(42, step), files)
    assert (response.status_code, response.json()["failure"]["reason"]) == (200, reason)


async def test_a_file_listed_with_another_checksum_than_it_was_sent_with_is_refused(world: World, token: str) -> None:
    for name, data in results().items():
        await world.put(token, name, data)
    changed = {name: data + b"x" for name, data in results().items()}
    assert (await world.finish(token, changed)).json()["failure"]["reason"] == "ChecksumMismatch"


async def test_a_file_that_was_never_sent_is_asked_for(world: World, token: str) -> None:
    response = await world.finish(token, results())
    assert (response.status_code, response.json()["reason"]) == (422, "CollectFailed")


async def test_files_that_are_not_listed_at_the_end_are_dropped(world: World, token: str) -> None:
    await world.put(token, "evil-1-1.x86_64.rpm", rpms.rpm("evil", "1"))
    assert (await world.send(token, results())).json()["outcome"] == "succeeded"
    assert len(listed(world.repo)) == 2
    left = {path.name for path in (world.root / "spool").rglob("*") if path.is_file()}
    assert left == {"finished.json", "step.json"}


async def test_a_second_attempt_takes_the_place_of_the_first(world: World) -> None:
    build = world.add_build(42)
    first = world.add_pod(42, CHROOT, attempt=1)
    await world.append(first, b"first\n", 0)
    await world.finish(first, outcome="failed")
    build["status"]["chroots"][0]["attempt"] = 2
    second = world.add_pod(42, CHROOT, attempt=2)
    assert (await world.send(second, results(), log=b"second\n")).json()["outcome"] == "succeeded"
    log = (world.repo / "00000042-hello" / "builder-live.log.gz").read_bytes()
    assert gzip.decompress(log) == b"second\n"


async def test_packages_of_an_attempt_nobody_heard_of_are_replaced_without_a_broken_moment(world: World) -> None:
    build = world.add_build(42)
    old = results(build_time=1_600_000_000) | {
        "hello-extra-1.0-1.x86_64.rpm": rpms.rpm("hello-extra", sourcerpm="hello-1.0-1.src.rpm")
    }
    await world.send(world.add_pod(42, CHROOT, attempt=1), old)
    build["status"]["chroots"][0]["attempt"] = 2
    steps = len(world.steps)
    seen: list[dict[str, str]] = []
    adopt = world.services.store.adopt

    def watched(source: Path, path: str) -> None:
        adopt(source, path)
        seen.append(listed(world.repo))

    world.services.store.adopt = watched  # type: ignore[method-assign]
    await world.send(world.add_pod(42, CHROOT, attempt=2), results())
    assert seen == [{}, {}]
    assert world.steps[steps:].count(world.steps[0]) == 2
    assert set(listed(world.repo)) == {f"00000042-hello/{name}" for name in results()}
    assert not (world.repo / "00000042-hello" / "hello-extra-1.0-1.x86_64.rpm").exists()


@pytest.mark.parametrize("ended", ["cancel", "deleted", "canceled", "chroot failed"])
async def test_an_ended_build_s_results_are_not_published_but_its_logs_are_kept(world: World, ended: str) -> None:
    build = world.add_build(42)
    match ended:
        case "cancel":
            build["spec"]["cancel"] = True
        case "deleted":
            build["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        case "canceled":
            build["status"]["state"] = "canceled"
        case "chroot failed":
            build["status"]["chroots"][0]["state"] = "failed"
    response = await world.send(world.add_pod(42, CHROOT), results(), log=b"log\n")
    assert (response.json()["outcome"], response.json().get("failure")) == ("failed", None)
    assert [path.name for path in (world.repo / "00000042-hello").iterdir()] == ["builder-live.log.gz"]
    assert world.runs == 0


async def test_something_else_than_a_finish_request_is_refused(world: World, token: str) -> None:
    for content in (b"", b"[]", b'{"outcome": "maybe"}', b"\xff"):
        response = await world.http.post("/agent/v1/finish", content=content, headers=bearer(token))
        assert response.status_code == 400


# -- inputs --------------------------------------------------------------------------------------------------------


async def test_a_chroot_step_gets_the_srpm_of_its_build(world: World) -> None:
    world.add_build(7, package=None)
    srpm = rpms.rpm(arch="src")
    await world.send(world.add_pod(7, "src"), {"hello-1.0-1.src.rpm": srpm})
    world.add_build(7)
    response = await world.http.get("/agent/v1/srpm", headers=bearer(world.add_pod(7, CHROOT)))
    assert (response.status_code, response.content) == (200, srpm)
    assert response.headers["x-file-name"] == "hello-1.0-1.src.rpm"


async def test_a_build_without_an_srpm_has_none_to_give(world: World, token: str) -> None:
    response = await world.http.get("/agent/v1/srpm", headers=bearer(token))
    assert (response.status_code, response.json()["reason"]) == (404, "NoSRPM")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "NoSRPM"),
        (
            {"a-1-1.src.rpm": rpms.rpm("a", "1", arch="src"), "b-1-1.src.rpm": rpms.rpm("b", "1", arch="src")},
            "SeveralSRPMs",
        ),
        ({"a-1-1.src.rpm": rpms.rpm("a", "1", arch="x86_64")}, "SRPMInvalid"),
        ({"a-1-1.src.rpm": b"\0" * 500}, "SRPMInvalid"),
        ({"b-1-1.src.rpm": rpms.rpm("a", "1", arch="src")}, "SRPMInvalid"),
        ({f"{'n' * 101}-1-1.src.rpm": rpms.rpm("n" * 101, "1", arch="src")}, "PackageNameTooLong"),
    ],
)
async def test_a_source_step_that_brings_no_good_srpm_fails_with_the_reason(
    world: World, files: dict[str, bytes], reason: str
) -> None:
    world.add_build(7, package=None)
    response = await world.send(world.add_pod(7, "src"), files, log=b"log\n")
    assert response.json()["failure"]["reason"] == reason
    assert [path.name for path in (world.root / "results/alice/demo/srpm-builds/00000007").iterdir()] == [
        "builder-live.log.gz"
    ]
