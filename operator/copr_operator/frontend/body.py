"""Bodies of requests, within limits of size and time: JSON, a form, or multipart with a file that is spooled."""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs

from starlette.requests import Request

from copr_operator import bodies
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.fields import single
from copr_operator.frontend.multipart import MultipartError, MultipartParser, PartData, PartHead, boundary_of

JSON_PART = "json"
"""Part with the other fields as JSON; it comes after the file (contract 1.4)."""
_MAX_PARTS = 100


@dataclass(frozen=True)
class Limits:
    body: int
    """Bytes of a body without files, and of all parts that are no file."""
    file: int
    """Bytes of a file to be built; no other request takes so much."""
    silence: float
    """Seconds without a byte."""
    spool: Path | None = None


@dataclass
class SpooledFile:
    """A file that was sent, on disk until the request ends."""

    filename: str
    data: IO[bytes]
    size: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)
        self.data.write(data)

    @property
    def sha256(self) -> str:
        digest: str = self._digest.hexdigest()
        return digest


@dataclass
class Form:
    """What a body said: fields, and the files beside them."""

    fields: Mapping[str, Any]
    files: Mapping[str, SpooledFile] = field(default_factory=dict)


async def read_bytes(request: Request, limit: int, silence: float) -> bytes:
    """A whole body of at most `limit` bytes. Raises CoprError 408, 413."""
    return await bodies.whole(request, limit, silence, CoprError)


async def read_small(request: Request, limits: Limits) -> Mapping[str, Any]:
    """Fields of a body without files: a JSON object, or a form. An empty body has none.

    Raises CoprError 400 (not what it says it is), 408, 413, 415.
    """
    kind = _kind(request)
    data = await read_bytes(request, limits.body, limits.silence)
    if not data:
        return {}
    if kind == "application/json":
        return parse_json_object(data)
    if kind == "application/x-www-form-urlencoded":
        return _parse_form(data)
    raise _unsupported(kind)


@asynccontextmanager
async def form(request: Request, limits: Limits, *, file: int = 0) -> AsyncIterator[Form]:
    """The body of whatever kind; files are deleted at the end. Raises what `read_small` raises.

    `file`: bytes of a file that may be beside the fields. 0: there may be none, so that nobody fills the disk.
    """
    if _kind(request) != "multipart/form-data":
        yield Form(await read_small(request, limits))
        return
    reader = _MultipartReader(limits, file)
    try:
        try:
            parser = MultipartParser(boundary_of(request.headers["content-type"]))
            async for piece in bodies.pieces(request, file + limits.body, limits.silence, CoprError):
                await asyncio.to_thread(reader.take, parser, piece)
            parser.finish()
        except MultipartError as error:
            raise CoprError(400, f"Not a multipart body: {error}.") from None
        yield await asyncio.to_thread(reader.form)
    finally:
        await asyncio.to_thread(reader.close)


class _MultipartReader:
    """Puts a parser's events where they belong: files on disk, all else in memory."""

    def __init__(self, limits: Limits, file: int) -> None:
        self._limits = limits
        self._file = file
        self._small: list[tuple[str, bytearray]] = []
        self._files: dict[str, SpooledFile] = {}
        self._current: bytearray | SpooledFile = bytearray()
        self._parts = 0
        self._held = 0

    def take(self, parser: MultipartParser, piece: bytes) -> None:
        for event in parser.feed(piece):
            if isinstance(event, PartHead):
                self._begin(event)
            elif isinstance(event, PartData):
                self._write(event.data)

    def _begin(self, head: PartHead) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise CoprError(413, f"More than {_MAX_PARTS} parts are not accepted.")
        if head.filename is None or head.name == JSON_PART:
            self._current = bytearray()
            self._small.append((head.name, self._current))
            return
        if self._file == 0:
            raise CoprError(400, f"This request takes no file: {head.name[:100]}.")
        if head.name in self._files:
            raise CoprError(400, f"More than one file named {head.name[:100]} was sent.")
        data = tempfile.TemporaryFile(dir=self._limits.spool, prefix="copr-upload-")  # noqa: SIM115 (see close)
        self._current = self._files[head.name] = SpooledFile(head.filename, data)

    def _write(self, data: bytes) -> None:
        if isinstance(self._current, SpooledFile):
            if self._current.size + len(data) > self._file:
                raise CoprError(413, f"The file is larger than {self._file} bytes.")
            self._current.write(data)
            return
        self._held += len(data)
        if self._held > self._limits.body:
            raise CoprError(413, f"The fields are larger than {self._limits.body} bytes.")
        self._current += data

    def form(self) -> Form:
        """Fields of the JSON part, else those of the plain parts."""
        for file in self._files.values():
            file.data.seek(0)
        values: dict[str, list[str]] = {}
        for name, data in self._small:
            if name == JSON_PART:
                return Form(parse_json_object(bytes(data)), self._files)
            values.setdefault(name, []).append(_text(bytes(data)))
        return Form({name: single(texts) for name, texts in values.items()}, self._files)

    def close(self) -> None:
        for file in self._files.values():
            file.data.close()


def parse_json_object(data: bytes) -> Mapping[str, Any]:
    """Raises CoprError 400 for anything else than a JSON object (null is an empty one)."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise CoprError(400, "The request is not valid JSON.") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CoprError(400, "The request must be a JSON object.")
    return value


def _parse_form(data: bytes) -> Mapping[str, Any]:
    try:
        values = parse_qs(_text(data), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise CoprError(400, "The request is not a valid form.") from None
    return {name: single(texts) for name, texts in values.items()}


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise CoprError(400, "The request is not UTF-8.") from None


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unsupported(kind: str) -> CoprError:
    return CoprError(415, f"Unsupported media type {kind[:100] or '(none)'}: send application/json.")
