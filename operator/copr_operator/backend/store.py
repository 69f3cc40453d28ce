"""The store: named bytes below one root, written whole and durably or not at all.

`Store` is the seam: a directory (DirectoryStore) or object storage (objects.py) behind the same methods. Paths are
relative to the root, with `/` between segments. What obstore's LocalStore leaves open on a directory is done here:
fsync of files and directories, refusal of symlinks, one writing process.
"""

import errno
import fcntl
import os
import secrets
import shutil
import stat as stat_module
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore


class WriteStep(StrEnum):
    """The steps of writing a file, and of deleting one or a directory; each but STAGE and DELETE has just been done."""

    STAGE = "stage"
    STAGED = "staged"
    RENAMED = "renamed"
    STORED = "stored"
    DELETE = "delete"
    DELETED = "deleted"


Checkpoint = Callable[[WriteStep, str], None]
"""Called with the path between any two steps of a write, so that a test can stop the world there."""


def no_checkpoint(_step: WriteStep, _path: str) -> None:
    pass


@dataclass(frozen=True)
class Entry:
    """What is known of a stored file, or (`is_dir`) of a directory."""

    name: str
    is_dir: bool
    size: int
    mtime_ns: int
    version: str | None = None
    """Another one after every write, where size and time alone may stay the same."""


class StorePathError(OSError):
    """A path that leaves the root, or that goes through a symlink or anything else that is no regular file."""


class StoreFullError(OSError):
    """No space or quota is left."""


class StoreChangedError(OSError):
    """Another process has written what only one may write."""


class Store(Protocol):
    """What the backend needs of a place for files. All methods block: call them in a thread."""

    checkpoint: Checkpoint
    """Called between the steps of every write."""

    def put(self, path: str, data: bytes) -> None:
        """Write all of `data` durably; readers see the old bytes or the new, never a part."""

    def replace(self, path: str, data: bytes, was: str | None) -> None:
        """Like `put`, for the one file by which readers find all others. `was` is the sha256 of what it is thought to
        hold, None for nothing. Raises StoreChangedError when another process has written it, where that can be."""

    def adopt(self, source: Path, path: str) -> None:
        """Store a local file under `path` as `put` does; `source` stays. No bytes are copied where that can be."""

    def copy(self, source: str, path: str) -> None:
        """Store what is under `source` under `path` too, as `put` does. No bytes are copied where that can be."""

    def get(self, path: str) -> bytes:
        """Raises FileNotFoundError."""

    def open(self, path: str) -> tuple[BinaryIO, Entry]:
        """An open regular file. Raises FileNotFoundError, StorePathError."""

    def stat(self, path: str) -> Entry | None: ...

    def list(self, path: str) -> list[Entry]:
        """Files and directories directly in `path`, by name, also hidden ones; none when there is no such directory."""

    def delete(self, path: str) -> None:
        """Delete one file; not an error when there is none."""

    def delete_tree(self, path: str) -> None:
        """Delete a directory with all that is in it."""

    def local(self, path: str) -> AbstractContextManager[Path]:
        """Where a file can be read, inside the block, by a program that needs a file name."""

    def free_bytes(self) -> int:
        """Bytes that can still be taken in."""

    def locked(self, *, patience: float = 60.0, lost: Callable[[], None]) -> AbstractContextManager[None]:
        """Hold the store as its only writing process. Raises TimeoutError when another holds it for `patience` s.
        `lost` is called, in any thread, when it can't be held any longer: the process must end at once."""


