"""The ways the backend says no, and the one in which it can't tell."""

from copr_operator.core.reasons import FAILURES


class RefusedError(Exception):
    """What the step brought can't be accepted; ends up in its StepSummary. `reason` is one of core.reasons.FAILURES."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = FAILURES[reason].name
        self.message = message


class HttpError(Exception):
    """An answer other than 2xx: `{"error": message, "reason": reason}`, and `extra` beside them."""

    def __init__(self, status: int, message: str, reason: str = "", **extra: object) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.extra = extra


class UnreadableError(OSError):
    """An RPM could not be read now, also not by another reader: nothing is known of the file, asking again may help."""

    def __init__(self, message: str, *, deadly: bool) -> None:
        super().__init__(message)
        self.message = message
        self.deadly = deadly
        """Both readers died, hung or ran out of memory: that is likely to be the file's doing."""
