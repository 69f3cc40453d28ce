"""A rerun takes over what the source step of another build left, by the checksum of its SRPM."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.backend import rpms
from tests.unit.backend.world import CHROOT, World, bearer, results

NAME = "hello-1.0-1.src.rpm"
SRPM = rpms.rpm(arch="src")
SHA256 = hashlib.sha256(SRPM).hexdigest()


@pytest.fixture
async def made(world: World) -> World:
    """Build 1 has made its SRPM."""
    world.add_build(1, package=None)
    await world.send(world.add_pod(1, "src"), {NAME: SRPM}, log=b"made\n")
    return world


async def take(world: World, build_id: int, **more: Any) -> httpx.Response:
    body = {"owner": "alice", "dirname": "demo", "ofBuild": 1, "name": NAME, "sha256": SHA256, **more}
    return await world.control("POST", f"builds/{build_id}/srpm", body)


def sources(world: World, build_id: int) -> Path:
    return world.root / "results/alice/demo/srpm-builds" / f"{build_id:08d}"


async def remove(world: World, build_id: int) -> None:
    await world.control("POST", f"builds/{build_id}/remove", {"owner": "alice", "dirname": "demo"})
    world.clock.now += 601
    await world.services.sweep()


async def test_it_is_the_reruns_own_from_then_on_with_its_log_and_without_a_second_copy(made: World) -> None:
    assert (await take(made, 2)).json() == {"ready": True, "message": "", "reason": ""}
    assert {path.name for path in sources(made, 2).iterdir()} == {path.name for path in sources(made, 1).iterdir()}
    assert (sources(made, 2) / NAME).samefile(sources(made, 1) / NAME)
    await remove(made, 1)
    assert not sources(made, 1).exists()
    assert (sources(made, 2) / NAME).read_bytes() == SRPM
    assert (await made.get("alice/demo/srpm-builds/00000002/builder-live.log.gz")).status_code == 200


async def test_the_pods_of_the_rerun_get_it(made: World) -> None:
    await take(made, 2)
    made.add_build(2, source=None, rerunOf="build-1")
    token = made.add_pod(2, CHROOT)
    answer = await made.http.get("/agent/v1/srpm", headers=bearer(token))
    assert (answer.status_code, answer.headers["x-file-name"], answer.content) == (200, NAME, SRPM)
    assert (await made.send(token, results())).json()["outcome"] == "succeeded"


async def test_asked_again_it_says_the_same_even_when_the_other_build_is_gone(made: World) -> None:
    await take(made, 2)
    await remove(made, 1)
    assert (await take(made, 2)).json()["ready"]
    assert (await take(made, 3, ofBuild=2)).json()["ready"], "a rerun can be rerun"


@pytest.mark.parametrize("when", ["never-was", "in-its-grace-time", "removed", "project-removed", "other-name"])
async def test_an_srpm_that_is_gone_is_said_to_be_gone(made: World, when: str) -> None:
    if when == "in-its-grace-time":
        await made.control("POST", "builds/1/remove", {"owner": "alice", "dirname": "demo"})
    elif when == "removed":
        await remove(made, 1)
    elif when == "project-removed":
        await made.control("DELETE", "projects/alice/demo")
    changes: dict[str, dict[str, Any]] = {"never-was": {"ofBuild": 77}, "other-name": {"name": "other-1.0-1.src.rpm"}}
    answer = (await take(made, 2, **changes.get(when, {}))).json()
    assert (answer["ready"], answer["reason"]) == (False, "SRPMNotFound")
    assert "is not in the store any more" in answer["message"]
    assert not sources(made, 2).exists()


async def test_another_file_of_that_name_is_not_taken(made: World) -> None:
    (sources(made, 1) / NAME).write_bytes(b"something else")
    answer = (await take(made, 2)).json()
    assert answer["reason"] == "SRPMNotFound"
    assert "has the checksum" in answer["message"]
    assert not sources(made, 2).exists()


async def test_what_a_kill_left_half_taken_is_completed(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt, store = made.services.store.adopt, made.services.store

    def stop(source: Path, path: str) -> None:
        if path.endswith(".src.rpm"):
            raise OSError(5, "input/output error")
        adopt(source, path)

    with monkeypatch.context() as patch:
        patch.setattr(store, "adopt", stop)
        with pytest.raises(OSError, match="input/output"):
            await take(made, 2)
    assert sources(made, 2).exists()
    assert (await take(made, 2)).json()["ready"]
    assert (sources(made, 2) / NAME).exists()


async def test_a_rerun_that_was_removed_takes_nothing(made: World) -> None:
    await made.control("POST", "builds/2/remove", {"owner": "alice", "dirname": "demo"})
    assert (await take(made, 2)).status_code == 410
    assert not sources(made, 2).exists()


@pytest.mark.parametrize(
    "change",
    [{"name": "../x.src.rpm"}, {"name": ".x"}, {"owner": "a b"}, {"dirname": ".."}, {"ofBuild": 0}, {"ofBuild": None}],
)
async def test_what_can_not_be_asked_for_is_refused(made: World, change: dict[str, Any]) -> None:
    assert (await take(made, 2, **change)).status_code == 400


async def test_only_the_controller_may_ask(made: World) -> None:
    token = made.add_pod(1, "src")
    answer = await made.http.post("/control/v1/builds/2/srpm", content="{}", headers=bearer(token))
    assert answer.status_code == 403
