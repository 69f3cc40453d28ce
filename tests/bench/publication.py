"""P8: how long a finished chroot waits until dnf can see it, beside `createrepo_c --update` on the same directory.

Runs without a cluster. Ours starts from the store each time, as a backend that has just started does.
"""

import asyncio
import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from copr_operator.backend.layout import Repo
from copr_operator.backend.metadata import Index, PackageEntry
from copr_operator.backend.repository import Repository
from copr_operator.backend.rpmworker import read_rpm
from copr_operator.backend.store import DirectoryStore
from tests.bench.figures import Figure, Target, figure
from tests.bench.observer import BenchError
from tests.bench.sizes import Sizes
from tests.unit.backend import rpms
from tests.unit.backend.world import CHROOT, World, listed, results

FILES = 60
HEADER_LIMIT = 2**26
REPO = Repo("alice", "demo", CHROOT)


@dataclass(frozen=True)
class Publications:
    ours: dict[int, list[float]]
    """Seconds of one publication, by packages that were there before."""
    createrepo: dict[int, list[float]]
    together: int
    """Builds that finished at once in one repository."""
    runs: int
    """Metadata runs that they made."""
    waits: list[float]
    """Seconds each of them waited for its publication."""
    reads: int
    """How often the repository was read whole meanwhile, and found whole."""


class Growing:
    """A repository of real files that gets one package after the other."""

    def __init__(self, root: Path) -> None:
        self._store = DirectoryStore(root / "store")
        self._results = root / "store" / REPO.results
        self._other = root / "createrepo_c"
        self._other.mkdir(parents=True)
        self.count = 0

    def add(self, count: int) -> None:
        """`count` more packages, published by both."""
        self._publish([self._write() for _ in range(count)])
        self._createrepo()

    def one_more(self) -> tuple[float, float]:
        """Seconds until one more package is published: by us, by createrepo_c."""
        path = self._write()
        began = time.perf_counter()
        self._publish([path])
        ours = time.perf_counter() - began
        began = time.perf_counter()
        self._createrepo("--update")
        return ours, time.perf_counter() - began

    def _write(self) -> Path:
        self.count += 1
        name = f"package{self.count:05d}"
        files = [f"/usr/share/{name}/{'abc'[n % 3]}{n}/file{(n * 7919 + self.count) % 9973}" for n in range(FILES)]
        return rpms.write(self._results / f"{self.count:08d}-{name}", name, files=files)

    def _publish(self, paths: list[Path]) -> None:
        """As the backend does after it has stored the files: read their headers, then publish."""
        change = {}
        for path in paths:
            href = f"{path.parent.name}/{path.name}"
            facts = read_rpm(str(path), href, HEADER_LIMIT)
            change[path.parent.name] = [PackageEntry(href, facts["sha256"], tuple(facts["chunks"]))]
        repository = Repository(self._store, REPO, clock=time.time, grace=0)
        repository.publish(repository.load() or Index(), change)

    def _createrepo(self, *options: str) -> None:
        command = ["createrepo_c", "--quiet", "--no-database", *options, "--outputdir", str(self._other)]
        done = subprocess.run([*command, str(self._results)], capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"createrepo_c failed: {done.stderr}")


def measure(sizes: Sizes, report: Callable[[str], None]) -> Publications:
    ours: dict[int, list[float]] = {}
    others: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="copr-bench-") as directory:
        repository = Growing(Path(directory))
        for count in sizes.packages:
            repository.add(count - repository.count)
            times = [repository.one_more() for _ in range(sizes.publications)]
            ours[count], others[count] = [mine for mine, _ in times], [other for _, other in times]
            report(f"{count} packages: ours {min(ours[count]):.3f} s, createrepo_c {min(others[count]):.3f} s")
    with tempfile.TemporaryDirectory(prefix="copr-bench-") as directory:
        runs, waits, reads = asyncio.run(_together(Path(directory), sizes.together))
    report(f"{sizes.together} builds at once: {runs} metadata runs, {reads} readers")
    return Publications(ours, others, sizes.together, runs, waits, reads)


async def _together(root: Path, count: int) -> tuple[int, list[float], int]:
    """Builds that finish at the same time, by the backend's HTTP surface."""
    world = await World(root).start()
    await world.build(1, "first")
    tokens = {}
    for number in range(2, count + 2):
        world.add_build(number, package=f"p{number}")
        tokens[number] = world.add_pod(number, CHROOT)
        for name, data in results(f"p{number}").items():
            (await world.put(tokens[number], name, data)).raise_for_status()
    before = world.runs

    async def finish(number: int) -> float:
        began = time.perf_counter()
        (await world.finish(tokens[number], results(f"p{number}"))).raise_for_status()
        return time.perf_counter() - began

    with _reading(world.repo) as reader:
        waits = await asyncio.gather(*(finish(number) for number in tokens))
    runs = world.runs - before
    if len(listed(world.repo)) != 2 * (count + 1):
        raise BenchError("not every build is published")
    await world.close()
    return runs, waits, reader.reads


class _Reader(threading.Thread):
    """Reads the repository whole again and again, as a client would, and keeps what went wrong."""

    def __init__(self, repo: Path) -> None:
        super().__init__()
        self._repo, self._over = repo, threading.Event()
        self.reads = 0
        self.problem: Exception | None = None

    def run(self) -> None:
        while not (self._over.is_set() or self.problem):
            try:
                listed(self._repo)
                self.reads += 1
            except (AssertionError, OSError) as problem:
                self.problem = problem

    def end(self) -> None:
        self._over.set()
        self.join()


@contextlib.contextmanager
def _reading(repo: Path) -> Iterator[_Reader]:
    """Raises BenchError when a reader has seen a repository that is not whole."""
    reader = _Reader(repo)
    reader.start()
    try:
        yield reader
    finally:
        reader.end()
    if reader.problem is not None:
        raise BenchError(f"a reader saw a torn repository: {reader.problem!r}") from reader.problem


def figures(publications: Publications) -> list[Figure]:
    most = max(publications.ours)
    lines = [
        figure(
            "P8", f"one more build in a repository of {count} packages", "s", seconds,
            baseline=publications.createrepo[count],
            target=Target("<=", 0.2, "ratio") if count == most and most >= 10_000 else None,
        )
        for count, seconds in publications.ours.items()
    ]  # fmt: skip
    together = publications.together
    return [
        *lines,
        Figure("P8", f"metadata runs for {together} builds at once in one repository", "", publications.runs,
               baseline=together, target=Target("<=", 2)),
        Figure("P8", f"longest wait of {together} builds at once", "s", max(publications.waits)),
        Figure("P8", "whole reads of the repository meanwhile, none torn", "", publications.reads),
    ]  # fmt: skip
