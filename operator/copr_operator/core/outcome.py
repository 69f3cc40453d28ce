"""What a Job and its Pod say about one step: a pure reading, however often and in whatever order they were seen.

Only exit codes of the trusted containers and Pod conditions may mean an infrastructure failure: everything else can be
brought about by the code that is built, and would buy it free retries.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import ValidationError

from copr_operator.api.common import Phase
from copr_operator.core import kept, names
from copr_operator.core.config import Deadlines
from copr_operator.core.observed import ContainerView, JobView, PodView
from copr_operator.core.reasons import FAILURES, FailureClass
from copr_operator.core.userns import lacks_user_namespaces
from copr_operator.core.wire import WRAPPER_REASONS, AgentExit, StepSummary

FETCH: Final = "fetch"
COLLECT: Final = "collect"

POD_LAG: Final = 90
"""Seconds for which an ended Job's pod is waited for. Jobs and Pods are two watches, and nothing orders them: a Job
that is seen to have ended beside a pod that is seen to run says neither that it succeeded nor why it failed. So long
it takes until a watch that has fallen silent is noticed (`KubeClient.watch`) and taken up again (`Reflector`)."""

FETCH_MEMORY: Final = "1Gi for a repository, 256Mi for a file; spec.memoryLimitMB is for what is run later"
"""As core.manifests gives it."""

StepName = Literal["fetch", "source", "build", "collect"]


@dataclass(frozen=True)
class Fault:
    """A failure before it is given a class and a place."""

    reason: str
    message: str
    step: StepName


@dataclass(frozen=True)
class Reading:
    """State of one step as its Job and Pod show it."""

    state: Phase
    reason: str
    """What it waits for or does (reasons.WAITS); empty once it has ended."""
    message: str = ""
    summary: StepSummary | None = None
    fault: Fault | None = None
    deadline: datetime | None = None
    """When this state becomes a failure if nothing changes."""
    ended: datetime | None = None


def work_container(step: str) -> Literal["source", "build"]:
    """Name of the untrusted container of a step."""
    return "source" if step == names.SOURCE_STEP else "build"


def read_step(
    step: str, job: JobView, pod: PodView | None, *, timeout: int, deadlines: Deadlines, now: datetime
) -> Reading:
    """Reads the step's current Job. A deadline that has passed makes an unfinished step failed.

    A pod that has succeeded says all, and the Job controller will say no other: it notices a second later, or much
    later when it is busy. A failure is the Job's to tell: why a pod failed may be added to it afterwards.
    """
    if pod is not None and pod.succeeded:
        return _succeeded(step, job, pod)
    awaited = _pod_awaited_until(job, pod)
    if awaited is not None and now < awaited:
        reading = _running(step, job, pod, timeout=timeout, deadlines=deadlines)
        message = "the Job has ended; the end of its pod was not seen yet"
        return Reading(reading.state, reading.reason, message, deadline=awaited)
    if job.state == "complete":
        fault = Fault("PodLost", "the Job is complete, but its pod was gone before its result was read", COLLECT)
        return Reading("failed", "", fault=fault, ended=job.finished)
    if job.state == "failed":
        return Reading("failed", "", fault=_why_failed(step, job, pod), ended=job.finished)
    reading = _running(step, job, pod, timeout=timeout, deadlines=deadlines)
    lost = lost_at(pod, deadlines)
    if lost is not None and not job.suspended:
        reading = replace(reading, deadline=min(lost, reading.deadline or lost))
    if reading.deadline is not None and now >= reading.deadline:
        return Reading("failed", "", fault=_overdue(step, reading, pod), ended=now)
    return reading


def lost_at(pod: PodView | None, deadlines: Deadlines) -> datetime | None:
    """When a deleted pod that has not ended will not do so any more: nothing is heard of its node. What is left of it
    may run on there, but the backend takes nothing from it once the status has the next attempt."""
    if pod is None or pod.gone_by is None or pod.phase == "Failed":
        return None
    return pod.gone_by + timedelta(seconds=deadlines.lost)


def _pod_awaited_until(job: JobView, pod: PodView | None) -> datetime | None:
    """For a Job that has ended: how long the end of the pod that made it end may come later; None when that was seen.

    A complete Job has a pod that has succeeded, whichever others it had.
    """
    told = job.state == "failed" and (_says_disrupted(job) or (pod is not None and pod.phase == "Failed"))
    if job.finished is None or told:
        return None
    return job.finished + timedelta(seconds=POD_LAG)


def _summary(container: ContainerView | None) -> StepSummary | None:
    if container is None or container.state != "terminated" or not container.message:
        return None
    try:
        return StepSummary.model_validate_json(container.message)
    except ValidationError:
        return None


def _succeeded(step: str, job: JobView, pod: PodView) -> Reading:
    """What the pod's summary says."""
    ends = [container.finished for container in pod.containers.values() if container.finished is not None]
    ended = max(ends, default=job.finished or pod.created)
    summary = _summary(pod.containers.get(COLLECT))
    fault = _told_fault(step, summary)
    return Reading("failed" if fault is not None else "succeeded", "", summary=summary, fault=fault, ended=ended)


