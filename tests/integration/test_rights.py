"""The chart's roles are what the operator uses, no more and no less.

One life of an installation, each component a process with nothing but its ServiceAccount's rights, over TLS, where Pod
Security is enforced: builds that succeed, fail, are tried again, held back, canceled, deleted; everything that clients
of the API change; a namespace that is deleted; `helm test`; the drain. What was asked for is in the API server's audit
log. A right that was not used and is not in ERROR_PATHS is one too many; a missing one shows as a refusal.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from copr_operator.cli import main
from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient
from tests.cluster import api as clusters
from tests.support.chart_processes import ChartProcesses
from tests.support.delivery import DeliveringPods
from tests.support.fake_kubelet import Status, disrupted, fail_build, plan_of
from tests.support.rights import Request, Right, allows, requests, rights_of
from tests.support.world import World, eventually, make_namespace, manifest, world
from tests.unit.backend import rpms

CHROOT = "debian-13-x86_64"
URL = "http://sources.example/hello-2.8-1.src.rpm"
DEMO = {"ownername": "alice", "projectname": "demo"}

OURS = names.GROUP
ERROR_PATHS: Mapping[str, Mapping[tuple[str, str, str], str]] = {
    "controller": {
        (
            OURS,
            "coprbuilds/finalizers",
            "update",
        ): "asked by the admission plugin OwnerReferencesPermissionEnforcement, "
        "which is on here: without it no Job could be made",
    },
    "backend": {},
    "frontend": {
        (OURS, "coprpackages", "get"): "an edit that the controller's status write came in between of",
    },
    "drain": {
        (OURS, "coprbuilds", "get"): "somebody changed the object between LIST and PATCH",
        (OURS, "coprprojects", "get"): "the same",
    },
    "test": {},
}
"""(group, resource, verb) of rights that such a life does not use, each with its reason."""


@dataclass
class Life:
    """A release, its namespaces, and what lives in them."""

    release: ChartProcesses
    builds: World
    full: str
    """A namespace whose quota admits no pods."""
    pods: DeliveringPods
    audit: Path
    start: int

    @property
    def kube(self) -> KubeClient:
        return self.builds.kube

    async def create(self, namespace: str, plural: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        await self.kube.create(paths.copr(plural, namespace), manifest(kind, name, spec))

    async def project(self, name: str, namespace: str | None = None) -> None:
        """Somebody makes a project with kubectl."""
        place = namespace or self.builds.namespace
        spec = {"owner": "bob", "name": name, "chroots": [{"name": CHROOT}]}
        await self.create(place, "coprprojects", "CoprProject", name, spec)

    async def build(self, project: str, namespace: str | None = None) -> None:
        """Somebody makes a build with kubectl; it is called as its project."""
        source = {"type": "link", "link": {"url": URL}}
        place = namespace or self.builds.namespace
        spec = {"owner": "bob", "project": project, "source": source}
        await self.create(place, "coprbuilds", "CoprBuild", project, spec)

    def behaviour(self, pod: dict[str, Any]) -> Status | None:
        """What a pod does is in the name of its project."""
        plan = plan_of(pod)
        if plan.project == "waits":
            return None
        if plan.project == "fails":
            return fail_build(pod)
        if plan.project == "flaky" and plan.attempt == 1:
            return disrupted(pod)
        return self.pods.behaviour(pod)

    async def told(self, name: str, text: str) -> None:
        """Returns when the build in the full namespace says `text`."""

        async def probe() -> bool:
            build = await self.kube.get(paths.copr("coprbuilds", self.full, name))
            return text in str(build.get("status", {}).get("conditions"))

        await eventually(probe, lambda: f"nobody says {text!r}\n{self.release.log('controller')}")

    async def gone(self, path: str) -> None:
        async def probe() -> bool:
            return await self.kube.find(path) is None

        await eventually(probe, lambda: f"{path} stays\n{self.release.log('controller')}", 90)


async def remove_leftovers(kube: KubeClient) -> None:
    """An installation for all namespaces would look after what earlier tests have left in theirs, and their names and
    ids are taken."""
    plurals = ("coprbuilds", "coprprojects", "coprpackages")

    async def gone() -> bool:
        left = 0
        for plural in plurals:
            for item in (await kube.get(paths.copr(plural)))["items"]:
                left += 1
                path = paths.copr(plural, item["metadata"]["namespace"], item["metadata"]["name"])
                if "deletionTimestamp" not in item["metadata"]:
                    await kube.delete(path)
                with contextlib.suppress(ApiError):  # it is gone now
                    await kube.patch(path, {"metadata": {"finalizers": None}})
        return left == 0

    await eventually(gone, lambda: "earlier objects stay", 90)


@contextlib.asynccontextmanager
async def life(kube: KubeClient, cluster: clusters.Cluster, tmp: Path, *, namespaced: bool) -> AsyncIterator[Life]:
    release = f"r-{secrets.token_hex(4)}"
    full = f"{release}-full"
    await make_namespace(kube, release, "restricted")
    await make_namespace(kube, full, "baseline")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
    await kube.create(paths.core("resourcequotas", full), quota)
    async with world(kube, tmp) as builds:
        values = {
            "watchNamespaces": [builds.namespace, full] if namespaced else [],
            "backend": {
                "tls": {"secretName": "tls", "caConfigMap": "ca"},
                "settings": {"removalGrace": 0, "sweepInterval": 0.1, "gather": 0},
            },
            "frontend": {
                "tls": {"secretName": "tls"},
                "settings": {"projectNamespace": builds.namespace, "idTimeout": 30},
            },
            "test": {"namespace": builds.namespace, "chroot": CHROOT},
        }
        directory = tmp / "release"
        directory.mkdir()
        processes = ChartProcesses(kube, cluster, release, values, directory)
        pods = DeliveringPods(builds, processes.backend_url, processes.trust())
        audit = cluster.audit_log
        it = Life(processes, builds, full, pods, audit, audit.stat().st_size if audit.exists() else 0)
        builds.kubelet.behaviour = it.behaviour
        try:
            async with processes.installed():
                chroot = {"name": CHROOT, "image": "chroot:test", "arch": "x86_64"}
                await it.create(release, "coprchroots", "CoprChroot", "debian-13-x86-64", chroot)
                yield it
            assert pods.errors == []
        finally:
            for name in (release, full):
                await kube.delete(f"{paths.core('namespaces')}/{name}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("namespaced", [True, False], ids=["namespaced", "cluster-wide"])
async def test_the_roles_are_what_a_whole_life_uses(
    kube: KubeClient, cluster: clusters.Cluster, tmp_path: Path, namespaced: bool
) -> None:
    await remove_leftovers(kube)
    async with life(kube, cluster, tmp_path, namespaced=namespaced) as it:
        async with it.release.serving("backend"):
            async with it.release.running("controller"):
                await held_back(it)
                await by_kubectl(it)
                await followed(it)
                await told_and_forgotten(it)
                async with it.release.serving("frontend", auth=await login(it)) as http:
                    await by_the_api(it, http)
                await it.gone(f"{paths.core('namespaces')}/{it.full}")
            async with it.release.running("controller"):  # takes ids of its own, where a namespace is missing
                await it.release.command(
                    "test", "smoke-test", "--namespace", it.builds.namespace, "--chroot", CHROOT, "--backend-url",
                    it.release.backend_url, "--backend-token-file", str(await it.release.backend_token("test")),
                )  # fmt: skip
        await drained(it)
        asked = requests(it.audit, it.start, f"system:serviceaccount:{it.release.release}:")
        assert [request for request in asked if request.status == 403 and request.place != it.full] == []
        # The namespaces with builds have the same Roles.
        alike = {it.full: it.builds.namespace}
        asked = [request._replace(place=alike.get(request.place, request.place)) for request in asked]
        for component, unused in ERROR_PATHS.items():
            account = it.release.account(component)
            rights = rights_of(it.release.objects, account)
            granted = {right._replace(place=alike.get(right.place, right.place)) for right in rights}
            mine = {one._replace(user="") for one in asked if one.user.endswith(f":{account}")}
            needless = [right for right in granted if not any(allows(right, request) for request in mine)]
            assert sorted(right for right in needless if right[1:4] not in unused) == [], component
            assert unused.keys() <= {right[1:4] for right in granted}, component


async def held_back(it: Life) -> None:
    """Nobody waits for it yet: that a quota holds a Job back is asked for after ten seconds."""
    await it.project("held", it.full)
    await it.build("held", it.full)


async def by_kubectl(it: Life) -> None:
    for name in ("succeeds", "fails", "flaky", "waits"):
        await it.project(name)
        await it.build(name)
    assert (await it.builds.until_state("succeeded", "succeeds"))["status"]["chroots"][0]["packages"] == 2
    await it.builds.until_state("failed", "fails")
    await it.builds.until_state("starting", "waits")
    await it.builds.patch_build("waits", {"spec": {"cancel": True}})
    await it.builds.until_state("canceled", "waits")
    # Ended builds are not watched: each is read by its name.
    await it.builds.patch_build("fails", {"spec": {"cancel": True}})
    await it.builds.until(lambda build: build["status"]["observedGeneration"] == 2, "fails")
    await it.builds.delete("coprbuilds", "fails")
    await it.builds.until_gone("coprbuilds", "fails")
    await it.builds.delete("coprprojects", "fails")
    await it.builds.until_gone("coprprojects", "fails")
    await it.builds.until_state("succeeded", "flaky")


async def followed(it: Life) -> None:
    """A CoprPackage is built when its source changes, and keeps one build."""
    await it.project("follows")
    path = paths.copr("coprpackages", it.builds.namespace)
    builds = paths.copr("coprbuilds", it.builds.namespace)
    spec = {"owner": "bob", "project": "follows", "name": "hello", "buildOnChange": True, "maxBuilds": 1}
    first, second = ({"type": "rubygems", "rubygems": {"name": name}} for name in ("rails", "rake"))
    await it.create(it.builds.namespace, "coprpackages", "CoprPackage", "hello", {**spec, "source": first})

    async def built() -> list[str]:
        items = (await it.kube.get(builds))["items"]
        mine = [item for item in items if item["spec"]["project"] == "follows"]
        return [
            item["spec"]["source"]["rubygems"]["name"] for item in mine if item["status"].get("state") == "succeeded"
        ]

    async def once() -> bool:
        return await built() == ["rails"]

    async def again() -> bool:
        return await built() == ["rake"]

    await eventually(once, lambda: f"the package is not built\n{it.release.log('controller')}", 90)
    await it.kube.patch(f"{path}/hello", {"spec": {"source": second}})
    await eventually(again, lambda: f"the change is not built, or both are kept\n{it.release.log('controller')}", 90)


async def login(it: Life) -> tuple[str, str]:
    """alice's, as an administrator makes it."""
    made = await asyncio.to_thread(make_token, it.release)
    values = dict(line.split(" = ", 1) for line in made.splitlines() if " = " in line)
    return values["login"], values["token"]


