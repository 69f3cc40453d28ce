"""What must hold, whatever happens. Checked on every single write, at the moment it is made.

`split` marks a world in which two controllers have worked at once: a Lease keeps that short, but can't rule it out.
Then a Job may be made by one that does not know yet what the other has written; it must be stopped, and the status
must stay right all the same. Everything that is written under a resourceVersion holds in any case.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from copr_operator.api.build import BuildStatus, ChrootStatus, SourceStatus
from copr_operator.api.common import TERMINAL
from copr_operator.core import names, reasons
from copr_operator.core.observed import parse_time
from copr_operator.core.outcome import POD_LAG
from copr_operator.core.status import overall
from tests.model.apiserver import ApiServer, Change, Obj
from tests.model.backend import ModelBackend
from tests.model.cluster import Cluster, Work, is_live, is_there
from tests.model.loop import CLOCK
from tests.support.builders import CONFIG

ORDER = ("pending", "starting", "running", "importing")
"""Of the states of one attempt."""
PACE, MESSAGE_PACE = 1.0, 60.0
"""Seconds between two status writes of one controller: of a new state, and when only the words for it have changed."""
DOING = frozenset({"Queued", "Starting", "SourceRunning", "Building", "Importing"})
"""Reasons that are words for what a state does."""
BEFORE_ANY_POD = frozenset({
    "NoChroots", "ChrootNotInProject", "QueueTimeout", "JobRefused", "NameCollision", "OriginalOfOtherProject",
    "CircularWait", "OriginalWithoutSRPM", "NothingToRerun", "SRPMNotFound", "NothingToFork",
})  # fmt: skip
Step = SourceStatus | ChrootStatus


@dataclass
class History:
    """Of one CoprBuild, by uid."""

    id: int | None = None
    writes: int = 0
    last: dict[str, float] = field(default_factory=dict)
    """When each controller last wrote its status."""


class Invariants:
    """`check` is called with every change; what it needs to remember of each build it keeps."""

    def __init__(self, api: ApiServer, backend: ModelBackend, cluster: Cluster) -> None:
        self._api = api
        self._backend = backend
        self._cluster = cluster
        self.split = False
        self.histories: defaultdict[str, History] = defaultdict(History)
        self._ids: dict[int, str] = {}

    def check(self, change: Change) -> None:
        """Raises AssertionError for a write that must never happen."""
        self._cluster.notice()
        ours = change.by.startswith("controller-")
        match change.plural, change.verb:
            case "coprbuilds", "status":
                self._check_status(change)
            case "coprbuilds", "delete":
                self._check_gone(change)
            case "coprbuilds", "update" if ours:
                assert change.before is not None
                assert change.after["spec"] == change.before["spec"], "the spec is the user's"
            case "jobs", "create" if ours:
                self._check_new_job(change)
            case "jobs", _ if ours:
                self._check_stopped_job(change)
            case "pods", "create":
                self._check_new_pod(change)
            case _:
                pass

    # -- Jobs and pods -----------------------------------------------------------------------------------------------

    def _check_new_job(self, change: Change) -> None:
        work = self._cluster.works[change.after["metadata"]["uid"]]
        name = f"Job {work.job_name}"
        build = self._api.by_uid("coprbuilds", work.build_uid)
        if build is None:
            assert self.split, f"{name} for a build that is gone"
            return
        status = status_of(build)
        assert status.id is not None, f"{name} before the id was written"
        assert names.FINALIZER in build["metadata"].get("finalizers", ()), f"{name} before the finalizer was set"
        source = status.source
        assert work.step != names.SOURCE_STEP or "rerunOf" not in build["spec"], f"{name} of a rerun"
        assert "forkedFrom" not in build["spec"], f"{name} of a fork"
        if work.step != names.SOURCE_STEP:
            assert source is not None, f"{name} before the SRPM was latched"
            assert source.state == "succeeded", f"{name} before the SRPM was latched"
        if self.split:
            return
        part = steps_of(status)[work.step]
        assert status.state not in TERMINAL, f"{name} for a build that is {status.state}"
        assert part.state == "pending", f"{name} for a step that is {part.state}"
        assert part.attempt == work.attempt, f"{name}, but attempt {part.attempt} is written"
        for other in self._works(work.build_uid, work.step):
            if other is not work:
                there = is_there(self._cluster.job(other)) and not self._cluster.is_lost(other)
                assert not there, f"{name} beside {other.job_name}"
                assert other.attempt != work.attempt or other.disturbed, f"{name} was made twice"

    def _check_stopped_job(self, change: Change) -> None:
        """Only what nobody needs any more is stopped."""
        if "deletionTimestamp" not in change.after["metadata"] or not is_live(change.before):
            return
        work = self._cluster.works.get(change.after["metadata"]["uid"])
        assert work is not None, f"Job {change.after['metadata']['name']} is somebody else's"
        build = self._api.by_uid("coprbuilds", work.build_uid)
        if build is None or "deletionTimestamp" in build["metadata"] or build["spec"].get("cancel"):
            return
        assert is_needless(work, build), f"Job {work.job_name} was stopped, and its step is not done with it"

    def _check_new_pod(self, change: Change) -> None:
        owner = change.after["metadata"]["ownerReferences"][0]["uid"]
        build = self._api.by_uid("coprbuilds", self._cluster.works[owner].build_uid)
        if build is not None and not self.split:
            assert status_of(build).state != "canceled", "a pod was started after the build was canceled"

    def _works(self, build_uid: str, step: str) -> list[Work]:
        return [w for w in self._cluster.works.values() if (w.build_uid, w.step) == (build_uid, step)]

    # -- the end of a CoprBuild --------------------------------------------------------------------------------------

    def _check_gone(self, change: Change) -> None:
        assert change.before is not None
        uid, status = change.after["metadata"]["uid"], status_of(change.before)
        works = [work for work in self._cluster.works.values() if work.build_uid == uid]
        if names.FINALIZER not in change.before["metadata"].get("finalizers", ()):
            assert not works, "a build that was never adopted had Jobs"
            return
        patience = parse_time(change.before["metadata"].get("deletionTimestamp")) or CLOCK.now
        patience += timedelta(seconds=CONFIG.deadlines.stopping)
        if not self.split and CLOCK.now < patience:
            live = [work.job_name for work in works if is_there(self._cluster.job(work))]
            assert not live, f"the build is gone, {live} are still there"
        if change.before["spec"].get("results", "Delete") == "Delete":
            assert status.id in self._backend.removed, "the build is gone, its results are still there"
            assert status.id not in {build_id for build_id, _ in self._backend.listed}

    # -- status writes -----------------------------------------------------------------------------------------------

    def _check_status(self, change: Change) -> None:
        assert change.before is not None
        old, new = status_of(change.before), status_of(change.after)
        uid, deleting = change.after["metadata"]["uid"], "deletionTimestamp" in change.after["metadata"]
        self._check_id(uid, old, new)
        self._check_generation(change.after, old, new)
        check_conditions(new, deleting=deleting)
        check_failures(new)
        follows = overall(new.model_copy(update={"state": None}))
        assert new.state in (follows, "canceled", "failed"), f"the build is {new.state}, its steps say {follows}"
        self._check_final(old, new)
        before, after = steps_of(old), steps_of(new)
        assert not before or before.keys() == after.keys() or len(before) == 1, "the chroots were chosen anew"
        for name, part in after.items():
            self._check_step(uid, name, before.get(name), part, change)
        if new.state == "canceled":
            assert change.after["spec"].get("cancel"), "canceled, but nobody asked for it"
            live = [w.job_name for w in self._cluster.live() if w.build_uid == uid]
            assert self.split or not live, f"canceled is written, and {live} still run"
        self._check_budget(uid, change, old, new)

    def _check_id(self, uid: str, old: BuildStatus, new: BuildStatus) -> None:
        assert new.id is not None, "a status without an id"
        assert old.id in (None, new.id), "the id has changed"
        owner = self._ids.setdefault(new.id, uid)
        assert owner == uid, f"id {new.id} was given twice"

    def _check_generation(self, build: Obj, old: BuildStatus, new: BuildStatus) -> None:
        seen = new.observed_generation
        assert old.observed_generation <= seen <= build["metadata"]["generation"], f"generation {seen} was not seen"
        assert all(c.observed_generation <= seen for c in new.conditions), "a condition is ahead of its status"

    def _check_final(self, old: BuildStatus, new: BuildStatus) -> None:
        """An end is an end: afterwards only what was seen is acknowledged, and a deletion explained."""
        for when in ("submitted_at", "started_at", "ended_at", "repo_url"):
            before = getattr(old, when)
            assert before is None or before == getattr(new, when), f"{when} has changed"
        assert (new.ended_at is not None) == (new.state in TERMINAL), f"{new.state}, but endedAt is {new.ended_at}"
        assert old.batch is None or new.batch is not None, "what was found of its links is forgotten"
        if old.batch is not None and old.batch.missing is None:
            assert new.batch == old.batch, "the batch it waits for has changed"
        if old.state in TERMINAL:
            changed = {"observed_generation", "conditions"}
            assert old.model_dump(exclude=changed) == new.model_dump(exclude=changed), "an ended build has changed"
            assert verdict(old) == verdict(new), "the verdict on an ended build has changed"

    def _check_step(self, uid: str, name: str, old: Step | None, new: Step, change: Change) -> None:
        where = f"step {name} of {uid}"
        was, attempt = ("pending", 1) if old is None else (old.state, old.attempt)
        assert new.attempt in (attempt, attempt + 1), f"{where}: attempt {attempt} became {new.attempt}"
        assert new.attempt <= names.MAX_ATTEMPTS, f"{where}: one attempt too many"
        if was in TERMINAL:
            assert new == old, f"{where}: what has ended has changed"
            return
        if new.attempt > attempt:
            assert new.state in ("pending", "canceled"), f"{where}: a new attempt begins as {new.state}"
            self._check_blame(uid, name, attempt, "infra", change)
            return
        if new.state not in TERMINAL:
            assert ORDER.index(new.state) >= ORDER.index(was), f"{where}: {was} became {new.state}"
        assert old is None or old.started_at in (None, new.started_at), f"{where}: it started again"
        assert (new.ended_at is not None) == (new.state in TERMINAL), f"{where}: its end"
        source = status_of(change.after).source
        if name != names.SOURCE_STEP and new.state in ("starting", "running", "succeeded"):
            assert source is not None, f"{where}: it is {new.state} without an SRPM"
            assert source.state == "succeeded", f"{where}: it is {new.state} without an SRPM"
        if new.state == "succeeded":
            self._check_success(uid, name, new, change)
        # Without an SRPM the chroots fail with the source step, and have no failure of their own.
        if new.state == "failed" and (isinstance(new, SourceStatus) or new.failure is not None):
            self._check_failed(uid, name, new, change)

    def _check_success(self, uid: str, name: str, new: Step, change: Change) -> None:
        """It did succeed, and dnf could see its packages."""
        if "forkedFrom" in change.after["spec"]:
            self._check_forked(name, status_of(change.after))
            return
        if name == names.SOURCE_STEP and "rerunOf" in change.after["spec"]:
            assert status_of(change.after).id in self._backend.srpms, "a rerun goes on without an SRPM of its own"
            return
        works = [work for work in self._works(uid, name) if work.attempt == new.attempt]
        assert any(work.truth == "success" for work in works), f"{name} succeeded, but its Job did not"
        if name != names.SOURCE_STEP:
            build_id = status_of(change.after).id or 0
            assert (build_id, name) in self._backend.ever_listed, f"{name} succeeded, but was never published"

    def _check_forked(self, name: str, status: BuildStatus) -> None:
        """The backend has said that it is done, and in which chroots there is something."""
        taken = self._backend.copied.get(status.id or 0)
        assert taken, f"{name} of fork {status.id} succeeded, and the backend has not said that the copy is done"
        told = {chroot.name for chroot in status.chroots if chroot.state == "succeeded"}
        assert told == taken, f"fork {status.id} has taken over {sorted(taken)}, and shows {sorted(told)}"

    def _check_failed(self, uid: str, name: str, new: Step, change: Change) -> None:
        failure = status_of(change.after).failure if isinstance(new, SourceStatus) else new.failure
        assert failure is not None, f"{name} failed without a reason"
        if failure.reason == "NothingToFork":
            build_id = status_of(change.after).id
            assert self._backend.copied.get(build_id or 0) == frozenset(), "the backend has not said that"
            taken = [chroot for of_build, chroot in self._backend.listed if of_build == build_id]
            assert not taken, f"NothingToFork, and what was taken over is in {taken}"
        if failure.reason not in BEFORE_ANY_POD:
            self._check_blame(uid, name, new.attempt, failure.failure_class, change)
        if failure.failure_class == "infra":
            assert new.attempt == names.MAX_ATTEMPTS, f"{name}: {failure.reason} was not tried again"

    def _check_blame(self, uid: str, name: str, attempt: int, whose: str, change: Change) -> None:
        """Nothing is tried again, or blamed on someone, that did not come about so."""
        works = [work for work in self._works(uid, name) if work.attempt == attempt]
        assert works, f"attempt {attempt} of {name} has an end, but had no Job"
        work = works[-1]
        if whose == "user":
            overdue = change.at - work.created > 1200 + CONFIG.deadlines.running_slack
            assert work.truth == "user" or overdue, f"{name}: {work.end or 'nothing'} was called the user's failure"
            return
        overdue = work.bound is not None and change.at - work.bound >= CONFIG.deadlines.starting
        unseen = self._cluster.job(work) is None or (work.pod is not None and self._cluster.pod(work) is None)
        late = work.ended is not None and change.at - work.ended >= POD_LAG  # the watch of Pods is far behind
        assert work.truth == "infra" or work.disturbed or overdue or unseen or late, (
            f"attempt {attempt} of {name}: {work.end or work.stage} was called infrastructure"
        )

    def _check_budget(self, uid: str, change: Change, old: BuildStatus, new: BuildStatus) -> None:
        """Every write shows something new, and the same controller does not write more often than it should."""
        history = self.histories[uid]
        history.writes += 1
        since = change.at - history.last.get(change.by, float("-inf"))
        history.last[change.by] = change.at
        if shown(old) == shown(new):
            assert since >= MESSAGE_PACE or old.observed_generation != new.observed_generation, "a message, too soon"
        elif not _important(old, new):
            assert since >= PACE, f"a write {since:.1f} s after the last: {shown(old)} became {shown(new)}"


def status_of(build: Obj) -> BuildStatus:
    return BuildStatus.model_validate(build.get("status") or {})


def is_needless(work: Work, build: Obj) -> bool:
    """The written status has done with this attempt: it has an end, or there is a later one."""
    part = steps_of(status_of(build)).get(work.step)
    return part is not None and (part.state in TERMINAL or part.attempt > work.attempt)


def steps_of(status: BuildStatus) -> dict[str, Step]:
    """All steps of a build by name; the source step is there from the first status on."""
    source: dict[str, Step] = {names.SOURCE_STEP: status.source} if status.source is not None else {}
    return {**source, **{chroot.name: chroot for chroot in status.chroots}}


def verdict(status: BuildStatus) -> tuple[str, str] | None:
    return next(((c.status.value, c.reason) for c in status.conditions if c.type == "Succeeded"), None)


def shown(status: BuildStatus) -> tuple[Any, ...]:
    """What people and programs look at; times and words aside."""
    parts = tuple((name, part.state, part.attempt) for name, part in steps_of(status).items())
    result, reason = verdict(status) or ("", "")
    batch = (status.batch.leader, status.batch.after, status.batch.missing) if status.batch is not None else ()
    return status.id, status.state, parts, result, "" if reason in DOING else reason, batch


def _important(old: BuildStatus, new: BuildStatus) -> bool:
    """Something rests on it, so it need not wait: the id, the chroots, an end, a new attempt, an acknowledgement, a
    build that is waited for and may be gone in a moment."""
    before = steps_of(old)
    return (
        old.id is None
        or len(before) != len(steps_of(new))
        or old.state in TERMINAL
        or (old.batch != new.batch and new.batch is not None and new.batch.missing is None)
        or any(
            part.attempt != before[name].attempt or (part.state in TERMINAL and before[name].state not in TERMINAL)
            for name, part in steps_of(new).items()
        )
    )


def _conditions(status: BuildStatus) -> Iterator[tuple[str, str]]:
    for condition in status.conditions:
        yield condition.type, condition.status.value


def check_conditions(status: BuildStatus, *, deleting: bool) -> None:
    """The table of the design: the conditions follow from the state."""
    conditions = dict(_conditions(status))
    reason = (verdict(status) or ("", ""))[1]
    assert reason, "no reason"
    expected: dict[str, str]
    if status.state in ("succeeded", "skipped"):
        expected = {"Succeeded": "True", "Ready": "True"}
        assert reason == status.state.capitalize(), f"{status.state} for the reason {reason}"
    elif status.state in ("failed", "canceled"):
        expected = {"Succeeded": "False", "Ready": "False", "Stalled": "True"}
        why = status.failure.reason if status.state == "failed" and status.failure is not None else "Canceled"
        assert reason == why, f"{status.state} for the reason {reason}, and not {why}"
    else:
        expected = {"Succeeded": "Unknown", "Ready": "False", "Reconciling": "True"}
        assert reason in reasons.WAITS, f"{reason} is no reason to wait"
    if deleting and conditions.get("Reconciling") == "True":
        expected = {"Succeeded": expected["Succeeded"], "Ready": "False", "Reconciling": "True"}
    assert conditions == expected, f"{status.state}: {conditions}"


def check_failures(status: BuildStatus) -> None:
    """Every failure has a reason from the table, its class, a step and words."""
    if status.state == "failed":
        assert status.failure is not None, "failed without a failure"
    failures = [status.failure, *(chroot.failure for chroot in status.chroots)]
    for failure in failures:
        if failure is not None:
            assert failure.reason in reasons.FAILURES, failure.reason
            blamed = reasons.FAILURES[failure.reason].failure_class.value
            assert failure.failure_class == blamed, f"{failure.reason} is of class {blamed}"
            assert failure.step in ("validation", "source", "fetch", "build", "collect"), failure.step
            assert failure.message, f"{failure.reason} without words"
    source_failed = status.source is not None and status.source.state == "failed"
    for chroot in status.chroots:
        assert (chroot.state == "failed") == (chroot.failure is not None) or source_failed, f"{chroot.name} failed why?"
