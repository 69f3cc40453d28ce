"""Webhooks: a forge's event builds the packages of its repository, once."""

import hashlib
import hmac
import json
from typing import Any

import httpx

from copr_operator.kube import paths
from tests.integration.frontend.conftest import Whole
from tests.integration.frontend.test_cli import demo, untouched
from tests.support.frontend import Site
from tests.support.world import eventually

REPOSITORY = "https://git.example/alice/hello.git"
COMMIT = "a" * 40
PUSH = {
    "repository": {"clone_url": REPOSITORY}, "ref": "refs/heads/main", "after": COMMIT,
    "commits": [{"added": [], "modified": ["hello.spec"], "removed": []}],
}  # fmt: skip


async def prepare(site: Site) -> str:
    """Packages hello (rebuilt by webhooks) and script; the project's webhook, up to the secret."""
    alice = await demo(site)
    site.world.kubelet.behaviour = untouched
    scm = {"clone_url": REPOSITORY, "webhook_rebuild": True, "chroot_denylist": "debian-12-*"}
    await alice.ask(lambda copr: copr.package_proxy.add("alice", "demo", "hello", "scm", scm))
    await alice.ask(lambda copr: copr.package_proxy.add("alice", "demo", "script", "custom", {"script": "#!/bin/sh"}))
    made = await alice.ask(lambda copr: copr.webhook_proxy.generate("alice", "demo"))
    assert made.full_name == "alice/demo"
    return f"{made.id}/{made.webhook_secret}"


async def send(site: Site, hook: str, payload: Any, secret: str | None = None, **headers: str) -> httpx.Response:
    body = json.dumps(payload).encode()
    if secret is not None:
        headers["X-Hub-Signature-256"] = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-GitHub-Event": "push", **headers}
    return await site.http.post(f"/webhooks/{hook}", content=body, headers=headers)


async def test_a_push_builds_the_package_at_that_commit_and_only_once(site: Site) -> None:
    hook = await prepare(site)
    secret = hook.partition("/")[2]
    first = await send(site, f"github/{hook}/", PUSH, secret, **{"X-GitHub-Delivery": "one"})
    again = await send(site, f"github/{hook}", PUSH, secret, **{"X-GitHub-Delivery": "one"})
    assert (first.status_code, first.json()) == (again.status_code, again.json()), first.text
    (build,) = first.json()["builds"]
    spec = await site.spec_of(build)
    assert (spec["source"]["scm"]["committish"], spec["background"], "submitter" in spec) == (COMMIT, True, False)
    assert (spec["chroots"], spec["packageName"]) == (["debian-13-x86_64"], "hello")
    assert (await site.api("GET", f"/build/{build}")).json()["submitter"] is None
    other = await send(site, f"github/{hook}", PUSH, secret, **{"X-GitHub-Delivery": "two"})
    assert other.json()["builds"] not in ([], [build])
    ping = await send(site, f"github/{hook}", {"zen": "x"}, secret, **{"X-GitHub-Event": "ping"})
    assert (ping.status_code, ping.json()) == (200, {"builds": []})


async def test_a_script_builds_a_package_by_its_name_also_into_a_directory(site: Site) -> None:
    hook = await prepare(site)
    answer = await send(site, f"custom/{hook}/script/", {})
    assert (answer.status_code, answer.text) == (200, f"{int(answer.text)}\n")
    assert (await site.spec_of(int(answer.text)))["source"]["custom"]["script"] == "#!/bin/sh\n"
    secret = hook.partition("/")[2]
    directory = await send(site, f"custom-dir/alice/demo:custom:ci/{secret}/script/", {})
    assert (await site.spec_of(int(directory.text)))["projectDirname"] == "demo:custom:ci"
    assert (await send(site, f"custom/{hook}/other/", {})).text == "PACKAGE_NOT_FOUND\n"


async def test_what_calls_a_webhook_reaches_the_script_as_a_file(whole: Whole) -> None:
    """Through the real backend: sent again it is the same build, with another payload it is another one."""
    site, pods = whole.site, whole.pods
    alice = site.people["alice"]
    await alice.cli("create", "demo", "--chroot", "debian-13-x86_64")
    await alice.ask(lambda copr: copr.package_proxy.add("alice", "demo", "hello", "custom", {"script": "#!/bin/sh"}))
    made = await alice.ask(lambda copr: copr.webhook_proxy.generate("alice", "demo"))
    hook = f"custom/{made.id}/{made.webhook_secret}/hello"
    numbers = [(await send(site, hook, {"ref": "main"}, **{"Idempotency-Key": "one"})).text for _ in range(2)]
    assert numbers[0] == numbers[1]
    await site.until_state(int(numbers[0]), "succeeded")
    assert pods.uploads == [b'{"ref": "main"}']
    custom = (await site.spec_of(int(numbers[0])))["source"]["custom"]
    assert (custom["script"], custom["hookPayload"]["ref"].partition("/")[2]) == ("#!/bin/sh\n", "hook_payload")
    assert (await site.api("GET", f"/build/source-build-config/{int(numbers[0])}")).json()["source_dict"] == {
        "script": "#!/bin/sh\n", "chroot": "", "builddeps": "", "resultdir": "", "repos": "",
    }  # fmt: skip
    other = await send(site, hook, {"ref": "other"}, **{"Idempotency-Key": "one"})
    assert (other.status_code, "was used for another build" in other.text) == (409, True)
    empty = await site.http.post(f"/webhooks/{hook}")
    assert "hookPayload" not in (await site.spec_of(int(empty.text)))["source"]["custom"]
    large = await site.http.post(f"/webhooks/{hook}", content=b"x" * (8 * 1024**2 + 1))
    assert large.status_code == 413
    ping = await send(site, hook, {"zen": "x"}, **{"X-GitHub-Event": "ping"})
    assert (ping.status_code, ping.text) == (200, "SKIPPED\n")
    package = await alice.ask(lambda copr: copr.package_proxy.get("alice", "demo", "hello"))
    assert package.source_dict["script"] == "#!/bin/sh\n", "what called is of the build and not of the package"


