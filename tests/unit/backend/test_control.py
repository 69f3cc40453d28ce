"""What the controller asks for: repositories, removals, the highest id."""

import asyncio
import gzip

import httpx
import pytest

from tests.support.waiting import until
from tests.unit.backend import rpms
from tests.unit.backend.world import CHROOT, World, listed, results

OTHER = "epel-10-aarch64"
REPO = f"repos/alice/demo/{CHROOT}"


async def remove(world: World, build_id: int, **more: object) -> httpx.Response:
    return await world.control("POST", f"builds/{build_id}/remove", {"owner": "alice", "dirname": "demo", **more})


async def source(world: World, build_id: int) -> None:
    world.add_build(build_id, package=None)
    response = await world.send(world.add_pod(build_id, "src"), {"hello-1.0-1.src.rpm": rpms.rpm(arch="src")})
    assert response.json()["outcome"] == "succeeded"


async def test_a_repository_is_there_and_empty_as_soon_as_it_is_asked_for(world: World) -> None:
    response = await world.control("PUT", REPO)
    assert (response.status_code, response.json()["ready"]) == (200, True)
    assert listed(world.repo) == {}
    assert (await world.control("PUT", REPO)).json()["ready"]
    assert world.runs == 1


BAD_REPOS = [
    f"repos/a b/demo/{CHROOT}", f"repos/alice/../{CHROOT}", "repos/alice/demo/srpm-builds", f"repos/-x/demo/{CHROOT}",
    "repos/alice/demo/x", f"repos/.hidden/demo/{CHROOT}",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_REPOS)
async def test_names_that_can_not_be_are_refused(world: World, path: str) -> None:
    assert (await world.control("PUT", path)).status_code in (400, 404, 405)


async def test_a_removed_build_leaves_the_metadata_at_once_and_its_files_after_the_grace_time(world: World) -> None:
    await source(world, 1)
    await world.build(1)
    await world.build(2, "other")
    response = await remove(world, 1, chroots=[CHROOT], package="hello")
    assert response.json()["ready"]
    assert {href.partition("/")[0] for href in listed(world.repo)} == {"00000002-other"}
    await world.services.sweep()
    assert (world.repo / "00000001-hello" / "hello-1.0-1.x86_64.rpm").exists()
    assert (world.root / "results/alice/demo/srpm-builds/00000001").exists()
    world.clock.now += 601
    await world.services.sweep()
    assert not (world.repo / "00000001-hello").exists()
    assert not (world.root / "results/alice/demo/srpm-builds/00000001").exists()
    assert (world.repo / "00000002-other" / "success").exists()
    assert len(listed(world.repo)) == 2


async def test_removing_twice_or_what_never_was_is_no_error(world: World) -> None:
    await world.build(1)
    assert (await remove(world, 1)).json()["ready"]
    runs = world.runs
    assert (await remove(world, 1)).json()["ready"]
    assert (await remove(world, 999)).json()["ready"]
    assert world.runs == runs
    world.clock.now += 601
    await world.services.sweep()
    assert (await remove(world, 1)).json()["ready"]


async def test_a_removal_survives_a_restart(world: World) -> None:
    await world.build(1)
    await remove(world, 1)
    await world.restart()
    world.clock.now += 601
    await world.services.sweep()
    assert not (world.repo / "00000001-hello").exists()
    assert list((world.root / "state/trash").iterdir()) == []


async def test_a_removal_that_was_interrupted_before_it_was_published_is_finished_after_the_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.build(1)
    put = world.services.store.put

    def failing(path: str, data: bytes) -> None:
        if path.endswith("repomd.xml"):
            raise OSError(5, "input/output error")
        put(path, data)

    monkeypatch.setattr(world.services.store, "put", failing)
    with pytest.raises(OSError, match="input/output"):
        await remove(world, 1)
    assert len(listed(world.repo)) == 2
    await world.restart()
    world.clock.now += 10_000
    await world.services.sweep()
    assert listed(world.repo) == {}
    assert (world.repo / "00000001-hello" / "success").exists(), "the grace time begins with the publication"
    world.clock.now += 601
    await world.services.sweep()
    assert not (world.repo / "00000001-hello").exists()


async def test_a_step_that_ends_after_its_build_was_removed_stores_nothing(world: World) -> None:
    world.add_build(1)
    token = world.add_pod(1, CHROOT)
    for name, data in results().items():
        await world.put(token, name, data)
    await remove(world, 1)
    assert (await world.finish(token, results())).status_code == 410
    assert not (world.repo / "00000001-hello").exists()
    await world.restart()
    assert (await world.finish(token, results())).status_code == 410


async def test_a_removal_waits_for_the_step_that_is_being_stored(world: World) -> None:
    world.add_build(1)
    token = world.add_pod(1, CHROOT)
    for name, data in results().items():
        await world.put(token, name, data)
    finish = asyncio.create_task(world.finish(token, results()))
    await until(lambda: world.inspector.read)
    assert (await remove(world, 1)).json()["ready"]
    assert (await finish).json()["outcome"] == "succeeded"
    assert listed(world.repo) == {}


async def test_a_removed_chroot_is_gone_after_the_grace_time(world: World) -> None:
    await world.build(1)
    first = (await world.control("DELETE", REPO)).json()
    assert not first["ready"]
    assert listed(world.repo) == {}
    assert not (await world.control("DELETE", REPO)).json()["ready"]
    assert len(list((world.root / "state/trash").iterdir())) == 1
    world.clock.now += 601
    await world.services.sweep()
    assert not world.repo.exists()
    assert (await world.control("DELETE", REPO)).json()["ready"]


