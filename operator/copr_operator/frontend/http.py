"""What all routes share: JSON answers, errors, paths with and without a slash at the end, deprecated methods."""

import logging
import time
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.metrics import Metrics
from copr_operator.frontend.records import dump

logger = logging.getLogger(__name__)

API = "/api_3"
NO_ENDPOINT = "Such API endpoint doesn't exist"
MAX_KEY = 200
Handler = Callable[[Request], Awaitable[Response]]


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value` as JSON; bytes are JSON already."""
    content = value if isinstance(value, bytes) else dump(value)
    return Response(content, status_code=status, media_type="application/json", headers=headers)


def items(rendered: list[bytes], meta: object) -> Response:
    """A list of objects that are rendered already."""
    return answer(b'{"items":[' + b",".join(rendered) + b'],"meta":' + dump(meta) + b"}")


def route(path: str, handler: Handler, method: str = "GET", *, deprecated: str | None = None) -> Route:
    """`deprecated`: another method that works too, and says so in a Warning header as Copr does."""

    async def endpoint(request: Request) -> Response:
        began, code = time.perf_counter(), 500
        try:
            response = await handler(request)
            code = response.status_code
        except CoprError as error:
            code = error.status
            raise
        finally:
            metrics: Metrics = request.app.state.metrics
            metrics.record(request.method, path, code, time.perf_counter() - began)
        if request.method == deprecated:
            text = f"This method is deprecated: Use {method} method instead of {deprecated}"
            response.headers["Warning"] = text
        return response

    # For the OpenAPI document.
    endpoint.handler, endpoint.deprecated = handler, deprecated  # type: ignore[attr-defined]
    return Route(path, endpoint, methods=[method] if deprecated is None else [method, deprecated])


def path_number(request: Request, name: str = "id") -> int:
    """A number in the path; an endpoint with something else in its place does not exist, as with Flask's <int:>."""
    text = request.path_params[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise CoprError(404, NO_ENDPOINT)
    return int(text)


def query(request: Request, name: str) -> str:
    """A required parameter, of the path or the query. Raises CoprError 400."""
    value = request.path_params.get(name) or request.query_params.get(name)
    if value is None:
        raise CoprError(400, f"Missing argument {name}")
    return str(value)


def idempotency_key(request: Request) -> str | None:
    """Idempotency-Key: a client that sends the same request again with it gets the same builds."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise CoprError(400, f"Idempotency-Key must have 1 to {MAX_KEY} characters")
    return key


async def on_copr_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, CoprError)  # noqa: S101 (registered for this class)
    return answer(error.body, error.status, error.headers)


async def on_starlette_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class)
    known = {404: NO_ENDPOINT, 405: f"The method {request.method} is not allowed for the requested URL."}
    headers = dict(error.headers or {})
    return answer({"error": known.get(error.status_code, error.detail)}, error.status_code, headers)


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    return answer({"error": "The client went away in the middle of the body."}, 400)


async def on_bug(request: Request, error: Exception) -> Response:
    """Nothing of the cause leaves the process but its log."""
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer({"error": "Internal error of the frontend; its log says more."}, 500)


EXCEPTION_HANDLERS: dict[int | type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    CoprError: on_copr_error,
    HTTPException: on_starlette_error,
    ClientDisconnect: on_disconnect,
    Exception: on_bug,
}


class WithoutSlashes:
    """`/x/` is `/x`, without a redirect: clients would turn a redirected POST into a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/" and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)
