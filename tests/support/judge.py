"""The invariants of builds, as far as committed writes show them. The numbers are those of docs/reliability.md.

Not here: what a reader of the repositories sees (I7), tenants (I8), logs (I11): the backend's own tests show those.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from pydantic import ValidationError

from copr_operator.api.build import BuildStatus, ChrootStatus, SourceStatus
from copr_operator.api.common import TERMINAL
from copr_operator.core import names
from copr_operator.core.observed import JobView, PodView
from copr_operator.core.outcome import work_container
from copr_operator.core.status import overall
from copr_operator.core.views import job_view, pod_view
from copr_operator.core.wire import StepSummary
from tests.model.invariants import ORDER, check_conditions, check_failures, shown, status_of, steps_of, verdict
from tests.support.recorder import Change, Obj

Step = SourceStatus | ChrootStatus


@dataclass
class Work:
    """One Job, and what was seen of it and its pods."""

    job: JobView
    build_uid: str
    step: str
    attempt: int
    there: bool = True
    disturbed: bool = False
    """Someone has deleted it or one of its pods."""
    pods: dict[str, PodView] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        return self.there and self.job.state == "active" and not self.job.deleting and not self.done

    @property
    def done(self) -> bool:
        """One of its pods has succeeded."""
        return any(pod.succeeded for pod in self.pods.values())


@dataclass
class Build:
    """What was seen of one CoprBuild uid."""

    obj: Obj
    status: BuildStatus
    writes: int = 0
    canceled_at: int | None = None
    gone: bool = False


class Judge:
    """Give `change` to a Recorder. `split`: two controllers have worked at once, and may have made needless Jobs."""

    def __init__(self) -> None:
        self.split = False
        self.blinded = False
        """The Job controller itself has lost answers: it then makes a pod again, and takes the one too many away."""
        self.released: set[str] = set()
        """Builds whose finalizer is taken off by hand: Kubernetes collects what they leave, a little later."""
        self.builds: dict[str, Build] = {}
        self.works: dict[str, Work] = {}
        self._ids: dict[int, str] = {}

    def change(self, change: Change) -> None:
        """Raises AssertionError for a write that must never be made."""
        match change.plural:
            case "coprbuilds":
                self._build(change)
            case "jobs":
                self._job(change)
            case "pods":
                self._pod(change)

    def of(self, build_uid: str, step: str | None = None) -> list[Work]:
        return [w for w in self.works.values() if w.build_uid == build_uid and step in (None, w.step)]

    # -- Jobs and Pods -------------------------------------------------------------------------------------------------

    def _job(self, change: Change) -> None:
        job = job_view(change.after)
        if not job.owner[1]:
            return
        known = self.works.get(job.uid)
        if known is None:
            self._new_job(job)
            return
        known.job, known.there = job, not change.deleted
        known.disturbed |= job.deleting or change.deleted

    def _new_job(self, job: JobView) -> None:
        build = self.builds.get(job.owner[1])
        assert build is not None, f"I5: a Job of a build that was never seen: {job.owner}"
        step, attempt = _step_of(job, build)
        work = self.works[job.uid] = Work(job, job.owner[1], step, attempt)
        assert attempt <= names.MAX_ATTEMPTS, f"I12: attempt {attempt}"
        assert build.status.id is not None, "I13: a Job before the id was written"
        others = [w for w in self.of(work.build_uid, step) if w is not work]
        twins = [w.job.name for w in others if w.attempt == attempt and not w.disturbed]
        assert not twins, f"I1: attempt {attempt} of {step} was made twice"
        if self.split:
            return
        assert not [w for w in others if w.live], f"I1: two Jobs of {step} at once"
        assert not build.gone, "I5: a Job of a build that is gone"
        assert build.status.state not in TERMINAL, f"I6: a Job of a build that is {build.status.state}"
        if step != names.SOURCE_STEP:
            source = build.status.source
            assert source is not None, f"I4: {step} before the SRPM was latched"
            assert source.state == "succeeded", f"I4: {step} before the SRPM was latched"

    def _pod(self, change: Change) -> None:
        pod = pod_view(change.after)
        work = self.works.get(pod.job_uid)
        if work is None:
            return
        new = pod.uid not in work.pods
        work.pods[pod.uid] = pod
        work.disturbed |= pod.deleting or pod.disrupted or change.deleted
        if new:
            live = [p for p in work.pods.values() if not p.deleting]
            assert self.blinded or len(live) == 1, f"I1: {work.job.name} has two pods"
            build = self.builds[work.build_uid]
            assert self.split or work.job.deleting or build.canceled_at is None, (
                "I6: a pod was made after the build was canceled"
            )

    # -- CoprBuilds ----------------------------------------------------------------------------------------------------

    def _build(self, change: Change) -> None:
        uid = change.after["metadata"]["uid"]
        old = BuildStatus() if change.before is None else status_of(change.before)
        new = status_of(change.after)
        build = self.builds.setdefault(uid, Build(change.after, new))
        build.obj, build.status = change.after, new
        if change.deleted:
            build.gone = True
            self._check_gone(change, uid)
        elif old != new:
            build.writes += 1
            if new.state == "canceled" and build.canceled_at is None:
                build.canceled_at = change.version
            self._check_status(change, uid, old, new)

    def _check_gone(self, change: Change, uid: str) -> None:
        """Nothing of a build outlives it; a finalizer that somebody took off by hand is not ours to answer for."""
        meta = change.after["metadata"]
        if names.FINALIZER in meta.get("finalizers", ()) or meta["name"] in self.released or self.split:
            return
        before = (change.before or change.after)["metadata"].get("finalizers", ())
        live = [w.job.name for w in self.of(uid) if w.live]
        assert names.FINALIZER not in before or not live, f"I5: the build is gone, {live} are still there"

    def _check_status(self, change: Change, uid: str, old: BuildStatus, new: BuildStatus) -> None:
        assert new.id is not None, "I13: a status without an id"
        assert old.id in (None, new.id), "I13: the id has changed"
        assert self._ids.setdefault(new.id, uid) == uid, f"I13: id {new.id} was given twice"
        generation = change.after["metadata"]["generation"]
        assert old.observed_generation <= new.observed_generation <= generation, "I10: observedGeneration"
        check_conditions(new, deleting="deletionTimestamp" in change.after["metadata"])
        check_failures(new)
        follows = overall(new.model_copy(update={"state": None}))
        assert new.state in (follows, "canceled", "failed"), f"I4: {new.state}, but its steps say {follows}"
        if old.state in TERMINAL:
            changed = {"observed_generation", "conditions"}
            assert old.model_dump(exclude=changed) == new.model_dump(exclude=changed), "I2: an ended build has changed"
            assert verdict(old) == verdict(new), "I2: the verdict on an ended build has changed"
        before = steps_of(old)
        for name, part in steps_of(new).items():
            self._check_step(uid, name, before.get(name), part)
        if new.state == "canceled" and old.state != "canceled":
            assert change.after["spec"].get("cancel"), "I6: canceled, but nobody asked for it"
            live = [w.job.name for w in self.of(uid) if w.live]
            assert self.split or not live, f"I6: canceled is written, and {live} still run"
        if shown(old) == shown(new):
            words = [(c.reason, c.message) for c in old.conditions] != [(c.reason, c.message) for c in new.conditions]
            seen = old.observed_generation != new.observed_generation
            assert words or seen, "I9: a write that says nothing new"

    def _check_step(self, uid: str, name: str, old: Step | None, new: Step) -> None:
        state, attempt = ("pending", 1) if old is None else (old.state, old.attempt)
        assert new.attempt in (attempt, attempt + 1), f"I12: attempt {attempt} of {name} became {new.attempt}"
        assert new.attempt <= names.MAX_ATTEMPTS, f"I12: attempt {new.attempt} of {name}"
        if state in TERMINAL:
            assert new == old, f"I2: {name} had ended, and has changed"
            return
        if new.attempt > attempt:
            for work in self._tries(uid, name, attempt):
                assert not _user_failed(work), f"I12: {name} was tried again after the user's failure"
        elif new.state not in TERMINAL:
            assert ORDER.index(new.state) >= ORDER.index(state), f"I2: {name} went from {state} to {new.state}"
        if new.state == "succeeded":
            done = [w for w in self._tries(uid, name, new.attempt) if w.done]
            assert done, f"I4: {name} succeeded, and its pod did not"
            if isinstance(new, ChrootStatus):
                assert new.packages in {_packages(w) for w in done}, f"I4: {name} has not {new.packages} packages"

    def _tries(self, uid: str, step: str, attempt: int) -> list[Work]:
        return [w for w in self.of(uid, step) if w.attempt == attempt]

    # -- when all is calm ----------------------------------------------------------------------------------------------

    def check_calm(self) -> None:
        """Faults have ended long enough ago: every build has an end, and nothing lives that nobody needs."""
        for uid, build in self.builds.items():
            name = build.obj["metadata"]["name"]
            assert build.gone or build.status.state in TERMINAL, f"I3: {name} is still {build.status.state}"
            live = [w.job.name for w in self.of(uid) if w.live]
            assert not live, f"I5: {name} has ended, and {live} still run"
            steps = len(build.status.chroots) + 1
            attempts = sum(part.attempt for part in steps_of(build.status).values())
            # Every state of every attempt of a step once, and a build's own beginning, end and words.
            assert build.writes <= 6 + 4 * attempts + steps, f"I9: {build.writes} status writes for {attempts} attempts"


def _step_of(job: JobView, build: Build) -> tuple[str, int]:
    chroots = [chroot.name for chroot in build.status.chroots]
    for step in (names.SOURCE_STEP, *chroots):
        for attempt in range(1, names.MAX_ATTEMPTS + 2):
            if names.job_name(build.obj["metadata"]["uid"], step, attempt) == job.name:
                return step, attempt
    raise AssertionError(f"I1: {job.name} is the name of no step of {chroots}")


def _user_failed(work: Work) -> bool:
    """The untrusted container ended by itself, and not well."""
    if work.disturbed:
        return False
    container = work_container(work.step)
    found = [pod.containers.get(container) for pod in work.pods.values()]
    return any(c is not None and c.state == "terminated" and c.exit_code != 0 for c in found)


def _packages(work: Work) -> int | None:
    for pod in work.pods.values():
        collect = pod.containers.get("collect")
        if collect is not None and collect.message:
            try:
                return StepSummary.model_validate_json(collect.message).packages
            except ValidationError:
                return None
    return None


def by_state(judge: Judge) -> dict[str, int]:
    """How many builds ended how; deleted ones are `gone`."""
    count: defaultdict[str, int] = defaultdict(int)
    for build in judge.builds.values():
        count["gone" if build.gone else build.status.state or "new"] += 1
    return dict(count)
