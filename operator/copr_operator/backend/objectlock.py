"""One writing process, in object storage: an object that its holder renews, and nobody else replaces while it does.

Like a Lease of Kubernetes: whoever sees the same version of the object for `duration` seconds by its own clock may
take it over, in one conditional write; clocks are never compared. A holder that could not renew it for that long has
lost it.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import ObjectStore as Objects

from copr_operator.backend.store import first_line

if TYPE_CHECKING:  # obstore has these for type checkers only
    from obstore import ObjectMeta, PutResult, UpdateVersion

logger = logging.getLogger(__name__)

DURATION = 15.0
REQUEST_TIMEOUT = DURATION / 5
"""Seconds after which a request of the lock must have failed, so that a holder learns in time that it has lost it."""


def version_of(meta: "ObjectMeta | PutResult") -> "UpdateVersion":
    """What a conditional write names: S3 and Azure go by the ETag, Google Cloud Storage by the version. obstore takes
    no None for what a storage does not have."""
    found: UpdateVersion = {}
    if meta["e_tag"] is not None:
        found["e_tag"] = meta["e_tag"]
    if meta["version"] is not None:
        found["version"] = meta["version"]
    return found


class ObjectLock:
    def __init__(self, objects: Objects, path: str, *, lost: Callable[[], None], duration: float = DURATION) -> None:
        self._objects = objects
        self._path = path
        self._lost = lost
        self._duration = duration
        self._holder = secrets.token_hex(8)
        self._version: UpdateVersion | None = None
        self._renewed = 0.0
        self._end = threading.Event()

    @contextmanager
    def held(self, *, patience: float) -> Iterator[None]:
        """Raises TimeoutError when another process holds it for `patience` seconds, OSError when it can't be reached.

        `lost` is called, from another thread, when it could not be kept: the process should end at once.
        """
        self._acquire(patience)
        keeper = threading.Thread(target=self._keep, name="store lock", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            self._end.set()
            keeper.join()
            self._release()

    def _acquire(self, patience: float) -> None:
        end = time.monotonic() + patience
        seen: UpdateVersion | None = None
        since = time.monotonic()
        while not self._take(over=None):
            version = self._current()
            now = time.monotonic()
            if version != seen:
                seen, since = version, now
            elif version is not None and now - since >= self._duration and self._take(over=version):
                return
            if now > end:
                raise TimeoutError("another process writes to the object storage")
            self._end.wait(min(0.5, self._duration / 5))

    def _current(self) -> "UpdateVersion | None":
        try:
            return version_of(obstore.head(self._objects, self._path))
        except (FileNotFoundError, NotFoundError):
            return None
        except BaseError as error:
            raise OSError(first_line(error)) from error

    def _take(self, *, over: "UpdateVersion | None") -> bool:
        """Write it: when there is none, or in place of the version `over`. Whether that worked."""
        # other bytes each time, so that each renewal is another version
        body = json.dumps({"holder": self._holder, "renewal": secrets.token_hex(8)}).encode()
        began = time.monotonic()
        try:
            done = obstore.put(
                self._objects, self._path, body, mode="create" if over is None else over, use_multipart=False
            )
        except (AlreadyExistsError, PreconditionError, FileNotFoundError, NotFoundError):
            return self._take_is_ours(began)
        except BaseError as error:
            raise OSError(first_line(error)) from error
        self._version, self._renewed = version_of(done), began
        return True

    def _take_is_ours(self, began: float) -> bool:
        """After a refusal: an earlier write whose answer was lost may be the reason."""
        with suppress(BaseError, FileNotFoundError, ValueError):
            found = obstore.get(self._objects, self._path)
            if json.loads(bytes(found.bytes()))["holder"] == self._holder:
                self._version, self._renewed = version_of(found.meta), began
                return True
        return False

    def _keep(self) -> None:
        while not self._end.wait(self._duration / 5):
            try:
                kept = self._take(over=self._version)
            except OSError as error:
                logger.warning("renewing the lock of the store failed: %s", error)
                kept = self._is_fresh()
            if not kept:
                logger.error("the lock of the store is lost")
                self._lost()
                return

    def _is_fresh(self) -> bool:
        """Whether nobody else can have taken it over yet."""
        return time.monotonic() - self._renewed < self._duration * 0.8

    def _release(self) -> None:
        """Others need not wait, if it is still ours."""
        if self._is_fresh():
            with suppress(BaseError, FileNotFoundError):
                obstore.delete(self._objects, self._path)
