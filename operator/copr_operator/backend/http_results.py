"""`/results/`: repositories, results and logs, for everybody or for those who may read a private project.

What somebody may not read is answered as what is not there.
"""

import asyncio
import html
import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from copr_operator.backend.errors import HttpError
from copr_operator.backend.http_common import AtMost, file_response
from copr_operator.backend.layout import RESULTS, safe_segment
from copr_operator.backend.services import Services
from copr_operator.backend.store import Entry

_CHECKSUM_NAMED = re.compile(r"[0-9a-f]{64}-.+")
_FORBIDDEN_ESCAPES = re.compile(rb"%(2f|5c|00)", re.IGNORECASE)
_TYPES = {
    ".rpm": "application/x-rpm",
    ".xml": "application/xml",
    ".json": "application/json",
    ".log": "text/plain; charset=utf-8",
    ".spec": "text/plain; charset=utf-8",
    ".gz": "application/gzip",
}
_SECURITY = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
"""What builds made is shown, never run, by a browser."""


class ResultsRoutes:
    def __init__(self, services: Services) -> None:
        self._store = services.store
        self._spool = services.spool
        self._privacy = services.privacy
        self._readers = services.readers
        self._at_most = Middleware(
            AtMost, limit=services.settings.max_downloads, patience=services.settings.read_timeout
        )

    def routes(self) -> list[Route]:
        return [
            Route("/results", self.redirect, methods=["GET"]),
            Route("/results/{path:path}", self.results, methods=["GET"], middleware=[self._at_most]),
        ]

    async def redirect(self, _request: Request) -> Response:
        return RedirectResponse("results/", status_code=301)

    async def results(self, request: Request) -> Response:
        if not request.scope["path"].isprintable() or _FORBIDDEN_ESCAPES.search(request.scope.get("raw_path") or b""):
            raise HttpError(404, "no such file")
        path: str = request.path_params["path"]
        segments = path.removesuffix("/").split("/") if path else []
        if not all(safe_segment(segment) for segment in segments):
            raise HttpError(404, "no such file")
        absent = HttpError(404, "no such directory" if path.endswith("/") else "no such file")
        private = await self._is_private(request, segments, absent)
        response = await self._found(request, path, segments, absent)
        if private:
            # Nobody else's cache may keep it.
            response.headers["Cache-Control"] = "private, no-cache"
        return response

    async def _is_private(self, request: Request, segments: list[str], absent: HttpError) -> bool:
        """Raises `absent` for those who may not read it."""
        if len(segments) == 1 and await asyncio.to_thread(self._all_private, segments[0]):
            raise absent
        if len(segments) < 2 or self._privacy.namespace(segments[0], segments[1]) is None:
            return False
        if not await self._readers.may_read(request.headers.get("authorization", ""), segments[0], segments[1]):
            raise absent
        return True

    async def _found(self, request: Request, path: str, segments: list[str], absent: HttpError) -> Response:
        where, below = "/".join([RESULTS, *segments]), "/".join(segments)
        entry = await asyncio.to_thread(self._store.stat, where)
        if (entry is not None and entry.is_dir) or not segments or self._only_live(below):
            if path and not path.endswith("/"):
                return RedirectResponse(f"{quote(segments[-1])}/", status_code=301)
            return await self._directory(where, below)
        if path.endswith("/"):
            raise absent
        if entry is not None:
            return _file(request, *await asyncio.to_thread(self._open, where))
        return await self._live_log(request, segments)

    def _all_private(self, owner: str) -> bool:
        """Whether an owner has private projects and no others: then not even the owner is there. Most have none, and
        that is known without a look into the store: the list of all owners would else cost as many lists."""
        if not self._privacy.hides_some(owner):
            return False
        names = {entry.name for entry in self._store.list(f"{RESULTS}/{owner}") if safe_segment(entry.name)}
        names |= self._spool.live_below(owner)
        return bool(names) and self._privacy.hidden(owner, names) == names

    async def _live_log(self, request: Request, segments: list[str]) -> Response:
        log = self._spool.live_log("/".join(segments[:-1]), segments[-1])
        opened = await asyncio.to_thread(_open_log, log) if log is not None else None
        if opened is None:
            raise HttpError(404, "no such file")
        headers = {**_SECURITY, "Cache-Control": "no-cache"}
        return file_response(request, *opened, media_type=_TYPES[".log"], headers=headers)

    async def _directory(self, where: str, below: str) -> Response:
        entries = [entry for entry in await asyncio.to_thread(self._store.list, where) if safe_segment(entry.name)]
        known = {entry.name for entry in entries}
        entries += [Entry(name, True, 0, 0) for name in sorted(self._live_directories(below) - known)]
        for name in self._spool.live_logs(below):
            log = self._spool.live_log(below, name)
            if log is not None and name not in known:
                status = log.stat()
                entries.append(Entry(name, False, status.st_size, status.st_mtime_ns))
        hidden = await asyncio.to_thread(self._hidden, below, [entry.name for entry in entries])
        headers = {**_SECURITY, "Cache-Control": "no-cache"}
        return HTMLResponse(index_page(below, [e for e in entries if e.name not in hidden]), headers=headers)

    def _hidden(self, below: str, names: list[str]) -> set[str]:
        """What is left out of the lists of owners and of an owner's directories, for whoever asks."""
        if not below:
            return {owner for owner in names if self._all_private(owner)}
        return set() if "/" in below else self._privacy.hidden(below, names)

    def _live_directories(self, below: str) -> set[str]:
        return self._spool.live_below(below)

    def _only_live(self, below: str) -> bool:
        """A directory that so far has nothing but live logs."""
        return bool(self._spool.live_logs(below) or self._spool.live_below(below))

    def _open(self, where: str) -> tuple[BinaryIO, Entry]:
        try:
            return self._store.open(where)
        except FileNotFoundError:
            raise HttpError(404, "no such file") from None


