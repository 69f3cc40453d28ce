"""A Python package index that speaks PyPI's JSON API, with two small packages made on the spot."""

import hashlib
import io
import json
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAMES, VERSION = ("hello-copr", "bonjour"), "1.0"
"""Packages of the index; each has a Python package of its name, with an underscore for the dash."""
_METADATA = f"""Metadata-Version: 2.1
Name: {{name}}
Version: {VERSION}
Summary: Says hello
Home-page: https://hello.example/
License: MIT
Requires-Python: >=3.6
"""
_SETUP = f"""from setuptools import setup
setup(name="{{name}}", version="{VERSION}", description="Says hello", license="MIT", url="https://hello.example/",
      packages=["{{module}}"])
"""
_MODULE = "WORDS = 'Hello, copr!'\n"


def _module(name: str) -> str:
    return name.replace("-", "_")


def _sdist(name: str) -> bytes:
    module = _module(name)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in {
            "PKG-INFO": _METADATA.format(name=name),
            "setup.py": _SETUP.format(name=name, module=module),
            f"{module}/__init__.py": _MODULE,
            "README": "hello\n",
        }.items():
            entry = tarfile.TarInfo(f"{module}-{VERSION}/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _wheel(name: str) -> bytes:
    module = _module(name)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{module}/__init__.py", _MODULE)
        archive.writestr(f"{module}-{VERSION}.dist-info/METADATA", _METADATA.format(name=name))
        archive.writestr(f"{module}-{VERSION}.dist-info/top_level.txt", f"{module}\n")
        archive.writestr(f"{module}-{VERSION}.dist-info/RECORD", "")
    return buffer.getvalue()


@dataclass
class PackageIndex:
    """`files`: what is below /files/; change one and its digest does not fit any more."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        made = {}
        for name in NAMES:
            made[f"{_module(name)}-{VERSION}.tar.gz"] = _sdist(name)
            made[f"{_module(name)}-{VERSION}-py3-none-any.whl"] = _wheel(name)
            self.files[f"{_module(name)}-{VERSION}-py3-none-any.whl.metadata"] = _METADATA.format(name=name).encode()
        self._digests = {file: (hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest())
                         for file, data in made.items()}  # fmt: skip
        self.files |= made

    def _urls(self, name: str) -> list[dict[str, Any]]:
        return [
            {
                "filename": file,
                "packagetype": "sdist" if file.endswith(".gz") else "bdist_wheel",
                "url": f"{self.url}/files/{file}",
                "digests": {"sha256": sha256, "md5": md5},
                "md5_digest": md5,
                "yanked": False,
                "python_version": "source" if file.endswith(".gz") else "py3",
            }
            for file, (sha256, md5) in self._digests.items()
            if file.startswith(_module(name))
        ]

    def _document(self, name: str) -> bytes:
        info: dict[str, Any] = dict.fromkeys(("project_urls", "requires_dist", "license_files", "provides_extra"))
        info |= {"name": name, "version": VERSION, "summary": "Says hello", "license": "MIT", "description": "",
                 "license_expression": "MIT", "classifiers": [], "home_page": "https://hello.example/",
                 "author": "", "package_url": "https://hello.example/", "requires_python": ">=3.6",
                 "author_email": "", "keywords": ""}  # fmt: skip
        urls = self._urls(name)
        return json.dumps({"info": info, "urls": urls, "releases": {VERSION: urls}}).encode()

    def answer(self, path: str) -> bytes | None:
        self.requests.append(path)
        for name in NAMES:
            if path in (f"/pypi/{name}/json", f"/pypi/{name}/{VERSION}/json"):
                return self._document(name)
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
def package_index(
    address: str = "127.0.0.1", port: int = 0, certificate: tuple[Path, Path] | None = None
) -> Iterator[PackageIndex]:
    """`certificate`: files of a certificate and its key, for HTTPS."""
    index = PackageIndex()
    server = ThreadingHTTPServer((address, port), partial(_Handler, index))
    index.url = f"http://{address}:{server.server_address[1]}"
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        # The handshake is each connection's own: one that fails must not keep the others waiting.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        index.url = index.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
