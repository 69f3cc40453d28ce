"""`spec.rerunOf`: which chroots are built again, from what, and what stands in the way."""

from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import BuildStatus, ChrootStatus, SourceStatus
from copr_operator.api.common import Phase
from copr_operator.core import actions
from copr_operator.core.decision import Plan, Urgency
from copr_operator.core.observed import Batch, BuildView, JobView
from copr_operator.core.plan import plan
from tests.support.builders import CONFIG, D12, D13, accepted, at, build, imported, job, observed, pod, project, reason

D11 = "debian-11-x86_64"
THREE = project(D11, D12, D13)


def original(state: Phase = "failed", **states: Phase) -> BuildView:
    """A build of three chroots, two of which have failed."""
    ended: dict[str, Phase] = {D11: "failed", D12: "succeeded", D13: "failed", **states}
    status = imported(*(ChrootStatus(name=name, state=state) for name, state in ended.items()))
    assert status.source is not None
    source = status.source.model_copy(update={"exclude_arch": ["s390x"], "sha256": "b" * 64})
    return replace(build(status.model_copy(update={"id": 7, "state": state, "source": source})), name="first")


def rerun(status: BuildStatus | None = None, **changes: Any) -> BuildView:
    return build(status, source=None, rerunOf="first", **changes)


def planned(of: BuildView, first: BuildView | None, *jobs: JobView, **world: Any) -> Plan:
    return plan(observed(of, *jobs, original=first, **{"project": THREE, **world}), CONFIG)


def chosen(decision: Plan) -> list[str]:
    assert decision.status is not None
    return [chroot.name for chroot in decision.status.chroots]


def failure(decision: Plan) -> tuple[str, str]:
    assert decision.status is not None
    assert decision.status.failure is not None
    assert (decision.status.state, decision.status.failure.step) == ("failed", "validation")
    return decision.status.failure.reason, decision.status.failure.message


class TestChoice:
    def test_the_chroots_that_failed_are_chosen(self) -> None:
        assert chosen(planned(rerun(BuildStatus(id=42)), original())) == [D11, D13]

    def test_they_are_chosen_with_the_id_when_the_other_build_is_there(self) -> None:
        assert chosen(planned(rerun(), original())) == [D11, D13]

    @pytest.mark.parametrize("wanted", [{"chroots": [D13]}, {"chroots": ["debian-13-*"]}, {"excludeChroots": [D11]}])
    def test_chroots_that_are_asked_for_narrow_the_choice(self, wanted: dict[str, Any]) -> None:
        assert chosen(planned(rerun(BuildStatus(id=42), **wanted), original())) == [D13]

    def test_a_chroot_that_did_not_fail_can_not_be_asked_for(self) -> None:
        why, message = failure(planned(rerun(BuildStatus(id=42), chroots=[D12, D13]), original()))
        assert why == "NothingToRerun"
        assert f"'{D12}' matches none" in message
        assert f"{D11}, {D13}" in message

    def test_an_exclusion_that_leaves_nothing_fails(self) -> None:
        assert failure(planned(rerun(BuildStatus(id=42), excludeChroots=["*"]), original()))[0] == "NoChroots"

    def test_a_failed_chroot_that_the_project_has_no_more_must_be_left_out_by_name(self) -> None:
        why, message = failure(planned(rerun(BuildStatus(id=42)), original(), project=project(D12, D13)))
        assert why == "ChrootNotInProject"
        assert D11 in message
        assert chosen(planned(rerun(BuildStatus(id=42), chroots=[D13]), original(), project=project(D12, D13))) == [D13]


class TestProblems:
    @pytest.mark.parametrize(
        ("first", "expected"),
        [
            (None, "OriginalNotFound"),
            (replace(original(), deleting=True), "OriginalNotFound"),
            (original("running"), "WaitingForOriginal"),
        ],
    )
    def test_it_waits_with_a_reason_for_the_other_build(self, first: BuildView | None, expected: str) -> None:
        for status in (BuildStatus(id=42, state="pending"), accepted(D13)):
            decision = planned(rerun(status), first)
            assert decision.actions == ()
            assert reason(decision) == expected
            assert decision.requeue_at is None
        late = planned(rerun(BuildStatus(id=42), queueTimeout=100), first, now=100)
        assert failure(late)[0] == "QueueTimeout"

    def test_what_ended_without_an_srpm_can_not_be_rerun(self) -> None:
        status = accepted(D11, D13, state="failed", source_state="failed")
        first = replace(build(status), name="first")
        assert failure(planned(rerun(BuildStatus(id=42)), first))[0] == "OriginalWithoutSRPM"

    @pytest.mark.parametrize("state", ["succeeded", "canceled"])
    def test_what_has_no_failed_chroot_can_not_be_rerun(self, state: Phase) -> None:
        first = original(state, **{D11: state, D13: state})
        why, message = failure(planned(rerun(BuildStatus(id=42)), first))
        assert why == "NothingToRerun"
        assert f"first is {state}" in message

    @pytest.mark.parametrize("other", [{"project": "other"}, {"owner": "bob"}, {"projectDirname": "demo:pr:1"}])
    def test_a_build_of_another_project_or_directory_can_not_be_rerun(self, other: dict[str, Any]) -> None:
        first = replace(original(), spec=build(**other).spec)
        assert failure(planned(rerun(BuildStatus(id=42)), first))[0] == "OriginalOfOtherProject"


