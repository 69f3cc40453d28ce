"""Sources that users send, and builds that fetch them."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from tests.unit.backend import rpms
from tests.unit.backend.world import NAMESPACE, World, bearer

SPEC = b"Name: hello\n"


@pytest.fixture
def user(world: World) -> str:
    world.kube.users["alice-token"] = {"username": "alice"}
    world.kube.allowed.add(("alice", NAMESPACE))
    return "alice-token"


async def send(world: World, token: str, name: str = "hello.spec", namespace: str = NAMESPACE, data: bytes = SPEC):  # type: ignore[no-untyped-def]
    params = {"namespace": namespace, "filename": name}
    return await world.http.post("/uploads", params=params, content=data, headers=bearer(token))


def add_build(world: World, ref: str, build_id: int = 1, namespace: str = NAMESPACE) -> str:
    source = {"type": "upload", "upload": {"ref": ref}}
    world.add_build(build_id, package=None, namespace=namespace, source=source)
    return world.add_pod(build_id, "src", namespace=namespace)


async def test_an_uploaded_file_reaches_the_build_that_names_it(world: World, user: str) -> None:
    response = await send(world, user)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["sha256"], answer["size"]) == (hashlib.sha256(SPEC).hexdigest(), len(SPEC))
    assert answer["ref"].endswith("/hello.spec")
    token = add_build(world, answer["ref"])
    fetched = await world.http.get(f"/agent/v1/upload/{answer['ref']}", headers=bearer(token))
    assert (fetched.status_code, fetched.content) == (200, SPEC)


async def test_what_called_a_webhook_reaches_the_script_of_its_build_and_no_other(world: World, user: str) -> None:
    ref = (await send(world, user, "hook_payload", data=b"{}")).json()["ref"]
    custom = {"type": "custom", "custom": {"script": "x", "hookPayload": {"ref": ref}}}
    world.add_build(1, package=None, source=custom)
    world.add_build(2, package=None, source={"type": "custom", "custom": {"script": "x"}})
    answers = [
        await world.http.get(f"/agent/v1/upload/{ref}", headers=bearer(world.add_pod(number, "src")))
        for number in (1, 2)
    ]
    assert [(answer.status_code, answer.content == b"{}") for answer in answers] == [(200, True), (403, False)]


async def test_who_may_not_create_builds_may_not_upload(world: World, user: str) -> None:
    world.kube.users["bob-token"] = {"username": "bob"}
    assert (await send(world, "bob-token")).status_code == 403
    assert (await send(world, user, namespace="kube-system")).status_code == 403


@pytest.mark.parametrize(
    "name", ["", "x", "hello.rpm", "../x.spec", "a b.spec", ".spec", "x.spec.exe", "hello.x86_64.rpm"]
)
async def test_other_files_than_specs_and_srpms_are_refused(world: World, user: str, name: str) -> None:
    response = await send(world, user, name)
    assert (response.status_code, response.json()["reason"]) == (400, "SourceRefused")


@pytest.mark.parametrize("namespace", ["", "..", "A", "a/b", "x" * 64])
async def test_a_namespace_that_can_not_be_is_refused(world: World, user: str, namespace: str) -> None:
    assert (await send(world, user, namespace=namespace)).status_code == 400


async def test_a_build_gets_its_own_upload_and_no_other(world: World, user: str) -> None:
    mine, other = (await send(world, user)).json()["ref"], (await send(world, user)).json()["ref"]
    token = add_build(world, mine)
    assert (await world.http.get(f"/agent/v1/upload/{other}", headers=bearer(token))).status_code == 403


async def test_a_build_of_another_namespace_does_not_get_it(world: World, user: str) -> None:
    ref = (await send(world, user)).json()["ref"]
    world.add_project("mallory", "demo", namespace="mallory")
    source = {"type": "upload", "upload": {"ref": ref}}
    world.add_build(2, package=None, namespace="mallory", owner="mallory", source=source)
    token = world.add_pod(2, "src", namespace="mallory")
    response = await world.http.get(f"/agent/v1/upload/{ref}", headers=bearer(token))
    assert (response.status_code, response.json()["reason"]) == (404, "UploadNotFound")


DAY = 24 * 3600


async def fetched(world: World, ref: str, token: str) -> int:
    return (await world.http.get(f"/agent/v1/upload/{ref}", headers=bearer(token))).status_code


async def pass_time(world: World, seconds: float) -> None:
    world.clock.now += seconds
    await world.services.sweep()


async def test_an_upload_waits_for_its_build_for_two_weeks_after_its_last_use(world: World, user: str) -> None:
    ref = (await send(world, user)).json()["ref"]
    token = add_build(world, ref)
    for _ in range(2):
        await pass_time(world, 13 * DAY)
        assert await fetched(world, ref, token) == 200
    await pass_time(world, 15 * DAY)
    assert await fetched(world, ref, token) == 404
    assert list((world.root / "uploads").iterdir()) == []


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
async def test_an_upload_goes_a_day_after_its_source_step_has_ended(world: World, user: str, outcome: str) -> None:
    ref = (await send(world, user)).json()["ref"]
    token = add_build(world, ref)
    assert await fetched(world, ref, token) == 200
    srpm = {"hello-1.0-1.src.rpm": rpms.rpm(arch="src")}
    for name, data in srpm.items():
        await world.put(token, name, data)
    assert (await world.finish(token, srpm, outcome)).json()["outcome"] == outcome
    await pass_time(world, DAY - 1)
    assert (world.root / "uploads" / ref).exists()
    await pass_time(world, 2)
    assert list((world.root / "uploads").iterdir()) == []


async def test_an_upload_that_another_build_names_waits_for_that_again(world: World, user: str) -> None:
    ref = (await send(world, user)).json()["ref"]
    first, second = add_build(world, ref, 1), add_build(world, ref, 2)
    assert await fetched(world, ref, first) == 200
    await world.finish(first, outcome="failed")
    await pass_time(world, DAY - 1)
    assert await fetched(world, ref, second) == 200
    await pass_time(world, 10 * DAY)
    assert await fetched(world, ref, second) == 200


async def test_an_upload_whose_source_step_has_ended_keeps_no_room(tmp_path: Path) -> None:
    world = await World(tmp_path, max_namespace_upload_bytes=20, max_upload_bytes=100).start()
    world.kube.users["alice-token"] = {"username": "alice"}
    world.kube.allowed.add(("alice", NAMESPACE))
    ref = (await send(world, "alice-token")).json()["ref"]
    assert (await send(world, "alice-token")).status_code == 413
    await world.finish(add_build(world, ref), outcome="failed")
    assert (await send(world, "alice-token")).status_code == 200
    assert len(list((tmp_path / "uploads").glob("*.json"))) == 1, "the disk is bounded too: it has made room"
    await world.close()


async def test_what_was_never_sent_to_its_end_goes_after_a_day(world: World, user: str) -> None:
    ref = (await send(world, user)).json()["ref"]
    left = world.root / "spool/uploads/.part-1"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half a file")
    os.utime(left, (world.clock.now, world.clock.now))
    await pass_time(world, 1.1 * DAY)
    assert not left.exists()
    assert await fetched(world, ref, add_build(world, ref)) == 200


async def test_a_namespace_has_a_limit_to_what_waits(tmp_path: Path) -> None:
    world = await World(tmp_path, max_namespace_upload_bytes=20, max_upload_bytes=100).start()
    world.kube.users["alice-token"] = {"username": "alice"}
    world.kube.allowed.add(("alice", NAMESPACE))
    assert (await send(world, "alice-token", data=b"x" * 101)).status_code == 413
    assert (await send(world, "alice-token", data=b"x" * 30)).status_code == 413, "it would be over the limit"
    at_once = await asyncio.gather(*(send(world, "alice-token") for _ in range(5)))
    assert sorted(answer.status_code for answer in at_once) == [200, 413, 413, 413, 413], "also while others are sent"
    assert (await send(world, "alice-token", data=b"x" * 9)).status_code == 413
    world.clock.now += 1
    assert (await send(world, "alice-token", data=b"x" * 8)).status_code == 200
    world.clock.now += 23 * 3600
    assert (await send(world, "alice-token")).status_code == 413
    world.clock.now += 2 * 3600
    assert (await send(world, "alice-token", data=b"x" * 30)).status_code == 413, "it would not fit alone"
    assert len(list((tmp_path / "uploads").glob("*.json"))) == 2, "so nothing is dropped for it"
    assert (await send(world, "alice-token")).status_code == 200, "what nobody fetched for a day makes room"
    assert len(list((tmp_path / "uploads").glob("*.json"))) == 2, "and no more of it than is needed"
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []
    await world.close()


@pytest.mark.parametrize("ref", ["x/y.spec", "../state/lock", "a/../b", "x"])
async def test_a_reference_that_is_none_finds_nothing(world: World, ref: str) -> None:
    token = add_build(world, "x/y.spec")
    assert (await world.http.get(f"/agent/v1/upload/{ref}", headers=bearer(token))).status_code in (403, 404)
