"""P5 and P6: a restart with many finished builds and some running ones, and the takeover after a crash.

Finished builds are copies of one that really finished. While the controller is away half of the running builds end;
when it is back it has to find out, to leave the other half alone, and to write to no finished build.
"""

import asyncio
import contextlib
import json
import uuid
from asyncio.subprocess import Process
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp

from copr_operator.controller.feeder import ACTIVE_SELECTOR
from copr_operator.controller.lease import LEASE_NAME
from copr_operator.controller.settings import ControllerSettings
from copr_operator.core import names
from copr_operator.core.wire import StepSummary
from copr_operator.kube import paths
from copr_operator.kube.client import METADATA_ONLY_LIST, KubeClient
from tests.bench import arena, load, procfs, shapes
from tests.bench.contestants import controller_arguments
from tests.bench.figures import Figure, Target, figure, slope
from tests.bench.observer import BenchError, Observer
from tests.bench.shapes import Shape
from tests.bench.sizes import Sizes
from tests.bench.writes import proxied
from tests.cluster.api import Cluster
from tests.integration.backend.process import free_port
from tests.support.api_proxy import ApiProxy
from tests.support.fake_kubelet import FakeKubelet, Status, ended, plan_of, running, succeed
from tests.support.world import FakeBackend, eventually

SHAPE = Shape(1)
TRANSACTION = 100
"""Objects that are written at once when a history is made; etcd takes 128."""
JUDGED = 10_000
"""Finished builds that the targets speak of; a longer history is told beside."""
LEASE_SECONDS = ControllerSettings.lease_duration


@dataclass
class Restarts:
    """Samples by number of finished builds."""

    imports: list[float] = field(default_factory=list)
    """Seconds that a process needs to import what the controller is made of, and to end: nothing can start sooner."""
    first: dict[int, list[float]] = field(default_factory=dict)
    """Seconds from the start of the process to the Job of a build that was waiting for it."""
    correct: dict[int, list[float]] = field(default_factory=dict)
    """Seconds from the start of the process until every build that ended meanwhile says so."""
    rss_mib: dict[int, list[float]] = field(default_factory=dict)
    written: int = 0
    """Finished builds that any restart has written to."""
    wronged: int = 0
    """Running builds that any restart has made anything else of."""
    listed_kib: float = 0.0
    """Of LIST answers of one start with the history that is judged."""
    relisted_kib: float = 0.0
    """The same where the API server's history does not reach back to what the Lease says of ended builds."""
    failovers: list[float] = field(default_factory=list)


