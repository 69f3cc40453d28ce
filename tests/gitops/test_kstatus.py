"""kstatus, by which Flux, Helm and kpt wait, sees every state as the design says."""

from functools import cache
from typing import Any

import pytest

from copr_operator.api.common import Phase
from tests.support.gitops import Answer, ask
from tests.support.gitops_states import states

EXPECTED = {
    "CoprBuild": {
        "new": "InProgress",
        "waits-for-its-project": "InProgress",
        "queued": "InProgress",
        "starting": "InProgress",
        "makes-the-srpm": "InProgress",
        "importing": "InProgress",
        "running": "InProgress",
        "succeeded": "Current",
        "skipped": "Current",
        "failed-in-the-source": "Failed",
        "failed": "Failed",
        "failed-by-policy": "Failed",
        "canceled": "Failed",
        "cancel-requested": "InProgress",
        "changed-after-its-end": "InProgress",
        "going-away": "Terminating",
        "going-away-without-backend": "Terminating",
    },
    "CoprProject": {
        "new": "InProgress",
        "waits-for-its-repositories": "InProgress",
        "without-backend": "InProgress",
        "ready": "Current",
        "name-taken": "Failed",
        "changed": "InProgress",
        "going-away": "Terminating",
    },
    # A definition: current when it is there.
    "CoprChroot": {"enabled": "Current", "disabled": "Current"},
    "CoprPackage": {
        "new": "InProgress",
        "defined": "Current",
        "building": "InProgress",
        "built": "Current",
        "build-failed": "Failed",
        "build-canceled": "Failed",
        "without-source": "Failed",
        "refused": "InProgress",
        "name-taken": "Failed",
        "changed": "InProgress",
    },
}
BY_STATE = {
    "succeeded": ("True", "Current"), "skipped": ("True", "Current"),
    "failed": ("False", "Failed"), "canceled": ("False", "Failed"),
}  # fmt: skip
"""The design's table: state -> condition Succeeded, and what follows for kstatus. All others: Unknown, InProgress."""


@cache
def said() -> dict[tuple[str, str], Answer]:
    keys = [(kind, state) for kind, objects in states().items() for state in objects]
    answers = ask({"ask": "kstatus", "object": states()[kind][state]} for kind, state in keys)
    return dict(zip(keys, answers, strict=True))


def test_every_state_of_copr_is_among_them() -> None:
    assert {build.get("status", {}).get("state") for build in states()["CoprBuild"].values()} == {
        None, *Phase.__args__,  # type: ignore[attr-defined]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "state"), [(kind, state) for kind, objects in states().items() for state in objects]
)  # fmt: skip
def test_kstatus_says_what_the_state_means(kind: str, state: str) -> None:
    assert said()[kind, state].get("status") == EXPECTED[kind][state], said()[kind, state]


@pytest.mark.parametrize("state", states()["CoprBuild"])
def test_the_conditions_of_a_build_are_those_of_the_table(state: str) -> None:
    build: dict[str, Any] = states()["CoprBuild"][state]
    if state == "new" or "deletionTimestamp" in build["metadata"]:
        return
    conditions = {c["type"]: c["status"] for c in build["status"]["conditions"]}
    succeeded, kstatus = BY_STATE.get(build["status"]["state"], ("Unknown", "InProgress"))
    assert conditions == {
        "Succeeded": succeeded,
        "Ready": "True" if succeeded == "True" else "False",
        **{"Failed": {"Stalled": "True"}, "InProgress": {"Reconciling": "True"}, "Current": {}}[kstatus],
    }
    if build["metadata"]["generation"] == build["status"]["observedGeneration"]:
        assert said()["CoprBuild", state]["status"] == kstatus


def test_the_words_for_a_failure_are_those_of_the_build() -> None:
    assert said()["CoprBuild", "failed"]["message"] == (
        "step build in debian-13-x86_64: Bad exit status (1 of 2 chroots failed)"
    )
