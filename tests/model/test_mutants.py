"""The model finds mistakes: each mutant of the controller breaks the invariant that stands for its policy."""

import pytest

from tests.model import examples, scenes
from tests.model.mutants import MUTANTS, Mutant, living
from tests.support.mutation import Edit, MutationError

EXAMPLES, STEPS = 60, 40


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_it_is_caught_by_its_invariant(mutant: Mutant) -> None:
    with living(mutant), pytest.raises(AssertionError, match=mutant.caught_by):
        show(mutant)


def show(mutant: Mutant) -> None:
    """Without a scene of its own it has to show in the examples."""
    if mutant.scene is not None:
        scenes.play(mutant.scene)
    else:
        examples.run(EXAMPLES, STEPS)


def test_without_a_mutant_the_same_examples_pass() -> None:
    examples.run(EXAMPLES, STEPS)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("was never there", "", "0 times"),
        ("uid", "name", r"\d+ times"),
        ("return uid", "return (uid)", "mean the same"),
    ],
)
def test_a_mutation_that_no_longer_applies_is_an_error(old: str, new: str, why: str) -> None:
    mutant = Mutant("", Edit(a_function, old, new), "")
    with pytest.raises(MutationError, match=why):
        living(mutant).__enter__()


def a_function(uid: str) -> str:
    return uid
