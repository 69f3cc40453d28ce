"""Given a world, the exact plan of a build that is canceled, has ended or is deleted."""

from dataclasses import replace

import pytest

from copr_operator.api.build import BuildStatus, ChrootStatus, SourceStatus
from copr_operator.core import actions, names
from copr_operator.core.decision import Plan, Urgency
from copr_operator.core.plan import plan
from tests.support.builders import (
    CONFIG,
    D12,
    D13,
    RPMS_MADE,
    accepted,
    at,
    build,
    container,
    imported,
    job,
    observed,
    pod,
    reason,
    said,
)

SRC = names.SOURCE_STEP


class TestCancel:
    def test_the_jobs_are_stopped_first_and_then_the_state_is_canceled(self) -> None:
        source = job(SRC)
        canceled = build(accepted(state="running", source_state="running"), cancel=True)
        running = pod(source, source=container("running"), collect=container("running"))
        stopping = plan(observed(canceled, source, pods=(running,)), CONFIG)
        assert stopping.actions == (actions.DeleteJob(source.name, source.uid),)
        stopped = job(SRC, deleting=True)
        decision = plan(observed(canceled, stopped, pods=(running,)), CONFIG)
        assert decision.urgency is Urgency.NOW
        assert decision.status is not None
        assert decision.status.source is not None
        assert decision.status.state == "canceled"
        assert decision.status.source.state == "canceled"
        assert {c.state for c in decision.status.chroots} == {"canceled"}
        assert reason(decision) == "Canceled"

    @pytest.mark.parametrize("noticed", ["active", "complete"])
    def test_a_completion_that_was_seen_wins_over_a_cancel(self, noticed: str) -> None:
        first = job(D12, state=noticed)
        done = pod(first, "Succeeded", build=container(), collect=said(RPMS_MADE))
        status = imported(ChrootStatus(name=D12, state="running"))
        decision = plan(observed(build(status, cancel=True), first, pods=(done,)), CONFIG)
        assert decision.actions == ()
        assert decision.status is not None
        assert decision.status.state == "succeeded"

    def test_a_canceled_build_starts_nothing_and_its_lost_jobs_are_no_failure(self) -> None:
        canceled = build(accepted(state="running", source_state="running"), cancel=True)
        assert plan(observed(canceled), CONFIG).actions == (actions.FindJob(job(SRC).name),)
        decision = plan(observed(canceled, missing_jobs=frozenset({job(SRC).name})), CONFIG)
        assert decision.status is not None
        assert decision.status.state == "canceled"
        waiting = plan(observed(build(accepted(), cancel=True)), CONFIG)
        assert waiting.status is not None
        assert waiting.status.state == "canceled"

    def test_what_had_ended_before_the_cancel_keeps_its_state(self) -> None:
        status = imported(ChrootStatus(name=D12, state="succeeded"), ChrootStatus(name=D13, state="running"))
        decision = plan(observed(build(status, cancel=True), job(D13, deleting=True)), CONFIG)
        assert decision.status is not None
        assert [c.state for c in decision.status.chroots] == ["succeeded", "canceled"]
        assert decision.status.state == "canceled"


class TestEnded:
    def ended(self, generation: int = 1) -> BuildStatus:
        return BuildStatus(
            id=42, state="succeeded", observed_generation=generation, source=SourceStatus(state="succeeded")
        )

    def test_terminal_is_final(self) -> None:
        decision = plan(observed(build(self.ended()), job(D12, state="failed")), CONFIG)
        assert decision == Plan(forget=True)

    def test_a_late_cancel_is_only_acknowledged(self) -> None:
        decision = plan(observed(build(self.ended(generation=0), cancel=True)), CONFIG)
        assert decision.status is not None
        assert decision.status.state == "succeeded"
        assert decision.status.observed_generation == 1

    def test_a_job_that_still_runs_is_stopped(self) -> None:
        running = job(D12)
        status = self.ended().model_copy(update={"chroots": [ChrootStatus(name=D12, state="failed")]})
        assert plan(observed(build(status), running), CONFIG).actions == (actions.DeleteJob(running.name, running.uid),)

    def test_a_job_whose_pod_has_succeeded_is_left_to_the_job_controller(self) -> None:
        last = job(D12)
        done = pod(last, "Succeeded", build=container(), collect=said(RPMS_MADE))
        assert plan(observed(build(self.ended()), last, pods=(done,)), CONFIG) == Plan(forget=True)


class TestDeletion:
    def test_pods_stop_first_then_the_results_leave_then_the_object_goes(self) -> None:
        dying = build(imported(), deleting=True)
        running = job(D12)
        assert plan(observed(dying, running), CONFIG).actions == (actions.DeleteJob(running.name, running.uid),)
        assert plan(observed(dying, job(D12, deleting=True)), CONFIG).actions == ()
        assert plan(observed(dying), CONFIG).actions == (actions.RemoveResults(),)
        last = plan(observed(dying, results_removed=True), CONFIG)
        assert last.actions == (actions.RemoveFinalizer(),)
        assert last.forget

    def test_pods_that_never_end_are_waited_for_two_minutes(self) -> None:
        """As on a node that is lost. The backend takes nothing more of a build that was removed."""
        dying = replace(build(imported(), deleting=True), deleted_at=at(0))
        stuck = job(D12, deleting=True)
        waiting = plan(observed(dying, stuck, now=119), CONFIG)
        assert (waiting.actions, waiting.requeue_at) == ((), at(120))
        assert plan(observed(dying, stuck, now=120), CONFIG).actions == (actions.RemoveResults(),)
        late = plan(observed(dying, job(D12), now=120), CONFIG)
        assert late.actions == (actions.DeleteJob(stuck.name, stuck.uid),), "it is told to stop in any case"

    def test_an_absent_backend_delays_it_with_a_reason_and_a_next_look(self) -> None:
        decision = plan(observed(build(imported(), deleting=True), backend_message="no answer"), CONFIG)
        assert decision.actions == ()
        assert reason(decision) == "BackendUnavailable"
        assert decision.requeue_at is not None

    def test_retained_results_are_left_alone(self) -> None:
        dying = build(imported(), deleting=True, results="Retain")
        assert plan(observed(dying), CONFIG).actions == (actions.RemoveFinalizer(),)

    def test_a_build_that_was_never_adopted_has_nothing_to_clean(self) -> None:
        assert plan(observed(build(adopted=False, deleting=True)), CONFIG) == Plan(forget=True)
