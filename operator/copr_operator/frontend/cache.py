"""What this replica knows of the cluster: builds, projects and chroots, indexed by how clients ask for them. No I/O.

Fed by the watches, and by what this replica has just written or read through. An object with a deletionTimestamp is
gone for the API (a project keeps its name until it is really gone), and one older than what is held changes nothing.
"""

import asyncio
import logging
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ValidationError

from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.sources import SourceSpec
from copr_operator.core import gates
from copr_operator.core.observed import ProjectView
from copr_operator.frontend import rights
from copr_operator.frontend.present_project import number as project_number
from copr_operator.frontend.records import (
    BuildRecord,
    PackageRecord,
    build_record,
    package_record,
    project_record,
)
from copr_operator.kube.versions import is_newer

logger = logging.getLogger(__name__)

T = TypeVar("T")
ProjectKey = tuple[str, str, str]
"""Namespace, owner and name."""
_TOMBSTONES = 10000


class Cache:
    def __init__(self, results_url: str) -> None:
        self._results_url = results_url
        self.builds: dict[int, BuildRecord] = {}
        self._by_uid: dict[str, int] = {}
        self._of_project: dict[ProjectKey, list[int]] = {}
        self._projects: dict[str, ProjectView] = {}
        self._by_name: dict[tuple[str, str], set[str]] = {}
        self._packages: dict[ProjectKey, dict[str, PackageRecord]] = {}
        self._package_by_uid: dict[str, PackageRecord] = {}
        self.chroots: dict[str, ChrootSpec] = {}
        """By Copr name; from the installation's namespace only."""
        self._chroot_objects: dict[str, str] = {}
        self._gone: dict[str, None] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    # -- builds ------------------------------------------------------------------------------------------------------

    def build_event(self, kind: str, obj: Mapping[str, Any]) -> None:
        """`kind`: type of a watch event; MODIFIED for what was read or written otherwise."""
        uid = obj["metadata"]["uid"]
        if self._ended(kind, obj):
            self._drop_build(uid)
        elif uid not in self._gone:
            record = _read(lambda: build_record(obj, self._results_url), obj)
            if record is not None:
                self._put_build(record)
        self._wake(uid)

    def _put_build(self, record: BuildRecord) -> None:
        held = self.builds.get(record.id)
        if held is not None and held.uid == record.uid and not is_newer(record.version, held.version):
            return
        if held is not None and held.uid != record.uid:
            # Two builds with one id: only by a hand that writes statuses. The first stays.
            logger.error("builds %s and %s both claim id %d", held.name, record.name, record.id)
            return
        before = self._by_uid.get(record.uid)
        if before is not None and before != record.id:
            self._drop_build(record.uid, forever=False)
        if held is None:
            insort(self._of_project.setdefault(_project_key(record), []), record.id)
        self.builds[record.id] = record
        self._by_uid[record.uid] = record.id

    def _drop_build(self, uid: str, *, forever: bool = True) -> None:
        if forever:
            self._remember_gone(uid)
        build_id = self._by_uid.pop(uid, None)
        if build_id is None:
            return
        record = self.builds.pop(build_id)
        key = _project_key(record)
        ids = self._of_project[key]
        del ids[bisect_left(ids, build_id)]
        if not ids:
            del self._of_project[key]

    def by_uid(self, uid: str) -> BuildRecord | None:
        build_id = self._by_uid.get(uid)
        return None if build_id is None else self.builds[build_id]

    def of_project(self, project: ProjectView) -> list[BuildRecord]:
        """All builds of a project, oldest first."""
        ids = self._of_project.get((project.namespace, project.spec.owner, project.spec.name), ())
        return [self.builds[build_id] for build_id in ids]

    def batch_runs(self, build: BuildRecord) -> bool:
        """Whether it has not ended, or another one of its batch has not."""
        place = (build.namespace, build.leader)
        return not build.finished or any(
            not other.finished and (other.namespace, other.leader) == place for other in self.builds.values()
        )

    def newest(self, project: ProjectView, offset: int, limit: int | None) -> list[BuildRecord]:
        """A page of a project's builds, newest first, at the cost of that page."""
        ids = self._of_project.get((project.namespace, project.spec.owner, project.spec.name), [])
        end = max(len(ids) - offset, 0)
        start = 0 if limit is None else max(end - limit, 0)
        return [self.builds[build_id] for build_id in reversed(ids[start:end])]

    def source_of(self, record: BuildRecord) -> SourceSpec | None:
        """The build's source; a rerun has that of the build it reruns. None when that one is gone."""
        view = record.view
        while view.spec.source is None:
            earlier = (self.builds[n] for n in self._of_project[_project_key(record)] if n < record.id)
            found = next((other for other in earlier if other.name == view.spec.rerun_of), None)
            if found is None:
                return None
            record, view = found, found.view
        return view.spec.source

    async def wait(self, uid: str, check: Callable[[BuildRecord], bool], timeout: float) -> BuildRecord | None:
        """The build once `check` of it is true; None after `timeout` seconds, or when it is deleted."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    record = self.by_uid(uid)
                    if record is not None and check(record):
                        return record
                    if uid in self._gone:
                        return None
                    changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.setdefault(uid, []).append(changed)
                    await changed
        except TimeoutError:
            return None
        finally:
            if not any(not waiter.done() for waiter in self._waiting.get(uid, ())):
                self._waiting.pop(uid, None)

    def _wake(self, uid: str) -> None:
        for waiter in self._waiting.pop(uid, ()):
            if not waiter.done():
                waiter.set_result(None)

    # -- projects ----------------------------------------------------------------------------------------------------

    def project_event(self, kind: str, obj: Mapping[str, Any]) -> None:
        uid = obj["metadata"]["uid"]
        held = self._projects.get(uid)
        if kind == "DELETED":
            self._remember_gone(uid)
            if held is not None:
                del self._projects[uid]
                self._by_name[held.spec.owner, held.spec.name].discard(uid)
        elif uid not in self._gone:
            view = _read(lambda: project_record(obj), obj)
            if view is None:
                if self._ended(kind, obj):
                    self.project_leaves(uid)
                return
            if held is not None:
                if not is_newer(view.resource_version, held.resource_version):
                    return
                view = replace(view, deleting=view.deleting or held.deleting)
            self._projects[uid] = view
            self._by_name.setdefault((view.spec.owner, view.spec.name), set()).add(uid)

    def project_leaves(self, uid: str) -> None:
        """Its deletion was accepted."""
        if uid in self._projects:
            self._projects[uid] = replace(self._projects[uid], deleting=True)

    def project(self, owner: str, name: str) -> ProjectView | None:
        """Whoever holds the name, else the oldest that wants it."""
        return _shown([self._projects[uid] for uid in self._by_name.get((owner, name), ())])

    def project_of(self, build: BuildRecord) -> ProjectView | None:
        """The project of the build's own namespace; a namesake elsewhere has no say in it."""
        found = [self._projects[uid] for uid in self._by_name.get((build.owner, build.project), ())]
        return _shown([view for view in found if view.namespace == build.namespace])

    def project_by_number(self, number: int) -> ProjectView | None:
        """By the `id` that the API shows."""
        present = (view for view in self._projects.values() if not view.deleting)
        return next((view for view in present if project_number(view.uid) == number), None)

    def projects(self) -> list[ProjectView]:
        """One for each (owner, name)."""
        return [view for owner, name in list(self._by_name) if (view := self.project(owner, name)) is not None]

    # -- packages ----------------------------------------------------------------------------------------------------

    def package_event(self, kind: str, obj: Mapping[str, Any]) -> None:
        uid = obj["metadata"]["uid"]
        held = self._package_by_uid.get(uid)
        if self._ended(kind, obj):
            self._remember_gone(uid)
            if held is not None:
                del self._package_by_uid[uid]
                del self._packages[held.namespace, held.spec.owner, held.spec.project][uid]
        elif uid not in self._gone and (held is None or is_newer(obj["metadata"]["resourceVersion"], held.version)):
            record = _read(lambda: package_record(obj), obj)
            if record is not None:
                key = (record.namespace, record.spec.owner, record.spec.project)
                self._packages.setdefault(key, {})[uid] = self._package_by_uid[uid] = record

    def packages_of(self, project: ProjectView) -> list[PackageRecord]:
        """CoprPackages of a project. Of two with the same name the one whose object's name comes first is right."""
        key = (project.namespace, project.spec.owner, project.spec.name)
        return sorted(self._packages.get(key, {}).values(), key=lambda record: record.name, reverse=True)

    # -- chroots -----------------------------------------------------------------------------------------------------

    def chroot_event(self, kind: str, obj: Mapping[str, Any]) -> None:
        """Of the installation's namespace; others define nothing."""
        uid = obj["metadata"]["uid"]
        old = self._chroot_objects.pop(uid, None)
        if old is not None:
            self.chroots.pop(old, None)
        if not self._ended(kind, obj):
            spec = _read(lambda: ChrootSpec.model_validate(obj["spec"]), obj)
            if spec is not None:
                self._chroot_objects[uid] = spec.name
                self.chroots[spec.name] = spec

    def active_chroots(self) -> list[str]:
        return sorted(name for name, spec in self.chroots.items() if spec.enabled)

    # -- what a full LIST says -----------------------------------------------------------------------------------------

    def uids(self, plural: str, namespace: str | None) -> set[str]:
        """Held objects of a kind in a namespace (None: anywhere). Those that a later LIST does not have are gone."""
        if plural == "coprchroots":
            return set(self._chroot_objects)
        held: Iterable[BuildRecord | ProjectView | PackageRecord] = self._projects.values()
        if plural == "coprbuilds":
            held = self.builds.values()
        elif plural == "coprpackages":
            held = self._package_by_uid.values()
        return {item.uid for item in held if namespace in (None, item.namespace)}

    def _ended(self, kind: str, obj: Mapping[str, Any]) -> bool:
        return kind == "DELETED" or "deletionTimestamp" in obj["metadata"]

    def _remember_gone(self, uid: str) -> None:
        """A late event must not bring back what is gone."""
        self._gone[uid] = None
        while len(self._gone) > _TOMBSTONES:
            del self._gone[next(iter(self._gone))]


def _shown(namesakes: Iterable[ProjectView]) -> ProjectView | None:
    """Of projects of one name the one that the API shows.

    A holder that is being deleted keeps the name until its results are gone, because whoever may read the project of
    that name may read these: a rival's project would open what was private.
    """
    views = list(namesakes)
    leaving = [view for view in views if view.deleting and gates.holds_name(view)]
    present = [
        view
        for view in views
        if not view.deleting and (gates.holds_name(view) or all(_succeeds(view, old) for old in leaving))
    ]
    return min(present, key=lambda view: (not gates.holds_name(view), view.created, view.uid), default=None)


def _succeeds(new: ProjectView, old: ProjectView) -> bool:
    """Whether it may be shown while the old one leaves: made again where it was, for no others than could read it."""
    return new.namespace == old.namespace and rights.no_more_readers(new.spec, old.spec)


def _project_key(record: BuildRecord) -> ProjectKey:
    return record.namespace, record.owner, record.project


def _read(read: Callable[[], T], obj: Mapping[str, Any]) -> T | None:
    try:
        return read()
    except (ValidationError, KeyError) as error:
        logger.warning("%s can't be read: %s", obj["metadata"].get("name"), error)
        return None
