"""Decisions about a project and its repositories: privacy comes before anything that could be read."""

from dataclasses import replace

from copr_operator.core.observed import ProjectView
from copr_operator.core.project import EnsureRepository, ObservedProject, ProjectPlan, SetPrivacy, plan_project
from copr_operator.core.stepplan import step_plan
from tests.support import builders
from tests.support.builders import CONFIG, D12, T0

PRIVATE = builders.project(D12, private=True)


def decided(view: ProjectView, **changes: object) -> ProjectPlan:
    return plan_project(ObservedProject(view, T0, **changes), CONFIG)  # type: ignore[arg-type]


def test_a_private_project_is_made_private_before_its_repositories_are_made() -> None:
    assert decided(PRIVATE).actions == (SetPrivacy(True), EnsureRepository(D12))
    plan = decided(PRIVATE, backend_message="away")
    assert plan.actions == ()
    assert plan.status is not None
    assert [chroot.ready for chroot in plan.status.chroots] == [False]
    assert plan.requeue_at is not None


def test_the_status_says_what_the_store_does() -> None:
    plan = decided(PRIVATE, private=True, ensured=frozenset({D12}))
    assert (plan.actions, plan.status and plan.status.private) == ((), True)
    public = decided(builders.project(D12), private=True, ensured=frozenset({D12}))
    assert public.actions == (SetPrivacy(False),)


def test_a_change_that_the_store_does_not_know_yet_is_not_ready() -> None:
    plan = decided(PRIVATE, ensured=frozenset({D12}), backend_message="away")
    assert plan.status is not None
    ready = next(condition for condition in plan.status.conditions if condition.type == "Ready")
    assert (ready.status.value, ready.reason, plan.status.private) == ("False", "BackendUnavailable", False)


def test_who_does_not_hold_the_name_decides_nothing_about_its_results() -> None:
    rival = replace(builders.project(D12), uid="other", name="other")
    mine = replace(builders.project(D12, held=False, private=True), status=builders.project(held=False).status)
    assert decided(mine, rivals=(rival,)).actions == ()


def test_repositories_of_the_private_project_itself_need_a_ticket_and_no_others() -> None:
    repos = ["https://repo.example/x", "copr://alice/demo", "copr://alice/demo2", "copr://bob/demo"]
    for project, expected in (
        (builders.project(additional_repos=repos, private=True), {"copr_base", "copr_coprdir", "additional_2"}),
        (builders.project(additional_repos=repos), set()),
    ):
        world = builders.observed(builders.build(builders.imported(), project_dirname="demo:pr:1"), project=project)
        plan = step_plan(world, D12, 1, CONFIG)
        assert {repo.id for repo in plan.repos if repo.private} == expected
