"""What the chart's hooks run, against the real API server: the drain, and the build of `helm test`."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from copr_operator.chart.drain import DrainError, drain
from copr_operator.chart.smoke import NAME, OWNER, SmokeError, smoke
from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient
from tests.cluster import api as clusters
from tests.support import loopback
from tests.support.fake_kubelet import fail_build
from tests.support.world import CHROOTS, World

FOREIGN = "example.org/other"
DEPLOYMENT = "controller"


async def held(here: World, plural: str, name: str, *more: str) -> None:
    """Puts our finalizer, and others, on an object."""
    body = {"metadata": {"finalizers": [names.FINALIZER, *more]}}
    await here.kube.patch(paths.copr(plural, here.namespace, name), body)


async def finalizers(here: World, plural: str, name: str) -> list[str] | None:
    """None: the object is gone."""
    found = await here.kube.find(paths.copr(plural, here.namespace, name))
    return None if found is None else found["metadata"].get("finalizers", [])


async def deploy(here: World) -> dict[str, str]:
    """A Deployment of two; returns its pods' labels. No pods are made: the cluster has no controller that does it."""
    labels = {"app": "controller"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod},
    }
    await here.kube.create(f"/apis/apps/v1/namespaces/{here.namespace}/deployments", deployment)
    return labels


async def test_the_drain_stops_the_controller_and_lets_go_of_everything_but_what_others_hold(here: World) -> None:
    await here.create_project()
    build = (await here.create_build())["metadata"]["name"]
    project = (await here.kube.get(paths.copr("coprprojects", here.namespace)))["items"][0]["metadata"]["name"]
    await held(here, "coprbuilds", build, FOREIGN)
    await held(here, "coprprojects", project)
    await deploy(here)
    done = await drain(here.kube, here.namespace, DEPLOYMENT, [here.namespace], 5)
    assert (done.released, done.deleting) == (2, 0)
    assert await finalizers(here, "coprbuilds", build) == [FOREIGN]
    assert await finalizers(here, "coprprojects", project) == []
    assert (await here.kube.get(paths.deployments(here.namespace, DEPLOYMENT)))["spec"]["replicas"] == 0
    await here.kube.patch(paths.copr("coprbuilds", here.namespace, build), {"metadata": {"finalizers": None}})


async def test_the_drain_lets_a_deletion_under_way_end_as_it_should(here: World, cluster: clusters.Cluster) -> None:
    build = (await here.create_build())["metadata"]["name"]
    await held(here, "coprbuilds", build)
    await here.delete("coprbuilds", build)
    looked = asyncio.Event()
    kubeconfig = str(cluster.kubeconfig)
    async with await KubeClient.from_environment(kubeconfig=kubeconfig, recorder=lambda *_: looked.set()) as kube:
        draining = asyncio.create_task(drain(kube, here.namespace, DEPLOYMENT, [here.namespace], 30))
        await looked.wait()
        await here.kube.patch(paths.copr("coprbuilds", here.namespace, build), {"metadata": {"finalizers": None}})
        done = await draining
    assert (done.released, done.deleting) == (0, 0)


async def test_the_drain_ends_a_deletion_that_takes_too_long_and_says_so(here: World) -> None:
    build = (await here.create_build())["metadata"]["name"]
    await held(here, "coprbuilds", build)
    await here.delete("coprbuilds", build)
    done = await drain(here.kube, here.namespace, DEPLOYMENT, [here.namespace], 0)
    assert (done.released, done.deleting) == (1, 1)
    assert await finalizers(here, "coprbuilds", build) is None


async def test_the_drain_lets_go_of_nothing_while_the_controller_could_take_it_back(here: World) -> None:
    build = (await here.create_build())["metadata"]["name"]
    await held(here, "coprbuilds", build)
    labels = await deploy(here)
    here.kubelet.behaviour = lambda _: None
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stays", "labels": labels},
        "spec": {"containers": [{"name": "a", "image": "a"}], "automountServiceAccountToken": False},
    }
    await here.kube.create(paths.core("pods", here.namespace), pod)
    with pytest.raises(DrainError, match="have not ended"):
        await drain(here.kube, here.namespace, DEPLOYMENT, [here.namespace], 0)
    assert await finalizers(here, "coprbuilds", build) == [names.FINALIZER]
    await here.kube.patch(paths.copr("coprbuilds", here.namespace, build), {"metadata": {"finalizers": None}})


@contextlib.asynccontextmanager
async def results(text: str, status: int = 200) -> AsyncIterator[str]:
    """A backend that takes an upload and has `text` as the metadata of every repository."""

    async def take(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer the-token"
        assert request.query["filename"] == f"{NAME}.spec"
        sha256 = hashlib.sha256(await request.read()).hexdigest()
        return web.json_response({"ref": f"a/{NAME}.spec", "sha256": sha256, "size": 1})

    async def answer(request: web.Request) -> web.Response:
        assert request.path == f"/results/{OWNER}/{NAME}/{CHROOTS[0]}/repodata/repomd.xml"
        return web.Response(text=text, status=status)

    app = web.Application()
    app.router.add_post("/uploads", take)
    app.router.add_get("/{tail:.*}", answer)
    async with loopback.serve(app) as url:
        yield f"{url}/"


async def left(here: World) -> list[Any]:
    """Builds and projects of the namespace."""
    kinds = [await here.kube.get(paths.copr(plural, here.namespace)) for plural in ("coprbuilds", "coprprojects")]
    return [item for kind in kinds for item in kind["items"]]


async def test_the_smoke_test_builds_looks_at_the_repository_and_leaves_nothing(here: World) -> None:
    await here.create_chroots()
    async with here.controller(), results('<data type="primary">') as url:
        repository = await smoke(here.kube, here.namespace, CHROOTS[0], url, "the-token", 30)
    assert repository == f"{url}results/{OWNER}/{NAME}/{CHROOTS[0]}"
    assert await left(here) == []


async def test_the_smoke_test_fails_when_the_repository_has_no_metadata(here: World) -> None:
    await here.create_chroots()
    async with here.controller(), results("nothing here", 404) as url:
        with pytest.raises(SmokeError, match="is no repository metadata: 404"):
            await smoke(here.kube, here.namespace, CHROOTS[0], url, "the-token", 30)
    assert await left(here) == []


async def test_the_smoke_test_fails_with_the_words_of_the_failure(here: World) -> None:
    await here.create_chroots()
    here.kubelet.behaviour = fail_build
    async with here.controller(), results("") as url:
        with pytest.raises(SmokeError, match="the build failed: BuildFailed"):
            await smoke(here.kube, here.namespace, CHROOTS[0], url, "the-token", 30)
    assert await left(here) == []


async def test_the_smoke_test_says_that_nobody_looked_at_its_build(here: World) -> None:
    async with results("") as url:
        with pytest.raises(SmokeError, match="not looked at by any controller"):
            await smoke(here.kube, here.namespace, CHROOTS[0], url, "the-token", 0)
    assert await left(here) == []


async def test_the_smoke_test_says_that_it_does_not_reach_the_backend(here: World) -> None:
    with pytest.raises(SmokeError, match="can't be reached"):
        await smoke(here.kube, here.namespace, CHROOTS[0], "http://127.0.0.1:1", "the-token", 5)