class Site:
    """A namespace whose pods go on running when they are told to."""

    def __init__(self, cluster: Cluster, kube: KubeClient, backend: FakeBackend, namespace: str) -> None:
        self.cluster, self.kube, self.backend, self.namespace = cluster, kube, backend, namespace
        self.observer = Observer(kube, namespace)
        self.kubelet = FakeKubelet(kube, namespace, succeed)
        self.running: dict[str, str] = {}
        """uid -> name of the builds that run."""

    def controller(
        self, kubeconfig: Path | None = None, *, mortal: bool = False, port: int = 0
    ) -> AbstractAsyncContextManager[Process]:
        kubeconfig = kubeconfig or self.cluster.kubeconfig
        arguments = controller_arguments(kubeconfig, self.namespace, self.backend.url, port)
        return arena.running("controller", *arguments, mortal=mortal)

    async def submit(self) -> tuple[str, str]:
        """uid and name of a new build."""
        meta = (await self.kube.create(paths.copr("coprbuilds", self.namespace), shapes.build(SHAPE)))["metadata"]
        self.observer.posted(meta["uid"])
        return meta["uid"], meta["name"]

    async def run_builds(self, count: int) -> None:
        """Returns when `count` builds run. The controller must be there."""
        self.kubelet.behaviour = _source_then_run
        for _ in range(count - len(self.running)):
            uid, name = await self.submit()
            self.running[uid] = name

        def shown() -> bool:
            return all(self.observer.unit(uid).state == "running" for uid in self.running)

        await self.observer.until(shown, load.PATIENCE, lambda: "not all builds run")
        self.kubelet.behaviour = succeed

    async def end_half(self) -> list[str]:
        """Ends the pods of half of the running builds; their uids, when their Jobs are complete."""
        uids = list(self.running)[: len(self.running) // 2]
        for pod in (await self.kube.get(paths.core("pods", self.namespace)))["items"]:
            labels = pod["metadata"]["labels"]
            if labels[names.LABEL_BUILD_UID] in uids and plan_of(pod).step == "rpm":
                path = paths.core("pods", self.namespace, pod["metadata"]["name"]) + "/status"
                status = ended(pod, 0, StepSummary(outcome="succeeded", packages=4))
                await self.kube.patch(path, {"status": status})

        def complete() -> bool:
            return all(len(self.observer.unit(uid).done) == SHAPE.jobs for uid in uids)

        await self.observer.until(complete, load.PATIENCE, lambda: "the Jobs are not complete")
        for uid in uids:
            del self.running[uid]
        return uids

    async def expire_jobs(self) -> None:
        """Removes the Jobs of ended builds, as ttlSecondsAfterFinished does an hour later; with them their pods."""
        for uid, unit in list(self.observer.units.items()):
            for step in unit.made if unit.ended else ():
                path = paths.jobs(self.namespace, names.job_name(uid, step, 1))
                await self.kube.delete(path, {"propagationPolicy": "Background"})
        pods = paths.core("pods", self.namespace)

        async def expired() -> bool:
            return len((await self.kube.get(pods))["items"]) <= len(self.running) * SHAPE.jobs

        await eventually(expired, lambda: "the pods of expired Jobs stay", timeout=load.PATIENCE)

    async def forget_what_was_heard(self) -> None:
        change = {"metadata": {"annotations": {names.ANNOTATION_HEARD: None}}}
        await self.kube.patch(paths.leases(self.namespace, LEASE_NAME), change)

    async def finished_versions(self) -> dict[str, str]:
        """resourceVersion by name of every finished build."""
        active = {item["metadata"]["name"] for item in await self._list({"fieldSelector": ACTIVE_SELECTOR})}
        found = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in await self._list({})}
        return {name: version for name, version in found.items() if name not in active}

    async def _list(self, params: dict[str, str]) -> list[dict[str, Any]]:
        path = paths.copr("coprbuilds", self.namespace)
        pages = self.kube.list_pages(path, params, accept=METADATA_ONLY_LIST)
        return [item async for items, _ in pages for item in items]


def _source_then_run(pod: dict[str, Any]) -> Status | None:
    """The pod is shown as running, and never ends."""
    return succeed(pod) if plan_of(pod).step == "source" else running(pod)


@contextlib.asynccontextmanager
async def site(cluster: Cluster) -> AsyncIterator[Site]:
    namespace = arena.new_name()
    async with (
        await KubeClient.from_environment(kubeconfig=str(cluster.kubeconfig)) as kube,
        FakeBackend().serve() as backend,
    ):
        await arena.create_namespace(kube, namespace, SHAPE)
        place = Site(cluster, kube, backend, namespace)
        async with place.kubelet.serve(), place.observer.serve():
            yield place


