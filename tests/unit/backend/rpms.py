"""RPM files made in Python: small, fast, and as hostile as a test wants. createrepo_c, rpm and dnf read them."""

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

INT16, INT32, STRING, BIN, STRING_ARRAY, I18N = 3, 4, 6, 7, 8, 9
LEAD = b"\xed\xab\xee\xdb\x03\x00" + b"\0" * 70 + struct.pack(">HH", 1, 5) + b"\0" * 16
MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
EMPTY_PAYLOAD = gzip.compress(
    b"070701" + b"0" * 40 + b"00000001" + b"0" * 40 + b"0000000b" + b"00000000" + b"TRAILER!!!\0" + b"\0" * 3, mtime=0
)

Tag = tuple[int, int, Any]


def header(tags: Sequence[Tag], region: int) -> bytes:
    """A header with `tags` (number, type, value) in an immutable region, as rpmbuild writes it."""
    index, store = b"", b""
    for number, kind, value in sorted(tags):
        store += b"\0" * (-len(store) % {INT16: 2, INT32: 4}.get(kind, 1))
        offset = len(store)
        data, count = _data(kind, value)
        index += struct.pack(">IIII", number, kind, offset, count)
        store += data
    entries = len(tags) + 1
    index = struct.pack(">IIII", region, BIN, len(store), 16) + index
    store += struct.pack(">IIiI", region, BIN, -entries * 16, 16)
    return MAGIC + struct.pack(">II", entries, len(store)) + index + store


def _data(kind: int, value: Any) -> tuple[bytes, int]:
    if kind == INT32:
        return struct.pack(f">{len(value)}I", *value), len(value)
    if kind == INT16:
        return struct.pack(f">{len(value)}H", *value), len(value)
    if kind in (STRING, I18N):
        return value.encode() + b"\0", 1
    return b"".join(text.encode() + b"\0" for text in value), len(value)


def rpm(
    name: str = "hello",
    version: str = "1.0",
    release: str = "1",
    arch: str = "x86_64",
    *,
    epoch: int | None = None,
    sourcerpm: str | None = None,
    exclusive_arch: Sequence[str] = (),
    exclude_arch: Sequence[str] = (),
    build_arch: Sequence[str] = (),
    files: Sequence[str] = (),
    build_time: int = 1_700_000_000,
    extra: Sequence[Tag] = (),
    drop: Sequence[int] = (),
    payload: bytes = EMPTY_PAYLOAD,
) -> bytes:
    """The bytes of an RPM; `arch` src makes a source package. `extra` tags are added, `drop` tags left out."""
    source = arch in ("src", "nosrc")
    tags: list[Tag] = [
        (1000, STRING, name),
        (1001, STRING, version),
        (1002, STRING, release),
        (1004, I18N, f"Summary of {name}"),
        (1005, I18N, f"Description of {name}."),
        (1006, INT32, [build_time]),
        (1009, INT32, [4096]),
        (1014, STRING, "MIT"),
        (1021, STRING, "linux"),
        (1022, STRING, "x86_64" if source else arch),
        (1047, STRING_ARRAY, [name]),
        (1112, INT32, [8]),
        (1113, STRING_ARRAY, [f"{'' if epoch is None else f'{epoch}:'}{version}-{release}"]),
        (1124, STRING, "cpio"),
        (1125, STRING, "gzip"),
    ]
    if epoch is not None:
        tags.append((1003, INT32, [epoch]))
    if source:
        tags.append((1106, INT32, [1]))
    else:
        tags.append((1044, STRING, sourcerpm or f"{name}-{version}-{release}.src.rpm"))
    if arch == "nosrc":
        tags.append((1051, INT32, [0]))
    for number, value in ((1061, exclusive_arch), (1059, exclude_arch), (1089, build_arch)):
        if value:
            tags.append((number, STRING_ARRAY, list(value)))
    if files:
        tags += _file_tags(files)
    tags = [tag for tag in tags if tag[0] not in drop and tag[0] not in {item[0] for item in extra}] + list(extra)
    signature = header([(1007, INT32, [len(payload)])], 62)
    return LEAD + signature + b"\0" * (-len(signature) % 8) + header(tags, 63) + payload


def _file_tags(files: Sequence[str]) -> list[Tag]:
    directories = sorted({path.rpartition("/")[0] + "/" for path in files})
    places = {directory: place for place, directory in enumerate(directories)}
    count = len(files)
    return [
        (1028, INT32, [10] * count),
        (1030, INT16, [0o100644] * count),
        (1034, INT32, [1_700_000_000] * count),
        (1035, STRING_ARRAY, [""] * count),
        (1036, STRING_ARRAY, [""] * count),
        (1037, INT32, [0] * count),
        (1039, STRING_ARRAY, ["root"] * count),
        (1040, STRING_ARRAY, ["root"] * count),
        (1116, INT32, [places[path.rpartition("/")[0] + "/"] for path in files]),
        (1117, STRING_ARRAY, [path.rpartition("/")[2] for path in files]),
        (1118, STRING_ARRAY, directories),
    ]


def file_name(name: str = "hello", version: str = "1.0", release: str = "1", arch: str = "x86_64") -> str:
    return f"{name}-{version}-{release}.{arch}.rpm"


def write(directory: Path, name: str = "hello", version: str = "1.0", release: str = "1", arch: str = "x86_64",
          **more: Any) -> Path:  # fmt: skip
    """An RPM file under its proper name."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / file_name(name, version, release, arch)
    path.write_bytes(rpm(name, version, release, arch, **more))
    return path
