"""Local files through copr-cli, the frontend and the real backend to the pod and back to `download-build`."""

import asyncio
import gzip
import subprocess
from pathlib import Path

from tests.integration.frontend.conftest import Whole
from tests.unit.backend import rpms

URL = "http://sources.example/hello-2.8-1.src.rpm"


async def test_a_local_file_becomes_packages_that_copr_cli_lists_and_downloads(whole: Whole, tmp_path: Path) -> None:
    alice = whole.site.people["alice"]
    srpm = tmp_path / "hello-2.8-1.src.rpm"
    srpm.write_bytes(rpms.rpm("hello", "2.8", "1", "src"))
    await alice.cli("create", "demo", "--chroot", "debian-13-x86_64")
    built = await alice.cli("build", "demo", str(srpm), "--nowait")
    assert built.code == 0, built
    number = int(built.out.split("Created builds: ")[1].split()[0])
    await whole.site.until_state(number, "succeeded")
    watched = await alice.cli("watch-build", str(number))
    assert (watched.code, watched.out.split()[-1]) == (0, "succeeded"), watched
    assert whole.pods.uploads == [srpm.read_bytes()]
    packages = await alice.ask(lambda copr: copr.build_proxy.get_built_packages(number))
    assert packages["debian-13-x86_64"]["packages"] == [
        {"name": "hello", "epoch": None, "version": "2.8", "release": "1", "arch": arch} for arch in ("src", "x86_64")
    ]
    target = tmp_path / "downloaded"
    downloaded = await alice.cli("download-build", str(number), "--dest", str(target))
    assert downloaded.code == 0, downloaded
    found = {path.name: path for path in (target / "debian-13-x86_64").iterdir()}
    assert {"hello-2.8-1.src.rpm", "hello-2.8-1.x86_64.rpm", "success", "results.json"} <= set(found)
    assert gzip.decompress(found["builder-live.log.gz"].read_bytes()) == b"building\n"


async def test_dnf_finds_the_packages_by_the_repo_file_that_it_fetches(whole: Whole, tmp_path: Path) -> None:
    """As `dnf copr enable` does: the .repo file of the chroot's release is all that dnf is told."""
    alice = whole.site.people["alice"]
    await alice.cli("create", "demo", "--chroot", "debian-13-x86_64")
    created = await whole.site.api(
        "POST", "/build/create/url", alice, json={"ownername": "alice", "projectname": "demo", "pkgs": URL}
    )
    await whole.site.until_state(created.json()["items"][0]["id"], "succeeded")
    answer = await whole.site.http.get("/coprs/alice/demo/repo/debian-13/alice-demo-debian-13.repo")
    repos = tmp_path / "repos"
    repos.mkdir()
    (repos / "copr.repo").write_text(answer.text)
    command = ["dnf", "-q", "--noplugins", "--releasever=13", "--forcearch=x86_64", f"--setopt=reposdir={repos}",
               f"--setopt=cachedir={tmp_path}/cache", "repoquery", "--qf",
               "%{name}-%{version}-%{release}.%{arch}"]  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.split()) == ["hello-2.8-1.src", "hello-2.8-1.x86_64"], done
