"""P7n: from a CoprBuild being sent to dnf seeing the package on the node cluster, beside the same rpmbuild by hand.

Only on a cluster that is up and has the operator installed (`make demo`): nothing is started or installed here.
"""

import asyncio
import contextlib
import statistics
import subprocess
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient
from tests.bench.figures import Figure, figure
from tests.bench.observer import BenchError
from tests.cluster import api as clusters
from tests.demo.__main__ import build_object, make_sources
from tests.support.installation import Installation
from tests.support.sources import serve_sources

NAMESPACE, PACKAGE, CHROOT = "bench-node", "hello-lib", "debian-12-x86_64"
LIMIT = 300.0
BY_HAND = """
set -e
cp /srpm/package.src.rpm /tmp/p.src.rpm
began=$(date +%s.%N)
rpmbuild --rebuild --define '_topdir /tmp/top' /tmp/p.src.rpm > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo "$(date +%s.%N) $began"
"""
Marks = dict[str, float]
"""What had happened when, in seconds since the request."""


async def measure(repetitions: int, report: Callable[[str], None]) -> list[Figure]:
    cluster = clusters.cluster(clusters.NODE)
    if sick := [part.name for part in cluster.status() if not part.healthy]:
        raise BenchError(f"the node cluster is not healthy: {', '.join(sick)}")
    installation = Installation(cluster)
    runs: list[Marks] = []
    with _sources(cluster.node_address or "127.0.0.1") as url:
        _prepare(installation)
        try:
            for _ in range(repetitions):
                runs.append(await _build(installation, url))
                report(f"node: { ({what: round(when, 2) for what, when in runs[-1].items()}) }")
            by_hand = [_rpmbuild(installation) for _ in range(repetitions)]
        finally:
            installation.kubectl("delete", "coprbuilds", "--all", "-n", NAMESPACE, "--timeout=120s")
            installation.kubectl("delete", "coprprojects", "--all", "-n", NAMESPACE, "--timeout=120s", check=False)
            installation.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    return _figures(runs, by_hand)


def _figures(runs: list[Marks], by_hand: list[float]) -> list[Figure]:
    whole, hand = [run["dnf sees it"] for run in runs], statistics.median(by_hand)
    figures = [
        figure("P7n", "CoprBuild sent until dnf sees the package", "s", whole, baseline=by_hand),
        figure("P7n", "of it more than rpmbuild by hand", "s", [seconds - hand for seconds in whole]),
    ]
    steps = list(runs[0])
    for before, after in zip(["", *steps], steps, strict=False):
        spans = [run[after] - (run[before] if before else 0.0) for run in runs]
        figures.append(figure("P7n", f"  until: {after}", "s", spans))
    return figures


@contextlib.contextmanager
def _sources(address: str) -> Iterator[str]:
    """A web server with the demo's sources, as pods reach it."""
    with (
        tempfile.TemporaryDirectory(prefix="copr-bench-") as directory,
        serve_sources(Path(directory), address) as sources,
    ):
        make_sources(sources.directory, sources.url)
        yield sources.url


def _prepare(installation: Installation) -> None:
    installation.build_namespace(NAMESPACE)
    spec = {"owner": "bench", "name": "bench", "chroots": [{"name": CHROOT}]}
    project = {"apiVersion": names.API_VERSION, "kind": "CoprProject",
               "metadata": {"name": "bench", "namespace": NAMESPACE}, "spec": spec}  # fmt: skip
    installation.apply(project)


async def _build(installation: Installation, url: str) -> Marks:
    """One build, watched from outside."""
    manifest = build_object(PACKAGE, url, None)
    manifest["metadata"] = {"generateName": "bench-", "namespace": NAMESPACE}
    manifest["spec"] |= {"owner": "bench", "project": "bench", "chroots": [CHROOT]}
    async with await KubeClient.from_environment(kubeconfig=str(installation.cluster.kubeconfig)) as kube:
        marks: Marks = {}
        began = time.monotonic()

        def mark(what: str) -> None:
            marks.setdefault(what, time.monotonic() - began)

        made = await kube.create(paths.copr("coprbuilds", NAMESPACE), manifest)
        mark("CoprBuild accepted")
        async with _watching_pods(kube, made["metadata"]["uid"], mark), asyncio.timeout(LIMIT):
            build = await _until_succeeded(kube, made["metadata"]["name"])
        mark("dnf sees it")
    repository = f"{installation.results_url}/results/bench/bench/{CHROOT}/"
    _confirm(repository, build)
    return dict(sorted(marks.items(), key=lambda item: item[1]))


