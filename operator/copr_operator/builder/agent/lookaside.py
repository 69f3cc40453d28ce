"""The lookaside cache of a dist-git: the files that `sources` names, each verified by its hash before it is used."""

import hashlib
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.plainfiles import open_directory, open_plain

MAX_FILES = 1000
_MAX_BYTES = 1024 * 1024
_NAME = r"[A-Za-z0-9_+@~^%=,#!()\[\]{}][A-Za-z0-9_.+@~^%=,#!()\[\]{} -]{0,250}"
_BSD = re.compile(rf"(MD5|SHA1|SHA224|SHA256|SHA384|SHA512) \(({_NAME})\) = ([0-9a-fA-F]+)")
"""`SHA512 (hello-1.0.tar.gz) = 0123...`: what fedpkg and centpkg write today."""
_OLD = re.compile(rf"([0-9a-fA-F]{{32}}) [ *]({_NAME})")
"""`0123...  hello-1.0.tar.gz`: MD5, as md5sum writes it."""

Download = Callable[[str, Path, int], Awaitable[str]]
"""(URL, target, limit in bytes) -> SHA-256; AgentError when it fails."""


@dataclass(frozen=True)
class SourceFile:
    name: str
    hashtype: str
    """As in URLs and in hashlib: md5, sha512."""
    digest: str
    """Lower case."""


def parse_sources(text: str) -> list[SourceFile]:
    """Every file of a `sources` file. Raises LookasideMismatch for a line in neither format, or too many of them."""
    found = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if bsd := _BSD.fullmatch(line):
            entry = SourceFile(bsd[2], bsd[1].lower(), bsd[3].lower())
        elif old := _OLD.fullmatch(line):
            entry = SourceFile(old[2], "md5", old[1].lower())
        else:
            raise AgentError("LookasideMismatch", f"a line of the file `sources` can't be understood: {line[:100]!r}")
        if len(entry.digest) != hashlib.new(entry.hashtype, usedforsecurity=False).digest_size * 2:
            raise AgentError("LookasideMismatch", f"the hash of {entry.name} has the wrong length")
        found.append(entry)
    if len(found) > MAX_FILES:
        raise AgentError("LookasideMismatch", f"`sources` names {len(found)} files; at most {MAX_FILES} are allowed")
    return found


def read_sources(repository: Path) -> list[SourceFile]:
    """What the repository's `sources` names; nothing when there is none."""
    if not os.path.lexists(repository / "sources"):
        return []
    try:
        with open_directory(repository) as directory, open_plain(directory, "sources") as fd:
            text = os.pread(fd, _MAX_BYTES, 0).decode("utf-8", "replace")
    except AgentError as error:
        raise AgentError("LookasideMismatch", error.message) from error
    return parse_sources(text)


def file_url(pattern: str, file: SourceFile) -> str:
    name = quote(file.name)
    return pattern.replace("{filename}", name).replace("{hashtype}", file.hashtype).replace("{hash}", file.digest)


async def bring_sources(repository: Path, pattern: str, scratch: Path, limit: int, download: Download) -> int:
    """Puts every file of `sources` into the repository; how many. `limit`: bytes of all of them.

    Each comes to `scratch` first and is moved: whatever has its name in the repository, a link for example, is replaced
    and not written through.
    """
    files = read_sources(repository)
    left = limit
    for file in files:
        target = scratch / "lookaside"
        try:
            await download(file_url(pattern, file), target, left)
        except AgentError as error:
            if error.reason == "SourceDownloadFailed":
                raise AgentError("LookasideMismatch", f"{file.name} can't be had: {error.message}") from error
            raise
        actual = _digest(target, file.hashtype)
        if actual != file.digest:
            message = f"{file.name} has {file.hashtype} {actual}, but `sources` says {file.digest}"
            raise AgentError("LookasideMismatch", message)
        left -= target.stat().st_size
        if (repository / file.name).is_dir() and not (repository / file.name).is_symlink():
            raise AgentError("LookasideMismatch", f"{file.name} is a directory in the repository")
        target.replace(repository / file.name)
    return len(files)


def _digest(path: Path, hashtype: str) -> str:
    with path.open("rb") as file:
        # MD5 is what old packages have; it is what the dist-git itself says.
        return hashlib.file_digest(file, lambda: hashlib.new(hashtype, usedforsecurity=False)).hexdigest()
