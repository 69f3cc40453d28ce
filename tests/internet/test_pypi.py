"""The real package index, on request only: `make test-internet`.

Both tools ask for the document of one version (`/pypi/NAME/VERSION/json`). PyPI has it; not every mirror that stands in
for it does. There a server of the test answers for the latest version with the package's own document, which holds the
same: everything in it is the index's, and the files come from where it says.
"""

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from copr_operator.core.wire import PypiSource
from tests.support.build_container import BuildContainer
from tests.unit.builder.conftest import make_plan

INDEX = "https://pypi.org/pypi"
PACKAGE = "six"
VARIABLES = ("https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def fetch(path: str) -> bytes:
    with urllib.request.urlopen(f"{INDEX}/{path}", timeout=30) as answer:
        body: bytes = answer.read()
        return body


@pytest.fixture(scope="module")
def version() -> str:
    """The latest version of the package."""
    latest: str = json.loads(fetch(f"{PACKAGE}/json"))["info"]["version"]
    return latest


@pytest.fixture(scope="module")
def index(version: str) -> Iterator[str]:
    """URL of the index, or of a server that has of it what it lacks."""
    try:
        fetch(f"{PACKAGE}/{version}/json")
    except urllib.error.HTTPError as error:
        error.close()
    else:
        yield INDEX
        return
    paths = (f"/{PACKAGE}/json", f"/{PACKAGE}/{version}/json")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = fetch(f"{PACKAGE}/json") if self.path in paths else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the library's)
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.internet
@pytest.mark.parametrize("generator", ["pyp2spec", "pyp2rpm"])
def test_a_package_of_pypi_becomes_an_srpm(tmp_path: Path, index: str, version: str, generator: str) -> None:
    fields = {"name": PACKAGE, "generator": generator, "template": "fedora", "python_versions": ("3",)}
    source = PypiSource.model_validate({**fields, "index_url": index})
    plan = make_plan(step="source", chroot=None, source=source, enable_net=True, limits={"timeout": 100})
    container = BuildContainer(tmp_path / "pod", plan, {})
    container.prepare()
    run = container.run({name: os.environ[name] for name in VARIABLES if name in os.environ})
    assert run.code == 0, run.log
    assert [name for name in run.files if name.endswith(".src.rpm")] == [f"python-{PACKAGE}-{version}-1.src.rpm"]
