"""Who may read the results of a private project.

A build pod of the project shows a ticket, whoever has rights in Kubernetes (the frontend, for one) a token, and people
the login and token of Copr's API, about which the frontend is asked: it alone knows tokens and rights.
"""

import asyncio
import base64
import binascii
import hashlib
import logging
import ssl
import time
from collections.abc import Callable

import aiohttp

from copr_operator.backend.errors import HttpError
from copr_operator.backend.identity import CACHE_SECONDS, Identities
from copr_operator.backend.kept import Kept
from copr_operator.backend.privacy import TICKET_USER, Privacy, Tickets, project_of
from copr_operator.backend.settings import BackendSettings

logger = logging.getLogger(__name__)

MAX_AUTHORIZATION = 16384
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class Readers:
    """Start before use, close at the end."""

    def __init__(
        self, privacy: Privacy, tickets: Tickets, identities: Identities, settings: BackendSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._privacy = privacy
        self._tickets = tickets
        self._identities = identities
        self._url = settings.frontend_url
        self._ca_file = settings.frontend_ca_file
        self._answers = Kept(CACHE_SECONDS, clock)
        self._at_once = asyncio.Semaphore(16)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        if self._url is not None:
            context = ssl.create_default_context(cafile=str(self._ca_file)) if self._ca_file is not None else True
            connector = aiohttp.TCPConnector(ssl=context)
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, connector=connector)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def may_read(self, authorization: str, owner: str, dirname: str) -> bool:
        """`authorization`: the header of that name. Raises HttpError 503 when it can't be said now."""
        namespace = self._privacy.namespace(owner, dirname)
        if namespace is None:
            return True
        scheme, _, credentials = authorization.partition(" ")
        if not credentials or len(authorization) > MAX_AUTHORIZATION:
            return False
        if scheme.lower() == "bearer":
            return await self._in_kubernetes(credentials.strip(), namespace)
        if scheme.lower() != "basic":
            return False
        user, password = _basic(credentials)
        if user == TICKET_USER:
            return self._tickets.valid(password, owner, dirname)
        return await self._in_copr(authorization, owner, project_of(dirname))

    async def _in_kubernetes(self, token: str, namespace: str) -> bool:
        if not namespace:
            return False
        try:
            await self._identities.require(token, "get", namespace)
        except HttpError as error:
            if error.status in (401, 403):
                return False
            raise
        return True

    async def _in_copr(self, authorization: str, owner: str, project: str) -> bool:
        """Whether the frontend shows the project to whoever has these credentials."""
        if self._session is None:
            return False
        key = hashlib.sha256(f"{authorization}\0{owner}\0{project}".encode()).hexdigest()
        known = self._answers.get(key)
        if known is not None:
            return bool(known)
        query = {"ownername": owner, "projectname": project}
        try:
            async with (
                self._at_once,
                self._session.get(
                    f"{self._url}/api_3/project", params=query, headers={"Authorization": authorization},
                    allow_redirects=False,
                ) as answer,
            ):  # fmt: skip
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.warning("the frontend can't be asked who may read %s/%s: %s", owner, project, error)
            raise HttpError(503, "who may read this can't be found out now") from None
        if status >= 500:
            raise HttpError(503, "who may read this can't be found out now")
        self._answers.put(key, status == 200)
        return status == 200


def _basic(credentials: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
