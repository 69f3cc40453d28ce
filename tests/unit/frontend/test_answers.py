"""What the whole frontend answers, before an API server in memory."""

import json
from typing import Any

import pytest

from copr_operator.frontend.body import SpooledFile
from copr_operator.kube import paths
from tests.unit.frontend.replicas import F43, F44, Replica, Server, person
from tests.unit.frontend.test_definitions import merged


@pytest.mark.parametrize(
    ("owner", "who", "groups", "admin", "status"),
    [
        ("alice", "alice", (), False, 200),
        ("alice", "root", (), True, 200),
        ("alice", "helper", (), False, 403),
        ("@copr", "alice", ("copr",), False, 200),
        ("@copr", "helper", (), False, 403),
    ],
)
async def test_only_owners_and_administrators_delete_a_project_although_others_may_change_it(
    owner: str, who: str, groups: tuple[str, ...], admin: bool, status: int
) -> None:
    server = Server()
    site, alice = Replica(server), await person(server, "alice", "copr")
    await site.made(owner, alice)
    helper = {"helper": {"admin": "approved"}}
    assert (await site.put(f"/api_3/project/permissions/set/{owner}/demo", json=helper, auth=alice)).status_code == 200
    asking = await person(server, who, *groups, admin=admin)
    edited = await site.put(f"/api_3/project/edit/{owner}/demo", json={"description": "x"}, auth=asking)
    assert edited.status_code == 200
    answer = await site.request("DELETE", f"/api_3/project/delete/{owner}/demo", json={"verify": True}, auth=asking)
    assert answer.status_code == status
    if status == 403:
        assert answer.json() == {"error": "Only owners may delete their projects."}
    assert bool(server.of("coprprojects")) is (status == 403)


async def forkable(server: Server) -> tuple[Replica, tuple[str, str]]:
    """alice/demo has a package with credentials, and a build of it that has succeeded."""
    site, alice = Replica(server), await person(server, "alice")
    await site.made("alice", alice, contact="alice@example.com", auto_prune=False, description="x")
    await site.defined(alice)
    (definition,) = server.of("coprpackages")
    credentials = {"spec": {"source": {"scm": {"credentialsSecret": "alices"}}}}
    await server.patch(f"{paths.copr('coprpackages', 'copr-alice')}/{definition['metadata']['name']}", credentials)
    body = {"ownername": "alice", "projectname": "demo", "package_name": "hello"}
    assert (await site.post("/api_3/package/build", json=body, auth=alice)).status_code == 200
    server.finish()
    return site, alice


@pytest.mark.parametrize(("owner", "kept"), [("alice", {"credentialsSecret": "alices"}), ("bob", {})])
async def test_a_fork_by_somebody_else_leaves_the_origin_s_credentials_behind(owner: str, kept: dict[str, str]) -> None:
    server = Server()
    site, alice = await forkable(server)
    asking = alice if owner == "alice" else await person(server, "bob")
    answer = await site.post("/api_3/project/fork/alice/demo", json={"name": "f", "ownername": owner}, auth=asking)
    assert answer.status_code == 200, answer.text
    for plural in ("coprpackages", "coprbuilds"):
        origin, fork = server.specs(plural)
        assert origin["source"]["scm"]["credentialsSecret"] == "alices"
        assert (fork["owner"], fork["source"]["scm"]["cloneURL"]) == (owner, "https://git.example/hello")
        assert {name: value for name, value in fork["source"]["scm"].items() if name == "credentialsSecret"} == kept


async def test_a_fork_does_not_take_over_what_is_its_origin_s_owner_s() -> None:
    server = Server()
    site, alice = await forkable(server)
    await site.post("/api_3/project/fork/alice/demo", json={"name": "f", "ownername": "alice"}, auth=alice)
    origin, fork = server.specs("coprprojects")
    assert origin["api"] == {"contact": "alice@example.com", "autoPrune": False, "appstream": False}
    assert (fork["description"], fork.get("api", {})) == ("x", {"appstream": False})
    assert [spec["autoRebuild"] for spec in server.specs("coprpackages")] == [True, False]


