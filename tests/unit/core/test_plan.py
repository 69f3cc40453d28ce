"""Given a world, the exact plan of a build that begins: its id, its chroots, and what it waits for."""

from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import BatchStatus, BuildStatus
from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.common import Phase
from copr_operator.core import actions, names
from copr_operator.core.decision import Plan, Urgency
from copr_operator.core.observed import Batch, Refusal
from copr_operator.core.plan import plan
from tests.support.builders import (
    CONFIG,
    D12,
    D13,
    accepted,
    at,
    build,
    condition_status,
    imported,
    job,
    observed,
    project,
    reason,
)

SRC = names.SOURCE_STEP


class TestAcceptance:
    def test_the_id_is_written_before_anything_is_made(self) -> None:
        decision = plan(observed(build(adopted=False)), CONFIG)
        assert decision.actions == ()
        assert decision.urgency is Urgency.NOW
        assert decision.status is not None
        assert (decision.status.id, decision.status.state) == (42, "pending")
        assert [c.name for c in decision.status.chroots] == [D12, D13]

    def test_a_build_without_its_project_gets_its_id_all_the_same(self) -> None:
        decision = plan(observed(build(adopted=False), project=None), CONFIG)
        assert decision.status is not None
        assert (decision.status.id, decision.status.chroots) == (42, [])
        assert reason(decision) == "ProjectNotFound"

    def test_a_build_with_an_id_is_adopted_before_anything_is_made(self) -> None:
        decision = plan(observed(build(BuildStatus(id=42, state="pending"), adopted=False)), CONFIG)
        assert decision.actions == (actions.Adopt(),)

    def test_chroots_are_chosen_and_latched_at_once_when_the_project_is_there(self) -> None:
        decision = plan(observed(build(BuildStatus(id=42, state="pending"))), CONFIG)
        assert decision.urgency is Urgency.NOW
        assert decision.status is not None
        assert [c.name for c in decision.status.chroots] == [D12, D13]
        assert decision.status.repo_url == "https://copr.example/results/alice/demo"

    def test_an_exclusion_that_leaves_nothing_fails_with_NoChroots(self) -> None:
        decision = plan(observed(build(BuildStatus(id=42), exclude_chroots=["*"])), CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert decision.status.state == "failed"
        assert (decision.status.failure.reason, decision.status.failure.step) == ("NoChroots", "validation")

    def test_a_chroot_that_the_project_does_not_have_fails_and_names_the_others(self) -> None:
        decision = plan(observed(build(BuildStatus(id=42), chroots=["fedora-99-x86_64"])), CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert decision.status.failure.reason == "ChrootNotInProject"
        assert D12 in decision.status.failure.message


class TestLinks:
    """What was found of afterBuild and withBuild is latched: what they name may be deleted."""

    FOUND = BatchStatus(leader="hello", after="other")
    WAITS = Batch(blocked=True, message="CoprBuild other has not ended", latch=FOUND)

    def test_they_are_in_the_first_status_when_they_are_found_at_once(self) -> None:
        decision = plan(observed(build(adopted=False, afterBuild="other"), batch=self.WAITS), CONFIG)
        assert decision.status is not None
        assert (decision.status.id, decision.status.batch) == (42, self.FOUND)

    def test_one_that_is_found_later_is_written_at_once(self) -> None:
        decision = plan(observed(build(accepted(), afterBuild="other"), batch=self.WAITS), CONFIG)
        assert decision.status is not None
        assert (decision.status.batch, decision.urgency) == (self.FOUND, Urgency.NOW)
        again = plan(observed(build(decision.status, afterBuild="other"), batch=self.WAITS), CONFIG)
        assert again.status == decision.status

    def test_what_is_known_stays_when_nothing_new_is_found(self) -> None:
        status = accepted().model_copy(update={"batch": self.FOUND})
        decision = plan(observed(build(status, afterBuild="other", cancel=True)), CONFIG)
        assert decision.status is not None
        assert decision.status.batch == self.FOUND


class TestWaiting:
    @pytest.mark.parametrize(
        ("world", "expected"),
        [
            ({"project": None}, "ProjectNotFound"),
            ({"project": project(held=False)}, "ProjectNotReady"),
            ({"project": project(ready=False)}, "RepositoryNotReady"),
            ({"chroots": {}}, "ChrootNotFound"),
            (
                {"chroots": {c: ChrootSpec(name=c, image="i", arch="x86_64", enabled=False) for c in (D12, D13)}},
                "ChrootDisabled",
            ),
            ({"batch": Batch(blocked=True, message="CoprBuild other has not ended")}, "WaitingForBatch"),
        ],
    )
    def test_a_build_that_can_not_start_says_what_it_waits_for(self, world: dict[str, Any], expected: str) -> None:
        decision = plan(observed(build(accepted()), **world), CONFIG)
        assert decision.actions == ()
        assert reason(decision) == expected
        assert decision.status is not None
        assert decision.status.state == "pending"
        assert condition_status(decision, "Reconciling") == "True"
        assert condition_status(decision, "Succeeded") == "Unknown"

    def test_waiting_has_no_deadline_of_its_own(self) -> None:
        assert plan(observed(build(accepted()), project=None, now=10**7), CONFIG).requeue_at is None

    def test_a_queue_timeout_ends_the_wait(self) -> None:
        waiting = build(accepted(), queue_timeout=100)
        early = plan(observed(waiting, project=None, now=99), CONFIG)
        assert early.requeue_at == at(100)
        late = plan(observed(waiting, project=None, now=100), CONFIG)
        assert late.status is not None
        assert late.status.failure is not None
        assert (late.status.state, late.status.failure.reason) == ("failed", "QueueTimeout")
        assert "ProjectNotFound" in late.status.failure.message

    def test_a_queue_timeout_wakes_nobody_once_the_source_step_is_over(self) -> None:
        decision = plan(observed(build(imported(), queue_timeout=100), chroots={}, now=200), CONFIG)
        assert (reason(decision), decision.requeue_at) == ("ChrootNotFound", None)

    def test_what_is_tried_again_has_no_queue_timeout_any_more(self) -> None:
        """It has had its turn, and its pod is gone."""
        evicted = job(SRC, 1, "failed", reason="PodFailurePolicy", message="condition DisruptionTarget")
        running = build(accepted(source_state="running", state="running"), queue_timeout=600)
        decision = plan(observed(running, evicted, now=4000), CONFIG)
        assert decision.status is not None
        assert decision.status.source is not None
        assert (decision.status.source.state, decision.status.source.attempt) == ("pending", 2)
        again = plan(observed(build(decision.status, queue_timeout=600), evicted, now=4000), CONFIG)
        assert again.actions == (actions.CreateJob(SRC, 2),)
        queued = plan(observed(build(decision.status, queue_timeout=600), evicted, job(SRC, 2), now=4000), CONFIG)
        assert queued.status is None or queued.status.state == "starting"

    def test_a_job_that_quota_refuses_is_tried_again_after_a_while(self) -> None:
        name = names.job_name(build().uid, SRC, 1)
        refused = {name: Refusal(403, "exceeded quota: jobs", at(60), waits="Held")}
        waiting = plan(observed(build(accepted()), refusals=refused, now=61), CONFIG)
        assert waiting.actions == ()
        assert reason(waiting) == "Held"
        assert waiting.requeue_at == at(90)
        again = plan(observed(build(accepted()), refusals=refused, now=90), CONFIG)
        assert again.actions == (actions.CreateJob(SRC, 1),)

    @pytest.mark.parametrize("world", [{"project": None}, {"chroots": {}}])
    def test_a_refusal_that_is_over_wakes_nobody_while_something_else_is_in_the_way(
        self, world: dict[str, Any]
    ) -> None:
        """A time that has passed would have the controller look again without an end."""
        refused = {names.job_name(build().uid, SRC, 1): Refusal(403, "exceeded quota: jobs", at(60), waits="Held")}
        assert plan(observed(build(accepted()), refusals=refused, now=89, **world), CONFIG).requeue_at == at(90)
        assert plan(observed(build(accepted()), refusals=refused, now=90, **world), CONFIG).requeue_at is None

    def test_a_job_without_its_user_namespace_fails_the_build_while_it_is_still_going_away(self) -> None:
        source = job(SRC, deleting=True)
        verdict = {source.name: Refusal(422, "hostUsers is ignored", at(60), "UserNamespacesUnavailable")}
        decision = plan(observed(build(accepted()), source, refusals=verdict), CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert decision.status.failure.reason == "UserNamespacesUnavailable"
        assert decision.status.failure.failure_class == "policy"

    @pytest.mark.parametrize(("status", "expected"), [(422, "JobRefused"), (409, "NameCollision")])
    def test_a_job_that_can_never_be_made_fails_the_build_as_policy(self, status: int, expected: str) -> None:
        name = names.job_name(build().uid, SRC, 1)
        decision = plan(observed(build(accepted()), refusals={name: Refusal(status, "no", at(60))}), CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert decision.status.failure.reason == expected
        assert decision.status.failure.failure_class == "policy"

    @pytest.mark.parametrize("wait", ["Held", "WaitingForPreviousJob"])
    def test_a_refusal_that_will_pass_is_a_wait_whatever_its_status(self, wait: str) -> None:
        name = names.job_name(build().uid, SRC, 1)
        refused = {name: Refusal(422, "denied", at(60), waits=wait)}
        decision = plan(observed(build(accepted()), refusals=refused, now=61), CONFIG)
        assert reason(decision) == wait
        assert decision.requeue_at == at(90)

    def test_a_circle_of_waiting_builds_fails_the_build_that_closed_it(self) -> None:
        batch = Batch(blocked=True, message="CoprBuild b has not ended", circle="b and this build wait for each other")
        decision = plan(observed(build(accepted(), afterBuild="b"), batch=batch), CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert (decision.status.state, decision.status.failure.reason) == ("failed", "CircularWait")
        assert "b and this build" in decision.status.failure.message

    def test_a_job_without_a_pod_is_asked_about_after_ten_seconds(self) -> None:
        source = job(SRC)
        early = plan(observed(build(accepted()), source, now=5), CONFIG)
        assert early.actions == ()
        assert early.requeue_at == at(10)
        late = plan(observed(build(accepted()), source, now=10), CONFIG)
        assert late.actions == (actions.ReadJobEvents(source.name, source.uid),)
        told = {source.name: Refusal(0, "pods is forbidden: exceeded quota", at(10))}
        held = plan(observed(build(accepted()), source, refusals=told, now=11), CONFIG)
        assert reason(held) == "Held"
        assert held.status is not None
        assert "exceeded quota" in held.status.conditions[0].message


class TestSpecsOfANewerVersion:
    """The CRDs admit what this controller can't read."""

    unread = "source.type: Input should be 'link', 'upload'"

    def test_such_a_build_gets_its_id_and_says_what_it_waits_for(self) -> None:
        decision = plan(observed(replace(build(adopted=False, source=None), unread=self.unread)), CONFIG)
        assert decision.status is not None
        assert (decision.status.id, decision.status.state, decision.status.chroots) == (42, "pending", [])
        assert reason(decision) == "SpecNotUnderstood"
        assert self.unread in decision.status.conditions[0].message

    def test_nothing_is_begun(self) -> None:
        decision = plan(observed(replace(build(accepted(), source=None), unread=self.unread)), CONFIG)
        assert decision.actions == ()
        assert reason(decision) == "SpecNotUnderstood"

    def test_what_runs_since_before_a_downgrade_is_left_alone(self) -> None:
        running = accepted(state="running", source_state="running")
        decision = plan(observed(replace(build(running, source=None), unread=self.unread), job(SRC)), CONFIG)
        assert decision.actions == ()
        assert decision.status is not None
        assert (decision.status.state, reason(decision)) == ("running", "SpecNotUnderstood")

    def test_it_can_be_canceled(self) -> None:
        view = replace(build(accepted(), source=None, cancel=True), unread=self.unread)
        stop = plan(observed(view, job(SRC)), CONFIG)
        assert stop.actions == (actions.DeleteJob(job(SRC).name, job(SRC).uid),)
        decision = plan(observed(view), CONFIG)
        assert decision.status is not None
        assert decision.status.state == "canceled"

    def test_it_can_be_deleted(self) -> None:
        view = replace(build(accepted(), source=None, deleting=True), unread=self.unread)
        assert plan(observed(view), CONFIG).actions == (actions.RemoveResults(),)

    @pytest.mark.parametrize("cancel", [True, False])
    @pytest.mark.parametrize("state", ["running", "failed", None])
    def test_a_status_that_is_not_understood_is_not_written_over(self, state: Phase | None, cancel: bool) -> None:
        status = accepted().model_copy(update={"state": state})
        view = replace(build(status, cancel=cancel), unread_status="state: Input should be 'importing'", generation=9)
        assert plan(observed(view, job(SRC)), CONFIG) == Plan()

    def test_it_can_be_deleted_with_a_status_that_is_not_understood(self) -> None:
        view = replace(build(accepted(), deleting=True), unread_status="state: Input should be 'importing'")
        stop = plan(observed(view, job(SRC)), CONFIG)
        assert stop.actions == (actions.DeleteJob(job(SRC).name, job(SRC).uid),)
        assert plan(observed(view), CONFIG).actions == (actions.RemoveResults(),)
