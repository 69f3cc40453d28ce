"""Who is asking: HTTP Basic with login and token (contract 1.2), checked against the tokens' Secrets."""

import base64
import binascii
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from copr_operator.frontend import tokens
from copr_operator.frontend.allowance import Allowance
from copr_operator.frontend.errors import CoprError, LoginError, unavailable
from copr_operator.frontend.tokens import Account
from copr_operator.frontend.viewer import Viewer
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

KEPT_SECONDS = 5.0
"""How long a token that was taken back, or made, may stay unnoticed."""
MOST_KEPT = 4096
ANEW, ANEW_SECONDS = 3, 1.0
"""How often a Secret is read although it was read a moment ago."""
MOST_FAILURES = 20
FAILURE_SECONDS = 60.0


class Secrets:
    """Secrets of the installation's namespace by name, as they were at most KEPT_SECONDS ago."""

    def __init__(self, kube: KubeClient, namespace: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._namespace = namespace
        self._clock = clock
        self._kept: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self._anew = Allowance(ANEW, ANEW_SECONDS, clock)

    async def get(self, name: str, *, anew: bool = False) -> dict[str, Any] | None:
        """None when there is none. `anew`: as it is now, as often as that is allowed. Raises CoprError 503 when that
        can't be said now."""
        at, secret = self._kept.get(name, (None, None))
        if anew and not self._anew.spent(name):
            self._anew.use(name)
        elif at is not None and self._clock() - at < KEPT_SECONDS:
            return secret
        try:
            secret = await self._kube.find(paths.core("secrets", self._namespace, name))
        except ApiError as error:
            raise unavailable(f"The login can't be checked now: {error.reason}.") from None
        self._kept.pop(name, None)
        self._kept[name] = (self._clock(), secret)
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return secret

    async def replace(self, manifest: dict[str, Any]) -> None:
        """A new Secret in place of the one of its name. Raises ApiError: a conflict when another came in between."""
        name, collection = manifest["metadata"]["name"], paths.core("secrets", self._namespace)
        try:
            await self._kube.delete(f"{collection}/{name}")
            await self._kube.create(collection, manifest)
        finally:
            self._kept.pop(name, None)

    async def renew(self, old: str, manifest: dict[str, Any]) -> bool:
        """A new Secret in place of the one called `old`; False, and none, when that was taken away, which this replica
        may not know yet: only one of those who ask at once gets one. Raises ApiError."""
        new, collection = manifest["metadata"]["name"], paths.core("secrets", self._namespace)
        await self._kube.create(collection, manifest)
        try:
            replaced = await self._kube.delete(f"{collection}/{old}")
        finally:
            self._kept.pop(old, None)
        if not replaced:
            await self._kube.delete(f"{collection}/{new}")
        return replaced


class Authenticator:
    """Raises LoginError, CoprError 429 for a login with too many wrong tokens, or 503 when it can't be said now."""

    def __init__(self, secrets: Secrets, frontend_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = secrets
        self._frontend_url = frontend_url
        self._failures = Allowance(MOST_FAILURES, FAILURE_SECONDS, clock)
        """Wrong tokens of logins that exist. Others have nothing to guess."""

    async def account(self, request: Request) -> Account:
        """The account of a request that needs one."""
        login, token = self._credentials(request)
        if not tokens.is_login(login):
            raise LoginError(self._frontend_url)
        if self._failures.spent(login):
            raise CoprError(429, "Too many wrong tokens for this login.", {"Retry-After": f"{FAILURE_SECONDS:.0f}"})
        secret = await self._secrets.get(tokens.secret_name(login))
        account = tokens.account_of(secret, login, token, datetime.now(UTC))
        if account is None:
            if secret is not None:
                self._failures.use(login)
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
