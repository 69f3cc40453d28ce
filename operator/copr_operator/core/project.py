"""`plan_project(observed) -> ProjectPlan`: when a CoprProject has its name and its repositories. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from copr_operator.api.common import ConditionStatus
from copr_operator.api.project import ProjectChrootStatus, ProjectStatus
from copr_operator.core import gates
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import ProjectView
from copr_operator.core.status import merge_conditions


@dataclass(frozen=True)
class AdoptProject:
    """Set our finalizer: the project's one metadata write."""


@dataclass(frozen=True)
class EnsureRepository:
    """Have the backend make the (empty) repository of a chroot."""

    chroot: str


@dataclass(frozen=True)
class SetPrivacy:
    """Have the backend show the results to everybody, or not."""

    private: bool


@dataclass(frozen=True)
class RemoveProject:
    """Have the backend remove everything of the project."""


@dataclass(frozen=True)
class ReleaseProject:
    """Take our finalizer off."""


ProjectAction = AdoptProject | SetPrivacy | EnsureRepository | RemoveProject | ReleaseProject


@dataclass(frozen=True)
class ObservedProject:
    """All that a decision about one project may depend on."""

    project: ProjectView
    now: datetime
    rivals: tuple[ProjectView, ...] = ()
    """Other CoprProjects with the same owner and name, in any namespace."""
    private: bool = False
    """Whether the backend keeps the results from those who may not see the project."""
    ensured: frozenset[str] = frozenset()
    """Chroots whose repository the backend has confirmed since this controller started."""
    active_builds: int = 0
    """Builds of this project that still have Jobs."""
    removed: bool = False
    backend_message: str = ""


@dataclass(frozen=True)
class ProjectPlan:
    actions: tuple[ProjectAction, ...] = ()
    status: ProjectStatus | None = None
    requeue_at: datetime | None = None
    released: bool = False


def seniority(project: ProjectView) -> tuple[bool, datetime, str]:
    """Who has a name: whoever holds it already, else the older, else the smaller uid."""
    return (not gates.holds_name(project), project.created, project.uid)


def plan_project(observed: ObservedProject, config: OperatorConfig) -> ProjectPlan:
    """Decides what to do about one project."""
    project = observed.project
    if project.deleting:
        return _plan_deletion(observed, config)
    rival = _winner(observed.rivals, project)
    if rival is not None:
        where = f"CoprProject {rival.namespace}/{rival.name} has {rival.spec.owner}/{rival.spec.name}"
        return ProjectPlan(status=_status(observed, config, ("NameTaken", f"{where} since {rival.created:%Y-%m-%d}")))
    if not project.finalized:
        return ProjectPlan(actions=(AdoptProject(),))
    if not gates.holds_name(project):
        # Written before anything is made in the store: the backend asks who holds the name.
        return ProjectPlan(status=_status(observed, config, None))
    # Privacy comes first: no repository is ever there before it is kept from those who may not read it.
    due: list[ProjectAction] = []
    if observed.private != project.spec.private:
        due.append(SetPrivacy(project.spec.private))
    due += [EnsureRepository(c.name) for c in project.spec.chroots if c.name not in observed.ensured]
    if due and not observed.backend_message:
        return ProjectPlan(actions=tuple(due))
    requeue = observed.now + timedelta(seconds=config.deadlines.backend_retry) if due else None
    return ProjectPlan(status=_status(observed, config, None), requeue_at=requeue)


def _winner(rivals: Iterable[ProjectView], project: ProjectView) -> ProjectView | None:
    """A rival that has the name before this project. A rival that goes away keeps it until its results are gone."""
    senior = min(rivals, key=seniority, default=None)
    return senior if senior is not None and seniority(senior) < seniority(project) else None


def _plan_deletion(observed: ObservedProject, config: OperatorConfig) -> ProjectPlan:
    project = observed.project
    if not project.finalized:
        return ProjectPlan(released=True)
    again = observed.now + timedelta(seconds=config.deadlines.backend_retry)
    if observed.active_builds:
        return ProjectPlan(requeue_at=again)
    if gates.holds_name(project) and not observed.removed:
        if observed.backend_message:
            return ProjectPlan(requeue_at=again)
        return ProjectPlan(actions=(RemoveProject(),))
    return ProjectPlan(actions=(ReleaseProject(),), released=True)


def _status(observed: ObservedProject, config: OperatorConfig, taken: tuple[str, str] | None) -> ProjectStatus:
    project, true, false = observed.project, ConditionStatus.TRUE, ConditionStatus.FALSE
    waiting = [c.name for c in project.spec.chroots if c.name not in observed.ensured]
    if taken is not None:
        held, ready = (false, *taken), (false, *taken)
    else:
        held = (true, "NameHeld", f"{project.spec.owner}/{project.spec.name} is this project's")
        waiting = (
            ["the project to become private or public"] if observed.private != project.spec.private else []
        ) + waiting
        if observed.backend_message and waiting:
            ready = (false, "BackendUnavailable", observed.backend_message)
        elif waiting:
            ready = (false, "RepositoryNotReady", f"waiting for {', '.join(waiting)}")
        else:
            ready = (true, "Ready", "every repository is there")
    wanted = [("NameHeld", *held), ("Ready", *ready)]
    if ready[0] is false:
        kind = "Stalled" if taken is not None else "Reconciling"
        wanted.append((kind, true, ready[1], ready[2]))
    return ProjectStatus(
        observed_generation=project.generation,
        conditions=merge_conditions(project.status.conditions, wanted, project.generation, observed.now),
        repo_url=None if taken else f"{config.results_url}/results/{project.spec.owner}/{project.spec.name}",
        private=observed.private,
        chroots=[
            ProjectChrootStatus(name=c.name, ready=taken is None and c.name in observed.ensured)
            for c in project.spec.chroots
        ],
    )
