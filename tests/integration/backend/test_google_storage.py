"""What rests on conditional writes, where a version is known by its generation: in Google Cloud Storage."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url

from copr_operator.backend.objectlock import ObjectLock
from copr_operator.backend.objects import ObjectStore
from copr_operator.backend.store import StoreChangedError
from tests.support.google_storage import GoogleStorage, google_storage

URL = "gs://bucket/copr"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleStorage]:
    with google_storage() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def store(storage: GoogleStorage, tmp_path: Path) -> ObjectStore:
    return ObjectStore.at(URL, tmp_path / "scratch")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def no_loss() -> None:
    raise AssertionError("the lock was lost")


def test_the_file_readers_start_at_is_replaced_only_when_it_is_what_is_known(store: ObjectStore) -> None:
    store.replace("repomd.xml", b"one", None)
    for known in (None, sha256(b"other")):
        with pytest.raises(StoreChangedError):
            store.replace("repomd.xml", b"two", known)
    store.replace("repomd.xml", b"two", sha256(b"one"))
    assert store.get("repomd.xml") == b"two"


def test_what_another_process_replaced_in_between_is_left_alone(storage: GoogleStorage, store: ObjectStore) -> None:
    store.replace("repomd.xml", b"one", None)

    def meanwhile(_step: object, path: str) -> None:
        storage.put(f"/bucket/copr/{path}", b"one", None)  # the same bytes, so the same ETag

    store.checkpoint = meanwhile
    with pytest.raises(StoreChangedError):
        store.replace("repomd.xml", b"two", sha256(b"one"))
    assert store.get("repomd.xml") == b"one"


def test_the_lock_is_taken_and_given_back(store: ObjectStore) -> None:
    for _time in range(2):
        with (
            store.locked(patience=0, lost=no_loss),
            pytest.raises(TimeoutError),
            store.locked(patience=0, lost=no_loss),
        ):
            pass


def test_a_lock_is_renewed_until_another_is_in_its_place(storage: GoogleStorage) -> None:
    objects = from_url(URL, client_options={"allow_http": True})
    lost = threading.Event()
    lock = ObjectLock(objects, "state/lock", lost=lost.set, duration=0.5)
    with lock.held(patience=0):
        first = lock._version
        assert lock._take(over=first)
        assert lock._take(over=first), "a renewal whose answer was lost"
        assert lock._version not in (None, first)
        obstore.put(objects, "state/lock", b'{"holder": "another", "renewal": ""}')
        assert lost.wait(10)


def test_the_lock_of_a_process_that_died_is_taken_over_when_it_has_run_out(storage: GoogleStorage) -> None:
    objects = from_url(URL, client_options={"allow_http": True})
    obstore.put(objects, "state/lock", b'{"holder": "dead", "renewal": ""}')
    with ObjectLock(objects, "state/lock", lost=no_loss, duration=0.5).held(patience=10):
        pass
