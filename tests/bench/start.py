"""P6n: from the start of the controller's process in a pod of the node cluster to its readiness, and where the time
goes.

Only on the local node, with the operator on it (`make demo`): its processes are this machine's, and /proc says when one
started and what its address is before the API server knows. The controller is stopped and started again.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from copr_operator.kube import paths
from copr_operator.kube.client import MERGE_PATCH, KubeClient
from tests.bench.figures import Figure, Target, figure
from tests.bench.procfs import cpu_seconds, started
from tests.cluster import api as clusters
from tests.support.installation import NAMESPACE, Installation

DEPLOYMENT = "copr-operator-controller"
SELECTOR = {"labelSelector": "app.kubernetes.io/component=controller"}
LIMIT = 60.0
IMPORTS = """\
import gc, time
gc.disable()
began = time.monotonic()
import copr_operator.controller.main
print(time.monotonic() - began)
"""
Marks = dict[str, float]
"""What had happened when, in seconds since the process was started; and the processor time until it was ready."""


async def measure(repetitions: int, report: Callable[[str], None]) -> list[Figure]:
    installation = Installation(clusters.cluster(clusters.NODE))
    runs: list[Marks] = []
    imports: list[float] = []
    async with await KubeClient.from_environment(kubeconfig=str(installation.cluster.kubeconfig)) as kube:
        for _ in range(repetitions):
            async with asyncio.timeout(LIMIT), _stopped(kube):
                await _scale(kube, 1)
                runs.append(await _start(kube, installation))
            pod = f"deployment/{DEPLOYMENT}"
            imports.append(float(installation.kubectl("exec", "-n", NAMESPACE, pod, "--", "python3", "-c", IMPORTS)))
            marks = {what: round(when, 2) for what, when in runs[-1].items()}
            report(f"controller: {marks}, imports {imports[-1]:.2f}")
    return _figures(runs, imports)


def _figures(runs: list[Marks], imports: list[float]) -> list[Figure]:
    def spans(what: str) -> list[float]:
        return [run[what] for run in runs]

    return [
        figure("P6n", "controller's process started in a pod until /readyz (baseline: its imports alone)", "s",
               spans("ready"), baseline=imports, target=Target("<=", 1)),
        figure("P6n", "  of it processor time", "s", spans("processor")),
        figure("P6n", "  until: it holds the Lease", "s", spans("Lease")),
        figure("P6n", "  until: the pod is Ready", "s", spans("Ready")),
    ]  # fmt: skip


@asynccontextmanager
async def _stopped(kube: KubeClient) -> AsyncIterator[None]:
    """No controller is there at the beginning; there is one at the end, whatever happens."""
    try:
        await _scale(kube, 0)
        while await _pods(kube):
            await asyncio.sleep(0.1)
        yield
    finally:
        await _scale(kube, 1)


async def _scale(kube: KubeClient, replicas: int) -> None:
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{DEPLOYMENT}"
    await kube.patch(path, {"spec": {"replicas": replicas}}, content_type=MERGE_PATCH)


async def _pods(kube: KubeClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await kube.get(paths.core("pods", NAMESPACE), SELECTOR))["items"]
    return found


async def _start(kube: KubeClient, installation: Installation) -> Marks:
    while not (pods := await _pods(kube)):
        await asyncio.sleep(0.02)
    name, uid = pods[0]["metadata"]["name"], pods[0]["metadata"]["uid"]
    while (pid := _controller_in(uid)) is None:
        await asyncio.sleep(0.02)
    began = started(pid)
    marks = {"ready": await _answers(_address(pid)) - began, "processor": cpu_seconds(pid)}
    while not _is_ready((await kube.get(paths.core("pods", NAMESPACE, name)))["status"]):
        await asyncio.sleep(0.02)
    marks["Ready"] = time.time() - began
    for line in installation.kubectl("logs", name, "-n", NAMESPACE).splitlines():
        if "holds the Lease" in line:
            marks["Lease"] = datetime.fromisoformat(json.loads(line)["time"]).timestamp() - began
    return marks


def _controller_in(uid: str) -> int | None:
    """The controller's process in the pod, once it is there."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            of_pod = uid in (directory / "cgroup").read_text().replace("_", "-")
            if of_pod and b"\0controller\0" in (directory / "cmdline").read_bytes():
                return int(directory.name)
        except OSError:  # it has ended meanwhile
            continue
    return None


def _address(pid: int) -> str:
    """The pod's address; its status tells it some second later."""
    local: list[str] = re.findall(r"\|-- (\S+)\s+/32 host LOCAL", Path(f"/proc/{pid}/net/fib_trie").read_text())
    return next(address for address in local if not address.startswith("127."))


async def _answers(address: str) -> float:
    """When /readyz said yes for the first time."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://{address}:8080/readyz") as answer:
                    if answer.status == 200:
                        return time.time()
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.005)


def _is_ready(status: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", []))
