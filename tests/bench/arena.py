"""Where it happens: a control plane of its own, a namespace for each measurement, and processes that are watched."""

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from copr_operator.api.crd import GROUP, KINDS
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient
from tests.bench import procfs, shapes
from tests.bench.observer import BenchError, Observer
from tests.bench.shapes import SINGLE, Shape
from tests.cluster import api as clusters
from tests.support.installation import REPOSITORY, kubectl

BUILD = REPOSITORY / "build"
LOGS = BUILD / "bench-logs"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager")


@contextlib.contextmanager
def control_plane() -> Iterator[clusters.Cluster]:
    """A fresh, empty control plane with our kinds, ended afterwards. That of the tests is left alone."""
    os.environ.setdefault("COPR_CLUSTER_HOME", str(BUILD / "bench-cluster"))
    clusters.down(clusters.CONTROL_PLANE)
    cluster = clusters.up(clusters.CONTROL_PLANE)
    try:
        kubectl(cluster, "apply", "--server-side", "-k", str(REPOSITORY / "crds"))
        kinds = [f"customresourcedefinition/{kind.plural}.{GROUP}" for kind in KINDS]
        kubectl(cluster, "wait", "--for=condition=Established", "--timeout=30s", *kinds)
        yield cluster
    finally:
        clusters.down(clusters.CONTROL_PLANE)


def settings_of(cluster: clusters.Cluster) -> list[str]:
    """Arguments of the running controller manager that decide how fast any Jobs can be."""
    pid = next(part.pid for part in cluster.status() if part.name == "kube-controller-manager")
    wanted = ("--kube-api-qps", "--kube-api-burst", "--concurrent-job-syncs")
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return [argument for argument in arguments if argument.startswith(wanted)]


@contextlib.contextmanager
def default_controller_manager(cluster: clusters.Cluster) -> Iterator[None]:
    """The controller manager as it is without the arguments of `settings_of`. The other one is back afterwards."""
    name, tuned = "kube-controller-manager", settings_of(cluster)
    pid = next(part.pid for part in cluster.status() if part.name == name)
    arguments = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    cluster.stop_part(name)
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        with (LOGS / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([one for one in arguments if one not in tuned], stdout=log, stderr=log)
        try:
            yield
            if process.poll() is not None:
                raise BenchError(f"{name} ended by itself with {process.returncode}: see {LOGS}")
        finally:
            process.terminate()
            process.wait(timeout=20)
    finally:
        cluster.start_part(name)


def control_plane_seconds(cluster: clusters.Cluster) -> float:
    """Processor time that etcd, API server and controller manager have used so far."""
    return sum(procfs.cpu_seconds(part.pid) for part in cluster.status() if part.name in CONTROL_PLANE and part.pid)


@dataclass(frozen=True)
class Stage:
    """A namespace with a fake kubelet and backend, and the observer that looks at it."""

    cluster: clusters.Cluster
    kube: KubeClient
    namespace: str
    shape: Shape
    backend_url: str
    observer: Observer


@contextlib.asynccontextmanager
async def stage(
    cluster: clusters.Cluster, shape: Shape, behaviour: str = "succeed", *, pods: bool = False
) -> AsyncIterator[Stage]:
    """A new namespace; with `pods` the observer looks at them too.

    It stays behind when it is left: deleting thousands of objects would disturb what follows.
    """
    namespace = new_name()
    behaviour = "only-the-source" if shape == SINGLE else behaviour
    async with await KubeClient.from_environment(kubeconfig=str(cluster.kubeconfig)) as kube:
        await create_namespace(kube, namespace, shape)
        arguments = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace, "--behaviour", behaviour]
        async with running("stage", "-m", "tests.bench.stage", *arguments) as process:
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().strip()
            if not url:
                raise BenchError(f"the stage did not start: see {LOGS}")
            async with Observer(kube, namespace, pods=pods).serve() as observer:
                yield Stage(cluster, kube, namespace, shape, url, observer)


def new_name() -> str:
    return f"bench-{secrets.token_hex(4)}"


async def create_namespace(kube: KubeClient, namespace: str, shape: Shape) -> None:
    """The namespace with a project and the shape's chroots."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await kube.create(paths.core("namespaces"), manifest)
    for chroot in shapes.chroots(shape):
        await kube.create(paths.copr("coprchroots", namespace), chroot)
    await kube.create(paths.copr("coprprojects", namespace), shapes.project(shape))


@contextlib.asynccontextmanager
async def running(
    name: str, *arguments: str, mortal: bool = False, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """This Python with `arguments`, ended by end of input and SIGTERM. Unless it is mortal, it must live until then.

    `environment`: variables beside those of this process."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}-{secrets.token_hex(4)}.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdin=PIPE, stdout=PIPE if name == "stage" else DEVNULL, stderr=stream,
            cwd=REPOSITORY, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        yield process
        if process.returncode is not None and not mortal:
            raise BenchError(f"{name} ended by itself with {process.returncode}: see {log}")
    finally:
        await end(process)
    if name == "stage" and process.returncode:
        raise BenchError(f"{name} ended with {process.returncode}: see {log}")
    if not log.stat().st_size:
        log.unlink()


async def end(process: Process, patience: float = 20.0) -> None:
    """Asks the process to end and kills it when it does not."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    if process.stdout is None:
        process.terminate()
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
