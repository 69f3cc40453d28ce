"""Who waits for whom in a circle."""

import pytest

from copr_operator.core.circles import circle, in_no_circle


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ({}, ""),
        ({"a": ["b"], "b": ["c"]}, ""),
        ({"a": ["a"]}, "a"),
        ({"a": ["b"], "b": ["a"]}, "ab"),
        ({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}, "abc"),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ""),
        ({"a": ["b", "c"], "b": ["a"], "c": ["d"], "d": ["a"], "e": ["c"]}, "abcd"),
        ({"a": ["b", "x"], "b": ["a"], "x": ["y"], "y": ["x"]}, "ab"),
    ],
)
def test_the_circle_through_a(waits: dict[str, list[str]], expected: str) -> None:
    assert circle("a", waits) == frozenset(expected)


def test_a_long_chain_is_followed_to_its_end() -> None:
    chain = {str(n): [str(n + 1)] for n in range(5000)}
    assert circle("0", chain) == frozenset()
    assert len(circle("0", {**chain, "5000": ["0"]})) == 5001


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ({}, ""),
        ({"a": ["b", "b"], "b": ["c"]}, "abc"),
        ({"a": ["a"], "b": []}, "b"),
        ({"a": ["b"], "b": ["a"], "c": ["a", "d"], "d": ["e"]}, "de"),
    ],
)
def test_those_from_which_no_circle_is_reached(waits: dict[str, list[str]], expected: str) -> None:
    assert in_no_circle(waits) == frozenset(expected)
