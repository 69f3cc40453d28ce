"""A pod's folders below tmp_path and a backend that keeps what it gets, on loopback."""

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from copr_operator.builder.agent.backend import Backend, Pauses
from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import StepPlan

TOKEN = "the-token"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeBackend:
    """`faults`: answers given before the real ones, as (status, body)."""

    url: str = ""
    srpm: bytes = b"an srpm"
    uploads: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    finished: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=lambda: {"outcome": "succeeded", "packages": 1})
    faults: list[tuple[int, str]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    def app(self) -> web.Application:
        @web.middleware
        async def faults_first(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.tokens.append(request.headers.get("Authorization"))
            if not self.faults:
                return await handler(request)
            status, text = self.faults.pop(0)
            await request.read()
            return web.Response(status=status, text=text)

        app = web.Application(client_max_size=64 * 1024**2, middlewares=[faults_first])
        app.router.add_get("/agent/v1/srpm", self._get_srpm)
        app.router.add_get("/agent/v1/upload/{ref:.+}", self._get_upload)
        app.router.add_get("/agent/v1/ticket", self._get_ticket)
        app.router.add_patch("/agent/v1/log/{name}", self._patch_log)
        app.router.add_put("/agent/v1/files/{name}", self._put_file)
        app.router.add_post("/agent/v1/finish", self._finish)
        return app

    async def _get_srpm(self, _: web.Request) -> web.Response:
        return web.Response(body=self.srpm)

    async def _get_upload(self, request: web.Request) -> web.Response:
        body = self.uploads.get(request.match_info["ref"])
        return web.Response(body=body) if body is not None else web.json_response({"error": "gone"}, status=404)

    async def _get_ticket(self, _: web.Request) -> web.Response:
        return web.json_response({"username": "build", "password": "9.abc"})

    async def _patch_log(self, request: web.Request) -> web.Response:
        name, offset = request.match_info["name"], int(request.query["offset"])
        body = await request.read()
        size = len(self.logs.get(name, b""))
        if offset != size:
            return web.json_response({"error": "offset", "size": size}, status=409)
        self.logs[name] = self.logs.get(name, b"") + body
        return web.json_response({"size": len(self.logs[name])})

    async def _put_file(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.read()
        sha256 = hashlib.sha256(body).hexdigest()
        if request.headers["X-Content-SHA256"] != sha256:
            return web.json_response({"error": "checksum", "reason": "ResultsRefused"}, status=422)
        self.files[name] = body
        return web.json_response({"name": name, "sha256": sha256, "size": len(body)})

    async def _finish(self, request: web.Request) -> web.Response:
        self.finished.append(await request.json())
        return web.json_response(self.summary)


@pytest.fixture
async def fake_backend() -> AsyncIterator[FakeBackend]:
    fake = FakeBackend()
    async with TestServer(fake.app()) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@pytest.fixture
def paths(tmp_path: Path) -> PodPaths:
    for name in ("in", "out", "ctl", "private"):
        (tmp_path / name).mkdir()
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return PodPaths(
        in_dir=tmp_path / "in",
        out_dir=tmp_path / "out",
        end_fifo=tmp_path / "ctl" / "end",
        token=tmp_path / "token",
        private=tmp_path / "private",
        termination_log=tmp_path / "termination-log",
    )


@pytest.fixture
async def backend(fake_backend: FakeBackend, paths: PodPaths) -> AsyncIterator[Backend]:
    async with aiohttp.ClientSession() as session:
        yield Backend(
            session,
            fake_backend.url,
            paths.token,
            "CollectFailed",
            budget=1.0,
            pauses=Pauses(first=0.001, ceiling=0.002),
        )


def make_plan(**values: Any) -> StepPlan:
    limits = {"timeout": 60, "end_signal": 5, "upload": 1, "fetch": 5, **values.pop("limits", {})}
    defaults: dict[str, Any] = {
        "build_id": 42,
        "build_uid": "8f2b8e4e-0000-4000-8000-000000000000",
        "namespace": "builds",
        "owner": "alice",
        "project": "demo",
        "dirname": "demo",
        "step": "rpm",
        "chroot": "fedora-43-x86_64",
        "backend_url": "http://127.0.0.1:1",
    }
    return StepPlan.model_validate(defaults | values | {"limits": limits})


@pytest.fixture
def plan_of() -> Callable[..., StepPlan]:
    return make_plan


def write_results(paths: PodPaths, files: dict[str, bytes], exit_code: str | None = "0\n") -> None:
    """What a wrapper leaves behind."""
    results = paths.out_dir / "results"
    results.mkdir()
    for name, content in files.items():
        (results / name).write_bytes(content)
    if exit_code is not None:
        (paths.out_dir / "exit-code").write_text(exit_code)


def wrapper_life(fifo: Path) -> None:
    """Opens the FIFO as the wrapper does, and is gone. Blocks until the reader is there."""
    fd = os.open(fifo, os.O_WRONLY)
    os.write(fd, b"started\n")
    os.close(fd)
