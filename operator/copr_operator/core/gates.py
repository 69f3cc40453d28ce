"""What must be there before a step may start. A closed gate says what it waits for: nothing waits without a reason."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from copr_operator.api.common import ConditionStatus
from copr_operator.core import names, outcome, sources
from copr_operator.core.actions import Action, EnsureDirectory
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import Observed, ProjectView


@dataclass(frozen=True)
class Gate:
    """Why a step can't start yet."""

    reason: str
    message: str
    look_again: int | None = None
    """Seconds after which to look again; None when an event will tell."""
    action: Action | None = None
    """What would open the gate, if it is the controller's to do."""


def holds_name(project: ProjectView) -> bool:
    """Whether this CoprProject has (owner, name) for itself."""
    return any(c.type == "NameHeld" and c.status is ConditionStatus.TRUE for c in project.status.conditions)


def project_gate(observed: Observed) -> Gate | None:
    """The project must be there and hold its name."""
    spec, project = observed.build.spec, observed.project
    if project is None or project.deleting:
        return Gate(
            "ProjectNotFound",
            f"there is no CoprProject {spec.owner}/{spec.project} in namespace {observed.build.namespace}",
        )
    if not holds_name(project):
        return Gate("ProjectNotReady", f"CoprProject {project.name} is not ready: see its conditions")
    return None


def copy_gate(observed: Observed, config: OperatorConfig) -> Gate | None:
    """What a forked build needs; None when its results may be taken over."""
    gate = project_gate(observed) or _repositories_gate(observed, observed.build.open_chroots, config)
    if gate is None and observed.backend_message:
        return Gate("BackendUnavailable", observed.backend_message, look_again=config.deadlines.backend_retry)
    return gate


def start_gate(observed: Observed, step: str, attempt: int, config: OperatorConfig) -> Gate | None:
    """All that the Job of this step and attempt needs; None when it may be made."""
    gate = project_gate(observed)
    if gate is not None:
        return gate
    chosen = observed.build.open_chroots if step == names.SOURCE_STEP else (step,)
    if step == names.SOURCE_STEP and observed.batch.blocked:
        return Gate("WaitingForBatch", observed.batch.message)
    return _chroots_gate(observed, step, chosen, config) or _previous_job_gate(observed, step, attempt, config)


def _chroots_gate(observed: Observed, step: str, chosen: tuple[str, ...], config: OperatorConfig) -> Gate | None:
    project = observed.project
    assert project is not None  # noqa: S101 (the project gate comes first)
    needed = list(chosen)
    source = observed.build.spec.source
    if step == names.SOURCE_STEP and source is not None:
        image_chroot = sources.image_chroot(source, project.spec)
        needed += [image_chroot] if image_chroot is not None else []
    for name in needed:
        chroot = observed.chroots.get(name)
        if chroot is None:
            return Gate("ChrootNotFound", f"no CoprChroot defines {name} in this installation")
        if not chroot.enabled:
            return Gate("ChrootDisabled", f"chroot {name} is disabled by the administrator")
    return _repositories_gate(observed, chosen, config)


def _repositories_gate(observed: Observed, chosen: tuple[str, ...], config: OperatorConfig) -> Gate | None:
    project = observed.project
    assert project is not None  # noqa: S101 (the project gate comes first)
    ready = {c.name for c in project.status.chroots if c.ready}
    missing = [name for name in chosen if name not in ready]
    if missing:
        return Gate("RepositoryNotReady", f"the repository of {', '.join(missing)} is not there yet")
    if not observed.directory_ready:
        if observed.backend_message:
            return Gate("BackendUnavailable", observed.backend_message, look_again=config.deadlines.backend_retry)
        return Gate(
            "RepositoryNotReady", "the directory's repositories are being made sure of", action=EnsureDirectory()
        )
    return None


def _seconds_until(time: datetime | None, now: datetime) -> int | None:
    return max(1, ceil((time - now).total_seconds())) if time is not None and time > now else None


def _previous_job_gate(observed: Observed, step: str, attempt: int, config: OperatorConfig) -> Gate | None:
    """Two tries of a step never run at once, as far as anything is heard of them, and the next one comes after a pause
    that doubles each time."""
    if attempt == 1:
        return None
    for number in range(1, attempt):
        job = observed.jobs.get(names.job_name(observed.build.uid, step, number))
        if job is not None and job.state == "active":
            lost = outcome.lost_at(observed.pods.get(job.uid), config.deadlines)
            if job.deleting and lost is not None and observed.now >= lost:
                continue  # it goes when its node comes back or is removed, which may be never
            message = f"Job {job.name} of the previous attempt is still going away"
            return Gate("WaitingForPreviousJob", message, look_again=_seconds_until(lost, observed.now))
    previous = observed.jobs.get(names.job_name(observed.build.uid, step, attempt - 1))
    if previous is None or previous.finished is None:
        return None
    due = previous.finished + timedelta(seconds=config.deadlines.retry_base * 2 ** (attempt - 2))
    if observed.now >= due:
        return None
    wait = max(1, round((due - observed.now).total_seconds()))
    reading = outcome.read_step(
        step, previous, observed.pods.get(previous.uid),
        timeout=observed.build.spec.timeout, deadlines=config.deadlines, now=observed.now,
    )  # fmt: skip
    why = f": {reading.fault.reason}: {reading.fault.message}"[:400] if reading.fault is not None else ""
    return Gate("Retrying", f"attempt {attempt} follows the failure of {previous.name}{why}", look_again=wait)
