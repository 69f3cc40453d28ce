"""What goes into the store: objects that can't be read, and what a full LIST repairs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from copr_operator.controller.feeder import Feeder
from copr_operator.controller.store import Key, Store
from copr_operator.controller.sync import OtherHistoryError, Synchronizer
from copr_operator.core.views import job_view
from copr_operator.kube.client import ApiError
from tests.support.api_cases import GOOD
from tests.unit.controller.fakes import FakeKube

HERE = "copr-operator"
KINDS = {
    "coprbuilds": "CoprBuild", "coprprojects": "CoprProject", "coprchroots": "CoprChroot",
    "coprpackages": "CoprPackage",
}  # fmt: skip


class Place:
    """A store that is fed from an API server."""

    def __init__(self, *namespaces: str) -> None:
        self.kube = FakeKube()
        self.woken: list[Key] = []
        self.ghosts = 0
        self.store = Store(self.woken.append, HERE)
        self.feeder = Feeder(self.store, namespaces)
        self.sync = Synchronizer(self.kube, self.store, self.feeder, self.woken.append, namespaces, HERE, self._count)

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
        place.add("coprpackages", "rails")
        place.add_job("job", "hello")
        await place.sync.resync()
        for plural, name in (
            ("coprbuilds", "gone"),
            ("coprprojects", "demo"),
            ("coprpackages", "rails"),
            ("coprchroots", "fedora"),
            ("jobs", "job"),
        ):
            del place.kube.objects[plural, HERE, name]
        place.woken.clear()
        await place.sync.resync()
        assert place.store.builds.uids() == {"uid-hello"}
        assert (len(place.store.projects), len(place.store.jobs), place.store.chroots) == (0, 0, {})
        assert len(place.store.packages) == 0
        assert {Key("build", HERE, "gone"), Key("build", HERE, "hello"), Key("project", HERE, "demo")} <= set(
            place.woken
        )
        assert place.ghosts == 5

    async def test_that_of_our_own_kinds_leaves_jobs_and_pods_to_their_watch(self, place: Place) -> None:
        asked: list[str] = []

        async def note(method: str, path: str) -> None:
            asked.append(path.rpartition("/")[2])

        place.add("coprbuilds", "hello")
        place.add("coprbuilds", "gone")
        place.add_job("job", "hello")
        await place.sync.resync()
        place.kube.before = note
        del place.kube.objects["coprbuilds", HERE, "gone"], place.kube.objects["jobs", HERE, "job"]
        await place.sync.resync(work=False)
        assert sorted(asked) == ["coprbuilds", "coprchroots", "coprpackages", "coprprojects"]
        assert place.store.builds.uids() == {"uid-hello"}
        assert place.store.jobs.uids() == {"uid-job"}

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

    async def test_a_namespace_that_was_deleted_holds_up_no_other_and_nothing_of_it_is_a_ghost(self) -> None:
        place = Place("one", "two")
        for namespace in ("one", "two"):
            place.add("coprbuilds", f"in-{namespace}", namespace)
        await place.sync.resync()

        async def refuse(method: str, path: str) -> None:
            if "/namespaces/one/" in path:
                raise ApiError(403, "Forbidden", "the Role is gone")

        place.kube.before = refuse
        place.add("coprbuilds", "new", "two")
        await place.sync.resync()
        await place.sync.ended.find_deleted()
        assert place.store.builds.uids() == {"uid-in-one", "uid-in-two", "uid-new"}
        assert place.ghosts == 0

    async def test_without_the_right_to_read_chroots_there_is_no_picture(self, place: Place) -> None:
        async def refuse(method: str, path: str) -> None:
            raise ApiError(403, "Forbidden", "no Role")

        place.kube.before = refuse
        with pytest.raises(ApiError):
            await place.sync.resync()

    async def test_builds_of_the_installations_own_namespace_do_not_count_when_others_are_named(self) -> None:
        place = Place("one")
        for kind in ("coprbuilds", "coprprojects"):
            obj = place.add(kind, "x")
            (place.feeder.build if kind == "coprbuilds" else place.feeder.project)("ADDED", obj)
        place.feeder.chroot("ADDED", place.add("coprchroots", "fedora"))
        assert (len(place.store.builds), len(place.store.projects), len(place.store.chroots)) == (0, 0, 1)

    async def test_a_list_from_before_our_own_write_ends_nothing_of_what_we_made(self, place: Place) -> None:
        """An API server whose cache is behind. Dropped here, the Job could never be held again under its version."""
        place.add("coprbuilds", "hello")
        place.add_job("job", "hello")
        place.store.assume_job(job_view(place.kube.objects["jobs", HERE, "job"]))
        del place.kube.objects["jobs", HERE, "job"]
        place.kube.version -= 1
        await place.sync.resync()
        assert (place.store.jobs.uids(), place.ghosts) == ({"uid-job"}, 0)
        place.kube.version += 1
        await place.sync.resync()
        assert (place.store.jobs.uids(), place.ghosts) == (set(), 1)

    async def test_an_ended_build_whose_deletion_the_watch_has_not_shown_is_woken(self, place: Place) -> None:
        gone = place.add("coprbuilds", "ended", status={"state": "succeeded"})
        gone["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
        await place.sync.ended.find_deleted()
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


class TestHistory:
    async def test_a_list_that_is_older_than_the_one_before_is_of_another_history(self, place: Place) -> None:
        place.kube.version = 1000
        await place.sync.resync()
        await place.sync.resync()
        place.kube.version = 999
        with pytest.raises(OtherHistoryError, match="is at version 999 and was at 1000"):
            await place.sync.resync()

    async def test_one_that_was_asked_for_before_is_only_slow(self, place: Place) -> None:
        """The resync's is still being read when that of a watch that begins anew is done."""
        answered, go_on = asyncio.Event(), asyncio.Event()
        at_once = place.kube.list_pages

        async def slow(path: str, *args: Any, **options: Any) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
            async for page in at_once(path, *args, **options):
                answered.set()
                await go_on.wait()
                yield page

        place.kube.version = 1000
        await place.sync.resync()
        place.kube.list_pages = slow  # type: ignore[method-assign]
        resync = asyncio.create_task(place.sync.resync())
        await answered.wait()
        place.kube.list_pages = at_once  # type: ignore[method-assign]
        place.kube.version = 1005
        await place.sync.resync()
        go_on.set()
        await resync


