"""The two loads: builds one by one on an idle machine, and many at once. Each gives one Sample for each run."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from copr_operator.core import names
from tests.bench import procfs
from tests.bench.arena import Stage, control_plane_seconds
from tests.bench.contestants import Contestant
from tests.bench.observer import BenchError, Unit

WRITERS = 50
"""Requests of the user that are under way at the same time."""
PATIENCE = 60.0
Submit = Callable[[], Awaitable[list[str]]]


@dataclass(frozen=True)
class Sample:
    """What one load on one contestant cost, and when what happened in it."""

    units: tuple[Unit, ...]
    seconds: float
    """From the first request to the last end."""
    jobs: int
    controller_cpu: float
    control_plane_cpu: float
    rss_mib: float
    """Of the controller, when the load was over."""
    starts: list[float] = field(default_factory=list)
    """Seconds from the accepted CoprBuild to its first Job."""
    handovers: list[float] = field(default_factory=list)
    """Seconds from the end of the source pod to the last chroot's Job; where the observer looked at pods."""
    ends: list[float] = field(default_factory=list)
    """Seconds from the end of the last pod to the build's final state; where the observer looked at pods."""
    totals: list[float] = field(default_factory=list)
    """Seconds from the accepted CoprBuild to its final state."""

    @property
    def jobs_per_second(self) -> float:
        return self.jobs / self.seconds

    def per_thousand(self, seconds: float) -> float:
        """Seconds for 1,000 builds."""
        return seconds * 1000 / len(self.units)


async def idle(contestant: Contestant, stage: Stage, count: int, spacing: float = 0.5) -> Sample:
    """Builds that hardly meet each other: one every `spacing` seconds."""

    async def submit_all() -> list[str]:
        uids = []
        for _ in range(count):
            uids.append(await contestant.submit())
            await asyncio.sleep(spacing)
        return uids

    return await _measured(contestant, stage, submit_all)


async def burst(contestant: Contestant, stage: Stage, count: int, window: int | None = None) -> Sample:
    """All builds as fast as the API server takes them; at most `window` of them unfinished at any time."""
    observer = stage.observer

    async def submit_all() -> list[str]:
        limit, before, sent = asyncio.Semaphore(WRITERS), observer.ended, 0

        async def one() -> str:
            nonlocal sent
            async with limit:
                sent += 1
                if window is not None:
                    await observer.until_ended(before + sent - window, PATIENCE)
                return await contestant.submit()

        return list(await asyncio.gather(*(one() for _ in range(count))))

    return await _measured(contestant, stage, submit_all)


async def sustained(contestant: Contestant, stage: Stage, seconds: float, window: int) -> Sample:
    """`window` unfinished builds at any time, for so long."""
    observer, loop = stage.observer, asyncio.get_running_loop()

    async def submit_all() -> list[str]:
        uids: list[str] = []
        before, end, sent = observer.ended, loop.time() + seconds, 0

        async def writer() -> None:
            nonlocal sent
            while loop.time() < end:
                sent += 1
                await observer.until_ended(before + sent - window, PATIENCE)
                uids.append(await contestant.submit())

        await asyncio.gather(*(writer() for _ in range(WRITERS)))
        return uids

    return await _measured(contestant, stage, submit_all)


async def _measured(contestant: Contestant, stage: Stage, submit_all: Submit) -> Sample:
    observer, loop = stage.observer, asyncio.get_running_loop()
    before = observer.ended
    cpu = procfs.cpu_seconds(contestant.pid) if contestant.pid else 0.0
    plane = control_plane_seconds(stage.cluster)
    began = loop.time()
    uids = await submit_all()
    await observer.until_ended(before + len(uids), PATIENCE)
    units = tuple(observer.units[uid] for uid in uids)
    ends = [unit.ended for unit in units if unit.ended is not None]
    # A build ends with its pods; what its Jobs cost is known when the Job controller has done with them.
    await observer.until(
        lambda: all(len(unit.done) == stage.shape.jobs for unit in units), PATIENCE, lambda: "not all Jobs are complete"
    )
    if wrong := [unit for unit in units if unit.state not in ("succeeded", "skipped")]:
        raise BenchError(f"{len(wrong)} builds ended otherwise than they should: {wrong[0]}")
    return Sample(
        units=units,
        seconds=max(ends) - began,
        jobs=len(uids) * stage.shape.jobs,
        controller_cpu=procfs.cpu_seconds(contestant.pid) - cpu if contestant.pid else 0.0,
        control_plane_cpu=control_plane_seconds(stage.cluster) - plane,
        rss_mib=procfs.rss_mib(contestant.pid) if contestant.pid else 0.0,
        **_spans(units),
    )


def _spans(units: tuple[Unit, ...]) -> dict[str, list[float]]:
    spans: dict[str, list[float]] = {"starts": [], "handovers": [], "ends": [], "totals": []}
    for unit in units:
        assert unit.ended is not None
        spans["starts"].append(max(0.0, unit.made[names.SOURCE_STEP] - unit.posted))
        spans["totals"].append(unit.ended - unit.posted)
        if unit.left:
            spans["ends"].append(max(0.0, unit.ended - max(unit.left.values())))
        if unit.left and len(unit.made) > 1:
            spans["handovers"].append(max(0.0, max(_chroots(unit)) - unit.left[names.SOURCE_STEP]))
    return spans


def _chroots(unit: Unit) -> Iterator[float]:
    return (time for step, time in unit.made.items() if step != names.SOURCE_STEP)
