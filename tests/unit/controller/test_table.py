"""What the store makes of events that come late, twice or out of order."""

from dataclasses import replace

import pytest

from copr_operator.controller import table as table_module
from copr_operator.controller.store import Key, Store
from copr_operator.controller.table import Table
from copr_operator.core.names import SOURCE_STEP
from copr_operator.core.observed import BuildView
from tests.support.builders import accepted, build, job

SUCCEEDED = accepted(state="succeeded", source_state="succeeded")


def seen(version: int, uid: str = "a") -> BuildView:
    return replace(build(accepted()), resource_version=str(version), uid=uid)


def held(table: Table[BuildView]) -> tuple[str, str] | None:
    view = table.get("ns", "hello")
    return (view.uid, view.resource_version) if view is not None else None


class TestTable:
    @pytest.mark.parametrize(
        ("versions", "news", "kept"),
        [
            ([5, 6], [True, True], ("a", "6")),
            ([5, 5], [True, False], ("a", "5")),
            ([6, 5], [True, False], ("a", "6")),
        ],
    )
    def test_an_older_version_is_no_news(self, versions: list[int], news: list[bool], kept: tuple[str, str]) -> None:
        table: Table[BuildView] = Table()
        assert [table.put(seen(version)) for version in versions] == news
        assert held(table) == kept

    def test_an_earlier_object_of_the_same_name_does_not_take_the_place_of_a_later_one(self) -> None:
        table: Table[BuildView] = Table()
        table.put(seen(9, "second"))
        assert not table.put(seen(7, "first"))
        assert table.drop("first", "8") is None
        assert held(table) == ("second", "9")

    @pytest.mark.parametrize(("version", "kept"), [(7, None), (8, None), (9, ("a", "9"))])
    def test_what_has_left_comes_back_only_when_it_has_changed_since(
        self, version: int, kept: tuple[str, str] | None
    ) -> None:
        table: Table[BuildView] = Table()
        table.put(seen(7))
        table.drop("a", "8")
        table.put(seen(version))
        assert held(table) == kept

    def test_an_end_is_remembered_that_comes_before_the_object_was_ever_seen(self) -> None:
        table: Table[BuildView] = Table()
        assert table.drop("a", "8") is None
        assert not table.put(seen(7))

    @pytest.mark.parametrize(("version", "kept"), [(7, None), (8, ("a", "8")), (9, ("a", "9"))])
    def test_what_a_request_shows_is_there_unless_its_end_was_told_since(
        self, version: int, kept: tuple[str, str] | None
    ) -> None:
        table: Table[BuildView] = Table()
        table.put(seen(8))
        table.drop("a", "8")  # not needed any more, but there
        table.read(seen(version))
        assert held(table) == kept

    def test_no_more_than_so_many_ends_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table_module, "REMEMBERED", 2)
        table: Table[BuildView] = Table()
        for uid in ("a", "b", "c"):
            table.drop(uid, "8")
        assert [table.put(seen(version, uid)) for uid, version in (("c", 8), ("b", 8), ("a", 8))] == [
            False, False, True,
        ]  # fmt: skip


class TestJobs:
    def test_a_job_is_forgotten_when_another_has_taken_its_name_before_its_end_was_seen(self) -> None:
        woken: list[Key] = []
        store = Store(woken.append, "copr-operator")
        ours = job(SOURCE_STEP, resource_version="7")
        store.job_event(None, ours)
        other = replace(ours, uid="other", owner=("", ""), resource_version="9")
        woken.clear()
        store.job_event(None, other)
        store.job_event("DELETED", replace(ours, resource_version="8"))
        assert store.jobs_of(build(accepted())) == {}
        assert woken == [Key("build", "ns", "hello")]
        assert store.jobs.get("ns", ours.name) == other


class TestBuilds:
    def test_a_build_that_has_ended_is_not_taken_back_from_a_page_that_was_read_before(self) -> None:
        woken: list[Key] = []
        store = Store(woken.append, "copr-operator")
        store.assume_build(seen(7))
        store.assume_build(replace(seen(8), status=SUCCEEDED))
        obj = {"metadata": {"name": "hello", "namespace": "ns", "uid": "a", "resourceVersion": "7"}}
        store.build_event(None, obj, seen(7))
        assert len(store.builds) == 0
        assert woken == []

    @pytest.mark.parametrize("deleting", [False, True])
    def test_a_build_that_has_ended_is_not_held(self, deleting: bool) -> None:
        store = Store(lambda _: None, "copr-operator")
        store.assume_build(seen(8))
        store.assume_build(replace(seen(9), status=SUCCEEDED, deleting=deleting))
        assert held(store.builds) is None
