"""The control-plane cluster with our CRDs; a client of it; one world a test."""

from pathlib import Path

import pytest

from tests.support.fixtures import cluster, here, kube

__all__ = ["cluster", "here", "kube"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
