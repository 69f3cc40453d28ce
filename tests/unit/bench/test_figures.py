"""Figures, targets, statistics, the table and the JSON of the bench."""

import json

import pytest

from tests.bench.figures import Figure, Target, figure, percentile, slope, table, to_json


@pytest.mark.parametrize(
    ("target", "value", "baseline", "met"),
    [
        (Target("<=", 15), 15.0, None, True),
        (Target("<=", 15), 15.1, None, False),
        (Target(">=", 0.8, "ratio"), 40.0, 50.0, True),
        (Target(">=", 0.8, "ratio"), 39.9, 50.0, False),
        (Target("<=", 50, "difference"), 2100.0, 2050.0, True),
        (Target("<=", 50, "difference"), 2101.0, 2050.0, False),
        (Target("<=", 0.2, "ratio"), 1.0, 0.0, False),
    ],
)
def test_a_target_bounds_a_value_or_how_it_stands_to_the_baseline(
    target: Target, value: float, baseline: float | None, met: bool
) -> None:
    assert Figure("P1", "x", "ms", value, baseline, target).ok is met


def test_a_target_that_needs_a_baseline_does_not_pass_without_one() -> None:
    with pytest.raises(ValueError, match="needs a baseline"):
        _ = Figure("P1", "x", "ms", 1.0, target=Target("<=", 1, "ratio")).ok


def test_a_figure_without_a_target_is_not_judged() -> None:
    assert Figure("P1", "x", "ms", 1.0).ok is None


def test_repetitions_become_their_median_and_range() -> None:
    made = figure("P3", "x", "/s", [50.0, 10.0, 30.0], baseline=[60.0, 60.0, 1.0])
    assert (made.value, made.low, made.high, made.baseline, made.ratio) == (30.0, 10.0, 50.0, 60.0, 0.5)


def test_one_repetition_has_no_range() -> None:
    made = figure("P3", "x", "/s", [50.0])
    assert (made.value, made.low, made.high, made.baseline) == (50.0, None, None, None)


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 3), (99, 5), (100, 5)])
def test_a_percentile_is_a_value_that_was_seen(percent: float, expected: float) -> None:
    assert percentile([5, 3, 1, 2, 4], percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


def test_the_slope_is_growth_for_each_unit() -> None:
    assert slope([(0, 80), (1, 82), (10, 100)]) == pytest.approx(2)


def test_the_json_is_a_list_of_objects_with_these_fields() -> None:
    made = figure("P2", "writes", "", [9.5, 8.123456], baseline=[10.0], target=Target("<=", 10))
    assert json.loads(to_json([made])) == [
        {"id": "P2", "name": "writes", "unit": "", "value": 8.812, "baseline": 10.0, "ratio": 0.8812,
         "target": "<= 10", "ok": True, "range": [8.123, 9.5]},
    ]  # fmt: skip


def test_the_table_shows_each_figure_in_a_line_and_what_missed_its_target() -> None:
    lines = table([
        Figure("P1", "latency", "ms", 21.04, 8.0, Target("<=", 15)),
        Figure("P3", "rate", "/s", 1234.5, 1000.0, Target(">=", 0.8, "ratio")),
        Figure("P8", "reads", "", 0),
    ]).splitlines()  # fmt: skip
    assert len({len(line) for line in lines}) == 1, "aligned"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [
        ["P1", "latency", "21 ms", "", "8", "2.63", "<= 15", "NO"],
        ["P3", "rate", "1234 /s", "", "1000", "1.23", ">= 0.8 x baseline", "yes"],
        ["P8", "reads", "0", "", "", "", "", ""],
    ]
