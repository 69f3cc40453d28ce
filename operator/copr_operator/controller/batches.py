"""Batches (`afterBuild`, `withBuild`): which other builds must end before a build may start.

As in Copr (frontend `batches_logic.py`): builds joined by `withBuild` form a batch; `afterBuild` blocks a batch until
every build of the other one has ended, in whatever way. Copr can't have circles, because a build can only name one that
exists; here names come first, so a circle is found, and the build that closed it (the youngest) fails.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from copr_operator.api.common import TERMINAL
from copr_operator.core.circles import circle
from copr_operator.core.observed import Batch, BuildView

Lookup = Callable[[str, str], Awaitable[BuildView | None]]

DEPTH = 32
"""Links of `withBuild` that are followed."""


async def batch_of(build: BuildView, active: Iterable[BuildView], lookup: Lookup) -> Batch:
    """What the build waits for. `active`: builds of its namespace that have not ended, at least those with links."""
    spec = build.spec
    if spec.after_build is None and spec.with_build is None and spec.rerun_of is None:
        return Batch()
    return await _Links(build.namespace, active, lookup).batch_of(build)


@dataclass(frozen=True)
class _Leader:
    """The end of a chain of `withBuild`: its `afterBuild` counts for the whole batch."""

    build: BuildView | None
    problem: str = ""
    """Why there is none."""
    circular: bool = False


@dataclass(frozen=True)
class _Wait:
    """What a build waits for directly."""

    builds: tuple[BuildView, ...] = ()
    message: str = ""
    """Why its batch is blocked, if it is; a build to rerun does not block it."""


class _Links:
    """The links between the builds of one namespace, followed as far as one question needs it."""

    def __init__(self, namespace: str, active: Iterable[BuildView], lookup: Lookup) -> None:
        self._namespace = namespace
        self._active = [b for b in active if b.namespace == namespace and b.status.state not in TERMINAL]
        self._lookup = lookup
        self._leaders: dict[str, _Leader] = {}

    async def batch_of(self, build: BuildView) -> Batch:
        leader = await self._leader(build)
        if leader.circular:
            return Batch(blocked=True, message=leader.problem, circle=leader.problem)
        wait = await self._wait(build)
        return Batch(blocked=bool(wait.message), message=wait.message, circle=await self._circle(build))

    async def _circle(self, build: BuildView) -> str:
        """In words, the circle that this build has closed; empty when there is none, or another build is younger."""
        views, waits, todo = {build.uid: build}, dict[str, list[str]](), [build]
        while todo:
            current = todo.pop()
            found = (await self._wait(current)).builds
            waits[current.uid] = [other.uid for other in found]
            todo += [other for other in found if other.uid not in views]
            views |= {other.uid: other for other in found}
        members = [views[uid] for uid in circle(build.uid, waits)]
        if not members or max(members, key=lambda b: (b.created, b.uid)).uid != build.uid:
            return ""
        others = sorted(other.name for other in members if other.uid != build.uid)
        return f"{', '.join(others)} and this build wait for each other" if others else "this build waits for itself"

    async def _wait(self, build: BuildView) -> _Wait:
        rerun = await self._find(build.spec.rerun_of)
        first = (rerun,) if rerun is not None and rerun.status.state not in TERMINAL else ()
        leader = await self._leader(build)
        if leader.build is None:
            return _Wait(first, leader.problem)
        if leader.build.spec.after_build is None:
            return _Wait(first)
        parent = await self._find(leader.build.spec.after_build)
        if parent is None:
            return _Wait(first, f"CoprBuild {leader.build.spec.after_build} does not exist")
        other = await self._leader(parent)
        if other.build is None and not other.circular:
            return _Wait(first, other.problem)
        return await self._for_batch(first, parent, other.build or parent)

    async def _for_batch(self, first: tuple[BuildView, ...], parent: BuildView, leader: BuildView) -> _Wait:
        """`parent` is the build that is named; all of its batch must end."""
        members = {view.uid: view for view in (parent, leader) if view.status.state not in TERMINAL}
        for view in self._active:
            found = (await self._leader(view)).build
            if found is not None and found.uid == leader.uid:
                members.setdefault(view.uid, view)
        if not members:
            return _Wait(first)
        one = members.get(parent.uid) or next(iter(members.values()))
        of_batch = "" if one is parent else " of the same batch"
        return _Wait((*first, *members.values()), f"CoprBuild {one.name}{of_batch} has not ended")

    async def _leader(self, build: BuildView) -> _Leader:
        known = self._leaders.get(build.uid)
        if known is None:
            known = self._leaders[build.uid] = await self._follow(build)
        return known

    async def _follow(self, build: BuildView) -> _Leader:
        current, seen = build, {build.uid}
        for _ in range(DEPTH):
            if current.spec.with_build is None:
                return _Leader(current)
            following = await self._find(current.spec.with_build)
            if following is None:
                return _Leader(None, f"CoprBuild {current.spec.with_build} does not exist")
            if following.uid in seen:
                return _Leader(None, f"the chain of withBuild from {build.name} is a circle", circular=True)
            seen.add(following.uid)
            current = following
        return _Leader(None, f"the chain of withBuild from {build.name} has more than {DEPTH} builds")

    async def _find(self, name: str | None) -> BuildView | None:
        return None if name is None else await self._lookup(self._namespace, name)
