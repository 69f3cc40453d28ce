"""`python -m tests.bench [--quick] [--only P1,P8] [--draw]`: measures, prints the table, writes build/bench.json."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from tests.bench import api, arena, costs, history, node, page, pictures, publication, scale, start, writes
from tests.bench.figures import Figure, table, to_json
from tests.bench.observer import BenchError
from tests.bench.sizes import FULL, QUICK, Sizes
from tests.cluster.api import ClusterError
from tests.support.installation import REPOSITORY, InstallError

IDS = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "API")
NODE = ("P6n", "P7n")
"""Need the node cluster with the operator on it, so only on request."""
BEGAN = time.monotonic()


def report(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:5.0f} s] {text}", file=sys.stderr, flush=True)


async def on_a_control_plane(sizes: Sizes, wanted: frozenset[str], directory: Path | None) -> list[Figure]:
    """Everything that needs an API server."""
    found: list[Figure] = []
    with arena.control_plane() as cluster:
        report(f"controller manager: {' '.join(arena.settings_of(cluster))}")
        if wanted & {"P1", "P3", "P4"}:
            loads = await costs.measure(cluster, sizes, wanted, report)
            found += costs.latency(loads) if "P1" in wanted else []
            found += costs.throughput(loads) + costs.processor(loads) if wanted & {"P3", "P4"} else []
        if wanted & {"P2", "P7"}:
            found += await writes.measure(cluster, report)
        if wanted & {"P3", "P4", "P5"}:
            scaling = await scale.measure(cluster, sizes, report)
            found += scale.figures(scaling)
            if directory is not None:
                pictures.draw_scaling(directory, scaling)
        if "P3" in wanted:
            found += await scale.measure_defaults(cluster, sizes, report)
        if wanted & {"P5", "P6", "P7"}:
            restarts = await history.measure(cluster, sizes, report)
            found += history.figures(restarts)
            if directory is not None:
                pictures.draw_restarts(directory, restarts)
        if "API" in wanted:
            found += api.figures(await api.measure(cluster, sizes, report))
    return found


def renew_page(found: list[Figure], busy: float) -> None:
    path = REPOSITORY / "docs" / "performance.md"
    block = f"{page.machine()}; load before the run: {busy:.1f}; it took {(time.monotonic() - BEGAN) / 60:.0f} min.\n\n"
    path.write_text(page.renewed(path.read_text(), block + table(found)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, under five minutes")
    parser.add_argument("--only", default=",".join(IDS), help="ids, separated by commas")
    parser.add_argument("--draw", action="store_true", help="renew the table and the pictures of docs/performance.md")
    given = parser.parse_args()
    wanted, sizes = frozenset(given.only.split(",")), QUICK if given.quick else FULL
    if unknown := wanted - {*IDS, *NODE}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join((*IDS, *NODE))}")
    directory = REPOSITORY / "docs" / "images" if given.draw else None
    found: list[Figure] = []
    busy = page.load()
    report(f"{page.machine()}; load before the run: {busy:.1f}")
    try:
        if wanted - {"P8", *NODE}:
            found += asyncio.run(on_a_control_plane(sizes, wanted, directory))
        if "P8" in wanted:
            publications = publication.measure(sizes, report)
            found += publication.figures(publications)
            if directory is not None:
                pictures.draw_publications(directory, publications)
        if "P6n" in wanted:
            found += asyncio.run(start.measure(sizes.node, report))
        if "P7n" in wanted:
            found += asyncio.run(node.measure(sizes.node, report))
    except (BenchError, ClusterError, InstallError) as error:
        print(f"the bench failed: {error}", file=sys.stderr)
        return 1
    found.sort(key=lambda one: (*IDS, *NODE).index(one.id))
    if given.draw:
        renew_page(found, busy)
    arena.BUILD.mkdir(exist_ok=True)
    (arena.BUILD / "bench.json").write_text(to_json(found))
    print(table(found))
    judged = [one for one in found if one.ok is not None]
    print(f"\n{sum(bool(one.ok) for one in judged)} of {len(judged)} targets met in {time.monotonic() - BEGAN:.0f} s; "
          f"{arena.BUILD / 'bench.json'}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
