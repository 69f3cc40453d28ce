"""The Job controller, the garbage collector, the kubelet and the containers of build pods, one act at a time.

Each act is what the real one does in one write, so that the controller can see (or miss) every state between two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from copr_operator.core import names
from copr_operator.core.observed import format_time, parse_time
from copr_operator.core.views import controller_of
from copr_operator.core.wire import ArtifactRef, Package, StepFailure, StepSummary, WrapperExit, fit_summary
from tests.model.apiserver import FOREGROUND, ApiServer, Obj
from tests.model.backend import ModelBackend
from tests.model.loop import CLOCK
from tests.support.builders import CONFIG, at

End = Literal[
    "success", "no-x86", "user", "oom", "timeout", "storage", "refused", "fetch-refused", "deadline",
    "fetch-infra", "collect-infra", "unheard", "evicted", "lost-summary",
]  # fmt: skip
"""How a pod ends. `no-x86`: the SRPM excludes x86_64. `unheard`: the backend published, but its answer was lost."""
ENDS: tuple[End, ...] = End.__args__  # type: ignore[attr-defined]
INFRA: frozenset[End] = frozenset({"fetch-infra", "collect-infra", "unheard", "evicted", "lost-summary"})
SUCCESS: frozenset[End] = frozenset({"success", "no-x86"})

Truth = Literal["success", "user", "infra"]
Stage = Literal["unscheduled", "pulling", "fetching", "running", "collecting", "ended"]
STAGES: tuple[Stage, ...] = Stage.__args__  # type: ignore[attr-defined]
SOMEBODY = "somebody"
"""A third party, who may do to Jobs and pods what he likes."""


@dataclass
class Work:
    """One Job as it really is, whatever anyone has seen of it."""

    build_uid: str
    build_name: str
    namespace: str
    step: str
    attempt: int
    job_uid: str
    job_name: str
    created: float
    pod: str | None = None
    """Name of its pod, once it has or had one."""
    bound: float | None = None
    """When its pod got its node."""
    stage: Stage = "unscheduled"
    end: End | None = None
    truth: Truth | None = None
    """Known when its pod has ended by itself."""
    ended: float | None = None
    """When the Job controller noticed."""
    disturbed: bool = False
    """A third party deleted the Job or its pod, or the Job's time to live was over."""
    unreachable: bool = False
    """Nothing is heard of the pod's node."""