class TestForbidden:
    """A namespace whose Role is gone, or not there yet."""

    @pytest.fixture
    def place(self) -> Place:
        place = Place("one", "two", HERE)
        for namespace in ("one", "two"):
            place.add("coprbuilds", f"of-{namespace}", namespace)
            place.add("coprprojects", f"p-{namespace}", namespace)
        return place

    @staticmethod
    def forbid(place: Place, where: str) -> None:
        async def refuse(method: str, path: str) -> None:
            if f"/namespaces/{where}/" in path:
                raise ApiError(403, "Forbidden", "RBAC: role not found")

        place.kube.before = refuse

    async def test_it_keeps_no_other_from_being_listed_and_what_was_held_of_it_stays(
        self, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        await place.sync.resync()
        self.forbid(place, "one")
        for name in ("one", "two"):
            del place.kube.objects["coprbuilds", name, f"of-{name}"]
        with caplog.at_level(logging.ERROR):
            await place.sync.resync()
        assert "coprbuilds of namespace one can't be read: RBAC: role not found" in caplog.text
        assert place.store.builds.uids() == {"uid-of-one"}
        assert place.store.projects.uids() == {"uid-p-one", "uid-p-two"}
        assert place.ghosts == 1

    async def test_a_controller_can_start_without_it(self, place: Place) -> None:
        self.forbid(place, "one")
        await place.sync.resync()
        assert place.store.builds.uids() == {"uid-of-two"}

    async def test_its_deleted_builds_are_not_looked_for_but_those_of_others_are(self, place: Place) -> None:
        gone = place.add("coprbuilds", "ended", "two", status={"state": "succeeded"})
        gone["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
        self.forbid(place, "one")
        await place.sync.ended.find_deleted()
        assert Key("build", "two", "ended") in place.woken

    async def test_without_the_installations_own_namespace_nothing_can_be_done(self, place: Place) -> None:
        self.forbid(place, HERE)
        with pytest.raises(ApiError, match="role not found"):
            await place.sync.resync()


class TestWatchOfWork:
    """Jobs and Pods, from the first LIST on."""

    async def test_it_begins_where_the_first_list_ended(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: dict[str, str] = {}

        async def watch(path: str, params: dict[str, str], **_: Any) -> AsyncIterator[dict[str, Any]]:
            opened[path] = params["resourceVersion"]
            await asyncio.Event().wait()
            yield {}

        monkeypatch.setattr(place.kube, "watch", watch)
        place.add_job("job", "hello")
        await place.sync.resync()
        place.add_job("later", "hello")
        await place.sync.resync()
        await run_for_a_moment(place.sync.watch_work())
        assert opened == {"/apis/batch/v1/jobs": "1", "/api/v1/pods": "1"}

    async def test_a_version_that_is_too_old_drops_what_went_away_meanwhile(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def watch(path: str, params: dict[str, str], **_: Any) -> AsyncIterator[dict[str, Any]]:
            if path.endswith("/jobs") and params["resourceVersion"] == "1":
                raise ApiError(410, "Expired", "too old")
            await asyncio.Event().wait()
            yield {}

        monkeypatch.setattr(place.kube, "watch", watch)
        monkeypatch.setattr("copr_operator.kube.reflector.PAUSE", 0.0)
        place.add_job("job", "hello")
        await place.sync.resync()
        del place.kube.objects["jobs", HERE, "job"]
        place.add_job("other", "hello")
        place.woken.clear()
        await run_for_a_moment(place.sync.watch_work())
        assert place.store.jobs.uids() == {"uid-other"}
        assert place.woken == [Key("build", HERE, "hello")] * 2
        assert place.ghosts == 1


async def run_for_a_moment(work: Coroutine[Any, Any, None]) -> None:
    """Until it only waits."""
    task = asyncio.create_task(work)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})


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
        store = place.store
        assert (len(store.builds), len(store.projects), len(store.packages), store.chroots) == (0, 0, 0, {})
        feed[plural]("MODIFIED", place.add(plural, "x"))
        assert len(store.builds) + len(store.projects) + len(store.packages) + len(store.chroots) == 1

    def test_one_that_was_never_read_is_no_news(self, place: Place) -> None:
        place.feeder.project("ADDED", place.add("coprprojects", "x", spec={}))
        place.feeder.project("DELETED", place.add("coprprojects", "x", spec={}))
        assert place.woken == []