async def test_pagure_builds_pushes_and_pull_requests_and_is_checked_when_its_key_is_known(site: Site) -> None:
    await prepare(site)
    alice = site.people["alice"]
    made = (await site.api("POST", "/webhook/generate/alice/demo", alice, json={"pagure_key": "its-own"})).json()
    hook = f"pagure/{made['id']}/{made['webhook_secret']}"
    message = {"pagure_instance": "https://git.example/", "repo": {"fullname": "alice/hello"}, "branch": "main",
               "end_commit": COMMIT, "changed_files": {"hello.spec": "M"}}  # fmt: skip
    push = {"topic": "git.receive", "msg": message, "msg_id": "2026-1"}

    async def event(payload: Any, key: str) -> httpx.Response:
        body = json.dumps(payload).encode()
        mac = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Pagure-Topic": "git.receive", "X-Pagure-Signature-256": mac, "Content-Type": "application/json"}
        return await site.http.post(f"/webhooks/{hook}", content=body, headers=headers)

    assert (await event(push, made["webhook_secret"])).status_code == 403
    assert (await site.http.post(f"/webhooks/{hook}", json=push)).status_code == 403
    first, again = [(await event(push, "its-own")).json()["builds"] for _ in range(2)]
    assert (len(first), first) == (1, again), "msg_id is the delivery"
    assert (await site.spec_of(first[0]))["source"]["scm"]["committish"] == COMMIT
    request = {
        "id": 3, "status": "Open", "branch": "main", "commit_stop": "b" * 40, "comments": [],
        "project": {"fullname": "alice/hello", "url_path": "alice/hello"},
        "repo_from": {"fullname": "forks/bob/alice/hello", "url_path": "fork/bob/alice/hello"},
    }  # fmt: skip
    pulled = {"topic": "pull-request.new", "msg": {**message, "pullrequest": request}, "msg_id": "2026-2"}
    (number,) = (await event(pulled, "its-own")).json()["builds"]
    spec = await site.spec_of(number)
    assert spec["projectDirname"] == "demo:pr:fork-bob-alice-hello-3"
    assert spec["source"]["scm"]["cloneURL"] == "https://git.example/forks/bob/alice/hello"


async def test_builds_by_webhooks_belong_to_the_package(site: Site) -> None:
    hook = await prepare(site)
    secret = hook.partition("/")[2]
    (build,) = (await send(site, f"github/{hook}", PUSH, secret)).json()["builds"]
    obj = await site.world.build(site.services.cache.builds[build].name)
    (owner,) = obj["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["controller"]) == ("CoprPackage", True)

    async def told() -> bool:
        package = await site.world.kube.get(paths.copr("coprpackages", site.world.namespace, owner["name"]))
        return bool((package.get("status", {}).get("lastBuild") or {}).get("id") == build)

    await eventually(told, lambda: "the package does not tell of its build")


async def test_only_who_knows_the_secret_is_heard(site: Site) -> None:
    hook = await prepare(site)
    number, _, secret = hook.partition("/")
    refusals = {
        (await send(site, f"github/{number}/{'0' * 36}", PUSH)).status_code,
        (await send(site, f"github/1/{secret}", PUSH)).status_code,
        (await send(site, f"github/x/{secret}", PUSH)).status_code,
        (await send(site, f"github/{hook}", PUSH, "another")).status_code,
        (await send(site, f"custom-dir/alice/demo/{'0' * 36}/script", {})).status_code,
    }
    assert refusals == {403}
    assert (await send(site, f"nowhere/{hook}", PUSH)).status_code == 404
    assert (await send(site, f"github/{hook}", [])).status_code == 400
    assert (await send(site, f"github/{hook}", {"x": 1}, secret)).status_code == 400
    assert site.services.cache.builds == {}
    renewed = await site.api("POST", "/webhook/generate/alice/demo", site.people["alice"])
    assert (await send(site, f"github/{hook}", PUSH)).status_code == 403, "the old secret is lost"
    assert (await send(site, f"github/{number}/{renewed.json()['webhook_secret']}", PUSH)).status_code == 200
    bob = await site.person("bob")
    assert (await site.api("POST", "/webhook/generate/alice/demo", bob)).status_code == 403
