"""Events of code forges: who may send them, what they mean, which packages they build."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.package import PackageSpec
from copr_operator.core.config import DistGit, SourceSettings
from copr_operator.frontend import events, webhooks
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.events import Event
from copr_operator.frontend.packages import Package
from copr_operator.frontend.records import PackageRecord, build_record
from tests.unit.frontend.test_auth import stored
from tests.unit.frontend.test_present import RESULTS, build

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


def test_pagure_signs_with_a_key_of_its_own() -> None:
    _, manifest = webhooks.new_secret("uid", "pagures-key")
    key = webhooks.pagure_key({**_stored(manifest), "type": webhooks.SECRET_TYPE})
    body = b'{"topic": "git.receive"}'
    right = hmac.new(b"pagures-key", body, hashlib.sha256).hexdigest()
    assert webhooks.signed_by_pagure({"x-pagure-signature-256": right}, body, key)
    for headers in ({}, {"x-pagure-signature-256": "0" * 64}, {"x-pagure-signature": right}):
        assert not webhooks.signed_by_pagure(headers, body, key)
        assert webhooks.signed_by_pagure(headers, body, None), "a key that was never told can't be asked for"
    assert webhooks.pagure_key(_stored(webhooks.new_secret("uid")[1])) is None
    assert webhooks.pagure_key(None) is None


@pytest.mark.parametrize(
    ("headers", "number"),
    [
        ({}, None),
        ({"x-github-delivery": "1"}, "1"),
        ({"x-gitea-delivery": "2", "x-github-delivery": "2"}, "2"),
        ({"x-gitlab-event-uuid": "3", "idempotency-key": "4"}, "4"),
        ({"x-forgejo-delivery": "x" * 300}, "x" * 100),
        ({"x-github-delivery": ""}, None),
    ],
)
def test_an_event_has_the_number_that_its_forge_gives_it(headers: dict[str, str], number: str | None) -> None:
    assert webhooks.delivery(headers) == number
    if not headers:
        assert webhooks.delivery(headers, Event(URL, "main", False, COMMIT, number="2026-1")) == "2026-1"


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


PAGURE, FORK = "https://pagure.example", "forks/bob/rpms/hello"


def pagure(topic: str = "git.receive", **message: Any) -> dict[str, Any]:
    """As pagure's tasks_services.py sends it."""
    body = {"pagure_instance": f"{PAGURE}/", "project_fullname": "rpms/hello", **message}
    return {"topic": topic, "msg": body, "msg_id": "2026-1", "timestamp": 1, "i": 1}


def pagure_push(**message: Any) -> dict[str, Any]:
    repo = {"fullname": "rpms/hello", "url_path": "rpms/hello"}
    return pagure(repo=repo, branch="main", start_commit=COMMIT, end_commit=COMMIT, **message)


def pull_request(topic: str = "new", *, status: str = "Open", comments: Any = ()) -> dict[str, Any]:
    request = {
        "id": 7, "status": status, "branch": "main", "branch_from": "x", "commit_stop": COMMIT,
        "project": {"fullname": "rpms/hello", "url_path": "rpms/hello"}, "comments": list(comments),
        "repo_from": {"fullname": FORK, "url_path": "fork/bob/rpms/hello"}, "user": {"name": "bob"},
    }  # fmt: skip
    return pagure(f"pull-request.{topic}", pullrequest=request)


PULLED = Event(
    f"{PAGURE}/rpms/hello", "main", False, COMMIT, frozenset({""}), "2026-1", f"{PAGURE}/{FORK}", FORK,
    "pr:fork-bob-rpms-hello-7",
)  # fmt: skip
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
        ("pagure", "", pagure_push(),
         Event(f"{PAGURE}/rpms/hello", "main", False, COMMIT, frozenset({""}), "2026-1")),
        ("pagure", "", pagure_push(changed_files={"a": "M", "b/c": "A", "d": "D"}),
         Event(f"{PAGURE}/rpms/hello", "main", False, COMMIT, FILES, "2026-1")),
        ("pagure", "", pagure("git.tag.creation", repo={"fullname": "rpms/hello"}, tag="v1", rev=COMMIT),
         Event(f"{PAGURE}/rpms/hello", "v1", True, "v1", number="2026-1")),
        ("pagure", "", pull_request(), PULLED),
        ("pagure", "", pull_request("updated"), PULLED),
        ("pagure", "", pull_request("rebased"), PULLED),
        ("pagure", "", pull_request("closed"), None),
        ("pagure", "", pull_request("comment.added", comments=[{"comment": "[copr-build] please"}]), PULLED),
        ("pagure", "", pull_request("comment.added", comments=[{"comment": "[copr-build]"}, {"comment": "no"}]), None),
        ("pagure", "", pull_request("comment.added", status="Merged", comments=[{"comment": "[copr-build]"}]), None),
        ("pagure", "", pull_request("comment.added"), None),
        ("pagure", "", pagure("issue.new"), None),
    ],
)  # fmt: skip
def test_events_are_read(forge: str, kind: str, payload: dict[str, Any], event: Event | None) -> None:
    assert events.parse(forge, {"x-github-event": kind}, payload) == event


