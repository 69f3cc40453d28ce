"""Publications on a store: whole at every instant, incremental, and repairable."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from copr_operator.backend.layout import Repo
from copr_operator.backend.metadata import GROUP_SIZE, Index, IndexDamagedError, PackageEntry
from copr_operator.backend.repository import Repository, Step
from copr_operator.backend.rpmworker import read_rpm
from copr_operator.backend.store import DirectoryStore
from tests.unit.backend import rpms
from tests.unit.backend.world import CHROOT, Clock, listed

REPO = Repo("alice", "demo", CHROOT)
GRACE = 600.0


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, nothing is cleaned up."""


class Place:
    """One repository on a store, with RPMs in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.path = root / REPO.results

    def open(self, kill_at: int | None = None) -> Repository:
        """A new process; it dies at its `kill_at`-th checkpoint, of the store or of the publication."""
        count = 0

        def checkpoint(*_what: object) -> None:
            nonlocal count
            count += 1
            if count == kill_at:
                raise Killed

        store = DirectoryStore(self.root, checkpoint=checkpoint)
        return Repository(store, REPO, clock=self.clock, grace=GRACE, checkpoint=checkpoint)

    def build(self, number: int, packages: int = 1, arch: str = "x86_64") -> dict[str, list[PackageEntry]]:
        """RPMs of a build in the store, as the change that lists them."""
        directory = f"{number:08d}-p{number}"
        entries = []
        for package in range(packages):
            path = rpms.write(self.path / directory, f"p{number}-{package}", arch=arch, files=["/usr/bin/x"])
            entries.append(entry(directory, path))
        return {directory: entries}

    def publish(self, change: dict[str, list[PackageEntry]]) -> Index:
        repository = self.open()
        return repository.publish(repository.load() or Index(), change).index

    def names(self) -> set[str]:
        return {path.name for path in (self.path / "repodata").iterdir()}


def entry(directory: str, path: Path) -> PackageEntry:
    facts = read_rpm(str(path), f"{directory}/{path.name}", 2**26)
    return PackageEntry(f"{directory}/{path.name}", facts["sha256"], tuple(facts["chunks"]))


def hrefs(*changes: dict[str, list[PackageEntry]]) -> dict[str, str]:
    return {package.href: package.pkgid for change in changes for packages in change.values() for package in packages}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_empty_repository_is_a_repository(place: Place) -> None:
    place.publish({})
    assert listed(place.path) == {}


def test_packages_are_added_and_removed_without_a_look_at_the_other_rpms(place: Place) -> None:
    builds = [place.build(number) for number in range(1, 6)]
    for build in builds:
        place.publish(build)
    kept = {path: path.read_bytes() for path in place.path.glob("0*/*.rpm")}
    for path in kept:
        path.unlink()  # nothing can read them now
    new = place.build(6)
    place.publish(new | {"00000002-p2": []})
    for path, data in kept.items():
        path.write_bytes(data)
    assert listed(place.path) == hrefs(builds[0], *builds[2:], new)


def test_only_groups_that_change_are_rendered(place: Place) -> None:
    place.publish(
        place.build(1, packages=GROUP_SIZE) | place.build(2, packages=GROUP_SIZE) | place.build(3, packages=5)
    )
    repository = place.open()
    index = repository.load()
    assert index is not None
    outcome = repository.publish(index, place.build(4))
    assert [len(group.packages) for group in outcome.index.groups] == [GROUP_SIZE, GROUP_SIZE, 6]
    assert outcome.groups_rendered == 1
    assert len(listed(place.path)) == 2 * GROUP_SIZE + 6


def test_a_removal_leaves_room_that_the_next_addition_takes(place: Place) -> None:
    place.publish(place.build(1, packages=GROUP_SIZE - 1) | place.build(2) | place.build(3, packages=GROUP_SIZE))
    place.publish({"00000002-p2": []})
    index = place.publish(place.build(4))
    assert [len(group.packages) for group in index.groups] == [GROUP_SIZE, GROUP_SIZE]


def test_removing_everything_leaves_an_empty_repository(place: Place) -> None:
    place.publish(place.build(1) | place.build(2))
    index = place.publish({"00000001-p1": [], "00000002-p2": []})
    assert (listed(place.path), index.groups) == ({}, ())


def test_the_same_packages_give_the_same_metadata_files(tmp_path: Path) -> None:
    first, second = Place(tmp_path / "a"), Place(tmp_path / "b")
    second.clock.now += 12345
    assert first.publish(first.build(1, 3)).files == second.publish(second.build(1, 3)).files


def test_readers_of_the_old_repomd_find_its_files_for_the_grace_time(place: Place) -> None:
    old = place.publish(place.build(1))
    place.clock.now += 10
    place.publish(place.build(2))
    assert set(old.files) <= place.names()
    place.clock.now += GRACE - 1
    place.publish(place.build(3))
    assert set(old.files) <= place.names()
    place.clock.now += 2
    latest = place.publish(place.build(4))
    assert not set(old.files) & place.names()
    place.clock.now += GRACE + 1
    place.open().clear()
    assert place.names() == {*latest.files, "repomd.xml"}


def test_revisions_grow_also_when_the_clock_goes_back(place: Place) -> None:
    first = place.publish(place.build(1))
    place.clock.now -= 1000
    assert place.publish(place.build(2)).revision > first.revision


def checkpoints(place: Place, change: dict[str, list[PackageEntry]]) -> Iterator[int]:
    """Numbers of all checkpoints of this publication, by dying at each; ends when it was not killed."""
    number = 0
    while True:
        number += 1
        repository = place.open(kill_at=number)
        index = repository.load() or Index()
        try:
            repository.publish(index, change)
        except Killed:
            yield number
        else:
            return


def test_a_publication_killed_at_any_step_leaves_the_old_repository_or_the_new(place: Place) -> None:
    before = place.build(1, 2) | place.build(2)
    place.publish(before)
    place.clock.now += GRACE + 1  # so that clearing has something to do
    change = {"00000001-p1": [], **place.build(3)}
    after = hrefs({"00000002-p2": before["00000002-p2"]}, change)
    states = []
    points = 0
    for points in checkpoints(place, change):  # noqa: B007
        states.append(listed(place.path))
        assert states[-1] in (hrefs(before), after)
        index = place.open().load()
        assert index is not None, "the private state fits what is published"
        assert {href: pkgid for found in index.by_directory.values() for href, pkgid in found.items()} == states[-1]
        # back to the start, so that each kill hits the same publication
        place.publish({name: before.get(name, []) for name in ("00000001-p1", "00000003-p3")})
        place.clock.now += GRACE + 1
    assert points >= 28  # 5 files with 4 checkpoints each, and the 8 steps
    assert hrefs(before) in states
    assert after in states
    assert listed(place.path) == after


def test_the_first_publication_killed_at_any_step_leaves_no_half_repository(tmp_path: Path) -> None:
    number = 0
    while True:
        number += 1
        place = Place(tmp_path / str(number))
        change = place.build(1)
        try:
            place.open(kill_at=number).publish(Index(), change)
        except Killed:
            if (place.path / "repodata" / "repomd.xml").exists():
                assert listed(place.path) == hrefs(change)
            place.publish(change)
            assert listed(place.path) == hrefs(change)
        else:
            break
    assert number > 28


def test_what_a_killed_publication_left_behind_is_cleared_by_the_next(place: Place) -> None:
    place.publish(place.build(1))
    change = place.build(2)
    for number in range(1, 40):
        repository = place.open(kill_at=number)
        with pytest.raises(Killed):
            repository.publish(repository.load() or Index(), change | {"00000003-p3": []})
        if "00000002-p2" in (place.open().load() or Index()).by_directory:
            break
    place.clock.now += GRACE + 1
    index = place.publish(place.build(3))
    place.clock.now += GRACE + 1
    place.open().clear()
    assert place.names() == {*index.files, "repomd.xml"}
    repomd = hashlib.sha256((place.path / "repodata" / "repomd.xml").read_bytes()).hexdigest()
    assert [path.name for path in (place.root / REPO.state).iterdir()] == [f"index-{repomd}"]


def test_the_steps_of_a_publication_come_in_their_order(place: Place) -> None:
    seen: list[Step] = []
    store = DirectoryStore(place.root)
    Repository(store, REPO, clock=place.clock, grace=GRACE, checkpoint=seen.append).publish(Index(), place.build(1))
    assert seen == list(Step)


@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "empty"])
def test_a_damaged_index_is_noticed(place: Place, damage: str) -> None:
    place.publish(place.build(1))
    (index,) = (place.root / REPO.state).iterdir()
    data = index.read_bytes()
    if damage == "gone":
        index.unlink()
    else:
        index.write_bytes({"cut": data[:-3], "changed": data.replace(b"p1", b"p7"), "empty": b""}[damage])
    assert place.open().load() is None


@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_damaged_metadata_is_not_carried_on(place: Place, damage: str) -> None:
    index = place.publish(place.build(1))
    path = place.path / "repodata" / index.files[1]
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(data[:-9] if damage == "cut" else bytes([*data[:-9], *reversed(data[-9:])]))
    with pytest.raises(IndexDamagedError):
        place.open().publish(index, place.build(2))


def test_a_repomd_that_somebody_else_wrote_makes_the_index_void(place: Place) -> None:
    place.publish(place.build(1))
    repomd = place.path / "repodata" / "repomd.xml"
    repomd.write_bytes(repomd.read_bytes().replace(b"<revision>", b"<revision> "))
    assert place.open().load() is None
