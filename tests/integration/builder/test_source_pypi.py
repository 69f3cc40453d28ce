"""The source step of pypi: the real tools against an index of the test."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copr_operator.core.manifests import CA_VARIABLES
from copr_operator.core.wire import PypiSource, WrapperExit
from tests.support.certificate import make_certificate
from tests.support.package_index import PackageIndex, package_index
from tests.support.source_step import RECORD, Start, assert_failed, assert_hello


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with package_index() as running:
        yield running


def pypi(index: PackageIndex, generator: str, **fields: Any) -> PypiSource:
    known = {"name": "hello-copr", "generator": generator, "template": "fedora", "python_versions": ("3",)}
    return PypiSource.model_validate({**known, "index_url": f"{index.url}/pypi", **fields})


@pytest.mark.parametrize("generator", ["pyp2spec", "pyp2rpm"])
def test_a_source_that_is_called_like_its_package_is_found(start: Start, index: PackageIndex, generator: str) -> None:
    """The specs name it by %{pypi_source} without the name then."""
    run = start(pypi(index, generator, name="bonjour")).run()
    assert_hello(run, "python-bonjour-1.0-1.src.rpm", "python-bonjour.spec")
    command = ["rpm", "-qpl", str(run.results / "python-bonjour-1.0-1.src.rpm")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert listed.splitlines() == ["bonjour-1.0.tar.gz", "python-bonjour.spec"]


def test_pyp2spec_writes_the_spec_of_the_latest_version(start: Start, index: PackageIndex) -> None:
    run = start(pypi(index, "pyp2spec")).run()
    assert_hello(run, "python-hello-copr-1.0-1.src.rpm", "python-hello-copr.spec")
    listed = subprocess.run(
        ["rpm", "-qpl", str(run.results / run.files[0])], capture_output=True, text=True, check=True
    )
    assert "hello_copr-1.0.tar.gz" in listed.stdout


@pytest.mark.parametrize("programs", [{"rpmdev-packager": ""}, {"rpmdev-packager": "#!/bin/sh\necho 'Bo <bo@x>'\n"}])
def test_pyp2rpm_makes_the_srpm_and_its_changelog_has_an_author(
    start: Start, index: PackageIndex, programs: dict[str, str]
) -> None:
    run = start(pypi(index, "pyp2rpm", version="1.0"), programs=programs).run()
    assert_hello(run, "python-hello-copr-1.0-1.src.rpm", "python-hello-copr.spec")
    command = ["rpm", "-qp", "--changelog", str(run.results / "python-hello-copr-1.0-1.src.rpm")]
    changelog = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    author = "Bo <bo@x>" if programs["rpmdev-packager"] else "alice <alice@localhost>"
    assert re.fullmatch(rf"\* \w{{3}} \w{{3}} \d\d \d{{4}} {author} - 1\.0-1\n- Initial package\.\n+", changelog)


@pytest.mark.parametrize("generator", ["pyp2spec", "pyp2rpm"])
@pytest.mark.parametrize("fields", [{"name": "no-such-package"}, {"version": "9"}])
def test_a_package_that_the_index_does_not_have_fails_with_the_tools_words(
    start: Start, index: PackageIndex, generator: str, fields: dict[str, str]
) -> None:
    assert_failed(start(pypi(index, generator, **fields)).run(), WrapperExit.SOURCE_FAILED, f"{generator} failed")


def test_a_source_that_is_not_what_the_index_says_is_refused(start: Start, index: PackageIndex) -> None:
    index.files["hello_copr-1.0.tar.gz"] = b"something else"
    assert_failed(start(pypi(index, "pyp2spec")).run(), WrapperExit.SOURCE_FAILED, "does not have the sha256")


@pytest.mark.parametrize("generator", ["pyp2spec", "pyp2rpm"])
@pytest.mark.parametrize("trusted", [True, False])
def test_the_index_is_verified_with_the_bundle_of_the_administrator(
    start: Start, tmp_path: Path, generator: str, trusted: bool
) -> None:
    certificate, key = tmp_path / "ca.crt", tmp_path / "key.pem"
    make_certificate(key, certificate)
    with package_index(certificate=(certificate, key)) as index:
        container = start(pypi(index, generator))
        container.files["/copr/ca/ca.crt"] = certificate.read_text() if trusted else ""
        run = container.run(dict.fromkeys(CA_VARIABLES, "/copr/ca/ca.crt") if trusted else {})
    if trusted:
        assert_hello(run, "python-hello-copr-1.0-1.src.rpm", "python-hello-copr.spec")
    else:
        assert_failed(run, WrapperExit.SOURCE_FAILED, "certificate", f"{generator} failed")


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({}, "hello-copr -t fedora --srpm -d /builddir/work -b 3"),
        (
            {"python_versions": ("3.9", "3", "2"), "template": "epel7", "version": "1.0"},
            "hello-copr -t epel7 --srpm -d /builddir/work -b 3.9 -p 3 -p 2 -v 1.0",
        ),
    ],
)
def test_pyp2rpm_is_called_as_copr_calls_it(
    start: Start, index: PackageIndex, fields: dict[str, Any], arguments: str
) -> None:
    run = start(pypi(index, "pyp2rpm", **fields), programs={"pyp2rpm": RECORD}).run()
    assert f"ran: pyp2rpm {arguments}\n1000\n" in run.log
    assert_failed(run, WrapperExit.NO_SRPM)


def test_pyp2spec_is_called_as_copr_calls_it_where_the_image_knows_fedoras_licenses(
    start: Start, index: PackageIndex
) -> None:
    container = start(pypi(index, "pyp2spec", version="1.0"), programs={"pyp2spec": RECORD})
    container.files["/usr/share/fedora-license-data/licenses/fedora-licenses.json"] = "{}"
    run = container.run()
    assert "ran: pyp2spec hello-copr --fedora-compliant --automode -v 1.0\n1000\n/builddir/work\n" in run.log
    assert_failed(run, WrapperExit.NO_SPEC)
