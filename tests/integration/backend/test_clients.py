"""The programs people use against a real backend: dnf, createrepo_c, wget, curl, rpm-made packages, TLS.

Needs the Debian packages rpm, createrepo-c, dnf, wget, curl and openssl.
"""

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.backend.process import Backend, backend
from tests.integration.backend.test_kills import REPO, Pod, remove, tokens
from tests.unit.backend import rpms
from tests.unit.backend.world import bearer, listed

SPEC = """
Name: p2
Version: 1.0
Release: 1
Summary: Packaged by rpmbuild & <not> by Python
License: MIT
BuildArch: noarch
%description
x
%package doc
Summary: Documents
%description doc
x
%install
mkdir -p %{buildroot}/usr/share/p2
echo hi > %{buildroot}/usr/share/p2/hello
%files
/usr/share/p2/hello
%files doc
%dir /usr/share/p2
%changelog
* Mon Nov 03 2025 A B <a@example.com> - 1.0-1
- First
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def repoquery(url: str, place: Path, *options: str) -> list[str]:
    """What dnf finds in the repository, always freshly loaded."""
    return sorted(
        run(
            "dnf", "-q", "--noplugins", "--releasever=43", "--setopt=reposdir=/nonexistent",
            f"--setopt=cachedir={place}", f"--repofrompath=t,{url}/{REPO}/", "--repo=t", "--refresh",
            "repoquery", "--qf", "%{name}-%{epoch}:%{version}-%{release}.%{arch}", *options,
        ).split()
    )  # fmt: skip


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Backend]:
    with backend(tmp_path / "store") as started:
        yield started


def deliver(process: Backend, tmp_path: Path, number: int, files: dict[str, bytes] | None = None) -> None:
    pod = Pod(process.url, number, tokens(tmp_path)[number - 1])
    pod.files = files or pod.files
    pod.send()
    summary = pod.finish()
    assert summary["outcome"] == "succeeded", summary


def test_dnf_sees_each_build_at_once_and_a_removed_one_no_more(process: Backend, tmp_path: Path) -> None:
    place = tmp_path / "dnf"
    httpx.put(f"{process.url}/control/v1/repos/alice/demo/fedora-43-x86_64", headers=bearer("controller-token"))
    assert repoquery(process.url, place) == []
    deliver(process, tmp_path, 1)
    assert repoquery(process.url, place) == ["p1-0:1.0-1.src", "p1-0:1.0-1.x86_64"]
    deliver(process, tmp_path, 3)
    assert repoquery(process.url, place, "p3") == ["p3-0:1.0-1.src", "p3-0:1.0-1.x86_64"]
    remove(process, 1)
    assert repoquery(process.url, place) == ["p3-0:1.0-1.src", "p3-0:1.0-1.x86_64"]


def test_packages_that_rpmbuild_made_are_published_found_by_file_and_downloaded(
    process: Backend, tmp_path: Path
) -> None:
    top = tmp_path / "rpmbuild"
    top.mkdir()
    (top / "p2.spec").write_text(SPEC)
    run("rpmbuild", "--define", f"_topdir {top}", "-ba", top / "p2.spec")
    files = {path.name: path.read_bytes() for path in top.rglob("*.rpm")}
    assert len(files) == 3
    deliver(process, tmp_path, 2, files)
    place = tmp_path / "dnf"
    assert repoquery(process.url, place, "--file", "/usr/share/p2/hello") == ["p2-0:1.0-1.noarch"]
    assert len(repoquery(process.url, place)) == 3
    url = f"{process.url}/{REPO}/00000002-p2/p2-doc-1.0-1.noarch.rpm"
    run("curl", "-fsS", "-o", tmp_path / "doc.rpm", url)
    assert "digests OK" in run("rpm", "-K", "--nosignature", tmp_path / "doc.rpm")


def test_createrepo_c_finds_nothing_to_change(process: Backend, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        deliver(process, tmp_path, number)
    remove(process, 2)
    repo = process.root / REPO
    copy = tmp_path / "copy"
    run("cp", "-a", repo, copy)
    run("rm", "-r", copy / "00000002-p2")
    run("createrepo_c", "--no-database", "--general-compress-type=gz", "--quiet", copy)
    assert listed(copy) == listed(repo)
    ours, theirs = (
        gzip.decompress(next((base / "repodata").glob("*-filelists.xml.gz")).read_bytes()) for base in (repo, copy)
    )
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())


def test_wget_fetches_a_build_as_copr_cli_does_and_stores_real_gzip_logs(process: Backend, tmp_path: Path) -> None:
    pod = Pod(process.url, 1, tokens(tmp_path)[0])
    log = f"{process.url}/agent/v1/log/builder-live.log"
    assert httpx.patch(log, params={"offset": 0}, content=b"built\n", headers=pod.headers).status_code == 200
    pod.send()
    pod.finish()
    target = tmp_path / "fetched"
    run("wget", "-q", "-r", "--no-parent", "-nH", "--cut-dirs", "5", "-e", "robots=off", "-P", target,
        f"{process.url}/{REPO}/00000001-p1/")  # fmt: skip
    found = {path.name: path for path in target.rglob("*") if path.is_file()}
    assert set(pod.files) | {"builder-live.log.gz", "results.json", "success"} <= set(found)
    assert gzip.decompress(found["builder-live.log.gz"].read_bytes()) == b"built\n"
    for name, data in pod.files.items():
        assert found[name].read_bytes() == data
    assert not [name for name in found if name.startswith("repomd")], "nothing above the build"


def test_a_body_over_the_limit_is_answered_while_the_client_is_still_sending(tmp_path: Path) -> None:
    with backend(tmp_path / "store", max_file_bytes=1000) as process:
        pod = Pod(process.url, 1, tokens(tmp_path)[0])
        headers = pod.headers | {"X-Content-SHA256": "0" * 64}
        answer = httpx.put(
            f"{process.url}/agent/v1/files/x.rpm", content=b"x" * 30_000_000, headers=headers, timeout=30
        )
        assert (answer.status_code, answer.json()["reason"]) == (413, "ResultsRefused")


def test_the_backend_speaks_tls_and_ends_in_good_order(tmp_path: Path) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
        "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)  # fmt: skip
    with backend(tmp_path / "store", tls_cert=certificate, tls_key=key) as process:
        assert run("curl", "-fsS", "--cacert", certificate, f"{process.url}/healthz") == "ok\n"
        assert process.stop() == 0


def test_a_second_backend_does_not_write_to_the_same_store(process: Backend) -> None:
    second = Backend(process.root)
    with pytest.raises(AssertionError, match="ended with status 256"):
        second.start()
    second.close()
    assert httpx.get(f"{process.url}/readyz").status_code == 200


def test_hostile_files_cost_their_build_only(process: Backend, tmp_path: Path) -> None:
    pod = Pod(process.url, 1, tokens(tmp_path)[0])
    bomb = rpms.rpm("p1", extra=[(1005, rpms.I18N, "x" * 5_000_000), (1004, rpms.I18N, "\x01\x02]]>")])
    for hostile in (b"\xed\xab\xee\xdb" * 5000, bomb[:-200], bomb[:200] + bytes(range(256)) * 50):
        pod.files = {"p1-1.0-1.x86_64.rpm": hostile, "p1-1.0-1.src.rpm": rpms.rpm("p1", arch="src")}
        pod.send()
    assert pod.finish()["outcome"] == "failed"
    deliver(process, tmp_path, 2)
    assert len(listed(process.root / REPO)) == 2
