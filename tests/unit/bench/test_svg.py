"""The bench's charts: well-formed, and every point where its numbers say."""

from xml.etree import ElementTree

import pytest

from tests.bench import svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


def dots(text: str) -> list[tuple[float, float]]:
    circles = ElementTree.fromstring(text).iter(f"{NAMESPACE}circle")  # noqa: S314 (our own text)
    return [(float(circle.attrib["cx"]), float(circle.attrib["cy"])) for circle in circles]


def test_x_is_logarithmic_and_y_is_linear_from_zero() -> None:
    (x1, y1), (x2, y2), (x3, y3) = dots(svg.chart("t", "x", "y", {"a": [(100, 0), (1000, 5), (10_000, 10)]}))
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    assert y1 == svg.HEIGHT - svg.BOTTOM, "zero is on the axis"


def test_every_point_is_inside_the_picture() -> None:
    for x, y in dots(svg.chart("t", "x", "y", {"a": [(1, 0.001), (50_000, 0.0999)], "b": [(7, 0.05)]})):
        assert svg.LEFT <= x <= svg.WIDTH - svg.RIGHT
        assert svg.TOP <= y <= svg.HEIGHT - svg.BOTTOM


def test_names_are_text_whatever_they_hold() -> None:
    text = svg.chart("a < b & c", "x", "y", {"<series>": [(1, 1)]})
    found = [element.text for element in ElementTree.fromstring(text).iter(f"{NAMESPACE}text")]  # noqa: S314
    assert "a < b & c" in found
    assert "<series>" in found


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [(0, 1)]}])
def test_a_chart_of_nothing_or_of_zero_on_a_logarithmic_axis_is_refused(series: dict[str, list[svg.Point]]) -> None:
    with pytest.raises(ValueError, match="positive x"):
        svg.chart("t", "x", "y", series)
