"""Nothing is heard of a node: its pods are deleted, and stay as they were."""

from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import ChrootStatus
from copr_operator.core import actions
from copr_operator.core.decision import Plan
from copr_operator.core.observed import JobView, PodView
from copr_operator.core.plan import plan
from copr_operator.core.views import pod_view
from tests.support.builders import CONFIG, D12, at, build, container, imported, job, observed, pod, reason

FIRST = job(D12)
RUNNING: dict[str, Any] = {"build": container("running"), "collect": container("running")}
BUILDING = imported(ChrootStatus(name=D12, state="running", started_at="2026-01-01T12:00:00Z"))


def lost(of: JobView, **fields: Any) -> PodView:
    return pod(of, **{"node": "n1", "deleting": True, "gone_by": at(470), **RUNNING, **fields})


def planned(of: PodView, now: float, *jobs: JobView, **spec: Any) -> Plan:
    return plan(observed(build(BUILDING, **spec), *(jobs or (FIRST,)), pods=(of,), now=now), CONFIG)


@pytest.mark.parametrize("disrupted", [True, False])
def test_what_ran_there_is_tried_again_when_its_grace_is_over(disrupted: bool) -> None:
    pod_ = lost(FIRST, disrupted=disrupted)
    early = planned(pod_, 529)
    assert (early.requeue_at, reason(early)) == (at(530), "Building")
    late = planned(pod_, 530)
    assert late.status is not None
    assert (late.status.chroots[0].state, late.status.chroots[0].attempt) == ("pending", 2)
    assert late.status.conditions[0].message == "Disrupted: the pod was to end, and node n1 has not ended it"
    after = plan(observed(build(late.status), FIRST, pods=(pod_,), now=530), CONFIG)
    assert after.actions == (actions.DeleteJob(FIRST.name, FIRST.uid),)
    stopped = replace(FIRST, deleting=True)
    again = plan(observed(build(late.status), stopped, pods=(pod_,), now=530), CONFIG)
    assert again.actions == (actions.CreateJob(D12, 2),)


@pytest.mark.parametrize("fields", [{"disrupted": True, "deleting": False, "gone_by": None}, {}])
def test_a_step_that_was_to_end_and_runs_past_its_timeout_is_not_the_users_failure(fields: dict[str, Any]) -> None:
    decision = planned(lost(FIRST, **fields), 400, timeout=100)
    assert decision.status is not None
    assert (decision.status.chroots[0].state, decision.status.chroots[0].attempt) == ("pending", 2)


def test_the_next_attempt_waits_for_a_pod_that_may_still_end() -> None:
    """Deleted with its Job, because it did not start in time, say: how its node is shows only then."""
    status = imported(ChrootStatus(name=D12, state="pending", attempt=2))
    stopped = replace(FIRST, deleting=True)
    seen: dict[str, Any] = {"pods": (lost(stopped),)}
    waiting = plan(observed(build(status), stopped, now=529.5, **seen), CONFIG)
    assert (waiting.actions, reason(waiting)) == ((), "WaitingForPreviousJob")
    assert waiting.requeue_at == at(530.5)
    going = plan(observed(build(status), stopped, now=530.5, **seen), CONFIG)
    assert going.actions == (actions.CreateJob(D12, 2),)


def test_a_pod_that_has_ended_is_the_jobs_to_tell_of() -> None:
    ended = lost(FIRST, phase="Failed", build=container(code=143), collect=container())
    decision = planned(ended, 600)
    assert decision.status is not None
    assert decision.status.chroots[0].attempt == 1


def test_a_job_that_somebody_holds_back_is_not_tried_again() -> None:
    held = replace(FIRST, suspended=True)
    decision = planned(lost(held), 10**6, held)
    assert reason(decision) in ("Building", "Held")
    assert decision.status is not None
    assert decision.status.chroots[0].attempt == 1


def test_a_deleted_pod_says_until_when_it_has_to_end() -> None:
    meta = {"name": "p", "uid": "u", "namespace": "ns", "deletionTimestamp": "2026-01-01T12:01:10Z"}
    seen = pod_view({"metadata": meta})
    assert (seen.deleting, seen.gone_by) == (True, at(70))
