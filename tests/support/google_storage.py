"""What the store needs of Google Cloud Storage's XML API, on loopback: objects, generations, conditional writes."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class GoogleStorage(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.generation = 1_700_000_000_000_000
        self.turn = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """What a backend needs to reach it."""
        account = {"gcs_base_url": f"http://127.0.0.1:{self.server_port}", "disable_oauth": True}
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({**account, "client_email": "", "private_key": "",
                                                          "private_key_id": ""})}  # fmt: skip

    def put(self, path: str, data: bytes, wanted: str | None) -> int | None:
        """The new generation; None when the object is not of the `wanted` one ("0": there is none)."""
        with self.turn:
            if wanted is not None and int(wanted) != self.objects.get(path, (0, b""))[0]:
                return None
            self.generation += 1
            self.objects[path] = (self.generation, data)
            return self.generation


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GoogleStorage

    @property
    def name(self) -> str:
        return unquote(self.path)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        generation = self.server.put(self.name, data, self.headers.get("x-goog-if-generation-match"))
        if generation is None:
            self._answer(412)
        else:
            self._answer(200, generation=generation, etag=data)

    def do_GET(self) -> None:
        found = self.server.objects.get(self.name)
        if found is None:
            self._answer(404)
        else:
            self._answer(200, found[1], generation=found[0], etag=found[1])

    do_HEAD = do_GET  # noqa: N815 (the base class's name)

    def do_DELETE(self) -> None:
        self._answer(404 if self.server.objects.pop(self.name, None) is None else 204)

    def _answer(self, status: int, body: bytes = b"", *, generation: int | None = None, etag: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if generation is not None:
            self.send_header("ETag", f'"{hashlib.md5(etag).hexdigest()}"')  # noqa: S324 (as Google does)
            self.send_header("x-goog-generation", str(generation))
            self.send_header("Last-Modified", formatdate(usegmt=True))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing: what goes wrong shows in the test."""


@contextmanager
def google_storage() -> Iterator[GoogleStorage]:
    with GoogleStorage() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
