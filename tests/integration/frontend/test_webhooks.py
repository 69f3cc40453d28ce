"""Webhooks: a forge's event builds the packages of its repository, once."""

import hashlib
import hmac
import json
from typing import Any

import httpx

from tests.integration.frontend.test_cli import demo, untouched
from tests.support.frontend import Site

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
