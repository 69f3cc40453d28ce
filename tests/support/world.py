"""A controller under test: the real one, through a counting proxy, on a real API server, beside a fake kubelet."""

import asyncio
import contextlib
import hashlib
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from copr_operator.controller.lease import LEASE_NAME
from copr_operator.controller.main import Controller
from copr_operator.controller.metrics import Metrics
from copr_operator.controller.settings import ControllerSettings
from copr_operator.core import names
from copr_operator.core.config import Deadlines, OperatorConfig
from copr_operator.kube import paths
from copr_operator.kube.access import Access
from copr_operator.kube.client import ApiError, KubeClient
from copr_operator.kube.clock import ClusterClock
from tests.support import loopback
from tests.support.api_proxy import ApiProxy
from tests.support.fake_kubelet import FakeKubelet

CHROOTS = ("debian-12-x86_64", "debian-13-x86_64")
WAIT = 60.0


@dataclass
class FakeBackend:
    """The backend's control surface, as far as the controller can tell: what was asked, and whether it answers."""

    asked: list[str] = field(default_factory=list)
    broken: bool = False
    no_srpm: bool = False
    """The SRPM of a build to rerun is gone."""
    grace: bool = False
    """Files of a project that was removed are still there."""
    highest: int = 0
    url: str = ""

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["FakeBackend"]:
        async def answer(request: web.Request) -> web.Response:
            self.asked.append(f"{request.method} {request.path}")
            if self.broken:
                return web.json_response({"error": "the store is away"}, status=503)
            if request.path == "/uploads":
                sha256 = hashlib.sha256(await request.read()).hexdigest()
                return web.json_response({"ref": f"r4nd/{request.query['filename']}", "sha256": sha256})
            if request.path.endswith("/highest-id"):
                return web.json_response({"id": self.highest})
            if self.grace and request.method == "DELETE":
                return web.json_response({"ready": False, "message": "the files are deleted after the grace time"})
            if request.path.endswith("/srpm") and self.no_srpm:
                return web.json_response({"ready": False, "reason": "SRPMNotFound", "message": "it is gone"})
            return web.json_response({"ready": True})

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", answer)
        async with loopback.serve(app) as self.url:
            yield self


class World:
    """One test's namespace, and everything that works in it."""

    def __init__(self, kube: KubeClient, namespace: str, backend: FakeBackend, kubelet: FakeKubelet, tmp: Path) -> None:
        self.kube = kube
        self.namespace = namespace
        self.backend = backend
        self.kubelet = kubelet
        self._token = tmp / "token"
        self._token.write_text("not-a-real-token")
        self.clock_off = 0.0
        """Seconds that the clock of the controllers' machine is ahead of the API server's."""
        self.deadlines = Deadlines(retry_base=0, backend_retry=1, refusal_retry=1, refused_look=1)

    # -- controllers -------------------------------------------------------------------------------------------------

    def settings(self, **changes: Any) -> ControllerSettings:
        operator = OperatorConfig(
            namespace=self.namespace,
            operator_image="operator:test",
            source_image="source:test",
            backend_url=self.backend.url,
            results_url="https://copr.example",
            deadlines=self.deadlines,
        )
        values: dict[str, Any] = {
            "operator": operator,
            "namespaces": (self.namespace,),
            "backend_token_file": self._token,
            "http_port": None,
        }
        return ControllerSettings(**{**values, **changes})

    @contextlib.asynccontextmanager
    async def controller(
        self,
        *,
        split_brain: bool = False,
        wait: bool = True,
        lease: str = LEASE_NAME,
        prepare: Callable[[ApiProxy], None] | None = None,
        upstream: KubeClient | None = None,
        **changes: Any,
    ) -> AsyncIterator["RunningController"]:
        """A controller behind a proxy of its own. It is stopped at the end.

        `split_brain`: it takes a Lease of its own, and so works beside another. No `wait`: it may have to stand by.
        `prepare`: what is done to the proxy before anything passes it. `upstream`: as whom it works; else as the admin.
        """
        async with ApiProxy(upstream or self.kube).serve() as proxy:
            if prepare is not None:
                prepare(proxy)
            lease = "other-lease" if split_brain else lease
            running = RunningController(proxy, self.settings(**changes), lease, self.clock_off)
            await running.start(wait=wait)
            try:
                yield running
            finally:
                await running.stop()

    # -- objects -----------------------------------------------------------------------------------------------------

    async def create(self, plural: str, obj: dict[str, Any]) -> dict[str, Any]:
        return await self.kube.create(paths.copr(plural, self.namespace), obj)

    async def create_chroots(self, *chroots: str) -> None:
        for name in chroots or CHROOTS:
            spec = {"name": name, "image": "chroot:test", "arch": name.rpartition("-")[2]}
            await self.create("coprchroots", manifest("CoprChroot", name.replace("_", "-"), spec))

    async def create_project(self, *chroots: str, name: str = "demo", **spec: Any) -> None:
        wanted = {"owner": "alice", "name": name, "chroots": [{"name": c} for c in chroots or CHROOTS], **spec}
        await self.create("coprprojects", manifest("CoprProject", name, wanted))

    async def create_build(self, name: str = "hello", **spec: Any) -> dict[str, Any]:
        source = {"type": "link", "link": {"url": "http://sources.example/hello.src.rpm"}}
        wanted = {"owner": "alice", "project": "demo", "source": source, **spec}
        return await self.create("coprbuilds", manifest("CoprBuild", name, wanted))

    async def build(self, name: str = "hello") -> dict[str, Any]:
        return await self.kube.get(paths.copr("coprbuilds", self.namespace, name))

    async def free_lease(self) -> None:
        """The time of a controller that has died is over."""
        await self.kube.patch(paths.leases(self.namespace, LEASE_NAME), {"spec": {"holderIdentity": ""}})

    async def patch_build(self, name: str, body: dict[str, Any]) -> None:
        await self.kube.patch(paths.copr("coprbuilds", self.namespace, name), body)

    async def delete(self, plural: str, name: str) -> None:
        await self.kube.delete(paths.copr(plural, self.namespace, name))

    async def jobs(self) -> list[dict[str, Any]]:
        return list((await self.kube.get(paths.jobs(self.namespace)))["items"])

    async def pods(self) -> list[dict[str, Any]]:
        return list((await self.kube.get(paths.core("pods", self.namespace)))["items"])

    async def until(
        self, check: Callable[[dict[str, Any]], Any], name: str = "hello", timeout: float = WAIT
    ) -> dict[str, Any]:
        """The build once `check` of it is true; the test fails with its last state otherwise."""
        last: dict[str, Any] = {}

        async def probe() -> bool:
            nonlocal last
            try:
                last = await self.build(name)
            except ApiError as error:
                if not error.transient:
                    raise
                return False
            return bool(check(last))

        await eventually(probe, lambda: f"the build stays at {last.get('status')}\n{self.kubelet.errors}", timeout)
        return last

    async def until_state(self, state: str, name: str = "hello", timeout: float = WAIT) -> dict[str, Any]:
        return await self.until(lambda build: build.get("status", {}).get("state") == state, name, timeout)

    async def until_gone(self, plural: str, name: str) -> None:
        async def probe() -> bool:
            return await self.kube.find(paths.copr(plural, self.namespace, name)) is None

        await eventually(probe, lambda: f"{plural} {name} stays")


