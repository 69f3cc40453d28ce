"""Local files through copr-cli, the frontend and the real backend to the pod and back to `download-build`."""

import gzip
from pathlib import Path

from tests.integration.frontend.conftest import Whole
from tests.unit.backend import rpms


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
