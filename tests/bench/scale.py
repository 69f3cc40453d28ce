"""How cost grows with the number of builds that one process sees end: P3 and P4 again, sustained, and P5's slope.

The finished Jobs stay for an hour (ttlSecondsAfterFinished), and so does what the controller knows of them: this is the
memory of an hour of builds, while `history` measures that of years.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench import arena, contestants, load, procfs
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
    idle_mib: float


async def measure(cluster: Cluster, sizes: Sizes, report: Callable[[str], None]) -> Scaling:
    scaling = Scaling({MINIMAL: {}, OURS: {}}, 0.0)
    for name, samples in scaling.samples.items():
        async with arena.stage(cluster, SINGLE) as stage, contestants.start(name, stage) as contestant:
            if name == OURS and contestant.pid is not None:
                scaling.idle_mib = procfs.rss_mib(contestant.pid)
            for count in sizes.scale:
                samples[count] = await load.burst(contestant, stage, count, sizes.window)
                report(f"{name}: {count} single-Job builds, {samples[count].jobs_per_second:.1f} Jobs/s")
    return scaling


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
    ]  # fmt: skip
