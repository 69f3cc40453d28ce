"""One run under faults: a world with a project, a controller that is kept running, a recorder and a judge of it all."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from copr_operator.api.common import TERMINAL
from copr_operator.core.outcome import POD_LAG
from copr_operator.kube.client import KubeClient
from tests.support.api_faults import Call, Event, Fault
from tests.support.deployment import Deployment
from tests.support.judge import Judge
from tests.support.recorder import Recorder
from tests.support.world import World, eventually, world

ONE = ("debian-13-x86_64",)
THREE = ("debian-12-x86_64", "debian-13-x86_64", "fedora-43-x86_64")

LONG = int(os.environ.get("COPR_FAULT_RUNS", "0"))
"""How many random runs; also makes the enumerations complete. 0: the bounded selection of `make test`."""
long_run = pytest.mark.skipif(not LONG, reason="part of the long run: make faults")
SIZES = [ONE, THREE] if LONG else [THREE]
SEED = os.environ.get("COPR_FAULT_SEED") or secrets.token_hex(4)
"""Printed with every failure; COPR_FAULT_SEED=... makes the same plan of faults again."""

LIMIT = 60.0 + POD_LAG
"""Seconds after the last fault within which every build must have ended (I3); one whose pod is gone may wait for its
end as long as for one that a silent watch does not show."""
AT_ONCE = 4
"""Worlds that are played at the same time: nearly all of a world's time is waiting."""


@dataclass
class Run:
    """What a test works with."""

    here: World
    controllers: Deployment
    recorder: Recorder
    judge: Judge

    async def ended(self, *names: str, states: tuple[str, ...] = ("succeeded",), limit: float | None = None) -> None:
        """Each of these builds ends in time, in one of these states; faults go on meanwhile."""
        for name in names:
            build = await self.here.until(lambda b: b.get("status", {}).get("state") in TERMINAL, name, limit or LIMIT)
            assert build["status"]["state"] in states, build["status"]

    async def judged(self) -> Judge:
        """The judge, once it knows all that was committed before now. Raises AssertionError for any violation."""
        await self.recorder.check()
        return self.judge

    async def calm(self) -> None:
        """No more faults; then nothing lives that nobody needs (I3, I5). Raises AssertionError for any violation."""
        self.controllers.calm()
        why = ""

        async def probe() -> bool:
            nonlocal why
            await self.recorder.check()
            try:
                self.judge.check_calm()
            except AssertionError as error:
                why = str(error)
                return False
            return True

        await eventually(probe, lambda: why, LIMIT)


@contextlib.asynccontextmanager
async def scenario(
    here: World,
    chroots: tuple[str, ...] = ONE,
    *,
    fault: Callable[[Call], Fault | None] | None = None,
    event: Callable[[Call, int, dict[str, Any]], Event] | None = None,
    **settings: Any,
) -> AsyncIterator[Run]:
    """A run; at its end all must become calm, and nothing may ever have been violated."""
    judge = Judge()
    recorder = Recorder(here.kube, here.namespace, judge.change)
    await here.create_chroots(*chroots)
    await here.create_project(*chroots)
    async with recorder.serve(), Deployment(here, fault=fault, event=event, **settings).serve() as controllers:
        run = Run(here, controllers, recorder, judge)
        yield run
        await run.calm()
        assert recorder.changes, "nothing was recorded"


async def side_by_side(
    kube: KubeClient, tmp: Path, cases: Mapping[str, Callable[[World], Coroutine[Any, Any, None]]]
) -> None:
    """Plays every case in a world of its own, AT_ONCE at the same time. The first that fails ends the others."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def play(name: str, case: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async with limit:
            folder = tmp / name
            folder.mkdir()
            try:
                async with world(kube, folder) as here:
                    await case(here)
            except Exception as error:
                error.add_note(f"in the case {name!r}")
                raise

    async with asyncio.TaskGroup() as group:
        for name, case in cases.items():
            group.create_task(play(name, case))
