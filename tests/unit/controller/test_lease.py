"""One active controller: who may think that it is the one, and until when."""

import asyncio
from typing import Any

import pytest

from copr_operator.controller.lease import LEASE_NAME, Lease
from copr_operator.kube.client import ApiError
from tests.unit.controller.fakes import FakeKube

pytestmark = pytest.mark.looptime
PLACE = ("leases", "system", LEASE_NAME)


def lease(kube: FakeKube, identity: str = "me", **options: Any) -> Lease:
    return Lease(kube, "system", identity, **options)


def spec(kube: FakeKube) -> dict[str, Any]:
    found: dict[str, Any] = kube.objects[PLACE]["spec"]
    return found


async def never(method: str, path: str) -> None:
    await asyncio.Event().wait()


async def refuse(method: str, path: str) -> None:
    raise ApiError(503, "Unavailable", "etcd has no leader")


class TestAcquire:
    async def test_a_lease_that_is_not_there_is_made(self, looptime: Any) -> None:
        kube = FakeKube()
        await lease(kube).acquire()
        assert (spec(kube)["holderIdentity"], spec(kube)["leaseDurationSeconds"]) == ("me", 15)
        assert looptime == 0

    async def test_a_released_lease_is_taken_at_once(self, looptime: Any) -> None:
        kube = FakeKube()
        await lease(kube, "other").acquire()
        await asyncio.sleep(1)
        held = lease(kube, "other")
        await held.release()
        await lease(kube).acquire()
        assert (spec(kube)["holderIdentity"], spec(kube)["leaseTransitions"]) == ("me", 1)
        assert looptime == 1

    async def test_a_lease_that_is_renewed_is_never_taken(self) -> None:
        kube = FakeKube()
        first = lease(kube, "other")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(300):
                await lease(kube).acquire()
        assert spec(kube)["holderIdentity"] == "other"
        holding.cancel()

    @pytest.mark.parametrize("renewed", ["1999-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z", None])
    async def test_it_expires_by_the_own_clock_whatever_the_clock_of_its_holder_says(
        self, looptime: Any, renewed: str | None
    ) -> None:
        kube = FakeKube()
        record = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": renewed}
        kube.put(PLACE, {"metadata": {"name": LEASE_NAME}, "spec": record})
        await lease(kube).acquire()
        assert 15 < looptime <= 15.1
        assert spec(kube)["holderIdentity"] == "me"

    async def test_it_expires_by_the_duration_its_holder_has_promised(self, looptime: Any) -> None:
        kube = FakeKube()
        record = {"holderIdentity": "other", "leaseDurationSeconds": 60, "renewTime": "x"}
        kube.put(PLACE, {"metadata": {"name": LEASE_NAME}, "spec": record})
        await lease(kube).acquire()
        assert 60 < looptime <= 60.1

    async def test_of_two_who_want_it_one_gets_it(self) -> None:
        kube = FakeKube()
        tasks = [asyncio.create_task(lease(kube, who).acquire()) for who in ("one", "two")]
        done, waiting = await asyncio.wait(tasks, timeout=10)
        assert (len(done), len(waiting)) == (1, 1)
        for task in waiting:
            task.cancel()

    async def test_of_two_who_see_it_expire_one_gets_it(self) -> None:
        kube = FakeKube()
        record = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "x"}
        kube.put(PLACE, {"metadata": {"name": LEASE_NAME}, "spec": record})
        tasks = [asyncio.create_task(lease(kube, who).acquire()) for who in ("one", "two")]
        done, waiting = await asyncio.wait(tasks, timeout=30)
        assert (len(done), len(waiting)) == (1, 1)
        assert spec(kube)["leaseTransitions"] == 1
        for task in waiting:
            task.cancel()

    async def test_an_api_server_that_is_away_is_waited_for(self, looptime: Any) -> None:
        kube = FakeKube()
        kube.before = refuse
        asyncio.get_running_loop().call_later(100, setattr, kube, "before", None)
        await lease(kube).acquire()
        assert 100 <= looptime <= 101

    async def test_what_no_waiting_mends_is_raised(self) -> None:
        kube = FakeKube()

        async def forbid(method: str, path: str) -> None:
            raise ApiError(403, "Forbidden", "leases is forbidden")

        kube.before = forbid
        with pytest.raises(ApiError, match="forbidden"):
            await lease(kube).acquire()


