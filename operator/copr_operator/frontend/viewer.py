"""Who reads. Clients send no credentials with most reads, so they are looked at only where something is private."""

from collections.abc import Awaitable, Callable

from copr_operator.api.project import ProjectSpec
from copr_operator.frontend import rights
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.tokens import Account

_UNKNOWN = (401, 429)
"""A wrong login reads as nobody: an answer of its own would tell that there is something to be read."""


class Viewer:
    """What one request may see. What it may not see does not exist for it: 404, never 403."""

    def __init__(self, find: Callable[[], Awaitable[Account | None]]) -> None:
        """`find` is asked once at most, and may raise CoprError."""
        self._find = find
        self._asked = False
        self._found: Account | None = None

    async def may_read(self, project: ProjectSpec) -> bool:
        """Raises CoprError 503 when that can't be said now."""
        return not project.private or rights.can_read(await self._account(), project)

    async def is_admin(self) -> bool:
        account = await self._account()
        return account is not None and account.admin

    async def _account(self) -> Account | None:
        if not self._asked:
            try:
                self._found = await self._find()
            except CoprError as error:
                if error.status not in _UNKNOWN:
                    raise
            self._asked = True
        return self._found


def viewer_of(account: Account | None) -> Viewer:
    """Somebody who is known already; None: nobody in particular."""

    async def known() -> Account | None:
        return account

    return Viewer(known)
