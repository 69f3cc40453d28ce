"""What the controller knows of the cluster: small records, indexed by how they are asked for.

Three sources write it: watch events, the controller's own writes (`assume_*`: the watch may show them later, a plan
must not), and a full LIST that drops what the watch missed. An event that is older than what is held changes nothing.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.common import TERMINAL
from copr_operator.controller.queue import Turn
from copr_operator.controller.table import Table, V
from copr_operator.core.batches import is_linked, known_links, leader_is_known
from copr_operator.core.observed import BuildView, ChrootView, JobView, PackageView, PodView, ProjectView
from copr_operator.core.package import is_of


class Key(NamedTuple):
    """What the queue works on."""

    kind: str
    """`build`, `project` or `package`."""
    namespace: str
    name: str


def _build_index(build: BuildView) -> Iterator[Hashable]:
    yield "project", build.namespace, build.spec.owner, build.spec.project
    if is_linked(build):
        yield "batched", build.namespace
        if build.spec.with_build is not None:
            yield "joined", build.namespace, known_links(build).leader
            if build.status.batch is None:
                yield "joining", build.namespace
    for name in _waits_for(build):
        yield "waits", build.namespace, name
    for chroot in _chroots(build):
        yield "chroot", chroot
    if build.package is not None:
        yield _package_key(build)
    if build.package_uid:
        yield _made_from(build, build.package_uid)


def _chroots(build: BuildView) -> set[str]:
    """Names of those in whose images it has something run."""
    names = {chroot.name for chroot in build.status.chroots}
    custom = build.spec.source.custom if build.spec.source is not None else None
    return names | {custom.chroot} if custom is not None and custom.chroot is not None else names


def _waits_for(build: BuildView) -> set[str]:
    """Names of builds, or of what batches began with, whose coming or end is news for it."""
    names = [build.spec.rerun_of]
    if is_linked(build):
        links = known_links(build)
        names.append(links.missing or links.after)
    return {name for name in names if name is not None}


def _package_key(build: BuildView) -> Hashable:
    return "package", build.namespace, build.spec.owner, build.spec.project, build.package


def _made_from(part: BuildView | PackageView, package_uid: str) -> Hashable:
    """Anyone may name the uid of a package elsewhere: only what is of the same project counts."""
    return "made from", part.namespace, part.spec.owner, part.spec.project, package_uid


def _name_of(package: PackageView) -> Hashable:
    """By what its builds are found, too."""
    return "package", package.namespace, package.spec.owner, package.spec.project, package.spec.name


def _package_index(package: PackageView) -> Iterator[Hashable]:
    yield _name_of(package)
    yield "project", package.namespace, package.spec.owner, package.spec.project


def _project_index(project: ProjectView) -> Iterator[Hashable]:
    yield "name", project.spec.owner, project.spec.name
    if project.spec.source_chroot is not None:
        yield "source chroot", project.spec.source_chroot


class Store:
    """All tables. `wake` is called with the key of whatever an event concerns."""

    def __init__(self, wake: Callable[[Key], None], installation: str) -> None:
        self._wake = wake
        self._installation = installation
        self.builds: Table[BuildView] = Table(_build_index)
        """Builds that have not ended; ended ones leave."""
        self.links = 0
        """Grows with each build that comes and may wait for another, or be waited for."""
        self.projects: Table[ProjectView] = Table(_project_index)
        self.packages: Table[PackageView] = Table(_package_index)
        # A Job counts in its own namespace only: anyone may name the uid of a build elsewhere.
        self.jobs: Table[JobView] = Table(lambda job: [(job.namespace, job.owner[1])])
        self.pods: Table[PodView] = Table(lambda pod: [(pod.namespace, pod.job_uid)])
        self.chroot_objects: Table[ChrootView] = Table(lambda chroot: [chroot.spec.name])
        """Of the installation's namespace; others define nothing."""
        self.chroots: Mapping[str, ChrootSpec] = {}
        """What each Copr name means: the oldest CoprChroot of that name. Replaced, never changed."""

    # -- questions -------------------------------------------------------------------------------------------------

    def jobs_of(self, build: BuildView) -> dict[str, JobView]:
        return {job.name: job for job in self.jobs.indexed((build.namespace, build.uid))}

    def pods_of(self, jobs: Iterable[JobView]) -> dict[str, PodView]:
        """By Job uid the pod that tells of each: one that has succeeded, else the newest.

        A Job controller that has lost an answer makes a pod again, and takes away whichever it likes.
        """
        telling = {}
        for job in jobs:
            pods = self.pods.indexed((job.namespace, job.uid))
            if pods:
                telling[job.uid] = max(pods, key=lambda pod: (pod.succeeded, pod.created, pod.name))
        return telling

    def project_of(self, part: BuildView | PackageView) -> ProjectView | None:
        """The CoprProject of the same namespace with its owner and project name; whoever holds the name first."""
        named = self.projects.indexed(("name", part.spec.owner, part.spec.project))
        same = (project for project in named if project.namespace == part.namespace)
        return min(same, key=lambda p: (not _holds(p), p.created, p.uid), default=None)

    def rivals(self, project: ProjectView) -> tuple[ProjectView, ...]:
        """Other CoprProjects of the same owner and name."""
        named = self.projects.indexed(("name", project.spec.owner, project.spec.name))
        return tuple(other for other in named if other.uid != project.uid)

    def builds_of(self, project: ProjectView) -> list[BuildView]:
        return list(self.builds.indexed(("project", project.namespace, project.spec.owner, project.spec.name)))

    def turn(self, key: Key) -> Turn:
        """Projects take turns. A background build that has begun nothing yet comes last; one that runs, or is to be
        canceled or deleted, does not."""
        build = self.builds.get(key.namespace, key.name) if key.kind == "build" else None
        if build is None:
            return Turn(group=(key.kind, key.namespace))
        source = build.status.source
        begun = source is not None and source.state != "pending"
        last = build.spec.background and not (begun or build.spec.cancel or build.deleting)
        return Turn(last, (key.namespace, build.spec.owner, build.spec.project))

    def joined(self, namespace: str, name: str) -> Collection[BuildView]:
        """Those whose `withBuild` leads to the build of this name, as far as that is known."""
        return self.builds.indexed(("joined", namespace, name))

    def joining(self, namespace: str) -> Collection[BuildView]:
        """Those with `withBuild` in whose status nothing of it is found yet."""
        return self.builds.indexed(("joining", namespace))

    def naming(self, build: BuildView) -> Collection[BuildView]:
        """Those that may wait for its name to be there."""
        return self.builds.indexed(("waits", build.namespace, build.name))

    def waiting_for(self, build: BuildView) -> list[BuildView]:
        """Builds that may wait for the end of this one: they name it, or come after its batch."""
        found = {other.uid: other for other in self.naming(build)}
        if build.spec.with_build is not None:
            links = known_links(build)
            unknown = build.status.batch is None or not leader_is_known(links)
            of_batch = ("batched", build.namespace) if unknown else ("waits", build.namespace, links.leader)
            found |= {other.uid: other for other in self.builds.indexed(of_batch)}
        return list(found.values())

    def packages_of(self, build: BuildView) -> Collection[PackageView]:
        """The CoprPackages that a build is one of: by its name, and the one it was made from."""
        found = list(self.packages.indexed(_package_key(build))) if build.package is not None else []
        made_from = self.packages.find(build.package_uid)
        if made_from is None or made_from in found or not is_of(build, made_from):
            return found
        return [*found, made_from]

    def builds_of_package(self, package: PackageView) -> list[BuildView]:
        """Those that have not ended."""
        keys = (_name_of(package), _made_from(package, package.uid))
        return list({build.uid: build for key in keys for build in self.builds.indexed(key)}.values())

    def package_rivals(self, package: PackageView) -> tuple[PackageView, ...]:
        """Other CoprPackages of the same project and name."""
        return tuple(other for other in self.packages.indexed(_name_of(package)) if other.uid != package.uid)

    # -- events ----------------------------------------------------------------------------------------------------

    def build_event(self, kind: str | None, obj: Mapping[str, Any], view: BuildView | None) -> None:
        """`view` is None when the spec can't be read. A build that ends leaves the filtered watch as DELETED."""
        meta = obj["metadata"]
        key = Key("build", meta["namespace"], meta["name"])
        held = self.builds.find(meta["uid"])
        if kind == "DELETED" or view is None or view.status.state in TERMINAL:
            if self.drop_build(meta["uid"], meta.get("resourceVersion", "")) is not None or kind != "DELETED":
                self._wake(key)
            self._retire_jobs_of(meta["namespace"], meta["uid"])
            return
        if self._put_build(held, view):
            self._wake(key)

    def _put_build(self, held: BuildView | None, view: BuildView) -> bool:
        if not self.builds.put(view):
            return False
        self._number_known(held, view)
        if held is None and (is_linked(view) or view.spec.rerun_of is not None or self.naming(view)):
            self.links += 1
        return True

    def drop_build(self, uid: str, version: str) -> BuildView | None:
        """What was held of a build that has ended or is gone; whom that concerns is woken."""
        held = self.builds.drop(uid, version)
        if held is not None:
            self.wake_packages(held)
            self._wake_builds(self.waiting_for(held))
        return held

    def _number_known(self, before: BuildView | None, build: BuildView) -> None:
        """A package hears of its builds when they have got their number, and when they are over."""
        if build.status.id is not None and (before is None or before.status.id is None):
            self.wake_packages(build)

    def wake_packages(self, build: BuildView) -> None:
        for package in self.packages_of(build):
            self._wake(Key("package", package.namespace, package.name))

    def package_event(self, kind: str | None, view: PackageView) -> None:
        if not _apply(self.packages, kind, view):
            return
        for one in (view, *self.package_rivals(view)):
            self._wake(Key("package", one.namespace, one.name))

    def project_event(self, kind: str | None, view: ProjectView) -> None:
        if not _apply(self.projects, kind, view):
            return
        self._wake(Key("project", view.namespace, view.name))
        for rival in self.rivals(view):
            self._wake(Key("project", rival.namespace, rival.name))
        self._wake_builds(self.builds_of(view))
        self._wake_packages_of(view)

    def _wake_packages_of(self, project: ProjectView) -> None:
        """It says whether there may be builds too many."""
        for package in self.packages.indexed(("project", project.namespace, project.spec.owner, project.spec.name)):
            self._wake(Key("package", package.namespace, package.name))

    def chroot_event(self, kind: str | None, view: ChrootView) -> None:
        if view.namespace != self._installation:
            return
        held = self.chroot_objects.get(view.namespace, view.name)
        if _apply(self.chroot_objects, kind, view):
            for name in {view.spec.name, *([held.spec.name] if held is not None else [])}:
                self._define(name)

    def _define(self, name: str) -> None:
        """Finds out anew what a chroot's name means, and wakes the builds that use it."""
        before = self.chroots.get(name)
        objects = self.chroot_objects.indexed(name)
        oldest = min(objects, key=lambda chroot: (chroot.created, chroot.uid), default=None)
        if oldest is not None:
            self.chroots = {**self.chroots, name: oldest.spec}
        else:
            self.chroots = {other: spec for other, spec in self.chroots.items() if other != name}
        if self.chroots.get(name) == before:
            return
        self._wake_builds(self.builds.indexed(("chroot", name)))
        for project in self.projects.indexed(("source chroot", name)):
            self._wake_builds(self.builds_of(project))

    def _wake_builds(self, builds: Iterable[BuildView]) -> None:
        for build in builds:
            self._wake(Key("build", build.namespace, build.name))

    def job_event(self, kind: str | None, view: JobView) -> None:
        held = self.jobs.get(view.namespace, view.name)
        if not _apply(self.jobs, kind, view):
            return
        if view.state != "active" and self.builds.has_left(view.owner[1]):
            self._retire(view)
            if held is None or not view.deleting:
                return
            # It was stopped, and is over now: a build that is being deleted waits for that.
        if kind != "DELETED" and _same(held, view):
            return
        # The end of one whose name another has taken was not seen, and never will be.
        for owner in {job.owner[0] for job in (held, view) if job is not None and job.owner[0]}:
            self._wake(Key("build", view.namespace, owner))

    def pod_event(self, kind: str | None, view: PodView) -> None:
        held = self.pods.find(view.uid)
        if not _apply(self.pods, kind, view):
            return
        if self.jobs.has_left(view.job_uid):
            self.pods.drop(view.uid, view.resource_version)
            return
        changed = kind == "DELETED" or not _same(held, view)
        job = self.jobs.find(view.job_uid)
        if changed and job is not None and job.namespace == view.namespace and job.owner[0]:
            self._wake(Key("build", job.namespace, job.owner[0]))

    # -- what nobody needs any more ----------------------------------------------------------------------------------

    def retire(self, jobs: Iterable[str]) -> None:
        """Of these Jobs, by uid, those that have ended and whose build has: to be called when all builds are known."""
        for job in filter(None, map(self.jobs.find, jobs)):
            if job.state != "active" and self.builds.find(job.owner[1]) is None:
                self._retire(job)

    def _retire_jobs_of(self, namespace: str, build_uid: str) -> None:
        """An ended build's Jobs stay in the cluster for an hour. Those that still run are to be stopped: they stay."""
        for job in list(self.jobs.indexed((namespace, build_uid))):
            if job.state != "active":
                self._retire(job)

    def _retire(self, job: JobView) -> None:
        self.jobs.drop(job.uid, job.resource_version)
        for pod in list(self.pods.indexed((job.namespace, job.uid))):
            self.pods.drop(pod.uid, pod.resource_version)

    # -- the controller's own writes ---------------------------------------------------------------------------------

    def assume_job(self, view: JobView) -> None:
        """A Job we have just made, found or deleted: plans see it before the watch does. Also one that was not needed
        any more, if somebody has set its build's status back."""
        self.jobs.read(view)

    def assume_build(self, view: BuildView) -> None:
        """A build we have just written. One that has ended is dropped, also when it is being deleted: history costs
        nothing, and the watch, which shows no ended builds, would never tell that it has changed."""
        if view.status.state in TERMINAL:
            self.builds.drop(view.uid, view.resource_version)
            self._retire_jobs_of(view.namespace, view.uid)
            return
        self._put_build(self.builds.find(view.uid), view)

    def made_build(self, view: BuildView) -> None:
        """A build we have just made. It has to be looked at: when the watch brings it, it is no news any more."""
        self.assume_build(view)
        self._wake(Key("build", view.namespace, view.name))

    def assume_project(self, view: ProjectView) -> None:
        known = self.projects.find(view.uid) is not None
        if self.projects.put(view) and not known:
            self._wake_packages_of(view)

    def assume_package(self, view: PackageView) -> None:
        self.packages.put(view)


def _apply(table: Table[V], kind: str | None, view: V) -> bool:
    """Whether the event was news."""
    if kind == "DELETED":
        return table.drop(view.uid, view.resource_version) is not None
    return table.put(view)


def _same(held: JobView | PodView | None, view: JobView | PodView) -> bool:
    """Whether a new version says nothing new: most are of fields that no plan reads."""
    return held is not None and replace(view, resource_version=held.resource_version) == held


def _holds(project: ProjectView) -> bool:
    return any(c.type == "NameHeld" and c.status == "True" for c in project.status.conditions)
