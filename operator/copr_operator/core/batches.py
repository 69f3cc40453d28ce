"""What is known of a build's links (`afterBuild`, `withBuild`): its batch, and the one that it comes after. Pure.

A batch is called by the build it began with, and outlives it. What was found of the links is latched in the status
(`status.batch`): builds may be deleted, and a name that was there once must not be waited for again.
"""

from copr_operator.api.build import BatchStatus
from copr_operator.core.observed import BuildView


def is_linked(build: BuildView) -> bool:
    return build.spec.after_build is not None or build.spec.with_build is not None


def named_links(build: BuildView) -> BatchStatus:
    """As the spec has them: nothing of it was looked for yet."""
    if build.spec.with_build is not None:
        return BatchStatus(leader=build.spec.with_build, missing=build.spec.with_build)
    return BatchStatus(leader=build.name, after=build.spec.after_build, missing=build.spec.after_build)


def known_links(build: BuildView) -> BatchStatus:
    """As they were found last, else as the spec has them."""
    return build.status.batch or named_links(build)


def leader_is_known(links: BatchStatus) -> bool:
    """Whether `leader` is the end of the chain of `withBuild`; only then it is known what the batch comes after."""
    return links.missing is None or links.after is not None
