"""API: what one frontend process answers in a second, with many builds in a project.

For scale: Copr's own frontend with two workers answered 146 gets and 63 lists of 100 builds a second on a machine of
this size. Creates wait for the controller, which gives each build its id and makes its Job meanwhile.
"""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from copr_operator.frontend import tokens
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient
from tests.bench import arena, procfs, shapes
from tests.bench.apiload import PAGE
from tests.bench.contestants import controller_arguments
from tests.bench.figures import Figure, Target, percentile
from tests.bench.observer import BenchError
from tests.bench.shapes import Shape
from tests.bench.sizes import Sizes
from tests.cluster.api import Cluster
from tests.integration.backend.process import REPOSITORY, free_port
from tests.support.world import FakeBackend, eventually

SHAPE = Shape(1)
CLIENTS = (1, 8, 32)
SEEDERS = 32
PATIENCE = 120.0
COPR = {"get": 146.0, "list": 63.0}
"""Answers a second of Copr's own frontend (see above)."""
TIMES = {"get": 10, "list": 5}


@dataclass
class Answers:
    """Of one kind of request from one number of clients."""

    seconds: float
    times: list[float]
    cpu_seconds: float
    """Of the frontend."""

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds


@dataclass
class Loads:
    builds: int
    answers: dict[tuple[str, int], Answers] = field(default_factory=dict)
    """By kind of request and number of clients."""
    rss_mib: float = 0.0


async def measure(cluster: Cluster, sizes: Sizes, report: Callable[[str], None]) -> Loads:
    namespace, found = arena.new_name(), Loads(sizes.api_builds)
    async with (
        await KubeClient.from_environment(kubeconfig=str(cluster.kubeconfig)) as kube,
        FakeBackend(highest=sizes.api_builds).serve() as backend,
    ):
        await arena.create_namespace(kube, namespace, SHAPE)
        await _seed(kube, namespace, sizes.api_builds)
        made = tokens.make(shapes.OWNER, (), admin=False, now=datetime.now(UTC), days=1)
        await kube.create(paths.core("secrets", namespace), made.secret)
        login, port = f"{made.login}:{made.token}", free_port()
        async with _frontend(cluster, namespace, backend.url, port) as process:
            await _until_ready(port)
            for kind in ("get", "list"):
                for clients in CLIENTS:
                    await _load(process, port, kind, clients, sizes, seconds=min(1.0, sizes.api_seconds))
                    answers = await _load(process, port, kind, clients, sizes, seconds=sizes.api_seconds)
                    found.answers[kind, clients] = answers
            arguments = controller_arguments(cluster.kubeconfig, namespace, backend.url, 0)
            async with arena.running("controller", *arguments):
                await _until_project_ready(kube, namespace)
                for clients in CLIENTS:
                    answers = await _load(process, port, "create", clients, sizes, login, most=sizes.api_creates)
                    found.answers["create", clients] = answers
            found.rss_mib = procfs.rss_mib(process.pid)
    report("frontend: " + ", ".join(
        f"{kind} {clients}: {one.rate:.0f}/s" for (kind, clients), one in found.answers.items()))  # fmt: skip
    return found


@contextlib.asynccontextmanager
async def _frontend(cluster: Cluster, namespace: str, backend_url: str, port: int) -> AsyncIterator[Process]:
    settings = {
        "COPR_FRONTEND_HOST": "127.0.0.1", "COPR_FRONTEND_WATCH": namespace,
        "COPR_FRONTEND_PROJECT_NAMESPACE": namespace, "COPR_FRONTEND_ID_TIMEOUT": "60",
    }  # fmt: skip
    arguments = [
        "frontend", "--namespace", namespace, "--backend-url", backend_url, "--results-url", shapes.RESULTS_URL,
        "--port", str(port), "--kubeconfig", str(cluster.kubeconfig), "--log-level", "warning",
    ]  # fmt: skip
    async with arena.running("frontend", "-m", "copr_operator", *arguments, environment=settings) as process:
        yield process


