"""How cost grows with the number of builds that one process sees end: P3 and P4 again, sustained, and P5's slope.

The finished Jobs stay for an hour (ttlSecondsAfterFinished), and so does what the controller knows of them: this is the
memory of an hour of builds, while `history` measures that of years.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from copr_operator.core import names
from tests.bench import arena, contestants, load, procfs
from tests.bench.arena import Stage
from tests.bench.contestants import MINIMAL, OURS
from tests.bench.figures import Figure, Target, slope
from tests.bench.load import Sample
from tests.bench.shapes import SINGLE
from tests.bench.sizes import Sizes
from tests.cluster.api import Cluster


@dataclass
class Scaling:
    """By contestant: the sample of each number of builds. RSS is after all builds so far, the idle one before any."""

    samples: dict[str, dict[int, Sample]]
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
    most = max(ours)
    total, points = 0, [(0.0, scaling.idle_mib)]
    for count, sample in ours.items():
        total += count
        points.append((total / 1000, sample.rss_mib))
    return [
        Figure(
            "P3", f"Jobs a second, sustained over {most} single-Job builds", "/s", ours[most].jobs_per_second,
            baseline=minimal[most].jobs_per_second, target=Target(">=", 0.8, "ratio"),
        ),
        Figure(
            "P4", f"controller, 1,000 builds of {most}", "CPU s", ours[most].per_thousand(ours[most].controller_cpu),
            baseline=minimal[most].per_thousand(minimal[most].controller_cpu), target=Target("<=", 5),
        ),
        Figure("P5", f"RSS after {total} builds of the last hour", "MiB", points[-1][1], target=Target("<=", 150)),
        Figure("P5", "growth of RSS for 1,000 builds of the last hour", "MiB", slope(points), target=Target("<=", 1)),
        Figure("P5", f"RSS of a restart after {total} builds of the last hour", "MiB", scaling.restart_mib),
        Figure("P6", f"process start to the first new Job, {total} builds of the last hour", "s", scaling.restart),
    ]  # fmt: skip
