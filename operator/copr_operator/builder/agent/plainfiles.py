"""Reading what untrusted code left behind: by descriptor, never through links, plain files only.

A name may be anything, a file may be a link, a FIFO or a device, and it may change while it is read.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from copr_operator.builder.agent.errors import AgentError

MAX_FILES = 10_000
"""Files in one result; the largest packages of Fedora make a few thousand."""
RESULT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]{0,250}\.(rpm|spec)")
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class PlainFile:
    name: str
    size: int


def refused(message: str) -> AgentError:
    return AgentError("ResultsRefused", message)


@contextmanager
def open_directory(path: Path | str, parent: int | None = None) -> Iterator[int]:
    """Descriptor of a directory that is no link; a relative path is one name below `parent`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        raise refused(f"{path} is no directory ({error.strerror})") from error
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def open_plain(directory: int, name: str) -> Iterator[int]:
    """Descriptor of a regular file with one link; ResultsRefused for anything else."""
    try:
        # NONBLOCK: opening a FIFO would wait for a writer.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        raise refused(f"{name!r} can't be opened as a plain file ({error.strerror})") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise refused(f"{name!r} is no regular file")
        if status.st_nlink != 1:
            raise refused(f"{name!r} has {status.st_nlink} links")
        yield fd
    finally:
        os.close(fd)


def list_results(directory: int, max_bytes: int) -> list[PlainFile]:
    """Every file of the results, by name; ResultsRefused, naming the first that is not what a result may be."""
    found: list[PlainFile] = []
    total = 0
    names = sorted(os.listdir(directory))
    if len(names) > MAX_FILES:
        raise refused(f"{len(names)} result files; at most {MAX_FILES} are allowed")
    for name in names:
        if not RESULT_NAME.fullmatch(name):
            raise refused(f"{name!r} is no name of a result (.rpm or .spec)")
        with open_plain(directory, name) as fd:
            size = os.fstat(fd).st_size
        total += size
        if total > max_bytes:
            raise refused(f"the results are larger than {max_bytes} bytes (at {name!r})")
        found.append(PlainFile(name, size))
    return found


def sha256_of(fd: int, size: int) -> str:
    digest = hashlib.sha256()
    position = 0
    while position < size and (chunk := os.pread(fd, min(_CHUNK, size - position), position)):
        digest.update(chunk)
        position += len(chunk)
    return digest.hexdigest()


def read_exit_code(out_dir: Path) -> int | None:
    """What the wrapper wrote last; None when it was killed before, or when it is not a number from 0 to 255."""
    try:
        with open_directory(out_dir) as directory, open_plain(directory, "exit-code") as fd:
            text = os.pread(fd, 8, 0).decode("ascii", "replace").strip()
    except AgentError:
        return None
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) and int(text) < 256 else None
