"""A strict, bounded reader of RPM headers, for files nobody vouches for.

Reads lead, signature header and header of a version 3 to 6 package as librpm does (`lib/header.c`, `lib/rpmlead.c`),
and of the tags only those asked for. Every count and offset is checked against what is there before it is used; the
limits on sizes are librpm's or lower. createrepo_c's own Package has no architecture tags, so they are read here.
"""

import struct
import sys
from array import array
from dataclasses import dataclass
from typing import BinaryIO

LEAD_SIZE = 96
LEAD_MAGIC = b"\xed\xab\xee\xdb"
HEADER_MAGIC = b"\x8e\xad\xe8\x01"
MAX_TAGS = 0xFFFF
MAX_SIGNATURE_BYTES = 64 * 1024**2
MAX_STRINGS = 4096
"""Most strings taken of one array tag."""

FILE_MARKUP = len("    <file></file>\n")
"""Bytes that a file takes in filelists.xml beside its path."""

INT32, STRING, STRING_ARRAY, I18N_STRING = 4, 6, 8, 9

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
ARCH, SOURCERPM = 1022, 1044
EXCLUDEARCH, EXCLUSIVEARCH, BUILDARCHS = 1059, 1061, 1089
NOSOURCE, NOPATCH = 1051, 1052
SOURCEPACKAGE = 1106
DIRINDEXES, BASENAMES, DIRNAMES = 1116, 1117, 1118


class HeaderError(ValueError):
    """The file is no RPM, is cut off, or contradicts itself."""


@dataclass(frozen=True)
class RpmHeader:
    """The tags the backend decides by. `arch` is `src` or `nosrc` for source packages, whatever the header says."""

    name: str
    epoch: int | None
    version: str
    release: str
    arch: str
    sourcerpm: str
    exclusive_arch: tuple[str, ...] = ()
    exclude_arch: tuple[str, ...] = ()
    build_arch: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"


def read_header(file: BinaryIO, max_bytes: int = 64 * 1024**2, max_listing: int = 64 * 1024**2) -> RpmHeader:
    """The header of the RPM that `file` is at the start of. Raises HeaderError, also when its list of files would take
    more than `max_listing` bytes: a header names a directory once, metadata and librpm's own list for every file."""
    lead = _exactly(file, LEAD_SIZE)
    if lead[:4] != LEAD_MAGIC:
        raise HeaderError("not an RPM package")
    _index, store = _raw_header(file, MAX_SIGNATURE_BYTES)
    _exactly(file, -len(store) % 8)
    tags = _Tags(*_raw_header(file, max_bytes))
    listing = _listing_bytes(tags, max_listing // FILE_MARKUP)
    if listing > max_listing:
        raise HeaderError(f"its list of files takes {listing} bytes; at most {max_listing} are accepted")
    sourcerpm = tags.string(SOURCERPM) or ""
    arch = tags.string(ARCH) or ""
    if tags.has(SOURCEPACKAGE) or not sourcerpm:
        arch = "nosrc" if tags.has(NOSOURCE) or tags.has(NOPATCH) else "src"
    return RpmHeader(
        name=tags.required(NAME),
        epoch=tags.integer(EPOCH),
        version=tags.required(VERSION),
        release=tags.required(RELEASE),
        arch=arch,
        sourcerpm=sourcerpm,
        exclusive_arch=tags.strings(EXCLUSIVEARCH),
        exclude_arch=tags.strings(EXCLUDEARCH),
        build_arch=tags.strings(BUILDARCHS),
    )


def _listing_bytes(tags: "_Tags", max_files: int) -> int:
    """Size of the list of files with their whole paths; without escapes, which can only add to it."""
    if not tags.has(BASENAMES):
        return 0
    names, directories = tags.lengths(BASENAMES, max_files), tags.lengths(DIRNAMES, max_files)
    indexes = tags.integers(DIRINDEXES, len(names))
    if indexes and max(indexes) >= len(directories):
        raise HeaderError("a file is in a directory that is none")
    return sum(names) + sum(directories[index] for index in indexes) + len(names) * FILE_MARKUP


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count) if count else b""
    if len(data) != count:
        raise HeaderError("the file is cut off")
    return data


