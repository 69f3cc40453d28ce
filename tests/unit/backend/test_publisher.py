"""Many changes, few runs."""

import asyncio
import shutil
from pathlib import Path

import pytest

from copr_operator.backend.errors import UnreadableError
from copr_operator.backend.inspector import RpmFile
from copr_operator.backend.layout import Repo
from copr_operator.backend.repository import Step
from copr_operator.backend.store import StoreFullError
from tests.unit.backend.world import CHROOT, World, listed, results

REPO = Repo("alice", "demo", CHROOT)


async def test_fifty_builds_that_finish_at_once_make_at_most_two_metadata_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = []
    for number in range(1, 51):
        world.add_build(number, package=f"p{number}")
        tokens.append(world.add_pod(number, CHROOT))
        for name, data in results(f"p{number}").items():
            assert (await world.put(tokens[-1], name, data)).status_code == 200
    await world.control("PUT", f"repos/alice/demo/{CHROOT}")
    before = world.runs
    # Like the two worker processes: results become known one after the other, over more time than a run takes.
    two, read = asyncio.Semaphore(2), world.inspector.inspect

    async def slowly(path: Path, href: str) -> RpmFile:
        async with two:
            await asyncio.sleep(0.005)
            return await read(path, href)

    monkeypatch.setattr(world.inspector, "inspect", slowly)
    answers = await asyncio.gather(*(world.finish(token, results(f"p{n}")) for n, token in enumerate(tokens, 1)))
    assert [answer.json()["outcome"] for answer in answers] == ["succeeded"] * 50
    assert world.runs - before <= 2
    assert len(listed(world.repo)) == 100


async def test_a_change_that_arrives_during_a_run_shares_the_next(world: World) -> None:
    publisher = world.services.publisher
    await asyncio.gather(*(publisher.publish(REPO, {f"{number:08d}-x": []}) for number in range(20)))
    assert world.runs == 1


async def test_a_single_build_waits_for_nobody(tmp_path: Path) -> None:
    world = await World(tmp_path, gather=3600).start()
    await world.build(1)
    assert len(listed(world.repo)) == 2
    await world.close()


async def test_a_build_that_is_still_storing_results_delays_others_for_a_bounded_time(tmp_path: Path) -> None:
    world = await World(tmp_path, gather=0.01).start()
    with world.services.publisher.arriving(REPO):
        await world.build(1)
    assert len(listed(world.repo)) == 2
    await world.close()


async def test_asking_again_for_what_is_published_makes_no_run(world: World) -> None:
    await world.build(1)
    before = world.runs
    await world.services.publisher.publish(REPO, {})
    await world.control("PUT", f"repos/alice/demo/{CHROOT}")
    await world.services.publisher.publish(REPO, {"00000099-gone": []})
    assert world.runs == before


async def test_a_lost_private_state_is_read_anew_from_the_rpms(world: World) -> None:
    await world.build(1)
    await world.build(2, "other")
    shutil.rmtree(world.root / "state" / "repos")
    await world.restart()
    world.inspector.read.clear()
    await world.build(3, "third")
    assert {name.partition("/")[0] for name in listed(world.repo)} == {
        "00000001-hello", "00000002-other", "00000003-third",
    }  # fmt: skip
    assert len([href for href in world.inspector.read if not href.startswith("00000003")]) == 4


async def test_a_lost_repodata_is_made_anew_when_the_controller_asks_for_the_repository(world: World) -> None:
    await world.build(1)
    shutil.rmtree(world.repo / "repodata")
    await world.restart()
    assert (await world.control("PUT", f"repos/alice/demo/{CHROOT}")).json()["ready"]
    assert len(listed(world.repo)) == 2


async def test_failed_and_removed_builds_stay_out_of_a_repository_that_is_read_anew(world: World) -> None:
    await world.build(1)
    await world.build(2, "removed")
    await world.build(3, "failed")
    (world.repo / "00000003-failed" / "success").unlink()
    await world.control("POST", "builds/2/remove", {"owner": "alice", "dirname": "demo"})
    shutil.rmtree(world.root / "state" / "repos")
    await world.restart()
    await world.control("PUT", f"repos/alice/demo/{CHROOT}")
    assert {name.partition("/")[0] for name in listed(world.repo)} == {"00000001-hello"}


async def test_an_rpm_damaged_on_disk_does_not_keep_the_others_out(world: World) -> None:
    await world.build(1)
    await world.build(2, "broken")
    (world.repo / "00000002-broken" / "broken-1.0-1.x86_64.rpm").write_bytes(b"\0" * 100)
    shutil.rmtree(world.root / "state" / "repos")
    await world.restart()
    await world.control("PUT", f"repos/alice/demo/{CHROOT}")
    assert len(listed(world.repo)) == 3


async def test_an_rpm_that_can_not_be_read_now_fails_the_run_and_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.build(1)
    await world.build(2, "other")
    shutil.rmtree(world.root / "state" / "repos")
    await world.restart()
    before, read = listed(world.repo), world.inspector.inspect

    async def fails(path: Path, href: str) -> RpmFile:
        if href.endswith("other-1.0-1.x86_64.rpm"):
            raise UnreadableError("it can't be read", deadly=True)
        return await read(path, href)

    world.add_build(3, package="third")
    token = world.add_pod(3, CHROOT)
    with monkeypatch.context() as patch:
        patch.setattr(world.inspector, "inspect", fails)
        assert (await world.send(token, results("third"))).status_code == 503
        assert listed(world.repo) == before
    assert (await world.finish(token, results("third"))).json()["outcome"] == "succeeded"
    assert len(listed(world.repo)) == 6


async def test_a_full_store_fails_the_run_and_the_next_one_succeeds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.build(1)
    before = listed(world.repo)
    put = world.services.store.put

    def full(path: str, data: bytes) -> None:
        if path.endswith("-filelists.xml.gz"):
            raise StoreFullError(28, "no space left")
        put(path, data)

    world.add_build(2, package="other")
    token = world.add_pod(2, CHROOT)
    with monkeypatch.context() as patch:
        patch.setattr(world.services.store, "put", full)
        response = await world.send(token, results("other"))
        assert (response.status_code, response.json()["reason"]) == (507, "StorageFull")
        assert listed(world.repo) == before
    assert (await world.finish(token, results("other"))).json()["outcome"] == "succeeded"
    assert len(listed(world.repo)) == 4


async def test_superseded_metadata_goes_when_its_grace_time_is_over(tmp_path: Path) -> None:
    world = await World(tmp_path, removal_grace=0).start()
    await world.build(1)
    await world.build(2, "other")
    world.clock.now += 1
    await world.services.sweep()
    assert len(list((world.repo / "repodata").iterdir())) == 4
    assert world.steps[-1] is Step.OLD_METADATA_REMOVED
    await world.close()
