"""The store on a directory: whole, durable, and inside its root."""

import os
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError

from copr_operator.backend.store import DirectoryStore, StoreFullError, StorePathError


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "root")


def test_what_was_put_is_there(store: DirectoryStore) -> None:
    store.put("a/b/c", b"one")
    store.put("a/b/c", b"two")
    entry = store.stat("a/b/c")
    assert store.get("a/b/c") == b"two"
    assert entry is not None
    assert (entry.name, entry.size, entry.is_dir) == ("c", 3, False)
    assert [found.name for found in store.list("a/b")] == ["c"]
    store.delete("a/b/c")
    store.delete("a/b/c")
    assert store.stat("a/b/c") is None


def test_a_file_inside_the_root_is_taken_over_without_copying_it(store: DirectoryStore) -> None:
    source = store.root / "spool-file"
    source.write_bytes(b"data")
    store.adopt(source, "a/x")
    store.adopt(source, "a/x")
    assert source.stat().st_ino == (store.root / "a/x").stat().st_ino


def test_a_file_outside_the_root_is_copied(store: DirectoryStore, tmp_path: Path) -> None:
    source = tmp_path / "outside"
    source.write_bytes(b"data" * 3_000_000)
    store.adopt(source, "a/x")
    assert (store.root / "a/x").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", ["libstdc++-1.0~rc1^git-1.x86_64.rpm", "demo:pr:1", "@group", "x" * 240, "a%41b"])
def test_names_are_stored_as_they_are(store: DirectoryStore, name: str) -> None:
    store.put(f"{name}/{name}", b"x")
    assert (store.root / name / name).read_bytes() == b"x"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a//b", "a/./b", "a/b/", "x\0y"])
def test_a_path_that_leaves_the_root_is_refused(store: DirectoryStore, path: str) -> None:
    for act in (store.get, store.stat, store.delete, store.delete_tree, store.list, store.open):
        with pytest.raises(StorePathError):
            act(path)
    with pytest.raises(StorePathError), store.local(path):
        pass
    with pytest.raises(StorePathError):
        store.put(path, b"x")


def test_symlinks_are_neither_read_nor_written_through(store: DirectoryStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    (store.root / "dir").symlink_to(outside)
    (store.root / "file").symlink_to(outside / "file")
    for path in ("dir/file", "file"):
        with pytest.raises(StorePathError):
            store.get(path)
        with pytest.raises(StorePathError):
            store.put(path, b"changed")
    for path in ("dir", "file"):
        with pytest.raises(StorePathError):
            store.delete_tree(path)
    assert [path.read_bytes() for path in outside.iterdir()] == [b"secret"]
    assert store.list("") == []


def test_what_is_no_regular_file_is_not_opened(store: DirectoryStore) -> None:
    os.mkfifo(store.root / "fifo")
    (store.root / "directory").mkdir()
    for path in ("fifo", "directory"):
        with pytest.raises(StorePathError):
            store.open(path)
    assert [entry.name for entry in store.list("")] == ["directory"]


def test_a_file_is_synced_before_it_gets_its_name_and_the_directory_afterwards(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    sync, rename = os.fsync, obstore.rename

    def fsync(descriptor: int) -> None:
        events.append(("sync", os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), store.root)))
        sync(descriptor)

    def renamed(objects: Any, old: str, new: str) -> None:
        events.append(("rename", new))
        rename(objects, old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(obstore, "rename", renamed)
    store.put("a/b/x", b"data")
    kinds = [(kind, "staged" if ".put-" in path else path) for kind, path in events]
    assert kinds == [
        ("sync", "staged"),
        ("rename", "a/b/x"),
        ("sync", "a/b"),
        ("sync", "a"),
        ("sync", "."),
    ]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a/x", b"old")

    def failing(*_arguments: Any) -> None:
        raise GenericError("Generic LocalFileSystem error: I/O (os error 5)")

    monkeypatch.setattr(obstore, "rename", failing)
    with pytest.raises(OSError, match="I/O"):
        store.put("a/x", b"new")
    assert [path.name for path in (store.root / "a").iterdir()] == ["x"]
    assert store.get("a/x") == b"old"


@pytest.mark.parametrize("text", ["No space left on device (os error 28)", "Disk quota exceeded (os error 122)"])
def test_a_full_disk_has_a_name_of_its_own(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def failing(*_arguments: Any, **_options: Any) -> None:
        raise GenericError(f"Generic LocalFileSystem error: {text}")

    monkeypatch.setattr(obstore, "put", failing)
    with pytest.raises(StoreFullError):
        store.put("a/x", b"new")


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    first, second = DirectoryStore(tmp_path), DirectoryStore(tmp_path)
    with first.locked(), pytest.raises(TimeoutError, match="another process"), second.locked(patience=0):
        pass
    with second.locked(patience=0):
        pass