def make_token(release: ChartProcesses) -> str:
    arguments = ["token", "create", "alice", "-n", release.release, "--url", release.frontend_url]
    done = CliRunner().invoke(main, [*arguments, "--kubeconfig", str(release.cluster.kubeconfig)])
    assert done.exit_code == 0, done.output
    return done.output


async def by_the_api(it: Life, http: httpx.AsyncClient) -> None:
    async def ask(method: str, path: str, **options: Any) -> Any:
        answer = await http.request(method, path, **options)
        assert answer.status_code == 200, (path, answer.text, it.release.log("frontend"))
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.text

    async def ended(number: int, state: str) -> None:
        async def probe() -> bool:
            return bool((await http.get(f"/api_3/build/{number}")).json()["state"] == state)

        await eventually(probe, lambda: f"build {number} is not {state}\n{it.release.log('controller')}")

    await ask("POST", "/api_3/project/add/alice", json={"name": "demo", "chroots": [CHROOT]})
    await ask("PUT", "/api_3/project/edit/alice/demo", json={"description": "changed"})
    key = {"Idempotency-Key": "once"}
    made = await ask("POST", "/api_3/build/create/url", json={**DEMO, "pkgs": URL}, headers=key)
    again = await ask("POST", "/api_3/build/create/url", json={**DEMO, "pkgs": URL}, headers=key)
    (number,) = {build["id"] for build in (*made["items"], *again["items"])}
    await ended(number, "succeeded")
    file = ("hello-2.8-1.src.rpm", rpms.rpm("hello", "2.8", "1", "src"))
    sent = await ask("POST", "/api_3/build/create/upload", data=DEMO, files={"pkgs": file})
    await ended(sent["id"], "succeeded")
    await ask("POST", "/api_3/package/add/alice/demo/rails/rubygems", json={"gem_name": "rails"})
    await ask("POST", "/api_3/package/edit/alice/demo/rails/rubygems", json={"gem_name": "rake"})
    hook = await ask("POST", "/api_3/webhook/generate/alice/demo")
    built = await ask("POST", f"/webhooks/custom/{hook['id']}/{hook['webhook_secret']}/rails")
    await ended(int(built), "succeeded")
    await ask("DELETE", f"/api_3/build/delete/{number}")
    await ask("DELETE", "/api_3/package/delete", json={**DEMO, "package_name": "rails"})
    await ask("DELETE", "/api_3/project/delete/alice/demo", json={"verify": True})
    assert (await ask("GET", "/api_3/mock-chroots/list")) == {CHROOT: ""}
    renewed = await ask("POST", "/api_3/api-token")
    http.auth = httpx.BasicAuth(renewed["api_login"], renewed["api_token"])
    await ask("POST", "/api_3/project/add/alice", json={"name": "other", "chroots": [CHROOT]})
    other = {"ownername": "alice", "projectname": "other", "pkgs": URL}
    (last,) = (await ask("POST", "/api_3/build/create/url", json=other))["items"]
    await ask("PUT", f"/api_3/build/cancel/{last['id']}")


