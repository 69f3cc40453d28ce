"""What the controller knows of the cluster: small records, indexed by how they are asked for.

Three sources write it: watch events, the controller's own writes (`assume_*`: the watch may show them later, a plan
must not), and a full LIST that drops what the watch missed. An event that is older than what is held changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic import ValidationError

from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.common import TERMINAL
from copr_operator.core.observed import BuildView, JobView, PodView, ProjectView


class Key(NamedTuple):
    """What the queue works on."""

    kind: str
    """`build` or `project`."""
    namespace: str
    name: str


class _Versioned(Protocol):
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


V = TypeVar("V", bound=_Versioned)


REMEMBERED = 2000
"""Objects that have left a table: more than can end between a page's answer and the moment it is read."""


def _newer(version: str, held: str) -> bool:
    """Resource versions of one resource type grow (KEP-5504); anything else than numbers counts as newer."""
    return not (version.isdigit() and held.isdigit()) or int(version) > int(held)


class Table(Generic[V]):
    """Objects of one kind by (namespace, name), with the newest version of each.

    What has left is remembered for a while: a page of a LIST may show it although the watch, or our own write, has
    told its end since the page was read.
    """

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], V] = {}
        self._left: dict[str, str] = {}
        """By uid: the version that had left; the oldest first, at most REMEMBERED."""

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, namespace: str, name: str) -> V | None:
        return self._by_name.get((namespace, name))

    def values(self) -> Iterable[V]:
        return self._by_name.values()

    def put(self, namespace: str, name: str, view: V) -> bool:
        """True when the view is news."""
        held = self._by_name.get((namespace, name))
        if held is not None and not _newer(view.resource_version, held.resource_version):
            return False  # also when it is of an earlier object of that name
        left = self._left.get(view.uid)
        if left is not None and not _newer(view.resource_version, left):
            return False
        self._by_name[namespace, name] = view
        return True

    def drop(self, namespace: str, name: str, uid: str, version: str) -> V | None:
        """What was held, if it was this very object and not a later one of the same name. `version` is that of the
        object when it left."""
        self._left.pop(uid, None)
        self._left[uid] = version
        if len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]
        held = self._by_name.get((namespace, name))
        if held is None or held.uid != uid:
            return None
        return self._by_name.pop((namespace, name))

    def uids(self) -> set[str]:
        return {view.uid for view in self._by_name.values()}

    def among(self, uids: set[str]) -> list[V]:
        return [view for view in self._by_name.values() if view.uid in uids]


