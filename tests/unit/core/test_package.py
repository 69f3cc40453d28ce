"""What a CoprPackage makes of its source and of its builds: tables of what is seen and what is done."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import BuildSpec, BuildStatus
from copr_operator.api.package import DefinitionStatus, LastBuild, PackageSpec
from copr_operator.api.sources import SourceSpec
from copr_operator.core.observed import BuildView, PackageView
from copr_operator.core.package import (
    CreateBuild,
    DeleteBuild,
    ObservedPackage,
    PackagePlan,
    announced,
    plan_package,
    source_digest,
    wanted_build,
)
from tests.support import builders
from tests.support.builders import CONFIG, T0, at

GEM = {"type": "rubygems", "rubygems": {"name": "rails"}}
OTHER = {"type": "rubygems", "rubygems": {"name": "rack"}}


def package(status: Mapping[str, Any] | None = None, *, name: str = "rails", **spec: Any) -> PackageView:
    wanted = {"owner": "alice", "project": "demo", "name": "rails", "source": GEM, "buildOnChange": True, **spec}
    return PackageView(
        name=name, namespace="ns", uid=f"uid-{name}", generation=3, resource_version="1",
        spec=PackageSpec.model_validate(wanted), status=DefinitionStatus.model_validate(status or {}),
    )  # fmt: skip


def digest(source: Mapping[str, Any] = GEM) -> str:
    return source_digest(SourceSpec.model_validate(source))


def build(number: int | None, state: Any = "pending", *, name: str = "", dirname: str = "demo") -> BuildView:
    view = builders.build(BuildStatus(id=number, state=state), packageName="rails", projectDirname=dirname)
    return replace(view, name=name or f"b{number}", uid=f"uid-{number}", package_uid="uid-rails")


def look(view: PackageView, **changes: Any) -> PackagePlan:
    return plan_package(ObservedPackage(view, T0, **{"project": builders.project(), **changes}), CONFIG)


def reasons(plan: PackagePlan) -> dict[str, str]:
    assert plan.status is not None
    return {f"{c.type}={c.status.value}": c.reason for c in plan.status.conditions}


class TestItsOwnBuilds:
    def test_the_first_source_is_built_once_by_a_build_that_belongs_to_it(self) -> None:
        (action,) = look(package(timeout=60, chrootDenylist=["a-*", "a-*", "b-1-x"])).actions
        assert isinstance(action, CreateBuild)
        assert action.manifest["metadata"]["ownerReferences"] == [
            {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprPackage", "name": "rails", "uid": "uid-rails",
             "controller": True}
        ]  # fmt: skip
        assert action.manifest["spec"] == {
            "owner": "alice", "project": "demo", "packageName": "rails", "source": GEM, "timeout": 60,
            "excludeChroots": ["a-*", "b-1-x"],
        }  # fmt: skip
        BuildSpec.model_validate(action.manifest["spec"])
        assert action.manifest["metadata"]["name"] == wanted_build(package())

    def test_it_is_latched_when_the_build_is_there_also_one_that_has_ended_meanwhile(self) -> None:
        plan = look(package(), wanted=build(7, "failed", name="b"))
        assert plan.actions == ()
        assert plan.status is not None
        assert (plan.status.sources_built, plan.status.source_digest) == (1, digest())
        assert plan.status.last_build == LastBuild(name="b", id=7, state="failed")
        assert (plan.status.observed_generation, reasons(plan)["Stalled=True"]) == (3, "BuildFailed")

    def test_a_source_that_has_been_built_is_not_built_again(self) -> None:
        assert look(package({"sourcesBuilt": 1, "sourceDigest": digest()})).actions == ()

    @pytest.mark.parametrize(
        "spec", [{"buildOnChange": False}, {"source": None}, {"buildOnChange": False, "source": None}], ids=str
    )
    def test_without_the_switch_or_a_source_nothing_is_built(self, spec: dict[str, Any]) -> None:
        assert look(package(**spec)).actions == ()

    def test_a_source_that_comes_back_is_built_again(self) -> None:
        once = wanted_build(package())
        twice = wanted_build(package({"sourcesBuilt": 2, "sourceDigest": digest(OTHER)}))
        assert (once is None, twice is None, once == twice) == (False, False, False)

    def test_what_else_changes_builds_nothing(self) -> None:
        held = {"sourcesBuilt": 1, "sourceDigest": digest()}
        assert wanted_build(package(held, timeout=5, maxBuilds=2, autoRebuild=True)) is None
        written_out = {"type": "scm", "scm": {"cloneURL": "https://git.example/x.git", "method": "rpkg"}}
        assert digest(written_out) == digest({"type": "scm", "scm": {"cloneURL": "https://git.example/x.git"}})

    def test_the_name_of_a_build_fits_whatever_the_package_is_called(self) -> None:
        for name in ("gcc-c++", "_x", "+", "Perl", "a" * 100):
            made = wanted_build(_named(name)) or ""
            assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", made), made

    def test_a_build_of_somebody_else_with_its_name_stops_it(self) -> None:
        plan = look(package(), wanted=replace(build(7), package_uid=""))
        assert (plan.actions, reasons(plan)["Stalled=True"]) == ((), "NameCollision")

    def test_a_refusal_is_told_and_tried_again(self) -> None:
        plan = look(package(), refusal="exceeded quota")
        assert (plan.actions, plan.requeue_at) == ((), at(30))
        assert reasons(plan) == {"Ready=False": "BuildRefused", "Reconciling=True": "BuildRefused"}

    def test_of_two_definitions_of_one_package_the_first_by_name_counts(self) -> None:
        rival = package(name="a")
        assert reasons(look(package(), rivals=(rival,)))["Stalled=True"] == "NameTaken"
        assert look(rival, rivals=(package(),)).actions


def _named(name: str) -> PackageView:
    spec = package().spec.model_copy(update={"name": name})
    return replace(package(), spec=spec)


class TestItsStatus:
    @pytest.mark.parametrize(
        ("builds", "said"),
        [
            ((), {"Ready=True": "Defined"}),
            ((build(7),), {"Ready=False": "Building", "Reconciling=True": "Building"}),
            ((build(7, "running"),), {"Ready=False": "Building", "Reconciling=True": "Building"}),
            ((build(7, "succeeded"),), {"Ready=True": "BuildSucceeded"}),
            ((build(7, "skipped"),), {"Ready=True": "BuildSucceeded"}),
            ((build(7, "failed"),), {"Ready=False": "BuildFailed", "Stalled=True": "BuildFailed"}),
            ((build(7, "canceled"),), {"Ready=False": "BuildCanceled", "Stalled=True": "BuildCanceled"}),
            ((build(8, "failed"), build(9)), {"Ready=False": "Building", "Reconciling=True": "Building"}),
            ((build(9, "succeeded"), build(8)), {"Ready=True": "BuildSucceeded"}),
        ],
        ids=str,
    )
    def test_the_newest_build_speaks_for_the_package(
        self, builds: tuple[BuildView, ...], said: dict[str, str]
    ) -> None:  # fmt: skip
        assert reasons(look(package(buildOnChange=False), builds=builds)) == said

    def test_a_build_that_has_ended_is_remembered_although_it_is_no_longer_seen(self) -> None:
        held = {"lastBuild": {"name": "b7", "id": 7, "state": "succeeded"}}
        assert reasons(look(package(held, buildOnChange=False))) == {"Ready=True": "BuildSucceeded"}
        plan = look(package(held, buildOnChange=False), builds=(build(6),))
        assert plan.status is not None
        assert plan.status.last_build == LastBuild(name="b7", id=7, state="succeeded")

    def test_a_build_that_somebody_deleted_before_its_end_is_forgotten(self) -> None:
        held = {"lastBuild": {"name": "b7", "id": 7, "state": "pending"}}
        assert reasons(look(package(held, buildOnChange=False))) == {"Ready=True": "Defined"}

    def test_it_is_looked_for_in_the_history_then(self) -> None:
        held = {"lastBuild": {"name": "b7", "id": 7, "state": "pending"}}
        plan = look(package(held, buildOnChange=False), history=(build(5, "succeeded"), build(6, "failed")))
        assert plan.status is not None
        assert plan.status.last_build == LastBuild(name="b6", id=6, state="failed")
        assert reasons(plan)["Stalled=True"] == "BuildFailed"

    def test_what_is_held_of_a_build_counts_before_what_a_list_says_of_it(self) -> None:
        plan = look(package(buildOnChange=False), builds=(build(7, "failed"),), history=(build(7, "running"),))
        assert reasons(plan)["Stalled=True"] == "BuildFailed"

    def test_what_a_running_build_does_costs_no_write(self) -> None:
        first = look(package(buildOnChange=False), builds=(build(7),))
        assert first.status is not None
        then = replace(package(buildOnChange=False), status=first.status)
        assert look(then, builds=(build(7, "running"),)).status == first.status

    def test_no_source_to_build_is_said(self) -> None:
        assert reasons(look(package(source=None)))["Stalled=True"] == "SourceMissing"


class TestAnnouncement:
    """A build that is about to end is named before."""

    @pytest.mark.parametrize(
        ("held", "number", "named"),
        [
            (None, 7, LastBuild(name="b7", id=7)),
            (None, None, LastBuild(name="b7")),
            ({"name": "b6", "id": 6, "state": "succeeded"}, 7, LastBuild(name="b7", id=7)),
            ({"name": "b6", "id": 6, "state": "succeeded"}, None, LastBuild(name="b7")),
            ({"name": "b7", "id": 2, "state": "failed"}, 7, LastBuild(name="b7", id=7)),  # an earlier one of its name
            ({"name": "b7"}, 7, None),
            ({"name": "b7", "id": 7, "state": "failed"}, 7, None),
            ({"name": "b8", "id": 8, "state": "pending"}, 7, None),
        ],
        ids=str,
    )
    def test_unless_the_status_names_it_or_a_newer_one(
        self, held: Mapping[str, Any] | None, number: int | None, named: LastBuild | None
    ) -> None:
        view = package({"lastBuild": held, "observedGeneration": 2} if held is not None else {"observedGeneration": 2})
        status = announced(view, build(number, "failed", name="b7"), T0)
        assert (status.last_build if status is not None else None) == named
        if status is not None:
            assert {c.type: c.reason for c in status.conditions} == {"Ready": "Building", "Reconciling": "Building"}
            assert status.observed_generation == 2, "the newest definition has not been looked at"

    def test_what_is_in_the_packages_way_is_said_as_before(self) -> None:
        refused = look(package(), refusal="exceeded quota").status
        assert refused is not None
        status = announced(replace(package(), status=refused), build(7, "failed"), T0)
        assert status is not None
        assert status.conditions == refused.conditions


BUILT = {"sourcesBuilt": 1, "sourceDigest": digest()}


class TestMaxBuilds:
    @staticmethod
    def deleted(*history: BuildView, most: int | None = 2, **changes: Any) -> list[str]:
        plan = look(package(BUILT, maxBuilds=most), history=history, **changes)
        assert plan.counted is not bool(plan.actions)
        return [action.name for action in plan.actions if isinstance(action, DeleteBuild)]

    def test_the_newest_are_kept(self) -> None:
        builds = [build(n, "succeeded") for n in (3, 1, 5, 4, 2)]
        assert self.deleted(*builds) == ["b3", "b2", "b1"]

    def test_one_that_has_not_ended_is_never_deleted_and_counts(self) -> None:
        assert self.deleted(build(1, "running"), build(2, "failed"), build(3), build(None)) == ["b2"]

    def test_failures_do_not_take_away_what_people_install(self) -> None:
        builds = [build(1, "succeeded"), build(2, "succeeded"), *(build(n, "failed") for n in (3, 4, 5))]
        assert self.deleted(*builds) == ["b3", "b1"]

    def test_they_go_also_while_a_quota_refuses_the_next(self) -> None:
        builds = tuple(build(n, "failed") for n in (1, 2, 3))
        plan = look(package(maxBuilds=2), refusal="exceeded quota", history=builds)
        assert plan.actions == (DeleteBuild("b1", "uid-1"),)
        plan = look(package(maxBuilds=2), refusal="exceeded quota", history=builds[1:])
        assert (plan.actions, plan.counted, reasons(plan)["Ready=False"]) == ((), True, "BuildRefused")

    def test_a_build_that_turned_out_to_be_another_packages_is_not_counted(self) -> None:
        spec = BuildSpec.model_validate({**build(1).spec.model_dump(by_alias=True), "packageName": "ruby"})
        others = [replace(build(n, "failed"), spec=spec) for n in (1, 2)]
        assert self.deleted(*others, build(3, "failed"), most=1) == []

    def test_each_directory_has_its_own(self) -> None:
        builds = [build(n, "failed", dirname=d) for n, d in ((1, "demo"), (2, "demo:pr:1"), (3, "demo"), (4, "demo"))]
        assert self.deleted(*builds) == ["b1"]

    def test_one_that_is_being_deleted_does_not_count(self) -> None:
        builds = [build(1, "failed"), build(2, "failed"), replace(build(3, "failed"), deleting=True)]
        assert self.deleted(*builds) == []

    @pytest.mark.parametrize("most", [None, 0])
    def test_without_a_number_all_are_kept(self, most: int | None) -> None:
        assert self.deleted(*(build(n, "failed") for n in range(1, 9)), most=most) == []

    def test_a_persistent_project_keeps_all(self) -> None:
        keeping = builders.project(api={"persistent": True})
        assert self.deleted(*(build(n, "failed") for n in range(1, 9)), project=keeping) == []

    def test_without_a_project_nothing_is_deleted(self) -> None:
        assert self.deleted(*(build(n, "failed") for n in range(1, 9)), project=None) == []
