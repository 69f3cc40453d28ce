"""The life of one controller: from the Lease to the end, with a kopf that only waits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from copr_operator.controller.lease import LEASE_NAME, Lease
from copr_operator.controller.main import HEARTBEAT_LIMIT, Controller
from copr_operator.controller.metrics import Metrics
from copr_operator.controller.settings import ControllerSettings
from copr_operator.controller.store import Key
from copr_operator.kube.client import ApiError
from tests.support.api_cases import GOOD
from tests.support.builders import CONFIG
from tests.unit.controller.fakes import FakeKube, build

pytestmark = pytest.mark.looptime
PLACE = ("leases", CONFIG.namespace, LEASE_NAME)


class Life:
    """A controller, how it is stopped, and its end."""

    def __init__(self, kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
        async def only_wait(controller: Controller, stop: asyncio.Event) -> None:
            controller._kopf_started.set()
            await stop.wait()

        monkeypatch.setattr(Controller, "_operate", only_wait)
        settings = ControllerSettings(CONFIG, http_port=None, backend_token_file=Path("/nonexistent"), identity="me")
        self.kube = kube
        self.controller = Controller(settings, kube, Metrics())
        self.stop = asyncio.Event()
        self.ready = asyncio.Event()
        self.task = asyncio.create_task(self.controller.run(self.stop, self.ready))

    def sample(self, name: str, **labels: str) -> float | None:
        return self.controller.metrics.registry.get_sample_value(name, labels)


def lease_of(kube: FakeKube, identity: str) -> Lease:
    return Lease(kube, CONFIG.namespace, identity)


Begin = Callable[[], contextlib.AbstractAsyncContextManager[Life]]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Begins the life of an active controller. Not a life itself: fixtures live by another clock than tests."""

    @contextlib.asynccontextmanager
    async def life() -> AsyncIterator[Life]:
        alive = Life(FakeKube(), monkeypatch)
        await asyncio.wait_for(alive.ready.wait(), 5)
        yield alive
        alive.stop.set()
        await alive.task

    return life


async def test_told_to_stop_it_gives_the_lease_up_and_says_so(begin: Begin) -> None:
    async with begin() as life:
        assert life.sample("copr_controller_active") == 1
        life.stop.set()
        assert await life.task is True
        assert life.kube.objects[PLACE]["spec"]["holderIdentity"] == ""
        assert life.sample("copr_controller_active") == 0


async def test_told_to_stop_while_it_waits_for_the_lease_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    kube.put(
        PLACE, {"metadata": {"name": LEASE_NAME}, "spec": {"holderIdentity": "other", "leaseDurationSeconds": 999}}
    )
    waiting = Life(kube, monkeypatch)
    await asyncio.sleep(60)
    assert not waiting.ready.is_set()
    assert waiting.controller.unready() == "", "it has read the Lease and could take over: a rollout may go on"
    waiting.stop.set()
    assert await waiting.task is True
    assert kube.writes == []


