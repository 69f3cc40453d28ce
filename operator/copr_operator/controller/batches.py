"""Batches (`afterBuild`, `withBuild`): which other builds must end before a build may start.

As in Copr (frontend `batches_logic.py`): builds joined by `withBuild` form a batch; `afterBuild` blocks a batch until
every build of the other one has ended, in whatever way.
"""

from collections.abc import Awaitable, Callable, Iterable

from copr_operator.api.common import TERMINAL
from copr_operator.core.observed import Batch, BuildView

Lookup = Callable[[str, str], Awaitable[BuildView | None]]

DEPTH = 32
"""Links that are followed before a chain counts as a circle."""


async def batch_of(build: BuildView, joined: Iterable[BuildView], lookup: Lookup) -> Batch:
    """Whether the build's batch is blocked, and by what.

    `joined`: the builds of its namespace that have a `withBuild` and have not ended.
    """
    if build.spec.after_build is None and build.spec.with_build is None:
        return Batch()
    leader, problem = await _leader(build, lookup)
    if leader is None:
        return Batch(blocked=True, message=problem)
    if leader.spec.after_build is None:
        return Batch()
    parent = await lookup(build.namespace, leader.spec.after_build)
    if parent is None:
        return Batch(blocked=True, message=f"CoprBuild {leader.spec.after_build} does not exist")
    parent_leader, problem = await _leader(parent, lookup)
    if parent_leader is None:
        return Batch(blocked=True, message=problem)
    if parent.status.state not in TERMINAL:
        return Batch(blocked=True, message=f"CoprBuild {parent.name} has not ended")
    for other in (parent_leader, *joined):
        if other.status.state in TERMINAL:
            continue
        other_leader, _ = await _leader(other, lookup)
        if other_leader is not None and other_leader.uid == parent_leader.uid:
            return Batch(blocked=True, message=f"CoprBuild {other.name} of the same batch has not ended")
    return Batch()


async def _leader(build: BuildView, lookup: Lookup) -> tuple[BuildView | None, str]:
    """The build at the end of the chain of `withBuild`: its `afterBuild` counts for the whole batch."""
    current = build
    for _ in range(DEPTH):
        if current.spec.with_build is None:
            return current, ""
        following = await lookup(current.namespace, current.spec.with_build)
        if following is None:
            return None, f"CoprBuild {current.spec.with_build} does not exist"
        current = following
    return None, f"the chain of withBuild from {build.name} does not end"
