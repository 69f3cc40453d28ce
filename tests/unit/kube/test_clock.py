"""What time it is by the API server's clock, whatever the own clock says."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from copr_operator.kube.clock import ClusterClock

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
HOUR = 3600.0


class Machines:
    """An API server and a machine whose clock is off."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off
        self.passed = 0.0
        self.server_off = 0.0
        self.clock = ClusterClock(own=lambda: self.true + self.off, monotonic=lambda: 5000.0 + self.passed)

    @property
    def true(self) -> float:
        return NOON.timestamp() + self.passed

    def request(self, takes: float = 0.01) -> None:
        """The API server writes its answer in the middle of that time."""
        asked = self.clock.asked()
        self.passed += takes / 2
        date = format_datetime(datetime.fromtimestamp(int(self.true + self.server_off), UTC), usegmt=True)
        self.passed += takes / 2
        self.clock.answered(date, asked)

    @property
    def wrong(self) -> float:
        return self.clock.now().timestamp() - (self.true + self.server_off)


def test_before_any_answer_it_is_the_own_clock() -> None:
    here = Machines(off=HOUR)
    assert here.wrong == HOUR
    assert here.clock.wrong_by == 0


def test_a_clock_that_agrees_is_not_touched() -> None:
    here = Machines()
    for _ in range(20):
        here.request()
        assert here.wrong == 0
        here.passed += 0.37
    assert here.clock.wrong_by == 0


@pytest.mark.parametrize("off", [HOUR, -HOUR, 90.0, -2.5])
def test_one_answer_is_enough_to_be_right_to_a_second(off: float) -> None:
    here = Machines(off)
    here.request()
    assert abs(here.wrong) <= 1.01
    assert here.clock.wrong_by == pytest.approx(off, abs=1.02)


@pytest.mark.parametrize("off", [HOUR, -HOUR])
def test_more_answers_make_it_exact(off: float) -> None:
    here = Machines(off)
    for _ in range(30):
        here.request(takes=0.02)
        here.passed += 0.31
    assert abs(here.wrong) < 0.1


def test_an_answer_that_took_long_takes_nothing_from_what_is_known() -> None:
    here = Machines(HOUR)
    for _ in range(30):
        here.request(takes=0.02)
        here.passed += 0.31
    before = here.wrong
    here.request(takes=25)
    assert here.wrong == pytest.approx(before, abs=0.02)


def test_time_goes_on_between_answers() -> None:
    here = Machines(HOUR)
    here.request()
    here.passed += 500
    assert abs(here.wrong) <= 1.01


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_an_own_clock_that_jumps_changes_nothing(jump: float) -> None:
    here = Machines()
    here.request()
    here.off = jump
    assert abs(here.wrong) <= 1.01


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_an_api_server_whose_clock_was_set_is_followed(jump: float) -> None:
    here = Machines()
    here.request()
    here.server_off = jump
    here.request()
    assert abs(here.wrong) <= 1.01


@pytest.mark.parametrize("date", ["", "tomorrow", "Thu, 99 Jan 2026 12:00:00 GMT"])
def test_a_date_that_can_not_be_read_says_nothing(date: str) -> None:
    here = Machines(HOUR)
    here.clock.answered(date, here.clock.asked())
    assert here.wrong == HOUR
    here.request()
    before = here.wrong
    here.clock.answered(date, here.clock.asked())
    assert here.wrong == before
