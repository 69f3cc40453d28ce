"""`spec.rerunOf`: the failed chroots of another build are built again, from the very SRPM they failed with. Pure.

The backend makes that SRPM the rerun's own, by its checksum (no bytes are copied where that can be). So a rerun has no
source Job, and everything after it is as for any build: the other one may be deleted, and a rerun may be rerun.
"""

from copr_operator.api.build import BuildStatus, SourceStatus, SrpmStatus
from copr_operator.api.common import TERMINAL
from copr_operator.core import names
from copr_operator.core.actions import TakeSrpm
from copr_operator.core.config import OperatorConfig
from copr_operator.core.gates import Gate
from copr_operator.core.observed import BuildView, Observed, format_time
from copr_operator.core.selection import Selection, select


def original_gate(observed: Observed) -> Gate | None:
    """The other build must be there and have ended. One that is being deleted counts as gone: so do its results."""
    name, original = observed.build.spec.rerun_of, observed.original
    if original is None or original.deleting:
        return Gate("OriginalNotFound", f"there is no CoprBuild {name} in namespace {observed.build.namespace}")
    if original.status.state not in TERMINAL:
        return Gate("WaitingForOriginal", f"CoprBuild {name} has not ended")
    return None


def take_gate(observed: Observed, config: OperatorConfig) -> Gate:
    """The backend has to make the SRPM this build's own."""
    if observed.backend_message:
        return Gate("BackendUnavailable", observed.backend_message, look_again=config.deadlines.backend_retry)
    return Gate("Importing", "the SRPM is being taken over", action=TakeSrpm())


def problem(build: BuildView, original: BuildView) -> Selection | None:
    """What is wrong with an ended build as the one to rerun, whatever is waited for."""
    mine, other = (f"{b.spec.owner}/{b.spec.project}/{b.dirname}" for b in (build, original))
    if mine != other:
        return Selection((), "OriginalOfOtherProject", f"CoprBuild {original.name} is of {other}, this one of {mine}")
    source = original.status.source
    if source is None or source.srpm is None or source.package is None:
        return Selection((), "OriginalWithoutSRPM", f"CoprBuild {original.name} ended without an SRPM")
    if not _failed(original):
        message = f"CoprBuild {original.name} is {original.status.state}: no chroot of it failed"
        return Selection((), "NothingToRerun", message)
    return None


def choose(build: BuildView, original: BuildView, enabled: list[str]) -> Selection:
    """The failed chroots, as far as `chroots` and `excludeChroots` ask for them. `enabled`: the project's chroots."""
    wrong = problem(build, original)
    if wrong is not None:
        return wrong
    failed = _failed(original)
    for pattern in build.spec.chroots or ():
        if select([pattern], None, failed).reason:
            text = f"{pattern!r} matches none of the chroots that failed in CoprBuild {original.name}"
            return Selection(reason="NothingToRerun", message=f"{text}: {', '.join(failed)}")
    chosen = select(build.spec.chroots, build.spec.exclude_chroots, failed)
    left = [name for name in chosen.chroots if name not in enabled]
    if left:
        message = f"{', '.join(left)}: failed, but no longer of the project; name the chroots to rerun in spec.chroots"
        return Selection(reason="ChrootNotInProject", message=message)
    return chosen


def taken_over(status: BuildStatus, observed: Observed, original: BuildView, config: OperatorConfig) -> BuildStatus:
    """The source step has succeeded: package, SRPM and arch tags are the other build's, the URL is this one's own."""
    build, source = observed.build, original.status.source
    assert source is not None and source.srpm is not None and source.package is not None  # noqa: S101, PT018 (`problem`)
    path = names.srpm_dir(build.spec.owner, build.dirname, status.id or 0)
    file = source.srpm.url.rpartition("/")[2]
    time = format_time(observed.now)
    new = SourceStatus(
        state="succeeded",
        started_at=time,
        ended_at=time,
        package=source.package,
        srpm=SrpmStatus(url=f"{config.results_url}/results/{path}/{file}", sha256=source.srpm.sha256),
        sha256=source.sha256,
        exclusive_arch=source.exclusive_arch,
        exclude_arch=source.exclude_arch,
        build_arch=source.build_arch,
    )
    return status.model_copy(update={"source": new})


def _failed(original: BuildView) -> list[str]:
    return [chroot.name for chroot in original.status.chroots if chroot.state == "failed"]