class TestHold:
    async def held(self, kube: FakeKube, **options: Any) -> Lease:
        mine = lease(kube, **options)
        await mine.acquire()
        return mine

    async def test_it_is_renewed_every_five_seconds(self) -> None:
        kube = FakeKube()
        mine = await self.held(kube)
        holding = asyncio.create_task(mine.hold())
        await asyncio.sleep(101)
        assert not holding.done()
        assert len(kube.writes) == 1 + 20
        assert mine.renewed_at == 100
        assert spec(kube)["leaseTransitions"] == 0
        holding.cancel()

    async def test_a_renewal_is_one_request(self) -> None:
        kube, asked = FakeKube(), []

        async def count(method: str, path: str) -> None:
            asked.append(method)

        mine = await self.held(kube)
        kube.before = count
        holding = asyncio.create_task(mine.hold())
        await asyncio.sleep(21)
        assert asked == ["PATCH"] * 4
        holding.cancel()

    async def test_a_record_that_someone_has_edited_stays_its_own(self) -> None:
        kube = FakeKube()
        mine = await self.held(kube)
        kube.put(PLACE, kube.objects[PLACE])
        holding = asyncio.create_task(mine.hold())
        await asyncio.sleep(21)
        assert not holding.done()
        assert mine.renewed_at == 20
        holding.cancel()

    async def test_it_ends_when_another_holds_the_lease(self, looptime: Any) -> None:
        kube = FakeKube()
        mine = await self.held(kube)
        kube.put(PLACE, {**kube.objects[PLACE], "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}})
        await mine.hold()
        assert looptime == 5
        assert spec(kube)["holderIdentity"] == "other"

    async def test_it_survives_an_api_server_that_is_away_for_a_moment(self) -> None:
        kube = FakeKube()
        mine = await self.held(kube)
        loop = asyncio.get_running_loop()
        loop.call_later(4, setattr, kube, "before", refuse)
        loop.call_later(8, setattr, kube, "before", None)
        holding = asyncio.create_task(mine.hold())
        await asyncio.sleep(60)
        assert not holding.done()
        holding.cancel()

    async def test_a_renewal_whose_answer_is_lost_costs_nothing(self) -> None:
        kube = FakeKube()
        mine = await self.held(kube)

        async def lose(method: str, path: str) -> None:
            kube.after = None
            raise ApiError(0, "NoAnswer", "connection reset")

        kube.after = lose
        holding = asyncio.create_task(mine.hold())
        await asyncio.sleep(60)
        assert kube.after is None
        assert not holding.done()
        holding.cancel()

    @pytest.mark.parametrize("broken", [refuse, never], ids=["it refuses", "it gives no answer"])
    async def test_it_ends_before_another_may_begin(self, looptime: Any, broken: Any) -> None:
        kube = FakeKube()
        mine = await self.held(kube)
        asyncio.get_running_loop().call_later(21, setattr, kube, "before", broken)
        await mine.hold()
        assert looptime <= 20 + 15 - 5
        assert looptime >= 25
        kube.before = None
        await lease(kube, "other").acquire()
        assert looptime > 35


class TestRelease:
    async def test_a_lease_of_another_is_left_alone(self) -> None:
        kube = FakeKube()
        await lease(kube, "other").acquire()
        await lease(kube).release()
        assert spec(kube)["holderIdentity"] == "other"
        assert len(kube.writes) == 1

    async def test_a_lease_that_is_gone_is_no_error(self) -> None:
        kube = FakeKube()
        await lease(kube).release()
        assert kube.writes == []

    async def test_an_api_server_that_is_away_is_no_error(self) -> None:
        kube = FakeKube()
        mine = lease(kube)
        await mine.acquire()
        kube.before = refuse
        await mine.release()
        assert spec(kube)["holderIdentity"] == "me"
