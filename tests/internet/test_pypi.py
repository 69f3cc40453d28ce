"""The real package index, on request only: `make test-internet`.

Both tools ask for the document of one version (`/pypi/NAME/VERSION/json`). PyPI has it; not every mirror that stands in
for it does, and then there is nothing to test.
"""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from copr_operator.core.wire import PypiSource
from tests.support.build_container import BuildContainer
from tests.unit.builder.conftest import make_plan

INDEX = "https://pypi.org/pypi"
VARIABLES = ("https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(scope="module")
def version() -> str:
    """The latest version of six."""
    with urllib.request.urlopen(f"{INDEX}/six/json", timeout=30) as answer:
        latest: str = json.load(answer)["info"]["version"]
    try:
        urllib.request.urlopen(f"{INDEX}/six/{latest}/json", timeout=30).close()
    except urllib.error.HTTPError as error:
        error.close()
        pytest.skip(f"what answers as {INDEX} here has no document of one version ({error.code})")
    return latest


@pytest.mark.internet
@pytest.mark.parametrize("generator", ["pyp2spec", "pyp2rpm"])
def test_a_package_of_pypi_becomes_an_srpm(tmp_path: Path, version: str, generator: str) -> None:
    fields = {"name": "six", "generator": generator, "template": "fedora", "python_versions": ("3",)}
    source = PypiSource.model_validate({**fields, "index_url": INDEX})
    plan = make_plan(step="source", chroot=None, source=source, enable_net=True, limits={"timeout": 100})
    container = BuildContainer(tmp_path / "pod", plan, {})
    container.prepare()
    run = container.run({name: os.environ[name] for name in VARIABLES if name in os.environ})
    assert run.code == 0, run.log
    assert [name for name in run.files if name.endswith(".src.rpm")] == [f"python-six-{version}-1.src.rpm"]
