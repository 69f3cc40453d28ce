"""A project that drops a chroot while builds wait: what has not begun there fails, and holds nothing else up."""

from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import BuildStatus, ChrootStatus
from copr_operator.core import actions, names
from copr_operator.core.decision import Plan, Urgency
from copr_operator.core.observed import ProjectView
from copr_operator.core.plan import plan
from copr_operator.core.wire import ArtifactRef, CopiedBuild, CopiedChroot, Package
from tests.support.builders import (
    CONFIG,
    D12,
    D13,
    RPMS_MADE,
    SRPM_MADE,
    accepted,
    build,
    container,
    failed_summary,
    imported,
    job,
    observed,
    pod,
    project,
    reason,
    said,
)

SRC = names.SOURCE_STEP
ONLY_13 = project(D13)
"""The project without Debian 12, whose repository it does not speak of any more."""
ORIGIN = {"owner": "bob", "projectDirname": "demo", "id": 7}


def decided(status: BuildStatus, *jobs: Any, to: ProjectView = ONLY_13, spec: Any = None, **world: Any) -> Plan:
    return plan(observed(build(status, **(spec or {})), *jobs, project=to, **world), CONFIG)


def states(decision: Plan) -> list[str]:
    assert decision.status is not None
    return [chroot.state for chroot in decision.status.chroots]


def dropped() -> BuildStatus:
    """The status of a build that has just lost its first chroot."""
    status = decided(accepted()).status
    assert status is not None
    return status


def test_a_chroot_that_the_project_drops_before_it_is_begun_fails_and_says_why() -> None:
    decision = decided(accepted())
    assert (decision.actions, decision.urgency, states(decision)) == ((), Urgency.NOW, ["failed", "pending"])
    assert decision.status is not None
    failure = decision.status.chroots[0].failure
    assert failure is not None
    assert (failure.reason, failure.failure_class, failure.chroot) == ("ChrootNotInProject", "user", D12)
    assert failure.message == f"{D12} was taken out of alice/demo before it was begun"
    assert decision.status.chroots[0].ended_at is not None
    assert decision.status.state == "pending"


def test_the_source_step_goes_on_for_those_that_are_left() -> None:
    assert decided(dropped()).actions == (actions.CreateJob(SRC, 1),)


def test_the_build_ends_with_the_dropped_chroot_as_its_failure() -> None:
    source = job(SRC, state="complete")
    made = SRPM_MADE.model_copy(update={"exclude_arch": ("aarch64",)})
    done = decided(dropped(), source, pods=(pod(source, "Succeeded", collect=said(made)),))
    assert states(done) == ["failed", "pending"]
    assert done.status is not None
    second = job(D13)
    built = pod(second, "Succeeded", build=container(), collect=said(RPMS_MADE))
    ended = decided(done.status, second, pods=(built,))
    assert (states(ended), reason(ended)) == (["failed", "succeeded"], "ChrootNotInProject")
    assert ended.status is not None
    assert (ended.status.state, ended.status.failure) == ("failed", ended.status.chroots[0].failure)


def test_arch_tags_and_a_failed_source_step_do_not_change_how_it_ended() -> None:
    source = job(SRC, state="complete")
    other_arch = SRPM_MADE.model_copy(update={"exclusive_arch": ("aarch64",)})
    skipped = decided(dropped(), source, pods=(pod(source, "Succeeded", collect=said(other_arch)),))
    assert states(skipped) == ["failed", "skipped"]
    source = job(SRC, state="failed")
    ended = pod(source, "Failed", source=container(code=28), collect=said(failed_summary("SourceFailed")))
    failed = decided(dropped(), source, pods=(ended,))
    assert (states(failed), reason(failed)) == (["failed", "failed"], "SourceFailed")
    assert failed.status is not None
    assert failed.status.chroots[0] == dropped().chroots[0]


def test_it_fails_when_the_source_step_has_ended_too() -> None:
    decision = decided(imported())
    assert states(decision) == ["failed", "pending"]
    assert decision.status is not None
    assert decided(decision.status).actions == (actions.CreateJob(D13, 1),)


@pytest.mark.parametrize("state", ["pending", "starting", "running"])
def test_what_has_a_job_goes_on_untouched(state: Any) -> None:
    first, second = job(D12), job(D13)
    status = imported(ChrootStatus(name=D12, state=state), ChrootStatus(name=D13, state="pending"))
    runs: dict[str, Any] = {"build": container("running"), "collect": container("running")}
    world = (pod(first, **runs), pod(second, **runs))
    assert states(decided(status, first, second, pods=world)) == ["running", "running"]


def test_a_dropped_chroot_is_not_tried_again() -> None:
    """The next attempt would wait for its repository for ever."""
    first = job(D12, state="failed")
    status = imported(ChrootStatus(name=D12, state="pending", attempt=2), ChrootStatus(name=D13, state="succeeded"))
    decision = decided(status, first)
    assert decision.status is not None
    assert (decision.status.state, states(decision)) == ("failed", ["failed", "succeeded"])


def test_a_build_of_which_no_chroot_is_left_fails_and_its_source_step_is_stopped() -> None:
    source = job(SRC)
    for jobs in ((), (source,)):
        decision = decided(accepted(D12), *jobs)
        status = decision.status
        assert status is not None
        assert status.failure is not None
        assert (status.state, states(decision)) == ("failed", ["failed"])
        assert (status.failure.reason, status.failure.step) == ("ChrootNotInProject", "validation")
        assert D12 in status.failure.message
        stops = tuple(actions.DeleteJob(started.name, started.uid) for started in jobs)
        assert decided(status, *jobs).actions == stops


@pytest.mark.parametrize("to", [None, project(D13, held=False)])
def test_without_a_project_that_holds_its_name_nothing_is_dropped(to: Any) -> None:
    assert states(decided(accepted(), to=to)) == ["pending", "pending"]


def test_a_canceled_build_is_canceled_in_all_its_chroots() -> None:
    decision = decided(accepted(D12), spec={"cancel": True})
    assert decision.status is not None
    assert (decision.status.state, states(decision)) == ("canceled", ["canceled"])


class TestForks:
    def test_what_the_project_has_dropped_is_not_taken_over(self) -> None:
        assert states(decided(accepted(), spec={"forkedFrom": ORIGIN})) == ["failed", "pending"]
        assert decided(dropped(), spec={"forkedFrom": ORIGIN}).actions == (actions.CopyResults(),)
        copied = CopiedBuild(
            package=Package(name="hello", version="2.8-1"),
            srpm=ArtifactRef(name="hello-2.8-1.src.rpm", sha256="a" * 64),
            chroots=(CopiedChroot(name=D13, packages=4),),
        )
        done = decided(dropped(), spec={"forkedFrom": ORIGIN}, copied=copied)
        assert (states(done), reason(done)) == (["failed", "succeeded"], "ChrootNotInProject")


def test_a_rerun_takes_the_srpm_for_the_chroots_that_are_left() -> None:
    failed = [ChrootStatus(name=name, state="failed") for name in (D12, D13)]
    original = replace(build(imported(*failed).model_copy(update={"state": "failed"})), name="first", uid="other")
    spec = {"rerunOf": "first", "source": None}
    assert states(decided(accepted(), spec=spec, original=original)) == ["failed", "pending"]
    assert decided(dropped(), spec=spec, original=original).actions == (actions.TakeSrpm(),)
