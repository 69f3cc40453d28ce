"""The store in object storage, at a real S3 server: the same promises as in a directory."""

import hashlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import obstore
import pytest
from obstore.store import S3Store

from copr_operator.backend.objectlock import ObjectLock
from copr_operator.backend.objects import ObjectStore
from copr_operator.backend.store import StoreChangedError, StorePathError
from tests.integration.backend.process import backend
from tests.integration.backend.test_kills import REPO, Pod, tokens
from tests.support.object_storage import ObjectStorage, object_storage
from tests.unit.backend.world import listed

MIB = 1024**2


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    with object_storage(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def objects(storage: ObjectStorage, request: pytest.FixtureRequest) -> S3Store:
    """Below a prefix of its own for each test."""
    return storage.objects("copr", hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


@pytest.fixture
def store(objects: S3Store, tmp_path: Path) -> ObjectStore:
    return ObjectStore(objects, tmp_path / "scratch")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_was_put_is_there(store: ObjectStore) -> None:
    store.put("a/b/c", b"one")
    before = store.stat("a/b/c")
    store.put("a/b/c", b"two")
    entry = store.stat("a/b/c")
    assert store.get("a/b/c") == b"two"
    assert entry is not None
    assert before is not None
    assert (entry.name, entry.size, entry.is_dir) == ("c", 3, False)
    assert entry.version != before.version
    assert [(found.name, found.is_dir) for found in store.list("a/b")] == [("c", False)]
    store.delete("a/b/c")
    store.delete("a/b/c")
    assert store.stat("a/b/c") is None
    with pytest.raises(FileNotFoundError):
        store.get("a/b/c")


def test_a_prefix_with_something_below_it_is_a_directory(store: ObjectStore) -> None:
    store.put("a/b/c", b"x")
    store.put("a/bc", b"x")
    assert [(found.name, found.is_dir) for found in store.list("a")] == [("b", True), ("bc", False)]
    found = store.stat("a/b")
    assert found is not None
    assert found.is_dir
    assert store.stat("a/x") is None
    assert store.list("a/x") == []
    store.delete_tree("a/b")
    store.delete_tree("a/b")
    assert store.stat("a/b") is None
    assert store.get("a/bc") == b"x", "a tree is what is below the name, not what begins with it"


def test_a_tree_of_more_than_a_page_goes_whole(store: ObjectStore) -> None:
    for number in range(1100):
        store.put(f"tree/{number}", b"x")
    assert len(store.list("tree")) == 1100
    store.delete_tree("tree")
    assert store.stat("tree") is None


@pytest.mark.parametrize("name", ["libstdc++-1.0~rc1^git-1.x86_64.rpm", "demo:pr:1", "@group", "x" * 240, "a%41b"])
def test_names_are_stored_as_they_are(store: ObjectStore, name: str) -> None:
    store.put(f"{name}/{name}", b"x")
    assert [found.name for found in store.list("")] == [name]
    assert [found.name for found in store.list(name)] == [name]
    assert store.get(f"{name}/{name}") == b"x"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a//b", "a/./b", "a/b/", "x\0y"])
def test_a_path_that_leaves_the_root_is_refused(store: ObjectStore, path: str) -> None:
    for act in (store.get, store.stat, store.delete, store.delete_tree, store.list, store.open):
        with pytest.raises(StorePathError):
            act(path)
    with pytest.raises(StorePathError):
        store.put(path, b"x")


def test_a_large_file_is_stored_whole_and_read_in_pieces(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(b"".join(number.to_bytes(4) for number in range(4_000_000)))
    store.adopt(source, "a/large")
    file, entry = store.open("a/large")
    with file:
        assert entry.size == 16_000_000
        file.seek(12_000_000)
        assert file.read(4) == (3_000_000).to_bytes(4)
        file.seek(0)
        assert sha256(file.read()) == sha256(source.read_bytes())
    with store.local("a/large") as path:
        assert path.read_bytes() == source.read_bytes()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_file_is_copied_within_the_storage(store: ObjectStore) -> None:
    store.put("a/libstdc++", b"x")
    store.copy("a/libstdc++", "b/libstdc++")
    store.delete("a/libstdc++")
    assert store.get("b/libstdc++") == b"x"


def test_a_file_that_is_replaced_while_it_is_read_is_an_error_and_no_mixture(store: ObjectStore) -> None:
    store.put("a", b"1" * 9_000_000)
    file, _entry = store.open("a")
    with file:
        assert file.read(1) == b"1"
        store.put("a", b"2" * 9_000_000)
        with pytest.raises(StoreChangedError):
            file.read()


def read_ahead(file: BinaryIO) -> int:
    """Bytes that are kept of a file of which nothing was read yet."""
    assert isinstance(file, io.BufferedReader)
    return len(file.peek())


def test_only_some_open_files_are_read_far_ahead_and_the_place_of_a_closed_one_is_free(store: ObjectStore) -> None:
    store.put("a", b"1" * 5 * MIB)
    store.put("small", b"1")
    held = [store.open("small")[0] for _number in range(20)]
    files = [store.open("a")[0] for _number in range(20)]
    assert [read_ahead(file) for file in files] == [4 * MIB] * 16 + [MIB // 4] * 4
    files[0].close()
    files[0].close()
    with store.open("a")[0] as file:
        assert read_ahead(file) == 4 * MIB
    for file in [*held, *files]:
        file.close()


def test_the_file_readers_start_at_is_replaced_only_when_it_is_what_is_known(store: ObjectStore) -> None:
    store.replace("repomd.xml", b"one", None)
    with pytest.raises(StoreChangedError):
        store.replace("repomd.xml", b"two", None)
    with pytest.raises(StoreChangedError):
        store.replace("repomd.xml", b"two", sha256(b"other"))
    assert store.get("repomd.xml") == b"one"
    store.replace("repomd.xml", b"two", sha256(b"one"))
    assert store.get("repomd.xml") == b"two"


def test_of_many_that_replace_it_at_once_one_wins(store: ObjectStore) -> None:
    store.replace("repomd.xml", b"start", None)
    won: list[int] = []
    barrier = threading.Barrier(8)

    def replace(number: int) -> None:
        barrier.wait()
        try:
            store.replace("repomd.xml", f"{number}".encode(), sha256(b"start"))
        except StoreChangedError:
            return
        won.append(number)

    threads = [threading.Thread(target=replace, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f"{number}".encode() for number in won] == [store.get("repomd.xml")]


def test_a_backend_killed_at_every_step_of_a_publication_leaves_the_repository_as_it_was_or_as_it_will_be(
    storage: ObjectStorage, tmp_path: Path
) -> None:
    storage.objects("killed")
    bucket = storage.directory / "killed"
    pods = tokens(tmp_path)
    root = tmp_path / "root"
    with backend(root, storage.environment, objects_url="s3://killed/copr") as process:
        kills, number, repository = 0, 0, bucket / "copr" / REPO
        before: dict[str, str] = {}
        seen = set()
        while True:
            number += 1
            pod = Pod(process.url, number, pods[number - 1])
            pod.send()
            process.kill()
            lock_runs_out(bucket)
            process.start(kill_at=kills + 1)
            (root / "count").touch()
            try:
                pod.finish()
            except httpx.TransportError:
                kills += 1
                process.wait()
                lock_runs_out(bucket)
                (root / "count").unlink()
                now = listed(repository) if (repository / "repodata/repomd.xml").exists() else {}
                assert now in (before, before | pod.packages)
                seen.add(now == before)
                process.start()
                assert pod.finish()["outcome"] == "succeeded", "asking again is all it takes"
            before |= pod.packages
            assert listed(repository) == before
            if (root / "count").exists():
                break
        # and a new process, with another disk, serves it
        name = next(iter(pod.packages))
        served = httpx.get(f"{process.url}/{REPO}/{name}", headers={"Range": "bytes=0-3"})
        assert (served.status_code, served.content) == (206, bytes.fromhex("edabeedb")), "the magic number of an RPM"
    print(f"\n{kills} kills while a build was stored and published")
    # 2 RPMs, results.json, 4 metadata and index files, repomd.xml and success at 2 checkpoints each
    assert kills >= 18
    assert seen == {True, False}


def lock_runs_out(bucket: Path) -> None:
    """As if the time of a lock whose holder is gone had passed."""
    (bucket / "copr/state/lock").unlink()


def no_loss() -> None:
    raise AssertionError("the lock was lost")


def test_one_process_writes_at_a_time(objects: S3Store, tmp_path: Path) -> None:
    first, second = ObjectStore(objects, tmp_path), ObjectStore(objects, tmp_path)
    with (
        first.locked(lost=no_loss),
        pytest.raises(TimeoutError, match="another process"),
        second.locked(patience=0, lost=no_loss),
    ):
        pass
    with second.locked(patience=0, lost=no_loss):
        pass


def test_the_lock_of_a_process_that_died_is_taken_over_when_it_has_run_out(objects: S3Store) -> None:
    obstore.put(objects, "state/lock", b'{"holder": "dead", "renewal": ""}')
    with ObjectLock(objects, "state/lock", lost=no_loss, duration=0.5).held(patience=10):
        pass


def test_a_lock_that_is_renewed_is_not_taken_over(objects: S3Store) -> None:
    short = 3
    with ObjectLock(objects, "state/lock", lost=no_loss, duration=short).held(patience=10):
        other = ObjectLock(objects, "state/lock", lost=no_loss, duration=short)
        with pytest.raises(TimeoutError), other.held(patience=2 * short):
            pass


def test_a_holder_that_finds_another_in_its_place_gives_up(objects: S3Store) -> None:
    lost = threading.Event()
    with ObjectLock(objects, "state/lock", lost=lost.set, duration=0.5).held(patience=10):
        obstore.put(objects, "state/lock", b'{"holder": "another", "renewal": ""}')
        assert lost.wait(10)


def test_a_holder_that_can_not_renew_gives_up_before_another_may_take_over(storage: ObjectStorage) -> None:
    lost = threading.Event()
    impatient = storage.objects("copr", "frozen", timeout=1)
    with ObjectLock(impatient, "state/lock", lost=lost.set, duration=5).held(patience=10):
        storage.freeze()
        try:
            assert lost.wait(30)
        finally:
            storage.thaw()


def test_a_write_whose_answer_was_lost_does_not_lose_the_lock(objects: S3Store) -> None:
    lock = ObjectLock(objects, "state/lock", lost=no_loss, duration=60)
    with lock.held(patience=1):
        body = obstore.get(objects, "state/lock").bytes()
        obstore.put(objects, "state/lock", bytes(body) + b" ")  # the same holder, in a version it was not told of
        assert lock._take(over=lock._version)
