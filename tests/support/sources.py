"""A web server for sources, on an address that pods of the local cluster can reach. It remembers what was asked."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any


@dataclass
class SourceServer:
    """Serves the files of a directory."""

    directory: Path
    url: str = ""
    """Without a trailing slash."""
    requests: list[str] = field(default_factory=list)
    """Paths that were asked for, whether or not there is such a file."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for clients without HTTP."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, requests: list[str], **options: Any) -> None:
        self._requests = requests
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        self._requests.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the library's)
        """Says nothing."""


@contextmanager
def serve_sources(directory: Path, host: str) -> Iterator[SourceServer]:
    """Serves `directory` until the context ends."""
    directory.mkdir(parents=True, exist_ok=True)
    sources = SourceServer(directory)
    handler = partial(_Handler, directory=str(directory), requests=sources.requests)
    with http.server.ThreadingHTTPServer((host, 0), handler) as server:
        sources.url = f"http://{host}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield sources
        finally:
            server.shutdown()
