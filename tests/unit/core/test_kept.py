"""No status is one that the CRD refuses: it would never be written, and the build neither go on nor be canceled."""

from typing import Any

import pytest

from copr_operator.api.build import BuildStatus, FailureStatus
from copr_operator.core import names
from copr_operator.core.decision import Plan
from copr_operator.core.plan import plan
from copr_operator.core.wire import ArtifactRef, CopiedBuild, Package, StepSummary
from tests.support.builders import (
    CONFIG,
    D12,
    D13,
    SRPM_MADE,
    accepted,
    build,
    container,
    failed_summary,
    job,
    observed,
    pod,
    reason,
    said,
)

SRC = names.SOURCE_STEP
MANY = tuple(f"arch{number}" for number in range(80))


def told(summary: StepSummary) -> Plan:
    """The plan when the source step ends with this summary."""
    source = job(SRC, state="complete")
    done = pod(source, "Succeeded", source=container(), collect=said(summary))
    decision = plan(observed(build(accepted(source_state="running")), source, pods=(done,)), CONFIG)
    assert decision.status is not None
    BuildStatus.model_validate(decision.status.model_dump(by_alias=True))
    return decision


def test_of_many_architectures_the_first_are_kept_and_all_count() -> None:
    decision = told(SRPM_MADE.model_copy(update={"exclude_arch": ("x" * 33, *MANY, "x86_64")}))
    assert decision.status is not None
    assert decision.status.source is not None
    assert decision.status.source.exclude_arch == list(MANY[:64])
    assert [chroot.state for chroot in decision.status.chroots] == ["skipped", "skipped"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"package": Package(name="n" * 101, version="1")},
        {"package": Package(name="hello", version="1" * 257)},
        {"srpm": ArtifactRef(name="hello-1-1.src.rpm", sha256="none")},
        {"srpm": ArtifactRef(name="n" * 2601, sha256="a" * 64)},
        {"source_sha256": "none"},
        {"srpm": None},
    ],
)
def test_what_can_not_be_kept_of_an_srpm_is_tried_again(wrong: dict[str, Any]) -> None:
    """The backend has checked it, so it is somebody's mistake."""
    decision = told(SRPM_MADE.model_copy(update=wrong))
    assert decision.status is not None
    assert decision.status.source is not None
    assert (reason(decision), decision.status.source.attempt) == ("Retrying", 2)
    assert "CollectFailed: the collect container's summary" in decision.status.conditions[0].message


def test_a_long_reason_and_a_long_message_are_cut() -> None:
    decision = told(failed_summary("Word" * 40, "m" * 1000, "t" * 2000))
    assert decision.status is not None
    assert decision.status.failure is not None
    assert decision.status.failure.reason == "Word" * 16


@pytest.mark.parametrize("number", [-1, 2**31])
def test_a_summary_with_no_possible_number_of_packages_can_not_be_read(number: int) -> None:
    decision = told(SRPM_MADE.model_copy(update={"packages": number}))
    assert decision.status is not None
    assert "no summary that can be read" in decision.status.conditions[0].message


def test_a_copy_of_what_can_not_be_kept_is_none() -> None:
    origin: dict[str, Any] = {"owner": "bob", "projectDirname": "demo", "id": 1}
    copied = CopiedBuild.model_validate(
        {"package": {"name": "n" * 101, "version": "1"}, "srpm": {"name": "n.src.rpm", "sha256": "a" * 64},
         "chroots": [{"name": D12, "packages": 1}]}
    )  # fmt: skip
    decision = plan(observed(build(accepted(D12, D13), forkedFrom=origin), copied=copied), CONFIG)
    assert decision.status is not None
    assert isinstance(decision.status.failure, FailureStatus)
    assert decision.status.failure.reason == "NothingToFork"
