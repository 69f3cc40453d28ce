"""Given a world, the exact plan of a build that is built: its source step, its chroots, new attempts, deadlines."""

from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import ChrootStatus
from copr_operator.core import actions, names
from copr_operator.core.decision import Plan, Urgency
from copr_operator.core.observed import JobView, PodView, Refusal
from copr_operator.core.outcome import POD_LAG
from copr_operator.core.plan import plan
from tests.support.builders import (
    CONFIG,
    D12,
    D13,
    RPMS_MADE,
    SRPM_MADE,
    accepted,
    at,
    build,
    condition_status,
    container,
    failed_summary,
    imported,
    job,
    observed,
    pod,
    reason,
    said,
)

SRC = names.SOURCE_STEP


class TestSource:
    def test_the_source_job_is_made_when_nothing_is_in_the_way(self) -> None:
        assert plan(observed(build(accepted())), CONFIG).actions == (actions.CreateJob(SRC, 1),)

    @pytest.mark.parametrize(
        ("containers", "state", "why"),
        [
            ({"fetch": container("running")}, "starting", "Starting"),
            ({"source": container("running"), "collect": container("running")}, "running", "SourceRunning"),
            ({"source": container(), "collect": container("running")}, "importing", "Importing"),
        ],
    )
    def test_its_state_follows_its_containers(self, containers: dict[str, Any], state: str, why: str) -> None:
        source = job(SRC)
        decision = plan(observed(build(accepted()), source, pods=(pod(source, **containers),)), CONFIG)
        assert decision.status is not None
        assert decision.status.source is not None
        assert decision.status.source.state == state
        assert decision.status.state == state
        assert reason(decision) == why

    def test_the_srpm_is_latched_before_any_chroot_starts(self) -> None:
        source = job(SRC, state="complete")
        done = pod(source, "Succeeded", source=container(), collect=said(SRPM_MADE))
        decision = plan(observed(build(accepted(source_state="running")), source, pods=(done,)), CONFIG)
        assert decision.actions == ()
        assert decision.urgency is Urgency.NOW
        assert decision.status is not None
        assert decision.status.source is not None
        assert decision.status.source.package is not None
        assert decision.status.source.srpm is not None
        assert decision.status.source.package.version == "2.8-1"
        assert decision.status.source.srpm.url.endswith("/results/alice/demo/srpm-builds/00000042/hello-2.8-1.src.rpm")
        assert decision.status.state == "pending"

    def test_an_srpm_that_says_more_than_a_summary_holds_is_the_users_failure(self) -> None:
        source = job(SRC, state="complete")
        summary = SRPM_MADE.model_copy(update={"exclusive_arch": tuple(f"arch{n}" for n in range(600))})
        done = pod(source, "Succeeded", source=container(), collect=said(summary))
        decision = plan(observed(build(accepted()), source, pods=(done,)), CONFIG)
        assert decision.status is not None
        assert decision.status.state == "failed"
        assert decision.status.failure is not None
        assert (decision.status.failure.reason, decision.status.failure.failure_class) == ("ResultsRefused", "user")

    def test_chroots_that_the_arch_tags_rule_out_are_skipped_without_a_pod(self) -> None:
        source = job(SRC, state="complete")
        summary = SRPM_MADE.model_copy(update={"exclusive_arch": ("aarch64",)})
        done = pod(source, "Succeeded", source=container(), collect=said(summary))
        decision = plan(observed(build(accepted()), source, pods=(done,)), CONFIG)
        assert decision.status is not None
        assert decision.status.state == "skipped"
        assert {c.state for c in decision.status.chroots} == {"skipped"}
        assert condition_status(decision, "Succeeded") == "True"

    def test_a_users_failure_is_not_retried_and_shows_the_end_of_the_log(self) -> None:
        source = job(SRC, state="failed")
        ended = pod(
            source, "Failed", source=container(code=28), collect=said(failed_summary("SourceFailed", tail="no!"))
        )
        decision = plan(observed(build(accepted()), source, pods=(ended,)), CONFIG)
        assert decision.status is not None
        failure = decision.status.failure
        assert failure is not None
        assert (failure.failure_class, failure.reason, failure.step) == ("user", "SourceFailed", "source")
        assert "no!" in failure.message
        assert failure.log_url == "https://copr.example/results/alice/demo/srpm-builds/00000042/builder-live.log.gz"
        assert [c.state for c in decision.status.chroots] == ["failed", "failed"]
        assert condition_status(decision, "Stalled") == "True"


