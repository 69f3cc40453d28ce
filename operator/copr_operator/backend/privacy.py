"""Which projects are private, and the tickets that let their own build pods read them.

The store knows it, not the API server: what is private stays so while the cluster is away, after its CoprProject was
deleted, and in a backup.
"""

import hmac
import json
import logging
import secrets
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from copr_operator.backend.layout import PRIVATE, TICKET_KEY
from copr_operator.backend.store import Store
from copr_operator.core.wire import Ticket

logger = logging.getLogger(__name__)

TICKET_USER = "build"
"""No login of an API token has so few letters."""
NOBODYS = ""
"""Namespace of a private project whose mark can't be read."""


class Privacy:
    """The marks of private projects: a file each, all of them in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._namespaces: dict[str, dict[str, str]] = {}
        """Of each owner's private projects."""

    def load(self) -> None:
        for owner in self._store.list(PRIVATE):
            for project in self._store.list(f"{PRIVATE}/{owner.name}"):
                if not project.name.startswith("."):
                    self._remember(owner.name, project.name, self._read(owner.name, project.name))

    def _read(self, owner: str, project: str) -> str:
        try:
            return str(json.loads(self._store.get(_mark(owner, project)))["namespace"])
        except (ValueError, KeyError, TypeError):
            logger.error("the mark of %s/%s is damaged: only its own pods and its users can read it", owner, project)
            return NOBODYS

    def mark(self, owner: str, project: str, namespace: str | None) -> None:
        """`namespace`: where the private project is; None: it is public. Returns when that is on the disk."""
        if namespace is None:
            self._store.delete(_mark(owner, project))
            self._namespaces.get(owner, {}).pop(project, None)
        else:
            self._remember(owner, project, namespace)
            self._store.put(_mark(owner, project), json.dumps({"namespace": namespace}).encode())

    def _remember(self, owner: str, project: str, namespace: str) -> None:
        self._namespaces.setdefault(owner, {})[project] = namespace

    def hides_some(self, owner: str) -> bool:
        """Whether an owner has private projects."""
        return bool(self._namespaces.get(owner))

    def namespace(self, owner: str, dirname: str) -> str | None:
        """The namespace of the private project that a directory belongs to; None when everybody may read it."""
        return self._namespaces.get(owner, {}).get(project_of(dirname))

    def hidden(self, owner: str, dirnames: Iterable[str]) -> set[str]:
        """Those of an owner's directories that are private."""
        return {name for name in dirnames if self.namespace(owner, name) is not None}


class Tickets:
    """Signed, so that none has to be remembered: `<seconds since the epoch>.<MAC>`."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._key = b""

    def load(self) -> None:
        try:
            self._key = self._store.get(TICKET_KEY)
        except FileNotFoundError:
            self._key = secrets.token_bytes(32)
            self._store.put(TICKET_KEY, self._key)

    def issue(self, owner: str, project: str, seconds: float) -> Ticket:
        """For everything of one project, for so long."""
        until = str(int(self._clock() + seconds))
        return Ticket(username=TICKET_USER, password=f"{until}.{self._mac(owner, project, until)}")

    def valid(self, password: str, owner: str, dirname: str) -> bool:
        until, _, mac = password.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) < 12):
            return False
        right = self._mac(owner, project_of(dirname), until)
        return hmac.compare_digest(right.encode(), mac.encode(errors="replace")) and int(until) > self._clock()

    def _mac(self, owner: str, project: str, until: str) -> str:
        return hmac.digest(self._key, "\0".join((owner, project, until)).encode(), "sha256").hex()


def project_of(dirname: str) -> str:
    """`demo` of `demo:pr:1`."""
    return dirname.partition(":")[0]


def _mark(owner: str, project: str) -> str:
    return str(PurePosixPath(PRIVATE, owner, project))
