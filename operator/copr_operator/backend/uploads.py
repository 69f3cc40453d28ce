"""Sources that users send before they create a build of type `upload`, and what custom webhooks were called with."""

import asyncio
import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ValidationError

from copr_operator.backend.errors import HttpError
from copr_operator.backend.layout import FILE_NAME, UPLOADS
from copr_operator.backend.spool import receive
from copr_operator.backend.store import Checkpoint, Entry, Store, no_checkpoint
from copr_operator.core import names

logger = logging.getLogger(__name__)

KEPT = 24 * 3600.0
"""Seconds after its last use for which a file is not dropped, also when the source step that used it has ended (other
builds may name it) or when its namespace needs the room."""


class Upload(BaseModel):
    """What is known of an uploaded file; kept beside it."""

    namespace: str
    name: str
    sha256: str
    size: int
    used: float
    """When it was sent or last fetched, seconds since the epoch."""
    imported: bool = False
    """The source step that fetched it last has ended: no build is known to wait for it."""


class Uploads:
    def __init__(
        self,
        store: Store,
        spool: Path,
        *,
        clock: Callable[[], float],
        retention: float,
        namespace_bytes: int,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self._store = store
        self._spool = spool / "uploads"
        self._clock = clock
        self._retention = retention
        self._kept = min(KEPT, retention)
        self._namespace_bytes = namespace_bytes
        self._arriving: Counter[str] = Counter()
        """Bytes that files under way may have, by namespace."""
        self._lock = asyncio.Lock()
        self._checkpoint = checkpoint

    async def add(self, namespace: str, name: str, body: AsyncIterator[bytes], size: int) -> dict[str, object]:
        """Store a file of `size` bytes at most; `{"ref", "sha256", "size"}`. Raises HttpError 400, 413."""
        if name != names.HOOK_PAYLOAD and not (FILE_NAME.fullmatch(name) and name.endswith((".src.rpm", ".spec"))):
            raise HttpError(400, "the file must be an .src.rpm or a .spec with a plain name", "SourceRefused")
        async with self._reserved(namespace, size):
            return await self._receive(namespace, name, body)

    @asynccontextmanager
    async def _reserved(self, namespace: str, size: int) -> AsyncIterator[None]:
        """Room for a file under way, so that many at once can't take more than one after the other."""
        async with self._lock:
            arriving = self._arriving[namespace]
            waiting = await asyncio.to_thread(self._make_room, namespace, size + arriving) + arriving
            if waiting + size > self._namespace_bytes:
                text = f"{waiting} bytes of uploaded files wait in namespace {namespace}, and {size} more are too many"
                raise HttpError(413, text)
            self._arriving[namespace] += size
        try:
            yield
        finally:
            self._arriving[namespace] -= size

    async def _receive(self, namespace: str, name: str, body: AsyncIterator[bytes]) -> dict[str, object]:
        key = secrets.token_urlsafe(18)
        part = self._spool / key
        try:
            await asyncio.to_thread(self._spool.mkdir, parents=True, exist_ok=True)
            artifact = await receive(part, body, None, self._checkpoint)
            await asyncio.to_thread(self._store.adopt, part, f"{UPLOADS}/{key}/{name}")
        finally:
            part.unlink(missing_ok=True)
        upload = Upload(namespace=namespace, name=name, sha256=artifact.sha256, size=artifact.size, used=self._clock())
        await asyncio.to_thread(self._save, key, upload)
        return {"ref": f"{key}/{name}", "sha256": artifact.sha256, "size": artifact.size}

    def open(self, namespace: str, ref: str) -> tuple[BinaryIO, Entry]:
        """The file of a reference, for builds of the namespace it was sent for. Raises HttpError 404."""
        key, _slash, name = ref.partition("/")
        upload = self._load(key) if key.replace("-", "").replace("_", "").isalnum() else None
        if upload is None or upload.namespace != namespace or upload.name != name:
            raise HttpError(404, f"no uploaded file {ref[:330]} in namespace {namespace}", "UploadNotFound")
        try:
            opened = self._store.open(f"{UPLOADS}/{key}/{name}")
        except FileNotFoundError:
            raise HttpError(404, f"the uploaded file {ref} is gone", "UploadNotFound") from None
        self._save(key, upload.model_copy(update={"used": self._clock(), "imported": False}))
        return opened

    def imported(self, namespace: str, ref: str) -> None:
        """The source step of a build that names this file has ended. A retry, should there be one, fetches it again."""
        key = ref.partition("/")[0]
        try:
            upload = self._load(key)
            if upload is not None and upload.namespace == namespace and not upload.imported:
                self._save(key, upload.model_copy(update={"imported": True}))
        except OSError:
            logger.exception("%s goes on to count as waiting", ref)

    def sweep(self) -> None:
        """Delete files that nobody used for the retention time, and what was never completed; the files of source steps
        that have ended sooner."""
        now = self._clock()
        if self._spool.is_dir():
            for part in self._spool.iterdir():
                if part.stat().st_mtime < now - self._kept:
                    part.unlink(missing_ok=True)
        for entry in self._store.list(UPLOADS):
            if entry.is_dir:
                upload = self._load(entry.name)
                used = upload.used if upload is not None else self._sent(entry)
                waits = upload is not None and not upload.imported
                if used < now - (self._retention if waits else self._kept):
                    self._delete(entry.name)

    def _delete(self, key: str) -> None:
        self._store.delete_tree(f"{UPLOADS}/{key}")
        self._store.delete(f"{UPLOADS}/{key}.json")

    def _sent(self, directory: Entry) -> float:
        """When something of an upload was last written."""
        return max(entry.mtime_ns / 1e9 for entry in (directory, *self._store.list(f"{UPLOADS}/{directory.name}")))

    def _make_room(self, namespace: str, wanted: int) -> int:
        """Bytes of the namespace's files, after some were dropped, if that makes room for `wanted` bytes more: first
        those of source steps that have ended, then what has waited for longest, and for a day at least: builds may be
        gone without having fetched their file, and nobody else would delete it."""
        loaded = [(entry.name, self._load(entry.name)) for entry in self._store.list(UPLOADS) if entry.is_dir]
        mine = [(key, file) for key, file in loaded if file and file.namespace == namespace]
        spare = sorted(
            ((key, file) for key, file in mine if file.imported or file.used < self._clock() - KEPT),
            key=lambda item: (not item[1].imported, item[1].used),
        )
        held = sum(file.size for _key, file in mine)
        if held - sum(file.size for _key, file in spare) + wanted > self._namespace_bytes:
            return held
        for key, file in spare:
            if held + wanted > self._namespace_bytes:
                logger.log(
                    logging.INFO if file.imported else logging.WARNING,
                    "%s/%s makes room for others of namespace %s", key, file.name, namespace,
                )  # fmt: skip
                self._delete(key)
                held -= file.size
        return held

    def _load(self, key: str) -> Upload | None:
        try:
            return Upload.model_validate(json.loads(self._store.get(f"{UPLOADS}/{key}.json")))
        except FileNotFoundError:
            return None
        except (ValueError, ValidationError):
            logger.error("%s/%s.json is damaged", UPLOADS, key)
            return None

    def _save(self, key: str, upload: Upload) -> None:
        self._store.put(f"{UPLOADS}/{key}.json", upload.model_dump_json().encode())
