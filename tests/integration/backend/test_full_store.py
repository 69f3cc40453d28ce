"""A store on a file system that really is full: everything is answered, nothing is torn, and it goes on with space."""

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.backend.process import Backend, backend
from tests.integration.backend.test_kills import REPO, Pod, check_ends, clean, remove, sent, tokens, whole
from tests.unit.backend.world import NAMESPACE, bearer, listed

PAGE = 4096
"""What a tmpfs gives and takes at once."""
SIZE = 4 * 1024**2

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")


class Disk:
    """A small file system, and a file that fills it up to a number of pages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"

    def leave(self, pages: int) -> None:
        """From now on that many pages are free."""
        self.clear()
        status = os.statvfs(self.root)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(status.f_bavail - pages, 1) * PAGE)
        assert os.statvfs(self.root).f_bavail == pages

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    root = tmp_path / "store"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(root)], check=True)
    try:
        yield Disk(root)
    finally:
        subprocess.run(["umount", str(root)], check=True)


def check_said(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["reason"]) == (507, "StorageFull"), answer.text


@contextlib.contextmanager
def published(disk: Disk, pods: list[str], **settings: Any) -> Iterator[tuple[Backend, Pod]]:
    """A backend on that disk, in which the first build is published."""
    with backend(disk.root, **settings) as process:
        yield process, sent(process, pods, 1)


def test_results_and_sources_that_do_not_fit_are_refused_and_taken_when_there_is_room(
    disk: Disk, tmp_path: Path
) -> None:
    pods = tokens(tmp_path)
    with published(disk, pods) as (process, first):
        pod, data = Pod(process.url, 2, pods[1]), b"x" * 3 * PAGE
        put = {"X-Content-SHA256": hashlib.sha256(data).hexdigest()} | pod.headers
        uploads = {"namespace": NAMESPACE, "filename": "hello.spec"}
        disk.leave(2)
        check_said(httpx.put(f"{process.url}/agent/v1/files/p2-1.0-1.x86_64.rpm", content=data, headers=put))
        check_said(httpx.patch(f"{process.url}/agent/v1/log/a.log?offset=0", content=data, headers=pod.headers))
        check_said(
            httpx.post(f"{process.url}/uploads", params=uploads, content=data, headers=bearer("user-token"))
        )  # fmt: skip
        assert not list(disk.root.glob("spool/*/*/files/*")), "a part is left"
        assert not list(disk.root.glob("uploads/*.json"))
        assert listed(disk.root / REPO) == first.packages
        disk.clear()
        pod.send()
        assert pod.finish()["outcome"] == "succeeded"
        assert listed(disk.root / REPO) == first.packages | pod.packages
        sent_now = httpx.post(f"{process.url}/uploads", params=uploads, content=data, headers=bearer("user-token"))
        assert sent_now.status_code == 200
    clean(disk.root)


def test_a_publication_for_which_there_is_no_room_at_any_step_leaves_the_old_repository(
    disk: Disk, tmp_path: Path
) -> None:
    """A page more for each build, until one fits. Readers have the old repository or the new, and it goes on."""
    pods = tokens(tmp_path)
    with published(disk, pods) as (process, first):
        before = first.packages
        for pages in range(100):
            pod = sent(process, pods, 2 + pages, end=False)
            disk.leave(pages)
            answer = httpx.post(f"{process.url}/agent/v1/finish", content=pod.request(), headers=pod.headers)
            if answer.status_code == 200:
                break
            check_said(answer)
            assert not list(disk.root.rglob(".put-*")), "a part is left"
            assert listed(disk.root / REPO) in (before, before | pod.packages)
            whole(disk.root)
            disk.clear()
            check_ends(pod)
            before |= pod.packages
            assert listed(disk.root / REPO) == before
        print(f"\nrefused with up to {pages - 1} pages")
        assert pages >= 5, "the list of files, three metadata files and the index have a page each"
        assert answer.json()["outcome"] == "succeeded"
        assert listed(disk.root / REPO) == before | pod.packages
    clean(disk.root)


def test_a_removal_fits_into_the_reserve_that_is_kept_from_uploads(disk: Disk, tmp_path: Path) -> None:
    """Else nobody could make room any more."""
    pods, reserve = tokens(tmp_path), 64
    settings = {"min_free_bytes": reserve * PAGE, "removal_grace": 0, "sweep_interval": 0.05}
    with published(disk, pods, **settings) as (process, first):
        second = sent(process, pods, 2)
        disk.leave(reserve)
        headers = second.headers | {"X-Content-SHA256": hashlib.sha256(b"x").hexdigest()}
        check_said(httpx.post(
            f"{process.url}/uploads?namespace={NAMESPACE}&filename=a.spec", content=b"x", headers=bearer("user-token")
        ))  # fmt: skip
        third = Pod(process.url, 3, pods[2])
        headers = third.headers | {"X-Content-SHA256": hashlib.sha256(b"x").hexdigest()}
        check_said(httpx.put(f"{process.url}/agent/v1/files/a.rpm", content=b"x", headers=headers))
        remove(process, 2)
        assert listed(disk.root / REPO) == first.packages
        whole(disk.root)
