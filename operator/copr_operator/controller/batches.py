"""Batches (`afterBuild`, `withBuild`): which other builds must end before a build may start.

As in Copr (frontend `batches_logic.py`): builds joined by `withBuild` form a batch; `afterBuild` blocks a batch until
every build of the other one has ended, in whatever way. Copr can't have circles, because a build can only name one that
exists; here names come first, so a circle is found, and the build that closed it (the youngest) fails.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from copr_operator.api.build import BatchStatus
from copr_operator.api.common import TERMINAL
from copr_operator.controller.store import Key, Store
from copr_operator.core.batches import is_linked, known_links, leader_is_known, named_links
from copr_operator.core.circles import circle, in_no_circle
from copr_operator.core.observed import Batch, BuildView

Lookup = Callable[[str, str], Awaitable[BuildView | None]]


@dataclass(frozen=True)
class _Links:
    """What following the links of a build has brought."""

    found: BatchStatus
    circular: bool = False
    """The chain of `withBuild` comes back to itself."""


@dataclass(frozen=True)
class _Seen:
    """One build of a search for circles."""

    build: BuildView
    found: BatchStatus
    waits: tuple[BuildView, ...]


class Batches:
    """The links between builds. `lookup` finds ended ones too; the store has those without an end.

    A circle is closed by a build that comes, or by a name that is found. So each build looks for one when it is first
    asked about, and again only when what is known of its links has changed. What one search has shown the next one
    does not look at again, unless a build has come meanwhile: builds that are there already, in whatever order they are
    asked about, cost one look at each of their links.
    """

    def __init__(self, store: Store, lookup: Lookup, wake: Callable[[Key], None]) -> None:
        self._store = store
        self._lookup = lookup
        self._wake = wake
        self._searched: dict[str, BatchStatus] = {}
        """By uid: the links with which a build has looked for a circle."""
        self._clear: set[str] = set()
        """uids of builds from which no circle could be reached while `store.links` was `_links_then`."""
        self._links_then = 0

    def forget(self, uid: str) -> None:
        self._searched.pop(uid, None)
        self._clear.discard(uid)

    async def of(self, build: BuildView) -> Batch:
        """What the build waits for, as long as it has not begun."""
        spec = build.spec
        if spec.rerun_of is None and not is_linked(build):
            return Batch()
        links = await self._links(build)
        found = links.found
        if links.circular:
            problem = f"the chain of withBuild from {build.name} is a circle"
            return Batch(blocked=True, message=problem, circle=problem)
        message = ""
        if found.missing is not None:
            message = f"CoprBuild {found.missing} does not exist"
        elif found.after is not None and (one := await self._in_the_way(build, found.after)) is not None:
            of_batch = "" if one.name in (spec.after_build, found.after) else " of the same batch"
            message = f"CoprBuild {one.name}{of_batch} has not ended"
        latch = found if found != named_links(build) else None
        return Batch(bool(message), message, await self._circle(build, found), latch)

    # -- links -----------------------------------------------------------------------------------------------------

    async def _links(self, build: BuildView) -> _Links:
        """Goes on from what is latched: first to the leader of its own batch, then to that of the one before."""
        found = known_links(build)
        if not leader_is_known(found):
            end = await self._follow(build.namespace, found.leader, {build.name})
            if end is None:
                return _Links(found, circular=True)
            found = end
        if found.missing is not None and found.after is not None:
            end = await self._follow(build.namespace, found.after, set())
            # Of a chain that comes back to itself all fail: the build that is named stands for itself.
            after = found.after if end is None else end.leader
            missing = after if end is not None and not leader_is_known(end) else None
            found = BatchStatus(leader=found.leader, after=after, missing=missing)
        return _Links(found)

    async def _follow(self, namespace: str, name: str, before: set[str]) -> BatchStatus | None:
        """The links of the batch that the build of this name is in; None when its chain comes back to itself.

        One step for each build whose links were not found yet: the others know their leader.
        """
        while name not in before:
            before.add(name)
            view = await self._lookup(namespace, name)
            if view is None:
                return self._remembered(namespace, name) or BatchStatus(leader=name, missing=name)
            links = known_links(view)
            if leader_is_known(links):
                return links
            name = links.leader
        return None

    def _remembered(self, namespace: str, leader: str) -> BatchStatus | None:
        """The links of a batch whose first build is gone, by those that have joined it and have not ended."""
        latched = (known_links(view) for view in self._store.joined(namespace, leader))
        return next((links for links in latched if leader_is_known(links)), None)

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def _in_the_way(self, build: BuildView, after: str) -> BuildView | None:
        """A build of that batch that has not ended, if possible the one that was named."""
        for name in (build.spec.after_build, after):
            view = self._store.builds.get(build.namespace, name) if name is not None else None
            if view is not None and view.status.state not in TERMINAL:
                return view
        for view in self._store.joined(build.namespace, after):
            if view.status.state not in TERMINAL:
                return view
        return next(iter(await self._members(build.namespace, after)), None)

    async def _members(self, namespace: str, leader: str) -> tuple[BuildView, ...]:
        """All of a batch that have not ended."""
        found: dict[str, BuildView] = {}
        names, seen = [leader], {leader}
        while names:
            name = names.pop()
            first = self._store.builds.get(namespace, name)
            for view in (*([first] if first is not None else []), *self._store.joined(namespace, name)):
                found[view.uid] = view
                if view.name not in seen:
                    seen.add(view.name)
                    names.append(view.name)
        for view in list(self._store.joining(namespace)):
            if view.uid not in found and (await self._links(view)).found.leader == leader:
                found[view.uid] = view
        return tuple(view for view in found.values() if view.status.state not in TERMINAL)

    async def _waits(self, build: BuildView, found: BatchStatus) -> tuple[BuildView, ...]:
        """What a build waits for directly. One that has begun waits for nothing."""
        if build.status.state in TERMINAL or (build.status.source and build.status.source.state != "pending"):
            return ()
        name = build.spec.rerun_of
        rerun = await self._lookup(build.namespace, name) if name is not None else None
        first = (rerun,) if rerun is not None and rerun.status.state not in TERMINAL else ()
        if found.after is None or found.missing is not None:
            return first
        return (*first, *await self._members(build.namespace, found.after))

    # -- circles ---------------------------------------------------------------------------------------------------

    async def _circle(self, build: BuildView, found: BatchStatus) -> str:
        """In words, the circle that this build has closed; empty when there is none, or another build is younger:
        that one is woken."""
        if self._searched.get(build.uid) == found:
            return ""
        if not self._store.waiting_for(build):
            return ""  # nobody yet: it is asked again when its links are found
        self._searched[build.uid] = found
        seen = await self._reached(build, found)
        waits = {uid: [other.uid for other in one.waits] for uid, one in seen.items()}
        members = [seen[uid].build for uid in circle(build.uid, waits)]
        if not members:
            self._note(seen, waits)
            return ""
        for member in members:  # when the youngest has failed, others may still wait for each other
            self._searched.pop(member.uid, None)
        youngest = max(members, key=lambda b: (b.created, b.uid))
        if youngest.uid != build.uid:
            self._wake(Key("build", youngest.namespace, youngest.name))
            return ""
        others = sorted(other.name for other in members if other.uid != build.uid)
        return f"{', '.join(others)} and this build wait for each other" if others else "this build waits for itself"

    async def _reached(self, build: BuildView, found: BatchStatus) -> dict[str, _Seen]:
        """By uid: the build, and all that it waits for in the end; of what is clear only that it is there."""
        if self._links_then != self._store.links:
            self._links_then = self._store.links
            self._clear.clear()
        seen: dict[str, _Seen] = {}
        todo = [(build, found)]
        while todo:
            current, links = todo.pop()
            if current.uid in seen:
                continue
            clear = current.uid in self._clear
            seen[current.uid] = _Seen(current, links, () if clear else await self._waits(current, links))
            new = [other for other in seen[current.uid].waits if other.uid not in seen]
            todo += [(other, (await self._links(other)).found) for other in new]
        return seen

    def _note(self, seen: Mapping[str, _Seen], waits: Mapping[str, list[str]]) -> None:
        """What this search has shown of others they need not look for again."""
        for uid in in_no_circle(waits):
            if seen[uid].waits:
                self._searched[uid] = seen[uid].found
                self._clear.add(uid)
