"""A repository of 10,000 packages: one more build, and none of the others is read."""

import shutil
import time
from pathlib import Path

import pytest

from copr_operator.backend.layout import Repo
from copr_operator.backend.metadata import GROUP_SIZE, Index, PackageEntry
from copr_operator.backend.repository import Repository
from copr_operator.backend.rpmworker import read_rpm
from copr_operator.backend.store import DirectoryStore
from tests.unit.backend import rpms
from tests.unit.backend.world import CHROOT, Clock, packages_of

REPO = Repo("alice", "demo", CHROOT)
FILES = 60


def entries(place: Path, count: int) -> dict[str, list[PackageEntry]]:
    """`count` packages of 60 files each. Their RPMs are deleted as soon as read: nobody can read them again."""
    change = {}
    for number in range(count):
        name = f"package{number:05d}"
        directory = f"{number + 1:08d}-{name}"
        files = [
            f"/usr/share/{name}/{'abc'[item % 3]}{item}/file{(item * 7919 + number) % 9973}" for item in range(FILES)
        ]
        path = rpms.write(place / directory, name, files=files)
        facts = read_rpm(str(path), f"{directory}/{path.name}", 2**26)
        change[directory] = [PackageEntry(f"{directory}/{path.name}", facts["sha256"], tuple(facts["chunks"]))]
        shutil.rmtree(place / directory)
    return change


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_one_more_build_is_published_without_reading_the_others(tmp_path: Path, count: int) -> None:
    store = DirectoryStore(tmp_path)
    repository = Repository(store, REPO, clock=Clock(), grace=0)
    repository.publish(Index(), entries(tmp_path / "rpms", count))
    new = entries(tmp_path / "new", 1)
    change = {f"{count + 1:08d}-one-more": [
        PackageEntry(f"{count + 1:08d}-one-more/{entry.href.rpartition('/')[2]}", entry.pkgid, entry.chunks)
        for entry in next(iter(new.values()))
    ]}  # fmt: skip
    times = []
    for change_ in (change, dict.fromkeys(change, ()), change, dict.fromkeys(change, ()), change):
        repository = Repository(store, REPO, clock=Clock(), grace=0)  # a new process: nothing is in memory
        began = time.perf_counter()
        index = repository.load()
        assert index is not None
        outcome = repository.publish(index, change_)
        times.append(time.perf_counter() - began)
        assert outcome.groups_rendered == 1 or not change_[next(iter(change))]
        assert outcome.groups_rendered <= 1
        assert outcome.index.count in (count, count + 1)
    print(f"\n{count} packages x {FILES} files: one build published in {[round(seconds, 3) for seconds in times]} s, "
          f"{outcome.bytes_written} bytes written")  # fmt: skip
    paths = [tmp_path / REPO.repodata / name for name in outcome.index.files]
    assert len(packages_of(*paths)) in (count, count + 1)
    assert all(len(group.packages) <= GROUP_SIZE for group in outcome.index.groups)