@pytest.mark.parametrize("header", ["x-gitea-event", "x-forgejo-event", "x-gogs-event"])
def test_gitea_and_forgejo_speak_as_github(header: str) -> None:
    found = events.parse("github", {header: "push"}, github(commits=COMMITS))
    assert found == Event(f"{URL}.git", "refs/heads/main", False, COMMIT, FILES)


@pytest.mark.parametrize("forge", events.FORGES)
@pytest.mark.parametrize("payload", [{}, {"repository": None}, {"repository": {"clone_url": "x"}, "push": []}])
def test_what_is_no_event_is_refused(forge: str, payload: dict[str, Any]) -> None:
    with pytest.raises(CoprError, match="Not an event"):
        events.parse(forge, {}, payload)


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
        (package(subdirectory="/x/../rpm"), PUSH, None, True),
        (package(subdirectory="."), PUSH, None, True),
        (package(), Event(URL, "refs/heads/main", False, COMMIT), None, False),
        (package(subdirectory="rpm"), Event(URL, "main", False, COMMIT, frozenset({""})), None, True),
        (package(), Event(URL, "hello-1.0", True, "hello-1.0"), None, True),
        (package(), Event(URL, "v1", True, "v1"), None, False),
        (package(), Event(URL, "v1", True, "v1"), "hello", True),
        (Package("hello"), PUSH, None, False),
    ],
)
def test_which_packages_an_event_builds(one: Package, event: Event, name: str | None, built: bool) -> None:
    found = webhooks.concerned([one], event, name, SOURCES)
    assert bool(found) is built
    for rebuild in found:
        assert rebuild.source.scm is not None
        assert (rebuild.source.scm.committish, rebuild.directory) == (event.committish, None)


def test_a_package_whose_url_nobody_can_read_keeps_no_other_from_being_built() -> None:
    one, other = package("one", cloneURL="https://[::1/x.git"), package("other")
    assert [rebuild.package for rebuild in webhooks.concerned([one, other], PUSH, None, SOURCES)] == [other]


SOURCES = SourceSettings(
    dist_gits=(DistGit("house", f"{PAGURE}/{{namespace}}/{{package}}.git", "https://lookaside.example/"),)
)


def test_a_pull_request_is_built_from_where_it_comes_in_a_directory_of_its_own_without_the_credentials() -> None:
    one = package(cloneURL=f"{PAGURE}/rpms/hello.git", committish="main", credentialsSecret="key", subdirectory="rpm")
    (found,) = webhooks.concerned([one], PULLED, None, SOURCES)
    assert found.directory == "pr:fork-bob-rpms-hello-7"
    assert found.source.scm is not None
    kept = found.source.scm.model_dump(by_alias=True, exclude_defaults=True)
    assert kept == {"cloneURL": f"{PAGURE}/{FORK}", "committish": COMMIT, "subdirectory": "rpm"}


@pytest.mark.parametrize(("event", "namespace"), [(PULLED, "forks/bob/rpms"), (replace(PULLED, origin=None), None)])
def test_a_package_of_a_dist_git_follows_it(event: Event, namespace: str | None) -> None:
    source = {"type": "distgit", "distgit": {"package": "hello", "instance": "house"}}
    spec = {"owner": "alice", "project": "demo", "name": "hello", "source": source, "autoRebuild": True}
    one = Package("hello", PackageRecord("ns", "hello", "hello", "1", PackageSpec.model_validate(spec)))
    (found,) = webhooks.concerned([one], event, None, SOURCES)
    assert found.source.distgit is not None
    assert (found.source.distgit.committish, found.source.distgit.namespace) == (COMMIT, namespace)


def test_a_package_without_a_repository_is_of_no_event() -> None:
    source = {"type": "rubygems", "rubygems": {"name": "rails"}}
    spec = {"owner": "alice", "project": "demo", "name": "rails", "source": source, "autoRebuild": True}
    one = Package("rails", PackageRecord("ns", "rails", "rails", "1", PackageSpec.model_validate(spec)))
    assert webhooks.concerned([one], replace(PUSH, clone_url=""), None, SOURCES) == []


def test_what_called_one_build_is_not_the_packages() -> None:
    """Of a package that only its builds tell of."""
    called = {"script": "#!/bin/sh", "hookPayload": {"ref": "r4nd/hook_payload"}}
    record = build_record(build(1, source={"type": "custom", "custom": called}), RESULTS)
    assert record is not None
    source = Package("hello", builds=[record]).source
    assert source is not None
    assert source.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)["custom"] == {
        "script": "#!/bin/sh"
    }
