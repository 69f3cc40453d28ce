"""The rest of one namespace's world as a process of its own: `python -m tests.bench.stage`.

A fake kubelet that gives each pod its end in one status write, and the backend's control surface. Prints the backend's
URL when ready, and ends when its standard input does.
"""

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from copr_operator.kube.client import KubeClient
from tests.support.fake_kubelet import Behaviour, FakeKubelet, Status, ended, running, source_summary, succeed
from tests.support.world import FakeBackend


def only_the_source(pod: dict[str, Any]) -> Status:
    """The SRPM's ExclusiveArch rules every chroot of the build out."""
    return ended(pod, 0, source_summary(exclusive_arch=("aarch64",)))


def run_a_while(pod: dict[str, Any]) -> Status | None:
    """The pod is seen to run for RUN_SECONDS at least, and succeeds then."""
    status = pod.get("status") or {}
    if status.get("phase") != "Running":
        return running(pod)
    since = datetime.fromisoformat(status["startTime"])
    return succeed(pod) if datetime.now(UTC) - since >= timedelta(seconds=RUN_SECONDS) else None


BEHAVIOURS: dict[str, Behaviour] = {
    "succeed": succeed, "only-the-source": only_the_source, "run-a-while": run_a_while
}  # fmt: skip
RUN_SECONDS, LOOK_EVERY = 3, 0.5


async def look_again(kubelet: FakeKubelet) -> None:
    """Nothing happens in a pod that runs: somebody has to look whether its time is over."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        await kubelet.look_again()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--behaviour", choices=sorted(BEHAVIOURS), required=True)
    given = parser.parse_args()
    behaviour = BEHAVIOURS[given.behaviour]
    async with (
        await KubeClient.from_environment(kubeconfig=given.kubeconfig) as kube,
        FakeBackend().serve() as backend,
        FakeKubelet(kube, given.namespace, behaviour).serve() as kubelet,
    ):
        print(backend.url, flush=True)
        looking = asyncio.create_task(look_again(kubelet)) if behaviour is run_a_while else None
        await asyncio.to_thread(sys.stdin.read)
        if looking is not None:
            looking.cancel()
        if kubelet.errors:
            sys.exit(f"the fake kubelet failed {len(kubelet.errors)} times: {kubelet.errors[0]}")


if __name__ == "__main__":
    asyncio.run(main())