class RunningController:
    """One controller in a thread with an event loop of its own: kopf ends all other tasks of its loop when it stops."""

    def __init__(self, proxy: ApiProxy, settings: ControllerSettings, lease_name: str, clock_off: float = 0.0) -> None:
        self.proxy = proxy
        self.metrics = Metrics()
        self.told_to_stop: bool | None = None
        """What `Controller.run` returned; None while it runs."""
        self._settings = settings
        self._lease_name = lease_name
        self._clock = ClusterClock(own=lambda: time.time() + clock_off)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._can_be_told, self._started = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self.controller: Controller | None = None

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, ready = asyncio.Event(), asyncio.Event()
        self._can_be_told.set()
        announce = asyncio.create_task(self._announce(ready))
        access, recorder = Access(self.proxy.url), self.metrics.record_request
        async with KubeClient(access, recorder=recorder, clock=self._clock) as kube:
            self.controller = Controller(self._settings, kube, self.metrics, lease_name=self._lease_name)
            self.told_to_stop = await self.controller.run(self._stop, ready)
        announce.cancel()

    async def _announce(self, ready: asyncio.Event) -> None:
        await ready.wait()
        self._started.set()

    async def start(self, *, wait: bool = True) -> None:
        self._thread.start()
        if wait:
            assert await asyncio.to_thread(self._started.wait, WAIT), "the controller did not become active"

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    async def problem(self) -> str:
        """What the liveness probe would say, asked in the controller's own thread."""
        assert self.controller is not None
        assert self._loop is not None
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        loop, controller = asyncio.get_running_loop(), self.controller
        self._loop.call_soon_threadsafe(
            lambda: loop.call_soon_threadsafe(lambda said: answer.set_result(said), controller.problem())
        )
        return await answer

    @property
    def active(self) -> bool:
        return self._started.is_set() and self._thread.is_alive()

    async def stop(self) -> None:
        await asyncio.to_thread(self._can_be_told.wait, WAIT)  # it may have been started just now
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        await self.ended()

    async def ended(self) -> None:
        """Returns when the thread has ended, of itself or because it was told to."""
        await asyncio.to_thread(self._thread.join, WAIT)
        assert not self._thread.is_alive(), "the controller does not end"


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def eventually(probe: Callable[[], Any], describe: Callable[[], str], timeout: float = WAIT) -> None:
    """Asks until the answer is yes. The interval only bounds how often is asked, never what is concluded."""
    try:
        async with asyncio.timeout(timeout):
            while not await probe():
                await asyncio.sleep(0.03)
    except TimeoutError:
        raise AssertionError(describe()) from None


async def make_namespace(kube: KubeClient, name: str, level: str) -> None:
    """A namespace where a level of Pod Security is enforced."""
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": level}}
    await kube.create(paths.core("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


@contextlib.asynccontextmanager
async def world(kube: KubeClient, tmp: Path) -> AsyncIterator[World]:
    """A namespace of its own, where Pod Security is enforced as for builds, a fake backend and a fake kubelet; the
    namespace is deleted afterwards."""
    namespace = f"t-{secrets.token_hex(4)}"
    await make_namespace(kube, namespace, "baseline")
    try:
        async with FakeBackend().serve() as backend, FakeKubelet(kube, namespace).serve() as kubelet:
            yield World(kube, namespace, backend, kubelet, tmp)
    finally:
        await _clear(kube, namespace)


async def _clear(kube: KubeClient, namespace: str) -> None:
    """Takes our finalizers off and deletes the namespace; nobody waits for it."""
    with contextlib.suppress(ApiError):
        for plural in ("coprbuilds", "coprprojects"):
            for item in (await kube.get(paths.copr(plural, namespace)))["items"]:
                path = paths.copr(plural, namespace, item["metadata"]["name"])
                with contextlib.suppress(ApiError):
                    await kube.patch(path, {"metadata": {"finalizers": None}})
        await kube.delete(f"{paths.core('namespaces')}/{namespace}")
