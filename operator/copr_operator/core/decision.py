"""What a plan is: actions, or a status and how soon it is written, and when to look again."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from copr_operator.api.build import BuildStatus
from copr_operator.core.actions import Action


class Urgency(IntEnum):
    """How soon a changed status must be written."""

    NOW = 0
    """Something rests on it: the id, the SRPM, an end."""
    SOON = 1
    """A new state or reason: at most once in two seconds."""
    LAZY = 2
    """Only the words are other: at most once a minute."""


@dataclass(frozen=True)
class Plan:
    """What to do about one build."""

    actions: tuple[Action, ...] = ()
    status: BuildStatus | None = None
    """The status as it should be; None leaves it alone."""
    urgency: Urgency = Urgency.LAZY
    requeue_at: datetime | None = None
    """When to look again if nothing happens: a deadline or a retry is due."""
    forget: bool = False
    """The build needs no more attention."""


_DOING = frozenset({"Queued", "Starting", "SourceRunning", "Building", "Importing"})
"""Reasons that only say more exactly what a state does: another one within a state is not worth a write."""


def urgency(old: BuildStatus, new: BuildStatus, *, important: bool) -> Urgency:
    """How soon `new` must take the place of `old`."""
    if important:
        return Urgency.NOW
    return Urgency.LAZY if _without_words(old) == _without_words(new) else Urgency.SOON


def _without_words(status: BuildStatus) -> BuildStatus:
    conditions = [
        c.model_copy(update={"message": "", "reason": "" if c.reason in _DOING else c.reason})
        for c in status.conditions
    ]
    return status.model_copy(update={"conditions": conditions})
