"""The controller as a process of its own: what a pod's end does to it."""

import asyncio
import sys
from pathlib import Path

from copr_operator.kube import paths
from tests.cluster.api import Cluster
from tests.support.world import World, eventually


async def test_sigterm_ends_the_controller_at_once_and_frees_the_lease(
    here: World, cluster: Cluster, tmp_path: Path
) -> None:
    await here.create_chroots()
    await here.create_project()
    arguments = [
        *("--kubeconfig", str(cluster.kubeconfig), "--namespace", here.namespace, "--watch", here.namespace),
        *("--operator-image", "operator:test", "--source-image", "source:test", "--backend-url", here.backend.url),
        *("--backend-token-file", str(tmp_path / "token"), "--http-port", "0"),
    ]
    command = [sys.executable, "-m", "copr_operator", "controller", *arguments]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        # kopf takes the process's signals when it starts: when a build is seen that the first LIST did not have.
        for name in ("first", "second"):
            await here.create_build(name)
            await here.until_state("succeeded", name)
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    async def free() -> bool:
        leases = (await here.kube.get(paths.leases(here.namespace)))["items"]
        return [lease["spec"].get("holderIdentity") or "" for lease in leases] == [""]

    await eventually(free, lambda: "the Lease is still held")
