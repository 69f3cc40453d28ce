"""F1, F2: a fault at each single write of a build, one after the other. Every run ends as the undisturbed one does."""

import random
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from copr_operator.kube.client import KubeClient
from tests.faults.scenario import AT_ONCE, LONG, ONE, SEED, THREE, long_run, scenario, side_by_side
from tests.support.api_faults import Call, Fault, Kill, Lose, Swallow
from tests.support.world import World

KINDS: dict[str, Fault] = {
    "killed-before": Kill(carried_out=False),
    "killed-after": Kill(carried_out=True),
    "lost": Lose(),
    "swallowed": Swallow(),
}
WRITES = {ONE: 6, THREE: 8}
"""Writes of an undisturbed build, at least; that of a chroot's Job is among them."""
MOST = 40


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


async def one_run(chroots: tuple[str, ...], number: int, fault: Fault, made: list[bool], here: World) -> None:
    """`made`: gets whether the build made that many writes."""
    async with scenario(here, chroots, fault=at_write(number, fault)) as run:
        await here.create_build()
        await run.ended("hello")
        build = await here.build()
        assert [c["attempt"] for c in build["status"]["chroots"]] == [1] * len(chroots)
        assert len((await run.judged()).works) == 1 + len(chroots)
        made.append(bool(run.controllers.made))


Case = Callable[[World], Coroutine[Any, Any, None]]


async def test_f1_f2_a_fault_at_any_single_write_changes_nothing_of_how_a_build_ends(
    kube: KubeClient, tmp_path: Path
) -> None:
    """Some writes of builds with one and with three chroots; the next test is for all of them."""
    made: list[bool] = []
    cases: dict[str, Case] = {}
    for kind, fault in KINDS.items():
        pick = random.Random(f"{SEED}/{kind}")  # noqa: S311
        for chroots, most in WRITES.items():
            for number in pick.sample(range(1, most + 1), 2 if LONG else 1):
                name = f"{kind}-{number}-of-{len(chroots)}-chroots"
                cases[name] = partial(one_run, chroots, number, fault, made)
    await side_by_side(kube, tmp_path, cases)
    assert all(made), f"no fault at one of {list(cases)}"


@long_run
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chroots", WRITES, ids=["1-chroot", "3-chroots"])
@pytest.mark.parametrize("kind", KINDS)
async def test_f1_f2_a_fault_at_each_single_write_changes_nothing_of_how_a_build_ends(
    kube: KubeClient, tmp_path: Path, kind: str, chroots: tuple[str, ...]
) -> None:
    made: list[bool] = []
    while all(made):
        first = len(made) + 1
        assert first < MOST, "a build that does not stop to write"
        numbers = range(first, first + AT_ONCE)
        cases = {f"write-{n}": partial(one_run, chroots, n, KINDS[kind], made) for n in numbers}
        await side_by_side(kube, tmp_path, cases)
    assert sum(made) >= WRITES[chroots], "too few writes to have been a build"
