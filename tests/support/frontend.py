"""The real frontend on loopback, before a real API server, beside a world with the real controller."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from copr.v3 import Client

from copr_operator.frontend import tokens
from copr_operator.frontend.app import make_app
from copr_operator.frontend.services import Services
from copr_operator.frontend.settings import FrontendSettings
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient
from copr_operator.serving import Http
from tests.support.copr_cli import CoprCli, Ended
from tests.support.world import World, eventually

RESULTS = "https://copr.example"


@dataclass
class Person:
    """Somebody with a token and the configuration file that goes with it."""

    name: str
    login: str
    token: str
    url: str
    directory: Path
    copr_cli: CoprCli

    @property
    def config(self) -> Path:
        return self.directory / f"{self.name}.conf"

    async def ask(self, request: Callable[[Any], Any]) -> Any:
        """`request` of the unmodified Python client. It blocks, so it has a thread of its own."""
        return await asyncio.to_thread(lambda: request(Client.create_from_config_file(str(self.config))))

    @property
    def auth(self) -> tuple[str, str]:
        return self.login, self.token

    async def cli(self, *arguments: str) -> Ended:
        """The unmodified copr-cli, in a process of its own."""
        return await self.copr_cli.run("--config", str(self.config), *arguments)


@dataclass
class Site:
    """One frontend and who uses it."""

    world: World
    services: Services
    url: str
    directory: Path
    http: httpx.AsyncClient
    copr_cli: CoprCli
    people: dict[str, Person] = field(default_factory=dict)

    async def person(self, name: str, *groups: str, admin: bool = False, days: int = 1) -> Person:
        """Somebody with a token that was made as `copr-operator token create` makes it."""
        made = tokens.make(name, groups, admin=admin, now=datetime.now(UTC), days=days)
        await self.world.kube.create(paths.core("secrets", self.world.namespace), made.secret)
        person = Person(name, made.login, made.token, self.url, self.directory, self.copr_cli)
        person.config.write_text(tokens.config_file(name, made.login, made.token, made.expires, self.url))
        self.people[name] = person
        return person

    async def api(self, method: str, path: str, who: Person | None = None, **options: Any) -> httpx.Response:
        return await self.http.request(method, f"/api_3{path}", auth=who.auth if who else None, **options)

    async def until_state(self, build_id: int, *states: str) -> dict[str, Any]:
        """The Build object once it is in one of the states."""
        last: dict[str, Any] = {}

        async def probe() -> bool:
            nonlocal last
            last = (await self.api("GET", f"/build/{build_id}")).json()
            return last.get("state") in states

        await eventually(probe, lambda: f"the build stays {last}")
        return last

    async def spec_of(self, build_id: int) -> dict[str, Any]:
        """spec of the CoprBuild with this id."""
        record = self.services.cache.builds[build_id]
        spec: dict[str, Any] = (await self.world.build(record.name))["spec"]
        return spec


async def _true(value: bool) -> bool:
    return value


@contextlib.asynccontextmanager
async def frontend(
    world: World, directory: Path, kube: KubeClient | None = None, port: int = 0, **settings: Any
) -> AsyncIterator[Site]:
    """A frontend in this process. `kube`: a client of its own (default: the world's); `port` 0: any that is free."""
    values: dict[str, Any] = {
        "namespace": world.namespace,
        "watch": world.namespace,
        "project_namespace": world.namespace,
        "backend_url": world.backend.url,
        "results_url": RESULTS,
        "backend_token_file": directory / "token",
        "read_timeout": 30,
    }
    services = Services(FrontendSettings(**{**values, **settings}), kube or world.kube)
    config = uvicorn.Config(make_app(services), log_config=None, lifespan="off", host="127.0.0.1", port=port, http=Http)
    server = _Quiet(config)
    async with services.running():
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: _true(server.started and services.ready), lambda: "the frontend does not start")
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        copr_cli = CoprCli()
        try:
            async with httpx.AsyncClient(base_url=url, timeout=30) as http:
                yield Site(world, services, url, directory, http, copr_cli)
        finally:
            await copr_cli.close()
            server.should_exit = True
            await serving


class _Quiet(uvicorn.Server):
    """Leaves the signals of the test's process alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
