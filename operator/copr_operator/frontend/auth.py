"""Who is asking: HTTP Basic with login and token (contract 1.2), checked against the tokens' Secrets."""

import base64
import binascii
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from copr_operator.frontend import tokens
from copr_operator.frontend.errors import CoprError, LoginError, unavailable
from copr_operator.frontend.tokens import Account
from copr_operator.frontend.viewer import Viewer
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

KEPT_SECONDS = 5.0
"""How long a token that was taken back, or made, may stay unnoticed."""
MOST_KEPT = 4096
MOST_FAILURES = 20
FAILURE_SECONDS = 60.0


class Secrets:
    """Secrets of the installation's namespace by name, as they were at most KEPT_SECONDS ago."""

    def __init__(self, kube: KubeClient, namespace: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._namespace = namespace
        self._clock = clock
        self._kept: dict[str, tuple[float, dict[str, Any] | None]] = {}

    async def get(self, name: str) -> dict[str, Any] | None:
        """None when there is none. Raises CoprError 503 when that can't be said now."""
        at, secret = self._kept.get(name, (None, None))
        if at is not None and self._clock() - at < KEPT_SECONDS:
            return secret
        try:
            secret = await self._kube.find(paths.core("secrets", self._namespace, name))
        except ApiError as error:
            raise unavailable(f"The login can't be checked now: {error.reason}.") from None
        _keep(self._kept, name, (self._clock(), secret))
        return secret

    async def replace(self, old: str, manifest: dict[str, Any]) -> None:
        """A new Secret in place of the one called `old`. Raises ApiError."""
        new, collection = manifest["metadata"]["name"], paths.core("secrets", self._namespace)
        if new == old:
            await self._kube.delete(f"{collection}/{old}")
        await self._kube.create(collection, manifest)
        if new != old:
            await self._kube.delete(f"{collection}/{old}")
        for name in (old, new):
            self._kept.pop(name, None)


class Authenticator:
    """Raises LoginError, CoprError 429 for a login with too many wrong tokens, or 503 when it can't be said now."""

    def __init__(self, secrets: Secrets, frontend_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = secrets
        self._frontend_url = frontend_url
        self._clock = clock
        self._failures: dict[str, tuple[float, int]] = {}

    async def account(self, request: Request) -> Account:
        """The account of a request that needs one."""
        login, token = self._credentials(request)
        if not tokens.is_login(login):
            raise LoginError(self._frontend_url)
        self._check_failures(login)
        secret = await self._secrets.get(tokens.secret_name(login))
        account = tokens.account_of(secret, login, token, datetime.now(UTC))
        if account is None:
            if secret is not None:
                self._failed(login)
            raise LoginError(self._frontend_url)
        return account

    def viewer(self, request: Request) -> Viewer:
        """Who a read is for: the account of its credentials if it has some."""
        return Viewer(lambda: self.account(request))

    def _credentials(self, request: Request) -> tuple[str, str]:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "basic" or len(encoded) > 1024:
                raise LoginError(self._frontend_url)
            login, colon, token = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise LoginError(self._frontend_url) from None
        if not colon:
            raise LoginError(self._frontend_url)
        return login, token

    def _check_failures(self, login: str) -> None:
        since, count = self._failures.get(login, (0.0, 0))
        if count >= MOST_FAILURES and self._clock() - since < FAILURE_SECONDS:
            raise CoprError(429, "Too many wrong tokens for this login.", {"Retry-After": f"{FAILURE_SECONDS:.0f}"})

    def _failed(self, login: str) -> None:
        """Counts wrong tokens of logins that exist. Others have nothing to guess."""
        since, count = self._failures.get(login, (0.0, 0))
        if self._clock() - since >= FAILURE_SECONDS:
            since, count = self._clock(), 0
        _keep(self._failures, login, (since, count + 1))


def _keep(kept: dict[str, Any], key: str, value: Any) -> None:
    """As the newest; the oldest go when there are too many."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > MOST_KEPT:
        del kept[next(iter(kept))]