class Store:
    """All tables and their indexes. `wake` is called with the key of whatever an event concerns."""

    def __init__(self, wake: Callable[[Key], None], installation: str) -> None:
        self._wake = wake
        self._installation = installation
        self.builds: Table[BuildView] = Table()
        """Builds that have not ended; ended ones leave."""
        self.projects: Table[ProjectView] = Table()
        self.jobs: Table[JobView] = Table()
        self.pods: Table[PodView] = Table()
        self.chroots: dict[str, ChrootSpec] = {}
        """By Copr name; from the installation's namespace only."""
        self._chroot_objects: dict[str, str] = {}
        self._jobs_of: dict[str, dict[str, JobView]] = {}
        self._pods_of: dict[str, dict[str, PodView]] = {}
        self._job_by_uid: dict[str, JobView] = {}
        self.invalid: dict[Key, str] = {}
        """Objects whose spec this version can't read, and why (a downgrade, or a CRD that was changed by hand)."""

    # -- questions -------------------------------------------------------------------------------------------------

    def jobs_of(self, build_uid: str) -> Mapping[str, JobView]:
        return self._jobs_of.get(build_uid, {})

    def newest_pods(self, jobs: Iterable[JobView]) -> dict[str, PodView]:
        """The newest pod of each Job, by Job uid."""
        newest = {}
        for job in jobs:
            pods = self._pods_of.get(job.uid)
            if pods:
                newest[job.uid] = max(pods.values(), key=lambda pod: (pod.created, pod.name))
        return newest

    def project_of(self, build: BuildView) -> ProjectView | None:
        """The CoprProject of the build's namespace with its owner and project name; whoever holds the name first."""
        same = [
            p
            for p in self.projects.values()
            if p.namespace == build.namespace and (p.spec.owner, p.spec.name) == (build.spec.owner, build.spec.project)
        ]
        return min(same, key=lambda p: (not _holds(p), p.created, p.uid), default=None)

    def rivals(self, project: ProjectView) -> tuple[ProjectView, ...]:
        """Other CoprProjects of the same owner and name."""
        wanted = (project.spec.owner, project.spec.name)
        return tuple(
            p for p in self.projects.values() if p.uid != project.uid and (p.spec.owner, p.spec.name) == wanted
        )

    def builds_of(self, project: ProjectView) -> list[BuildView]:
        wanted = (project.namespace, project.spec.owner, project.spec.name)
        return [b for b in self.builds.values() if (b.namespace, b.spec.owner, b.spec.project) == wanted]

    # -- events ----------------------------------------------------------------------------------------------------

    def build_event(self, kind: str | None, obj: Mapping[str, Any], view: BuildView | None) -> None:
        """`view` is None when the spec can't be read. A build that ends leaves the filtered watch as DELETED."""
        meta = obj["metadata"]
        key = Key("build", meta["namespace"], meta["name"])
        if kind == "DELETED" or view is None or view.status.state in TERMINAL:
            if self._build_left(meta) or kind != "DELETED":
                self._wake(key)
            return
        if self.builds.put(meta["namespace"], meta["name"], view):
            self._wake(key)

    def _build_left(self, meta: Mapping[str, Any]) -> bool:
        name, namespace, version = meta["name"], meta["namespace"], meta.get("resourceVersion", "")
        return self.builds.drop(namespace, name, meta["uid"], version) is not None

    def project_event(self, kind: str | None, view: ProjectView) -> None:
        key = Key("project", view.namespace, view.name)
        if kind == "DELETED":
            changed = self.projects.drop(view.namespace, view.name, view.uid, view.resource_version) is not None
        else:
            changed = self.projects.put(view.namespace, view.name, view)
        if not changed:
            return
        self._wake(key)
        for rival in self.rivals(view):
            self._wake(Key("project", rival.namespace, rival.name))
        for build in self.builds_of(view):
            self._wake(Key("build", build.namespace, build.name))

    def chroot_event(self, kind: str | None, namespace: str, name: str, spec: ChrootSpec | None) -> None:
        """Of the installation's namespace; others define nothing."""
        if namespace != self._installation:
            return
        old = self._chroot_objects.pop(name, None)
        before = self.chroots.pop(old, None) if old is not None else None
        if kind != "DELETED" and spec is not None:
            self._chroot_objects[name] = spec.name
            self.chroots[spec.name] = spec
        if before != spec or kind == "DELETED":
            for build in self.builds.values():
                self._wake(Key("build", build.namespace, build.name))

    def job_event(self, kind: str | None, view: JobView) -> None:
        if kind == "DELETED":
            changed = self.jobs.drop(view.namespace, view.name, view.uid, view.resource_version) is not None
            if changed:
                self._unlink_job(view)
        else:
            changed = self.assume_job(view)
        if changed and view.owner[0]:
            self._wake(Key("build", view.namespace, view.owner[0]))

    def _unlink_job(self, view: JobView) -> None:
        self._job_by_uid.pop(view.uid, None)
        siblings = self._jobs_of.get(view.owner[1], {})
        siblings.pop(view.name, None)
        if not siblings:
            self._jobs_of.pop(view.owner[1], None)

    def pod_event(self, kind: str | None, view: PodView) -> None:
        if kind == "DELETED":
            changed = self.pods.drop(view.namespace, view.name, view.uid, view.resource_version) is not None
            self._unlink_pod(view)
        else:
            held = self.pods.get(view.namespace, view.name)
            changed = self.pods.put(view.namespace, view.name, view)
            if changed:
                if held is not None and held.uid != view.uid:
                    self._unlink_pod(held)
                self._pods_of.setdefault(view.job_uid, {})[view.uid] = view
        job = self._job_by_uid.get(view.job_uid)
        if changed and job is not None and job.owner[0]:
            self._wake(Key("build", job.namespace, job.owner[0]))

    def _unlink_pod(self, view: PodView) -> None:
        siblings = self._pods_of.get(view.job_uid, {})
        siblings.pop(view.uid, None)
        if not siblings:
            self._pods_of.pop(view.job_uid, None)

    # -- the controller's own writes ---------------------------------------------------------------------------------

    def assume_job(self, view: JobView) -> bool:
        """A Job we have just made or deleted: plans see it before the watch does. True when it is news."""
        held = self.jobs.get(view.namespace, view.name)
        if not self.jobs.put(view.namespace, view.name, view):
            return False
        if held is not None and held.uid != view.uid:  # its end was not seen, and never will be
            self._unlink_job(held)
            if held.owner[0]:
                self._wake(Key("build", held.namespace, held.owner[0]))
        self._jobs_of.setdefault(view.owner[1], {})[view.name] = view
        self._job_by_uid[view.uid] = view
        return True

    def assume_build(self, view: BuildView) -> None:
        """A build we have just written. One that has ended is dropped: history costs nothing."""
        if view.status.state in TERMINAL and not view.deleting:
            self.builds.drop(view.namespace, view.name, view.uid, view.resource_version)
        else:
            self.builds.put(view.namespace, view.name, view)

    def assume_project(self, view: ProjectView) -> None:
        self.projects.put(view.namespace, view.name, view)


def _holds(project: ProjectView) -> bool:
    return any(c.type == "NameHeld" and c.status == "True" for c in project.status.conditions)


def try_view(read: Callable[[Mapping[str, Any]], V], obj: Mapping[str, Any]) -> V | str:
    """The view, or why the object can't be read."""
    try:
        return read(obj)
    except ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
