"""The control-plane cluster with our CRDs; a client of it; one world a test. See docs/reliability.md."""

from pathlib import Path

import pytest

from tests.faults.scenario import SEED
from tests.support.fixtures import cluster, here, kube

__all__ = ["cluster", "here", "kube"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


def pytest_report_header() -> str:
    return f"faults: COPR_FAULT_SEED={SEED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"The same faults again: COPR_FAULT_SEED={SEED} pytest tests/faults")
