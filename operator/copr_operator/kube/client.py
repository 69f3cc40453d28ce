"""A small asynchronous Kubernetes client over aiohttp.

Objects are plain dicts: the generated model classes cost memory and CPU and would hide fields they don't know. What
callers may rely on: every failed request is an ApiError; 404 and 409 have one meaning (see the helpers); a request
that got no answer is an ApiError with status 0, and may have been carried out.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from copr_operator.kube.access import Access, find_access
from copr_operator.kube.clock import ClusterClock

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_ONLY_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


Params = Mapping[str, str]
Recorder = Callable[[str, str, int], None]
"""Called with verb, path and status of each request that ended (for metrics)."""


class ApiError(Exception):
    """A request the API server refused, or that got no answer (`status` 0)."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        """Seconds the server asks to wait (429, 503), if it said so."""

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def forbidden(self) -> bool:
        """Not allowed. Also what is said of a namespace that was deleted, where a Role in it gave the right."""
        return self.status == 403

    @property
    def conflict(self) -> bool:
        """A stale resourceVersion, or a name that exists already."""
        return self.status == 409

    @property
    def gone(self) -> bool:
        """The resourceVersion or continue token is too old: list again."""
        return self.status == 410

    @property
    def transient(self) -> bool:
        """Worth the same request again later: no answer, throttled or a server's failure."""
        return self.status == 0 or self.status == 429 or self.status >= 500


AT_ONCE = 100
"""Requests of one client at the same time; further ones wait for a connection."""


class KubeClient:
    """Connections to one API server: a pool for requests, and one for each watch.

    Close it with `close()`, or use it with `async with`.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = 30.0,
        recorder: Recorder | None = None,
        clock: ClusterClock | None = None,
    ) -> None:
        self.access = access
        self.clock = clock or ClusterClock()
        """The API server's, as its answers tell it."""
        self.ssl_context: ssl.SSLContext = access.ssl_context()
        """TLS settings for the API server."""
        self._sessions: dict[int, aiohttp.ClientSession] = {}
        """By the number of connections that each may have; 0: any."""
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=5)
        self._recorder = recorder

    @classmethod
    async def from_environment(
        cls, *, kubeconfig: str | None = None, context: str | None = None, **options: Any
    ) -> "KubeClient":
        """In a pod by its ServiceAccount, else by `kubeconfig` (default: $KUBECONFIG or the user's own)."""
        return cls(await find_access(kubeconfig, context), **options)

    async def __aenter__(self) -> "KubeClient":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def _connections(self, limit: int) -> aiohttp.ClientSession:
        """Made when it is first needed: a session belongs to an event loop."""
        if limit not in self._sessions:
            self._sessions[limit] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self.ssl_context, limit=limit),
                # Large answers would come compressed, which costs both sides more than a cluster's network does.
                headers={"User-Agent": "copr-operator", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                # aiohttp would read .netrc and the proxy variables in a thread, twice for each request. A proxy can be
                # named in the kubeconfig; kopf's own connection does not look at the environment either.
                trust_env=False,
                read_bufsize=2**18,
            )
        return self._sessions[limit]

    # -- verbs ---------------------------------------------------------------------------------------------------

    async def get(self, path: str, params: Params | None = None, *, accept: str = "application/json") -> dict[str, Any]:
        return await self._json("GET", path, params, accept=accept)

    async def find(self, path: str) -> dict[str, Any] | None:
        """`get`, with None for an object that isn't there."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def create(self, path: str, body: Mapping[str, Any], params: Params | None = None) -> dict[str, Any]:
        return await self._json("POST", path, params, body=body)

    async def replace(self, path: str, body: Mapping[str, Any], params: Params | None = None) -> dict[str, Any]:
        return await self._json("PUT", path, params, body=body)

    async def patch(
        self, path: str, body: object, params: Params | None = None, *, content_type: str = MERGE_PATCH
    ) -> dict[str, Any]:
        return await self._json("PATCH", path, params, body=body, content_type=content_type)

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> bool:
        """True when the deletion was accepted, False when there was nothing to delete (404) or it is another object
        of the same name now (409 by a uid precondition in `body`)."""
        try:
            await self._json("DELETE", path, None, body=body)
        except ApiError as error:
            if error.not_found or error.conflict:
                return False
            raise
        return True

    async def list_pages(
        self, path: str, params: Params | None = None, *, page: int = 100, accept: str = "application/json"
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """Pages of a LIST as (items, resourceVersion of the list). An expired continue token (410) is an ApiError."""
        query = {**(params or {}), "limit": str(page)}
        while True:
            answer = await self.get(path, query, accept=accept)
            yield answer.get("items") or [], answer["metadata"].get("resourceVersion", "")
            token = answer["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def watch(
        self, path: str, params: Params, *, accept: str = "application/json", idle_timeout: float = 70.0
    ) -> AsyncIterator[dict[str, Any]]:
        """Watch events as dicts with `type` and `object`, bookmarks included, until the server ends the stream.

        A stream that is silent for `idle_timeout` seconds is ended with an ApiError of status 0: bookmarks arrive
        every minute, so silence means a dead connection.
        """
        query = {**params, "watch": "true", "allowWatchBookmarks": "true"}
        timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=idle_timeout)
        try:
            # Watches last, and there are some for each namespace: they must not use up what requests need.
            async with self._open("GET", path, query, accept=accept, timeout=timeout, limit=0) as response:
                async for line in _lines(response.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(status.get("code", 0), status.get("reason", ""), status.get("message", ""))
                    yield event
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise ApiError(0, "WatchBroken", str(error) or type(error).__name__) from error

    # -- transport -----------------------------------------------------------------------------------------------

    async def _json(
        self,
        method: str,
        path: str,
        params: Params | None,
        *,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        try:
            async with self._open(
                method, path, params, body=body, content_type=content_type, accept=accept
            ) as response:
                answer: dict[str, Any] = orjson.loads(await response.read())
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            self._record(method, path, 0)
            raise ApiError(0, "NoAnswer", str(error) or type(error).__name__) from error

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        params: Params | None,
        *,
        body: object = None,
        content_type: str = "application/json",
        accept: str,
        timeout: aiohttp.ClientTimeout | None = None,
        limit: int = AT_ONCE,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": accept, "Content-Type": content_type}
        token = await self.access.token()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        asked = self.clock.asked()
        request = self._connections(limit).request(
            method,
            f"{self.access.server}{path}" + (f"?{urlencode(params)}" if params else ""),
            data=None if body is None else orjson.dumps(body),
            headers=headers,
            timeout=timeout or self._timeout,
            proxy=self.access.proxy,
            server_hostname=self.access.tls_server_name,
        )
        async with request as response:
            self._record(method, path, response.status)
            self.clock.answered(response.headers.get("Date", ""), asked)
            if response.status >= 400:
                raise _error(response, await response.read())
            yield response

    def _record(self, method: str, path: str, status: int) -> None:
        if self._recorder is not None:
            self._recorder(method, path, status)


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines, however long: aiohttp's own iteration refuses those of over 128 KiB, and an object may have more."""
    rest = b""
    async for chunk in stream.iter_any():
        first, *others = chunk.split(b"\n")
        rest += first
        for line in others:
            yield rest
            rest = line


def _error(response: aiohttp.ClientResponse, data: bytes) -> ApiError:
    try:
        status = orjson.loads(data)
        reason, message = status.get("reason", ""), status.get("message", "")
    except (ValueError, AttributeError):
        reason, message = response.reason or "", data[:300].decode(errors="replace")
    after = response.headers.get("Retry-After", "")
    return ApiError(response.status, reason, message, float(after) if after.isdigit() else None)
