"""The whole model: users, an API server, a cluster, a backend, and the lives of controllers. Acts and nothing else."""

import logging
from collections.abc import Callable
from typing import Any

from copr_operator.core import names
from copr_operator.kube.client import ApiError
from tests.model.apiserver import ApiServer, Obj
from tests.model.backend import ModelBackend
from tests.model.cluster import Cluster, End
from tests.model.invariants import Invariants
from tests.model.life import RESYNC, Life
from tests.model.loop import CLOCK
from tests.model.package_invariants import PackageInvariants
from tests.support.builders import CONFIG

X86, ARM = "debian-12-x86_64", "debian-13-aarch64"
SOURCE: dict[str, Any] = {"type": "link", "link": {"url": "http://x.example/hello.src.rpm"}}
SETTLED = 300
"""Fair rounds within which every build must have come to its end or to a wait for something that is missing."""
TIMERS, LAST_RESYNC = 6, 8
"""Rounds without a change: until so many time goes on to the next timer, then to the next resync; then it is quiet."""


class World:
    """Made for one example; `close` lets logs be written again."""

    def __init__(self) -> None:
        CLOCK.seconds = 0.0
        logging.disable(logging.CRITICAL)  # faults are the rule here
        self.api = ApiServer()
        self.backend = ModelBackend()
        self.cluster = Cluster(self.api, self.backend)
        self.invariants = Invariants(self.api, self.backend, self.cluster)
        self.package_invariants = PackageInvariants(self.api, self.invariants)
        self.api.watchers += [self.invariants.check, self.package_invariants.check]
        self.lives: list[Life] = []
        self._names = 0
        self.heard = ""
        """What the Lease says of how far ended builds have been watched."""
        self.toggled = 0
        """Changes of the world that a build may have to show."""

    def close(self) -> None:
        logging.disable(logging.NOTSET)

    # -- controllers -------------------------------------------------------------------------------------------------

    def start(self) -> Life:
        """A new controller with an empty store."""
        self._names += 1
        life = Life(f"controller-{self._names}", self.api, self.backend, self.heard)
        self.lives.append(life)
        if len(self.lives) > 1:
            self.invariants.split = True
        return life

    def crash(self, life: Life) -> None:
        """A moment after it has renewed the Lease: what it wrote there is as new as can be."""
        self.heard = life.heard
        self.lives.remove(life)

    # -- users -------------------------------------------------------------------------------------------------------

    def define_chroot(self, name: str, *, enabled: bool = True) -> None:
        self.toggled += 1
        spec = {"name": name, "image": "chroot:1", "arch": name.rpartition("-")[2], "enabled": enabled}
        self._apply("coprchroots", CONFIG.namespace, name.replace("_", "-"), spec)

    def define_project(self, *chroots: str, persistent: bool = False) -> None:
        self.toggled += 1
        spec = {"owner": "alice", "name": "demo", "chroots": [{"name": name} for name in chroots or (X86, ARM)],
                "api": {"persistent": persistent}}  # fmt: skip
        self._apply("coprprojects", "ns", "demo", spec)

    def remove_project(self) -> None:
        self.toggled += 1
        if (project := self.api.find("coprprojects", "ns", "demo")) is not None:
            self.api.delete("user", "coprprojects", project)

    def define_package(self, name: str, /, **spec: Any) -> None:
        """`name` is the object's, and the package's as far as nothing else is said. All SRPMs are called hello."""
        self.toggled += 1
        self._apply("coprpackages", "ns", name, {"owner": "alice", "project": "demo", "name": name, **spec})

    def remove_package(self, name: str) -> None:
        self.toggled += 1
        if (package := self.api.find("coprpackages", "ns", name)) is not None:
            self.api.delete("user", "coprpackages", package)

    def create_build(self, name: str, *, of_package: str = "", **spec: Any) -> None:
        """`of_package`: the CoprPackage that it is made from, by its name."""
        full = {"owner": "alice", "project": "demo", "source": SOURCE, "timeout": 1200, **spec}
        meta: dict[str, Any] = {"name": name, "namespace": "ns"}
        if (package := self.api.find("coprpackages", "ns", of_package)) is not None:
            meta["ownerReferences"] = [names.owned_by_package(of_package, package["metadata"]["uid"])]
            full["packageName"] = package["spec"]["name"]
        self.api.create("user", "coprbuilds", {"metadata": meta, "spec": full})

    def fork(self, name: str, build_id: int, *, owner: str = "alice", dirname: str = "demo", **spec: Any) -> None:
        """A build that takes over the results of another."""
        origin = {"owner": owner, "projectDirname": dirname, "id": build_id}
        self.create_build(name, forkedFrom=origin, **spec)

    def change_build(self, build: Obj, **spec: Any) -> None:
        self.toggled += 1
        self.api.update("user", "coprbuilds", build, {"spec": spec})

    def delete_build(self, build: Obj) -> None:
        self.toggled += 1
        self.api.delete("user", "coprbuilds", build)

    @property
    def builds(self) -> list[Obj]:
        return self.api.all("coprbuilds")

    @property
    def packages(self) -> list[Obj]:
        return self.api.all("coprpackages")

    def package(self, name: str) -> Obj:
        found = self.api.find("coprpackages", "ns", name)
        assert found is not None
        return found

    def build(self, name: str) -> Obj:
        found = self.api.find("coprbuilds", "ns", name)
        assert found is not None
        return found

    @property
    def complete(self) -> bool:
        """Whether project and chroots are there and in use, so that no build has anything to wait for."""
        project = self.api.find("coprprojects", "ns", "demo")
        chroots = [self.api.find("coprchroots", CONFIG.namespace, name.replace("_", "-")) for name in (X86, ARM)]
        if project is None or "deletionTimestamp" in project["metadata"]:
            return False
        return all(chroot is not None and chroot["spec"]["enabled"] for chroot in chroots)

    @property
    def keeps_all(self) -> bool:
        """Whether no build of the project may be deleted for another: it is persistent, or not there."""
        project = self.api.find("coprprojects", "ns", "demo")
        return project is None or "deletionTimestamp" in project["metadata"] or project["spec"]["api"]["persistent"]

    def _apply(self, plural: str, namespace: str, name: str, spec: Any) -> None:
        found = self.api.find(plural, namespace, name)
        if found is None:
            meta = {"name": name, "namespace": namespace}
            self.api.create("user", plural, {"metadata": meta, "spec": spec})
        elif "deletionTimestamp" not in found["metadata"]:
            self.api.update("user", plural, found, {"spec": spec})

    # -- fairness ----------------------------------------------------------------------------------------------------

    def fair_round(self, end: End = "success") -> bool:
        """Everybody does what there is to do, pods go one stage on; False when there was nothing."""
        before = self.api.version
        busy = False
        for life in self.lives:
            life.deliver_all()
            busy |= life.run() > 0
        for act in self.cluster.housekeeping():
            act()
        for work in self.cluster.busy():
            self.cluster.advance(work, end)
        return busy or self.api.version != before

    def settle(self, end: End = "success") -> None:
        """Fair rounds until nothing changes any more, even when time goes on: first a few times to the next timer,
        then to the next resyncs."""
        unchanged = 0
        for _ in range(SETTLED):
            before = self.api.version
            busy = self.fair_round(end)
            if self.api.version != before:
                unchanged = 0
            elif not busy:
                unchanged += 1
                if unchanged > LAST_RESYNC:
                    return
                self._let_time_pass(resync=unchanged > TIMERS)
        raise AssertionError("the world never calms down")

    def _let_time_pass(self, *, resync: bool) -> None:
        timers = [life.loop.next_timer for life in self.lives]
        due = min((timer for timer in timers if timer is not None), default=None)
        if due is not None and not resync:
            CLOCK.seconds = max(CLOCK.seconds, due)
            return
        CLOCK.seconds += RESYNC
        for life in self.lives:
            life.resync()

    def rest(self) -> None:
        """All that is under way comes to an end, without time going on."""
        while self.fair_round():
            pass

    def act_of_cluster(self, index: int) -> None:
        acts: list[Callable[[], None]] = self.cluster.housekeeping()
        if acts:
            acts[index % len(acts)]()


def refused(act: Callable[..., None], *args: Any, **options: Any) -> None:
    """A user's request that the API server may refuse."""
    try:
        act(*args, **options)
    except ApiError:
        return
