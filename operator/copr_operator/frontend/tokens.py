"""API tokens: a Secret each, with a salted hash of the token, whose it is and until when. Pure.

What is stored can't be used to log in. A token has 240 random bits, so one round of SHA-256 is as good as many.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from copr_operator.api.common import Owner
from copr_operator.core import names
from copr_operator.core.observed import format_time, parse_time

SECRET_TYPE = f"{names.GROUP}/api-token"
LABEL_API_TOKEN = f"{names.GROUP}/api-token"
_PREFIX = "copr-token-"
_LOGIN = re.compile(r"[a-z0-9]{20}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_OWNER: TypeAdapter[str] = TypeAdapter(Owner)


@dataclass(frozen=True)
class Account:
    """Who is asking, as the token's Secret says."""

    name: str
    groups: tuple[str, ...] = ()
    """Without the @."""
    admin: bool = False
    """May do everything in every project of the installation."""
    login: str = ""


@dataclass(frozen=True)
class NewToken:
    """A token that was just made: the only time it is known."""

    login: str
    token: str
    expires: datetime
    secret: dict[str, Any]
    """Manifest, without its namespace."""


def make(name: str, groups: tuple[str, ...], *, admin: bool, now: datetime, days: int) -> NewToken:
    """Raises ValueError for a name of a user or group that can't own projects."""
    try:
        for owner in (name, *groups):
            if _OWNER.validate_python(owner).startswith("@"):
                raise ValueError(f"{owner!r}: give names without the @")
    except ValidationError:
        raise ValueError(f"{owner!r} can't be the name of a user or group") from None
    login = "".join(secrets.choice(_LETTERS) for _ in range(20))
    token, salt = secrets.token_urlsafe(30), secrets.token_hex(16)
    expires = now + timedelta(days=days)
    data = {
        "user": name,
        "groups": " ".join(groups),
        "admin": "true" if admin else "false",
        "expires": format_time(expires),
        "salt": salt,
        "sha256": _hash(salt, token),
    }
    metadata = {
        "name": secret_name(login),
        "labels": {LABEL_API_TOKEN: "true", names.LABEL_MANAGED_BY: names.MANAGED_BY},
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "metadata": metadata, "stringData": data}
    return NewToken(login, token, expires, secret)


def secret_name(login: str) -> str:
    return f"{_PREFIX}{login}"


def is_login(text: str) -> bool:
    """Whether a login may be the name of a token's Secret at all: nothing else is ever looked up."""
    return _LOGIN.fullmatch(text) is not None


def account_of(secret: Mapping[str, Any] | None, login: str, token: str, now: datetime) -> Account | None:
    """Whose `token` is, or None: no such Secret, another token, or expired. Takes the same time for any wrong token."""
    data = secret_data(secret) if secret is not None and secret.get("type") == SECRET_TYPE else {}
    right = hmac.compare_digest(_hash(data.get("salt", ""), token), data.get("sha256", "-"))
    expires = parse_time(data.get("expires"))
    if not right or expires is None or expires <= now:
        return None
    groups = tuple(group.removeprefix("@") for group in data.get("groups", "").split())
    return Account(data["user"], groups, data.get("admin") == "true", login)


def config_file(name: str, login: str, token: str, expires: datetime, url: str) -> str:
    """A ready ~/.config/copr."""
    lines = [
        "[copr-cli]",
        f"login = {login}",
        f"username = {name}",
        f"token = {token}",
        f"copr_url = {url}",
        # copr refuses an http:// URL otherwise
        *(["encrypted = false"] if url.startswith("http://") else []),
        f"# expiration date: {expires:%Y-%m-%d}",
    ]
    return "\n".join(lines)


def _hash(salt: str, token: str) -> str:
    return hashlib.sha256(f"{salt}{token}".encode(errors="surrogateescape")).hexdigest()


def secret_data(secret: Mapping[str, Any]) -> dict[str, str]:
    """What a Secret holds, decoded."""
    return {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}
