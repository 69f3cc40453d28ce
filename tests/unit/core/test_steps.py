"""A step whose Job or Pod was seen late, or is gone: what is not known is waited for, and no state goes back.

Each of these was found by the model (tests/model) first.
"""

import inspect
from typing import Any

import pytest

from copr_operator.api.build import ChrootStatus
from copr_operator.api.common import Phase
from copr_operator.core import actions, names
from copr_operator.core.decision import Plan, Urgency
from copr_operator.core.observed import Refusal
from copr_operator.core.outcome import POD_LAG
from copr_operator.core.plan import plan
from copr_operator.core.steps import Step, read
from copr_operator.kube import reflector
from copr_operator.kube.client import KubeClient
from tests.support.builders import (
    CONFIG,
    D12,
    D13,
    RPMS_MADE,
    SRPM_MADE,
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
CONNECTED = 5
"""Seconds that `KubeClient.watch` gives a connection."""
ENDED = 60
"""When a Job that builders.job made has ended, in seconds."""
RUNS: dict[str, Any] = {"source": container("running"), "collect": container("running")}
ARRIVES: dict[str, Any] = {"source": container(), "collect": container("running")}


def step(state: Phase, *jobs: Any, attempt: int = 1, **world: Any) -> Step:
    """The source step, of which the status has latched `state`."""
    status = accepted(state=state, source_state=state, attempt=attempt)
    return read(observed(build(status), *jobs, **world), SRC, state, attempt, CONFIG)


class TestNoWayBack:
    @pytest.mark.parametrize("latched", ["starting", "running", "importing"])
    def test_a_pod_that_is_gone_before_its_job_has_ended_takes_no_state_back(self, latched: Phase) -> None:
        assert step(latched, job(SRC)).state == latched

    @pytest.mark.parametrize(
        ("latched", "reason"), [("starting", "Queued"), ("running", "SourceRunning"), ("importing", "Importing")]
    )
    def test_it_says_what_it_did_last(self, latched: Phase, reason: str) -> None:
        assert step(latched, job(SRC)).reason == reason

    def test_an_older_sight_of_the_pod_takes_no_state_back(self) -> None:
        source = job(SRC)
        assert step("importing", source, pods=(pod(source, **RUNS),)).state == "importing"
        assert step("running", source, pods=(pod(source, fetch=container("running")),)).state == "running"

    def test_a_state_goes_on_with_what_the_pod_shows(self) -> None:
        source = job(SRC)
        assert step("starting", source, pods=(pod(source, **RUNS),)).state == "running"
        assert step("running", source, pods=(pod(source, **ARRIVES),)).state == "importing"

    def test_the_next_attempt_begins_anew(self) -> None:
        """What the status has latched is of the attempt before, when its next Job is seen already."""
        assert step("running", job(SRC, 2)).state == "starting"

    def test_an_end_is_an_end_all_the_same(self) -> None:
        source = job(SRC, state="failed")
        ended = pod(source, "Failed", source=container(code=28))
        assert step("importing", source, pods=(ended,)).state == "failed"


class TestPodLag:
    """A Job that is seen to have ended before its pod: two watches, and nothing orders them."""

    @pytest.mark.parametrize("end", ["complete", "failed"])
    @pytest.mark.parametrize(
        ("pods", "state"), [((), "starting"), ((RUNS,), "running"), ((ARRIVES,), "importing")]
    )  # fmt: skip
    def test_the_end_of_its_pod_is_waited_for(self, end: str, pods: tuple[Any, ...], state: str) -> None:
        source = job(SRC, state=end)
        reading = step("starting", source, pods=tuple(pod(source, **containers) for containers in pods))
        assert (reading.state, reading.fault) == (state, None)
        assert reading.deadline == at(ENDED + POD_LAG)

    @pytest.mark.parametrize("end", ["complete", "failed"])
    def test_a_pod_that_is_never_seen_again_is_lost(self, end: str) -> None:
        source = job(SRC, state=end)
        waiting = step("running", source, now=ENDED + POD_LAG - 1)
        assert (waiting.state, waiting.fault) == ("running", None)
        lost = step("running", source, now=ENDED + POD_LAG)
        assert lost.fault is not None
        assert (lost.state, lost.fault.reason) == ("failed", "PodLost")

    def test_a_watch_that_has_fallen_silent_is_taken_up_again_before_a_pod_counts_as_lost(self) -> None:
        """Until then the pod's end has not been heard of, and may be a success or the user's failure."""
        noticed = inspect.signature(KubeClient.watch).parameters["idle_timeout"].default
        again = reflector.LONGEST_PAUSE * 1.25 + CONNECTED
        assert noticed + again < POD_LAG

    @pytest.mark.parametrize("pods", [(), (RUNS,)])
    def test_a_job_that_says_that_its_pod_was_disrupted_needs_no_pod(self, pods: tuple[Any, ...]) -> None:
        """An evicted pod is mostly gone when its Job has failed."""
        words: dict[str, Any] = {
            "reason": "PodFailurePolicy",
            "message": "Pod ns/x has condition DisruptionTarget matching FailJob",
        }
        source = job(SRC, state="failed", **words)
        reading = step("running", source, pods=tuple(pod(source, **containers) for containers in pods))
        assert reading.fault is not None
        assert reading.fault.reason == "Disrupted"

    def test_a_complete_job_has_another_pod_than_one_that_failed(self) -> None:
        """The Job controller had lost an answer, made a second pod, and took it away."""
        source = job(SRC, state="complete")
        second = pod(source, "Failed", source=container(code=31), collect=container(code=0))
        assert step("running", source, pods=(second,)).fault is None
        lost = step("running", source, pods=(second,), now=ENDED + POD_LAG)
        assert lost.fault is not None
        assert lost.fault.reason == "PodLost"

    def test_the_pods_end_decides_when_it_comes(self) -> None:
        source = job(SRC, state="complete")
        done = pod(source, "Succeeded", source=container(), collect=said(SRPM_MADE))
        assert step("running", source, pods=(done,)).state == "succeeded"
        source = job(SRC, state="failed")
        refused = step("running", source, pods=(pod(source, "Failed", source=container(code=28)),))
        assert refused.fault is not None
        assert refused.fault.reason == "SourceFailed"

    def test_a_job_that_ended_well_is_no_retry_because_its_pod_was_seen_late(self) -> None:
        """Read too early this was PodLost: an attempt lost, and a package built twice."""
        first = job(D12, state="complete")
        status = imported(ChrootStatus(name=D12, state="running"), ChrootStatus(name=D13, state="succeeded"))
        early = plan(observed(build(status), first), CONFIG)
        assert early.requeue_at == at(ENDED + POD_LAG)
        assert (_chroot(early).state, _chroot(early).attempt) == ("running", 1)
        done = pod(first, "Succeeded", build=container(), collect=said(RPMS_MADE))
        assert _chroot(plan(observed(build(status), first, pods=(done,)), CONFIG)).state == "succeeded"


class TestPodsThatSucceeded:
    """`collect` ends with 0 when all is stored and published: the Job controller's notice would only cost a second."""

    def test_the_step_has_succeeded_before_its_job_has(self) -> None:
        source = job(SRC)
        reading = step("running", source, pods=(pod(source, "Succeeded", source=container(), collect=said(SRPM_MADE)),))
        assert (reading.state, reading.ended, reading.actions) == ("succeeded", at(60), ())

    def test_that_its_job_failed_meanwhile_takes_nothing_back(self) -> None:
        """Somebody gave the Job a deadline, say, and the Job controller was behind."""
        source = job(SRC, state="failed")
        done = pod(source, "Succeeded", source=container(), collect=said(SRPM_MADE))
        assert step("running", source, pods=(done,)).state == "succeeded"

    def test_a_pod_that_failed_is_the_jobs_to_tell_of(self) -> None:
        source = job(SRC)
        reading = step("running", source, pods=(pod(source, "Failed", source=container(code=28)),))
        assert (reading.state, reading.fault) == ("importing", None)

    def test_a_summary_that_can_not_be_read_is_tried_again_when_the_job_has_ended(self) -> None:
        first = job(D12)
        status = imported(ChrootStatus(name=D12, state="running"), ChrootStatus(name=D13, state="succeeded"))
        torn = pod(first, "Succeeded", build=container(), collect=container(message="{"))
        again = plan(observed(build(status), first, pods=(torn,)), CONFIG)
        assert (_chroot(again).state, _chroot(again).attempt, again.actions) == ("pending", 2, ())
        assert again.status is not None
        waiting = plan(observed(build(again.status), first, pods=(torn,)), CONFIG)
        assert (reason(waiting), waiting.actions) == ("WaitingForPreviousJob", ())


class TestUnseenJobs:
    """The status tells of a Job that no watch has shown: another controller's, or that of a LIST that was older."""

    @pytest.mark.parametrize("state", ["starting", "running", "importing"])
    def test_it_is_asked_for_and_the_state_stays(self, state: Phase) -> None:
        found = read(observed(build(accepted())), SRC, state, 1, CONFIG)
        assert found.actions == (actions.FindJob(job(SRC).name),)
        assert (found.state, found.attempt, found.fault) == (state, 1, None)

    def test_it_is_lost_when_the_api_server_says_so(self) -> None:
        found = read(observed(build(accepted()), missing_jobs=frozenset({job(SRC).name})), SRC, "running", 1, CONFIG)
        assert found.actions == ()
        assert found.fault is not None
        assert found.fault.reason == "JobLost"

    def test_a_job_that_is_lost_says_nothing_of_the_next_try(self) -> None:
        found = read(observed(build(accepted()), missing_jobs=frozenset({job(SRC, 1).name})), SRC, "running", 2, CONFIG)
        assert found.actions == (actions.FindJob(job(SRC, 2).name),)


class TestRefusals:
    @pytest.mark.parametrize("message", ["", "pods is forbidden: exceeded quota"])
    def test_what_the_events_of_a_job_said_does_not_outlive_that_job(self, message: str) -> None:
        """It was about the Job's pod. Somebody has deleted the Job before the status could say that it starts."""
        told = {job(SRC).name: Refusal(0, message, at(60))}
        assert plan(observed(build(accepted()), refusals=told), CONFIG).actions == (actions.CreateJob(SRC, 1),)


class TestPace:
    def test_another_word_for_what_a_state_does_is_written_lazily(self) -> None:
        """`starting` is shown; that it is no longer queued but being scheduled is not worth a write of its own."""
        source = job(SRC)
        queued = plan(observed(build(accepted()), source, now=1), CONFIG)
        assert queued.urgency is Urgency.SOON
        assert queued.status is not None
        scheduled = observed(build(queued.status), source, pods=(pod(source, "Pending"),), now=1)
        assert plan(scheduled, CONFIG).urgency is Urgency.LAZY

    def test_another_message_of_the_backend_is_written_lazily(self) -> None:
        """A backend that is away and comes back slowly must not have a status written with each answer."""
        first = plan(observed(build(imported(), deleting=True), backend_message="no answer"), CONFIG)
        assert first.urgency is Urgency.SOON
        assert first.status is not None
        said_so = build(first.status, deleting=True)
        assert plan(observed(said_so, backend_message="still there"), CONFIG).urgency is Urgency.LAZY


def _chroot(decision: Plan) -> ChrootStatus:
    assert decision.status is not None
    return decision.status.chroots[0]
