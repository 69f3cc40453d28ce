"""How cost grows with the number of builds that one process sees end: P3 and P4 again, sustained, and P5's slope.

The finished Jobs stay for an hour (ttlSecondsAfterFinished), and so does what the controller knows of them: this is the
memory of an hour of builds, while `history` measures that of years.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from copr_operator.core import names
from tests.bench import arena, contestants, load, procfs
from tests.bench.arena import Stage
from tests.bench.contestants import BARE, MINIMAL, OURS
from tests.bench.figures import Figure, Target, slope
from tests.bench.load import Sample
from tests.bench.shapes import SINGLE
from tests.bench.sizes import Sizes
from tests.cluster.api import Cluster


@dataclass
class Scaling:
    """By contestant: the sample of each number of builds. RSS is after all builds so far, the idle one before any."""

    samples: dict[str, dict[int, Sample]]
    sustained: dict[str, Sample] = field(default_factory=dict)
    """After those, by contestant: as much as goes through in `Sizes.sustained` seconds."""
    idle_mib: float = 0.0
    restart: float = 0.0
    """Seconds from the start of a new process to its first Job, while the Jobs of all those builds are there."""
    restart_mib: float = 0.0


async def measure(cluster: Cluster, sizes: Sizes, report: Callable[[str], None]) -> Scaling:
    scaling = Scaling({MINIMAL: {}, OURS: {}})
    for name, samples in scaling.samples.items():
        async with arena.stage(cluster, SINGLE) as stage:
            async with contestants.start(name, stage) as contestant:
                if name == OURS and contestant.pid is not None:
                    scaling.idle_mib = procfs.rss_mib(contestant.pid)
                for count in sizes.scale:
                    samples[count] = await load.burst(contestant, stage, count, sizes.window)
                    report(f"{name}: {count} single-Job builds, {samples[count].jobs_per_second:.1f} Jobs/s")
                scaling.sustained[name] = sample = await load.sustained(
                    contestant, stage, sizes.sustained, sizes.window
                )
                report(f"{name}: {len(sample.units)} builds in {sample.seconds:.0f} s, {sample.jobs_per_second:.1f}/s")
            if name == OURS:
                await _restart(stage, scaling)
                report(f"{name}: restart among their Jobs in {scaling.restart:.1f} s, {scaling.restart_mib:.0f} MiB")
    return scaling


async def _restart(stage: Stage, scaling: Scaling) -> None:
    began, ended = asyncio.get_running_loop().time(), stage.observer.ended
    async with contestants.behind(OURS, stage, stage.cluster.kubeconfig) as contestant:
        uid = await contestant.submit()
        await stage.observer.until_ended(ended + 1, load.PATIENCE)
        scaling.restart = stage.observer.units[uid].made[names.SOURCE_STEP] - began
        scaling.restart_mib = procfs.rss_mib(contestant.pid) if contestant.pid is not None else 0.0


def figures(scaling: Scaling) -> list[Figure]:
    ours, minimal = scaling.samples[OURS], scaling.samples[MINIMAL]
    most, steady, its = max(ours), scaling.sustained[OURS], scaling.sustained[MINIMAL]
    total, points = 0, [(0.0, scaling.idle_mib)]
    for count, sample in ours.items():
        total += count
        points.append((total / 1000, sample.rss_mib))
    total += len(steady.units)
    points.append((total / 1000, steady.rss_mib))
    return [
        Figure(
            "P3", f"Jobs a second, sustained for {steady.seconds:.0f} s", "/s", steady.jobs_per_second,
            baseline=its.jobs_per_second, target=Target(">=", 0.8, "ratio"),
        ),
        Figure(
            "P4", f"controller, 1,000 builds of {most}", "CPU s", ours[most].per_thousand(ours[most].controller_cpu),
            baseline=minimal[most].per_thousand(minimal[most].controller_cpu), target=Target("<=", 5),
        ),
        Figure(
            "P4", f"controller, 1,000 builds, sustained for {steady.seconds:.0f} s", "CPU s",
            steady.per_thousand(steady.controller_cpu), baseline=its.per_thousand(its.controller_cpu),
            target=Target("<=", 5),
        ),
        Figure("P5", f"RSS after {total} builds of the last hour", "MiB", points[-1][1], target=Target("<=", 150)),
        # The first load brings the process to its size; what grows afterwards grows for ever.
        Figure("P5", "growth of RSS for 1,000 builds of the last hour", "MiB", slope(points[1:]),
               target=Target("<=", 1)),
        Figure("P5", f"RSS of a restart after {total} builds of the last hour", "MiB", scaling.restart_mib),
        Figure("P6", f"process start to the first new Job, {total} builds of the last hour", "s", scaling.restart),
    ]  # fmt: skip


async def measure_defaults(cluster: Cluster, sizes: Sizes, report: Callable[[str], None]) -> list[Figure]:
    """P3 under the settings that a cluster has when nobody has changed them."""
    rates = {}
    with arena.default_controller_manager(cluster):
        for name in (BARE, OURS):
            async with arena.stage(cluster, SINGLE) as stage, contestants.start(name, stage) as contestant:
                rates[name] = (await load.burst(contestant, stage, sizes.default_jobs)).jobs_per_second
            report(f"{name}: {rates[name]:.1f} Jobs/s with the controller manager's defaults")
    return [
        Figure("P3", "Jobs a second with the controller manager's defaults, beside bare Jobs", "/s", rates[OURS],
               baseline=rates[BARE], target=Target(">=", 0.8, "ratio"))
    ]  # fmt: skip
