"""Forked projects: the newest results of each package are theirs at once, and no pod runs for them."""

import asyncio
from pathlib import Path

from tests.integration.frontend.conftest import Whole
from tests.integration.frontend.test_cli import URL, ids
from tests.integration.frontend.test_private import found_by_dnf
from tests.support.frontend import Site

D12, D13 = "debian-12-x86_64", "debian-13-x86_64"


async def builds_of(site: Site, owner: str, project: str, who: str | None = None) -> list[dict[str, object]]:
    query = {"ownername": owner, "projectname": project}
    answer = await site.api("GET", "/build/list", site.people[who] if who else None, params=query)
    found: list[dict[str, object]] = answer.json()["items"]
    return found


async def until_forked(site: Site, owner: str, project: str, count: int) -> list[int]:
    """Ids of the fork's builds once there are so many and all of them have their results."""
    for build in await builds_of(site, owner, project):
        await site.until_state(int(str(build["id"])), "forked", "failed")
    found = await builds_of(site, owner, project)
    assert [build["state"] for build in found] == ["forked"] * count, found
    return [int(str(build["id"])) for build in found]


async def test_a_fork_has_the_newest_packages_and_runs_nothing(whole: Whole, tmp_path: Path) -> None:
    site = whole.site
    alice, bob = site.people["alice"], await site.person("bob")
    await alice.cli("create", "demo", "--chroot", D12, "--chroot", D13)
    (first,) = ids(await alice.cli("build", "demo", URL, "--nowait"))
    await site.until_state(first, "succeeded")
    whole.pods.release = "2"
    (second,) = ids(await alice.cli("build", "demo", URL, "--nowait", "--chroot", D13))
    await site.until_state(second, "succeeded")
    pods = len(await site.world.pods())
    forked = await bob.cli("fork", "alice/demo", "mine")
    assert (forked.code, "Forking project" in forked.out) == (0, True), forked
    assert (await builds_of(site, "bob", "mine")) != []
    newer, older = await until_forked(site, "bob", "mine", 2)
    seen = (await site.api("GET", f"/build/{newer}")).json()
    assert (seen["source_package"]["name"], seen["source_package"]["version"], seen["chroots"]) == (
        "hello",
        "2.8-2",
        [D13],
    )
    assert (seen["submitter"], seen["source_package"]["url"].endswith(f"/{newer:08d}/hello-2.8-2.src.rpm")) == (
        "bob",
        True,
    )
    assert (await site.api("GET", f"/build/{older}")).json()["chroots"] == [D12]
    chroot = (await site.api("GET", f"/build-chroot/{newer}/{D13}")).json()
    assert (chroot["state"], chroot["result_url"]) == (
        "forked", f"{whole.backend.url}/results/bob/mine/{D13}/{newer:08d}-hello/",
    )  # fmt: skip
    assert len((await site.http.get(chroot["result_url"])).text.split("<a href")) > 4
    packages = (await site.api("GET", f"/build/built-packages/{newer}")).json()
    assert [package["release"] for package in packages[D13]["packages"]] == ["2", "2"]
    assert len(await site.world.pods()) == pods, "nothing has run"
    repo = (await site.http.get("/coprs/bob/mine/repo/debian-13")).text
    assert await found_by_dnf(tmp_path / "repos", repo) == ["hello.src", "hello.x86_64"]
    again = await bob.cli("fork", "alice/demo", "mine")
    assert (again.code, "--confirm" in again.err) == (1, True), again
    assert (await bob.cli("fork", "alice/demo", "mine", "--confirm")).code == 0
    assert len(await builds_of(site, "bob", "mine")) == 2, "a fork that is asked for again makes no second builds"
    third = await bob.cli("fork", "bob/mine", "other")
    assert third.code == 0, third
    await until_forked(site, "bob", "other", 2)


async def test_the_fork_lives_on_without_its_origin(whole: Whole, tmp_path: Path) -> None:
    site, alice = whole.site, whole.site.people["alice"]
    await alice.cli("create", "demo", "--chroot", D13)
    (first,) = ids(await alice.cli("build", "demo", URL, "--nowait"))
    await site.until_state(first, "succeeded")
    assert (await alice.cli("fork", "demo", "kept")).code == 0
    (kept,) = await until_forked(site, "alice", "kept", 1)
    assert (await alice.cli("delete", "demo")).code == 0
    repo = (await site.http.get("/coprs/alice/kept/repo/debian-13")).text
    assert await found_by_dnf(tmp_path / "repos", repo) == ["hello.src", "hello.x86_64"]
    assert (await alice.cli("delete-build", str(kept))).code == 0

    (tmp_path / "later").mkdir()
    async with asyncio.timeout(30):
        number = 0
        while await found_by_dnf(tmp_path / "later" / str(number), repo):
            number += 1


async def test_a_fork_of_a_private_project_is_private(whole: Whole) -> None:
    site, alice = whole.site, whole.site.people["alice"]
    body = {"name": "secret", "chroots": [D13], "private": True}
    assert (await site.api("POST", "/project/add/alice", alice, json=body)).status_code == 200
    forked = await site.api("POST", "/project/fork/alice/secret", alice, json={"name": "mine", "ownername": "alice"})
    assert (forked.status_code, forked.json()["private"]) == (200, True), forked.text
    assert (await site.api("GET", "/project?ownername=alice&projectname=mine")).status_code == 404