class TestSources:
    def test_a_dist_git_that_the_installation_does_not_know_fails_before_any_pod(self) -> None:
        source = {"type": "distgit", "distgit": {"package": "hello", "instance": "mine"}}
        decision = plan(observed(build(accepted(), source=source)), CONFIG)
        assert decision.actions == ()
        assert decision.status is not None
        assert decision.status.state == "failed"
        assert decision.status.failure is not None
        assert (decision.status.failure.reason, decision.status.failure.step) == ("UnknownDistGit", "validation")

    def test_a_custom_source_waits_for_its_own_chroot(self) -> None:
        source = {"type": "custom", "custom": {"script": "#!/bin/sh", "chroot": "fedora-43-x86_64"}}
        decision = plan(observed(build(accepted(), source=source)), CONFIG)
        assert decision.actions == ()
        assert reason(decision) == "ChrootNotFound"

    def test_the_checksum_of_a_link_is_in_the_status(self) -> None:
        made = SRPM_MADE.model_copy(update={"source_sha256": "b" * 64})
        source = job(SRC, state="complete")
        seen = observed(
            build(accepted(source_state="running")), source, pods=(pod(source, "Succeeded", collect=said(made)),)
        )
        decision = plan(seen, CONFIG)
        assert decision.status is not None
        assert decision.status.source is not None
        assert decision.status.source.sha256 == "b" * 64

    @pytest.mark.parametrize(("seconds", "state"), [(900, "starting"), (961, "failed")])
    def test_a_large_clone_has_its_own_time(self, seconds: float, state: str) -> None:
        """Ten minutes for the pod to start, and eleven for `fetch` from when it has."""
        source = job(SRC)
        running = pod(source, "Pending", fetch=container("running", started=at(300)))
        decision = plan(
            observed(build(accepted(source_state="starting")), source, pods=(running,), now=seconds), CONFIG
        )
        assert decision.status is not None
        assert decision.status.source is not None
        assert (decision.status.source.state, decision.status.source.attempt) == (
            "pending" if state == "failed" else state,
            2 if state == "failed" else 1,
        )

    @pytest.mark.parametrize(("seconds", "attempt"), [(601, 1), (959, 1), (1249, 1), (1250, 2)])
    def test_what_follows_a_large_clone_has_time_to_start(self, seconds: float, attempt: int) -> None:
        """The kubelet needs a second, and the image of the work may have to be pulled."""
        source = job(SRC)
        cloned = container(started=at(5), finished=at(650)) if seconds > 650 else container("running", started=at(5))
        waiting = pod(source, "Pending", fetch=cloned, source=container("waiting", reason="PodInitializing"))
        decision = plan(
            observed(build(accepted(source_state="starting")), source, pods=(waiting,), now=seconds), CONFIG
        )
        assert decision.status is not None
        assert decision.status.source is not None
        assert decision.status.source.attempt == attempt
        assert attempt == 2 or decision.requeue_at in (at(665), at(1250))


def test_a_project_s_repositories_are_made_sure_of_whatever_its_status_says() -> None:
    """By a new controller, once: the store may have come from an older backup."""
    assert plan(observed(build(accepted()), directory_ready=False), CONFIG).actions == (actions.EnsureDirectory(),)


def test_another_directory_of_the_project_is_made_before_the_source_step() -> None:
    special = build(accepted(), project_dirname="demo:pr:1")
    assert plan(observed(special, directory_ready=False), CONFIG).actions == (actions.EnsureDirectory(),)
    away = plan(observed(special, directory_ready=False, backend_message="no answer"), CONFIG)
    assert reason(away) == "BackendUnavailable"
    assert away.requeue_at == at(71)
    assert plan(observed(special), CONFIG).actions == (actions.CreateJob(SRC, 1),)


def test_what_several_chroots_need_is_asked_for_once() -> None:
    """By a new controller, of a build whose SRPM is there and whose Jobs are not."""
    assert plan(observed(build(imported()), directory_ready=False), CONFIG).actions == (actions.EnsureDirectory(),)