async def measure(cluster: Cluster, sizes: Sizes, report: Callable[[str], None]) -> Restarts:
    restarts = Restarts()
    async with site(cluster) as place:
        async with place.controller():
            await place.submit()
            await place.observer.until_ended(1, load.PATIENCE)
        model = (await place.kube.get(paths.copr("coprbuilds", place.namespace)))["items"][0]
        there = 0
        for count in sizes.history:
            await _seed(place, model, range(there, count))
            there = max(there, count)
            for _ in range(sizes.restarts):
                await _restart(place, count, sizes.running, restarts)
            report(f"restart with {count} finished builds: {restarts.first[count]} s to the first Job, "
                   f"{restarts.correct[count]} s until all is right")  # fmt: skip
            if count == _judged(sizes.history):
                restarts.listed_kib = await _listed(place)
                await place.forget_what_was_heard()
                restarts.relisted_kib = await _listed(place)
        for _ in range(sizes.failovers):
            restarts.failovers.append(await _failover(place))
            report(f"takeover after a crash: {restarts.failovers[-1]:.1f} s")
    return restarts


def _judged(history: Iterable[int]) -> int:
    return max(count for count in history if count <= JUDGED)


async def _listed(place: Site) -> float:
    """KiB of LIST answers of one start."""
    await place.expire_jobs()
    async with ApiProxy(place.kube).serve() as proxy:
        async with place.controller(proxied(proxy.url, place.namespace)):
            await _acted_on(place.observer, (await place.submit())[0], load.PATIENCE)
            listed = -1
            while listed != proxy.listed_bytes:  # the ended builds are listed in pages, with pauses
                listed = proxy.listed_bytes
                await asyncio.sleep(2)
        return proxy.listed_bytes / 1024


async def _seed(place: Site, model: dict[str, Any], numbers: Iterable[int]) -> None:
    """Finished builds like the model, written to etcd as the API server would store them, many in one transaction:
    100,000 requests to the API server for 50,000 of them would take longer than all that is measured."""
    prefix = f"/registry/{names.GROUP}/coprbuilds/{place.namespace}/"
    ports = json.loads((place.cluster.home / "state.json").read_text())["ports"]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{ports['etcd']}") as etcd:

        async def ask(what: str, body: dict[str, Any]) -> dict[str, Any]:
            async with etcd.post(f"/v3/kv/{what}", json=body) as answer:
                answer.raise_for_status()
                found: dict[str, Any] = await answer.json(content_type=None)
                return found

        stored = await ask("range", {"key": _base64(prefix + model["metadata"]["name"])})
        text = b64decode(stored["kvs"][0]["value"]).decode()
        for batch in _batched(numbers, TRANSACTION):
            puts = [
                {"requestPut": {"key": _base64(f"{prefix}old-{number:06d}"), "value": _base64(_copy(text, number))}}
                for number in batch
            ]
            await ask("txn", {"success": puts})


def _copy(text: str, number: int) -> str:
    """Another finished build, as stored."""
    build: dict[str, Any] = json.loads(text)
    build["metadata"] |= {"name": f"old-{number:06d}", "uid": str(uuid.uuid4())}
    build["status"]["id"] = 1_000_000 + number
    return json.dumps(build)


def _batched(numbers: Iterable[int], size: int) -> Iterator[list[int]]:
    """itertools.batched of Python 3.12."""
    rest = iter(numbers)
    while batch := list(islice(rest, size)):
        yield batch


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


async def _restart(place: Site, finished: int, wanted: int, restarts: Restarts) -> None:
    async with place.controller():
        await place.run_builds(wanted)
    await place.expire_jobs()
    ending = await place.end_half()
    new, _ = await place.submit()
    before = await place.finished_versions()
    loop, observer = asyncio.get_running_loop(), place.observer
    restarts.imports.append(await _only_import())
    began = loop.time()
    async with place.controller() as process:
        first = await _acted_on(observer, new, load.PATIENCE)
        await observer.until(
            lambda: all(observer.unit(uid).ended for uid in (*ending, new)), load.PATIENCE, lambda: "builds stay behind"
        )
        restarts.rss_mib.setdefault(finished, []).append(procfs.rss_mib(process.pid))
    restarts.first.setdefault(finished, []).append(first - began)
    last = max(observer.unit(uid).ended or 0.0 for uid in ending)
    restarts.correct.setdefault(finished, []).append(last - began)
    if wrong := [uid for uid in (*ending, new) if observer.unit(uid).state != "succeeded"]:
        raise BenchError(f"{len(wrong)} builds did not succeed after the restart")
    after = await place.finished_versions()
    restarts.written += sum(after.get(name) != version for name, version in before.items())
    restarts.wronged += sum(observer.unit(uid).state != "running" for uid in place.running)


