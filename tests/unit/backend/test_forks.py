"""A fork's builds get the results of others: the same files, listed in their own repositories."""

import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest

from copr_operator.backend.errors import UnreadableError
from copr_operator.backend.inspector import RpmFile
from tests.unit.backend import rpms
from tests.unit.backend.world import CHROOT, NAMESPACE, World, bearer, results

SRPM = "hello-1.0-1.src.rpm"
FORK = {
    "owner": "bob", "dirname": "fork", "namespace": "bobs", "chroots": [CHROOT],
    "from_owner": "alice", "from_dirname": "demo", "from_id": 42,
}  # fmt: skip
RPM = f"{CHROOT}/000000%d-hello/hello-1.0-1.x86_64.rpm"


async def copy(world: World, build_id: int = 50, **changes: Any) -> httpx.Response:
    return await world.control("POST", f"builds/{build_id}/copy", {**FORK, **changes})


@pytest.fixture
async def built(world: World) -> World:
    """Build 42 of alice/demo, with its SRPM."""
    world.add_build(42, package=None)
    sent = await world.send(world.add_pod(42, "src"), {SRPM: rpms.rpm("hello", "1.0", "1", "src")}, log=b"source\n")
    assert sent.status_code == 200, sent.text
    await world.build(42)
    return world


async def test_the_results_are_published_as_the_forks_own(built: World) -> None:
    answer = (await copy(built)).json()
    assert (answer["package"], answer["srpm"]["name"]) == ({"name": "hello", "version": "1.0-1"}, SRPM)
    assert answer["chroots"] == [{"name": CHROOT, "packages": 2}]
    repo = built.root / f"results/bob/fork/{CHROOT}"
    same = (repo / "00000050-hello/hello-1.0-1.x86_64.rpm").read_bytes()
    assert same == results()["hello-1.0-1.x86_64.rpm"]
    for path in (f"{CHROOT}/00000050-hello/results.json", f"{CHROOT}/00000050-hello/success",
                 f"{CHROOT}/00000050-hello/builder-live.log.gz", f"srpm-builds/00000050/{SRPM}"):  # fmt: skip
        assert (await built.get(f"bob/fork/{path}")).status_code == 200, path
    assert "00000050-hello" in published(built.root / f"results/bob/fork/{CHROOT}")
    assert (await copy(built)).json() == answer, "asked again it says the same"


def published(repo: Path) -> str:
    """The repository's primary metadata."""
    (primary,) = (repo / "repodata").glob("*-primary.xml.gz")
    return gzip.decompress(primary.read_bytes()).decode()


async def test_the_fork_keeps_its_results_when_the_origin_goes_and_the_other_way_round(built: World) -> None:
    await copy(built)
    await copy(built, 51, dirname="other")
    await built.control("DELETE", "projects/alice/demo")
    await built.control("POST", "builds/51/remove", {"owner": "bob", "dirname": "other", "chroots": [CHROOT]})
    built.clock.now += 601
    await built.services.sweep()
    assert not (built.root / "results/alice/demo").exists()
    assert not (built.root / f"results/bob/other/{CHROOT}/00000051-hello").exists()
    assert (await built.get("bob/fork/" + RPM % 50)).status_code == 200
    assert (await built.control("GET", "highest-id")).json()["id"] == 51


@pytest.mark.parametrize("way", ["removed", "the project is removed", "private"])
async def test_asked_again_what_was_taken_over_stays_whatever_has_become_of_the_origin(built: World, way: str) -> None:
    """The controller has not heard the first answer."""
    answer = (await copy(built)).json()
    (built.root / f"results/bob/fork/{CHROOT}/00000050-hello/success").unlink()  # killed just before it
    if way == "removed":
        await built.control("POST", "builds/42/remove", {"owner": "alice", "dirname": "demo", "chroots": [CHROOT]})
    elif way == "private":
        await built.control("PUT", "projects/alice/demo", {"private": True, "namespace": NAMESPACE})
    else:
        await built.control("DELETE", "projects/alice/demo")
    if way != "private":
        built.clock.now += 601
        await built.services.sweep()
    assert (await copy(built)).json() == answer
    assert (await built.get(f"bob/fork/{CHROOT}/00000050-hello/success")).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [{"from_id": 43}, {"from_owner": "carol"}, {"from_dirname": "demo:pr:1"}, {"from_dirname": "other"}],
    ids=str,
)
async def test_what_is_not_there_is_not_taken_over(built: World, changes: dict[str, Any]) -> None:
    answer = await copy(built, **changes)
    assert (answer.status_code, answer.json()["package"], answer.json()["chroots"]) == (200, None, [])
    assert not (built.root / "results/bob").exists()


@pytest.mark.parametrize("unreadable", [SRPM, "hello-1.0-1.x86_64.rpm"])
async def test_what_can_not_be_read_now_is_taken_over_when_asked_again(
    built: World, monkeypatch: pytest.MonkeyPatch, unreadable: str
) -> None:
    read = built.inspector.inspect

    async def fails(path: Path, href: str) -> RpmFile:
        if href.endswith(unreadable):
            raise UnreadableError("it can't be read", deadly=True)
        return await read(path, href)

    with monkeypatch.context() as patch:
        patch.setattr(built.inspector, "inspect", fails)
        assert (await copy(built)).status_code == 503
    answer = (await copy(built)).json()
    assert answer["chroots"] == [{"name": CHROOT, "packages": 2}]


async def test_a_chroot_without_packages_is_left_out(built: World) -> None:
    answer = (await copy(built, chroots=[CHROOT, "fedora-42-x86_64"])).json()
    assert [chroot["name"] for chroot in answer["chroots"]] == [CHROOT]


async def test_a_build_that_is_being_removed_is_not_taken_over(built: World) -> None:
    await built.control("POST", "builds/42/remove", {"owner": "alice", "dirname": "demo", "chroots": [CHROOT]})
    assert (await copy(built)).json()["chroots"] == []
    await built.control("POST", "builds/52/remove", {"owner": "bob", "dirname": "fork", "chroots": [CHROOT]})
    assert (await copy(built, 52)).status_code == 410


async def test_results_of_a_private_project_stay_in_its_namespace(built: World) -> None:
    await built.control("PUT", "projects/alice/demo", {"private": True, "namespace": NAMESPACE})
    assert (await copy(built)).json()["package"] is None
    assert (await copy(built, namespace=NAMESPACE)).json()["package"]["name"] == "hello"


@pytest.mark.parametrize(
    "changes", [{"dirname": "../x"}, {"from_dirname": "a/b"}, {"owner": ""}, {"chroots": ["../x"]}, {"from_id": "x"}]
)
async def test_what_can_be_no_name_is_refused(built: World, changes: dict[str, Any]) -> None:
    assert (await copy(built, **changes)).status_code == 400


async def test_only_the_controller_may_ask(built: World) -> None:
    token = built.add_pod(42, CHROOT)
    assert (await built.http.post("/control/v1/builds/50/copy", json=FORK, headers=bearer(token))).status_code == 403
    assert (await built.control("POST", "builds/0/copy", FORK)).status_code == 400
