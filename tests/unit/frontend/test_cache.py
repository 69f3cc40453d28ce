"""The cache: newer wins, what is being deleted is gone, nothing comes back, waiting ends when it should."""

import asyncio
import json
from typing import Any

import pytest

from copr_operator.frontend.cache import Cache
from tests.unit.frontend.test_present import RESULTS, build

TIME = "2026-01-01T12:00:00Z"


@pytest.fixture
def cache() -> Cache:
    return Cache(RESULTS)


def version(obj: dict[str, Any], number: int, **meta: Any) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(number), **meta}}


def project(name: str, uid: str, namespace: str = "ns", *, held: bool = False, created: str = TIME) -> dict[str, Any]:
    condition = {"type": "NameHeld", "status": "True", "lastTransitionTime": TIME, "reason": "X"}
    return {
        "metadata": {
            "name": uid,
            "namespace": namespace,
            "uid": uid,
            "resourceVersion": "1",
            "creationTimestamp": created,
        },
        "spec": {"owner": "alice", "name": name, "chroots": [{"name": "debian-13-x86_64"}]},
        "status": {"conditions": [condition] if held else []},
    }


def test_an_older_event_changes_nothing(cache: Cache) -> None:
    cache.build_event("MODIFIED", version(build(status={"state": "running"}), 7))
    cache.build_event("MODIFIED", version(build(), 6))
    assert cache.builds[42].state == "running"


def test_a_build_without_an_id_is_not_there(cache: Cache) -> None:
    cache.build_event("ADDED", {**build(), "status": {}})
    assert cache.builds == {}


@pytest.mark.parametrize("kind", ["DELETED", "MODIFIED"])
def test_what_is_being_deleted_is_gone_and_stays_so(cache: Cache, kind: str) -> None:
    cache.build_event("ADDED", build())
    cache.build_event(kind, version(build(), 8, deletionTimestamp=TIME))
    assert cache.builds == {}
    cache.build_event("MODIFIED", version(build(), 9))
    assert cache.builds == {}


def test_a_rerun_has_the_source_of_the_build_it_reruns_as_long_as_that_is_there(cache: Cache) -> None:
    source = {"type": "rubygems", "rubygems": {"name": "rake"}}
    cache.build_event("ADDED", build(5, source=source))
    cache.build_event("ADDED", build(7, source=None, rerunOf="b5"))
    cache.build_event("ADDED", build(9, source=None, rerunOf="b7"))
    for number in (5, 7, 9):
        found = cache.source_of(cache.builds[number])
        assert found is not None
        assert found.type == "rubygems"
    cache.build_event("DELETED", version(build(5, source=source), 8))
    assert cache.source_of(cache.builds[9]) is None
    later = build(11, source=source)
    cache.build_event("ADDED", {**later, "metadata": {**later["metadata"], "name": "b5"}})
    assert cache.source_of(cache.builds[9]) is None, "one that took its name later is another build"


def test_builds_of_a_project_are_in_the_order_of_their_ids(cache: Cache) -> None:
    cache.project_event("ADDED", project("demo", "p"))
    for number in (5, 3, 9, 4):
        cache.build_event("ADDED", build(number))
    cache.build_event("ADDED", build(7, project="other"))
    cache.build_event("DELETED", build(4))
    held = cache.project("alice", "demo")
    assert held is not None
    assert [record.id for record in cache.of_project(held)] == [3, 5, 9]
    pages = [[record.id for record in cache.newest(held, offset, 2)] for offset in range(5)]
    assert pages == [[9, 5], [5, 3], [3], [], []]
    assert [record.id for record in cache.newest(held, 1, None)] == [5, 3]


def test_a_build_of_another_namespace_is_not_the_projects(cache: Cache) -> None:
    """Whoever may create CoprBuilds anywhere can't put one into somebody's list."""
    cache.project_event("ADDED", project("demo", "p"))
    foreign = version(build(8), 1, namespace="elsewhere")
    cache.build_event("ADDED", foreign)
    held = cache.project("alice", "demo")
    assert held is not None
    assert cache.of_project(held) == []
    assert cache.project_of(cache.builds[8]) is None


