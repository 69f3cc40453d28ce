"""Events of code forges: who may send them, what they mean, which packages they build."""

import hashlib
import hmac
from typing import Any

import pytest

from copr_operator.api.package import PackageSpec
from copr_operator.frontend import webhooks
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.packages import Package
from copr_operator.frontend.records import PackageRecord
from copr_operator.frontend.webhooks import Event
from tests.unit.frontend.test_auth import stored

URL = "https://git.example/alice/hello"
COMMIT = "a" * 40


def test_only_a_hash_of_the_secret_is_kept() -> None:
    secret, manifest = webhooks.new_secret("uid")
    assert secret not in str(manifest)
    kept = {**_stored(manifest), "type": webhooks.SECRET_TYPE}
    assert webhooks.is_secret(kept, secret)
    assert not webhooks.is_secret(kept, "other")
    assert not webhooks.is_secret({**kept, "type": "Opaque"}, secret)
    assert not webhooks.is_secret(None, secret)


def _stored(manifest: dict[str, Any]) -> dict[str, Any]:
    class Made:
        secret = manifest

    return stored(Made)  # type: ignore[arg-type]


def test_a_signature_that_is_sent_must_be_right() -> None:
    body = b'{"x": 1}'
    right = hmac.new(b"s", body, hashlib.sha256).hexdigest()
    assert webhooks.signed({}, body, "s")
    assert webhooks.signed({"x-hub-signature-256": f"sha256={right}", "x-gitea-signature": right}, body, "s")
    assert webhooks.signed({"x-gitlab-token": "s"}, body, "s")
    for headers in ({"x-hub-signature-256": f"sha256={right}"}, {"x-forgejo-signature": right}):
        assert not webhooks.signed(headers, body + b" ", "s")
        assert not webhooks.signed(headers, body, "t")
    assert not webhooks.signed({"x-gitlab-token": "t"}, body, "s")
    assert not webhooks.signed({"x-hub-signature-256": "ü"}, body, "s")


def github(**payload: Any) -> dict[str, Any]:
    return {"repository": {"clone_url": f"{URL}.git"}, "ref": "refs/heads/main", "after": COMMIT, **payload}


def gitlab(**payload: Any) -> dict[str, Any]:
    return {
        "object_kind": "push",
        "project": {"git_http_url": URL},
        "ref": "refs/heads/main",
        "after": COMMIT,
        **payload,
    }


def bitbucket(new: Any) -> dict[str, Any]:
    return {"repository": {"links": {"html": {"href": URL}}}, "push": {"changes": [{"new": new}]}}


COMMITS = [{"added": ["a"], "modified": ["b/c"], "removed": []}, {"added": None, "modified": ["d"]}]
FILES = frozenset({"a", "b/c", "d"})


@pytest.mark.parametrize(
    ("forge", "kind", "payload", "event"),
    [
        ("github", "push", github(commits=COMMITS), Event(f"{URL}.git", "refs/heads/main", False, COMMIT, FILES)),
        ("github", "create", github(ref="v1-1", ref_type="tag"), Event(f"{URL}.git", "v1-1", True, "v1-1")),
        ("github", "create", github(ref_type="branch", after=""), None),
        ("github", "push", github(ref="refs/tags/v1", commits=[]), None),
        ("github", "push", github(after="0" * 40, commits=[]), None),
        ("github", "issues", github(), None),
        ("gitlab", "", gitlab(commits=COMMITS), Event(URL, "refs/heads/main", False, COMMIT, FILES)),
        ("gitlab", "", gitlab(object_kind="tag_push", ref="refs/tags/v1"), Event(URL, "v1", True, "v1")),
        ("gitlab", "", gitlab(object_kind="issue"), None),
        ("bitbucket", "", bitbucket({"type": "branch", "name": "main", "target": {"hash": COMMIT}}),
         Event(URL, "main", False, COMMIT, frozenset({""}))),
        ("bitbucket", "", bitbucket({"type": "tag", "name": "v1"}), Event(URL, "v1", True, "v1")),
        ("bitbucket", "", bitbucket(None), None),
    ],
)  # fmt: skip
def test_events_are_read(forge: str, kind: str, payload: dict[str, Any], event: Event | None) -> None:
    assert webhooks.parse(forge, {"x-github-event": kind}, payload) == event


@pytest.mark.parametrize("header", ["x-gitea-event", "x-forgejo-event"])
def test_gitea_and_forgejo_speak_as_github(header: str) -> None:
    found = webhooks.parse("github", {header: "push"}, github(commits=COMMITS))
    assert found == Event(f"{URL}.git", "refs/heads/main", False, COMMIT, FILES)


@pytest.mark.parametrize("forge", ["github", "gitlab", "bitbucket"])
@pytest.mark.parametrize("payload", [{}, {"repository": None}, {"repository": {"clone_url": "x"}, "push": []}])
def test_what_is_no_event_is_refused(forge: str, payload: dict[str, Any]) -> None:
    with pytest.raises(CoprError, match="Not an event"):
        webhooks.parse(forge, {}, payload)


@pytest.mark.parametrize(
    ("package", "tag", "named"),
    [
        ("hello", "hello-2.8", True),
        ("hello", "hello-2.8-1", True),
        ("hello", "hello_2.8", True),
        ("hello", "hello-2.8_rc", True),
        ("copr-cli", "copr-cli-1.2-1", True),
        ("copr_cli", "copr-cli-1", True),
        ("hello", "v2.8", False),
        ("hello", "hello-world", False),
        ("hello", "hello-world-2.8", False),
        ("hello", "hello", False),
        ("hello", "", False),
    ],
)
def test_tags_name_their_package(package: str, tag: str, named: bool) -> None:
    assert webhooks.tag_names(package, tag) is named


def package(name: str = "hello", *, rebuild: bool = True, **scm: Any) -> Package:
    source = {"type": "scm", "scm": {"cloneURL": f"{URL}.git", **scm}}
    spec = {"owner": "alice", "project": "demo", "name": name, "source": source, "autoRebuild": rebuild}
    return Package(name, PackageRecord("ns", name, name, "1", PackageSpec.model_validate(spec)))


PUSH = Event(f"{URL}/", "refs/heads/main", False, COMMIT, frozenset({"rpm/hello.spec"}))


@pytest.mark.parametrize(
    ("one", "event", "name", "built"),
    [
        (package(), PUSH, None, True),
        (package(rebuild=False), PUSH, None, False),
        (package(cloneURL="https://git.example/alice/other"), PUSH, None, False),
        (package(committish="main"), PUSH, None, True),
        (package(committish="f43"), PUSH, None, False),
        (package(subdirectory="rpm"), PUSH, None, True),
        (package(subdirectory="./rpm/"), PUSH, None, True),
        (package(subdirectory="rp"), PUSH, None, False),
        (package(), Event(URL, "refs/heads/main", False, COMMIT), None, False),
        (package(subdirectory="rpm"), Event(URL, "main", False, COMMIT, frozenset({""})), None, True),
        (package(), Event(URL, "hello-1.0", True, "hello-1.0"), None, True),
        (package(), Event(URL, "v1", True, "v1"), None, False),
        (package(), Event(URL, "v1", True, "v1"), "hello", True),
        (Package("hello"), PUSH, None, False),
    ],
)
def test_which_packages_an_event_builds(one: Package, event: Event, name: str | None, built: bool) -> None:
    found = webhooks.concerned([one], event, name)
    assert bool(found) is built
    for _, source in found:
        assert source.scm is not None
        assert source.scm.committish == event.committish
