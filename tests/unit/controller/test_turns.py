"""Which build comes first when many are to be looked at."""

from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import BuildStatus
from copr_operator.controller.store import Key
from tests.support import builders
from tests.unit.controller.fakes import build
from tests.unit.controller.stores import Watched


@pytest.fixture
def store() -> Watched:
    return Watched()


def test_builds_take_turns_by_project_and_others_by_kind(store: Watched) -> None:
    store.see(build("one"))
    store.see(build("two", namespace="other"))
    store.see(build("three", project="another"))
    keys = [Key("build", "ns", "one"), Key("build", "other", "two"), Key("build", "ns", "three"),
            Key("build", "ns", "ended"), Key("project", "ns", "demo")]  # fmt: skip
    turns = [store.turn(key) for key in keys]
    assert len({turn.group for turn in turns}) == len(keys)
    assert not any(turn.last for turn in turns)


@pytest.mark.parametrize(
    ("status", "spec", "last"),
    [
        (BuildStatus(), {}, True),
        (builders.accepted(), {}, True),
        (builders.accepted(source_state="starting"), {}, False),
        (builders.imported(), {}, False),
        (builders.accepted(), {"cancel": True}, False),
        (builders.accepted(), {"background": False}, False),
    ],
)
def test_a_background_build_that_has_begun_nothing_comes_last(
    store: Watched, status: BuildStatus, spec: dict[str, Any], last: bool
) -> None:
    view = builders.build(status, **{"background": True, **spec})
    store.see(view)
    assert store.turn(Key("build", view.namespace, view.name)).last is last
    store.see(replace(view, deleting=True, resource_version="2"))
    assert not store.turn(Key("build", view.namespace, view.name)).last
