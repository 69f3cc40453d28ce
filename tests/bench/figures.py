"""What a run yields: figures with their targets, the table, the JSON, and a little statistics. Pure."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Of = Literal["value", "ratio", "difference"]


@dataclass(frozen=True)
class Target:
    """A bound on a figure itself, on its ratio to the baseline, or on its difference from the baseline."""

    sense: Literal["<=", ">="]
    bound: float
    of: Of = "value"

    def met(self, value: float, baseline: float | None) -> bool:
        """Raises ValueError when the target compares with a baseline that there is not."""
        compared = value
        if self.of != "value":
            if baseline is None:
                raise ValueError(f"{self} needs a baseline")
            compared = value - baseline if self.of == "difference" else value / baseline if baseline else math.inf
        return compared <= self.bound if self.sense == "<=" else compared >= self.bound

    def __str__(self) -> str:
        if self.of == "difference":
            return f"{self.sense} baseline {self.bound:+g}"
        return f"{self.sense} {self.bound:g}" + (" x baseline" if self.of == "ratio" else "")


@dataclass(frozen=True)
class Figure:
    """One measured number beside its baseline of the same run. Without a target it only informs."""

    id: str
    """Of the target it belongs to: P1 to P8, P6n, P7n, API."""
    name: str
    unit: str
    value: float
    baseline: float | None = None
    target: Target | None = None
    low: float | None = None
    """Lowest and highest of the repetitions, when there were several."""
    high: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if not self.baseline else self.value / self.baseline

    @property
    def ok(self) -> bool | None:
        return None if self.target is None else self.target.met(self.value, self.baseline)


def figure(
    id: str,  # noqa: A002 (the field's name)
    name: str,
    unit: str,
    samples: Sequence[float],
    *,
    baseline: Sequence[float] | None = None,
    target: Target | None = None,
) -> Figure:
    """The median of repetitions beside the median of the baseline's."""
    several = len(samples) > 1
    return Figure(
        id, name, unit, statistics.median(samples),
        baseline=statistics.median(baseline) if baseline else None, target=target,
        low=min(samples) if several else None, high=max(samples) if several else None,
    )  # fmt: skip


def percentile(samples: Iterable[float], percent: float) -> float:
    """The nearest-rank percentile: a value that was really seen. Raises ValueError without samples."""
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("no samples")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Growth of y for each unit of x, by least squares. Raises ValueError when all x are the same."""
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def to_json(figures: Iterable[Figure]) -> str:
    """build/bench.json: a list of objects."""
    return json.dumps([_as_dict(one) for one in figures], indent=1) + "\n"


def _as_dict(one: Figure) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": one.id, "name": one.name, "unit": one.unit, "value": _rounded(one.value),
        "baseline": _rounded(one.baseline), "ratio": _rounded(one.ratio),
        "target": None if one.target is None else str(one.target), "ok": one.ok,
    }  # fmt: skip
    if one.low is not None and one.high is not None:
        record["range"] = [_rounded(one.low), _rounded(one.high)]
    return record


def _rounded(number: float | None) -> float | None:
    """Four significant digits: more is noise."""
    return None if number is None else float(f"{number:.4g}")


HEADINGS = ("id", "figure", "value", "range", "baseline", "ratio", "target", "ok")


def table(figures: Iterable[Figure]) -> str:
    """The figures as a Markdown table, aligned for a terminal too."""
    rows = [HEADINGS, *(_row(one) for one in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in rows]  # fmt: skip
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _row(one: Figure) -> tuple[str, ...]:
    return (
        one.id,
        one.name,
        f"{_short(one.value)} {one.unit}",
        "" if one.low is None or one.high is None else f"{_short(one.low)}..{_short(one.high)}",
        "" if one.baseline is None else _short(one.baseline),
        "" if one.ratio is None else f"{one.ratio:.2f}",
        "" if one.target is None else str(one.target),
        {None: "", True: "yes", False: "NO"}[one.ok],
    )


def _short(number: float) -> str:
    """`1234`, `12.3`, `0.0123`: three digits that matter."""
    if number == 0 or abs(number) >= 1000:
        return f"{number:.0f}"
    return f"{number:.3g}"