async def _load(
    process: Process, port: int, kind: str, clients: int, sizes: Sizes, login: str = "", *,
    most: int = 10**9, seconds: float = 600.0,
) -> Answers:  # fmt: skip
    arguments = ["--port", str(port), "--clients", str(clients), "--builds", str(sizes.api_builds),
                 "--most", str(most), "--seconds", str(seconds)]  # fmt: skip
    before = procfs.cpu_seconds(process.pid)
    load = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.apiload", kind, *arguments, stdin=PIPE, stdout=PIPE, cwd=REPOSITORY
    )
    out, _ = await load.communicate(f"{login}\n".encode())
    if load.returncode:
        raise BenchError(f"the load of {kind} ended with {load.returncode}")
    answer = json.loads(out)
    if answer["refused"]:
        raise BenchError(f"{kind}: {answer['refused'][0]}")
    return Answers(answer["seconds"], answer["times"], procfs.cpu_seconds(process.pid) - before)


# -- what is there before ----------------------------------------------------------------------------------------------


async def _seed(kube: KubeClient, namespace: str, count: int) -> None:
    """Finished builds with the ids from 1 on. Two writes each, as the status is a subresource."""
    limit = asyncio.Semaphore(SEEDERS)

    async def one(number: int) -> None:
        async with limit:
            manifest = {**shapes.build(SHAPE), "metadata": {"name": f"old-{number:06d}"}}
            await kube.create(paths.copr("coprbuilds", namespace), manifest)
            path = paths.copr("coprbuilds", namespace, f"old-{number:06d}", "status")
            await kube.patch(path, {"status": _finished(number)})

    await asyncio.gather(*(one(number) for number in range(1, count + 1)))


def _finished(number: int) -> dict[str, Any]:
    time, results = "2026-01-01T12:00:00Z", f"{shapes.RESULTS_URL}/results/{shapes.OWNER}/{shapes.PROJECT}"
    srpm = {"url": f"{results}/srpm-builds/{number:08d}/hello-2.8-1.src.rpm", "sha256": "a" * 64}
    condition = {"lastTransitionTime": time, "reason": "Succeeded", "message": "1 of 1 chroots succeeded",
                 "status": "True", "observedGeneration": 1}  # fmt: skip
    return {
        "id": number, "state": "succeeded", "observedGeneration": 1, "repoURL": results,
        "submittedAt": time, "startedAt": time, "endedAt": time,
        "conditions": [{**condition, "type": "Succeeded"}, {**condition, "type": "Ready"}],
        "source": {"state": "succeeded", "attempt": 1, "startedAt": time, "endedAt": time,
                   "package": {"name": "hello", "version": "2.8-1"}, "srpm": srpm},
        "chroots": [{"name": name, "state": "succeeded", "attempt": 1, "startedAt": time, "endedAt": time,
                     "packages": 4} for name in SHAPE.names],
    }  # fmt: skip


async def _until_ready(port: int) -> None:
    async with aiohttp.ClientSession() as http:

        async def ready() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    return answer.status == 200
            return False

        await eventually(ready, lambda: "the frontend does not become ready", timeout=PATIENCE)


async def _until_project_ready(kube: KubeClient, namespace: str) -> None:
    async def ready() -> bool:
        project = await kube.get(paths.copr("coprprojects", namespace, shapes.PROJECT))
        conditions = (project.get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    await eventually(ready, lambda: "the project does not become ready", timeout=PATIENCE)


def figures(loads: Loads) -> list[Figure]:
    rows = []
    for (kind, clients), one in loads.answers.items():
        what = {"get": "gets of a build", "list": f"lists of {PAGE} of {loads.builds} builds", "create": "creates"}[
            kind
        ]
        judged = clients == 8 and kind in COPR
        who = "1 client" if clients == 1 else f"{clients} clients"
        rate = Target(">=", TIMES[kind], "ratio") if judged else None
        rows.append(Figure("API", f"{what}, {who}", "/s", one.rate, COPR.get(kind), rate))
        late = percentile(one.times, 99) * 1000
        rows.append(Figure("API", f"{what}, {who}, p99", "ms", late, target=Target("<=", 50) if judged else None))
        if judged:
            cost = one.cpu_seconds / len(one.times) * 1000
            rows.append(Figure("API", f"{what}, processor time of the frontend", "CPU ms", cost))
    rows.append(Figure("API", f"RSS of a frontend with {loads.builds} builds", "MiB", loads.rss_mib))
    return rows
