"""P2 and P7: what the API server is asked for each build, and how large a build is there. Counted by a proxy."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import yaml

from copr_operator.kube import paths
from tests.bench import arena, contestants
from tests.bench.arena import Stage
from tests.bench.contestants import MINIMAL, OURS, Controlled
from tests.bench.figures import Figure, Target
from tests.bench.load import PATIENCE
from tests.bench.shapes import Shape
from tests.cluster.api import Cluster
from tests.support.api_proxy import ApiProxy

APART = frozenset({"events", "leases", "configmaps", "tokenreviews"})
"""Written for people, for the Lease, for the next block of ids: not for each build."""
STATUS_WRITES, METADATA_WRITES = 5, 1
SHOWN_STATUS_WRITES = 6
"""The budget of a build that is not deleted: of status writes 5 when pods go straight to their end, else 6 and one for
each chroot."""
BUILDS = 20


def proxied(url: str, name: str) -> Path:
    """A kubeconfig for the proxy at `url`, which has the credentials."""
    path = arena.BUILD / f"bench-{name}.kubeconfig"
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy", "contexts": [context],
        "clusters": [{"name": "proxy", "cluster": {"server": url}}], "users": [{"name": "nobody", "user": {}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path


async def measure(cluster: Cluster, report: Callable[[str], None]) -> list[Figure]:
    figures = []
    for chroots in (1, 4):
        shape, counts, sizes = Shape(chroots), {}, [0]
        for name in (MINIMAL, OURS):
            async with arena.stage(cluster, shape) as stage, _counted(name, stage) as (contestant, proxy):
                counts[name] = await _writes_of_builds(contestant, stage, proxy)
                if name == OURS:
                    sizes = await _object_sizes(stage)
            report(f"{name}: {shape}: {dict(counts[name])} writes for {BUILDS} builds")
        ours, minimal = counts[OURS], counts[MINIMAL]
        figures += [
            Figure(
                "P2", f"API writes for a build {shape} whose pods end at once", "", _each(ours),
                baseline=_each(minimal), target=Target("<=", shape.jobs + STATUS_WRITES + METADATA_WRITES),
            ),
            Figure("P2", f"Events for a build {shape}, apart", "", ours["events"] / BUILDS),
            Figure("P2", f"id blocks for a build {shape}, apart", "", ours["configmaps"] / BUILDS),
            Figure("P7", f"size of a finished CoprBuild {shape}", "KiB", max(sizes) / 1024, target=Target("<=", 3)),
        ]  # fmt: skip
    async with (
        arena.stage(cluster, Shape(1), "run-a-while") as stage, _counted(OURS, stage) as (contestant, proxy),
    ):  # fmt: skip
        shown = await _writes_of_builds(contestant, stage, proxy)
    report(f"{OURS}: 1+1 whose pods run for a while: {dict(shown)} writes for {BUILDS} builds")
    budget = stage.shape.jobs + SHOWN_STATUS_WRITES + stage.shape.chroots + METADATA_WRITES
    figures.append(
        Figure("P2", "API writes for a build 1+1 whose pods are seen to run", "", _each(shown),
               target=Target("<=", budget))
    )  # fmt: skip
    async with arena.stage(cluster, Shape(10)) as stage, contestants.start(OURS, stage):
        largest = max(await _object_sizes(stage)) / 1024
    figures.append(Figure("P7", "size of a finished CoprBuild 1+10", "KiB", largest, target=Target("<=", 10)))
    return figures


@contextlib.asynccontextmanager
async def _counted(name: str, stage: Stage) -> AsyncIterator[tuple[Controlled, ApiProxy]]:
    """The contestant behind a proxy, warm."""
    async with ApiProxy(stage.kube).serve() as proxy:
        behind = contestants.behind(name, stage, proxied(proxy.url, stage.namespace))
        async with behind as contestant:
            await contestants.warm(contestant, stage)
            yield contestant, proxy


async def _writes_of_builds(contestant: Controlled, stage: Stage, proxy: ApiProxy) -> Counter[str]:
    """By resource, of builds that come one after the other."""
    before, counts = len(proxy.writes), Counter[str]()
    ended = stage.observer.ended
    for _ in range(BUILDS):
        await contestant.submit()
        await asyncio.sleep(0.2)
    await stage.observer.until_ended(ended + BUILDS, PATIENCE)
    await asyncio.sleep(1)  # the last ends were seen before their writes were counted; whatever else comes counts too
    for write in proxy.writes[before:]:
        counts[write.resource] += 1
    return counts


def _each(counts: Counter[str]) -> float:
    return sum(number for resource, number in counts.items() if resource not in APART) / BUILDS


async def _object_sizes(stage: Stage) -> list[int]:
    """Bytes of each CoprBuild as the API server sends it."""
    items = (await stage.kube.get(paths.copr("coprbuilds", stage.namespace)))["items"]
    return [len(json.dumps(item, separators=(",", ":"))) for item in items]
