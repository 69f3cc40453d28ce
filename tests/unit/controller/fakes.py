"""An API server of a few lines behind the real client, and views of builds and projects."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from copr_operator.api.build import BuildStatus
from copr_operator.core.observed import BuildView, ProjectView
from copr_operator.kube.client import ApiError, KubeClient, Params
from copr_operator.kube.clock import ClusterClock
from tests.support import builders

_PATH = re.compile(r"/(?:apis/[^/]+/[^/]+|api/v1)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/(?:[a-z]+))?")
Place = tuple[str, str, str]
"""Plural, namespace, name."""
Hook = Callable[[str, str], Awaitable[None]]
"""Called with method and path; may raise, or never return."""


class FakeKube(KubeClient):
    """Names, uids and resource versions as the API server keeps them. What a request asks for is not selected."""

    def __init__(self) -> None:
        self.objects: dict[Place, dict[str, Any]] = {}
        self.writes: list[tuple[str, str]] = []
        """Method and path of each write that was made."""
        self.before: Hook | None = None
        """Before a request is carried out."""
        self.after: Hook | None = None
        """After a write was carried out, before its client hears of it."""
        self.version = 0
        self.clock = ClusterClock()

    async def _json(
        self,
        method: str,
        path: str,
        params: Params | None,
        *,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self.before is not None:
            await self.before(method, path)
        match = _PATH.fullmatch(path)
        assert match is not None, path
        namespace, plural, name = match.groups()
        if method == "GET" and name is None:
            items = [o for (p, n, _), o in self.objects.items() if p == plural and namespace in (None, n)]
            return {"items": items, "metadata": {"resourceVersion": str(self.version)}}
        place = (plural, namespace or "", name or body["metadata"]["name"])
        if method == "GET":
            return self._found(place)
        answer = self._write(method, place, body)
        self.writes.append((method, path))
        if self.after is not None:
            await self.after(method, path)
        return answer

    def _found(self, place: Place) -> dict[str, Any]:
        if place not in self.objects:
            raise ApiError(404, "NotFound", f"{place[0]} {place[2]} not found")
        return self.objects[place]

    def _write(self, method: str, place: Place, body: Any) -> dict[str, Any]:
        if method == "POST":
            if place in self.objects:
                raise ApiError(409, "AlreadyExists", f"{place[0]} {place[2]} already exists")
            meta = {**body["metadata"], "namespace": place[1], "uid": f"uid-{self.version}"}
            return self.put(place, {**body, "metadata": meta})
        held = self._found(place)
        if method == "DELETE":
            return self.objects.pop(place)
        meta = body.get("metadata") or {}
        if meta.get("resourceVersion", held["metadata"]["resourceVersion"]) != held["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        return self.put(place, _merged(held, body))

    def put(self, place: Place, obj: dict[str, Any]) -> dict[str, Any]:
        """What another client wrote."""
        self.version += 1
        self.objects[place] = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        return self.objects[place]

    async def watch(
        self, path: str, params: Params, *, accept: str = "application/json", idle_timeout: float = 70.0
    ) -> AsyncIterator[dict[str, Any]]:
        """A watch in which nothing happens."""
        await asyncio.Event().wait()
        yield {}


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = _merged(new.get(key) or {}, value) if isinstance(value, Mapping) else value
    return new


def build(
    name: str = "hello",
    version: int = 1,
    *,
    uid: str = "",
    namespace: str = "ns",
    state: str | None = None,
    **spec: Any,
) -> BuildView:
    status = BuildStatus.model_validate({"state": state} if state is not None else {})
    view = builders.build(status, **spec)
    return replace(view, name=name, uid=uid or f"uid-{name}", namespace=namespace, resource_version=str(version))


def project(
    name: str = "demo", version: int = 1, *, uid: str = "", namespace: str = "ns", **changes: Any
) -> ProjectView:
    view = builders.project(**changes)
    return replace(view, name=name, uid=uid or f"uid-{name}", namespace=namespace, resource_version=str(version))
