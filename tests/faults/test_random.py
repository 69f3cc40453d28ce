"""Random plans: faults of requests and watches, kills, pods of every end, cancels and deletions, all at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.scenario import LONG, SEED, THREE, scenario
from tests.support.api_faults import Answer, Call, Delay, Event, Fault, Kill, Lose, Swallow
from tests.support.fake_kubelet import Status, disrupted, fail_build, plan_of, succeed
from tests.support.world import World

FAULTS: tuple[Fault, ...] = (
    Answer(409), Answer(429, retry_after=1), Answer(500), Answer(503), Lose(), Swallow(), Delay(0.5),
    Kill(carried_out=False), Kill(carried_out=True),
)  # fmt: skip
SHARE = 0.12
"""Of the requests, and of the events, that go wrong."""
BUILDS = 4


def seeds() -> list[str]:
    """One plan by the given seed, or as many as a long run asks for."""
    return [SEED] if LONG <= 1 else [f"{SEED}-{number}" for number in range(LONG)]


def faults(seed: str) -> Callable[[Call], Fault | None]:
    """The nth request of a kind has always the same fault, whatever else happens. At most four kills."""
    kills = 0

    def decide(call: Call) -> Fault | None:
        nonlocal kills
        chooser = random.Random(f"{seed}/{call.method}/{call.resource}/{call.number}")  # noqa: S311
        if call.watch or call.resource == "leases" or chooser.random() > SHARE:
            return None
        fault = chooser.choice(FAULTS if call.write else FAULTS[1:])  # nothing conflicts with a read
        kills += isinstance(fault, Kill)
        return None if isinstance(fault, Kill) and kills > 4 else fault

    return decide


def events(seed: str) -> Callable[[Call, int, dict[str, Any]], Event]:
    counts: Counter[str] = Counter()

    def decide(call: Call, _number: int, _event: dict[str, Any]) -> Event:
        if call.resource == "leases":
            return Event.PASS
        counts[call.resource] += 1
        chooser = random.Random(f"{seed}/{call.resource}/{counts[call.resource]}")  # noqa: S311
        return chooser.choice(list(Event)) if chooser.random() < SHARE else Event.PASS

    return decide


def pods(seed: str) -> Callable[[dict[str, Any]], Status | None]:
    """How a pod ends follows from the seed, its build's id, its step and attempt; most succeed."""

    def behaviour(pod: dict[str, Any]) -> Status | None:
        plan = plan_of(pod)
        chooser = random.Random(f"{seed}/{plan.build_id}/{plan.chroot}/{plan.attempt}")  # noqa: S311
        return chooser.choices((succeed, fail_build, disrupted), (8, 1, 1))[0](pod)

    return behaviour


@pytest.mark.parametrize("seed", seeds())
async def test_every_plan_of_faults_ends_well(here: World, seed: str) -> None:
    chooser = random.Random(seed)  # noqa: S311
    here.kubelet.behaviour = pods(seed)
    async with scenario(here, THREE, fault=faults(seed), event=events(seed), resync_seconds=1.0) as run:
        for number in range(BUILDS):
            wanted = list(THREE) if chooser.random() < 0.5 else [chooser.choice(THREE)]
            await here.create_build(f"b{number}", chroots=wanted)
        await asyncio.sleep(chooser.random() * 3)
        if chooser.random() < 0.5:
            await here.patch_build("b0", {"spec": {"cancel": True}})
        if chooser.random() < 0.5:
            await here.delete("coprbuilds", "b1")
        others = [f"b{number}" for number in range(2, BUILDS)]
        await asyncio.sleep(chooser.random() * 3)
        run.controllers.calm()
        await run.ended("b0", *others, states=("succeeded", "failed", "canceled"))
        assert run.controllers.made, f"no fault was made: COPR_FAULT_SEED={seed}"
