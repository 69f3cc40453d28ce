"""One repository on the store: reads its state, writes a publication step by step.

A publication is whole because of its order: metadata files under names with their checksum, then the private index,
named after the repomd.xml it belongs to, then repomd.xml itself in one atomic replace. Before that replace everything
is as it was; after it everything is new; what a killed run left behind has no name anyone knows and is cleared by the
next. Readers that hold the old repomd.xml find the files it names for the grace time.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from copr_operator.backend import metadata
from copr_operator.backend.layout import Repo
from copr_operator.backend.metadata import Change, Index, IndexDamagedError
from copr_operator.backend.store import Store


class Step(StrEnum):
    """The steps of a publication, in this order; each names what has just been done."""

    RENDERED = "rendered"
    PRIMARY_STORED = "primary stored"
    FILELISTS_STORED = "filelists stored"
    OTHER_STORED = "other stored"
    INDEX_STORED = "index stored"
    REPOMD_REPLACED = "repomd replaced"
    OLD_INDEX_REMOVED = "old index removed"
    OLD_METADATA_REMOVED = "old metadata removed"


_STORED = (Step.PRIMARY_STORED, Step.FILELISTS_STORED, Step.OTHER_STORED)

Checkpoint = Callable[[Step], None]


def no_checkpoint(_step: Step) -> None:
    pass


@dataclass(frozen=True)
class Outcome:
    """What a publication did."""

    index: Index
    groups_rendered: int
    bytes_written: int


class Repository:
    """Blocking; at most one publication at a time (see publisher.py)."""

    def __init__(
        self,
        store: Store,
        repo: Repo,
        *,
        clock: Callable[[], float],
        grace: float,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self._store = store
        self.repo = repo
        self._clock = clock
        self._grace = grace
        self._checkpoint = checkpoint

    def exists(self) -> bool:
        return self._store.stat(self.repo.repomd) is not None

    def load(self) -> Index | None:
        """What is published. None when that can't be told from the private state, which must then be made anew."""
        try:
            digest = self._repomd()
            return replace(Index.load(self._store.get(self._index_path(digest))), repomd=digest)
        except (FileNotFoundError, IndexDamagedError):
            return None

    def empty_index(self) -> Index:
        """An index to build on when the state is lost. Whatever metadata is there counts as just superseded."""
        now = self._clock()
        names = [entry.name for entry in self._store.list(self.repo.repodata) if _is_metadata(entry.name)]
        return Index(superseded=dict.fromkeys(names, now), repomd=self._repomd())

    def publish(self, index: Index, change: Change) -> Outcome:
        """Make `index` with `change` what readers see. Raises IndexDamagedError before anything was written, and
        StoreChangedError when `index` is not what readers see now."""
        new = metadata.render(index, change, self._read(index))
        names = metadata.file_names(new.files)
        now = self._clock()
        superseded = {name: at for name, at in index.superseded.items() if at + self._grace > now}
        superseded |= dict.fromkeys(index.files, now)
        for name in names:
            superseded.pop(name, None)
        revision = max(int(now), index.revision + 1)
        published = replace(new.index, revision=revision, files=names, superseded=superseded)
        repomd = metadata.repomd(published, new.files)
        self._checkpoint(Step.RENDERED)
        for step, name, data in zip(_STORED, names, new.files, strict=True):
            self._store.put(f"{self.repo.repodata}/{name}", data)
            self._checkpoint(step)
        published = replace(published, repomd=hashlib.sha256(repomd).hexdigest())
        current = self._index_path(published.repomd)
        dump = published.dump()
        self._store.put(current, dump)
        self._checkpoint(Step.INDEX_STORED)
        self._store.replace(self.repo.repomd, repomd, index.repomd)
        self._checkpoint(Step.REPOMD_REPLACED)
        self._clear(published, current)
        written = sum(len(data) for data in new.files) + len(dump) + len(repomd)
        return Outcome(published, new.rendered_groups, written)

    def clear(self) -> None:
        """Remove metadata whose grace time is over."""
        index = self.load()
        if index is not None:
            self._clear(index, self._index_path(index.repomd))

    def _clear(self, index: Index, current: str) -> None:
        for entry in self._store.list(self.repo.state):
            if f"{self.repo.state}/{entry.name}" != current and not entry.is_dir:
                self._store.delete(f"{self.repo.state}/{entry.name}")
        self._checkpoint(Step.OLD_INDEX_REMOVED)
        now = self._clock()
        keep = {name for name, at in index.superseded.items() if at + self._grace > now} | set(index.files)
        for entry in self._store.list(self.repo.repodata):
            if entry.name not in keep and entry.name != "repomd.xml":
                self._store.delete(f"{self.repo.repodata}/{entry.name}")
        self._checkpoint(Step.OLD_METADATA_REMOVED)

    def _read(self, index: Index) -> tuple[bytes, ...]:
        """The metadata files `index` describes, checked against their names."""
        files = []
        for name in index.files:
            try:
                data = self._store.get(f"{self.repo.repodata}/{name}")
            except FileNotFoundError as error:
                raise IndexDamagedError(f"{name} is missing") from error
            if hashlib.sha256(data).hexdigest() != name.partition("-")[0]:
                raise IndexDamagedError(f"{name} is damaged")
            files.append(data)
        return tuple(files)

    def _repomd(self) -> str | None:
        try:
            return hashlib.sha256(self._store.get(self.repo.repomd)).hexdigest()
        except FileNotFoundError:
            return None

    def _index_path(self, digest: str | None) -> str:
        return f"{self.repo.state}/index-{digest}"


def _is_metadata(name: str) -> bool:
    return name.endswith(".xml.gz") and not name.startswith(".")
