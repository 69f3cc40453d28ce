"""Client of the backend's `/agent/v1` (docs/wire.md).

Every request is repeated until it is answered or its budget is used up: connection errors, 5xx and 429 with growing
pauses, 401 and 403 for at most a minute (a pod that has just started may not be known yet). The token is read anew
for every request, because the kubelet replaces it while the pod runs.
"""

import asyncio
import hashlib
import json
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp

from copr_operator.builder.agent.errors import AgentError
from copr_operator.core.reasons import FAILURES
from copr_operator.core.wire import AGENT_PREFIX, ArtifactRef, FinishRequest, StepSummary, Ticket

T = TypeVar("T")

CHUNK = 1024 * 1024
"""Bytes of a file that are in memory at a time."""
IDENTITY_BUDGET = 60.0
"""Seconds for which 401 and 403 are retried."""
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_PUBLISH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
"""`finish` answers after publication, which waits for other publications of the same repository."""


@dataclass(frozen=True)
class Pauses:
    """Seconds between tries: doubling from `first` to `ceiling`, with jitter, so that pods don't come back in step."""

    first: float = 0.5
    ceiling: float = 10.0

    def after(self, tries: int) -> float:
        longest = min(self.ceiling, self.first * 2.0 ** min(tries, 16))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)


class UnansweredError(Exception):
    """A try that may be repeated."""

    def __init__(self, message: str, reason: str | None = None, identity: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.identity = identity


def tls_context(ca_file: str | None) -> ssl.SSLContext | bool:
    """For COPR_BACKEND_CA: trust that bundle only; without it: the image's own."""
    return ssl.create_default_context(cafile=ca_file) if ca_file else True


@dataclass
class Backend:
    """One pod's view of the backend. `default_reason` names failures that the backend gives no reason for."""

    session: aiohttp.ClientSession
    url: str
    token_path: Path
    default_reason: str
    budget: float
    """Seconds for which one request is repeated."""
    pauses: Pauses = Pauses()

    async def download(self, path: str, target: Path, limit: int, missing: str) -> str:
        """GETs `path` below the prefix into `target`; its SHA-256. `missing`: the reason when it is not there."""

        async def attempt() -> str:
            async with self._request("GET", path) as response:
                await self._check(response, missing)
                return await store(response, target, limit)

        return await self._until_answered(attempt)

    async def ticket(self) -> Ticket:
        """What opens the repositories of the step's own private project."""

        async def attempt() -> Ticket:
            async with self._request("GET", "/ticket") as response:
                await self._check(response)
                return Ticket.model_validate(await _object(response))

        return await self._until_answered(attempt)

    async def append_log(self, name: str, offset: int, data: bytes, budget: float | None = None) -> int:
        """Appends at `offset`; the size that the backend's log has then, also when it did not match the offset."""

        async def attempt() -> int:
            path = f"/log/{quote(name)}?offset={offset}"
            async with self._request("PATCH", path, data=data) as response:
                if response.status != 409:
                    await self._check(response)
                return int((await _object(response))["size"])

        return await self._until_answered(attempt, budget)

    async def put_file(self, name: str, fd: int, size: int, sha256: str) -> ArtifactRef:
        """Sends the open file `fd` from its start."""

        async def attempt() -> ArtifactRef:
            headers = {"X-Content-SHA256": sha256, "Content-Length": str(size)}
            body = _read_all(fd, size)
            try:
                async with self._request("PUT", f"/files/{quote(name)}", data=body, headers=headers) as response:
                    await self._check(response)
                    return ArtifactRef.model_validate(await _object(response))
            except aiohttp.ClientConnectionError as error:
                # aiohttp hides what went wrong while it read the body behind an error of the connection.
                if isinstance(error.__cause__, AgentError):
                    raise error.__cause__ from None
                raise

        return await self._until_answered(attempt)

    async def finish(self, request: FinishRequest) -> StepSummary:
        async def attempt() -> StepSummary:
            body = request.model_dump_json().encode()
            headers = {"Content-Type": "application/json"}
            async with self._request("POST", "/finish", data=body, headers=headers, timeout=_PUBLISH_TIMEOUT) as answer:
                await self._check(answer)
                return StepSummary.model_validate(await _object(answer))

        return await self._until_answered(attempt)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        data: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        token = self.token_path.read_text().strip()
        async with self.session.request(
            method,
            f"{self.url.rstrip('/')}{AGENT_PREFIX}{path}",
            data=data,
            headers={"Authorization": f"Bearer {token}", **(headers or {})},
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            yield response

    async def _until_answered(self, attempt: Callable[[], Awaitable[T]], budget: float | None = None) -> T:
        """Failures in transit are repeated; what is left after that is an AgentError."""
        start = time.monotonic()
        allowed = self.budget if budget is None else budget
        tries = 0
        while True:
            try:
                return await attempt()
            except UnansweredError as error:
                failure = error
            except (aiohttp.ClientError, TimeoutError, OSError, KeyError, ValueError) as error:
                # KeyError and ValueError: an answer that is none of the backend's, e.g. an ingress's error page.
                failure = UnansweredError(f"{type(error).__name__}: {error}")
            pause = self.pauses.after(tries)
            tries += 1
            limit = min(allowed, IDENTITY_BUDGET) if failure.identity else allowed
            if time.monotonic() - start + pause > limit:
                raise AgentError(failure.reason or self.default_reason, f"{failure} (after {tries} tries)") from failure
            await asyncio.sleep(pause)

    async def _check(self, response: aiohttp.ClientResponse, missing: str | None = None) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        message, reason = await _error(response)
        text = f"the backend answered {status}: {message}"
        if status in (401, 403):
            raise UnansweredError(text, reason, identity=True)
        if status == 429 or status >= 500:
            raise UnansweredError(text, reason)
        raise AgentError(reason or (missing if status == 404 and missing else self.default_reason), text)


async def _error(response: aiohttp.ClientResponse) -> tuple[str, str | None]:
    """Message and, when it is one of ours, reason of an error answer."""
    text = (await response.content.read(8192)).decode(errors="replace")
    try:
        body = json.loads(text)
        reason = body.get("reason")
        return str(body.get("error", text)), reason if reason in FAILURES else None
    except (ValueError, AttributeError):
        return text.strip()[:500] or str(response.reason), None


async def _object(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body = await response.json()
    if not isinstance(body, dict):
        raise ValueError("the answer is not a JSON object")
    return body


async def store(response: aiohttp.ClientResponse, target: Path, limit: int) -> str:
    """Writes a body of at most `limit` bytes to `target`; its SHA-256."""
    digest = hashlib.sha256()
    size = 0
    with target.open("wb") as file:
        async for chunk in response.content.iter_chunked(CHUNK):
            size += len(chunk)
            if size > limit:
                raise AgentError("SourceRefused", f"{target.name} is larger than {limit} bytes")
            digest.update(chunk)
            file.write(chunk)
    target.chmod(0o644)
    return digest.hexdigest()


async def _read_all(fd: int, size: int) -> AsyncIterator[bytes]:
    """Exactly `size` bytes from the start of `fd`, whatever its position: a repeated request begins again."""
    position = 0
    while position < size:
        chunk = os.pread(fd, min(CHUNK, size - position), position)
        if not chunk:
            raise AgentError("ResultsRefused", "a result file shrank while it was sent")
        position += len(chunk)
        yield chunk
