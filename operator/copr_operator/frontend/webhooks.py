"""Events of code forges -> which packages they are for (Copr's webhooks_general.py and packages_logic.py). Pure.

The secret is a part of the webhook's URL; a signature, where a forge sends one, must be made with it.
"""

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from copr_operator.api.sources import ScmSpec, SourceSpec
from copr_operator.core import names
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.packages import Package
from copr_operator.frontend.tokens import secret_data

SECRET_TYPE = f"{names.GROUP}/webhook"
_SIGNATURES = ("x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature", "x-gogs-signature")
_DELIVERIES = ("x-github-delivery", "x-gitea-delivery", "x-forgejo-delivery", "x-gitlab-event-uuid", "x-request-uuid")
_NOTHING = "0" * 40


@dataclass(frozen=True)
class Event:
    """A push, or a new tag."""

    clone_url: str
    ref: str
    """Name of the branch, whole or not, or of the tag."""
    tag: bool
    committish: str
    """What is to be built: the tag, or the newest commit."""
    files: frozenset[str] = frozenset()
    """Those that the push added, changed or removed."""


def new_secret(project_uid: str) -> tuple[str, dict[str, Any]]:
    """A webhook's secret, and the manifest of the Secret that keeps a salted hash of it."""
    secret, salt = str(uuid.uuid4()), secrets.token_hex(16)
    metadata = {"name": secret_name(project_uid), "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}}
    data = {"project": project_uid, "salt": salt, "sha256": _hash(salt, secret)}
    return secret, {
        "apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "metadata": metadata, "stringData": data,
    }  # fmt: skip


def secret_name(project_uid: str) -> str:
    return f"copr-webhook-{project_uid}"


def is_secret(kept: Mapping[str, Any] | None, secret: str) -> bool:
    """Whether `secret` is the one whose hash a Secret keeps."""
    data = secret_data(kept) if kept is not None and kept.get("type") == SECRET_TYPE else {}
    return hmac.compare_digest(_hash(data.get("salt", ""), secret), data.get("sha256", "-"))


def signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether every signature that was sent is right."""
    right = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    sent = [headers[name].removeprefix("sha256=") for name in _SIGNATURES if name in headers]
    if not all(hmac.compare_digest(one.encode(errors="replace"), right.encode()) for one in sent):
        return False
    token = headers.get("x-gitlab-token")
    return token is None or hmac.compare_digest(token.encode(errors="replace"), secret.encode())


def delivery(headers: Mapping[str, str]) -> str | None:
    """The forge's own number of the event: what it sends again has the same."""
    found = next((headers[name] for name in _DELIVERIES if name in headers), None)
    return found[:100] if found else None


def parse(forge: str, headers: Mapping[str, str], payload: Mapping[str, Any]) -> Event | None:
    """None for an event that builds nothing. Raises CoprError 400 for what is no event of that forge."""
    parsers = {"github": _github, "gitlab": _gitlab, "bitbucket": _bitbucket}
    try:
        return parsers[forge](headers, payload)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        raise CoprError(400, f"Not an event of {forge}.") from None


def _github(headers: Mapping[str, str], payload: Mapping[str, Any]) -> Event | None:
    """Of GitHub, Gitea and Forgejo. A new tag comes as `create`; that it is pushed too is not built twice."""
    (kind, *_) = (headers[name] for name in ("x-github-event", "x-gitea-event", "x-forgejo-event") if name in headers)
    url, ref = str(payload["repository"]["clone_url"]), str(payload.get("ref", ""))
    if kind == "create" and payload.get("ref_type") == "tag":
        return Event(url, ref, True, ref)
    after = str(payload.get("after", ""))
    if kind != "push" or after in ("", _NOTHING) or ref.startswith("refs/tags/"):
        return None
    return Event(url, ref, False, after, _files(payload["commits"]))


def _gitlab(_headers: Mapping[str, str], payload: Mapping[str, Any]) -> Event | None:
    kind, url = payload["object_kind"], str(payload["project"]["git_http_url"])
    ref, after = str(payload.get("ref", "")), str(payload.get("after", ""))
    if kind not in ("push", "tag_push") or after in ("", _NOTHING):
        return None
    if kind == "tag_push":
        tag = ref.removeprefix("refs/tags/")
        return Event(url, tag, True, tag)
    return Event(url, ref, False, after, _files(payload["commits"]))


def _bitbucket(_headers: Mapping[str, str], payload: Mapping[str, Any]) -> Event | None:
    """Bitbucket doesn't say which files have changed: a push concerns all packages of the branch."""
    url, new = str(payload["repository"]["links"]["html"]["href"]), payload["push"]["changes"][0]["new"]
    if new is None:
        return None
    name = str(new["name"])
    if new["type"] == "tag":
        return Event(url, name, True, name)
    return Event(url, name, False, str(new["target"]["hash"]), frozenset({""}))


def _files(commits: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(
        str(file) for commit in commits for kind in ("added", "modified", "removed") for file in commit.get(kind) or ()
    )


# -- which packages ----------------------------------------------------------------------------------------------------


def concerned(packages: Iterable[Package], event: Event, name: str | None) -> list[tuple[Package, SourceSpec]]:
    """Packages to build, each with its source at what was pushed. `name`: the package in the webhook's URL."""
    found = []
    for package in packages:
        source = package.source
        if source is None or source.scm is None or package.spec is None or not package.spec.auto_rebuild:
            continue
        if _plain(source.scm.clone_url) == _plain(event.clone_url) and _belongs(package.name, source.scm, event, name):
            scm = source.scm.model_copy(update={"committish": event.committish})
            found.append((package, source.model_copy(update={"scm": scm})))
    return found


def _belongs(package: str, scm: ScmSpec, event: Event, name: str | None) -> bool:
    if event.tag:
        return package == name or tag_names(package, event.ref)
    if scm.committish and not event.ref.endswith(scm.committish):
        return False
    return any(_below(file, scm.subdirectory) for file in event.files)


def _below(file: str, subdirectory: str | None) -> bool:
    """Whether a changed file is in the package's directory; the file "" stands for any."""
    directory = (subdirectory or "").strip("/").removeprefix("./")
    return not file or directory in ("", ".") or file.startswith(f"{directory}/")


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
