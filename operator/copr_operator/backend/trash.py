"""Removal: first the metadata without the packages, the files only after the grace time.

Each removal is a file in state/trash, written before anything else is done, so that it survives a restart: an entry
without `due` has still to be taken out of its repositories; one with `due` waits for that time and then its files go.
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress

from pydantic import BaseModel, ValidationError

from copr_operator.backend.layout import HIGHEST_ID, REPODATA, RESULTS, TRASH, Repo, build_id_of
from copr_operator.backend.store import Store
from copr_operator.core.names import SRPM_BUILDS

logger = logging.getLogger(__name__)


class TrashPart(BaseModel):
    """Result directories of one repository, and (`whole`) the repository itself."""

    owner: str
    dirname: str
    chroot: str
    directories: list[str] = []
    whole: bool = False

    @property
    def repo(self) -> Repo:
        return Repo(self.owner, self.dirname, self.chroot)


class TrashEntry(BaseModel):
    """One removal."""

    id: str
    build_id: int | None = None
    parts: list[TrashPart] = []
    paths: list[str] = []
    """Other directories of the store."""
    due: float | None = None
    """Seconds since the epoch; None while packages of it may still be listed."""


class Trash:
    """The list of removals, in memory and in the store. Methods block, but only for small files."""

    def __init__(self, store: Store, *, clock: Callable[[], float], grace: float) -> None:
        self._store = store
        self._clock = clock
        self._grace = grace
        self.entries: dict[str, TrashEntry] = {}

    def load(self) -> None:
        for found in self._store.list(TRASH):
            if not found.name.endswith(".json"):
                self._store.delete(f"{TRASH}/{found.name}")
                continue
            try:
                entry = TrashEntry.model_validate_json(self._store.get(f"{TRASH}/{found.name}"))
            except ValidationError:
                logger.error("%s/%s is damaged and left alone", TRASH, found.name)
                continue
            self.entries[entry.id] = entry

    def add(self, parts: list[TrashPart], paths: list[str], build_id: int | None = None) -> TrashEntry:
        entry = TrashEntry(id=secrets.token_hex(8), build_id=build_id, parts=parts, paths=paths)
        self._save(entry)
        return entry

    def unlisted(self, entry: TrashEntry) -> None:
        """No repository lists anything of it any more: the grace time begins."""
        entry.due = self._clock() + self._grace
        self._save(entry)

    def keep_repo(self, repo: Repo) -> None:
        """The repository is wanted again: only the results it had go."""
        for entry in self.entries.values():
            for part in entry.parts:
                if part.whole and part.repo == repo:
                    part.whole = False
                    self._save(entry)

    def overdue(self) -> list[TrashEntry]:
        now = self._clock()
        return [entry for entry in self.entries.values() if entry.due is not None and entry.due <= now]

    def empty(self, entry: TrashEntry) -> None:
        """Delete the files of an entry, then the entry."""
        for part in entry.parts:
            for directory in part.directories:
                self._store.delete_tree(f"{part.repo.results}/{directory}")
            if part.whole:
                self._store.delete_tree(part.repo.results)
                self._store.delete_tree(part.repo.state)
        for path in entry.paths:
            self._store.delete_tree(path)
        self._store.delete(f"{TRASH}/{entry.id}.json")
        self.entries.pop(entry.id, None)

    def of_build(self, build_id: int) -> TrashEntry | None:
        return next((entry for entry in self.entries.values() if entry.build_id == build_id), None)

    def holds_repo(self, repo: Repo) -> bool:
        """Whether the repository as a whole is being removed."""
        return any(part.whole and part.repo == repo for part in self._parts())

    def directories(self, repo: Repo) -> set[str]:
        """Result directories of a repository that are being removed."""
        return {directory for part in self._parts() if part.repo == repo for directory in part.directories}

    def holds_path(self, path: str) -> bool:
        return any(path in entry.paths for entry in self.entries.values())

    def highest_removed(self) -> int:
        """Highest build id whose files were deleted."""
        with suppress(FileNotFoundError, ValueError):
            return int(self._store.get(HIGHEST_ID))
        return 0

    def remember(self, build_id: int) -> None:
        """Note the highest build id before directories that show it are deleted."""
        if build_id > self.highest_removed():
            self._store.put(HIGHEST_ID, f"{build_id}\n".encode())

    def _parts(self) -> Iterator[TrashPart]:
        for entry in self.entries.values():
            yield from entry.parts

    def _save(self, entry: TrashEntry) -> None:
        self._store.put(f"{TRASH}/{entry.id}.json", entry.model_dump_json().encode())
        self.entries[entry.id] = entry


def result_directories(store: Store, repo: Repo) -> list[str]:
    return [
        entry.name
        for entry in store.list(repo.results)
        if entry.is_dir and entry.name != REPODATA and build_id_of(entry.name) is not None
    ]


def chroots_of(store: Store, owner: str, dirname: str) -> list[str]:
    """Directories of a project directory that are (or could be) repositories."""
    found = store.list(f"{RESULTS}/{owner}/{dirname}")
    return [entry.name for entry in found if entry.is_dir and entry.name != SRPM_BUILDS]
