"""What a forge or a script hears of its event, and what is built."""

from typing import Any

import httpx
import pytest

from copr_operator.kube.client import ApiError
from tests.unit.frontend.replicas import F43, F44, Replica, Server, person

PUSH: dict[str, Any] = {
    "repository": {"clone_url": "https://git.example/hello.git"}, "ref": "refs/heads/main", "after": "a" * 40,
    "commits": [{"added": ["f"], "modified": [], "removed": []}],
}  # fmt: skip


async def push(site: Replica, hook: str, number: str = "one") -> httpx.Response:
    headers = {"X-GitHub-Event": "push", "X-GitHub-Delivery": number}
    return await site.post(f"/webhooks/github/{hook}", json=PUSH, headers=headers)


async def ready(server: Server, *packages: str) -> tuple[Replica, tuple[str, str], str]:
    """A webhook of alice/demo with these packages."""
    site, alice = Replica(server), await person(server, "alice")
    await site.made("alice", alice)
    for name in packages:
        await site.defined(alice, name)
    return site, alice, await site.hook(alice)


def built(server: Server) -> list[str]:
    return sorted(spec["packageName"] for spec in server.specs("coprbuilds"))


async def test_a_package_that_can_t_be_built_does_not_stop_the_others() -> None:
    server = Server()
    site, _, hook = await ready(server, "bad", "good")
    refused = ApiError(403, "Forbidden", "not this one")
    create = server.create

    async def but_one(path: str, body: dict[str, Any]) -> Any:
        if body["spec"].get("packageName") == "bad":
            raise refused
        return await create(path, body)

    server.create = but_one  # type: ignore[method-assign, assignment]
    first, again = [await push(site, hook) for _ in range(2)]
    assert (first.status_code, first.json()) == (
        200, {"builds": [1], "failed": {"bad": "The cluster does not allow it: not this one"}},
    )  # fmt: skip
    assert (again.json(), built(server)) == (first.json(), ["good"])
    refused.status = 503
    later = await push(site, hook)
    assert (later.status_code, built(server)) == (503, ["good"]), "sent again it builds what is missing"
    refused.status = 403
    assert (await push(site, hook)).json() == first.json()


@pytest.mark.parametrize(("status", "heard"), [(403, 403), (0, 503)])
async def test_an_event_that_builds_nothing_because_all_fails_is_an_error(status: int, heard: int) -> None:
    server = Server()
    site, _, hook = await ready(server, "one", "two")
    server.refuses["create", "/coprbuilds/"] = ApiError(status, "Forbidden", "none")
    assert (await push(site, hook)).status_code == heard


async def test_a_held_build_that_can_t_be_read_is_no_error_of_ours() -> None:
    server = Server()
    site, _, hook = await ready(server, "hello")
    await push(site, hook)
    server.refuses["get", "/coprbuilds/"] = ApiError(0, "NoAnswer", "")
    assert (await push(site, hook)).status_code == 503


async def test_an_event_brings_the_same_build_after_the_package_was_edited() -> None:
    server = Server()
    site, alice, hook = await ready(server, "hello")
    first = await push(site, hook)
    edit = {"source_build_method": "tito"}
    assert (await site.post("/api_3/package/edit/alice/demo/hello/scm", json=edit, auth=alice)).status_code == 200
    again = await push(site, hook)
    assert (again.status_code, again.json(), built(server)) == (200, first.json(), ["hello"])
    assert (await push(site, hook, "two")).json() != first.json()


async def test_a_script_s_key_stands_for_one_payload_whatever_became_of_the_package() -> None:
    server = Server()
    site, alice, hook = await ready(server)
    custom = {"script": "#!/bin/sh"}
    assert (await site.post("/api_3/package/add/alice/demo/s/custom", json=custom, auth=alice)).status_code == 200

    async def call(payload: str) -> httpx.Response:
        return await site.post(f"/webhooks/custom/{hook}/s", content=payload, headers={"Idempotency-Key": "k"})

    first = await call("one")
    custom = {"script": "#!/bin/sh\ntrue"}
    assert (await site.post("/api_3/package/edit/alice/demo/s/custom", json=custom, auth=alice)).status_code == 200
    assert (await call("one")).text == first.text
    other = await call("other")
    assert (other.status_code, "was used for another build" in other.text) == (409, True)


async def test_an_event_builds_all_of_its_packages() -> None:
    server = Server()
    site, _, hook = await ready(server, *(f"p{number}" for number in range(120)))
    assert len((await push(site, hook)).json()["builds"]) == 120


@pytest.mark.parametrize(
    ("denied", "chroots"), [("fedora-43-*", [F44]), ("fedora-*", [F43, F44])], ids=["some", "everything"]
)
async def test_a_deny_list_that_leaves_nothing_counts_for_nothing(denied: str, chroots: list[str]) -> None:
    server = Server()
    site, alice, hook = await ready(server)
    await site.defined(alice, chroot_denylist=denied)
    assert (await push(site, hook)).status_code == 200
    body = {"ownername": "alice", "projectname": "demo", "package_name": "hello"}
    assert (await site.post("/api_3/package/build", json=body, auth=alice)).status_code == 200
    assert [spec["chroots"] for spec in server.specs("coprbuilds")] == [chroots, chroots]


async def test_scripts_hear_copr_s_words() -> None:
    server = Server()
    site, alice, hook = await ready(server, "hello")
    number, secret = hook.split("/")

    async def call(url: str) -> tuple[int, str]:
        answer = await site.post(f"/webhooks/{url}/hello/")
        return answer.status_code, answer.text

    assert await call(f"custom/1/{secret}") == await call(f"custom/x/{secret}") == (404, "PROJECT_NOT_FOUND\n")
    assert await call(f"custom-dir/alice/other/{secret}") == (404, "PROJECT_NOT_FOUND\n")
    assert await call(f"custom/{number}/wrong") == (403, "BAD_UUID\n")
    assert await call("custom-dir/alice/demo:custom:x/wrong") == (403, "BAD_UUID\n")
    await site.put("/api_3/project/edit/alice/demo", json={"private": True}, auth=alice)
    assert await call("custom-dir/alice/demo/wrong") == (404, "PROJECT_NOT_FOUND\n"), "what is private is not there"
    assert (await call(f"custom-dir/alice/demo/{secret}"))[0] == 200
