"""F7, F8: the API server refuses, is busy, slow or away; a user edits beside the controller."""

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from copr_operator.kube.client import ApiError, KubeClient
from tests.cluster.api import Cluster
from tests.faults.scenario import LONG, ONE, SEED, SIZES, THREE, Run, long_run, scenario, side_by_side
from tests.support.api_faults import Answer, Call, Delay, Fault, Hang, Lose, Swallow, every
from tests.support.world import World, eventually

KINDS: dict[str, Callable[[Call], Fault | None]] = {
    "f7-409-at-every-2nd-status-write": every(2, Answer(409), resource="coprbuilds/status"),
    "f7-409-at-every-3rd-write": every(3, Answer(409), method="PATCH"),
    "f8-429-with-retry-after": every(3, Answer(429, retry_after=1)),
    "f8-500": every(3, Answer(500)),
    "f8-503-at-every-2nd-job": every(2, Answer(503), method="POST", resource="jobs"),
    "f5-410-at-every-2nd-list": every(2, Answer(410), method="GET", resource="coprbuilds"),
    "slow": every(3, Delay(0.4)),
}


async def test_f5_f7_f8_builds_end_right_whatever_the_api_server_refuses(kube: KubeClient, tmp_path: Path) -> None:
    """Each kind with one and with three chroots in a long run, else with one of them."""

    async def case(kind: str, chroots: tuple[str, ...], here: World) -> None:
        async with scenario(here, chroots, fault=KINDS[kind], resync_seconds=2.0) as run:
            await here.create_build("one")
            await here.create_build("two")
            await run.ended("one", "two")
            assert len((await run.judged()).works) == 2 * (1 + len(chroots))
            assert run.controllers.made, "no fault was made"

    cases = {
        f"{kind}-{len(chroots)}-chroots": partial(case, kind, chroots)
        for number, kind in enumerate(KINDS)
        for chroots in (ONE, THREE)
        if LONG or (number % 2 == 0) == (chroots is THREE)
    }
    await side_by_side(kube, tmp_path, cases)


async def test_f7_a_user_who_edits_all_the_time_loses_nothing_and_stops_nothing(here: World) -> None:
    """Labels and `results` change under every write of the controller's."""
    async with scenario(here, THREE) as run, editor(here) as edits:
        await here.create_build()
        await run.ended("hello")
        build = await here.build()
    assert len(edits) > 5
    assert build["metadata"]["labels"]["edit"] in edits


async def etcd(cluster: Cluster, what: str, body: dict[str, Any]) -> dict[str, Any]:
    """One request to etcd's JSON gateway. Raises ClusterError for an etcd that others may be using."""
    cluster.require_own()
    port = json.loads((cluster.home / "state.json").read_text())["ports"]["etcd"]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/v3/{what}", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json(content_type=None)
        return found


@contextlib.asynccontextmanager
async def editor(here: World) -> AsyncIterator[list[str]]:
    edits: list[str] = []

    async def edit() -> None:
        while True:
            number, spec = str(len(edits)), {"results": ("Retain", "Delete")[len(edits) % 2]}
            edits.append(number)
            body = {"metadata": {"labels": {"edit": number}}, "spec": spec}
            with contextlib.suppress(ApiError):  # it is not there yet
                await here.patch_build("hello", body)
            await asyncio.sleep(0.05 * (1 + len(edits) / 20))  # a slow machine must come to write between two of them

    task = asyncio.create_task(edit())
    try:
        yield edits
    finally:
        task.cancel()
        await asyncio.wait({task})


def another(run: Run, first: int) -> Callable[[], Coroutine[Any, Any, bool]]:
    """Whether the controller of that generation has ended, and the next one has been started."""

    async def probe() -> bool:
        return run.controllers.generation > first

    return probe


async def test_f8_an_api_server_that_answers_nothing_for_a_while_is_asked_again(here: World) -> None:
    """Every request hangs or breaks; the Lease is lost with it, and the next controller goes on."""
    away = False
    pick = random.Random(SEED)  # noqa: S311

    def fault(call: Call) -> Fault | None:
        return pick.choice((Hang(), Lose(), Swallow(), Answer(503))) if away else None

    async with scenario(here, THREE, fault=fault, lease_duration=3.0, lease_renew=0.5) as run:
        await here.create_build()
        await here.until(lambda b: (b.get("status") or {}).get("id"))
        away, first = True, run.controllers.generation
        await eventually(another(run, first), lambda: "the controller keeps a Lease that it can't renew")
        away = False
        await run.ended("hello")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", ["kube-apiserver", "etcd"])
