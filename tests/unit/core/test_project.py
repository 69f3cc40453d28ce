"""When a CoprProject has its name and its repositories, and what its deletion waits for."""

from dataclasses import replace
from typing import Any

import pytest

from copr_operator.core.observed import ProjectView
from copr_operator.core.project import (
    AdoptProject,
    EnsureRepository,
    ObservedProject,
    ProjectPlan,
    ReleaseProject,
    RemoveProject,
    plan_project,
)
from tests.support.builders import CONFIG, D12, D13, at, project


def planned(of: ProjectView, **world: Any) -> ProjectPlan:
    return plan_project(ObservedProject(of, at(60), **world), CONFIG)


def conditions(decision: ProjectPlan) -> dict[str, tuple[str, str]]:
    assert decision.status is not None
    return {c.type: (c.status.value, c.reason) for c in decision.status.conditions}


def message(decision: ProjectPlan) -> str:
    assert decision.status is not None
    return next(c.message for c in decision.status.conditions if c.type == "Ready")


class TestLife:
    def test_the_finalizer_comes_first_then_the_name_then_the_repositories(self) -> None:
        new = replace(project(held=False, ready=False), finalizers=())
        assert planned(new).actions == (AdoptProject(),)
        named = planned(project(held=False, ready=False))
        assert named.actions == ()
        assert conditions(named)["NameHeld"] == ("True", "NameHeld")
        assert planned(project(ready=False)).actions == (EnsureRepository(D12), EnsureRepository(D13))
        assert conditions(planned(project(), ensured=frozenset({D12, D13})))["Ready"] == ("True", "Ready")

    def test_a_backend_that_is_away_is_told_and_asked_again(self) -> None:
        decision = planned(project(ready=False), ensured=frozenset({D12}), backend_message="no answer")
        assert conditions(decision)["Ready"] == ("False", "BackendUnavailable")
        assert decision.requeue_at == at(70)

    def test_a_name_that_another_holds_is_taken_also_while_that_one_goes_away(self) -> None:
        late = replace(project(held=False), uid="late", created=at(-100))
        for rival in (project(), replace(project(), deleting=True)):
            decision = planned(late, rivals=(rival,))
            assert decision.actions == ()
            assert conditions(decision)["NameHeld"] == ("False", "NameTaken")
            assert conditions(decision)["Stalled"] == ("True", "NameTaken")


class TestDeletion:
    DYING = replace(project(), deleting=True)

    def test_its_running_builds_come_first_and_it_says_so(self) -> None:
        decision = planned(self.DYING, active_builds=2)
        assert decision.actions == ()
        assert conditions(decision) == {
            "NameHeld": ("True", "X"), "Ready": ("False", "BuildsRunning"), "Reconciling": ("True", "BuildsRunning"),
        }  # fmt: skip
        assert message(decision).startswith("deletion waits: 2 builds")
        assert decision.requeue_at == at(70)

    def test_the_results_go_then_the_project(self) -> None:
        assert planned(self.DYING).actions == (RemoveProject(),)
        decision = planned(self.DYING, removed=True)
        assert (decision.actions, decision.released) == ((ReleaseProject(),), True)

    @pytest.mark.parametrize(
        "text", ["the files are deleted when the grace time is over", "the backend can't be reached"]
    )
    def test_what_the_backend_has_left_is_told_and_the_name_stays_held(self, text: str) -> None:
        decision = planned(self.DYING, backend_message=text)
        assert decision.actions == ()
        assert conditions(decision)["Ready"] == ("False", "ResultsLeft")
        assert conditions(decision)["NameHeld"][0] == "True"
        assert message(decision) == f"deletion waits: {text}"
        assert decision.requeue_at == at(70)

    def test_one_that_never_had_the_name_has_nothing_to_remove(self) -> None:
        assert planned(replace(project(held=False), deleting=True)).actions == (ReleaseProject(),)
        assert planned(replace(project(held=False), deleting=True, finalizers=())).released
