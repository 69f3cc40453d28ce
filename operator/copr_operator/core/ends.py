"""Builds that need no more pods: what is left to do for one that has ended, or is being deleted. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from copr_operator.api.common import TERMINAL
from copr_operator.core import actions, names
from copr_operator.core.actions import Action
from copr_operator.core.config import OperatorConfig
from copr_operator.core.decision import Plan, Urgency, urgency
from copr_operator.core.observed import Observed
from copr_operator.core.status import conclude


def plan_finished(observed: Observed) -> Plan:
    """Terminal is final. A late cancel or a change of `results` is only acknowledged."""
    build = observed.build
    stops = tuple(leftovers(observed))
    if stops:
        return Plan(actions=stops)
    if build.status.observed_generation == build.generation:
        return Plan(forget=True)
    conditions = [c.model_copy(update={"observed_generation": build.generation}) for c in build.status.conditions]
    status = build.status.model_copy(update={"observed_generation": build.generation, "conditions": conditions})
    return Plan(status=status, urgency=Urgency.NOW, forget=True)


def plan_deletion(observed: Observed, config: OperatorConfig) -> Plan:
    """Stop the pods, take the packages out of the repositories, let go. A build that was never adopted has neither."""
    build = observed.build
    if not build.finalized:
        return Plan(forget=True)
    live = [job for job in observed.jobs.values() if job.state == "active"]
    stops = tuple(actions.DeleteJob(job.name, job.uid) for job in live if not job.deleting)
    if stops:
        return Plan(actions=stops)
    # Heard of by their own events when they are gone. A pod on a lost node may never be, so this is bounded: the
    # backend takes nothing more of a removed build, and Kubernetes' garbage collector has the Job.
    patience = (build.deleted_at or observed.now) + timedelta(seconds=config.deadlines.stopping)
    if live and observed.now < patience:
        return Plan(requeue_at=patience)
    if build.spec.results == "Delete" and build.status.id is not None and not observed.results_removed:
        if observed.backend_message:
            message = f"deletion waits for the backend: {observed.backend_message}"
            status = conclude(build.status, build, observed.now, "BackendUnavailable", message, ending=True)
            return Plan(
                status=status,
                urgency=urgency(build.status, status, important=False),
                requeue_at=observed.now + timedelta(seconds=config.deadlines.backend_retry),
            )
        return Plan(actions=(actions.RemoveResults(),))
    return Plan(actions=(actions.RemoveFinalizer(),), forget=True)


def leftovers(observed: Observed) -> Iterator[Action]:
    """Jobs that still run although the written status has done with them: ended by a deadline, or tried anew."""
    status = observed.build.status
    latched = {chroot.name: (chroot.state, chroot.attempt) for chroot in status.chroots}
    if status.source is not None:
        latched[names.SOURCE_STEP] = (status.source.state, status.source.attempt)
    for name, (state, attempt) in latched.items():
        for number in range(1, names.MAX_ATTEMPTS + 1):
            job = observed.jobs.get(names.job_name(observed.build.uid, name, number))
            done = number < attempt or state in TERMINAL
            if job is not None and done and observed.runs(job) and not job.deleting:
                yield actions.DeleteJob(job.name, job.uid)
