"""Who is measured: bare Jobs, a minimal controller, and the operator's controller as it is deployed."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from copr_operator.core import names
from copr_operator.kube import paths
from tests.bench import arena, shapes
from tests.bench.arena import Stage

BARE, MINIMAL, OURS = "bare Jobs", "minimal controller", "ours"
NAMES = (BARE, MINIMAL, OURS)


class Contestant(Protocol):
    pid: int | None
    """The process to be measured; None when there is no controller."""

    async def submit(self) -> str:
        """Sends one build and returns its uid when the API server has accepted it."""


@contextlib.asynccontextmanager
async def start(name: str, stage: Stage) -> AsyncIterator[Contestant]:
    """The contestant, warm."""
    async with _STARTS[name](stage) as contestant:
        await warm(contestant, stage)
        yield contestant


async def warm(contestant: Contestant, stage: Stage) -> None:
    """A first build goes through, which it may have listed, and then one that it has watched."""
    for number in (1, 2):
        await contestant.submit()
        await stage.observer.until_ended(number, patience=30)


class Bare:
    """A client that creates the same Jobs in the same order, with no resource and no controller behind it."""

    pid: int | None = None

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._maker = shapes.JobMaker(stage.shape, stage.namespace, stage.backend_url)
        self._left: dict[str, set[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        stage.observer.on_job_done = self._job_done

    async def submit(self) -> str:
        uid = str(uuid.uuid4())
        self._left[uid] = {names.SOURCE_STEP, *self._stage.shape.names[: self._stage.shape.chroots]}
        await self._create(uid, names.SOURCE_STEP)
        self._stage.observer.posted(uid)
        return uid

    async def _create(self, uid: str, step: str) -> None:
        await self._stage.kube.create(paths.jobs(self._stage.namespace), self._maker.job(step, uid, None))

    def _job_done(self, uid: str, step: str) -> None:
        self._left[uid].discard(step)
        if step == names.SOURCE_STEP:
            for chroot in list(self._left[uid]):
                task = asyncio.create_task(self._create(uid, chroot))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        if not self._left[uid]:
            self._stage.observer.end(uid, "succeeded")


@dataclass
class Controlled:
    """CoprBuilds, and a controller's process."""

    stage: Stage
    pid: int | None

    async def submit(self) -> str:
        created = await self.stage.kube.create(
            paths.copr("coprbuilds", self.stage.namespace), shapes.build(self.stage.shape)
        )
        uid: str = created["metadata"]["uid"]
        self.stage.observer.posted(uid)
        return uid


@contextlib.asynccontextmanager
async def _bare(stage: Stage) -> AsyncIterator[Contestant]:
    yield Bare(stage)


def _direct(name: str) -> Callable[[Stage], AbstractAsyncContextManager[Controlled]]:
    return lambda stage: behind(name, stage, stage.cluster.kubeconfig)


@contextlib.asynccontextmanager
async def behind(name: str, stage: Stage, kubeconfig: Path) -> AsyncIterator[Controlled]:
    """A controller that reaches the API server by this kubeconfig, cold."""
    if name == MINIMAL:
        arguments = [
            *("-m", "tests.bench.minimal", "--kubeconfig", str(kubeconfig), "--namespace", stage.namespace),
            *("--chroots", str(stage.shape.chroots), "--backend-url", stage.backend_url),
        ]
    else:
        arguments = controller_arguments(kubeconfig, stage.namespace, stage.backend_url)
    async with arena.running("minimal" if name == MINIMAL else "controller", *arguments) as process:
        yield Controlled(stage, process.pid)


def controller_arguments(kubeconfig: Path, namespace: str, backend_url: str, port: int = 0) -> list[str]:
    """The controller as in manifests/base, for one namespace that is the installation's as well."""
    token = arena.BUILD / "bench-token"
    token.write_text("the-fake-backend-takes-any")
    return [
        *("-m", "copr_operator", "controller", "--kubeconfig", str(kubeconfig)),
        *("--namespace", namespace, "--watch", namespace),
        *("--operator-image", shapes.IMAGE, "--source-image", shapes.IMAGE),
        *("--backend-url", backend_url, "--results-url", shapes.RESULTS_URL),
        *("--backend-token-file", str(token), "--http-port", str(port)),
    ]


_STARTS: dict[str, Callable[[Stage], AbstractAsyncContextManager[Contestant]]] = {
    BARE: _bare,
    MINIMAL: _direct(MINIMAL),
    OURS: _direct(OURS),
}
