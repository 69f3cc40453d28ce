"""A Python package index that speaks PyPI's JSON API, with one small package made on the spot."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME, VERSION = "hello-copr", "1.0"
_METADATA = f"""Metadata-Version: 2.1
Name: {NAME}
Version: {VERSION}
Summary: Says hello
Home-page: https://hello.example/
License: MIT
Requires-Python: >=3.6
"""
_SETUP = f"""from setuptools import setup
setup(name={NAME!r}, version={VERSION!r}, description="Says hello", license="MIT", url="https://hello.example/",
      py_modules=["hello_copr"])
"""


def _sdist() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in {
            "PKG-INFO": _METADATA,
            "setup.py": _SETUP,
            "hello_copr.py": "print('Hello, copr!')\n",
            "README": "hello\n",
        }.items():
            entry = tarfile.TarInfo(f"hello_copr-{VERSION}/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("hello_copr.py", "print('Hello, copr!')\n")
        archive.writestr(f"hello_copr-{VERSION}.dist-info/METADATA", _METADATA)
        archive.writestr(f"hello_copr-{VERSION}.dist-info/top_level.txt", "hello_copr\n")
        archive.writestr(f"hello_copr-{VERSION}.dist-info/RECORD", "")
    return buffer.getvalue()


@dataclass
class PackageIndex:
    """`files`: what is below /files/; change one and its digest does not fit any more."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = {f"hello_copr-{VERSION}.tar.gz": _sdist(), f"hello_copr-{VERSION}-py3-none-any.whl": _wheel()}
        self._digests = {name: (hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest())
                         for name, data in self.files.items()}  # fmt: skip
        self.files[f"hello_copr-{VERSION}-py3-none-any.whl.metadata"] = _METADATA.encode()

    def _urls(self) -> list[dict[str, Any]]:
        return [
            {
                "filename": name,
                "packagetype": "sdist" if name.endswith(".gz") else "bdist_wheel",
                "url": f"{self.url}/files/{name}",
                "digests": {"sha256": sha256, "md5": md5},
                "md5_digest": md5,
                "yanked": False,
                "python_version": "source" if name.endswith(".gz") else "py3",
            }
            for name, (sha256, md5) in self._digests.items()
        ]

    def answer(self, path: str) -> bytes | None:
        self.requests.append(path)
        if path in (f"/pypi/{NAME}/json", f"/pypi/{NAME}/{VERSION}/json"):
            info: dict[str, Any] = dict.fromkeys(("project_urls", "requires_dist", "license_files", "provides_extra"))
            info |= {"name": NAME, "version": VERSION, "summary": "Says hello", "license": "MIT", "description": "",
                     "license_expression": "MIT", "classifiers": [], "home_page": "https://hello.example/",
                     "author": "", "package_url": "https://hello.example/", "requires_python": ">=3.6",
                     "author_email": "", "keywords": ""}  # fmt: skip
            return json.dumps({"info": info, "urls": self._urls(), "releases": {VERSION: self._urls()}}).encode()
        return self.files.get(path.removeprefix("/files/")) if path.startswith("/files/") else None


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, index: PackageIndex, *more: Any) -> None:
        self._index = index
        super().__init__(*more)

    def do_GET(self) -> None:
        body = self._index.answer(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the library's)
        """Says nothing."""


@contextmanager
def package_index(address: str = "127.0.0.1", port: int = 0) -> Iterator[PackageIndex]:
    index = PackageIndex()
    server = ThreadingHTTPServer((address, port), partial(_Handler, index))
    index.url = f"http://{address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
