"""Frontends before a running controller: beside a pretended backend, or a real one whose pods really deliver."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import api as clusters
from tests.integration.backend.process import free_port
from tests.support.delivery import DeliveringPods, RealBackend, real_backend
from tests.support.frontend import Site, frontend
from tests.support.world import World

PATIENT: dict[str, Any] = {"id_timeout": 30, "cancel_timeout": 30}
"""Creates and cancels wait longer for the controller than users would: the machine may be busy with other tests."""


@pytest.fixture
async def site(here: World, tmp_path: Path) -> AsyncIterator[Site]:
    """alice has a token."""
    await here.create_chroots()
    async with here.controller(), frontend(here, tmp_path, **PATIENT) as running:
        await running.person("alice")
        yield running


@dataclass
class Whole:
    """A frontend with everything behind it."""

    site: Site
    backend: RealBackend
    pods: DeliveringPods


@pytest.fixture
async def whole(here: World, cluster: clusters.Cluster, tmp_path: Path) -> AsyncIterator[Whole]:
    """alice has a token."""
    await here.create_chroots()
    port = free_port()
    async with real_backend(here, cluster.kubeconfig, tmp_path, f"http://127.0.0.1:{port}") as backend:
        pods = DeliveringPods(here, backend.url)
        here.kubelet.behaviour = pods.behaviour
        operator = replace(here.settings().operator, backend_url=backend.url, results_url=backend.url)
        async with (
            here.controller(operator=operator, backend_token_file=backend.controller_token),
            frontend(here, tmp_path, port=port, backend_url=backend.url, results_url=backend.url, **PATIENT) as site,
        ):
            await site.person("alice")
            yield Whole(site, backend, pods)
        assert pods.errors == []
