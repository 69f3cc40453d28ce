"""Chroots that the project has dropped since the build chose them. Pure."""

from dataclasses import replace

from copr_operator.api.build import ChrootStatus
from copr_operator.core import gates, names
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import Observed
from copr_operator.core.outcome import Fault
from copr_operator.core.status import chroots_failed


def without_dropped(observed: Observed, config: OperatorConfig) -> Observed:
    """The same, with those chroots of the build failed that have not begun and are not the project's any more.

    Nobody makes their repositories, so they would wait for ever, and the others with them. What has a Job goes on: its
    repository is still there. The very same object when there is nothing to fail.
    """
    build, project = observed.build, observed.project
    if build.spec.cancel or build.unread or project is None or gates.project_gate(observed) is not None:
        return observed
    enabled = {chroot.name for chroot in project.spec.chroots}
    left = {c.name for c in build.status.chroots if c.name not in enabled and _is_to_begin(observed, c)}
    if not left:
        return observed
    where = f"{build.spec.owner}/{build.spec.project}"
    faults = {
        name: Fault("ChrootNotInProject", f"{name} was taken out of {where} before it was begun", "build")
        for name in left
    }
    status = chroots_failed(build.status, faults, build, config, observed.now)
    return replace(observed, build=replace(build, status=status))


def _is_to_begin(observed: Observed, chroot: ChrootStatus) -> bool:
    """Whether it waits for the Job of its first, or its next, attempt."""
    attempts = range(chroot.attempt, names.MAX_ATTEMPTS + 1)
    jobs = (names.job_name(observed.build.uid, chroot.name, attempt) for attempt in attempts)
    return chroot.state == "pending" and not any(job in observed.jobs for job in jobs)
