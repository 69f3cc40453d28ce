"""What the controller knows, and whom an event wakes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import BatchStatus, BuildStatus
from copr_operator.controller.store import Key, Store
from copr_operator.controller.table import Table
from copr_operator.core.observed import BuildView, JobView, PodView
from tests.support import builders
from tests.support.builders import D12, D13, T0, at
from tests.unit.controller.fakes import build, project
from tests.unit.controller.stores import Watched, chroot, in_chroots


def linked(view: BuildView, **batch: str) -> BuildView:
    """With what was found of its links."""
    return replace(view, status=BuildStatus(state="pending", batch=BatchStatus(**batch)))


@pytest.fixture
def store() -> Watched:
    return Watched()


def job(of: BuildView, step: str = D12, version: int = 1, **changes: Any) -> JobView:
    view = builders.job(step, owner=(of.name, of.uid), namespace=of.namespace, resource_version=str(version))
    return replace(view, **changes)


def pod(of: JobView, name: str = "pod", version: int = 1, **changes: Any) -> PodView:
    view = PodView(name, f"uid-{name}", of.namespace, of.uid, T0, resource_version=str(version))
    return replace(view, **changes)


class TestVersions:
    def test_a_newer_version_replaces_an_older_one(self, store: Watched) -> None:
        store.see(build(version=9))
        store.see(build(version=10))
        held = store.builds.get("ns", "hello")
        assert held is not None
        assert held.resource_version == "10"
        assert store.names() == ["hello", "hello"]

    @pytest.mark.parametrize("version", [9, 10])
    def test_an_older_or_repeated_event_changes_nothing_and_wakes_nobody(self, store: Watched, version: int) -> None:
        store.see(build(version=10, state="running"))
        store.names()
        store.see(build(version=version, state="pending"))
        held = store.builds.get("ns", "hello")
        assert held is not None
        assert held.status.state == "running"
        assert store.names() == []

    def test_what_was_assumed_is_not_undone_by_an_event_from_before(self, store: Watched) -> None:
        store.see(build(version=5))
        store.assume_build(build(version=7, state="running"))
        store.see(build(version=6))
        held = store.builds.get("ns", "hello")
        assert held is not None
        assert held.resource_version == "7"

    def test_an_object_of_the_same_name_made_anew_replaces_the_old_one(self, store: Watched) -> None:
        store.see(build(version=5, uid="old"))
        store.see(build(version=8, uid="new"))
        assert store.builds.uids() == {"new"}

    def test_a_late_event_of_the_old_object_does_not_replace_the_new_one(self, store: Watched) -> None:
        store.see(build(version=8, uid="new"))
        store.see(build(version=5, uid="old"))
        assert store.builds.uids() == {"new"}

    def test_the_end_of_the_old_object_does_not_end_the_new_one(self, store: Watched) -> None:
        store.see(build(version=8, uid="new"))
        store.names()
        store.see(build(version=9, uid="old"), "DELETED")
        assert store.builds.uids() == {"new"}
        assert store.names() == []

    def test_versions_that_are_no_numbers_count_as_news(self, store: Watched) -> None:
        for version in ("x9", "x10", "x1"):
            store.see(replace(build(), resource_version=version))
        held = store.builds.get("ns", "hello")
        assert held is not None
        assert held.resource_version == "x1"


class TestBuilds:
    def test_a_build_that_we_have_made_is_looked_at_also_when_the_watch_has_no_news_of_it(self, store: Watched) -> None:
        view = build()
        store.woken.clear()
        store.made_build(view)
        store.see(view)
        assert store.woken == [Key("build", view.namespace, view.name)]

    @pytest.mark.parametrize("state", ["succeeded", "failed", "canceled", "skipped"])
    def test_a_build_that_has_ended_leaves_and_is_looked_at_once_more(self, store: Watched, state: str) -> None:
        store.see(build(version=1, state="running"))
        store.names()
        store.see(build(version=2, state=state))
        assert len(store.builds) == 0
        assert store.names() == ["hello"]

    def test_a_build_that_leaves_the_selection_of_the_watch_leaves(self, store: Watched) -> None:
        store.see(build(version=1))
        store.see(build(version=2, state="running"), "DELETED")
        assert len(store.builds) == 0
        assert store.names() == ["hello", "hello"]

    def test_the_end_of_a_build_that_was_not_held_wakes_nobody(self, store: Watched) -> None:
        store.see(build(), "DELETED")
        assert store.names() == []

    def test_a_build_that_can_not_be_read_is_none(self, store: Watched) -> None:
        view = build()
        store.see(view)
        store.build_event("MODIFIED", {"metadata": {"namespace": "ns", "name": "hello", "uid": view.uid}}, None)
        assert len(store.builds) == 0

    def test_an_ended_build_is_dropped_when_its_end_is_written(self, store: Watched) -> None:
        store.see(build(version=1))
        store.assume_build(build(version=2, state="succeeded"))
        assert len(store.builds) == 0

    def test_the_end_of_a_build_concerns_those_that_name_it_and_those_that_come_after_its_batch(
        self, store: Watched
    ) -> None:
        first = build("first")
        second = linked(build("second", withBuild="first"), leader="first")
        named, later = build("named", afterBuild="first"), build("later", afterBuild="second")
        found = linked(build("found", afterBuild="second"), leader="found", after="first")
        rerun = build("rerun", source=None, rerunOf="second")
        elsewhere = build("first", namespace="elsewhere", uid="there", withBuild="first")
        others = (build("alone"), build("other", afterBuild="alone"), elsewhere)
        for view in (first, second, named, later, found, rerun, *others):
            store.assume_build(view)
        assert {view.name for view in store.waiting_for(first)} == {"named", "found"}
        assert {view.name for view in store.waiting_for(second)} == {"named", "later", "found", "rerun"}
        assert store.waiting_for(rerun) == []
        assert {view.name for view in store.naming(second)} == {"later", "rerun"}

    def test_one_that_has_not_found_its_batch_concerns_all_that_are_in_batches(self, store: Watched) -> None:
        joining, other = build("joining", withBuild="nobody"), build("other", afterBuild="alone")
        for view in (joining, other):
            store.assume_build(view)
        assert other in store.waiting_for(joining)
        lost = linked(joining, leader="no-one", missing="no-one")
        assert other in store.waiting_for(lost)

    @pytest.mark.parametrize("state", [None, "running"])
    def test_who_waits_for_a_build_hears_when_it_is_gone(self, store: Watched, state: str | None) -> None:
        store.assume_build(build("later", afterBuild="first"))
        store.see(build("first", state=state))
        store.names()
        store.see(build("first", version=3, state=state), "DELETED")
        assert store.names() == ["first", "later"]


class TestHistory:
    """What has ended is not kept, although its Jobs stay in the cluster for an hour."""

    @pytest.fixture
    def done(self, store: Watched) -> JobView:
        """The ended Job, with a pod, of a build that runs."""
        mine = build(version=1, state="running")
        store.see(mine)
        ended = job(mine, version=2, state="complete")
        store.job_event("ADDED", ended)
        store.pod_event("ADDED", pod(ended))
        return ended

    @pytest.mark.parametrize("told_by", ["write", "watch", "deletion"])
    def test_a_build_takes_its_ended_jobs_and_their_pods_with_it(
        self, store: Watched, done: JobView, told_by: str
    ) -> None:
        over = build(version=3, state="succeeded")
        match told_by:
            case "write":
                store.assume_build(over)
            case "watch":
                store.see(over)
            case _:
                store.see(build(version=3, state="running"), "DELETED")
        assert (len(store.builds), len(store.jobs), len(store.pods)) == (0, 0, 0)

    def test_a_job_that_runs_on_after_its_build_stays_until_it_ends(self, store: Watched) -> None:
        mine = build(version=1, state="running")
        running = job(mine, version=2)
        store.see(mine)
        store.job_event("ADDED", running)
        store.pod_event("ADDED", pod(running))
        store.assume_build(build(version=3, state="canceled"))
        assert list(store.jobs_of(mine)) == [running.name]
        store.job_event("MODIFIED", replace(running, state="failed", resource_version="4"))
        assert (len(store.jobs), len(store.pods)) == (0, 0)

    def test_what_comes_late_of_them_is_not_kept_and_wakes_nobody(self, store: Watched, done: JobView) -> None:
        store.assume_build(build(version=3, state="succeeded"))
        store.names()
        store.pod_event("MODIFIED", replace(pod(done), phase="Succeeded", resource_version="9"))
        store.job_event("MODIFIED", replace(done, deleting=True, resource_version="10"))
        assert (len(store.jobs), len(store.pods)) == (0, 0)
        store.job_event("DELETED", replace(done, deleting=True, resource_version="11"))
        assert (len(store.jobs), len(store.pods), store.names()) == (0, 0, [])

    def test_the_end_of_a_job_that_was_stopped_wakes_its_build_whose_deletion_may_wait_for_it(
        self, store: Watched
    ) -> None:
        mine = build(version=1, state="running")
        running = job(mine, version=2)
        store.see(mine)
        store.job_event("ADDED", running)
        store.assume_build(build(version=3, state="canceled"))
        store.assume_job(replace(running, deleting=True, resource_version="4"))
        store.names()
        store.job_event("MODIFIED", replace(running, deleting=True, state="failed", resource_version="5"))
        assert (len(store.jobs), store.names()) == (0, ["hello"])
        store.job_event("DELETED", replace(running, deleting=True, state="failed", resource_version="6"))
        assert store.names() == []

    def test_of_a_build_that_runs_everything_is_kept(self, store: Watched, done: JobView) -> None:
        store.retire([done.uid, "gone"])
        assert (len(store.jobs), len(store.pods)) == (1, 1)

    def test_a_list_shows_jobs_of_builds_that_ended_long_ago(self, store: Watched) -> None:
        old, running = job(build("old"), state="complete"), job(build("older"), D13)
        for view in (old, running):
            store.job_event(None, view)
            store.pod_event(None, pod(view, f"of-{view.name}"))
        store.retire([old.uid, running.uid])
        assert [held.uid for held in store.jobs.values()] == [running.uid]
        assert [held.job_uid for held in store.pods.values()] == [running.uid]

    def test_a_job_that_is_seen_before_its_build_is_kept(self, store: Watched) -> None:
        early = job(build(), state="complete")
        store.job_event("ADDED", early)
        store.pod_event("ADDED", pod(early))
        assert (len(store.jobs), len(store.pods)) == (1, 1)


class TestJobsAndPods:
    def test_a_job_wakes_its_build_and_is_found_by_it(self, store: Watched) -> None:
        mine, other = build(), build("other")
        store.job_event("ADDED", job(mine))
        store.job_event("ADDED", job(other, D13))
        assert store.names() == ["hello", "other"]
        assert [found.owner for found in store.jobs_of(mine).values()] == [("hello", mine.uid)]

    def test_a_job_of_our_own_is_known_before_the_watch_shows_it_and_is_no_news_then(self, store: Watched) -> None:
        mine = build()
        store.assume_job(job(mine, version=4))
        assert len(store.jobs_of(mine)) == 1
        store.job_event("ADDED", job(mine, version=4))
        assert store.names() == []

    def test_a_deleted_job_is_found_no_more(self, store: Watched) -> None:
        mine = build()
        store.assume_job(job(mine))
        store.job_event("DELETED", job(mine, version=2))
        assert store.jobs_of(mine) == {}
        assert store.names() == ["hello"]

    def test_a_job_that_changes_hands_by_name_is_the_new_owners_only(self, store: Watched) -> None:
        old, new = build(uid="old"), build(uid="new")
        store.job_event("ADDED", job(old, version=1, name="same", uid="job-1"))
        store.job_event("ADDED", job(new, version=2, name="same", uid="job-2"))
        assert store.jobs_of(old) == {}
        assert [found.uid for found in store.jobs_of(new).values()] == ["job-2"]

    def test_a_job_of_another_namespace_that_names_a_build_is_not_the_builds(self, store: Watched) -> None:
        """Anyone who may make Jobs in a namespace may write any uid into them."""
        mine = build()
        forged = job(mine, state="complete", namespace="elsewhere", uid="forged")
        store.job_event("ADDED", forged)
        assert store.jobs_of(mine) == {}

    def test_a_pod_of_another_namespace_that_names_a_job_is_not_the_jobs(self, store: Watched) -> None:
        mine = build()
        real = job(mine)
        store.assume_job(real)
        store.pod_event("ADDED", pod(replace(real, namespace="elsewhere")))
        assert store.pods_of([real]) == {}
        assert store.names() == []

    def test_a_pod_wakes_the_build_of_its_job(self, store: Watched) -> None:
        real = job(build())
        store.assume_job(real)
        store.pod_event("ADDED", pod(real))
        assert store.names() == ["hello"]

    def test_a_pod_that_is_seen_before_its_job_is_there_when_the_job_comes(self, store: Watched) -> None:
        real = job(build())
        store.pod_event("ADDED", pod(real))
        assert store.names() == []
        store.job_event("ADDED", real)
        assert store.names() == ["hello"]
        assert list(store.pods_of([real])) == [real.uid]

    def test_a_new_version_that_says_nothing_new_wakes_nobody(self, store: Watched) -> None:
        real = job(build())
        store.assume_job(real)
        store.pod_event("ADDED", pod(real))
        store.names()
        store.job_event("MODIFIED", replace(real, resource_version="7"))
        store.pod_event("MODIFIED", replace(pod(real), resource_version="8"))
        assert store.names() == []
        store.job_event("DELETED", replace(real, resource_version="9"))
        assert store.names() == ["hello"]

    def test_of_several_pods_one_that_has_succeeded_counts_or_the_newest(self, store: Watched) -> None:
        real = job(build())
        store.pod_event("ADDED", pod(real, "second", created=at(5)))
        store.pod_event("ADDED", pod(real, "first"))
        assert store.pods_of([real])[real.uid].name == "second"
        store.pod_event("MODIFIED", replace(pod(real, "first"), phase="Succeeded", resource_version="7"))
        assert store.pods_of([real])[real.uid].name == "first"
        store.pod_event("DELETED", pod(real, "second", created=at(5)))
        assert store.pods_of([real])[real.uid].name == "first"
        store.pod_event("DELETED", pod(real, "first"))
        assert store.pods_of([real]) == {}


QUESTIONS: dict[str, Callable[[Store], object]] = {
    "project_of": lambda store: store.project_of(build()),
    "rivals": lambda store: store.rivals(project()),
    "builds_of": lambda store: store.builds_of(project()),
    "jobs_of": lambda store: store.jobs_of(build()),
    "pods_of": lambda store: store.pods_of([job(build())]),
    "waiting_for": lambda store: store.waiting_for(build(withBuild="first")),
    "naming": lambda store: store.naming(build()),
    "joined": lambda store: (store.joined("ns", "first"), store.joining("ns")),
    "project_event": lambda store: store.project_event("MODIFIED", project(version=9)),
    "chroot_event": lambda store: store.chroot_event("ADDED", chroot()),
    "job_event": lambda store: store.job_event("MODIFIED", job(build(), version=9)),
    "pod_event": lambda store: store.pod_event("ADDED", pod(job(build()))),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_and_no_event_looks_at_all_objects(
    store: Watched, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    store.project_event("ADDED", project())
    store.see(in_chroots(build(), D12))
    store.job_event("ADDED", job(build()))

    def all_of_them(table: Table[Any]) -> None:
        raise AssertionError("all objects were looked at")

    monkeypatch.setattr(Table, "values", all_of_them)
    monkeypatch.setattr(Table, "uids", all_of_them)
    QUESTIONS[question](store)


def test_indexes_are_empty_when_all_is_gone(store: Watched) -> None:
    mine = in_chroots(build(withBuild="first"), D12)
    store.see(mine)
    store.project_event("ADDED", project(source_chroot=D13))
    store.job_event("ADDED", job(mine))
    store.pod_event("ADDED", pod(job(mine)))
    store.chroot_event("ADDED", chroot())
    store.see(mine, "DELETED")
    store.project_event("DELETED", project())
    store.job_event("DELETED", job(mine))
    store.pod_event("DELETED", pod(job(mine)))
    store.chroot_event("DELETED", chroot())
    tables: tuple[Table[Any], ...] = (store.builds, store.projects, store.jobs, store.pods, store.chroot_objects)
    assert [(len(table), table.uids(), table._indexed) for table in tables] == [(0, set(), {})] * 5
