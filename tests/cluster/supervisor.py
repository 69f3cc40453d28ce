"""Parts as data, and the few verbs that every part shares: start, wait until ready, stop, describe."""

import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import cgroups, process
from tests.cluster.errors import ClusterError, part_failed
from tests.cluster.layout import Layout

LOG_ROTATE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class HttpReady:
    """Ready when a URL answers 200."""

    url: str
    ca: Path | None = None

    def __str__(self) -> str:
        return self.url

    def __call__(self) -> bool:
        """Ask once."""
        context = ssl.create_default_context(cafile=str(self.ca)) if self.ca else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # loopback needs no proxy
        if context:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(self.url, timeout=3) as answer:
                return int(answer.status) == 200
        except (OSError, ValueError):  # HTTPError and URLError are OSErrors
            return False


@dataclass(frozen=True)
class SocketReady:
    """Ready when a Unix socket accepts a connection."""

    path: Path

    def __str__(self) -> str:
        return f"a listener at {self.path}"

    def __call__(self) -> bool:
        """Connect once."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self.path))
                return True
        except OSError:
            return False


Ready = HttpReady | SocketReady


@dataclass(frozen=True)
class Part:
    """One process of the cluster."""

    name: str
    argv: Sequence[str]
    ready: Ready
    wave: int
    """Parts of one wave start together; a wave starts when the one before is ready."""
    env: Mapping[str, str] = field(default_factory=dict)
    grace: float = 10.0
    """Seconds from SIGTERM to SIGKILL."""


@dataclass(frozen=True)
class PartStatus:
    """A line of `status`."""

    name: str
    pid: int | None
    healthy: bool
    detail: str


@dataclass(frozen=True)
class Supervisor:
    """Starts and stops the parts of one profile. It holds no state but files, so every command can make one."""

    layout: Layout
    parts: Sequence[Part]

    def part(self, name: str) -> Part:
        """Find a part by name."""
        for part in self.parts:
            if part.name == name:
                return part
        raise ClusterError(
            f"{self.layout.profile} has no part {name!r}; it has {', '.join(p.name for p in self.parts)}"
        )

    def log(self, part: Part) -> Path:
        """Return where a part's output goes."""
        return self.layout.logs / f"{part.name}.log"

    def record(self, part: Part) -> process.Record | None:
        """Return the part's running process, if it runs."""
        record = process.load(self._pid_file(part))
        return record if record and record.alive() else None

    def start(self, part: Part) -> None:
        """Start a part unless it runs; does not wait for it."""
        if self.record(part):
            return
        log = self.log(part)
        if log.exists() and log.stat().st_size > LOG_ROTATE_BYTES:
            log.replace(log.with_suffix(".log.1"))
        record = process.start_detached(
            part.argv,
            log=log,
            env={**_base_env(), **part.env},
            procs_file=cgroups.join_parts(self.layout.instance),
        )
        if record is None:
            raise part_failed(part.name, "its start", "it ended at once", log)
        process.save(record, self._pid_file(part))

    def wait_ready(self, part: Part, *, timeout: float) -> None:
        """Wait until a part answers, and fail the moment its process is gone: an answer then is someone else's."""
        deadline = time.monotonic() + timeout
        pause = 0.05
        while True:
            ready = part.ready()
            if self.record(part) is None:
                raise part_failed(part.name, str(part.ready), "it died", self.log(part))
            if ready:
                return
            if time.monotonic() > deadline:
                raise part_failed(part.name, str(part.ready), f"not ready after {timeout:.0f} s", self.log(part))
            time.sleep(pause)
            pause = min(pause * 1.3, 0.3)

    def start_all(self, *, timeout: float, between: Callable[[int], None] | None = None) -> None:
        """Start wave by wave; between(wave) runs when a wave is ready, for work that the next one needs."""
        for wave in sorted({part.wave for part in self.parts}):
            members = [part for part in self.parts if part.wave == wave]
            for part in members:
                self.start(part)
            for part in members:
                self.wait_ready(part, timeout=timeout)
            if between:
                between(wave)

    def stop(self, part: Part, *, kill: bool = False) -> None:
        """Stop one part and wait until it is gone; kill=True is a crash (SIGKILL)."""
        record = self.record(part)
        if record:
            process.stop([record], grace=0 if kill else part.grace)
        self._pid_file(part).unlink(missing_ok=True)

    def stop_all(self) -> None:
        """Stop everything at once: of a cluster that is thrown away nothing needs an orderly end."""
        records = [record for path in sorted(self.layout.pids.glob("*.json")) if (record := process.load(path))]
        process.stop(records, grace=1)
        for path in self.layout.pids.glob("*.json"):
            path.unlink(missing_ok=True)

    def status(self) -> list[PartStatus]:
        """Describe every part, in the order in which they start."""
        return [self._status_of(part) for part in self.parts]

    def _status_of(self, part: Part) -> PartStatus:
        record = self.record(part)
        if record is None:
            return PartStatus(part.name, None, False, "not running")
        healthy = part.ready()
        return PartStatus(part.name, record.pid, healthy, "healthy" if healthy else f"no answer from {part.ready}")

    def _pid_file(self, part: Part) -> Path:
        return self.layout.pids / f"{part.name}.json"


def _base_env() -> dict[str, str]:
    # A fixed environment: the same cluster whoever starts it. Proxies and KUBECONFIG of the caller must not leak in.
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
    }
