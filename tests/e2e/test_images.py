"""What is in the images that the other tests run."""

import json
import re
from functools import cache
from urllib.parse import unquote

import pytest

from copr_operator import __version__
from tests.cluster import images
from tests.support.image_archive import ImageArchive, read_archive

MEGABYTE = 10**6
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "as", "ld", "make", "rustc", "go")
TITLES = {
    "operator": "copr-operator", "source": "copr-operator-source",
    "debian-12": "copr-operator-chroot", "debian-13": "copr-operator-chroot",
}  # fmt: skip


@cache
def image(short: str) -> ImageArchive:
    return read_archive(images.build(short))


@pytest.mark.parametrize("short", images.IMAGES)
def test_an_image_says_what_it_is_and_what_it_was_made_of(short: str) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in image(short).labels.items()
        if name.startswith("org.opencontainers.image.")
    }
    assert labels.keys() >= {"title", "description", "version", "revision", "source", "licenses"}
    assert (labels["version"], labels["licenses"]) == (__version__, "Apache-2.0")
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"])


@pytest.mark.parametrize("short", images.IMAGES)
def test_the_bill_of_materials_has_each_package_of_the_image_and_no_other(short: str) -> None:
    archive, title = image(short), TITLES[short]
    bill = json.loads(archive.read(f"usr/share/sbom/{title}.spdx.json"))
    assert (bill["spdxVersion"], bill["dataLicense"], bill["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
    described, *packages = bill["packages"]
    assert (described["name"], described["versionInfo"]) == (title, __version__)
    listed = {unquote(package["externalRefs"][0]["referenceLocator"]).partition("?")[0] for package in packages}
    assert listed == debian_packages(archive) | python_packages(archive)
    ids = [package["SPDXID"] for package in bill["packages"]]
    assert len(ids) == len(set(ids))
    related = {(r["spdxElementId"], r["relationshipType"], r["relatedSpdxElement"]) for r in bill["relationships"]}
    assert related == {
        ("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"),
        *(("SPDXRef-Image", "CONTAINS", one) for one in ids[1:]),
    }


def debian_packages(archive: ImageArchive) -> set[str]:
    found = set()
    for entry in archive.read("var/lib/dpkg/status").decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
        if fields["Status"] == "install ok installed":
            found.add(f"pkg:deb/debian/{fields['Package']}@{fields['Version']}")
    assert len(found) > 50
    return found


def python_packages(archive: ImageArchive) -> set[str]:
    found = set()
    for path in archive.found("*.dist-info/METADATA"):
        if path.startswith(("opt/", "usr/local/")):
            header = archive.read(path).decode().partition("\n\n")[0]
            name, version = (re.search(rf"^{field}: (.+)$", header, re.MULTILINE) for field in ("Name", "Version"))
            assert name is not None
            assert version is not None
            found.add(f"pkg:pypi/{re.sub(r'[-_.]+', '-', name[1]).lower()}@{version[1]}")
    return found


def test_the_bill_names_what_wheels_say_of_the_libraries_in_them() -> None:
    bill = json.loads(image("operator").read("usr/share/sbom/copr-operator.spdx.json"))
    (comment,) = [package["comment"] for package in bill["packages"] if package["name"] == "createrepo-c"]
    (bundled,) = [word for word in comment.split() if word.endswith(".json")]
    components = json.loads(image("operator").read(bundled.lstrip("/")))["components"]
    assert any("openssl" in component["name"] for component in components)


def test_the_operators_image_is_small_and_runs_as_nobody_in_particular() -> None:
    archive = image("operator")
    assert archive.size <= LIMIT
    assert archive.config["config"]["User"] == "65532:65532"
    assert archive.config["config"]["Entrypoint"] == ["copr-operator"]
    assert archive.found("*/site-packages/kubernetes/__init__.py") == [], "80 MB that no pod needs"


LIMIT = 250 * MEGABYTE
"""Bytes of all layers, unpacked."""


def test_the_operators_image_has_nothing_to_build_or_install_with() -> None:
    archive = image("operator")
    directories = ("bin", "usr/bin", "usr/local/bin", "usr/sbin", "opt/copr-operator/bin")
    programs = {f"{directory}/{name}" for directory in directories for name in (*COMPILERS, "pip", "pip3", "uv")}
    assert programs & archive.files.keys() == set()
    assert archive.found("*/ensurepip/__init__.py") == []
    assert archive.found("*/site-packages/pip/__init__.py") == []


def test_the_operators_own_modules_are_compiled_and_never_checked_again() -> None:
    archive = image("operator")
    root = "opt/copr-operator/lib/python3.*/site-packages/copr_operator"
    sources = {path for path in archive.found(f"{root}/*.py") if not path.endswith("__main__.py")}
    assert len(sources) > 30
    for path in sorted(sources):
        directory, _, name = path.rpartition("/")
        (compiled,) = archive.found(f"{directory}/__pycache__/{name.removesuffix('.py')}.cpython-*.pyc")
        assert archive.read(compiled)[4:8] == b"\x01\x00\x00\x00", "PEP 552: by hash, unchecked"
