"""What others say of a package, as the status keeps it: within what the CRD admits. Pure.

A status that the API server refuses is never written: the build would neither go on nor be canceled. So all that comes
from a package by a pod's summary or an answer of the backend enters the status here.
"""

from collections.abc import Sequence

from pydantic import ValidationError

from copr_operator.api.build import PackageStatus, SourceStatus, SrpmStatus
from copr_operator.core import names
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView
from copr_operator.core.views import problems
from copr_operator.core.wire import ArtifactRef, Package, StepSummary

MAX_TAGS, MAX_TAG = 64, 32
"""How many architectures of one tag are kept, and their characters. They are for people: nothing is decided by what is
kept, so the rest may be left out (macros such as %{arm} and %{ix86} stand for many)."""
MAX_REASON = 64


def problem(package: Package | None, srpm: ArtifactRef | None, source_sha256: str | None = None) -> str:
    """Why this can't be kept; empty when it can."""
    if package is None or srpm is None:
        return "names no SRPM"
    try:
        PackageStatus(name=package.name, version=package.version)
        SrpmStatus(url=srpm.name, sha256=srpm.sha256)
        SourceStatus(state="succeeded", sha256=source_sha256)
    except ValidationError as error:
        return f"tells of an SRPM that can't be kept: {problems(error)}"
    return ""


def package_and_srpm(
    package: Package, srpm: ArtifactRef, build: BuildView, build_id: int, config: OperatorConfig
) -> dict[str, object]:
    """For a SourceStatus; `problem` has found none."""
    path = names.srpm_dir(build.spec.owner, build.dirname, build_id)
    return {
        "package": PackageStatus(name=package.name, version=package.version),
        "srpm": SrpmStatus(url=f"{config.results_url}/results/{path}/{srpm.name}", sha256=srpm.sha256),
    }


def arch_tags(summary: StepSummary) -> dict[str, object]:
    """For a SourceStatus."""
    return {
        "exclusive_arch": _shortened(summary.exclusive_arch),
        "exclude_arch": _shortened(summary.exclude_arch),
        "build_arch": _shortened(summary.build_arch),
    }


def _shortened(tags: Sequence[str]) -> list[str]:
    return [tag for tag in tags if len(tag) <= MAX_TAG][:MAX_TAGS]
