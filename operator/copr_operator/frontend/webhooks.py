"""Events of code forges: who may send them, and which packages they build (Copr's packages_logic.py). Pure.

The secret is a part of the webhook's URL; a signature, where a forge sends one, must be made with it. Pagure signs with
a key of its own choice, which `webhook/generate` can be told.
"""

import hashlib
import hmac
import posixpath
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from copr_operator.api.sources import SourceSpec
from copr_operator.core import names
from copr_operator.core.config import SourceSettings
from copr_operator.core.sources import api_source
from copr_operator.frontend.events import Event
from copr_operator.frontend.packages import Package
from copr_operator.frontend.tokens import secret_data

SECRET_TYPE = f"{names.GROUP}/webhook"
_SIGNATURES = ("x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature", "x-gogs-signature")
_DELIVERIES = (
    "idempotency-key", "x-github-delivery", "x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery",
    "x-gitlab-event-uuid", "x-request-uuid",
)  # fmt: skip
"""GitLab's Idempotency-Key is that of the delivery, the same when it is retried."""
PAGURE_KEY = "pagure-key"


@dataclass(frozen=True)
class Rebuild:
    """What an event asks for: a package, its source at what was pushed, and where the results go."""

    package: Package
    source: SourceSpec
    directory: str | None = None
    """Suffix of the project's directory; None: the project itself."""


def new_secret(project_uid: str, pagure_key: str | None = None) -> tuple[str, dict[str, Any]]:
    """A webhook's secret, and the manifest of the Secret that keeps a salted hash of it.

    `pagure_key`: what Pagure signs its events with; it has to be kept as it is.
    """
    secret, salt = str(uuid.uuid4()), secrets.token_hex(16)
    metadata = {"name": secret_name(project_uid), "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}}
    data = {"project": project_uid, "salt": salt, "sha256": _hash(salt, secret)}
    if pagure_key is not None:
        data[PAGURE_KEY] = pagure_key
    return secret, {
        "apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "metadata": metadata, "stringData": data,
    }  # fmt: skip


def secret_name(project_uid: str) -> str:
    return f"copr-webhook-{project_uid}"


def is_secret(kept: Mapping[str, Any] | None, secret: str) -> bool:
    """Whether `secret` is the one whose hash a Secret keeps."""
    data = secret_data(kept) if kept is not None and kept.get("type") == SECRET_TYPE else {}
    return hmac.compare_digest(_hash(data.get("salt", ""), secret), data.get("sha256", "-"))


def pagure_key(kept: Mapping[str, Any] | None) -> str | None:
    return secret_data(kept).get(PAGURE_KEY) if kept is not None else None


def signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether every signature that was sent is right."""
    sent = [headers[name].removeprefix("sha256=") for name in _SIGNATURES if name in headers]
    if not all(_is_mac(one, body, secret) for one in sent):
        return False
    token = headers.get("x-gitlab-token")
    return token is None or hmac.compare_digest(token.encode(errors="replace"), secret.encode())


def signed_by_pagure(headers: Mapping[str, str], body: bytes, key: str | None) -> bool:
    """Whether it is signed with Pagure's key; always, when that was never told."""
    return key is None or _is_mac(headers.get("x-pagure-signature-256", ""), body, key)


def _is_mac(sent: str, body: bytes, key: str) -> bool:
    right = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(sent.encode(errors="replace"), right.encode())


def delivery(headers: Mapping[str, str], event: Event | None = None) -> str | None:
    """The forge's own number of the event: what it sends again has the same."""
    found = next(
        (headers[name] for name in _DELIVERIES if name in headers), event.number if event is not None else None
    )
    return found[:100] if found else None


# -- which packages ----------------------------------------------------------------------------------------------------


def concerned(packages: Iterable[Package], event: Event, name: str | None, sources: SourceSettings) -> list[Rebuild]:
    """What the event builds. `name`: the package in the webhook's URL."""
    found = []
    for package in packages:
        source = package.source
        if source is None or package.spec is None or not package.spec.auto_rebuild:
            continue
        _, shown = api_source(source, sources)
        url = shown.get("clone_url")
        if url and _plain(url) == _plain(event.clone_url) and _belongs(package.name, shown, event, name):
            found.append(Rebuild(package, _at(source, event), event.directory))
    return found


def _at(source: SourceSpec, event: Event) -> SourceSpec:
    """The source at what was pushed; of a pull request in the repository it comes from, without the credentials."""
    update: dict[str, Any] = {"committish": event.committish}
    if source.distgit is not None:
        if event.origin is not None:
            update["namespace"] = event.origin_path.rpartition("/")[0] or None
        return source.model_copy(update={"distgit": source.distgit.model_copy(update=update)})
    assert source.scm is not None  # noqa: S101 (no other source has a repository)
    if event.origin is not None:
        update |= {"clone_url": event.origin, "credentials_secret": None}
    return source.model_copy(update={"scm": source.scm.model_copy(update=update)})


def _belongs(package: str, source: Mapping[str, Any], event: Event, name: str | None) -> bool:
    if event.tag:
        return package == name or tag_names(package, event.ref)
    if not event.ref.endswith(source.get("committish") or ""):
        return False
    return any(_below(file, source.get("subdirectory") or "") for file in event.files)


def _below(file: str, subdirectory: str) -> bool:
    """Whether a changed file is in the package's directory (Copr's SubdirMatch); the file "" stands for any."""
    directory = posixpath.normpath(subdirectory.strip("/") or ".")
    return not file or directory == "." or posixpath.normpath(file.strip("/")).startswith(f"{directory}/")


def tag_names(package: str, tag: str) -> bool:
    """Whether a tag is of a package: its name, then version, or version and release; each has a digit in it."""
    for separator in "-_":
        parts = tag.split(separator)
        for _ in range(2):
            if len(parts) < 2 or not any(character.isdigit() for character in parts.pop()):
                break
            if package in ("-".join(parts), "_".join(parts)):
                return True
    return False


def _plain(url: str) -> str:
    return url.rstrip("/").removesuffix(".git")


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode(errors="replace")).hexdigest()
