"""Which chroots a build is for."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Selection:
    """The chosen chroots in the project's order, or why there are none."""

    chroots: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""


def select(wanted: Sequence[str] | None, excluded: Sequence[str] | None, enabled: Sequence[str]) -> Selection:
    """`wanted` and `excluded` are names or shell patterns, `enabled` the project's chroots. No `wanted` means all.

    Copr turns an exclusion that leaves nothing into "all chroots"; here it is an error, since nobody means that.
    """
    for pattern in wanted or ():
        if not any(fnmatchcase(name, pattern) for name in enabled):
            return Selection(
                reason="ChrootNotInProject",
                message=f"{pattern!r} matches none of the project's chroots: {', '.join(enabled)}",
            )
    chosen = tuple(
        name
        for name in enabled
        if (wanted is None or any(fnmatchcase(name, pattern) for pattern in wanted))
        and not any(fnmatchcase(name, pattern) for pattern in excluded or ())
    )
    if not chosen:
        return Selection(reason="NoChroots", message="excludeChroots leaves no chroot to build in")
    return Selection(chroots=chosen)