async def test_a_project_is_not_forked_into_itself() -> None:
    server = Server()
    site, alice = await forkable(server)
    body = {"name": "demo", "ownername": "alice", "confirm": True}
    answer = await site.post("/api_3/project/fork/alice/demo", json=body, auth=alice)
    assert (answer.status_code, answer.json()) == (400, {"error": "Source project should not be same as destination"})
    assert len(server.of("coprbuilds")) == 1


async def test_a_directory_that_no_build_has_made_has_no_repo_file() -> None:
    server = Server()
    site, alice = Replica(server), await person(server, "alice")
    await site.made("alice", alice)
    body = {
        "ownername": "alice",
        "projectname": "demo",
        "project_dirname": "demo:custom:x",
        "pkgs": ["https://x/a.spec"],
    }
    assert (await site.get("/coprs/alice/demo/repo/fedora-43/x.repo")).status_code == 200
    missing = await site.get("/coprs/alice/demo:custom:x/repo/fedora-43/x.repo")
    assert (missing.status_code, missing.json()) == (404, {"error": "copr dir alice/demo:custom:x does not exist."})
    assert (await site.post("/api_3/build/create/url", json=body, auth=alice)).status_code == 200
    assert (await site.get("/coprs/alice/demo:custom:x/repo/fedora-43/x.repo")).status_code == 200


async def test_monitor_shows_the_chroots_that_the_project_has_now() -> None:
    server = Server()
    site, alice = await forkable(server)
    url = "/api_3/monitor?ownername=alice&projectname=demo"
    (package,) = (await site.get(url)).json()["packages"]
    assert list(package["chroots"]) == [F43]
    await site.put("/api_3/project/edit/alice/demo", json={"chroots": [F44]}, auth=alice)
    assert (await site.get(url)).json()["packages"] == []


async def test_chroots_of_a_build_are_listed_in_the_order_that_was_asked_for() -> None:
    server = Server()
    site, alice = Replica(server), await person(server, "alice")
    await site.made("alice", alice)
    body = {"ownername": "alice", "projectname": "demo", "gem_name": "x"}
    assert (await site.post("/api_3/build/create/rubygems", json=body, auth=alice)).status_code == 200
    (build,) = server.of("coprbuilds")
    chroots = [{"name": F44, "state": "pending"}, {"name": F43, "state": "pending"}]
    changed = {"metadata": {"resourceVersion": "1000"}, "status": {"chroots": chroots}}
    site.services.cache.build_event("MODIFIED", merged(build, changed))
    for query, names in (
        ({}, [F44, F43]),
        ({"order": "id", "order_type": "DESC"}, [F43, F44]),
        ({"order_type": "DESC", "limit": "1"}, [F43]),
        ({"order": "name"}, [F43, F44]),
    ):
        answer = await site.get("/api_3/build-chroot/list", params={"build_id": "1", **query})
        assert [chroot["name"] for chroot in answer.json()["items"]] == names, query


@pytest.mark.parametrize("option", ["after_build_id", "with_build_id"])
async def test_a_build_that_can_not_be_linked_is_refused_before_its_file_is_sent_or_kept(option: str) -> None:
    server = Server()
    site, alice = Replica(server), await person(server, "alice")
    await site.made("alice", alice)
    fields = {"ownername": "alice", "projectname": "demo", option: 9999}
    checked = await site.post("/api_3/build/check-before-build", json=fields, auth=alice)
    kept: list[str] = []

    async def upload(_namespace: str, file: SpooledFile) -> tuple[str, str]:
        kept.append(file.filename)
        return "r/x", file.sha256

    site.services.backend.upload = upload  # type: ignore[assignment]
    files: Any = {
        "pkgs": ("x.src.rpm", b"x", "application/x-rpm"),
        "json": (None, json.dumps(fields), "application/json"),
    }
    sent = await site.post("/api_3/build/create/upload", files=files, auth=alice)
    assert (checked.status_code, sent.status_code, kept) == (400, 400, [])
    assert "Build 9999 not found" in checked.json()["error"]
    assert checked.json() == sent.json()


async def test_the_build_configuration_of_a_chroot_is_found_under_both_its_addresses() -> None:
    server = Server()
    site, _ = await forkable(server)
    old = await site.get(f"/api_3/build-chroot/build-config/1/{F43}")
    new = await site.get(f"/api_3/build-chroot/build-config?build_id=1&chrootname={F43}")
    assert (old.status_code, old.json()) == (200, new.json())
