"""The least a controller of the same builds can be: two watches, the Jobs, one status write. The baseline, not a model:

it retries nothing, explains nothing, gives no id, publishes nothing, and forgets all when it ends.
"""

import argparse
import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp

from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import MERGE_PATCH, KubeClient
from tests.bench.shapes import JobMaker, Shape


class Minimal:
    def __init__(self, http: aiohttp.ClientSession, namespace: str, shape: Shape, maker: JobMaker) -> None:
        self._http, self._namespace, self._shape, self._maker = http, namespace, shape, maker
        self._left: dict[str, set[str]] = {}
        """By build uid: the Jobs that have not ended."""
        self._names: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        builds, jobs = paths.copr("coprbuilds", self._namespace), paths.jobs(self._namespace)
        await asyncio.gather(self._watch(builds, self._build), self._watch(jobs, self._job))

    async def _watch(self, path: str, look: Callable[[dict[str, Any]], None]) -> None:
        """Without a resourceVersion each watch begins with all there is. The API server ends those that fall behind."""
        while True:
            async with self._http.get(path, params={"watch": "true"}) as response:
                async for line in response.content:
                    look(json.loads(line)["object"])

    def _build(self, build: dict[str, Any]) -> None:
        uid = build["metadata"]["uid"]
        if uid not in self._names:
            self._names[uid] = build["metadata"]["name"]
            self._create(uid, [names.SOURCE_STEP])

    def _job(self, job: dict[str, Any]) -> None:
        uid, step = job["metadata"]["labels"][names.LABEL_BUILD_UID], job["metadata"]["name"]
        if step not in self._left.get(uid, ()) or not job.get("status", {}).get("completionTime"):
            return
        self._left[uid].remove(step)
        if step.endswith(f"-{names.SOURCE_STEP}-1") and self._shape.chroots:
            self._create(uid, self._shape.names)
        elif not self._left[uid]:
            path = paths.copr("coprbuilds", self._namespace, self._names[uid], "status")
            self._send("PATCH", path, {"status": {"state": "succeeded"}}, MERGE_PATCH)

    def _create(self, uid: str, steps: list[str]) -> None:
        self._left[uid] = {names.job_name(uid, step, 1) for step in steps}
        for step in steps:
            self._send("POST", paths.jobs(self._namespace), self._maker.job(step, uid, self._names[uid]))

    def _send(self, method: str, path: str, body: dict[str, Any], kind: str = "application/json") -> None:
        task = asyncio.create_task(self._request(method, path, body, kind))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(self, method: str, path: str, body: dict[str, Any], kind: str) -> None:
        async with self._http.request(method, path, data=json.dumps(body), headers={"Content-Type": kind}) as answer:
            answer.raise_for_status()
            await answer.read()


async def main() -> None:
    parser = argparse.ArgumentParser()
    for option in ("--kubeconfig", "--namespace", "--backend-url"):
        parser.add_argument(option, required=True)
    parser.add_argument("--chroots", type=int, required=True)
    given = parser.parse_args()
    shape = Shape(given.chroots)
    async with await KubeClient.from_environment(kubeconfig=given.kubeconfig) as kube:
        connector = aiohttp.TCPConnector(ssl=kube.ssl_context, limit=100)
        headers = {"Authorization": f"Bearer {await kube.access.token()}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            kube.access.server, connector=connector, headers=headers, timeout=timeout, read_bufsize=2**20
        ) as http:
            maker = JobMaker(shape, given.namespace, given.backend_url)
            await Minimal(http, given.namespace, shape, maker).run()


if __name__ == "__main__":
    asyncio.run(main())