@pytest.mark.parametrize("kill", [False, True] if LONG else [True], ids=lambda kill: "killed" if kill else "stopped")
@pytest.mark.parametrize("chroots", SIZES, ids=lambda chroots: f"{len(chroots)}-chroots")
async def test_f8_f9_builds_end_right_over_a_restart_of_etcd_and_of_the_api_server(
    here: World, cluster: Cluster, part: str, kill: bool, chroots: tuple[str, ...]
) -> None:
    async with scenario(here, chroots, resync_seconds=5.0) as run:
        for number in range(3):
            await here.create_build(f"b{number}")
        await here.until(lambda b: (b.get("status") or {}).get("id"), "b0")
        run.judge.blinded = True
        await asyncio.to_thread(cluster.stop_part, part, kill=kill)
        await asyncio.to_thread(cluster.start_part, part)
        # The Job controller's watches come back with pauses that grow with the time they were away.
        await run.ended("b0", "b1", "b2", limit=180)


@long_run
@pytest.mark.timeout(300)
async def test_f8_builds_end_right_after_a_minute_without_an_api_server(here: World, cluster: Cluster) -> None:
    """Longer than the Lease lasts, and than any pause between two tries."""
    async with scenario(here, THREE, resync_seconds=5.0) as run:
        await here.create_build()
        await here.until(lambda b: (b.get("status") or {}).get("id"))
        run.judge.blinded = True
        await asyncio.to_thread(cluster.stop_part, "kube-apiserver")
        await asyncio.sleep(60)
        await asyncio.to_thread(cluster.start_part, "kube-apiserver")
        await run.ended("hello", limit=180)  # the Job controller's watches come back with pauses of up to a minute


async def test_f9_builds_end_right_when_the_disk_of_etcd_stands_still_for_a_while(
    here: World, cluster: Cluster
) -> None:
    """Requests hang, and are then carried out all at once; whoever gave them up asks again."""
    cluster.require_own()
    pid = next(part.pid for part in cluster.status() if part.name == "etcd")
    assert pid is not None
    async with scenario(here, THREE, resync_seconds=5.0, lease_duration=4.0, lease_renew=1.0) as run:
        await here.create_build()
        await here.until(lambda b: (b.get("status") or {}).get("id"))
        first = run.controllers.generation
        run.judge.blinded = True  # a create that was given up may have been carried out: there may be two pods
        os.kill(pid, signal.SIGSTOP)
        try:
            await eventually(another(run, first), lambda: "the controller keeps a Lease that it can't renew")
        finally:
            os.kill(pid, signal.SIGCONT)
        await run.ended("hello")


async def test_f9_builds_end_right_over_a_compaction(here: World, cluster: Cluster) -> None:
    """Every version that a watch could go on from is gone."""
    async with scenario(here, THREE, resync_seconds=5.0) as run:
        await here.create_build()
        build = await here.until(lambda b: (b.get("status") or {}).get("id"))
        await etcd(cluster, "kv/compaction", {"revision": build["metadata"]["resourceVersion"], "physical": True})
        run.controllers.kill()
        await run.ended("hello")


async def test_f9_a_full_etcd_stops_builds_and_they_go_on_by_themselves(here: World, cluster: Cluster) -> None:
    """The NOSPACE alarm, as etcd raises it at its quota: reads go on, every write is refused."""
    async with scenario(here, ONE, lease_duration=5.0, lease_renew=1.0) as run:
        await here.create_build()
        await here.until(lambda b: (b.get("status") or {}).get("id"))
        member = (await etcd(cluster, "cluster/member/list", {}))["members"][0]["ID"]
        alarm = {"memberID": member, "alarm": "NOSPACE"}
        await etcd(cluster, "maintenance/alarm", {**alarm, "action": "ACTIVATE"})
        try:
            with pytest.raises(ApiError, match="space exceeded"):
                await here.create_build("refused")
            first = run.controllers.generation
            await eventually(another(run, first), lambda: "the controller keeps a Lease that it can't renew")
        finally:
            await etcd(cluster, "maintenance/alarm", {**alarm, "action": "DEACTIVATE"})
        await run.ended("hello")