async def test_a_chroot_that_comes_back_during_the_grace_time_keeps_its_repository_but_not_its_old_results(
    world: World,
) -> None:
    await world.build(1)
    await world.control("DELETE", REPO)
    assert (await world.control("PUT", REPO)).json()["ready"]
    await world.build(2, "new")
    world.clock.now += 601
    await world.services.sweep()
    assert {href.partition("/")[0] for href in listed(world.repo)} == {"00000002-new"}
    assert not (world.repo / "00000001-hello").exists()


async def test_a_build_does_not_bring_a_removed_chroot_back(world: World) -> None:
    await world.control("PUT", REPO)
    await world.control("DELETE", REPO)
    world.add_build(1)
    response = await world.send(world.add_pod(1, CHROOT), results())
    assert response.json()["failure"]["reason"] == "ResultsRefused"
    assert "is being removed" in response.json()["failure"]["message"]


async def test_a_removed_project_loses_all_its_directories_and_no_other_project_s(world: World) -> None:
    for project in ("demo2",):
        world.add_project("alice", project)
    await source(world, 1)
    await world.build(1)
    await world.build(2, "pr", projectDirname="demo:pr:1")
    await world.build(3, "other", project="demo2")
    assert not (await world.control("DELETE", "projects/alice/demo")).json()["ready"]
    assert listed(world.repo) == {}
    assert not (await world.control("PUT", REPO)).json()["ready"]
    world.clock.now += 601
    await world.services.sweep()
    assert (await world.control("DELETE", "projects/alice/demo")).json()["ready"]
    assert [path.name for path in (world.root / "results/alice").iterdir()] == ["demo2"]
    assert len(listed(world.root / "results/alice/demo2" / CHROOT)) == 2
    assert (await world.control("PUT", REPO)).json()["ready"]


async def test_the_highest_id_is_that_of_any_step_and_survives_restart_and_removal(world: World) -> None:
    async def highest() -> int:
        found: int = (await world.control("GET", "highest-id")).json()["id"]
        return found

    assert await highest() == 0
    await source(world, 5)
    await world.build(3)
    assert await highest() == 5
    await world.restart()
    assert await highest() == 5
    world.add_build(9)
    await world.append(world.add_pod(9, CHROOT), b"only a log\n", 0)
    assert await highest() == 9
    await world.restart()
    assert await highest() == 9
    await remove(world, 9)
    await remove(world, 5)
    world.clock.now += 601
    await world.services.sweep()
    await world.restart()
    assert await highest() == 9


async def test_bodies_that_are_no_removal_are_refused(world: World) -> None:
    for build_id, body in (("1", {}), ("0", {}), ("x", {}), ("1", {"owner": "a b", "dirname": "demo"}),
                           ("1", {"owner": "alice", "dirname": "../x"}),
                           ("1", {"owner": "alice", "dirname": "demo", "chroots": [".."]})):  # fmt: skip
        response = await world.control("POST", f"builds/{build_id}/remove", body)
        assert response.status_code == 400, body


async def test_health_readiness_and_metrics_need_no_token(world: World) -> None:
    await world.build(1)
    assert (await world.http.get("/healthz")).status_code == 200
    assert (await world.http.get("/readyz")).status_code == 200
    text = (await world.http.get("/metrics")).text
    assert 'copr_backend_publications_total{outcome="published"} 1.0' in text
    world.services.ready = False
    assert (await world.http.get("/readyz")).status_code == 503


async def test_damaged_trash_is_left_alone(world: World) -> None:
    await world.build(1)
    await remove(world, 1)
    (entry,) = (world.root / "state/trash").iterdir()
    entry.write_bytes(b"{")
    await world.restart()
    world.clock.now += 601
    await world.services.sweep()
    assert (world.repo / "00000001-hello" / "success").exists()


async def test_a_step_that_never_ended_is_given_up_and_its_log_is_kept(world: World) -> None:
    await world.control("PUT", REPO)
    world.add_build(1)
    await world.append(world.add_pod(1, CHROOT), b"x\n", 0)
    path = f"alice/demo/{CHROOT}/00000001-hello/builder-live.log"
    await world.services.sweep()
    assert (await world.get(path)).status_code == 200
    world.clock.now += 100 * 365 * 86400
    await world.services.sweep()
    assert (await world.get(path)).status_code == 404
    assert gzip.decompress((await world.get(f"{path}.gz")).content) == b"x\n"
    assert list((world.root / "spool").iterdir()) == []


async def test_logs_of_a_removed_project_do_not_bring_it_back(world: World) -> None:
    await world.control("PUT", REPO)
    world.add_build(1)
    await world.append(world.add_pod(1, CHROOT), b"x\n", 0)
    await world.control("DELETE", "projects/alice/demo")
    assert (await world.get(f"alice/demo/{CHROOT}/00000001-hello/builder-live.log")).status_code == 404
    world.add_build(2)
    await world.append(world.add_pod(2, CHROOT), b"late\n", 0)
    world.clock.now += 601
    await world.services.sweep()
    world.clock.now += 100 * 365 * 86400
    await world.services.sweep()
    assert not (world.root / "results/alice/demo").exists()


async def test_a_removal_that_can_not_be_finished_does_not_hold_up_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.build(1)
    await world.build(2, "other")
    await remove(world, 1)
    await remove(world, 2)
    delete_tree = world.services.store.delete_tree

    def failing(path: str) -> None:
        if "00000001" in path:
            raise OSError(5, "input/output error")
        delete_tree(path)

    world.clock.now += 601
    with monkeypatch.context() as patch:
        patch.setattr(world.services.store, "delete_tree", failing)
        await world.services.sweep()
    assert (world.repo / "00000001-hello").exists()
    assert not (world.repo / "00000002-other").exists()
    await world.services.sweep()
    assert not (world.repo / "00000001-hello").exists()
