"""What the controller counts."""

import pytest
from prometheus_client import generate_latest

from copr_operator.controller.metrics import Metrics
from copr_operator.kube import paths


def test_builds_are_counted_by_state_when_the_metrics_are_read() -> None:
    metrics, states = Metrics(), ["new"]
    metrics.count_builds(lambda: states)
    states += ["running", "running"]
    text = generate_latest(metrics.registry).decode()
    assert 'copr_builds{state="running"} 2.0' in text
    assert 'copr_builds{state="new"} 1.0' in text
    assert 'copr_builds{state="pending"} 0.0' in text


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        (paths.copr("coprbuilds", "ns", "hello", "status"), "coprbuilds/status"),
        (paths.copr("coprbuilds", "ns", "hello"), "coprbuilds"),
        (paths.copr("coprbuilds"), "coprbuilds"),
        (paths.jobs("ns", "cb-1"), "jobs"),
        (paths.core("events", "ns"), "events"),
        ("/version", "other"),
    ],
)
def test_a_request_is_counted_under_its_resource_without_names(path: str, resource: str) -> None:
    metrics = Metrics()
    metrics.record_request("GET", path, 200)
    assert metrics.registry.get_sample_value(
        "copr_api_requests_total", {"verb": "GET", "resource": resource, "code": "200"}
    ) == 1.0  # fmt: skip
