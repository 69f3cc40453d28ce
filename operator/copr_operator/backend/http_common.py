"""What all routes share: errors as JSON, bearer tokens, bodies within limits, files with ranges."""

import asyncio
import errno
import logging
import re
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, BinaryIO

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from copr_operator import bodies
from copr_operator.backend.errors import HttpError, UnreadableError
from copr_operator.backend.metrics import Metrics
from copr_operator.backend.store import Entry, StoreFullError, StorePathError

logger = logging.getLogger(__name__)

_PIECE = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def error_response(error: HttpError) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    content = {"error": error.message, "reason": error.reason, **error.extra}
    return JSONResponse(content, status_code=error.status, headers=headers)


async def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpError)  # noqa: S101 (registered for this class)
    if error.status in (401, 403):
        metrics: Metrics = request.app.state.metrics
        metrics.denied.inc()
    return error_response(error)


async def on_starlette_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class)
    return JSONResponse({"error": error.detail, "reason": ""}, status_code=error.status_code, headers=error.headers)


async def on_store_full(_request: Request, _error: Exception) -> Response:
    return error_response(HttpError(507, "the store is full", "StorageFull"))


async def on_os_error(request: Request, error: Exception) -> Response:
    """A full disk below the spool, whose files are not written through the store; else a failure of ours."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return await on_store_full(request, error)
    raise error


async def on_unreadable(_request: Request, error: Exception) -> Response:
    """To be asked again: a package that can't be read now must not be left out, nor its build be blamed."""
    return error_response(HttpError(503, str(error)))


async def on_store_path(_request: Request, _error: Exception) -> Response:
    return error_response(HttpError(404, "no such file"))


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    return error_response(HttpError(400, "the client went away in the middle of the body"))


EXCEPTION_HANDLERS = {
    HttpError: on_http_error,
    HTTPException: on_starlette_error,
    StoreFullError: on_store_full,
    UnreadableError: on_unreadable,
    StorePathError: on_store_path,
    OSError: on_os_error,
    ClientDisconnect: on_disconnect,
}


class _StalledError(Exception):
    """The client takes nothing of the answer. No OSError: that would be taken for a client that is gone."""


class AtMost:
    """Refuses requests of a route beyond so many under way. Not uvicorn's limit: that would refuse probes and build
    pods, too, and count connections that wait for nothing. `patience`: seconds in which a client has to take the next
    piece of its answer, or those that take none would keep all others out."""

    def __init__(self, app: ASGIApp, limit: int, patience: float) -> None:
        self._app = app
        self._limit = limit
        self._patience = patience
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._under_way >= self._limit:
            raise HttpError(503, "too many downloads at once")

        async def patiently(message: Message) -> None:
            try:
                async with asyncio.timeout(self._patience):
                    await send(message)
            except TimeoutError:
                raise _StalledError from None

        self._under_way += 1
        try:
            await self._app(scope, receive, patiently)
        except _StalledError:
            logger.info("%s: the client takes nothing of it", scope["path"])  # the server closes the connection
        finally:
            self._under_way -= 1


def bearer(request: Request) -> str:
    """The token of a request. Raises HttpError 401."""
    scheme, _space, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > 16384:
        raise HttpError(401, "a bearer token is needed")
    return token


async def body(
    request: Request, limit: int, *, silence: float, count: Callable[[int], None], reason: str
) -> AsyncIterator[bytes]:
    """The body piece by piece; `count` hears of each. Raises HttpError 408, 413 (`reason`), see bodies.pieces."""

    def refuse(status: int, text: str) -> HttpError:
        return HttpError(status, text, reason if status == 413 else "")

    async for piece in bodies.pieces(request, limit, silence, refuse):
        count(len(piece))
        yield piece


async def small_body(request: Request, limit: int, *, silence: float) -> bytes:
    """The body at once. Raises HttpError 408, 413."""
    return await bodies.whole(request, limit, silence, HttpError)


def file_response(
    request: Request, file: BinaryIO, entry: Entry, *, media_type: str, headers: dict[str, str] | None = None
) -> Response:
    """An open file as an answer to GET or HEAD, whole or one range of it. Several ranges get the whole file, as
    RFC 9110 allows."""
    etag = f'"{entry.version or f"{entry.mtime_ns:x}-{entry.size:x}"}"'
    modified = formatdate(entry.mtime_ns // 10**9, usegmt=True)
    base = {"ETag": etag, "Last-Modified": modified, "Accept-Ranges": "bytes", **(headers or {})}
    if _unchanged(request, etag, entry):
        file.close()
        return Response(status_code=304, headers=base)
    start, length, status = 0, entry.size, 200
    wanted = _wanted_range(request, etag, modified, entry.size)
    if wanted is not None:
        start, length = wanted
        if length <= 0:
            file.close()
            return Response(status_code=416, headers={**base, "Content-Range": f"bytes */{entry.size}"})
        status = 206
        base["Content-Range"] = f"bytes {start}-{start + length - 1}/{entry.size}"
    base["Content-Length"] = str(length)
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=base, media_type=media_type)
    return _FileResponse(file, start, length, status_code=status, headers=base, media_type=media_type)


class _FileResponse(StreamingResponse):
    """Closes the file however the answer ends: also when its client is gone, or takes nothing."""

    def __init__(self, file: BinaryIO, start: int, length: int, **options: Any) -> None:
        super().__init__(_pieces(file, start, length), **options)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _pieces(file: BinaryIO, start: int, length: int) -> AsyncIterator[bytes]:
    """Exactly `length` bytes, also of a file that is growing."""
    if start:
        await asyncio.to_thread(file.seek, start)
    while length > 0:
        data = await asyncio.to_thread(file.read, min(_PIECE, length))
        if not data:
            return
        length -= len(data)
        yield data


def _unchanged(request: Request, etag: str, entry: Entry) -> bool:
    match = request.headers.get("if-none-match")
    if match is not None:
        return match.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in match.split(","))
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return entry.mtime_ns // 10**9 <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError):
        return False


def _wanted_range(request: Request, etag: str, modified: str, size: int) -> tuple[int, int] | None:
    """Start and length of a single satisfiable range; length 0: it can't be satisfied; None: send everything."""
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if match is None or request.headers.get("if-range", etag) not in (etag, modified):
        return None
    first, last = match[1], match[2]
    if len(first) > 18 or len(last) > 18 or not (first or last):
        return None
    if not first:
        length = min(int(last), size)
        return size - length, length
    if last and int(last) < int(first):
        return None
    end = min(int(last), size - 1) if last else size - 1
    return int(first), max(end - int(first) + 1, 0)
