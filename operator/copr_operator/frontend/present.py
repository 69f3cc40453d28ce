"""CoprBuild -> the objects of Copr's API v3 (contract 3). Pure; every key is always there, null when unknown."""

from datetime import datetime
from typing import Any

from copr_operator.api.build import ChrootStatus
from copr_operator.api.common import TERMINAL
from copr_operator.api.sources import SourceSpec
from copr_operator.core import names
from copr_operator.core.config import SourceSettings
from copr_operator.core.observed import BuildView, parse_time
from copr_operator.core.sources import api_source

Json = dict[str, Any]


def epoch(time: str | datetime | None) -> int | None:
    """RFC 3339 -> Unix seconds."""
    moment = parse_time(time) if isinstance(time, str) else time
    return None if moment is None else int(moment.timestamp())


def state(build: BuildView) -> str:
    """Overall state. The wish to cancel counts at once, as in Copr; a build that has ended stays what it was."""
    current = build.status.state
    if current in TERMINAL:
        return "forked" if _forked(build, current) else current or "failed"
    return "canceled" if build.spec.cancel else current or "pending"


def _forked(build: BuildView, state: str | None) -> bool:
    """Copr's word for what succeeded elsewhere."""
    return state == "succeeded" and build.spec.forked_from is not None


def finished(build: BuildView) -> bool:
    """Whether nothing of the build runs any more."""
    return build.status.state in TERMINAL


def build_json(build: BuildView, results_url: str) -> Json:
    """The Build object (3.1)."""
    spec, status = build.spec, build.status
    package = status.source.package if status.source is not None else None
    return {
        "id": status.id,
        "state": state(build),
        "ownername": spec.owner,
        "projectname": spec.project,
        "project_dirname": build.dirname,
        "repo_url": repo_url(build, results_url),
        "source_package": {
            "name": package.name if package is not None else spec.package_name,
            "version": package.version if package is not None else None,
            "url": package_url(build),
        },
        "submitted_on": epoch(status.submitted_at or build.created),
        "started_on": epoch(status.started_at),
        "ended_on": epoch(status.ended_at),
        "submitter": spec.submitter,
        "chroots": _chroots(build),
        "is_background": spec.background,
    }


def repo_url(build: BuildView, results_url: str) -> str:
    """Always the main directory's, also for a build in `demo:pr:1` (3.1)."""
    return build.status.repo_url or f"{results_url}/results/{build.spec.owner}/{build.spec.project}"


def package_url(build: BuildView) -> str | None:
    """The SRPM; before it is there, the URL that was given if it is one of an SRPM."""
    source = build.status.source
    if source is not None and source.srpm is not None:
        return source.srpm.url
    link = build.spec.source.link if build.spec.source is not None else None
    return link.url if link is not None and link.url.endswith(".src.rpm") else None


def _chroots(build: BuildView) -> list[str]:
    """As in Copr: those that were asked for, and all of the project only when the SRPM is there (10, point 10)."""
    chosen = [chroot.name for chroot in build.status.chroots]
    source = build.status.source
    if source is not None and source.state == "succeeded":
        return chosen
    return chosen if build.spec.chroots or build.spec.exclude_chroots else []


def source_chroot_json(build: BuildView, results_url: str) -> Json:
    """3.2. Copr answers 500 before there is a result directory; here its URL is null."""
    source = build.status.source
    if source is None:
        return {"state": "canceled" if build.spec.cancel else "pending", "result_url": None}
    current = "canceled" if build.spec.cancel and source.state not in TERMINAL else source.state
    url = None
    if source.started_at is not None and build.status.id is not None:
        url = f"{results_url}/results/{names.srpm_dir(build.spec.owner, build.dirname, build.status.id)}"
    return {"state": current, "result_url": url}


def source_build_config_json(build: BuildView, source: SourceSpec | None, sources: SourceSettings) -> Json:
    """3.3. `source`: the build's own, or that of the build it reruns; None when that is gone, and the SRPM remains."""
    spec = build.spec
    kind, values = api_source(source, sources) if source is not None else ("link", {"url": package_url(build)})
    return {
        "source_type": kind,
        "source_dict": values,
        "memory_limit": spec.memory_limit_mb,
        "timeout": spec.timeout,
        "is_background": spec.background,
    }


def build_chroot_json(build: BuildView, chroot: ChrootStatus, results_url: str) -> Json:
    """3.4."""
    return {
        "name": chroot.name,
        "state": chroot_state(build, chroot),
        "started_on": epoch(chroot.started_at),
        "ended_on": epoch(chroot.ended_at),
        "result_url": result_url(build, chroot, results_url),
    }


def chroot_state(build: BuildView, chroot: ChrootStatus) -> str:
    """A chroot that waits for the SRPM is `waiting` in the API (5.1)."""
    if chroot.state in TERMINAL:
        return "forked" if _forked(build, chroot.state) else chroot.state
    if build.spec.cancel:
        return "canceled"
    source = build.status.source
    if chroot.state == "pending" and (source is None or source.state != "succeeded"):
        return "waiting"
    return chroot.state


def result_url(build: BuildView, chroot: ChrootStatus, results_url: str) -> str | None:
    """With a slash at the end; null until a pod has been made for the chroot."""
    directory = result_dir(build, chroot)
    return None if directory is None or chroot.started_at is None else f"{results_url}/results/{directory}/"


def result_dir(build: BuildView, chroot: ChrootStatus) -> str | None:
    """Below the results root; None before the package is known."""
    source = build.status.source
    if source is None or source.package is None or build.status.id is None:
        return None
    return names.result_dir(build.spec.owner, build.dirname, chroot.name, build.status.id, source.package.name)


STATUS_NUMBERS = {
    "failed": 0, "succeeded": 1, "canceled": 2, "running": 3, "pending": 4, "skipped": 5, "starting": 6,
    "importing": 7, "forked": 8, "waiting": 9,
}  # fmt: skip
"""Copr's StatusEnum, as /monitor shows it."""