def _raw_header(file: BinaryIO, max_bytes: int) -> tuple[bytes, bytes]:
    """Index (16 bytes a tag) and data of the header the file is at."""
    intro = _exactly(file, 16)
    if intro[:4] != HEADER_MAGIC:
        raise HeaderError("bad header magic")
    count, size = struct.unpack(">II", intro[8:])
    if not 1 <= count <= MAX_TAGS:
        raise HeaderError(f"a header with {count} tags")
    if size > max_bytes:
        raise HeaderError(f"a header of {size} bytes; at most {max_bytes} are accepted")
    return _exactly(file, count * 16), _exactly(file, size)


class _Tags:
    def __init__(self, index: bytes, store: bytes) -> None:
        self._store = store
        self._entries: dict[int, tuple[int, int, int]] = {}
        for tag, kind, offset, count in struct.iter_unpack(">IIII", index):
            if tag in self._entries:
                raise HeaderError(f"tag {tag} is there twice")
            self._entries[tag] = (kind, offset, count)

    def has(self, tag: int) -> bool:
        return tag in self._entries

    def integer(self, tag: int) -> int | None:
        entry = self._entries.get(tag)
        if entry is None:
            return None
        kind, offset, count = entry
        if kind != INT32 or count != 1 or offset + 4 > len(self._store):
            raise HeaderError(f"tag {tag} is not one number")
        value: int = struct.unpack_from(">I", self._store, offset)[0]
        return value

    def required(self, tag: int) -> str:
        value = self.string(tag)
        if not value:
            raise HeaderError(f"tag {tag} is missing")
        return value

    def string(self, tag: int) -> str | None:
        entry = self._entries.get(tag)
        if entry is None:
            return None
        kind, offset, count = entry
        if kind not in (STRING, I18N_STRING) or count < 1:
            raise HeaderError(f"tag {tag} is not a string")
        return self._string_at(tag, offset)[0]

    def strings(self, tag: int) -> tuple[str, ...]:
        entry = self._entries.get(tag)
        if entry is None:
            return ()
        kind, offset, count = entry
        if kind not in (STRING, STRING_ARRAY) or count > MAX_STRINGS:
            raise HeaderError(f"tag {tag} is not a list of strings")
        found = []
        for _ in range(count):
            value, offset = self._string_at(tag, offset)
            found.append(value)
        return tuple(found)

    def lengths(self, tag: int, most: int) -> list[int]:
        """Bytes of each string of a list of `most` at most. The strings themselves may be many and are not made."""
        kind, offset, count = self._entries.get(tag, (0, 0, 0))
        if kind not in (STRING, STRING_ARRAY):
            raise HeaderError(f"tag {tag} is not a list of strings")
        if count > most:
            raise HeaderError(f"a list of {count} strings; at most {most} are accepted")
        found = []
        for _ in range(count):
            end = self._end(tag, offset)
            found.append(end - offset)
            offset = end + 1
        return found

    def integers(self, tag: int, wanted: int) -> "array[int]":
        kind, offset, count = self._entries.get(tag, (0, 0, 0))
        data = self._store[offset : offset + 4 * count]
        if kind != INT32 or count != wanted or len(data) != 4 * count:
            raise HeaderError(f"tag {tag} is not {wanted} numbers")
        numbers = array("I", data)
        if sys.byteorder == "little":
            numbers.byteswap()
        return numbers

    def _end(self, tag: int, offset: int) -> int:
        end = self._store.find(b"\0", offset) if offset < len(self._store) else -1
        if end < 0:
            raise HeaderError(f"tag {tag} runs out of the header")
        return end

    def _string_at(self, tag: int, offset: int) -> tuple[str, int]:
        end = self._end(tag, offset)
        try:
            return self._store[offset:end].decode(), end + 1
        except UnicodeDecodeError:
            raise HeaderError(f"tag {tag} is not UTF-8") from None
