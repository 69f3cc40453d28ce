"""The time by the API server's clock, as the `Date` of its answers tells it.

Everything that is older or younger than something else was dated by the API server: a clock of our own that is wrong
by an hour would end builds that have just begun, or wait an hour too long.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class ClusterClock:
    """The own clock, kept within what the API server's answers allow.

    An answer is dated in whole seconds, some time between question and answer: so each gives bounds for the distance
    of the API server's clock from our monotonic one, and all that agree give their intersection.
    """

    def __init__(self, own: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`own`: seconds since the epoch."""
        self._own = own
        self._monotonic = monotonic
        self._bounds: tuple[float, float] | None = None
        """Least and greatest distance that the answers allow; None before the first one."""
        self._heard: tuple[str | None, float] = (None, 0.0)
        """The last date, as it was written and in seconds since the epoch."""

    def now(self) -> datetime:
        """The present; not monotonic: a clock that is set back is followed."""
        return datetime.fromtimestamp(self._seconds(), UTC)

    @property
    def wrong_by(self) -> float:
        """Seconds that the own clock is ahead of the API server's at least; negative: behind; 0: they may agree."""
        return self._own() - self._seconds()

    def _seconds(self) -> float:
        if self._bounds is None:
            return self._own()
        low, high = self._bounds
        passed = self._monotonic()
        return min(max(self._own(), passed + low), passed + high)

    def asked(self) -> float:
        """To be given to `answered` with the answer."""
        return self._monotonic()

    def answered(self, date: str, asked: float) -> None:
        """An answer has come. `date`: its header, as in RFC 9110; one that can't be read says nothing."""
        if date != self._heard[0]:
            try:
                self._heard = date, parsedate_to_datetime(date).timestamp()
            except ValueError:
                return
        dated = self._heard[1]
        low, high = dated - self._monotonic(), dated + 1 - asked
        if self._bounds is not None:
            within = max(low, self._bounds[0]), min(high, self._bounds[1])
            if within[0] <= within[1]:
                low, high = within
        self._bounds = low, high  # those that no longer agree tell of a clock that was set, or of another server