class Cluster:
    """What the controllers of Kubernetes and the nodes could do now, each as an act to be called."""

    def __init__(self, api: ApiServer, backend: ModelBackend) -> None:
        self._api = api
        self._backend = backend
        self.works: dict[str, Work] = {}
        """By Job uid; of every Job there ever was."""
        self._seen = 0

    # -- reading ---------------------------------------------------------------------------------------------------

    def notice(self) -> None:
        """Takes note of new Jobs."""
        for change in self._api.changes[self._seen :]:
            if change.plural == "jobs" and change.verb == "create" and change.by != SOMEBODY:
                self._note(change.after)
        self._seen = len(self._api.changes)

    def _note(self, job: Obj) -> None:
        meta = job["metadata"]
        labels, owner = meta["labels"], meta["ownerReferences"][0]
        step = names.SOURCE_STEP if labels[names.LABEL_STEP] == "source" else labels[names.LABEL_CHROOT]
        self.works[meta["uid"]] = Work(
            owner["uid"], owner["name"], meta["namespace"], step, int(labels[names.LABEL_ATTEMPT]),
            meta["uid"], meta["name"], CLOCK.seconds,
        )  # fmt: skip

    def job(self, work: Work) -> Obj | None:
        found = self._api.find("jobs", work.namespace, work.job_name)
        return found if found is not None and found["metadata"]["uid"] == work.job_uid else None

    def pod(self, work: Work) -> Obj | None:
        return self._api.find("pods", work.namespace, work.pod) if work.pod is not None else None

    def live(self) -> list[Work]:
        """Jobs that have not ended and are not going away, and whose pods have not succeeded."""
        return [work for work in self.works.values() if is_live(self.job(work)) and not _done(self.pod(work))]

    def busy(self) -> list[Work]:
        """Jobs whose pod can go on."""
        return [w for w in self.works.values() if w.stage != "ended" and (pod := self.pod(w)) and not _leaving(pod)]

    # -- the Job controller and the garbage collector ----------------------------------------------------------------

    def housekeeping(self) -> list[Callable[[], None]]:
        """Everything that some controller of Kubernetes has to do at present."""
        self.notice()
        return list(self._housekeeping())

    def _housekeeping(self) -> Iterator[Callable[[], None]]:
        for build in self._api.all("coprbuilds"):
            owner = controller_of(build, "CoprPackage")[1]
            if owner and not _leaving(build) and self._api.by_uid("coprpackages", owner) is None:
                yield lambda build=build: self._drop("garbage collector", "coprbuilds", build)  # type: ignore[misc]
        for work in self.works.values():
            job, pod = self.job(work), self.pod(work)
            if job is None:
                if pod is not None and not _leaving(pod):
                    yield lambda pod=pod: self._drop("garbage collector", "pods", pod)  # type: ignore[misc]
            elif self._api.by_uid("coprbuilds", work.build_uid) is None and not _leaving(job):
                yield lambda job=job: self._drop("garbage collector", "jobs", job)  # type: ignore[misc]
            elif _leaving(job):
                yield from self._going_away(job, pod)
            elif is_live(job):
                yield from self._syncing(work, job, pod)
            if pod is not None and _leaving(pod) and not work.unreachable:
                yield lambda work=work: self.terminate(work)  # type: ignore[misc]

    def _going_away(self, job: Obj, pod: Obj | None) -> Iterator[Callable[[], None]]:
        """Deletion in the foreground: first the pod, then the Job."""
        if pod is not None and not _leaving(pod):
            yield lambda: self._drop("garbage collector", "pods", pod)
        if pod is None:
            yield lambda: self._unhold(job)

    def _syncing(self, work: Work, job: Obj, pod: Obj | None) -> Iterator[Callable[[], None]]:
        if work.pod is None:
            if not self._api.refuse_pods:
                yield lambda: self._make_pod(work, job)
        elif pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            yield lambda: self._end_job(work, job, pod)

    def _drop(self, by: str, plural: str, obj: Obj) -> None:
        """A pod is gone only when the kubelet has ended its containers."""
        self._api.delete(by, plural, obj, hold="kubelet" if plural == "pods" else None)

    def _unhold(self, job: Obj) -> None:
        left = [name for name in job["metadata"]["finalizers"] if name != FOREGROUND]
        self._api.update("garbage collector", "jobs", job, {"metadata": {"finalizers": left}})

    def _make_pod(self, work: Work, job: Obj) -> None:
        labels = {**job["metadata"]["labels"], "batch.kubernetes.io/controller-uid": work.job_uid,
                  "batch.kubernetes.io/job-name": work.job_name}  # fmt: skip
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": work.job_name, "uid": work.job_uid,
                 "controller": True}  # fmt: skip
        meta = {"name": f"{work.job_name}-pod-{work.job_uid[:8]}", "namespace": work.namespace, "labels": labels,
                "ownerReferences": [owner]}  # fmt: skip
        pod = self._api.create("job controller", "pods", {"metadata": meta, "status": {"phase": "Pending"}})
        work.pod = pod["metadata"]["name"]

    def _end_job(self, work: Work, job: Obj, pod: Obj | None) -> None:
        work.ended = CLOCK.seconds
        succeeded = pod is not None and pod["status"]["phase"] == "Succeeded"
        condition = {"type": "Complete" if succeeded else "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                     "message": "Job has reached the specified backoff limit",
                     "lastTransitionTime": format_time(CLOCK.now)}  # fmt: skip
        if work.end == "evicted":
            condition |= {"reason": "PodFailurePolicy", "message": "Pod matching FailJob rule: DisruptionTarget"}
        self._api.update("job controller", "jobs", job, {"status": {"conditions": [condition]}}, verb="status")

    # -- the kubelet -------------------------------------------------------------------------------------------------

    def terminate(self, work: Work) -> None:
        """A deleted pod: first its containers end, and the next time it goes."""
        pod = self.pod(work)
        assert pod is not None
        if work.stage != "ended":
            work.stage, work.disturbed = "ended", True
            killed = _container(_work_name(work), "terminated", code=WrapperExit.TERMINATED, reason="Error")
            summary = fit_summary(StepSummary(outcome="failed"))
            collect = _container("collect", "terminated", message=summary, reason="Completed")
            self._write(work, pod, "Failed", [killed, collect])
        else:
            self._api.update("kubelet", "pods", pod, {"metadata": {"finalizers": None}})

    def advance(self, work: Work, end: End = "success") -> None:
        """The pod's next stage; `end` is how it ends when it comes to that."""
        pod = self.pod(work)
        assert pod is not None
        following = STAGES[STAGES.index(work.stage) + 1]
        early = {"fetch-infra": "fetching", "fetch-refused": "fetching", "evicted": "running", "storage": "running",
                 "oom": "running", "deadline": "running"}  # fmt: skip
        if early.get(end) == work.stage or following == "ended":
            self._end_pod(work, pod, end)
            return
        work.stage = following
        name, code = _work_name(work), _WORK_CODES.get(end, 0)
        match following:
            case "pulling":
                self._write(work, pod, "Pending", [])
            case "fetching":
                self._write(work, pod, "Pending", [], init=_container("fetch", "running"))
            case "running":
                states = [_container(name, "running"), _container("collect", "running")]
                self._write(work, pod, "Running", states)
            case _:
                work.end = end
                states = [_container(name, "terminated", code=code), _container("collect", "running")]
                self._write(work, pod, "Running", states)

    def run_to_end(self, work: Work, end: End) -> None:
        while work.stage != "ended":
            self.advance(work, end)

    def _end_pod(self, work: Work, pod: Obj, end: End) -> None:
        end = work.end or end  # what the build container's exit code has decided already
        work.stage, work.end = "ended", end
        name, conditions, fields = _work_name(work), [], {}
        phase, fetch = "Failed", _container("fetch", "terminated")
        states = [_container(name, "terminated", code=_WORK_CODES.get(end, 0))]
        collect: dict[str, Any] | None = _container("collect", "terminated", code=75, message=_failed("CollectFailed"))
        match end:
            case "success" | "no-x86" | "unheard":
                stored = self._finish(work)
                if end == "unheard":
                    pass
                elif stored:
                    phase, collect = "Succeeded", _container("collect", "terminated", message=_made(work, end))
                else:
                    collect = _container("collect", "terminated", code=65, message=_failed("ResultsRefused"))
                    end = "refused"
            case "lost-summary":
                phase, collect = "Succeeded", _container("collect", "terminated", message="{")
            case "user" | "timeout" | "oom":
                reason = "OOMKilled" if end == "oom" else "Error"
                states = [_container(name, "terminated", code=_WORK_CODES[end], reason=reason)]
                collect = _container("collect", "terminated", message=fit_summary(StepSummary(outcome="failed")))
            case "refused":
                collect = _container("collect", "terminated", code=65, message=_failed("ResultsRefused"))
            case "fetch-infra" | "fetch-refused":
                code, reason = (75, "FetchFailed") if end == "fetch-infra" else (65, "SourceDownloadFailed")
                fetch, states, collect = _container("fetch", "terminated", code=code, message=_failed(reason)), [], None
            case "evicted":
                conditions = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
                states, collect = [_container(name, "terminated", code=143)], None
            case "storage" | "deadline":
                fields = {"reason": "Evicted" if end == "storage" else "DeadlineExceeded", "message": f"pod: {end}"}
                states, collect = [_container(name, "terminated", code=137)], None
        work.truth = "success" if end in SUCCESS else "infra" if end in INFRA else "user"
        containers = states + ([collect] if collect is not None else [])
        self._write(work, pod, phase, containers, init=fetch, conditions=conditions, **fields)

    def _finish(self, work: Work) -> bool:
        build = self._api.by_uid("coprbuilds", work.build_uid)
        return self._backend.finish(build, work.step, work.attempt)

    def _write(
        self, work: Work, pod: Obj, phase: str, containers: list[dict[str, Any]], *,
        init: dict[str, Any] | None = None, conditions: Any = (), **fields: str,
    ) -> None:  # fmt: skip
        started = {c["name"]: c for c in (pod.get("status") or {}).get("containerStatuses") or ()}
        for container in containers:  # what has ended stays as it ended
            before = started.get(container["name"])
            if before is not None and "terminated" in before["state"]:
                container["state"] = before["state"]
        init = init or _container("fetch", "terminated" if containers else "waiting")
        conditions = [*conditions, *self._scheduled(work)]
        status = {"phase": phase, "conditions": conditions,
                  "initContainerStatuses": [init], "containerStatuses": containers, **fields}  # fmt: skip
        self._api.update("kubelet", "pods", pod, {"status": status}, verb="status")

    def _scheduled(self, work: Work) -> Iterator[dict[str, Any]]:
        """A pod that was deleted before it had a node never gets one."""
        if work.stage != "ended" and work.bound is None:
            work.bound = CLOCK.seconds
        if work.bound is not None:
            yield {"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(at(work.bound))}

    # -- third parties -------------------------------------------------------------------------------------------------

    def delete_job(self, work: Work) -> None:
        """`kubectl delete job`, or the time to live of a finished one."""
        job = self.job(work)
        if job is not None:
            work.disturbed = True
            self._api.delete(SOMEBODY, "jobs", job)

    def expire_jobs(self) -> None:
        """The time to live of every Job that has ended is over."""
        for work in self.works.values():
            if (job := self.job(work)) is not None and not is_live(job):
                self.delete_job(work)

    def delete_pod(self, work: Work) -> None:
        pod = self.pod(work)
        if pod is not None and not _leaving(pod):
            work.disturbed = True
            self._drop(SOMEBODY, "pods", pod)

    def lose_node(self, work: Work) -> None:
        """Its pods are to be deleted, and stay as they were."""
        pod = self.pod(work)
        if pod is not None and work.bound is not None and not _leaving(pod):
            work.unreachable = work.disturbed = True
            gone = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
            conditions = [*pod["status"]["conditions"], gone]
            pod = self._api.update("node lifecycle", "pods", pod, {"status": {"conditions": conditions}}, verb="status")
            self._drop("node lifecycle", "pods", pod)

    def nodes_come_back(self) -> None:
        for work in self.works.values():
            work.unreachable = False

    def is_lost(self, work: Work) -> bool:
        """Whether its pod was deleted long ago, and has not ended."""
        pod = self.pod(work)
        gone_by = parse_time(pod["metadata"].get("deletionTimestamp")) if pod is not None else None
        return gone_by is not None and CLOCK.now >= gone_by + timedelta(seconds=CONFIG.deadlines.lost)

    def take_name(self, build: Obj, step: str, attempt: int) -> None:
        """Somebody makes a Job of the name that a Job of this build would need, with our labels, but no owner."""
        uid, labels = build["metadata"]["uid"], {names.LABEL_MANAGED_BY: names.MANAGED_BY}
        meta: dict[str, Any] = {"name": names.job_name(uid, step, attempt), "namespace": build["metadata"]["namespace"],
                                "labels": {**labels, names.LABEL_BUILD_UID: uid}}  # fmt: skip
        self._api.create(SOMEBODY, "jobs", {"metadata": meta, "spec": {"template": {"spec": {"hostUsers": False}}}})


_WORK_CODES: dict[End, int] = {
    "user": WrapperExit.BUILD_FAILED,
    "timeout": WrapperExit.TIMEOUT,
    "oom": 137,
}


def is_there(job: Obj | None) -> bool:
    """There is a Job that has not ended; its pod may run, even if it is going away."""
    return job is not None and not (job.get("status") or {}).get("conditions")


def is_live(job: Obj | None) -> bool:
    """There is a Job that has not ended and is not going away."""
    return job is not None and is_there(job) and not _leaving(job)


def _done(pod: Obj | None) -> bool:
    return pod is not None and (pod.get("status") or {}).get("phase") == "Succeeded"


def _leaving(obj: Obj) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _work_name(work: Work) -> str:
    return "source" if work.step == names.SOURCE_STEP else "build"


def _container(name: str, state: str, *, code: int = 0, message: str = "", reason: str = "Completed") -> dict[str, Any]:
    time = format_time(CLOCK.now)
    if state == "waiting":
        return {"name": name, "state": {"waiting": {"reason": "PodInitializing"}}}
    if state == "running":
        return {"name": name, "state": {"running": {"startedAt": time}}}
    ended = {"exitCode": int(code), "reason": reason, "message": message, "startedAt": time, "finishedAt": time}
    return {"name": name, "state": {"terminated": ended}}


def _failed(reason: str) -> str:
    return fit_summary(StepSummary(outcome="failed", failure=StepFailure(reason=reason, message=f"it was {reason}")))


def _made(work: Work, end: End) -> str:
    if work.step != names.SOURCE_STEP:
        return fit_summary(StepSummary(outcome="succeeded", packages=3))
    return fit_summary(
        StepSummary(
            outcome="succeeded",
            package=Package(name="hello", version="2.8-1"),
            srpm=ArtifactRef(name="hello-2.8-1.src.rpm", sha256="a" * 64),
            exclude_arch=("x86_64",) if end == "no-x86" else (),
        )
    )
