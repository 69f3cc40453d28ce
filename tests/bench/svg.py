"""Line charts as SVG, with logarithmic x: just enough for docs/performance.md. Pure."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Point = tuple[float, float]

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 48
COLOURS = ("#0b57d0", "#b3261e", "#146c2e", "#8430ce")


def chart(title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[Point]]) -> str:
    """One line for each of `series`; every x must be positive, y starts at 0. Raises ValueError without points."""
    points = [point for line in series.values() for point in line]
    if not points or any(x <= 0 for x, _ in points):
        raise ValueError("a chart needs points with positive x")
    ticks = _ticks(max(y for _, y in points))
    place = _Placing(min(x for x, _ in points), max(x for x, _ in points), ticks[-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{escape(title)}</text>',
        *_axes(place, sorted({x for x, _ in points}), ticks, x_label, y_label),
    ]
    for number, (name, line) in enumerate(series.items()):
        parts += _line(place, name, sorted(line), COLOURS[number % len(COLOURS)], number)
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Placing:
    """Where a point is on the picture."""

    def __init__(self, low: float, high: float, top: float) -> None:
        self._low, self._top = math.log10(low), top
        self._span = math.log10(high) - self._low or 1.0

    def x(self, value: float) -> float:
        return LEFT + (math.log10(value) - self._low) / self._span * (WIDTH - LEFT - RIGHT - 40) + 20

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self._top * (HEIGHT - TOP - BOTTOM)


def _ticks(highest: float) -> list[float]:
    """Four to eight round numbers from 0 to above the highest value."""
    if highest <= 0:
        return [0.0, 1.0]
    size = 10.0 ** math.floor(math.log10(highest))
    step = next(size * part for part in (0.2, 0.25, 0.5, 1.0, 2.0) if highest <= size * part * 7)
    return [step * number for number in range(math.ceil(highest / step) + 1)]


def _axes(place: _Placing, xs: Sequence[float], ticks: Sequence[float], x_label: str, y_label: str) -> list[str]:
    parts = []
    for tick in ticks:
        y = place.y(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts += [f'<text x="{place.x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,g}</text>' for x in xs]
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 6}" fill="#555">{escape(y_label)}</text>')
    return parts


def _line(place: _Placing, name: str, line: Sequence[Point], colour: str, number: int) -> list[str]:
    path = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in line)
    dots = [f'<circle cx="{place.x(x):.1f}" cy="{place.y(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in line]
    right = WIDTH - RIGHT
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *dots,
        f'<text x="{right}" y="{18 + 14 * number}" text-anchor="end" fill="{colour}">{escape(name)}</text>',
    ]