async def test_an_api_server_that_goes_on_from_a_backup_ends_it(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    """All that is newer there counts as older than what it knows: only a new process is rid of that."""
    async with begin() as life:
        life.kube.version = 1000
        await asyncio.sleep(700)
        assert not life.task.done()
        life.kube.version = 500
        assert await asyncio.wait_for(life.task, 700) is False
        assert "was at 1" in caplog.text
        assert "etcd was restored" in caplog.text


class TestReadiness:
    async def test_until_the_lease_was_read_it_is_not_ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kube = FakeKube()

        async def no_leases(method: str, path: str) -> None:
            if "/leases" in path:
                raise ApiError(503, "Unavailable", "etcd has no leader")

        kube.before = no_leases
        starting = Life(kube, monkeypatch)
        await asyncio.sleep(10)
        assert starting.controller.unready() == "the Lease was not read yet"
        kube.before = None
        await asyncio.wait_for(starting.ready.wait(), 2)
        assert starting.controller.unready() == ""
        starting.stop.set()
        await starting.task

    async def test_one_that_takes_over_is_ready_again_when_it_has_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kube = FakeKube()

        async def slow_lists(method: str, path: str) -> None:
            if path.endswith("/coprbuilds"):
                await asyncio.sleep(10)

        kube.before = slow_lists
        await lease_of(kube, "other").acquire()
        next_one = Life(kube, monkeypatch)
        await asyncio.sleep(1)
        assert next_one.controller.unready() == ""
        await lease_of(kube, "other").release()
        await asyncio.sleep(5)
        assert kube.objects[PLACE]["spec"]["holderIdentity"] == "me"
        assert next_one.controller.unready() == "the first LIST is not done yet"
        await asyncio.wait_for(next_one.ready.wait(), 30)
        assert next_one.controller.unready() == ""
        next_one.stop.set()
        await next_one.task


async def test_without_the_lease_it_ends_and_leaves_it_to_its_successor(begin: Begin) -> None:
    async with begin() as life:
        life.kube.put(
            PLACE, {**life.kube.objects[PLACE], "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}}
        )
        assert await asyncio.wait_for(life.task, 20) is False
        assert life.kube.objects[PLACE]["spec"]["holderIdentity"] == "other"


async def test_it_waits_for_an_api_server_that_is_away_when_it_first_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()

    async def no_lists(method: str, path: str) -> None:
        if path.endswith("/coprbuilds"):
            raise ApiError(503, "Unavailable", "etcd has no leader")

    kube.before = no_lists
    starting = Life(kube, monkeypatch)
    await asyncio.sleep(10)
    assert not starting.ready.is_set()
    kube.before = None
    await asyncio.wait_for(starting.ready.wait(), 2)
    starting.stop.set()
    await starting.task


class TestFirstList:
    """The first LIST may take longer than the Lease lasts."""

    @pytest.fixture
    def kube(self) -> FakeKube:
        kube = FakeKube()

        async def slow_lists(method: str, path: str) -> None:
            if path.endswith("/coprbuilds"):
                await asyncio.sleep(100)

        kube.before = slow_lists
        return kube

    async def test_the_lease_is_renewed_meanwhile(self, kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
        starting = Life(kube, monkeypatch)
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lease_of(kube, "other").acquire(), 95)
        await asyncio.wait_for(starting.ready.wait(), 10)
        starting.stop.set()
        assert await starting.task is True

    async def test_a_lease_that_is_lost_meanwhile_ends_it(
        self, kube: FakeKube, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        starting = Life(kube, monkeypatch)
        await asyncio.sleep(1)
        kube.put(PLACE, {**kube.objects[PLACE], "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}})
        assert await asyncio.wait_for(starting.task, 10) is False
        assert not starting.ready.is_set()

    async def test_it_can_be_stopped_meanwhile(self, kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
        starting = Life(kube, monkeypatch)
        await asyncio.sleep(1)
        starting.stop.set()
        assert await asyncio.wait_for(starting.task, 1) is True
        assert kube.objects[PLACE]["spec"]["holderIdentity"] == ""

    async def test_what_no_waiting_mends_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kube = FakeKube()

        async def forbid(method: str, path: str) -> None:
            if path.endswith("/coprbuilds"):
                raise ApiError(403, "Forbidden", "coprbuilds is forbidden")

        kube.before = forbid
        with pytest.raises(ApiError, match="coprbuilds is forbidden"):
            await Life(kube, monkeypatch).task


class TestResync:
    async def test_the_first_comes_five_seconds_after_the_start_and_the_next_ones_by_the_setting(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kube, seen = FakeKube(), list[float]()

        async def note(method: str, path: str) -> None:
            if path.endswith("/coprprojects"):  # what only a full LIST asks for
                seen.append(asyncio.get_running_loop().time())

        kube.before = note
        life = Life(kube, monkeypatch)
        await asyncio.wait_for(life.ready.wait(), 5)
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(1300)
        assert [pytest.approx(time - started, abs=0.5) for time in seen] == [0, 5, 605, 1205]
        life.stop.set()
        await life.task


class TestHealth:
    async def test_a_controller_that_sees_its_lease_renewed_is_well(self, begin: Begin) -> None:
        async with begin() as life:
            for _ in range(100):
                await asyncio.sleep(5)
                life.controller.feeder.lease("MODIFIED", {})
                assert life.controller.problem() == ""

    async def test_a_watch_that_is_silent_while_the_lease_is_renewed_is_broken(self, begin: Begin) -> None:
        async with begin() as life:
            await asyncio.sleep(HEARTBEAT_LIMIT - 1)
            assert life.controller.problem() == ""
            await asyncio.sleep(2)
            assert life.controller.problem() == f"the watch has been silent for {HEARTBEAT_LIMIT + 1:.0f} s"
            life.controller.feeder.lease("MODIFIED", {})
            assert life.controller.problem() == ""

    async def test_a_controller_that_waits_for_the_lease_is_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kube = FakeKube()
        kube.put(
            PLACE, {"metadata": {"name": LEASE_NAME}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 999}}
        )
        waiting = Life(kube, monkeypatch)
        await asyncio.sleep(100)
        assert waiting.controller.problem() == ""
        waiting.stop.set()
        await waiting.task


class TestWork:
    async def test_gauges_say_what_is_so_when_they_are_asked(self, begin: Begin) -> None:
        async with begin() as life:
            store = life.controller.store
            store.assume_build(build("one", state="running"))
            store.assume_build(build("two", state="running"))
            store.assume_build(build("three"))
            assert life.sample("copr_builds", state="running") == 2
            assert life.sample("copr_builds", state="pending") == 1
            life.controller.queue.add(Key("project", "ns", "nobody"))
            assert life.sample("copr_queue_depth") == 1
            await asyncio.sleep(1)
            assert life.sample("copr_queue_depth") == 0
            assert life.sample("copr_queue_oldest_seconds") == 0

    async def test_a_request_that_fails_is_tried_again_later_and_counted(self, begin: Begin) -> None:
        async with begin() as life:
            seen: list[float] = []

            async def busy(method: str, path: str) -> None:
                if path.endswith("/coprprojects/demo") and len(seen) < 4:
                    seen.append(asyncio.get_running_loop().time())
                    raise ApiError(429, "TooManyRequests", "slow down", retry_after=9.0)

            life.kube.before = busy
            life.controller.queue.add(Key("project", "ns", "demo"))
            await asyncio.sleep(60)
            assert len(seen) == 4
            assert all(later - earlier >= 9 for earlier, later in pairwise(seen))
            assert life.sample("copr_reconcile_total", kind="project", result="error") == 4
            assert life.sample("copr_reconcile_total", kind="project", result="ok") == 1

    async def test_a_bug_in_one_object_is_logged_and_stops_no_worker(
        self, begin: Begin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with begin() as life:

            def broken(*_: Any) -> None:
                raise KeyError("a bug")

            monkeypatch.setattr("copr_operator.controller.reconciler.plan_project", broken)
            place = ("coprprojects", "ns", "demo")
            meta = {"name": "demo", "namespace": "ns", "uid": "u"}
            life.kube.put(place, {"metadata": meta, "spec": GOOD["CoprProject"]})
            life.controller.queue.add(Key("project", "ns", "demo"))
            await asyncio.sleep(100)
            assert 5 < (life.sample("copr_reconcile_total", kind="project", result="bug") or 0) < 12
            assert "demo: reconciling failed; again in" in caplog.text
            assert not life.task.done()
