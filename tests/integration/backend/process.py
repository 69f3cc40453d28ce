"""Starting and ending real backend processes."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Backend:
    """One process after the other on the same store and port."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> None:
        self.root = root
        self.port = free_port()
        self._settings = {key: str(value) for key, value in settings.items()}
        self.url = f"{'https' if 'tls_cert' in settings else 'http'}://127.0.0.1:{self.port}"
        path = f"{REPOSITORY / 'operator'}:{REPOSITORY}"
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.backend.server"], cwd=REPOSITORY,
            env={**os.environ, **(environment or {}), "PYTHONPATH": path},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self.pid = 0

    def start(self, kill_at: int = 0) -> None:
        assert self._parent.stdin is not None
        order = {"root": str(self.root), "port": self.port, "kill_at": kill_at, "settings": self._settings}
        self._parent.stdin.write(json.dumps(order).encode() + b"\n")
        self.pid = self._line()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", verify=False).status_code == 200:  # noqa: S501 (its own certificate)
                    return
            if self._ended_within(0.01):
                raise AssertionError(f"the backend ended with status {self.wait()}")
        raise AssertionError("the backend did not start")

    def wait(self) -> int:
        """Wait status of the process, when it has ended."""
        self.pid = 0
        return self._line()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        if self.pid:
            self.kill()
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent.wait(timeout=30)

    def _ended_within(self, seconds: float) -> bool:
        assert self._parent.stdout is not None
        return bool(select.select([self._parent.stdout], [], [], seconds)[0])

    def _line(self) -> int:
        assert self._parent.stdout is not None
        return int(self._parent.stdout.readline())


@contextlib.contextmanager
def backend(root: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> Iterator[Backend]:
    process = Backend(root, environment, **settings)
    try:
        process.start()
        yield process
    finally:
        process.close()
