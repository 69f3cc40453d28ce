"""The store in object storage: S3, Google Cloud Storage or Azure, behind obstore.

An object is written whole or not at all, so `put` needs no staging. What a directory gives besides is made here:
directories are prefixes with something below them; one process writes, because it holds the lock (objectlock.py), and
the one name that readers start at, repomd.xml, is only replaced when it is what this process knows, so that a process
that was paused while another took over can't undo what that one published.
"""

import errno
import hashlib
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import ObjectStore as Objects
from obstore.store import from_url

from copr_operator.backend.objectlock import REQUEST_TIMEOUT, ObjectLock, version_of
from copr_operator.backend.store import (
    Checkpoint,
    Entry,
    StoreChangedError,
    StoreFullError,
    WriteStep,
    checked_parts,
    first_line,
    no_checkpoint,
)

_PIECE = 256 * 1024
_AHEAD = 4 * 1024**2
"""Bytes that are asked for at a time: each open file costs as much memory, for as long as a slow client reads it. So
only as many files as `_READ_AHEAD` are read in large pieces, which save waiting for answers."""
_READ_AHEAD = 16
_FULL = ("QuotaExceeded", "StorageFull", "507 Insufficient Storage")
LOCK = "state/lock"


class ObjectStore:
    """A bucket, or a prefix of one. `scratch` is a directory for files that a program needs by name; `impatient` is
    the same bucket through a client that gives up a request early, for the lock."""

    def __init__(
        self,
        objects: Objects,
        scratch: Path,
        *,
        impatient: Objects | None = None,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._objects = objects
        self._impatient = impatient or objects
        self._scratch = scratch
        self._ahead = threading.BoundedSemaphore(_READ_AHEAD)
        self.checkpoint = checkpoint

    @classmethod
    def at(cls, url: str, scratch: Path) -> "ObjectStore":
        """`s3://BUCKET/PREFIX`, `gs://...` or `az://...`; credentials, endpoint and region come from the environment
        under the names that the cloud's own tools use. Raises ValueError for a URL that names none."""
        try:
            # http is used only where the endpoint that was given says so
            objects = from_url(url, client_options={"allow_http": True})
            impatient = from_url(
                url,
                client_options={"allow_http": True, "timeout": timedelta(seconds=REQUEST_TIMEOUT)},
                retry_config={"max_retries": 0},
            )
            return cls(objects, scratch, impatient=impatient)
        except BaseError as error:
            raise ValueError(f"{url} is no object storage: {first_line(error)}") from error

    def put(self, path: str, data: bytes) -> None:
        with self._writing(path) as target, _os_errors():
            obstore.put(self._objects, target, data, use_multipart=False)

    def replace(self, path: str, data: bytes, was: str | None) -> None:
        version = None
        with _os_errors(), suppress(FileNotFoundError):
            found = obstore.get(self._objects, _checked(path))
            version = version_of(found.meta)
            if hashlib.sha256(found.bytes()).hexdigest() != was:
                raise StoreChangedError(errno.ESTALE, "another process has written it", path)
        with self._writing(path) as target, _os_errors(path):
            obstore.put(
                self._objects, target, data,
                mode="create" if version is None else version, use_multipart=False,
            )  # fmt: skip

    def adopt(self, source: Path, path: str) -> None:
        with self._writing(path) as target, _os_errors():
            obstore.put(self._objects, target, source)

    def copy(self, source: str, path: str) -> None:
        with self._writing(path) as target, _os_errors():
            obstore.copy(self._objects, _checked(source), target)

    @contextmanager
    def _writing(self, path: str) -> Iterator[str]:
        target = _checked(path)
        self.checkpoint(WriteStep.STAGE, path)
        yield target
        self.checkpoint(WriteStep.STORED, path)

    def get(self, path: str) -> bytes:
        with _os_errors():
            return bytes(obstore.get(self._objects, _checked(path)).bytes())

    def open(self, path: str) -> tuple[BinaryIO, Entry]:
        with _os_errors():
            meta = obstore.head(self._objects, _checked(path))
        entry = _entry(meta)
        ahead = entry.size > _PIECE and self._ahead.acquire(blocking=False)
        on_close = self._ahead.release if ahead else None
        remote = _RemoteFile(self._objects, path, entry.size, meta["e_tag"], on_close=on_close)
        return io.BufferedReader(remote, _AHEAD if ahead else _PIECE), entry

    def stat(self, path: str) -> Entry | None:
        target = _checked(path)
        with _os_errors():
            if target:
                with suppress(FileNotFoundError), _os_errors():
                    return _entry(obstore.head(self._objects, target))
            below = obstore.list(self._objects, f"{target}/" if target else None, chunk_size=1)
            return Entry(path.rpartition("/")[2], True, 0, 0) if next(iter(below), []) else None

    def list(self, path: str) -> list[Entry]:
        target = _checked(path)
        with _os_errors():
            found = obstore.list_with_delimiter(self._objects, f"{target}/" if target else None)
        files = [_entry(meta) for meta in found["objects"]]
        directories = [Entry(prefix.rstrip("/").rpartition("/")[2], True, 0, 0) for prefix in found["common_prefixes"]]
        return sorted([*files, *directories], key=lambda entry: entry.name)

    def delete(self, path: str) -> None:
        target = _checked(path)
        self.checkpoint(WriteStep.DELETE, path)
        with suppress(FileNotFoundError), _os_errors():
            obstore.delete(self._objects, target)
        self.checkpoint(WriteStep.DELETED, path)

    def delete_tree(self, path: str) -> None:
        target = _checked(path)
        self.checkpoint(WriteStep.DELETE, path)
        with _os_errors():
            for chunk in obstore.list(self._objects, f"{target}/"):
                obstore.delete(self._objects, [meta["path"] for meta in chunk])
        self.checkpoint(WriteStep.DELETED, path)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        file, _entry = self.open(path)
        descriptor, name = tempfile.mkstemp(dir=self._scratch, prefix=".local-")
        try:
            with file, os.fdopen(descriptor, "wb") as copy:
                shutil.copyfileobj(file, copy, _AHEAD)
            yield Path(name)
        finally:
            os.unlink(name)

    def free_bytes(self) -> int:
        """Of the scratch directory: a bucket does not say."""
        status = os.statvfs(self._scratch)
        return status.f_bavail * status.f_frsize

    @contextmanager
    def locked(self, *, patience: float = 60.0, lost: Callable[[], None]) -> Iterator[None]:
        with ObjectLock(self._impatient, LOCK, lost=lost).held(patience=patience):
            yield


class _RemoteFile(io.RawIOBase):
    """One version of an object, read in ranges: an object that is replaced meanwhile is an error, never a mixture."""

    def __init__(
        self, objects: Objects, path: str, size: int, version: str | None, *, on_close: Callable[[], None] | None
    ) -> None:
        self._objects = objects
        self._path = path
        self._size = size
        self._version = version
        self._on_close = on_close
        self._at = 0

    def close(self) -> None:
        super().close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        with _os_errors(self._path):
            data = obstore.get(
                self._objects, self._path, options={"range": (self._at, end), "if_match": self._version}
            ).bytes()
        buffer[: len(data)] = memoryview(data)
        self._at += len(data)
        return len(data)


def _checked(path: str) -> str:
    return "/".join(checked_parts(path))


def _entry(meta: Mapping[str, object]) -> Entry:
    modified = meta["last_modified"].timestamp()  # type: ignore[attr-defined]
    version = str(meta["e_tag"] or "").strip('"')
    return Entry(str(meta["path"]).rpartition("/")[2], False, int(str(meta["size"])), int(modified * 1e9), version)


@contextmanager
def _os_errors(path: str = "") -> Iterator[None]:
    """Every failure of obstore as an OSError; the ones a caller can act on have classes of their own."""
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        raise FileNotFoundError(errno.ENOENT, "no such object") from error
    except (PreconditionError, AlreadyExistsError) as error:
        raise StoreChangedError(errno.ESTALE, "another process has written it", path) from error
    except BaseError as error:
        if any(word in str(error) for word in _FULL):
            raise StoreFullError(errno.ENOSPC, "the store is full") from error
        raise OSError(errno.EIO, first_line(error)) from error
