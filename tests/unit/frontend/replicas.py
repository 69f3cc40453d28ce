"""Replicas of the whole frontend before one API server in memory, which tells those that watch what is written."""

import asyncio
import base64
import copy
import itertools
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from copr_operator.frontend import tokens
from copr_operator.frontend.app import make_app
from copr_operator.frontend.body import SpooledFile
from copr_operator.frontend.cache import Cache
from copr_operator.frontend.services import Services
from copr_operator.frontend.settings import FrontendSettings
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError
from tests.unit.frontend.test_definitions import merged

HERE = "copr-system"
F43, F44 = "fedora-43-x86_64", "fedora-44-x86_64"
HELD = [{"type": "NameHeld", "status": "True", "reason": "Held", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
Object = dict[str, Any]


class Server:
    """Gives builds their ids at once, and projects their names."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.log: list[tuple[str, str]] = []
        """Verbs and paths of requests, in their order."""
        self.refuses: dict[tuple[str, str], ApiError] = {}
        """By verb and a part of the path."""
        self.caches: list[tuple[Cache, bool]] = []
        self._versions, self._ids = itertools.count(1), itertools.count(1)

    def of(self, plural: str) -> list[Object]:
        return [obj for path, obj in self.objects.items() if f"/{plural}/" in path]

    def specs(self, plural: str) -> list[Object]:
        return [obj["spec"] for obj in self.of(plural)]

    def finish(self) -> None:
        """All builds have succeeded in fedora-43, and have brought the package hello."""
        for path, obj in self.objects.items():
            if "/coprbuilds/" in path:
                obj["metadata"]["resourceVersion"] = str(next(self._versions))
                package = {"name": "hello", "version": "1-1"}
                obj["status"] |= {
                    "state": "succeeded", "source": {"state": "succeeded", "package": package},
                    "chroots": [{"name": F43, "state": "succeeded", "packages": 1}],
                }  # fmt: skip
                self._tell("MODIFIED", path, obj)

    def _tell(self, kind: str, path: str, obj: Object) -> None:
        for cache, watches in self.caches:
            events = {
                "coprbuilds": cache.build_event, "coprprojects": cache.project_event,
                "coprpackages": cache.package_event,
            }  # fmt: skip
            plural = path.split("/")[-2]
            if watches and plural in events:
                events[plural](kind, copy.deepcopy(obj))

    async def _asked(self, verb: str, path: str) -> None:
        await asyncio.sleep(0)  # so that requests come between each other
        self.log.append((verb, path))
        for (refused, part), error in self.refuses.items():
            if refused == verb and part in path:
                raise error

    async def create(self, path: str, body: Mapping[str, Any]) -> Object:
        obj = copy.deepcopy(dict(body))
        name = f"{path}/{obj['metadata']['name']}"
        await self._asked("create", name)
        if name in self.objects:
            raise ApiError(409, "AlreadyExists", name)
        namespace = path.split("/namespaces/")[1].split("/")[0]
        obj["metadata"] |= {
            "uid": str(uuid.uuid4()), "resourceVersion": str(next(self._versions)), "namespace": namespace,
            "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1,
        }  # fmt: skip
        if "stringData" in obj:
            obj["data"] = {key: base64.b64encode(text.encode()).decode() for key, text in obj.pop("stringData").items()}
        if "coprbuilds" in path:
            obj["status"] = {
                "id": next(self._ids), "state": "pending", "submittedAt": "2026-01-01T00:00:00Z",
                "source": {"state": "pending"}, "chroots": [],
            }  # fmt: skip
        if "coprprojects" in path:
            obj["status"] = {"conditions": HELD}
        self.objects[name] = obj
        self._tell("ADDED", name, obj)
        return copy.deepcopy(obj)

    async def find(self, path: str) -> Object | None:
        await self._asked("get", path)
        return copy.deepcopy(self.objects.get(path))

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Object:
        if params is None:
            found = await self.find(path)
            if found is None:
                raise ApiError(404, "NotFound", path)
            return found
        await self._asked("list", path)
        plural, wanted = path.rsplit("/", 1)[1], params["fieldSelector"].split(",")
        return {"items": [copy.deepcopy(obj) for obj in self.of(plural) if all(_selects(one, obj) for one in wanted)]}

    async def patch(self, path: str, body: Mapping[str, Any]) -> Object:
        await self._asked("patch", path)
        if path not in self.objects:
            raise ApiError(404, "NotFound", path)
        held = self.objects[path]
        for name in ("uid", "resourceVersion"):
            if body.get("metadata", {}).get(name, held["metadata"][name]) != held["metadata"][name]:
                raise ApiError(409, "Conflict", path)
        obj: Object = copy.deepcopy(merged(held, body))
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[path] = obj
        self._tell("MODIFIED", path, obj)
        return copy.deepcopy(obj)

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> bool:
        await self._asked("delete", path)
        held = self.objects.get(path)
        conditions = (body or {}).get("preconditions", {})
        if held is None or any(held["metadata"][name] != value for name, value in conditions.items()):
            return False
        self._tell("DELETED", path, self.objects.pop(path))
        return True


def _selects(selector: str, obj: Object) -> bool:
    path, sign, value = selector.partition("!=" if "!=" in selector else "=")
    found: Any = obj
    for part in path.split("."):
        found = (found or {}).get(part)
    return (str(found) == value) is (sign == "=")


class Backend:
    async def upload(self, _namespace: str, file: SpooledFile) -> tuple[str, str]:
        return f"r/{file.filename}", file.sha256


class Replica(httpx.AsyncClient):
    """A client of it. `watches`: whether the watch tells it of what others write."""

    def __init__(self, server: Server, *, watches: bool = True) -> None:
        settings = FrontendSettings(
            namespace=HERE, backend_url="http://backend", results_url="https://results.example",
            frontend_url="https://copr.example", backend_token_file=Path("/none"), id_timeout=1, cancel_timeout=0,
        )  # fmt: skip
        self.services = Services(settings, server)  # type: ignore[arg-type]
        self.services.backend = Backend()  # type: ignore[assignment]
        server.caches.append((self.services.cache, watches))
        for name in (F43, F44):
            spec = {"name": name, "enabled": True, "arch": "x86_64", "image": f"x@sha256:{'0' * 64}"}
            meta = {"uid": name, "name": name, "namespace": HERE, "resourceVersion": "1"}
            self.services.cache.chroot_event("ADDED", {"metadata": meta, "spec": spec})
        transport = httpx.ASGITransport(app=make_app(self.services), raise_app_exceptions=False)
        super().__init__(transport=transport, base_url="https://copr.example")

    async def made(self, owner: str, auth: tuple[str, str], name: str = "demo", **fields: Any) -> None:
        """A project."""
        body = {"name": name, "chroots": [F43, F44], **fields}
        answer = await self.post(f"/api_3/project/add/{owner}", json=body, auth=auth)
        assert answer.status_code == 200, answer.text

    async def defined(self, auth: tuple[str, str], name: str = "hello", **fields: Any) -> None:
        """A package of alice/demo that webhooks build."""
        body = {"clone_url": "https://git.example/hello", "webhook_rebuild": True, **fields}
        answer = await self.post(f"/api_3/package/add/alice/demo/{name}/scm", json=body, auth=auth)
        assert answer.status_code == 200, answer.text

    async def hook(self, auth: tuple[str, str]) -> str:
        """The end of the URL of a new webhook of alice/demo."""
        answer = await self.post("/api_3/webhook/generate/alice/demo", auth=auth)
        assert answer.status_code == 200, answer.text
        return f"{answer.json()['id']}/{answer.json()['webhook_secret']}"


async def person(server: Server, name: str, *groups: str, admin: bool = False) -> tuple[str, str]:
    """Login and token."""
    made = tokens.make(name, groups, admin=admin, now=datetime.now(UTC), days=1)
    await server.create(paths.core("secrets", HERE), made.secret)
    return made.login, made.token
