"""P1, P3 and P4: the three contestants under the two loads, interleaved, and what follows for the operator."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.bench import arena, contestants, load
from tests.bench.contestants import BARE, MINIMAL, OURS
from tests.bench.figures import Figure, Target, figure, percentile
from tests.bench.load import Sample
from tests.bench.shapes import SINGLE, Shape
from tests.bench.sizes import Sizes
from tests.cluster.api import Cluster

ONE, FOUR = Shape(1), Shape(4)
Samples = defaultdict[tuple[str, Shape], list[Sample]]


@dataclass
class Loads:
    """Samples by contestant and shape, one for each round."""

    idle: Samples = field(default_factory=lambda: defaultdict(list))
    burst: Samples = field(default_factory=lambda: defaultdict(list))


async def measure(cluster: Cluster, sizes: Sizes, wanted: frozenset[str], report: Callable[[str], None]) -> Loads:
    """All loads. The order of the contestants rotates, so that none always comes first."""
    loads = Loads()
    for number in range(sizes.rounds):
        order = contestants.NAMES[number % 3 :] + contestants.NAMES[: number % 3]
        if "P1" in wanted:
            for name in order:
                async with arena.stage(cluster, ONE, pods=True) as stage, contestants.start(name, stage) as contestant:
                    sample = await load.idle(contestant, stage, sizes.idle)
                loads.idle[name, ONE].append(sample)
                report(f"round {number + 1}: {name}: {len(sample.units)} builds one by one")
        if wanted & {"P3", "P4"}:
            for shape in (SINGLE, ONE, FOUR):
                for name in order:
                    async with arena.stage(cluster, shape) as stage, contestants.start(name, stage) as contestant:
                        sample = await load.burst(contestant, stage, sizes.burst(shape))
                    loads.burst[name, shape].append(sample)
                    report(f"round {number + 1}: {name}: {sample.jobs} Jobs ({shape}), {sample.jobs_per_second:.1f}/s")
    return loads


def latency(loads: Loads) -> list[Figure]:
    """P1. Percentiles are over all rounds; the baseline is the minimal controller, for the whole way bare Jobs."""
    ours, minimal, bare = (loads.idle[name, ONE] for name in (OURS, MINIMAL, BARE))

    def line(name: str, what: str, percent: int, bound: float) -> Figure:
        return Figure(
            "P1", f"{name}, p{percent}", "ms", _ms(ours, what, percent),
            baseline=_ms(minimal, what, percent), target=Target("<=", bound),
        )  # fmt: skip

    start, handover, end = "CoprBuild accepted to first Job", "SRPM pod's end to chroot Job", "last pod's end to end"
    return [
        line(start, "starts", 50, 15),
        line(start, "starts", 99, 50),
        line(handover, "handovers", 50, 20),
        line(end, "ends", 50, 10),
        line(end, "ends", 99, 30),
        Figure(
            "P1", "whole build 1+1, p50", "ms", _ms(ours, "totals", 50),
            baseline=_ms(bare, "totals", 50), target=Target("<=", 50, "difference"),
        ),
    ]  # fmt: skip


def _ms(samples: Iterable[Sample], what: str, percent: int) -> float:
    return percentile([value for sample in samples for value in getattr(sample, what)], percent) * 1000


def throughput(loads: Loads) -> list[Figure]:
    """P3. Jobs a second from the first request to the last end, each beside both baselines."""
    figures = []
    for shape in (ONE, FOUR):
        ours, minimal, bare = (loads.burst[name, shape] for name in (OURS, MINIMAL, BARE))
        for against, samples, bound in (("minimal controller", minimal, 0.8), ("bare Jobs", bare, 0.65)):
            figures.append(
                figure(
                    "P3", f"Jobs a second, {shape}, beside {against}", "/s", _rates(ours), baseline=_rates(samples),
                    target=Target(">=", bound, "ratio"),
                )
            )  # fmt: skip
        figures.append(
            figure(
                "P3", f"CoprBuild accepted to first Job in the burst, {shape}, p99", "s", _late(ours),
                baseline=_late(minimal), target=Target("<=", 2),
            )
        )  # fmt: skip
    return figures


def _rates(samples: list[Sample]) -> list[float]:
    return [sample.jobs_per_second for sample in samples]


def _late(samples: list[Sample]) -> list[float]:
    return [percentile(sample.starts, 99) for sample in samples]


def processor(loads: Loads) -> list[Figure]:
    """P4. The targets are for single-Job builds; the other shapes show how it grows."""
    figures = []
    for shape in (SINGLE, ONE, FOUR):
        ours, minimal, bare = (loads.burst[name, shape] for name in (OURS, MINIMAL, BARE))
        figures.append(
            figure(
                "P4", f"controller, {shape}, 1,000 builds", "CPU s", _controller(ours), baseline=_controller(minimal),
                target=Target("<=", 5) if shape == SINGLE else None,
            )
        )  # fmt: skip
        figures.append(
            figure(
                "P4", f"control plane over bare Jobs, {shape}, 1,000 builds", "CPU s", _extra(ours, bare),
                baseline=_extra(minimal, bare), target=Target("<=", 8) if shape == SINGLE else None,
            )
        )  # fmt: skip
    return figures


def _controller(samples: list[Sample]) -> list[float]:
    return [sample.per_thousand(sample.controller_cpu) for sample in samples]


def _extra(samples: list[Sample], bare: list[Sample]) -> list[float]:
    """What the control plane spent more than for the bare Jobs of the same round."""
    return [
        sample.per_thousand(sample.control_plane_cpu) - other.per_thousand(other.control_plane_cpu)
        for sample, other in zip(samples, bare, strict=True)
    ]
