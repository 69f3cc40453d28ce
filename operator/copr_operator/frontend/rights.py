"""Who may do what in a project (Copr's models.py: can_build_in, can_edit). Pure."""

from collections.abc import Callable

from copr_operator.api.project import ProjectSpec
from copr_operator.frontend.tokens import Account

APPROVED = "approved"

Right = Callable[[Account, ProjectSpec], bool]


def owns(account: Account, owner: str) -> bool:
    """Whether projects of `owner` are the account's: its own, or one of its groups'."""
    if owner.startswith("@"):
        return owner[1:] in account.groups
    return owner == account.name


def can_edit(account: Account, project: ProjectSpec) -> bool:
    """Change the project, and delete its builds and packages."""
    if can_delete(account, project):
        return True
    return any(entry.user == account.name and entry.admin == APPROVED for entry in project.permissions)


def can_delete(account: Account, project: ProjectSpec) -> bool:
    """Delete the project itself: not everybody whom its owner lets change it."""
    return account.admin or owns(account, project.owner)


def can_read(account: Account | None, project: ProjectSpec) -> bool:
    """See the project, its builds and results. Copr has no private projects; whoever may build in one may read it."""
    return not project.private or (account is not None and can_build(account, project))


def no_more_readers(project: ProjectSpec, other: ProjectSpec) -> bool:
    """Whether everybody who may read the one may read the other, which has the same owner."""
    members, others = (
        {entry.user for entry in spec.permissions if APPROVED in (entry.admin, entry.builder)}
        for spec in (project, other)
    )
    return not other.private or (project.private and members <= others)


def can_build(account: Account, project: ProjectSpec) -> bool:
    """Submit and cancel builds."""
    if can_edit(account, project):
        return True
    return any(entry.user == account.name and entry.builder == APPROVED for entry in project.permissions)
