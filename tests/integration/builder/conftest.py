"""Servers of sources on loopback, the folders of a `fetch` container, and containers of the source step."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import EgressRules, StepPlan
from tests.support.scm_servers import SourceServer, commit, source_server
from tests.support.source_step import SPEC, Start
from tests.unit.builder.conftest import make_plan

LOOPBACK = EgressRules(allow=("127.0.0.1",))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SourceServer]:
    async with source_server(tmp_path / "served") as running:
        yield running


@pytest.fixture
def paths(tmp_path: Path) -> PodPaths:
    for name in ("in/source", "private", "credentials"):
        (tmp_path / name).mkdir(parents=True)
    return PodPaths(in_dir=tmp_path / "in", private=tmp_path / "private", credentials=tmp_path / "credentials")


def plan_of(egress: EgressRules = LOOPBACK, **limits: int) -> StepPlan:
    return make_plan(step="source", egress=egress, limits={"fetch": 60, **limits})


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path / "pod")


@pytest.fixture
def hello_repository(tmp_path: Path) -> Path:
    """A repository with a spec and its source."""
    repository = tmp_path / "hello"
    commit(repository, {"hello.spec": SPEC, "hello.txt": "hello\n"})
    return repository
