"""The judge of the fault tests sees what it is for: each of these writes is one that must never be made."""

from typing import Any

import pytest

from copr_operator.core import names
from tests.support.judge import Judge
from tests.support.recorder import Change

UID = "11111111-2222-3333-4444-555555555555"
CHROOT = "debian-13-x86_64"


class Story:
    """Changes one after the other, each given to a judge."""

    def __init__(self) -> None:
        self.judge = Judge()
        self.version = 0
        self._last: dict[str, dict[str, Any]] = {}

    def tell(self, plural: str, obj: dict[str, Any], *, deleted: bool = False) -> None:
        self.version += 1
        uid = obj["metadata"]["uid"]
        change = Change(self.version, plural, self._last.get(uid), obj, deleted)
        self._last[uid] = obj
        self.judge.change(change)

    def build(self, state: str, uid: str = UID, *, cancel: bool = False, **status: Any) -> None:
        verdicts = {"succeeded": "True", "canceled": "False"}
        verdict = verdicts.get(state, "Unknown")
        reason = {"succeeded": "Succeeded", "canceled": "Canceled"}.get(state, "Building")
        conditions = {"Succeeded": verdict, "Ready": "True" if verdict == "True" else "False"}
        if verdict != "True":
            conditions["Stalled" if verdict == "False" else "Reconciling"] = "True"
        shown = [{"type": kind, "status": value, "reason": reason, "message": "", "observedGeneration": 1,
                  "lastTransitionTime": "2026-01-01T12:00:00Z"} for kind, value in conditions.items()]  # fmt: skip
        source = {"state": "succeeded", "attempt": 1}
        chroot = {"name": CHROOT, "state": state, "attempt": 1}
        body = {"id": 1, "state": state, "observedGeneration": 1, "conditions": shown, "source": source,
                "chroots": [chroot]} | status  # fmt: skip
        meta = {"name": "hello", "namespace": "here", "uid": uid, "generation": 1, "finalizers": [names.FINALIZER]}
        self.tell("coprbuilds", {"metadata": meta, "spec": {"cancel": cancel}, "status": body})

    def job(self, uid: str = "job", attempt: int = 1, step: str = CHROOT) -> None:
        owner = {"kind": "CoprBuild", "name": "hello", "uid": UID, "controller": True}
        meta = {"name": names.job_name(UID, step, attempt), "namespace": "here", "uid": uid,
                "creationTimestamp": "2026-01-01T12:00:00Z", "ownerReferences": [owner]}  # fmt: skip
        self.tell("jobs", {"metadata": meta, "spec": {}, "status": {}})

    def pod(self, uid: str = "pod", job: str = "job", phase: str = "Running") -> None:
        owner = {"kind": "Job", "name": "any", "uid": job, "controller": True}
        meta = {"name": uid, "namespace": "here", "uid": uid, "ownerReferences": [owner]}
        self.tell("pods", {"metadata": meta, "spec": {}, "status": {"phase": phase}})


@pytest.fixture
def story() -> Story:
    told = Story()
    told.build("running", source={"state": "running", "attempt": 1}, chroots=[])
    told.job("source", step=names.SOURCE_STEP)
    told.pod("source-pod", "source", "Succeeded")
    told.build("pending")
    told.job()
    told.pod()
    return told


def test_i1_a_job_that_is_made_twice(story: Story) -> None:
    with pytest.raises(AssertionError, match="I1: attempt 1"):
        story.job("another")


def test_i1_two_tries_at_once(story: Story) -> None:
    with pytest.raises(AssertionError, match="I1: two Jobs"):
        story.job("another", attempt=2)


def test_i1_two_pods_of_one_job(story: Story) -> None:
    with pytest.raises(AssertionError, match="two pods"):
        story.pod("another")


def test_i3_a_build_without_an_end(story: Story) -> None:
    with pytest.raises(AssertionError, match="I3"):
        story.judge.check_calm()


def test_i4_a_success_without_a_pod_that_succeeded(story: Story) -> None:
    with pytest.raises(AssertionError, match="I4"):
        story.build("succeeded")


def test_i6_canceled_while_a_job_runs(story: Story) -> None:
    with pytest.raises(AssertionError, match="I6: canceled is written"):
        story.build("canceled", cancel=True)


def test_i6_canceled_by_nobody(story: Story) -> None:
    with pytest.raises(AssertionError, match="I6: canceled, but nobody"):
        story.build("canceled")


def test_i12_an_attempt_too_many(story: Story) -> None:
    with pytest.raises(AssertionError, match="I12"):
        story.job("another", attempt=4)


def test_i13_an_id_that_changes(story: Story) -> None:
    with pytest.raises(AssertionError, match="I13"):
        story.build("running", id=2)


def test_i13_an_id_that_is_given_twice(story: Story) -> None:
    with pytest.raises(AssertionError, match="I13"):
        story.build("running", uid="99999999-2222-3333-4444-555555555555")