async def _until_succeeded(kube: KubeClient, name: str) -> dict[str, Any]:
    """The build, once it has succeeded: by then its packages are published (`_confirm` asks dnf)."""
    path = paths.copr("coprbuilds", NAMESPACE, name)
    while True:
        build = await kube.get(path)
        state = (build.get("status") or {}).get("state")
        if state == "succeeded":
            return build
        if state in ("failed", "canceled", "skipped"):
            raise BenchError(f"the build is {state}: {build['status'].get('failure')}")
        await asyncio.sleep(0.03)


def _confirm(repository: str, build: dict[str, Any]) -> None:
    """A chroot succeeds only when its packages are published; dnf itself has to agree."""
    with tempfile.TemporaryDirectory(prefix="copr-bench-") as cache:
        command = [
            *("dnf", "-q", "--noplugins", "--setopt=reposdir=/nowhere", f"--setopt=cachedir={cache}"),
            *(f"--repofrompath=bench,{repository}", "--repo=bench", "repoquery", "--location", PACKAGE),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
    if f"{build['status']['id']:08d}-{PACKAGE}" not in done.stdout:
        raise BenchError(f"dnf does not see build {build['status']['id']}: {done.stdout}{done.stderr}")


@contextlib.asynccontextmanager
async def _watching_pods(kube: KubeClient, uid: str, mark: Callable[[str], None]) -> AsyncIterator[None]:
    async def watch() -> None:
        params = {"labelSelector": f"{names.LABEL_BUILD_UID}={uid}", "resourceVersion": "0"}
        async for event in kube.watch(paths.core("pods", NAMESPACE), params):
            if event["type"] in ("ADDED", "MODIFIED"):
                _look(event["object"], mark)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _look(pod: dict[str, Any], mark: Callable[[str], None]) -> None:
    """Marks what a pod's status shows for the first time."""
    step = pod["metadata"]["labels"][names.LABEL_STEP]
    mark(f"{step} pod made")
    status = pod["status"]
    if pod["spec"].get("nodeName"):
        mark(f"{step} pod scheduled")
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = container["state"]
        if "running" in state or "terminated" in state:
            mark(f"{step}: {container['name']} started")
        if "terminated" in state:
            mark(f"{step}: {container['name']} ended")


def _rpmbuild(installation: Installation) -> float:
    """Seconds of the same rpmbuild of the same SRPM by hand, in a pod of the same image."""
    builds = installation.get("coprbuilds", "-n", NAMESPACE)["items"]
    url = next(build["status"]["source"]["srpm"]["url"] for build in builds)
    image = next(c["spec"]["image"] for c in installation.get("coprchroots", "-A")["items"]
                 if c["spec"]["name"] == CHROOT)  # fmt: skip
    with urllib.request.urlopen(url) as answer:
        data = b64encode(answer.read()).decode()
    installation.kubectl("delete", "pod", "by-hand", "-n", NAMESPACE, "--ignore-not-found")
    volume = {"name": "srpm", "configMap": {"name": "srpm"}}
    container = {"name": "rpmbuild", "image": image, "command": ["/bin/bash", "-c", BY_HAND],
                 "volumeMounts": [{"name": "srpm", "mountPath": "/srpm"}]}  # fmt: skip
    meta = {"namespace": NAMESPACE}
    installation.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "name": "srpm"},
         "binaryData": {"package.src.rpm": data}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "name": "by-hand"},
         "spec": {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}},
    )  # fmt: skip
    arguments = ("-n", NAMESPACE, "pod/by-hand", "--timeout=120s")
    installation.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].state.terminated}", *arguments)
    said = installation.kubectl("logs", "by-hand", "-n", NAMESPACE)
    try:
        ended, began = (float(word) for word in said.split()[-2:])
    except ValueError as error:
        raise BenchError(f"rpmbuild by hand failed: {said}") from error
    return ended - began
