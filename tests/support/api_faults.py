"""What can go wrong between a client and its API server. `api_proxy.ApiProxy` asks these for every request and watch.

A request's fault is chosen when it arrives; a watch's stream of events is passed through a function that may change it.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NAME = re.compile(r"/(?:apis/[^/]+/[^/]+|api/v1)/(?:namespaces/[^/]+/)?([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?$")


@dataclass(frozen=True)
class Call:
    """One request, before anything was done about it."""

    method: str
    resource: str
    """`jobs`, `coprbuilds`, `coprbuilds/status`, `events`..."""
    name: str
    watch: bool
    number: int
    """Of this method and resource at this proxy, from 1 on."""
    selector: str = ""
    """Of fields."""

    @property
    def write(self) -> bool:
        return self.method in WRITES


def parse_path(path: str) -> tuple[str, str]:
    """Resource and object name of a request's path."""
    match = _NAME.search(path)
    if match is None:
        return path, ""
    plural, name, subresource = match.groups()
    return f"{plural}/{subresource}" if subresource else plural, name or ""


# -- requests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The API server refuses: 409, 410, 429, 500, 503. Nothing is carried out."""

    status: int
    retry_after: int | None = None

    @property
    def body(self) -> bytes:
        """A Status object, as the API server sends it."""
        reason = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 503: "ServiceUnavailable"}
        return json.dumps({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.status,
            "reason": reason.get(self.status, "InternalError"), "message": "a fault that the proxy made",
        }).encode()  # fmt: skip


@dataclass(frozen=True)
class Lose:
    """The connection breaks before the API server has the request."""


@dataclass(frozen=True)
class Swallow:
    """The request is carried out, and the connection breaks before its answer arrives."""


@dataclass(frozen=True)
class Delay:
    """Everything takes this many seconds longer."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Half open: no answer, until the client gives up."""


@dataclass(frozen=True)
class Kill:
    """The client dies: this request is (not) carried out, and none after it is."""

    carried_out: bool


Fault = Answer | Lose | Swallow | Delay | Hang | Kill
Decide = Callable[[Call], Fault | None]


def every(nth: int, fault: Fault, *, method: str | None = None, resource: str | None = None) -> Decide:
    """The fault at every nth request of that method and resource; Leases are left alone unless they are asked for."""

    def decide(call: Call) -> Fault | None:
        if call.watch or method not in (None, call.method):
            return None
        if call.resource != resource if resource is not None else call.resource == "leases":
            return None
        return fault if call.number % nth == 0 else None

    return decide


# -- watches --------------------------------------------------------------------------------------------------------


class Event(Enum):
    """What becomes of one watch event."""

    PASS = "pass"
    DROP = "drop"
    REPEAT = "repeat"
    """It comes twice."""
    OLDER = "older"
    """After it comes once more what the stream had said of the same object before."""
    LATE = "late"
    """It comes after the next event."""
    DELAY = "delay"
    """It, and all behind it, come half a second later."""
    CUT = "cut"
    """The stream ends in place of it, without a word."""
    GONE = "gone"
    """The stream ends in place of it, with 410."""
    SILENT = "silent"
    """From here on nothing comes, bookmarks neither: half open."""
    BOOKMARKS = "bookmarks"
    """From here on only bookmarks come."""


Lines = AsyncIterator[bytes]
Tamper = Callable[[Call, Lines], Lines]
DELAY_SECONDS = 0.5


def events(decide: Callable[[Call, int, dict[str, Any]], Event]) -> Tamper:
    """A Tamper from a decision about each event (`number` counts them in their stream, from 1 on)."""

    async def tamper(call: Call, lines: Lines) -> Lines:
        earlier: defaultdict[str, list[bytes]] = defaultdict(list)
        late: list[bytes] = []
        number, bookmarks_only = 0, False
        async for line in lines:
            event = json.loads(line)
            if event["type"] in ("BOOKMARK", "ERROR"):
                yield line
                continue
            number += 1
            uid = event["object"]["metadata"]["uid"]
            what = decide(call, number, event)
            bookmarks_only |= what is Event.BOOKMARKS
            if bookmarks_only:
                continue
            match what:
                case Event.CUT:
                    return
                case Event.GONE:
                    yield b'{"type":"ERROR","object":' + Answer(410).body + b"}\n"
                    return
                case Event.SILENT:
                    await asyncio.Event().wait()
                case Event.LATE:
                    late.append(line)
                    continue
                case Event.DELAY:
                    await asyncio.sleep(DELAY_SECONDS)
            if what is not Event.DROP:
                yield line
            if what is Event.REPEAT:
                yield line
            if what is Event.OLDER and earlier[uid]:
                yield earlier[uid][0]
            for held in late:
                yield held
            late.clear()
            earlier[uid].append(line)

    return tamper


class Freeze:
    """An API server whose cache stands still: LISTs and watches show the state at one revision, writes go through.

    Single objects are read as they are: their reads are quorum reads unless a client asks for less.
    """

    def __init__(self) -> None:
        self.version: int | None = None
        self._thawed = asyncio.Event()
        self._thawed.set()

    def at(self, version: str) -> None:
        self.version = int(version)
        self._thawed.clear()

    def thaw(self) -> None:
        self.version = None
        self._thawed.set()

    def of_list(self, query: dict[str, str]) -> dict[str, str]:
        """The query of a LIST as an API server that stands still would understand it."""
        if self.version is None or "continue" in query:
            return query
        return {**query, "resourceVersion": str(self.version), "resourceVersionMatch": "Exact"}

    async def hold(self, lines: Lines) -> Lines:
        """Passes what happened up to the revision; the rest waits for the thaw."""
        async for line in lines:
            while self.version is not None and int(_version(line)) > self.version:
                await self._thawed.wait()
            yield line


def _version(line: bytes) -> str:
    return str(json.loads(line)["object"].get("metadata", {}).get("resourceVersion") or "0")
