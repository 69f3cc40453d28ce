"""Tokens: what is kept can't be used, and who has which rights."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from copr_operator.api.project import ProjectSpec
from copr_operator.frontend import rights, tokens
from copr_operator.frontend.tokens import Account

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def stored(made: tokens.NewToken) -> dict[str, Any]:
    """The Secret as the API server gives it back."""
    data = {name: base64.b64encode(text.encode()).decode() for name, text in made.secret["stringData"].items()}
    return {"type": made.secret["type"], "data": data}


def test_a_token_shows_whose_it_is_and_its_secret_does_not_hold_it() -> None:
    made = tokens.make("alice", ("copr", "ops"), admin=False, now=NOW, days=180)
    assert made.token not in str(made.secret)
    assert made.secret["metadata"]["name"] == f"copr-token-{made.login}"
    account = tokens.account_of(stored(made), made.login, made.token, NOW)
    assert account == Account("alice", ("copr", "ops"), False, made.login)


@pytest.mark.parametrize("token", ["", "x", "ü", "\udcff"])
def test_another_token_shows_nothing(token: str) -> None:
    made = tokens.make("alice", (), admin=True, now=NOW, days=1)
    assert tokens.account_of(stored(made), made.login, token, NOW) is None


def test_an_expired_token_shows_nothing() -> None:
    made = tokens.make("alice", (), admin=False, now=NOW, days=2)
    assert tokens.account_of(stored(made), made.login, made.token, NOW + timedelta(days=1)) is not None
    assert tokens.account_of(stored(made), made.login, made.token, NOW + timedelta(days=2)) is None


def test_another_secret_of_that_name_shows_nothing() -> None:
    made = tokens.make("alice", (), admin=False, now=NOW, days=1)
    assert tokens.account_of({**stored(made), "type": "Opaque"}, made.login, made.token, NOW) is None
    assert tokens.account_of(None, made.login, made.token, NOW) is None
    assert tokens.account_of({"type": tokens.SECRET_TYPE}, made.login, "", NOW) is None


@pytest.mark.parametrize("name", ["", "@alice", "a b", "../x", "-x", "a" * 101])
def test_who_can_own_no_project_gets_no_token(name: str) -> None:
    with pytest.raises(ValueError, match=r"name"):
        tokens.make(name, (), admin=False, now=NOW, days=1)


@pytest.mark.parametrize("login", ["", "../x", "A" * 20, "a" * 19, "a" * 21, "a" * 20 + "\n"])
def test_what_is_no_login_is_never_looked_up(login: str) -> None:
    assert not tokens.is_login(login)


def test_the_configuration_file_allows_http_only_where_it_is_used() -> None:
    plain = tokens.config_file("alice", "l", "t", NOW, "http://localhost:8080")
    assert "encrypted = false" in plain
    assert "encrypted" not in tokens.config_file("alice", "l", "t", NOW, "https://copr.example")


PROJECT = ProjectSpec.model_validate(
    {
        "owner": "alice", "name": "demo", "chroots": [{"name": "debian-13-x86_64"}],
        "permissions": [
            {"user": "builder", "builder": "approved"}, {"user": "admin", "admin": "approved"},
            {"user": "asking", "builder": "request", "admin": "request"},
        ],
    }
)  # fmt: skip
GROUP = PROJECT.model_copy(update={"owner": "@copr"})


@pytest.mark.parametrize(
    ("account", "project", "builds", "edits"),
    [
        (Account("alice"), PROJECT, True, True),
        (Account("root", admin=True), PROJECT, True, True),
        (Account("builder"), PROJECT, True, False),
        (Account("admin"), PROJECT, True, True),
        (Account("asking"), PROJECT, False, False),
        (Account("bob"), PROJECT, False, False),
        (Account("bob", ("alice",)), PROJECT, False, False),
        (Account("alice"), GROUP, False, False),
        (Account("bob", ("copr",)), GROUP, True, True),
        (Account("copr"), GROUP, False, False),
        (Account("@copr"), GROUP, False, False),
    ],
)
def test_who_may_build_and_who_may_change(account: Account, project: ProjectSpec, builds: bool, edits: bool) -> None:
    assert rights.can_build(account, project) is builds
    assert rights.can_edit(account, project) is edits