async def told_and_forgotten(it: Life) -> None:
    """What holds the Job back is known by now. The namespace is deleted, and loses its Role before its finalizers."""
    await it.told("held", "exceeded quota")
    await it.kube.delete(f"{paths.core('namespaces')}/{it.full}")


async def drained(it: Life) -> None:
    """The pre-delete hook, which stops the controller's Deployment and lets go of all objects."""
    deployment = next(
        one for one in it.release.objects
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", it.release.account("controller"))
    )  # fmt: skip
    await it.kube.create(f"/apis/apps/v1/namespaces/{it.release.release}/deployments", deployment)
    watched = [it.builds.namespace] if it.release.values["watchNamespaces"] else []
    said = await it.release.command(
        "drain", "drain", "--namespace", it.release.release, "--deployment", deployment["metadata"]["name"],
        *(word for name in watched for word in ("--watch", name)),
    )  # fmt: skip
    assert "let go of" in said
    for plural in ("coprbuilds", "coprprojects"):
        for item in (await it.kube.get(paths.copr(plural, it.builds.namespace)))["items"]:
            assert "finalizers" not in item["metadata"], item["metadata"]["name"]


def test_rights_are_told_apart() -> None:
    """What the comparison rests on."""
    right = Right("a", "", "secrets", "get", "one")
    request = Request("u", "a", "", "secrets", "get", "one", 200)
    assert allows(right, request)
    assert allows(right._replace(place="", name=""), request)
    for change in ({"place": "b"}, {"verb": "list"}, {"resource": "secrets/status"}, {"name": "two"}, {"group": "g"}):
        assert not allows(right._replace(**change), request)
