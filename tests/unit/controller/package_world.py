"""A CoprPackage before an API server, and the part of a controller that looks after it."""

from typing import Any

from copr_operator.controller.backend import BackendClient
from copr_operator.controller.executor import Executor
from copr_operator.controller.feeder import Feeder
from copr_operator.controller.packages import Packages
from copr_operator.controller.store import Key, Store
from tests.support.builders import CONFIG
from tests.unit.controller.fakes import FakeKube

KEY = Key("package", "ns", "rails")
GEM = {"type": "rubygems", "rubygems": {"name": "rails"}}
OTHER = {"type": "rubygems", "rubygems": {"name": "rack"}}
BUILD_OF_RAILS = {"owner": "alice", "project": "demo", "packageName": "rails", "source": GEM}


class Controller:
    """The part of a controller that looks after packages; a new one knows what a LIST tells it."""

    def __init__(self, kube: FakeKube) -> None:
        self.kube = kube
        self.woken: list[Key] = []
        self.store = Store(self.woken.append, "ns")
        self.feeder = Feeder(self.store)
        backend: Any = BackendClient
        executor = Executor(kube, backend, self.store, CONFIG)
        self.packages = Packages(kube, self.store, executor, CONFIG)
        for obj in list(kube.objects.values()):
            self.see(obj)

    def see(self, obj: dict[str, Any]) -> None:
        {"CoprPackage": self.feeder.package, "CoprBuild": self.feeder.build, "CoprProject": self.feeder.project}[
            obj["kind"]
        ]("MODIFIED", obj)

    async def reconcile(self) -> float | None:
        return await self.packages.reconcile(KEY)


class World:
    def __init__(self) -> None:
        self.kube = FakeKube()
        self.apply(source=GEM, buildOnChange=True)
        spec = {"owner": "alice", "name": "demo", "chroots": [{"name": "debian-13-x86_64"}]}
        self.kube.put(("coprprojects", "ns", "demo"), manifest("CoprProject", "demo", spec))

    def apply(self, **spec: Any) -> dict[str, Any]:
        place = ("coprpackages", "ns", "rails")
        held = self.kube.objects.get(place, {})
        body = {"owner": "alice", "project": "demo", "name": "rails", **spec}
        return self.kube.put(place, {**held, **manifest("CoprPackage", "rails", body)})

    @property
    def builds(self) -> list[dict[str, Any]]:
        return [obj for (plural, _, _), obj in self.kube.objects.items() if plural == "coprbuilds"]

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.kube.objects["coprpackages", "ns", "rails"].get("status", {})
        return status

    def finish(self, build: dict[str, Any], number: int, state: str) -> dict[str, Any]:
        place = ("coprbuilds", "ns", build["metadata"]["name"])
        return self.kube.put(place, {**build, "status": {"id": number, "state": state}})


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"kind": kind, "metadata": meta, "spec": spec}