class DirectoryStore:
    """A directory or volume. `checkpoint` is called between the steps of every write."""

    def __init__(self, root: Path, *, checkpoint: Checkpoint = no_checkpoint) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve()
        self._objects = LocalStore(prefix=self.root)
        self.checkpoint = checkpoint

    def put(self, path: str, data: bytes) -> None:
        with self._staged(path) as staged, _os_errors():
            obstore.put(self._objects, staged, data, use_multipart=False)

    def replace(self, path: str, data: bytes, was: str | None) -> None:
        self.put(path, data)  # the lock is as good as the file system

    def adopt(self, source: Path, path: str) -> None:
        inside = source.resolve().is_relative_to(self.root) and not source.is_symlink()
        with self._staged(path) as staged, _os_errors():
            if inside:
                # LocalStore copies by hard link: atomic, and no second copy of the bytes.
                obstore.copy(self._objects, source.resolve().relative_to(self.root).as_posix(), staged)
            else:
                obstore.put(self._objects, staged, source)

    def copy(self, source: str, path: str) -> None:
        self.adopt(self._checked(source), path)

    @contextmanager
    def _staged(self, path: str) -> Iterator[str]:
        """A name beside `path` to write to; its file is then synced, renamed to `path`, and the directory is synced."""
        target = self._checked(path)
        parent = path.rpartition("/")[0]
        staged = f"{parent}/.put-{secrets.token_hex(8)}" if parent else f".put-{secrets.token_hex(8)}"
        made = self._make_directories(target.parent)
        try:
            self.checkpoint(WriteStep.STAGE, path)
            yield staged
            _sync(self.root / staged)
            self.checkpoint(WriteStep.STAGED, path)
            with _os_errors():
                obstore.rename(self._objects, staged, path)
        finally:
            # Also after a rename: of two links to one file (it is adopted again) rename(2) moves none.
            (self.root / staged).unlink(missing_ok=True)
        self.checkpoint(WriteStep.RENAMED, path)
        for directory in (target.parent, *made):
            _sync(directory)
        self.checkpoint(WriteStep.STORED, path)

    def _make_directories(self, directory: Path) -> list[Path]:
        """Make missing directories; the ones whose entries changed, so that they can be synced."""
        changed = []
        missing = directory
        while not missing.exists():
            changed.append(missing.parent)
            missing = missing.parent
        if changed:
            with _os_errors():
                directory.mkdir(parents=True, exist_ok=True)
        return changed

    def get(self, path: str) -> bytes:
        file, _entry = self.open(path)
        with file:
            return file.read()

    def open(self, path: str) -> tuple[BinaryIO, Entry]:
        target = self._checked(path)
        try:
            descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise StorePathError(errno.ELOOP, "refusing a symlink", path) from error
            raise
        status = os.fstat(descriptor)
        if not stat_module.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise StorePathError(errno.EINVAL, "not a regular file", path)
        return os.fdopen(descriptor, "rb"), _entry(target.name, status)

    def stat(self, path: str) -> Entry | None:
        try:
            return _entry(path.rpartition("/")[2], self._checked(path).lstat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, path: str) -> list[Entry]:
        try:
            with os.scandir(self._checked(path)) as found:
                entries = [_entry(item.name, item.stat(follow_symlinks=False)) for item in found if _plain(item)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entries, key=lambda entry: entry.name)

    def delete(self, path: str) -> None:
        self.checkpoint(WriteStep.DELETE, path)
        # not by obstore: it refuses the names (`.put-...#1`) of its own unfinished files, which a killed process leaves
        with suppress(FileNotFoundError), _os_errors():
            self._checked(path).unlink()
        self.checkpoint(WriteStep.DELETED, path)

    def delete_tree(self, path: str) -> None:
        target = self._checked(path)
        self.checkpoint(WriteStep.DELETE, path)
        # obstore knows no directories: it would leave the empty ones behind. rmtree never follows symlinks.
        with suppress(FileNotFoundError):
            shutil.rmtree(target)
            _sync(target.parent)
        self.checkpoint(WriteStep.DELETED, path)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        yield self._checked(path)

    def free_bytes(self) -> int:
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize

    @contextmanager
    def locked(self, *, patience: float = 60.0, lost: Callable[[], None] | None = None) -> Iterator[None]:
        # a lock of a file goes with its process only: `lost` is never called
        self._make_directories(self.root / "state")
        with (self.root / "state" / "lock").open("w") as file:
            end = time.monotonic() + patience
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise TimeoutError(f"another process writes to {self.root}") from None
                    time.sleep(0.5)
            yield

    def _checked(self, path: str) -> Path:
        """The path below the root; no component of it is `..`, empty or a symlink."""
        current = self.root
        for part in checked_parts(path):
            current = current / part
            try:
                mode = current.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat_module.S_ISLNK(mode):
                raise StorePathError(errno.ELOOP, "refusing a symlink", path)
        return current


def checked_parts(path: str) -> list[str]:
    """The segments of a path. Raises StorePathError when it could name anything but what it says."""
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise StorePathError(errno.EINVAL, "not a path of the store", path)
    return parts


def first_line(error: Exception) -> str:
    """What obstore says without its debugging aids."""
    return str(error).partition("\n")[0]


@contextmanager
def _os_errors() -> Iterator[None]:
    """Every failure of obstore as an OSError; the one a client can act on has a class of its own."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(error.errno, "the store is full") from error
        raise
    except BaseError as error:
        if "os error 28" in str(error) or "os error 122" in str(error):
            raise StoreFullError(errno.ENOSPC, "the store is full") from error
        raise OSError(errno.EIO, first_line(error)) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(item: "os.DirEntry[str]") -> bool:
    return item.is_dir(follow_symlinks=False) or item.is_file(follow_symlinks=False)


def _entry(name: str, status: os.stat_result) -> Entry:
    return Entry(name, stat_module.S_ISDIR(status.st_mode), status.st_size, status.st_mtime_ns)
