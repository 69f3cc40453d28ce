"""What a store knows of projects and chroots, and whom their events wake."""

from dataclasses import replace

import pytest

from copr_operator.controller.store import Key
from tests.support.builders import D12, D13, at
from tests.unit.controller.fakes import build, project
from tests.unit.controller.stores import Watched, chroot, in_chroots


@pytest.fixture
def store() -> Watched:
    return Watched()


class TestProjects:
    def test_a_project_wakes_itself_its_builds_and_its_rivals(self, store: Watched) -> None:
        store.project_event("ADDED", project("rival", namespace="elsewhere"))
        store.see(build("mine"))
        store.see(build("elsewhere", namespace="elsewhere"))
        store.see(build("another", project="another"))
        store.woken.clear()
        store.project_event("ADDED", project("demo"))
        assert sorted(store.woken) == [
            Key("build", "ns", "mine"), Key("project", "elsewhere", "rival"), Key("project", "ns", "demo"),
        ]  # fmt: skip

    def test_the_end_of_a_project_wakes_whom_it_concerned(self, store: Watched) -> None:
        store.project_event("ADDED", project("demo"))
        store.project_event("ADDED", project("rival", uid="uid-rival"))
        store.see(build("mine"))
        store.woken.clear()
        store.project_event("DELETED", project("demo", 5))
        assert Key("project", "ns", "rival") in store.woken
        assert Key("build", "ns", "mine") in store.woken

    def test_an_old_event_of_a_project_wakes_nobody(self, store: Watched) -> None:
        store.project_event("ADDED", project(version=5))
        store.woken.clear()
        store.project_event("MODIFIED", project(version=4))
        assert store.woken == []

    def test_a_build_belongs_to_the_project_of_its_namespace(self, store: Watched) -> None:
        store.project_event("ADDED", project("theirs", namespace="elsewhere"))
        assert store.project_of(build()) is None
        store.project_event("ADDED", project("ours"))
        found = store.project_of(build())
        assert found is not None
        assert found.name == "ours"

    def test_of_two_projects_of_a_name_the_one_that_holds_it_counts_else_the_older(self, store: Watched) -> None:
        younger = replace(project("younger", held=False), created=at(60))
        store.project_event("ADDED", younger)
        store.project_event("ADDED", project("older", held=False))
        assert getattr(store.project_of(build()), "name", None) == "older"
        store.project_event("MODIFIED", replace(project("younger", 2), created=at(60)))
        assert getattr(store.project_of(build()), "name", None) == "younger"

    def test_rivals_are_those_of_the_same_owner_and_name_anywhere(self, store: Watched) -> None:
        mine = project("mine")
        for view in (mine, project("rival", namespace="elsewhere")):
            store.project_event("ADDED", view)
        other = project("other")
        store.project_event("ADDED", replace(other, spec=other.spec.model_copy(update={"owner": "bob"})))
        assert [rival.name for rival in store.rivals(mine)] == ["rival"]


class TestChroots:
    def test_a_chroot_means_what_its_newest_version_says(self, store: Watched) -> None:
        store.chroot_event("ADDED", chroot(version=2, image="image:2"))
        store.chroot_event("MODIFIED", chroot(version=1, image="image:1"))
        assert store.chroots[D12].image == "image:2"

    def test_chroots_of_other_namespaces_mean_nothing(self, store: Watched) -> None:
        store.chroot_event("ADDED", chroot(namespace="elsewhere"))
        assert store.chroots == {}

    def test_of_two_objects_of_one_name_the_oldest_counts_and_the_other_takes_its_place(self, store: Watched) -> None:
        second = replace(chroot(object_name="second", image="image:2"), created=at(60))
        store.chroot_event("ADDED", second)
        store.chroot_event("ADDED", chroot(object_name="first", image="image:1"))
        assert store.chroots[D12].image == "image:1"
        store.chroot_event("DELETED", chroot(object_name="first"))
        assert store.chroots[D12].image == "image:2"
        store.chroot_event("DELETED", second)
        assert store.chroots == {}

    def test_an_object_that_is_made_anew_for_another_chroot_leaves_the_old_name(self, store: Watched) -> None:
        store.chroot_event("ADDED", chroot(D12, 1, object_name="same", uid="old"))
        store.chroot_event("ADDED", chroot(D13, 2, object_name="same", uid="new"))
        assert set(store.chroots) == {D13}

    def test_a_chroot_wakes_the_builds_that_are_for_it(self, store: Watched) -> None:
        store.see(in_chroots(build("twelve"), D12))
        store.see(in_chroots(build("both"), D12, D13))
        store.see(in_chroots(build("thirteen"), D13))
        store.see(build("not-chosen-yet"))
        store.names()
        store.chroot_event("ADDED", chroot(D12))
        assert store.names() == ["both", "twelve"]

    def test_a_chroot_wakes_the_builds_whose_project_makes_its_srpms_in_it(self, store: Watched) -> None:
        store.project_event("ADDED", project(source_chroot=D13))
        store.see(in_chroots(build(), D12))
        store.names()
        store.chroot_event("ADDED", chroot(D13))
        assert store.names() == ["hello"]

    def test_a_chroot_wakes_the_builds_that_name_it_for_their_own_script(self, store: Watched) -> None:
        source = {"type": "custom", "custom": {"script": "#!/bin/sh", "chroot": D13}}
        store.see(in_chroots(build("elsewhere", source=source), D12))
        store.see(in_chroots(build("there-too", source=source), D13))
        store.names()
        store.chroot_event("ADDED", chroot(D13))
        assert store.names() == ["elsewhere", "there-too"]

    def test_a_chroot_that_says_the_same_as_before_wakes_nobody(self, store: Watched) -> None:
        store.see(in_chroots(build(), D12))
        store.chroot_event("ADDED", chroot(D12, 1))
        store.names()
        store.chroot_event("MODIFIED", chroot(D12, 2))
        assert store.names() == []
        store.chroot_event("MODIFIED", chroot(D12, 3, enabled=False))
        assert store.names() == ["hello"]
        store.chroot_event("DELETED", chroot(D12, 4))
        assert store.names() == ["hello"]

    def test_what_was_observed_does_not_change_under_a_plan(self, store: Watched) -> None:
        store.chroot_event("ADDED", chroot(D12))
        observed = store.chroots
        store.chroot_event("DELETED", chroot(D12))
        assert set(observed) == {D12}
