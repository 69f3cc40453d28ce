"""A control plane of their own, which the tests may break, with our CRDs; a client of it. See docs/reliability.md."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import api as clusters
from tests.faults.scenario import LONG, SEED
from tests.support.fixtures import control_plane, here, kube
from tests.support.installation import REPOSITORY

__all__ = ["cluster", "here", "kube"]


@pytest.fixture(scope="package")
def cluster() -> Iterator[clusters.Cluster]:
    """In the home that COPR_CLUSTER_HOME names, or in one that is made for these tests and ended with them."""
    with pytest.MonkeyPatch.context() as environment:
        given = os.environ.get("COPR_CLUSTER_HOME")
        if not given:
            environment.setenv("COPR_CLUSTER_HOME", str(REPOSITORY / "build" / "faults-cluster"))
            clusters.down(clusters.CONTROL_PLANE)
        try:
            yield control_plane()
        finally:
            if not given:
                clusters.down(clusters.CONTROL_PLANE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


def pytest_report_header() -> str:
    return f"faults: COPR_FAULT_SEED={SEED}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        report.sections.append(("the same faults again", again(item)))  # type: ignore[attr-defined]
    return report


def again(item: pytest.Item) -> str:
    """The command that makes this test's plan of faults once more."""
    seed = item.callspec.params.get("seed", SEED) if hasattr(item, "callspec") else SEED
    runs = "COPR_FAULT_RUNS=1 " if LONG else ""
    return f"COPR_FAULT_SEED={seed} {runs}.venv/bin/python -m pytest '{item.nodeid}'"