def _told_fault(step: str, summary: StepSummary | None) -> Fault | None:
    if summary is None:
        return Fault("CollectFailed", "the collect container left no summary that can be read", COLLECT)
    if summary.outcome == "failed":
        return _from_summary(step, summary)
    lacks = kept.problem(summary.package, summary.srpm, summary.source_sha256) if _is_source(step) else ""
    return Fault("CollectFailed", f"the collect container's summary {lacks}", COLLECT) if lacks else None


def _from_summary(step: str, summary: StepSummary) -> Fault:
    reason = summary.failure.reason if summary.failure else ("SourceFailed" if _is_source(step) else "BuildFailed")
    message = summary.failure.message if summary.failure else ""
    return Fault(reason, _with_tail(message, summary), work_container(step))


def _is_source(step: str) -> bool:
    return step == names.SOURCE_STEP


def _with_tail(message: str, summary: StepSummary | None) -> str:
    tail = summary.log_tail.strip() if summary else ""
    return f"{message}\n{tail}".strip() if tail else message


_START_ERRORS = frozenset({"StartError", "ContainerCannotRun"})
"""The runtime's, of a container that has ended without having run; its message is the runtime's too."""


def _says_disrupted(job: JobView) -> bool:
    """Whether the Job itself says why it failed, whatever was seen of its pod: only one that failed can bring that."""
    return job.reason == "PodFailurePolicy" and "DisruptionTarget" in job.message


def _why_failed(step: str, job: JobView, pod: PodView | None) -> Fault:
    work_name = work_container(step)
    disrupted = _says_disrupted(job) or (pod is not None and pod.disrupted)
    if disrupted:
        return Fault("Disrupted", (pod and pod.message) or job.message or "the pod was disrupted", work_name)
    if pod is None:
        return Fault("PodLost", f"the Job failed ({job.reason}: {job.message}) and its pod is gone", work_name)
    fetch, work, collect = (pod.containers.get(name) for name in (FETCH, work_name, COLLECT))
    summary = _summary(collect)
    if pod.reason == "Evicted":  # without DisruptionTarget the kubelet evicts for the pod's own storage use
        return Fault("StorageLimit", pod.message, work_name)
    for name, container in pod.containers.items():
        if container.reason in _START_ERRORS and lacks_user_namespaces(container.message):
            return Fault("UserNamespacesUnavailable", f"node {pod.node}: {name}: {container.message}", work_name)
    if fetch is not None and fetch.state == "terminated" and fetch.exit_code != AgentExit.OK:
        return _agent_fault(FETCH, "FetchFailed", fetch, of_user=_is_source(step))
    if work is not None and work.state == "terminated":
        if work.reason == "OOMKilled":
            return Fault("OOMKilled", _with_tail("the memory limit was reached", summary), work_name)
        if work.reason in _START_ERRORS:
            return Fault("ToolMissing", f"the image can't run the build: {work.message}", work_name)
        if work.exit_code != 0:
            return _work_fault(step, work, pod, summary)
    if collect is not None and collect.state == "terminated" and collect.exit_code != AgentExit.OK:
        return _agent_fault(COLLECT, "CollectFailed", collect)
    if pod.reason == "DeadlineExceeded":
        return Fault("RunningTimeout", "the pod's activeDeadlineSeconds passed", work_name)
    if pod.deleting:
        return Fault("Disrupted", "the pod was deleted", work_name)
    return Fault("ContainerError", f"{pod.reason or job.reason}: {pod.message or job.message}", work_name)


def _work_fault(step: str, work: ContainerView, pod: PodView, summary: StepSummary | None) -> Fault:
    if pod.deleting:
        return Fault("Disrupted", "the pod was deleted while it ran", work_container(step))
    if pod.reason == "DeadlineExceeded":
        return Fault("RunningTimeout", _with_tail("the pod's deadline passed", summary), work_container(step))
    default = "SourceFailed" if _is_source(step) else "BuildFailed"
    reason = WRAPPER_REASONS.get(work.exit_code or 0, default)
    if summary is not None and summary.failure is not None and summary.failure.message:
        return Fault(reason, _with_tail(summary.failure.message, summary), work_container(step))
    return Fault(reason, _with_tail(f"exit code {work.exit_code}", summary), work_container(step))


def _agent_fault(
    name: Literal["fetch", "collect"], infra_reason: str, container: ContainerView, *, of_user: bool = False
) -> Fault:
    """`of_user`: what it worked on is the user's: a repository takes as much memory in the next try."""
    if of_user and container.reason == "OOMKilled":
        return Fault("OOMKilled", f"the source took more memory than {name} may use: {FETCH_MEMORY}", name)
    summary = _summary(container)
    if summary is not None and summary.failure is not None and _named_by(container.exit_code, summary.failure.reason):
        return Fault(summary.failure.reason, _with_tail(summary.failure.message, summary), name)
    message = summary.failure.message if summary is not None and summary.failure is not None else ""
    return Fault(infra_reason, message or f"{name} ended with exit code {container.exit_code} {container.reason}", name)


