"""What goes into the store: objects that can't be read, and what a full LIST repairs."""

import logging
from typing import Any

import pytest

from copr_operator.controller.store import Key, Store
from copr_operator.controller.sync import Synchronizer
from copr_operator.controller.transport import Feeder
from tests.support.api_cases import GOOD
from tests.unit.controller.fakes import FakeKube

HERE = "copr-operator"
KINDS = {
    "coprbuilds": "CoprBuild", "coprprojects": "CoprProject", "coprchroots": "CoprChroot",
    "coprpackages": "CoprPackage",
}  # fmt: skip


class Place:
    """A store that is fed from an API server."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.woken: list[Key] = []
        self.ghosts = 0
        self.store = Store(self.woken.append, HERE)
        self.feeder = Feeder(self.store)
        self.sync = Synchronizer(self.kube, self.store, self.feeder, self.woken.append, (), HERE, self._count)

    def _count(self, number: int) -> None:
        self.ghosts += number

    def add(self, plural: str, name: str, namespace: str = HERE, **changes: Any) -> dict[str, Any]:
        meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T12:00:00Z"}
        body = {"kind": KINDS.get(plural, plural), "metadata": meta, "spec": GOOD.get(KINDS.get(plural, ""), {})}
        return self.kube.put((plural, namespace, name), {**body, **changes})

    def add_job(self, name: str, build: str, **status: Any) -> None:
        owner = {"controller": True, "kind": "CoprBuild", "name": build, "uid": f"uid-{build}"}
        meta = {"name": name, "namespace": HERE, "uid": f"uid-{name}", "ownerReferences": [owner]}
        self.add("jobs", name, metadata=meta, status=status)


@pytest.fixture
def place() -> Place:
    return Place()


class TestResync:
    async def test_it_fills_an_empty_store_and_wakes_all_that_is_live(self, place: Place) -> None:
        place.add("coprbuilds", "hello")
        place.add("coprprojects", "demo")
        place.add("coprchroots", "fedora")
        place.add("coprpackages", "rails")
        place.add_job("job", "hello")
        await place.sync.resync()
        store = place.store
        tables = (store.builds, store.projects, store.packages, store.jobs, store.chroot_objects)
        assert [len(table) for table in tables] == [1] * 5
        keys = {Key("build", HERE, "hello"), Key("project", HERE, "demo"), Key("package", HERE, "rails")}
        assert keys <= set(place.woken)
        assert place.ghosts == 0

    async def test_it_drops_what_is_gone_and_wakes_whom_that_concerns(self, place: Place) -> None:
        place.add("coprbuilds", "hello")
        place.add("coprbuilds", "gone")
        place.add("coprprojects", "demo")
        place.add("coprchroots", "fedora")
        place.add_job("job", "hello")
        await place.sync.resync()
        for plural, name in (
            ("coprbuilds", "gone"),
            ("coprprojects", "demo"),
            ("coprchroots", "fedora"),
            ("jobs", "job"),
        ):
            del place.kube.objects[plural, HERE, name]
        place.woken.clear()
        await place.sync.resync()
        assert place.store.builds.uids() == {"uid-hello"}
        assert (len(place.store.projects), len(place.store.jobs), place.store.chroots) == (0, 0, {})
        assert {Key("build", HERE, "gone"), Key("build", HERE, "hello"), Key("project", HERE, "demo")} <= set(
            place.woken
        )
        assert place.ghosts == 4

    async def test_what_comes_while_it_lists_is_no_ghost(self, place: Place) -> None:
        async def meanwhile(method: str, path: str) -> None:
            if path.endswith("/coprbuilds"):
                place.kube.before = None
                late = place.add("coprprojects", "late")
                place.feeder.project("ADDED", late)

        place.kube.before = meanwhile
        await place.sync.resync()
        assert place.store.projects.uids() == {"uid-late"}
        assert place.ghosts == 0

    async def test_a_list_that_is_older_than_the_watch_undoes_nothing(self, place: Place) -> None:
        old = place.add("coprbuilds", "hello")
        new = place.add("coprbuilds", "hello", status={"state": "running"})
        place.feeder.build("MODIFIED", new)
        place.kube.objects["coprbuilds", HERE, "hello"] = old
        await place.sync.resync()
        held = place.store.builds.get(HERE, "hello")
        assert held is not None
        assert held.status.state == "running"

    async def test_an_ended_build_whose_deletion_the_watch_has_not_shown_is_woken(self, place: Place) -> None:
        gone = place.add("coprbuilds", "ended", status={"state": "succeeded"})
        gone["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
        await place.sync.find_deleted()
        assert Key("build", HERE, "ended") in place.woken

    @pytest.mark.parametrize(
        ("done", "woken"), [({}, True), ({"conditions": [{"type": "Complete", "status": "True"}]}, False)]
    )
    async def test_a_job_that_runs_on_after_its_build_wakes_the_build(
        self, place: Place, done: dict[str, Any], woken: bool
    ) -> None:
        place.add_job("job", "ended", **done)
        await place.sync.resync()
        place.woken.clear()
        await place.sync.resync()
        assert (Key("build", HERE, "ended") in place.woken) == woken


class TestUnreadable:
    @pytest.mark.parametrize("plural", KINDS)
    def test_an_object_that_can_not_be_read_is_named_in_the_log_and_counts_as_none(
        self, place: Place, caplog: pytest.LogCaptureFixture, plural: str
    ) -> None:
        feed = {
            "coprbuilds": place.feeder.build,
            "coprprojects": place.feeder.project,
            "coprchroots": place.feeder.chroot,
            "coprpackages": place.feeder.package,
        }
        feed[plural]("ADDED", place.add(plural, "x"))
        broken = place.add(plural, "x", spec={"owner": 5})
        with caplog.at_level(logging.ERROR):
            feed[plural]("MODIFIED", broken)
        assert f"{KINDS[plural]} {HERE}/x can't be read: " in caplog.text
        assert (len(place.store.builds), len(place.store.projects), place.store.chroots) == (0, 0, {})
        feed[plural]("MODIFIED", place.add(plural, "x"))
        store = place.store
        assert len(store.builds) + len(store.projects) + len(store.packages) + len(store.chroots) == 1

    def test_one_that_was_never_read_is_no_news(self, place: Place) -> None:
        place.feeder.project("ADDED", place.add("coprprojects", "x", spec={}))
        place.feeder.project("DELETED", place.add("coprprojects", "x", spec={}))
        assert place.woken == []
