"""The process that reads one RPM after the other: `python -m copr_operator.backend.rpmworker`.

createrepo_c is C and reads what strangers made: it runs here, apart, so that a crash or a hang costs one file. Talks
in frames (4 bytes length, big endian, then JSON) on stdin and stdout: JSON, because an unpickled answer of a process
that a hostile file took over would be code. A request is {"path", "href", "max_header_bytes"}; an answer is one of
{"error": what is wrong with the file}, {"unreadable": why it can't be read now, "memory": whether for want of that}, or
the fields of `inspector.RpmFile`.
"""

import errno
import json
import os
import resource
import struct
import sys
from dataclasses import asdict
from typing import Any, BinaryIO
from xml.parsers import expat

import createrepo_c

from copr_operator.backend.rpmheader import HeaderError, read_header

MAX_METADATA = 64 * 1024**2
"""Most bytes of the XML of one package; that of 300,000 files takes half of it."""
MAX_ANSWER = 2 * MAX_METADATA
"""Most bytes of an answer. In JSON, what is not ASCII takes two or three times as much."""
MEMORY_LIMIT = 768 * 1024**2
"""Bytes of address space: what two workers and the backend itself may take fits in its pod."""


def read_rpm(path: str, href: str, max_header_bytes: int) -> dict[str, Any]:
    """Facts and metadata of one RPM. Raises HeaderError for any file that isn't a good one."""
    with open(path, "rb") as file:
        header = read_header(file, max_header_bytes, MAX_METADATA)
        size = os.fstat(file.fileno()).st_size
    try:
        package = createrepo_c.package_from_rpm(path, checksum_type=createrepo_c.SHA256, location_href=href)
    except createrepo_c.CreaterepoCError as error:
        _read_through(path)
        raise HeaderError(str(error)) from error
    found = (package.name, int(package.epoch or 0), package.version, package.release, package.rpm_sourcerpm or "")
    if found != (header.name, header.epoch or 0, header.version, header.release, header.sourcerpm):
        raise HeaderError("two readers of the header disagree")
    package.time_file = package.time_build  # else the same package would give other metadata at another time
    dumps = (createrepo_c.xml_dump_primary, createrepo_c.xml_dump_filelists, createrepo_c.xml_dump_other)
    chunks = []
    size_of_chunks = 0
    for dump in dumps:
        chunk = dump(package)
        size_of_chunks += _check_chunk(chunk)
        if size_of_chunks > MAX_METADATA:
            raise HeaderError(f"its metadata takes more than {MAX_METADATA} bytes")
        chunks.append(chunk)
    return {**asdict(header), "sha256": package.pkgId, "size": size, "chunks": chunks}


def _read_through(path: str) -> None:
    """Raises OSError when it is the disk that fails: librpm calls that a bad file."""
    with open(path, "rb", buffering=0) as file:
        while file.read(2**20):
            pass


def _check_chunk(chunk: str) -> int:
    """One well-formed `package` element and nothing else: metadata of several packages is one document. Its bytes."""
    tops: list[str] = []
    depth = 0

    def start(name: str, _attributes: object) -> None:
        nonlocal depth
        if depth == 1:
            tops.append(name)
        depth += 1

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        encoded = chunk.encode()
        for part, last in ((b"<m>", False), (encoded, False), (b"</m>", True)):
            parser.Parse(part, last)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise HeaderError(f"the header can't be written as XML: {error}") from error
    if tops != ["package"]:
        raise HeaderError("the header can't be written as XML")
    return len(encoded)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return read_rpm(request["path"], request["href"], request["max_header_bytes"])
    except HeaderError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"unreadable": str(error), "memory": error.errno == errno.ENOMEM}
    except MemoryError:
        return _NO_MEMORY


_NO_MEMORY = {"unreadable": "that takes too much memory", "memory": True}


def _encoded(found: dict[str, Any]) -> bytes:
    try:
        data = json.dumps(found).encode()
    except MemoryError:
        return json.dumps(_NO_MEMORY).encode()
    return data if len(data) <= MAX_ANSWER else b'{"error": "its metadata takes too much room"}'


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the other end closes."""
    while len(intro := requests.read(4)) == 4:
        request = json.loads(requests.read(struct.unpack(">I", intro)[0]))
        data = _encoded(answer(request))
        answers.write(struct.pack(">I", len(data)) + data)
        answers.flush()


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # Libraries print to stdout and stderr; answers go through a descriptor they don't know.
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