def _named_by(exit_code: int | None, reason: str) -> bool:
    """Whether an agent's own reason counts: an exit code of infrastructure must not stand beside a user's reason."""
    known = FAILURES.get(reason)
    infra = known is not None and known.failure_class is FailureClass.INFRA
    return exit_code == AgentExit.REFUSED or (exit_code == AgentExit.INFRA and infra)


_PULL_ERRORS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CREATE_ERRORS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


def _running(step: str, job: JobView, pod: PodView | None, *, timeout: int, deadlines: Deadlines) -> Reading:
    """Reading of a Job that has not ended. Its pod's containers show how far it is."""
    if job.suspended and (pod is None or pod.deleting or pod.phase == "Pending"):
        return Reading("starting", "Held", f"Job {job.name} is suspended (spec.suspend), and not by this controller")
    if pod is None:
        return Reading("starting", "Queued", "the Job has no pod yet")
    work, collect = pod.containers.get(work_container(step)), pod.containers.get(COLLECT)
    running_name = "SourceRunning" if _is_source(step) else "Building"
    if work is not None and work.state == "terminated":
        ended = work.finished or pod.created
        if collect is None or collect.state != "terminated":
            state: Phase = "importing" if _is_source(step) else "running"
            message = "the SRPM is being stored" if _is_source(step) else "the results are being stored and published"
            return Reading(state, "Importing", message, deadline=ended + timedelta(seconds=deadlines.importing))
        # The Job controller has yet to notice; it may take a second.
        return Reading("importing" if _is_source(step) else "running", "Importing", "the pod has ended",
                       deadline=ended + timedelta(seconds=deadlines.importing))  # fmt: skip
    if work is not None and work.state == "running":
        since = work.started or pod.created
        return Reading("running", running_name, deadline=since + timedelta(seconds=timeout + deadlines.running_slack))
    if not pod.scheduled:  # waited out like a quota: another try would only lose its place in the scheduler's queue
        why = f": {pod.scheduling_message}" if pod.scheduling_message else ""
        return Reading("starting", "Starting", f"waiting for a node{why}")
    deadline = pod.node_since + timedelta(seconds=deadlines.starting)
    fetch = pod.containers.get(FETCH)
    if fetch is not None and fetch.state == "running":  # a large repository may take as long as all else together
        deadline = (fetch.started or pod.node_since) + timedelta(seconds=deadlines.fetching)
    elif fetch is not None and fetch.finished is not None:  # what follows may have an image to pull, as fetch had
        deadline = max(deadline, fetch.finished + timedelta(seconds=deadlines.starting))
    reason, message = _why_held(pod) or ("Starting", _why_starting(pod))
    return Reading("starting", reason, message, deadline=deadline)


def _why_held(pod: PodView) -> tuple[str, str] | None:
    """What keeps a pod that has its node from starting until someone mends it.

    Only the reason, without the kubelet's words: they change with every try.
    """
    for name, container in sorted(pod.containers.items()):
        if container.reason in _PULL_ERRORS | _CREATE_ERRORS:
            lacking = container.reason in _CREATE_ERRORS and lacks_user_namespaces(container.message)
            reason = "UserNamespacesUnavailable" if lacking else "Held"
            return reason, f"container {name}: {container.reason}"
    return None


def _why_starting(pod: PodView) -> str:
    fetch = pod.containers.get(FETCH)
    if fetch is not None and fetch.state == "running":
        return "the inputs are being fetched"
    return "the containers are being created"


def _overdue(step: str, reading: Reading, pod: PodView | None) -> Fault:
    work_name = work_container(step)
    if pod is not None and (pod.disrupted or pod.deleting):  # the time that has passed is not the user's
        return Fault("Disrupted", f"the pod was to end, and node {pod.node} has not ended it", work_name)
    if reading.state == "starting" and pod is not None:
        for name, container in sorted(pod.containers.items()):
            if container.reason in _PULL_ERRORS:
                return Fault("ImagePullFailed", f"container {name}: {container.message or container.reason}", work_name)
            if container.reason in _CREATE_ERRORS and lacks_user_namespaces(container.message):
                return Fault("UserNamespacesUnavailable", f"node {pod.node}: {container.message}", work_name)
            if container.reason in _CREATE_ERRORS:
                return Fault("ContainerError", f"container {name}: {container.message or container.reason}", work_name)
        return Fault("StartingTimeout", reading.message, work_name)
    if reading.reason == "Importing":
        return Fault("ImportingTimeout", "the results were not stored in time", COLLECT)
    return Fault("RunningTimeout", "the step ran past its timeout and every grace", work_name)