class TestSrpm:
    def test_the_backend_is_asked_for_it_and_no_source_job_is_made(self) -> None:
        assert planned(rerun(accepted(D13)), original()).actions == (actions.TakeSrpm(),)

    def test_what_holds_up_a_source_step_holds_up_a_rerun_too(self) -> None:
        batch = Batch(blocked=True, message="CoprBuild other has not ended")
        waiting = planned(rerun(accepted(D11, D13), afterBuild="other"), original(), batch=batch)
        assert waiting.actions == ()
        assert reason(waiting) == "WaitingForBatch"

    def test_a_backend_that_is_away_is_asked_again(self) -> None:
        decision = planned(rerun(accepted(D13)), original(), backend_message="no answer")
        assert decision.actions == ()
        assert reason(decision) == "BackendUnavailable"
        assert decision.requeue_at == at(71)

    def test_once_it_is_the_builds_own_it_is_latched_with_what_is_known_of_it(self) -> None:
        decision = planned(rerun(accepted(D13)), original(), srpm_taken="")
        assert decision.actions == ()
        assert decision.urgency is Urgency.NOW
        assert decision.status is not None
        source = decision.status.source
        assert source == SourceStatus.model_validate({
            "state": "succeeded", "startedAt": "2026-01-01T12:01:01Z", "endedAt": "2026-01-01T12:01:01Z",
            "package": {"name": "hello", "version": "2.8-1"}, "sha256": "b" * 64, "excludeArch": ["s390x"],
            "srpm": {"url": "https://copr.example/results/alice/demo/srpm-builds/00000042/hello-2.8-1.src.rpm",
                     "sha256": "a" * 64},
        })  # fmt: skip
        assert decision.status.state == "pending"
        following = plan(observed(rerun(decision.status), original=None), CONFIG)
        assert following.actions == (actions.CreateJob(D13, 1),)

    @pytest.mark.parametrize("jobs", [(), (job(D13),)])
    def test_a_rerun_waits_for_its_queue_timeout_until_a_pod_has_a_node(self, jobs: tuple[JobView, ...]) -> None:
        """Its first pods are those of its chroots."""
        waiting = rerun(imported(ChrootStatus(name=D13, state="pending")), queueTimeout=100)
        pods = tuple(pod(of, "Pending", scheduled=False, scheduling_message="0/3 nodes") for of in jobs)
        early = planned(waiting, None, *jobs, pods=pods, now=99)
        assert early.requeue_at == at(100) or early.actions == (actions.CreateJob(D13, 1),)
        late = planned(waiting, None, *jobs, pods=pods, now=100)
        assert failure(late)[0] == "QueueTimeout"
        assert late.status is not None
        assert late.status.source == waiting.status.source
        assert [(c.state, c.failure and c.failure.reason) for c in late.status.chroots] == [("failed", "QueueTimeout")]
        after = plan(observed(rerun(late.status), *jobs, pods=pods, now=101), CONFIG)
        assert after.actions == tuple(actions.DeleteJob(of.name, of.uid) for of in jobs)

    @pytest.mark.parametrize(
        "begun",
        [
            ChrootStatus(name=D12, state="succeeded"),
            ChrootStatus(name=D12, state="failed", started_at="2026-01-01T12:00:00Z"),
            ChrootStatus(name=D12, state="pending", attempt=2),
        ],
    )
    def test_a_rerun_that_has_run_in_some_chroot_has_no_queue_timeout_any_more(self, begun: ChrootStatus) -> None:
        started = rerun(imported(begun, ChrootStatus(name=D13, state="pending")), queueTimeout=100)
        decision = planned(started, None, now=4000)
        assert actions.CreateJob(D13, 1) in decision.actions

    def test_chroots_that_failed_without_a_pod_end_no_wait(self) -> None:
        dropped = ChrootStatus(name=D12, state="failed")
        waiting = rerun(imported(dropped, ChrootStatus(name=D13, state="pending")), queueTimeout=100)
        late = planned(waiting, None, now=100)
        assert failure(late)[0] == "QueueTimeout"

    def test_an_srpm_that_is_gone_fails_the_build(self) -> None:
        decision = planned(rerun(accepted(D13)), original(), srpm_taken="hello.src.rpm is not in the store any more")
        assert failure(decision) == ("SRPMNotFound", "hello.src.rpm is not in the store any more")

    def test_a_canceled_rerun_asks_for_nothing(self) -> None:
        decision = planned(rerun(accepted(D13), cancel=True), original())
        assert decision.actions == ()
        assert decision.status is not None
        assert decision.status.state == "canceled"
