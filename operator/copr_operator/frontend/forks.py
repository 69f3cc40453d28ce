"""Which builds a fork of a project takes over: as in Copr (complex_logic.py), what dnf would install. Pure."""

from collections.abc import Collection, Sequence
from typing import Any

from copr_operator.core.observed import ProjectView
from copr_operator.frontend.records import BuildRecord

DONE = ("succeeded", "forked")


def newest(
    builds: Sequence[BuildRecord], dirname: str, chroots: Collection[str]
) -> list[tuple[BuildRecord, list[str]]]:
    """For each package and chroot the newest build in the directory that has results there; each build once, with those
    chroots, oldest first. `builds`: oldest first."""
    found: dict[tuple[str, str], int] = {}
    for record in builds:
        if record.dirname != dirname or record.package is None:
            continue
        for chroot, state in record.chroots:
            if state in DONE and chroot in chroots:
                found[record.package, chroot] = record.id
    wanted: dict[int, list[str]] = {}
    for (_, chroot), build_id in found.items():
        wanted.setdefault(build_id, []).append(chroot)
    return [(record, sorted(wanted[record.id])) for record in builds if record.id in wanted]


def spec(record: BuildRecord, chroots: list[str], target: ProjectView, submitter: str) -> dict[str, Any]:
    """spec of the CoprBuild in the fork. Its source is the origin's, and is never fetched."""
    source = record.view.spec.source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return {
        "owner": target.spec.owner,
        "project": target.spec.name,
        "submitter": submitter,
        "packageName": record.package,
        "chroots": chroots,
        "source": source,
        "forkedFrom": {"owner": record.owner, "projectDirname": record.dirname, "id": record.id},
    }