class TestChroots:
    def test_both_jobs_are_made_once_the_srpm_is_latched(self) -> None:
        decision = plan(observed(build(imported())), CONFIG)
        assert decision.actions == (actions.CreateJob(D12, 1), actions.CreateJob(D13, 1))

    def test_one_running_chroot_hides_a_failed_one(self) -> None:
        first, second = job(D12, state="failed"), job(D13)
        pods = (
            pod(first, "Failed", build=container(code=22), collect=said(failed_summary("BuildFailed"))),
            pod(second, build=container("running"), collect=container("running")),
        )
        decision = plan(observed(build(imported()), first, second, pods=pods), CONFIG)
        assert decision.status is not None
        assert decision.status.state == "running"
        assert [c.state for c in decision.status.chroots] == ["failed", "running"]
        assert decision.status.failure is not None
        assert decision.status.failure.chroot == D12

    def test_failed_beats_succeeded(self) -> None:
        first, second = job(D12, state="failed"), job(D13, state="complete")
        pods = (
            pod(first, "Failed", build=container(code=22), collect=said(failed_summary("BuildFailed"))),
            pod(second, "Succeeded", build=container(), collect=said(RPMS_MADE)),
        )
        decision = plan(observed(build(imported()), first, second, pods=pods), CONFIG)
        assert decision.status is not None
        assert decision.status.state == "failed"
        assert decision.status.chroots[1].packages == 4
        assert decision.status.ended_at == "2026-01-01T12:01:00Z"
        assert reason(decision) == "BuildFailed"

    def test_a_chroot_that_has_ended_is_never_read_again(self) -> None:
        status = imported(
            ChrootStatus(name=D12, state="succeeded", packages=4), ChrootStatus(name=D13, state="running")
        )  # fmt: skip
        first, second = job(D12, state="failed"), job(D13)
        running = pod(second, build=container("running"), collect=container("running"))
        decision = plan(observed(build(status), first, second, pods=(running,)), CONFIG)
        assert decision.status is not None
        assert decision.status.chroots[0].state == "succeeded"

    def test_a_message_alone_is_written_lazily(self) -> None:
        first = job(D12)
        status = imported(ChrootStatus(name=D12, state="pending"))
        waiting = pod(first, "Pending", scheduled=False, scheduling_message="0/2 nodes are available")
        before = plan(observed(build(status), first, pods=(waiting,)), CONFIG).status
        assert before is not None
        after = pod(first, "Pending", scheduled=False, scheduling_message="0/3 nodes are available")
        decision = plan(observed(build(before), first, pods=(after,)), CONFIG)
        assert decision.urgency is Urgency.LAZY

    def test_that_no_node_can_take_the_pod_is_told_when_it_lasts(self) -> None:
        first = job(D12)
        full = pod(first, "Pending", scheduled=False, scheduling_message="0/3 nodes are available")
        world = observed(build(imported(ChrootStatus(name=D12, state="pending"))), first, pods=(full,), now=9)
        early = plan(world, CONFIG)
        assert reason(early) == "Starting"
        assert early.requeue_at == at(10)
        assert early.status is not None
        late = plan(observed(build(early.status), first, pods=(full,), now=10), CONFIG)
        assert reason(late) == "Unschedulable"
        assert late.urgency is Urgency.SOON
        assert late.status is not None
        assert late.status.conditions[0].message == "0/3 nodes are available"