async def _only_import() -> float:
    began = asyncio.get_running_loop().time()
    async with arena.running("imports", "-c", "import copr_operator.controller.main", mortal=True) as process:
        await process.wait()
    return asyncio.get_running_loop().time() - began


async def _failover(place: Site) -> float:
    """Seconds from the SIGKILL of the active controller until a standby has acted on a new build."""
    async with place.controller(mortal=True) as active:
        await _acted_on(place.observer, (await place.submit())[0], load.PATIENCE)
        port = free_port()
        async with place.controller(port=port):
            await _waits_for_the_lease(port)
            active.kill()
            began = asyncio.get_running_loop().time()
            return await _acted_on(place.observer, (await place.submit())[0], 3 * LEASE_SECONDS) - began


async def _waits_for_the_lease(port: int) -> None:
    """Returns when the controller with this port for its metrics has seen who holds the Lease."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(load.PATIENCE):
        seen = False
        while not seen:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                    seen = 'resource="leases"' in await answer.text()
            await asyncio.sleep(0.1)


async def _acted_on(observer: Observer, uid: str, patience: float) -> float:
    """Loop time at which the build's first Job was seen."""
    made = observer.unit(uid).made
    await observer.until(lambda: bool(made), patience, lambda: "no controller has made its Job")
    return made[names.SOURCE_STEP]


def figures(restarts: Restarts) -> list[Figure]:
    least, judged = min(restarts.first), _judged(restarts.first)
    growth = slope([(count / 1000, max(values)) for count, values in restarts.rss_mib.items()])
    longer = [
        line
        for count in restarts.first
        if count > judged
        for line in (
            figure("P5", f"RSS with {count} finished builds", "MiB", restarts.rss_mib[count],
                   baseline=restarts.rss_mib[least]),
            figure("P6", f"process start to the first new Job, {count} finished", "s", restarts.first[count],
                   baseline=restarts.imports),
            figure("P6", f"process start until every running build is right, {count} finished", "s",
                   restarts.correct[count], baseline=restarts.imports),
        )
    ]  # fmt: skip
    return [
        figure("P5", f"RSS with {judged} finished builds", "MiB", restarts.rss_mib[judged],
               baseline=restarts.rss_mib[least], target=Target("<=", 95)),
        Figure("P5", "growth of RSS for 1,000 finished builds", "MiB", growth, target=Target("<=", 1)),
        figure("P6", f"process start to the first new Job, {judged} finished (baseline: its imports alone)", "s",
               restarts.first[judged], baseline=restarts.imports, target=Target("<=", 1)),
        figure("P6", f"process start until every running build is right, {judged} finished", "s",
               restarts.correct[judged], baseline=restarts.imports, target=Target("<=", 3)),
        figure("P6", f"process start to the first new Job, {judged} finished beside {least}", "s",
               restarts.first[judged], baseline=restarts.first[least], target=Target("<=", 1.2, "ratio")),
        *longer,
        Figure("P6", "finished builds written to by restarts", "", restarts.written, target=Target("<=", 0)),
        Figure("P6", "running builds not left as they were", "", restarts.wronged, target=Target("<=", 0)),
        figure("P6", "crash to a standby's first Job", "s", restarts.failovers, target=Target("<=", LEASE_SECONDS + 1)),
        Figure("P7", f"bytes listed by a start with {judged} finished builds", "KiB", restarts.listed_kib,
               target=Target("<=", 1024)),
        Figure("P7", "the same after more than the API server's history", "KiB", restarts.relisted_kib),
    ]  # fmt: skip
