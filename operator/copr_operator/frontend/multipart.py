"""multipart/form-data (RFC 7578), as it arrives: the parts' headers whole, their bodies in pieces. Pure, no I/O.

Written for bodies larger than memory: at most one piece, one delimiter and one part's headers are held.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message

MAX_HEADERS = 8192
_PARAMETER = re.compile(r';\s*([a-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^";\s]+))', re.IGNORECASE)
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


class MultipartError(Exception):
    """The body is not what its Content-Type says."""


@dataclass(frozen=True)
class PartHead:
    """A new part begins."""

    name: str
    filename: str | None = None
    content_type: str | None = None


@dataclass(frozen=True)
class PartData:
    """A piece of the current part."""

    data: bytes


@dataclass(frozen=True)
class PartEnd:
    """The current part is whole."""


Event = PartHead | PartData | PartEnd


def boundary_of(content_type: str) -> bytes:
    """The boundary of a `multipart/form-data; boundary=...`. Raises MultipartError."""
    boundary = _message("Content-Type", content_type).get_param("boundary", "")
    if not isinstance(boundary, str) or not _BOUNDARY.fullmatch(boundary):
        raise MultipartError("multipart/form-data without a boundary")
    return boundary.encode("ascii")


class MultipartParser:
    """Feed it the body; it yields events. `finish` says whether the last delimiter has come."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # As if a line break came before the body: the first delimiter is found like the others.
        self._buffer = b"\r\n"
        self._state = "preamble"
        self._steps: dict[str, Callable[[], tuple[list[Event], bool]]] = {
            "preamble": self._in_preamble,
            "delimiter": self._in_delimiter,
            "headers": self._in_headers,
            "body": self._in_body,
            "epilogue": self._in_epilogue,
        }

    def feed(self, data: bytes) -> Iterator[Event]:
        """Raises MultipartError."""
        self._buffer += data
        while True:
            events, go_on = self._steps[self._state]()
            yield from events
            if not go_on:
                return

    def finish(self) -> None:
        """The body has ended. Raises MultipartError when it was cut."""
        if self._state != "epilogue":
            raise MultipartError("the body ends before its last boundary")

    def _in_preamble(self) -> tuple[list[Event], bool]:
        found = self._buffer.find(self._delimiter)
        if found < 0:
            self._buffer = self._buffer[-len(self._delimiter) :]
            return [], False
        return self._at_delimiter(found, [])

    def _in_body(self) -> tuple[list[Event], bool]:
        found = self._buffer.find(self._delimiter)
        if found < 0:
            safe = len(self._buffer) - len(self._delimiter) + 1
            if safe <= 0:
                return [], False
            data, self._buffer = self._buffer[:safe], self._buffer[safe:]
            return [PartData(data)], False
        data = self._buffer[:found]
        return self._at_delimiter(found, [PartData(data), PartEnd()] if data else [PartEnd()])

    def _at_delimiter(self, found: int, events: list[Event]) -> tuple[list[Event], bool]:
        self._buffer = self._buffer[found + len(self._delimiter) :]
        self._state = "delimiter"
        return events, True

    def _in_delimiter(self) -> tuple[list[Event], bool]:
        """What follows a delimiter: `--` at the end of all parts, else a line break, after blanks maybe."""
        if self._buffer.startswith(b"--"):
            self._buffer, self._state = b"", "epilogue"
            return [], False
        end = self._buffer.find(b"\r\n")
        if end < 0 and len(self._buffer) < 256:
            return [], False
        if end < 0 or self._buffer[:end].strip(b" \t"):
            raise MultipartError("a boundary is followed by something else than a line break")
        # The line break stays: the headers end at an empty line, also when there are none.
        self._buffer, self._state = self._buffer[end:], "headers"
        return [], True

    def _in_headers(self) -> tuple[list[Event], bool]:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEADERS:
            if len(self._buffer) > MAX_HEADERS:
                raise MultipartError("the headers of a part are too long")
            return [], False
        head = _part_head(self._buffer[:end])
        self._buffer, self._state = self._buffer[end + 4 :], "body"
        return [head], True

    def _in_epilogue(self) -> tuple[list[Event], bool]:
        self._buffer = b""
        return [], False


def _part_head(lines: bytes) -> PartHead:
    disposition = content_type = ""
    for line in lines.decode("utf-8", errors="replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            disposition = value.strip()
        elif name.strip().lower() == "content-type":
            content_type = value.strip()
    parameters = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(disposition)}
    if not disposition.lower().startswith("form-data") or "name" not in parameters:
        raise MultipartError("a part has no Content-Disposition of form-data with a name")
    filename = parameters.get("filename")
    return PartHead(parameters["name"], None if filename is None else _plain(filename), content_type or None)


def _plain(filename: str) -> str:
    """The last component: some clients send whole paths."""
    return re.sub(r"\\(.)", r"\1", filename).replace("\\", "/").rpartition("/")[2]


def _message(name: str, value: str) -> Message:
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    return message