class TestPodsWithoutANode:
    """A full cluster is waited out as a quota is."""

    source = job(SRC)
    full = pod(source, "Pending", scheduled=False, scheduling_message="0/3 nodes are available")
    starting = accepted(state="starting", source_state="starting")

    def planned(self, of: PodView, now: float, *jobs: JobView, **spec: Any) -> Plan:
        return plan(observed(build(self.starting, **spec), *(jobs or (self.source,)), pods=(of,), now=now), CONFIG)

    @pytest.mark.parametrize("now", [601, 10**7])
    def test_no_deadline_runs_and_no_attempt_is_spent(self, now: int) -> None:
        decision = self.planned(self.full, now)
        assert (reason(decision), decision.requeue_at, decision.actions) == ("Unschedulable", None, ())
        assert decision.status is not None
        assert decision.status.source is not None
        assert (decision.status.source.state, decision.status.source.attempt) == ("starting", 1)
        assert decision.status.conditions[0].message == "0/3 nodes are available"

    def test_a_scheduler_that_says_nothing_is_waited_for_too(self) -> None:
        decision = self.planned(pod(self.source, "Pending", scheduled=False), 10**7)
        assert reason(decision) == "Starting"
        assert decision.status is not None
        assert decision.status.conditions[0].message == "waiting for a node"

    def test_its_time_to_start_begins_when_a_node_takes_it(self) -> None:
        taken = pod(self.source, "Pending", scheduled_at=at(7200), source=container("waiting", reason="ErrImagePull"))
        decision = self.planned(taken, 7201)
        assert (reason(decision), decision.requeue_at) == ("Held", at(7800))

    def test_it_is_asked_about_only_when_it_has_had_its_node_for_ten_seconds(self) -> None:
        taken = pod(self.source, "Pending", scheduled_at=at(7200))
        early = self.planned(taken, 7209)
        assert (early.actions, early.requeue_at) == ((), at(7210))
        assert self.planned(taken, 7210).actions == (actions.ReadPodEvents(taken.name, taken.uid),)

    def test_queue_timeout_ends_the_wait_and_the_job_is_stopped(self) -> None:
        assert self.planned(self.full, 3599, queue_timeout=3600).requeue_at == at(3600)
        late = self.planned(self.full, 3600, queue_timeout=3600)
        assert late.status is not None
        assert late.status.failure is not None
        assert (late.status.state, late.status.failure.reason) == ("failed", "QueueTimeout")
        assert "0/3 nodes are available" in late.status.failure.message
        after = plan(observed(build(late.status), self.source, pods=(self.full,), now=3601), CONFIG)
        assert after.actions == (actions.DeleteJob(self.source.name, self.source.uid),)

    def test_a_pod_that_has_a_node_has_no_queue_timeout(self) -> None:
        taken = pod(self.source, "Pending", scheduled_at=at(3599), fetch=container("running", started=at(3600)))
        decision = self.planned(taken, 3601, queue_timeout=3600)
        assert decision.requeue_at == at(3600 + CONFIG.deadlines.fetching)
        assert reason(decision) == "Starting"

    def test_cancel_and_deletion_end_it_at_once(self) -> None:
        stop = (actions.DeleteJob(self.source.name, self.source.uid),)
        assert self.planned(self.full, 61, cancel=True).actions == stop
        assert self.planned(self.full, 61, deleting=True).actions == stop
        canceled = self.planned(self.full, 61, replace(self.source, deleting=True), cancel=True)
        assert canceled.status is not None
        assert canceled.status.state == "canceled"

    def test_a_job_that_failed_with_it_is_tried_again_as_ever(self) -> None:
        gone = job(SRC, state="failed", reason="BackoffLimitExceeded")
        decision = plan(observed(build(self.starting), gone, now=60 + POD_LAG), CONFIG)
        assert decision.status is not None
        assert decision.status.source is not None
        assert decision.status.source.attempt == 2


