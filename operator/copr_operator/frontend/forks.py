"""Which builds a fork of a project takes over: as in Copr (complex_logic.py), what dnf would install. Pure."""

from collections.abc import Collection, Sequence
from typing import Any

from copr_operator.api.sources import LinkSpec, SourceSpec
from copr_operator.core.observed import ProjectView
from copr_operator.frontend.present import package_url
from copr_operator.frontend.records import BuildRecord

DONE = ("succeeded", "forked")


Wanted = tuple[BuildRecord, list[str]]
"""A build, and the chroots of which its results are taken over."""


def newest(builds: Sequence[BuildRecord], dirname: str, chroots: Collection[str]) -> list[list[Wanted]]:
    """For each package and chroot the newest build in the directory that has results there; each build once, with those
    chroots. One list for each package, oldest first. `builds`: oldest first."""
    found: dict[tuple[str, str], int] = {}
    for record in builds:
        if record.dirname != dirname or record.package is None:
            continue
        for chroot, state in record.chroots:
            if state in DONE and chroot in chroots:
                found[record.package, chroot] = record.id
    taken: dict[int, list[str]] = {}
    for (_, chroot), build_id in found.items():
        taken.setdefault(build_id, []).append(chroot)
    wanted: dict[str, list[Wanted]] = {}
    for record in builds:
        if record.id in taken and record.package is not None:
            wanted.setdefault(record.package, []).append((record, sorted(taken[record.id])))
    return list(wanted.values())


def spec(
    record: BuildRecord, source: SourceSpec | None, chroots: list[str], target: ProjectView, submitter: str
) -> dict[str, Any]:
    """spec of the CoprBuild in the fork. `source` is the origin's, and is never fetched; where it is not known any more
    (a rerun whose original is gone) the SRPM is it."""
    if source is None:
        source = SourceSpec(type="link", link=LinkSpec(url=package_url(record.view)))
    source = source_for(target.spec.owner, record.owner, source)
    return {
        "owner": target.spec.owner,
        "project": target.spec.name,
        "submitter": submitter,
        "packageName": record.package,
        "chroots": chroots,
        "source": source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True),
        "forkedFrom": {"owner": record.owner, "projectDirname": record.dirname, "id": record.id},
    }


def source_for(owner: str, origin: str, source: SourceSpec) -> SourceSpec:
    """The source in a fork of `origin`'s project: somebody else may not clone with the origin's credentials."""
    if source.scm is None or owner == origin:
        return source
    return source.model_copy(update={"scm": source.scm.model_copy(update={"credentials_secret": None})})
