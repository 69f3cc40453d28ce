"""A forked build: nothing runs, it has ended when the backend has taken over the results of another. Pure."""

from datetime import datetime

from copr_operator.api.build import BuildStatus, ChrootStatus, SourceStatus
from copr_operator.api.common import TERMINAL
from copr_operator.core import kept
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView, format_time
from copr_operator.core.wire import CopiedBuild


def taken_over(
    status: BuildStatus, copied: CopiedBuild, build: BuildView, config: OperatorConfig, now: datetime
) -> BuildStatus:
    """The status with what was taken over; a chroot in which the other build has no packages is skipped."""
    assert copied.package is not None and copied.srpm is not None  # noqa: S101, PT018 (core.plan has seen both)
    times = {"started_at": format_time(now), "ended_at": format_time(now)}
    source = (status.source or SourceStatus(state="pending")).model_copy(
        update={
            "state": "succeeded",
            **kept.package_and_srpm(copied.package, copied.srpm, build, status.id or 0, config),
            **times,
        }
    )
    found = {chroot.name: chroot.packages for chroot in copied.chroots}

    def with_end(chroot: ChrootStatus) -> ChrootStatus:
        if chroot.state in TERMINAL:
            return chroot
        if chroot.name in found:
            return chroot.model_copy(update={"state": "succeeded", "packages": found[chroot.name], **times})
        return chroot.model_copy(update={"state": "skipped", "ended_at": format_time(now)})

    chroots = [with_end(chroot) for chroot in status.chroots]
    return status.model_copy(update={"source": source, "chroots": chroots})