class TestRetries:
    def evicted(self, attempt: int) -> Plan:
        source = job(SRC, attempt, state="failed")
        gone = pod(source, "Failed", source=container(code=137), disrupted=True)
        status = accepted(state="running", source_state="running", attempt=attempt)
        return plan(observed(build(status), source, pods=(gone,)), CONFIG)

    def test_a_disrupted_pod_is_tried_again_as_the_next_attempt(self) -> None:
        decision = self.evicted(1)
        assert decision.status is not None
        assert decision.status.source is not None
        assert (decision.status.source.state, decision.status.source.attempt) == ("pending", 2)
        assert decision.urgency is Urgency.NOW
        assert reason(decision) == "Retrying"

    def test_the_next_attempt_comes_after_a_pause(self) -> None:
        first = job(SRC, 1, state="failed")
        status = accepted(attempt=2)
        waiting = plan(observed(build(status), first, now=61), CONFIG)
        assert waiting.actions == ()
        assert waiting.requeue_at == at(70)
        assert plan(observed(build(status), first, now=70), CONFIG).actions == (actions.CreateJob(SRC, 2),)

    def test_two_attempts_never_run_at_once(self) -> None:
        decision = plan(observed(build(accepted(attempt=2)), job(SRC, 1), now=1000), CONFIG)
        assert decision.actions == (actions.DeleteJob(job(SRC, 1).name, job(SRC, 1).uid),)
        going = plan(observed(build(accepted(attempt=2)), job(SRC, 1, deleting=True), now=1000), CONFIG)
        assert going.actions == ()
        assert reason(going) == "WaitingForPreviousJob"

    def test_the_third_attempt_is_the_last(self) -> None:
        decision = self.evicted(3)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert (decision.status.state, decision.status.failure.reason) == ("failed", "Disrupted")
        assert decision.status.failure.failure_class == "infra"

    def test_a_job_that_vanished_before_its_result_was_seen_is_tried_again(self) -> None:
        running = build(accepted(state="running", source_state="running"))
        name = job(SRC).name
        assert plan(observed(running), CONFIG).actions == (actions.FindJob(name),)
        decision = plan(observed(running, missing_jobs=frozenset({name})), CONFIG)
        assert decision.status is not None
        assert decision.status.source is not None
        assert decision.status.source.attempt == 2

    def test_a_reason_that_only_a_newer_version_knows_is_not_tried_again(self) -> None:
        """After a rollback: the pod is the newer version's."""
        source = job(SRC, state="failed")
        ended = pod(source, "Failed", source=container(), collect=said(failed_summary("LicenseForbidden", "no"), 65))
        decision = plan(observed(build(accepted(source_state="running")), source, pods=(ended,)), CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert (decision.status.failure.reason, decision.status.failure.failure_class) == ("LicenseForbidden", "user")

    def test_untrusted_code_can_not_buy_a_retry_with_an_exit_code(self) -> None:
        first = job(D12, state="failed")
        for code in range(1, 256):
            ended = pod(first, "Failed", build=container(code=code), collect=said(failed_summary("BuildFailed")))
            status = imported(ChrootStatus(name=D12, state="running"))
            decision = plan(observed(build(status), first, pods=(ended,)), CONFIG)
            assert decision.status is not None
            assert decision.status.state == "failed", code


class TestDeadlines:
    @pytest.mark.parametrize(
        ("containers", "fields", "now", "expected"),
        [
            ({"source": container("waiting", reason="ImagePullBackOff")}, {}, 600, "ImagePullFailed"),
            ({"source": container("waiting", reason="CreateContainerConfigError")}, {}, 600, "ContainerError"),
            ({}, {}, 600, "StartingTimeout"),
            ({}, {"scheduled_at": at(7200)}, 7800, "StartingTimeout"),
            ({"source": container(), "collect": container("running")}, {}, 960, "ImportingTimeout"),
        ],
    )
    def test_a_state_that_lasts_too_long_is_an_infrastructure_failure(
        self, containers: dict[str, Any], fields: dict[str, Any], now: int, expected: str
    ) -> None:
        source = job(SRC, 3)
        stuck = pod(source, "Pending", **containers, **fields)
        status = accepted(state="starting", source_state="starting", attempt=3)
        world: dict[str, Any] = {"pods": (stuck,), "refusals": {stuck.name: Refusal(0, "", at(now - 2))}}
        before = plan(observed(build(status), source, now=now - 1, **world), CONFIG)
        assert before.requeue_at == at(now)
        decision = plan(observed(build(status), source, now=now, **world), CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert (decision.status.failure.reason, decision.status.failure.failure_class) == (expected, "infra")

    def test_a_step_that_outlives_its_timeout_and_grace_fails_and_is_then_stopped(self) -> None:
        source = job(SRC)
        endless = pod(source, source=container("running"), collect=container("running"))
        world = observed(build(accepted(), timeout=100), source, pods=(endless,), now=400)
        decision = plan(world, CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert (decision.status.failure.reason, decision.status.failure.failure_class) == ("RunningTimeout", "user")
        after = plan(observed(build(decision.status, timeout=100), source, pods=(endless,), now=400), CONFIG)
        assert after.actions == (actions.DeleteJob(source.name, source.uid),)
