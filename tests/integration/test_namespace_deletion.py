"""A namespace is deleted with running builds, and the controller has the rights that the chart gives it, no more."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from copr_operator.kube import paths
from copr_operator.kube.access import Access
from copr_operator.kube.client import ApiError, KubeClient
from tests.support import chart
from tests.support.fake_kubelet import Status, plan_of, running, succeed
from tests.support.world import CHROOTS, World, eventually, manifest

RBAC = "/apis/rbac.authorization.k8s.io/v1"
NAMESPACES = paths.core("namespaces")
PLURALS = {"Role": "roles", "RoleBinding": "rolebindings"}


def path_of(obj: dict[str, Any]) -> str:
    """Where an object of the chart's RBAC is created."""
    kind, namespace = obj["kind"], obj["metadata"].get("namespace")
    if kind == "ServiceAccount":
        return paths.core("serviceaccounts", namespace)
    return f"{RBAC}/{kind.lower()}s" if kind.startswith("Cluster") else f"{RBAC}/namespaces/{namespace}/{PLURALS[kind]}"


@contextlib.asynccontextmanager
async def installed(here: World, watched: list[str]) -> AsyncIterator[tuple[str, KubeClient]]:
    """The chart's ServiceAccount and RBAC of the controller in a namespace of its own: that, and a client with them."""
    namespace = f"{here.namespace}-operator"
    await here.kube.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )  # fmt: skip
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", *PLURALS)
    objects = [
        obj
        for obj in chart.render({"watchNamespaces": watched}, release=here.namespace, namespace=namespace)
        if obj["kind"] in kinds and obj["metadata"]["labels"].get("app.kubernetes.io/component") == "controller"
    ]
    try:
        for obj in objects:
            await here.kube.create(path_of(obj), obj)
        (account,) = (obj["metadata"]["name"] for obj in objects if obj["kind"] == "ServiceAccount")
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = await here.kube.create(f"{paths.core('serviceaccounts', namespace, account)}/token", request)

        async def token() -> str:
            return str(answer["status"]["token"])

        admin = here.kube.access
        async with KubeClient(Access(admin.server, ca=admin.ca, token=token)) as client:
            yield namespace, client
    finally:
        for obj in objects:
            with contextlib.suppress(ApiError):
                await here.kube.delete(f"{path_of(obj)}/{obj['metadata']['name']}")
        await here.kube.delete(f"{NAMESPACES}/{namespace}")


def source_then_run(pod: dict[str, Any]) -> Status | None:
    return succeed(pod) if plan_of(pod).step == "source" else running(pod)


@contextlib.asynccontextmanager
async def prepared(here: World, rights: str) -> AsyncIterator[dict[str, Any]]:
    """Chroots and a project; how a controller works here with the chart's rights."""
    async with installed(here, [here.namespace] if rights == "in this namespace" else []) as (namespace, client):
        for name in CHROOTS:
            spec = {"name": name, "image": "chroot:test", "arch": "x86_64"}
            chroot = manifest("CoprChroot", name.replace("_", "-"), spec)
            await here.kube.create(paths.copr("coprchroots", namespace), chroot)
        await here.create_project()
        operator = replace(here.settings().operator, namespace=namespace)
        # Only this namespace, whatever the rights: others hold what other tests have left.
        yield {"upstream": client, "operator": operator, "namespaces": (here.namespace,)}


async def one_done_and_one_going(here: World) -> list[int]:
    """Ids of a build that has ended and of one that runs."""
    await here.create_build("done")
    done = await here.until_state("succeeded", "done")
    here.kubelet.behaviour = source_then_run
    await here.create_build("going")
    going = await here.until_state("running", "going")
    return [build["status"]["id"] for build in (done, going)]


async def delete_until_roles_are_gone(here: World) -> None:
    await here.kube.delete(f"{NAMESPACES}/{here.namespace}")

    async def roles_gone() -> bool:
        return not (await here.kube.get(f"{RBAC}/namespaces/{here.namespace}/rolebindings"))["items"]

    # The namespace controller comes again after half of its pods' grace, when it has found nothing new.
    await eventually(roles_gone, lambda: "the Role stays", 120)
    assert (await here.build("going"))["metadata"]["finalizers"]


async def until_namespace_is_gone(here: World) -> None:
    last: dict[str, Any] = {}

    async def gone() -> bool:
        nonlocal last
        last = await here.kube.find(f"{NAMESPACES}/{here.namespace}") or {}
        return not last

    await eventually(gone, lambda: f"the namespace stays: {json.dumps(last.get('status'))}", 120)


def check_removed(here: World, ids: list[int]) -> None:
    for number in ids:
        assert f"POST /control/v1/builds/{number}/remove" in here.backend.asked
    assert "DELETE /control/v1/projects/alice/demo" in here.backend.asked


@pytest.mark.parametrize("rights", ["everywhere", "in this namespace"])
async def test_it_ends_and_leaves_nothing_though_the_role_goes_before_the_finalizers(here: World, rights: str) -> None:
    async with prepared(here, rights) as how:
        async with here.controller(**how) as controller:
            ids = await one_done_and_one_going(here)
            refused = [w for w in controller.proxy.writes if w.status == 403]
            assert refused == [], "the chart's rights are not enough"
            here.backend.broken = True  # so that the finalizers are still there when the Role has gone
            await delete_until_roles_are_gone(here)
            here.backend.broken = False
            await until_namespace_is_gone(here)
        check_removed(here, ids)


async def test_a_controller_that_starts_when_the_role_has_gone_ends_it_too(here: World) -> None:
    async with prepared(here, "in this namespace") as how:
        async with here.controller(**how):
            ids = await one_done_and_one_going(here)
        await delete_until_roles_are_gone(here)
        async with here.controller(**how):
            await until_namespace_is_gone(here)
        check_removed(here, ids)
