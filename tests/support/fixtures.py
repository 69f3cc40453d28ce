"""The control-plane cluster with our CRDs; a client of it; one world a test."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from copr_operator.kube.client import APPLY_PATCH, KubeClient
from tests.cluster import api as clusters
from tests.support.world import World, eventually, world

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def cluster() -> clusters.Cluster:
    return control_plane()


def control_plane() -> clusters.Cluster:
    """The control-plane cluster, running, with our CRDs."""
    running = clusters.up(clusters.CONTROL_PLANE)
    asyncio.run(_install_crds(running))
    return running


async def _install_crds(running: clusters.Cluster) -> None:
    async with await KubeClient.from_environment(kubeconfig=str(running.kubeconfig)) as kube:
        for file in sorted(CRDS.glob("copr-operator.dev_*.yaml")):
            await apply_crd(kube, yaml.safe_load(file.read_text()))


async def apply_crd(kube: KubeClient, crd: dict[str, Any]) -> None:
    """Returns when the kind is served."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}"
    await kube.patch(path, crd, {"fieldManager": "tests", "force": "true"}, content_type=APPLY_PATCH)

    async def established() -> bool:
        conditions = (await kube.get(path)).get("status", {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    await eventually(established, lambda: "the CRD is not established")


@pytest.fixture
async def kube(cluster: clusters.Cluster) -> AsyncIterator[KubeClient]:
    async with await KubeClient.from_environment(kubeconfig=str(cluster.kubeconfig)) as client:
        yield client


@pytest.fixture
async def here(kube: KubeClient, tmp_path: Path) -> AsyncIterator[World]:
    async with world(kube, tmp_path) as ready:
        yield ready
