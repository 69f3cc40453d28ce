"""Which refusals of a Job are waited out."""

from typing import Any

import pytest

from copr_operator.core import names, refusals
from copr_operator.core.observed import Refusal
from tests.support.builders import T0

# Words of Kubernetes 1.36, as tests/integration/test_waits.py sees them.
POLICY = "jobs.batch \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not on Mondays"
WEBHOOK = 'admission webhook "validate.example.org" denied the request: not on Mondays'
WEBHOOK_DOWN = (
    'Internal error occurred: failed calling webhook "validate.example.org": failed to call webhook: Post '
    '"https://validate.example.svc:443/?timeout=10s": dial tcp 10.0.0.7:443: connect: connection refused'
)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "exceeded quota: jobs"), (404, 'namespaces "ns" not found'), (422, POLICY), (400, WEBHOOK),
        (403, WEBHOOK), (500, WEBHOOK_DOWN), (504, WEBHOOK_DOWN),
    ],
)  # fmt: skip
def test_quota_admission_and_rights_are_waited_out(status: int, message: str) -> None:
    assert refusals.of_job(status, message, T0) == Refusal(status, message, T0, waits="Held")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_no_valid_job_never_becomes_one(status: int) -> None:
    assert refusals.of_job(status, "spec.template: Invalid value", T0) == Refusal(
        status, "spec.template: Invalid value", T0
    )


@pytest.mark.parametrize("status", [0, 401, 409, 429, 500, 503])
def test_what_is_no_refusal_is_none(status: int) -> None:
    assert refusals.of_job(status, "later", T0) is None


def job(kind: str = "", **meta: Any) -> dict[str, Any]:
    owners = [{"apiVersion": names.API_VERSION, "kind": kind, "name": "hello", "uid": "old", "controller": True}]
    return {"metadata": {"name": "cb-1", "namespace": "ns", "ownerReferences": owners if kind else [], **meta}}


def test_a_name_of_a_former_build_or_on_its_way_out_is_waited_out() -> None:
    for held in (job("CoprBuild"), job(deletionTimestamp="2026-01-01T12:00:00Z")):
        assert refusals.of_name(held, T0).waits == "WaitingForPreviousJob"


@pytest.mark.parametrize("kind", ["", "CronJob"])
def test_a_name_of_something_else_is_a_collision(kind: str) -> None:
    found = refusals.of_name(job(kind), T0)
    assert (found.status, found.waits, found.reason) == (409, "", "")
    assert "belongs to something else" in found.message
