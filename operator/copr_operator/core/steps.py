"""The current try of one step of a build, whichever Job it is."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from copr_operator.api.build import ChrootStatus, SourceStatus
from copr_operator.api.common import TERMINAL, Phase
from copr_operator.core import names, outcome
from copr_operator.core.actions import Action, FindJob, ReadJobEvents, ReadPodEvents
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import JobView, Observed, PodView, Refusal, format_time
from copr_operator.core.outcome import Fault
from copr_operator.core.userns import lacks_user_namespaces
from copr_operator.core.wire import StepSummary


@dataclass(frozen=True)
class Step:
    """One try of a step as it is now."""

    name: str
    attempt: int
    state: Phase = "pending"
    reason: str = ""
    message: str = ""
    job: JobView | None = None
    summary: StepSummary | None = None
    fault: Fault | None = None
    ended: datetime | None = None
    deadline: datetime | None = None
    look_again: datetime | None = None
    held: bool = False
    """A Job can't be made yet: the API server has just refused it."""
    actions: tuple[Action, ...] = ()

    def times(self, status: SourceStatus | ChrootStatus) -> dict[str, str]:
        """startedAt and endedAt for the status: set once, when the Job was made and when the step ended."""
        times: dict[str, str] = {}
        if self.job is not None and status.started_at is None:
            times["started_at"] = format_time(self.job.created)
        if self.state in TERMINAL and self.ended is not None:
            times["ended_at"] = format_time(self.ended)
        return times


def read(observed: Observed, name: str, state: Phase, attempt: int, config: OperatorConfig) -> Step:
    """The step's newest try. `state` and `attempt` are what the status has latched."""
    refusal = observed.refusals.get(names.job_name(observed.build.uid, name, attempt))
    if refusal is not None and refusal.reason:  # a verdict on the Job itself, which may still be going away
        return _refused(observed, name, attempt, refusal, config)
    for number in range(names.MAX_ATTEMPTS, attempt - 1, -1):
        job_name = names.job_name(observed.build.uid, name, number)
        job = observed.jobs.get(job_name)
        if job is not None:
            return _read_job(observed, name, number, job, config, state if number == attempt else "pending")
    if state in ("starting", "running", "importing"):
        return _unseen(observed, name, attempt, state)
    if refusal is None or not refusal.of_job:
        return Step(name, attempt)
    return _refused(observed, name, attempt, refusal, config)


def _unseen(observed: Observed, name: str, attempt: int, state: Phase) -> Step:
    """The status tells of a Job that is not known here: it is lost, or a watch or a LIST is behind the status."""
    job_name = names.job_name(observed.build.uid, name, attempt)
    if job_name in observed.missing_jobs:
        fault = Fault("JobLost", "the Job is gone and its result was not seen", outcome.work_container(name))
        return Step(name, attempt, state="failed", fault=fault, ended=observed.now)
    return Step(name, attempt, state, "Queued", "the Job is looked for", actions=(FindJob(job_name),))


def _refused(observed: Observed, name: str, attempt: int, refusal: Refusal, config: OperatorConfig) -> Step:
    """What will pass is tried again now and then, so that it starts by itself. The rest can't become right."""
    if not refusal.waits:
        reason = refusal.reason or ("NameCollision" if refusal.status == 409 else "JobRefused")
        fault = Fault(reason, refusal.message, outcome.work_container(name))
        return Step(name, attempt, state="failed", fault=fault, ended=observed.now)
    again = refusal.again(config.deadlines.refusal_retry)
    held = observed.now < again
    look_again = again if held else None  # afterwards it is made, or something else is in the way and tells of itself
    return Step(
        name, attempt, reason=refusal.waits, message=refusal.message, held=held, look_again=look_again
    )  # fmt: skip


def _read_job(observed: Observed, name: str, attempt: int, job: JobView, config: OperatorConfig, latched: str) -> Step:
    """`latched`: the state that the status has for this attempt already."""
    pod = observed.pods.get(job.uid)
    reading = outcome.read_step(
        name, job, pod, timeout=observed.build.spec.timeout, deadlines=config.deadlines, now=observed.now
    )
    step = Step(
        name, attempt, reading.state, reading.reason, reading.message, job,
        reading.summary, reading.fault, reading.ended, reading.deadline,
    )  # fmt: skip
    if _ORDER.get(reading.state, len(_ORDER)) < _ORDER.get(latched, 0):
        return _no_way_back(step, latched)
    if job.state != "active":
        return step
    if pod is None:
        return _without_pod(observed, step, job, config) if reading.state == "starting" else step
    late = reading.fault is not None and reading.fault.reason == "StartingTimeout"
    if (reading.reason != "Starting" and not late) or _has_begun(pod):
        return step
    return _not_yet_started(observed, step, pod, config)


def _has_begun(pod: PodView) -> bool:
    return pod.sandboxed or any(container.state != "waiting" for container in pod.containers.values())


_ORDER: dict[str, int] = {"pending": 0, "starting": 1, "running": 2, "importing": 3}


def _no_way_back(step: Step, latched: str) -> Step:
    """Within one attempt no state goes back: a pod that is gone before its Job has ended shows less than it did."""
    if latched == "importing":
        return replace(step, state="importing", reason="Importing")
    reason = "SourceRunning" if step.name == names.SOURCE_STEP else "Building"
    return replace(step, state="running", reason=reason, message="the pod is gone, and its Job has not ended yet")


def _not_yet_started(observed: Observed, step: Step, pod: PodView, config: OperatorConfig) -> Step:
    """A pod alone does not say why it has no node, sandbox or volumes for long: the scheduler and its Events do."""
    look = pod.node_since + timedelta(seconds=config.deadlines.refused_look)
    if not pod.scheduled:
        if observed.now < look:
            return replace(step, look_again=look)
        unschedulable = step.reason == "Starting" and pod.scheduling_message
        return replace(step, reason="Unschedulable", message=pod.scheduling_message) if unschedulable else step
    told = observed.refusals.get(pod.name)
    if told is not None:
        look = told.at + timedelta(seconds=config.deadlines.refusal_retry)
        step = _as_told(step, pod, told) if told.message else step
    if step.fault is not None or observed.now < look:
        return replace(step, look_again=None if step.fault is not None else look)
    return replace(step, actions=(ReadPodEvents(pod.name, pod.uid),))


def _as_told(step: Step, pod: PodView, told: Refusal) -> Step:
    """By its newest Event. A node without user namespaces is the administrator's to mend: no other try would help."""
    lacking = lacks_user_namespaces(told.message)
    message = f"node {pod.node}: {told.message}"
    if step.fault is None:
        return replace(step, reason="UserNamespacesUnavailable" if lacking else "Held", message=message)
    reason = "UserNamespacesUnavailable" if lacking else step.fault.reason
    return replace(step, fault=Fault(reason, message, step.fault.step))


def _without_pod(observed: Observed, step: Step, job: JobView, config: OperatorConfig) -> Step:
    """Jobs alone don't say why they have no pod: after a while their Events are read, and read again now and then."""
    refusal = observed.refusals.get(job.name)
    if refusal is None:
        look = job.created + timedelta(seconds=config.deadlines.refused_look)
    else:
        look = refusal.again(config.deadlines.refusal_retry)
    due = observed.now >= look
    return Step(
        step.name,
        step.attempt,
        "starting",
        "Held" if step.reason == "Held" or (refusal is not None and refusal.message) else "Queued",
        refusal.message if refusal is not None and refusal.message else step.message,
        job,
        look_again=None if due else look,
        actions=(ReadJobEvents(job.name, job.uid),) if due else (),
    )