def test_the_project_that_holds_the_name_is_shown(cache: Cache) -> None:
    cache.project_event("ADDED", project("demo", "old", created="2025-01-01T00:00:00Z"))
    cache.project_event("ADDED", project("demo", "new", held=True))
    assert [view.uid for view in cache.projects()] == ["new"]
    cache.project_event("DELETED", project("demo", "new"))
    assert [view.uid for view in cache.projects()] == ["old"]


def leaving(obj: dict[str, Any], number: int = 2) -> dict[str, Any]:
    return version(obj, number, deletionTimestamp=TIME)


def private(obj: dict[str, Any], *members: str) -> dict[str, Any]:
    permissions = [{"user": user, "builder": "approved"} for user in members]
    return {**obj, "spec": {**obj["spec"], "private": True, "permissions": permissions}}


def test_a_holder_that_is_being_deleted_keeps_its_name_from_rivals_until_it_is_gone(cache: Cache) -> None:
    """The backend shows the private results of a name to whom the frontend shows the project."""
    holder, rival = private(project("demo", "holder", held=True)), project("demo", "rival", "elsewhere")
    cache.project_event("ADDED", rival)
    cache.project_event("ADDED", holder)
    cache.project_event("MODIFIED", leaving(holder))
    assert (cache.project("alice", "demo"), cache.projects()) == (None, [])
    assert cache.uids("coprprojects", "ns") == {"holder"}, "a LIST without it ends it"
    cache.project_event("MODIFIED", version(holder, 3))
    assert cache.project("alice", "demo") is None, "a late event brings it back"
    cache.project_event("DELETED", holder)
    assert [view.uid for view in cache.projects()] == ["rival"]


def test_a_deletion_that_was_accepted_here_counts_before_the_watch_tells(cache: Cache) -> None:
    cache.project_event("ADDED", project("demo", "holder", held=True))
    cache.project_event("ADDED", project("demo", "rival", "elsewhere"))
    cache.project_leaves("holder")
    assert cache.project("alice", "demo") is None
    cache.project_event("DELETED", {"metadata": {"uid": "holder"}})
    cache.project_leaves("holder")
    assert [view.uid for view in cache.projects()] == ["rival"]


def test_a_project_on_its_way_out_that_held_no_name_keeps_nobody_out(cache: Cache) -> None:
    cache.project_event("ADDED", leaving(project("demo", "loser", "elsewhere")))
    cache.project_event("ADDED", project("demo", "new"))
    assert [view.uid for view in cache.projects()] == ["new"]


def test_who_has_got_the_name_is_shown_also_when_the_end_of_the_former_holder_is_heard_later(cache: Cache) -> None:
    cache.project_event("ADDED", leaving(private(project("demo", "former", held=True))))
    cache.project_event("ADDED", project("demo", "next", "elsewhere", held=True))
    assert [view.uid for view in cache.projects()] == ["next"]


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (project("demo", "old", held=True), project("demo", "new"), True),
        (private(project("demo", "old", held=True)), project("demo", "new"), False),
        (private(project("demo", "old", held=True)), private(project("demo", "new")), True),
        (private(project("demo", "old", held=True), "bob", "eve"), private(project("demo", "new"), "bob"), True),
        (private(project("demo", "old", held=True)), private(project("demo", "new"), "bob"), False),
        (private(project("demo", "old", held=True)), private(project("demo", "new", "elsewhere")), False),
    ],
    ids=["public", "opened", "private", "fewer members", "more members", "elsewhere"],
)
def test_a_project_that_is_made_again_is_shown_at_once_where_that_opens_nothing(
    cache: Cache, old: dict[str, Any], new: dict[str, Any], shown: bool
) -> None:
    cache.project_event("ADDED", leaving(old))
    cache.project_event("ADDED", new)
    assert [view.uid for view in cache.projects()] == (["new"] if shown else [])


