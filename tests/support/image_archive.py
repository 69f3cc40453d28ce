"""An image as `buildah push docker-archive:` writes it: its configuration, and its files without unpacking them."""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ImageArchive:
    config: dict[str, Any]
    size: int
    """Bytes of all layers, unpacked."""
    files: dict[str, tarfile.TarInfo]
    """By path without a leading slash; what a later layer replaces or removes is not among them."""
    _path: Path
    _layer: dict[str, str]

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.config["config"]["Labels"]
        return found

    def read(self, path: str) -> bytes:
        """Content of a regular file. Raises KeyError."""
        with tarfile.open(self._path) as archive, _layer(archive, self._layer[path]) as layer:
            file = layer.extractfile(self.files[path])
            assert file is not None
            return file.read()

    def found(self, pattern: str) -> list[str]:
        """Paths that match as a whole; `*` stands for slashes too."""
        return [path for path in self.files if fnmatchcase(path, pattern)]


def read_archive(path: Path) -> ImageArchive:
    with tarfile.open(path) as archive:
        (manifest,) = json.loads(_content(archive, "manifest.json"))
        config = json.loads(_content(archive, manifest["Config"]))
        size = 0
        files: dict[str, tarfile.TarInfo] = {}
        layers: dict[str, str] = {}
        for name in manifest["Layers"]:
            size += archive.getmember(name).size
            with _layer(archive, name) as layer:
                for member in layer:
                    _put(member, name, files, layers)
    return ImageArchive(config, size, files, path, layers)


def _put(member: tarfile.TarInfo, layer: str, files: dict[str, tarfile.TarInfo], layers: dict[str, str]) -> None:
    path = member.name.removeprefix("./").rstrip("/")
    directory, _, name = path.rpartition("/")
    if not name.startswith(".wh."):
        files[path], layers[path] = member, layer
        return
    opaque = name == ".wh..wh..opq"
    gone = directory if opaque else f"{directory}/{name.removeprefix('.wh.')}".lstrip("/")
    for known in [one for one in files if one.startswith(f"{gone}/") or (one == gone and not opaque)]:
        if layers[known] != layer:
            del files[known], layers[known]


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


@contextmanager
def _layer(archive: tarfile.TarFile, name: str) -> Iterator[tarfile.TarFile]:
    with tarfile.open(fileobj=archive.extractfile(name)) as layer:
        yield layer