def index_page(below: str, entries: list[Entry]) -> str:
    """A plain listing; `wget -r --no-parent` follows its relative links."""
    rows = ['<a href="../">../</a>'] if below else []
    for entry in sorted(entries, key=lambda entry: (not entry.is_dir, entry.name)):
        slash = "/" if entry.is_dir else ""
        name = f'<a href="./{quote(entry.name)}{slash}">{html.escape(entry.name)}{slash}</a>'
        if entry.is_dir:
            rows.append(name)
        else:
            when = datetime.fromtimestamp(entry.mtime_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M")
            rows.append(f"{name} {when} {entry.size}")
    title = f"Index of /{html.escape(below)}"
    listing = "\n".join(rows)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1><pre>\n{listing}\n</pre></body></html>\n"
    )


def _file(request: Request, file: BinaryIO, entry: Entry) -> Response:
    headers = dict(_SECURITY)
    if _CHECKSUM_NAMED.fullmatch(entry.name):
        headers["Cache-Control"] = "public, max-age=31536000, immutable"
    else:
        # also RPMs: another attempt of the same build may replace a file of the same name
        headers["Cache-Control"] = "no-cache"
    media_type = _TYPES.get(os.path.splitext(entry.name)[1], "application/octet-stream")
    if entry.name.endswith(".log.gz"):
        headers["Vary"] = "Accept, Accept-Encoding"
        if _browser(request):
            headers["Content-Encoding"] = "gzip"
            media_type = _TYPES[".log"]
    return file_response(request, file, entry, media_type=media_type, headers=headers)


def _browser(request: Request) -> bool:
    """Somebody wants to read the log, not to keep the file. Programs (wget, curl, client libraries) must get a real
    .gz; those that unpack Content-Encoding by themselves would store something else under that name."""
    wants_gzip = "gzip" in request.headers.get("accept-encoding", "")
    return wants_gzip and "text/html" in request.headers.get("accept", "")


def _open_log(path: Path) -> tuple[BinaryIO, Entry] | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None  # it has just become a .gz
    status = os.fstat(descriptor)
    file = os.fdopen(descriptor, "rb")
    return file, Entry(path.name, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime_ns)
