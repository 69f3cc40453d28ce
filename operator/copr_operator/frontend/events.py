"""Events as code forges send them -> what was pushed (Copr's webhooks_general.py, pagure_events.py). Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from copr_operator.frontend.errors import CoprError

ANY_FILE = frozenset({""})
"""Of a push whose files the forge does not name."""
FORGES = ("github", "gitlab", "bitbucket", "pagure")
_EVENTS = ("x-github-event", "x-gitea-event", "x-forgejo-event", "x-gogs-event")


@dataclass(frozen=True)
class Event:
    """A push, a new tag, or a pull request."""

    clone_url: str
    ref: str
    """Name of the branch, whole or not, or of the tag. Of a pull request: the branch that it is for."""
    tag: bool
    committish: str
    """What is to be built: the tag, or the newest commit."""
    files: frozenset[str] = frozenset()
    """Those that the push added, changed or removed."""
    number: str | None = None
    """The forge's own of the event, where it is a part of it."""
    origin: str | None = None
    """URL of the repository that a pull request comes from."""
    origin_path: str = ""
    """The same below its server: `forks/USER/NAMESPACE/NAME`."""
    directory: str | None = None
    """Suffix of the project's directory for a pull request: `pr:REPOSITORY-N`."""


def parse(forge: str, headers: Mapping[str, str], payload: Mapping[str, Any]) -> Event | None:
    """None for an event that builds nothing. Raises CoprError 400 for what is no event of that forge."""
    parsers = {"github": _github, "gitlab": _gitlab, "bitbucket": _bitbucket, "pagure": _pagure}
    try:
        return parsers[forge](headers, payload)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        raise CoprError(400, f"Not an event of {forge}.") from None


def _github(headers: Mapping[str, str], payload: Mapping[str, Any]) -> Event | None:
    """Of GitHub, Gitea, Forgejo and Gogs. A new tag comes as `create`; that it is pushed too is not built twice."""
    (kind, *_) = (headers[name] for name in _EVENTS if name in headers)
    url, ref = str(payload["repository"]["clone_url"]), str(payload.get("ref", ""))
    if kind == "create" and payload.get("ref_type") == "tag":
        return Event(url, ref, True, ref)
    after = str(payload.get("after", ""))
    if kind != "push" or _is_nothing(after) or ref.startswith("refs/tags/"):
        return None
    return Event(url, ref, False, after, _files(payload["commits"]))


def _gitlab(_headers: Mapping[str, str], payload: Mapping[str, Any]) -> Event | None:
    kind, url = payload["object_kind"], str(payload["project"]["git_http_url"])
    ref, after = str(payload.get("ref", "")), str(payload.get("after", ""))
    if kind not in ("push", "tag_push") or _is_nothing(after):
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
    return Event(url, name, False, str(new["target"]["hash"]), ANY_FILE)


def _pagure(_headers: Mapping[str, str], payload: Mapping[str, Any]) -> Event | None:
    """The topic is that of the signed body: its header is not signed. Older servers don't name the changed files."""
    message = payload["msg"]
    topic, number = str(payload["topic"]), str(payload["msg_id"])
    server = str(message["pagure_instance"]).rstrip("/")
    if topic.endswith("git.receive"):
        files = message.get("changed_files")
        return Event(
            f"{server}/{message['repo']['fullname']}", str(message["branch"]), False, str(message["end_commit"]),
            frozenset(map(str, files)) if files else ANY_FILE, number,
        )  # fmt: skip
    if topic.endswith("git.tag.creation"):
        tag = str(message["tag"]).removeprefix("refs/tags/")
        return Event(f"{server}/{message['repo']['fullname']}", tag, True, tag, number=number)
    if re.search(r"pull-request\.(new|updated|rebased|comment\.added)$", topic):
        return _pull_request(message["pullrequest"], server, number, commented="comment" in topic)
    return None


def _pull_request(request: Mapping[str, Any], server: str, number: str, *, commented: bool) -> Event | None:
    """A comment builds an open one when it says so: [copr-build]. Which files changed is not said."""
    if commented:
        last = (request["comments"] or [{}])[-1]
        if request["status"] != "Open" or "[copr-build]" not in str(last.get("comment", "")):
            return None
    origin = request["repo_from"]
    path = str(origin["fullname"])
    word = re.sub(r"[^A-Za-z0-9]+", "-", str(origin["url_path"])).strip("-")
    return Event(
        f"{server}/{request['project']['fullname']}", str(request["branch"]), False, str(request["commit_stop"]),
        ANY_FILE, number, f"{server}/{path}", path, f"pr:{word}-{int(request['id'])}",
    )  # fmt: skip


def _is_nothing(commit: str) -> bool:
    """Of a branch or tag that was deleted."""
    return not commit.strip("0")


def _files(commits: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(
        str(file) for commit in commits for kind in ("added", "modified", "removed") for file in commit.get(kind) or ()
    )
