"""How much is measured: `make bench` and `make bench-quick` differ in nothing else."""

from dataclasses import dataclass

from tests.bench.shapes import Shape


@dataclass(frozen=True)
class Sizes:
    rounds: int
    """Interleaved repetitions of the loads."""
    idle: int
    """Builds one by one in each round."""
    burst_builds: int
    burst_jobs: int
    """A burst has so many builds, or as many as make so many Jobs."""
    scale: tuple[int, ...]
    """Single-Job builds that go through one process, one number after the other."""
    window: int
    """Unfinished builds at any time while those go through."""
    history: tuple[int, ...]
    """Finished CoprBuilds at a restart, growing."""
    running: int
    """Running builds at a restart."""
    restarts: int
    failovers: int
    packages: tuple[int, ...]
    """Packages of a repository, growing."""
    publications: int
    """Repetitions of one more build in each of them."""
    together: int
    """Builds that finish at once in one repository."""
    api_builds: int
    """Builds in the project that the frontend is asked about."""
    api_seconds: float
    """How long each kind of read is asked for, from each number of clients."""
    api_creates: int

    node: int
    """Builds on the node cluster."""

    def burst(self, shape: Shape) -> int:
        return min(self.burst_builds, self.burst_jobs // shape.jobs)


QUICK = Sizes(
    rounds=1, idle=10, burst_builds=60, burst_jobs=120, scale=(50, 150), window=100, history=(0, 100, 1000),
    running=20, restarts=1, failovers=1, packages=(100, 1000), publications=3, together=100, api_builds=500,
    api_seconds=2, api_creates=40, node=1,
)  # fmt: skip
FULL = Sizes(
    rounds=3, idle=20, burst_builds=500, burst_jobs=1000, scale=(100, 1000, 10_000), window=500,
    history=(0, 100, 1000, 10_000), running=100, restarts=3, failovers=2, packages=(100, 1000, 10_000),
    publications=5, together=100, api_builds=10_000, api_seconds=5, api_creates=200, node=3,
)  # fmt: skip