def test_a_build_of_a_private_project_on_its_way_out_is_nobody_s(cache: Cache) -> None:
    cache.project_event("ADDED", leaving(private(project("demo", "old", held=True))))
    cache.project_event("ADDED", project("demo", "new"))
    cache.build_event("ADDED", build(8))
    assert cache.project_of(cache.builds[8]) is None


def test_a_second_build_with_the_same_id_does_not_take_its_place(cache: Cache) -> None:
    cache.build_event("ADDED", build(42))
    cache.build_event("ADDED", version(build(42), 9, uid="another"))
    assert cache.builds[42].uid == "uid-42"


def test_a_spec_that_cannot_be_read_costs_that_object_only(cache: Cache) -> None:
    cache.build_event("ADDED", build(1, cancel="nonsense"))
    cache.build_event("ADDED", build(2))
    assert list(cache.builds) == [2]


def test_a_build_whose_source_only_a_newer_version_knows_is_there_all_the_same(cache: Cache) -> None:
    cache.build_event("ADDED", build(1, source={"type": "hologram"}))
    assert json.loads(cache.builds[1].json)["id"] == 1
    assert cache.builds[1].view.unread


def test_a_build_in_a_state_that_only_a_newer_version_knows_is_pending_here(cache: Cache) -> None:
    cache.build_event("ADDED", build(1, status={"state": "dreaming"}))
    assert (json.loads(cache.builds[1].json)["state"], cache.builds[1].finished) == ("pending", False)


def test_what_a_list_does_not_have_is_found_by_namespace(cache: Cache) -> None:
    cache.build_event("ADDED", build(1))
    cache.build_event("ADDED", version(build(2), 1, namespace="elsewhere"))
    cache.project_event("ADDED", project("demo", "p"))
    assert cache.uids("coprbuilds", None) == {"uid-1", "uid-2"}
    assert cache.uids("coprbuilds", "ns") == {"uid-1"}
    assert cache.uids("coprprojects", "elsewhere") == set()


def test_chroots_come_go_and_change_their_names(cache: Cache) -> None:
    def chroot(uid: str, name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": uid, "uid": uid}, "spec": {"name": name, "image": "x", "arch": "x86_64", **spec}}

    cache.chroot_event("ADDED", chroot("a", "debian-12-x86_64"))
    cache.chroot_event("ADDED", chroot("b", "debian-13-x86_64", enabled=False))
    assert cache.active_chroots() == ["debian-12-x86_64"]
    cache.chroot_event("MODIFIED", chroot("b", "debian-14-x86_64"))
    assert cache.active_chroots() == ["debian-12-x86_64", "debian-14-x86_64"]
    cache.chroot_event("DELETED", chroot("a", "debian-12-x86_64"))
    assert cache.active_chroots() == ["debian-14-x86_64"]


async def test_waiting_ends_when_the_build_is_as_wanted(cache: Cache) -> None:
    waits = [asyncio.create_task(cache.wait("uid-42", lambda record: record.finished, 5)) for _ in range(2)]
    await asyncio.sleep(0)
    cache.build_event("ADDED", build())
    await asyncio.sleep(0)
    cache.build_event("MODIFIED", version(build(status={"state": "succeeded"}), 9))
    found = await asyncio.gather(*waits)
    assert [record.state for record in found if record is not None] == ["succeeded", "succeeded"]


async def test_waiting_ends_when_the_build_is_deleted_or_the_time_is_up(cache: Cache) -> None:
    gone = asyncio.create_task(cache.wait("uid-42", lambda _: True, 5))
    await asyncio.sleep(0)
    cache.build_event("DELETED", build())
    assert await gone is None
    assert await cache.wait("uid-1", lambda _: True, 0.01) is None
