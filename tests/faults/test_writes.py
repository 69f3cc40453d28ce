"""F1, F2: a fault at each single write of a build, one after the other. Every run ends as the undisturbed one does."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from copr_operator.kube.client import KubeClient
from tests.faults.scenario import LONG, ONE, SEED, THREE, scenario
from tests.support.api_faults import Call, Fault, Kill, Lose, Swallow
from tests.support.world import world

KINDS: dict[str, Fault] = {
    "killed-before": Kill(carried_out=False),
    "killed-after": Kill(carried_out=True),
    "lost": Lose(),
    "swallowed": Swallow(),
}
WRITES = {ONE: 6, THREE: 8}
"""Writes of an undisturbed build, at least; that of a chroot's Job is among them."""
MOST = 40
AT_ONCE = 4


def at_write(number: int, fault: Fault) -> Callable[[Call], Fault | None]:
    """The fault at the write of that number, Leases apart; once, whoever makes it."""
    seen = 0

    def decide(call: Call) -> Fault | None:
        nonlocal seen
        if not call.write or call.resource == "leases":
            return None
        seen += 1
        return fault if seen == number else None

    return decide


async def one_run(kube: KubeClient, tmp: Path, chroots: tuple[str, ...], number: int, fault: Fault) -> bool:
    """Whether the build made that many writes."""
    folder = tmp / f"{len(chroots)}-{number}"
    folder.mkdir()
    async with world(kube, folder) as here, scenario(here, chroots, fault=at_write(number, fault)) as run:
        await here.create_build()
        await run.ended("hello")
        build = await here.build()
        assert [c["attempt"] for c in build["status"]["chroots"]] == [1] * len(chroots), f"at write {number}"
        assert len(run.judge.works) == 1 + len(chroots), f"at write {number}"
        return bool(run.controllers.made)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_at_any_single_write_changes_nothing_of_how_a_build_ends(
    kube: KubeClient, tmp_path: Path, kind: str
) -> None:
    """Some writes of builds with one and with three chroots; the next test is for all of them."""
    pick = random.Random(f"{SEED}/{kind}")  # noqa: S311
    wanted = [(chroots, number) for chroots, most in WRITES.items() for number in pick.sample(range(1, most + 1), 2)]
    made = await asyncio.gather(*(one_run(kube, tmp_path, *one, KINDS[kind]) for one in wanted))
    assert all(made), f"no fault at one of {wanted}"


@pytest.mark.skipif(not LONG, reason="a long run: make faults")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chroots", WRITES, ids=["1-chroot", "3-chroots"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_at_each_single_write_changes_nothing_of_how_a_build_ends(
    kube: KubeClient, tmp_path: Path, kind: str, chroots: tuple[str, ...]
) -> None:
    number, more, made = 1, True, 0
    while more:
        numbers = range(number, number + AT_ONCE)
        results = await asyncio.gather(*(one_run(kube, tmp_path, chroots, n, KINDS[kind]) for n in numbers))
        number, more, made = number + AT_ONCE, all(results), made + sum(results)
        assert number < MOST, "a build that does not stop to write"
    assert made >= WRITES[chroots], "too few writes to have been a build"
