"""Cost against the number of builds, as pictures for docs/performance.md."""

import statistics
from collections.abc import Mapping
from pathlib import Path

from tests.bench import svg
from tests.bench.history import Restarts
from tests.bench.load import Sample
from tests.bench.publication import Publications
from tests.bench.scale import Scaling
from tests.bench.svg import Point


def draw_restarts(directory: Path, restarts: Restarts) -> None:
    _write(directory / "restart.svg", svg.chart(
        "Restart", "finished CoprBuilds in the cluster", "seconds from process start",
        {"first new Job": _medians(restarts.first), "every running build right": _medians(restarts.correct)},
    ))  # fmt: skip
    _write(directory / "memory.svg", svg.chart(
        "Memory of the controller after a restart", "finished CoprBuilds in the cluster", "MiB resident",
        {"RSS": _medians(restarts.rss_mib)},
    ))  # fmt: skip


def draw_scaling(directory: Path, scaling: Scaling) -> None:
    names = scaling.samples
    _write(directory / "processor.svg", svg.chart(
        "Processor time of the controller", "single-Job builds in one run", "CPU seconds for 1,000 builds",
        {name: [(n, s.per_thousand(s.controller_cpu)) for n, s in samples.items()] for name, samples in names.items()},
    ))  # fmt: skip
    _write(directory / "throughput.svg", svg.chart(
        "Throughput", "single-Job builds in one run", "Jobs a second",
        {name: _rates(samples) for name, samples in names.items()},
    ))  # fmt: skip


def draw_publications(directory: Path, publications: Publications) -> None:
    _write(directory / "publication.svg", svg.chart(
        "Publishing one more build", "packages in the repository (60 files each)", "seconds",
        {"ours": _medians(publications.ours), "createrepo_c --update": _medians(publications.createrepo)},
    ))  # fmt: skip


def _medians(samples: Mapping[int, list[float]]) -> list[Point]:
    """Without the number 0, which has no place on a logarithmic axis."""
    return [(count, statistics.median(values)) for count, values in samples.items() if count]


def _rates(samples: Mapping[int, Sample]) -> list[Point]:
    return [(count, sample.jobs_per_second) for count, sample in samples.items()]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
