"""How hypothesis runs the machine: many new examples to find what nobody thought of, or the same few each time."""

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine


def run(examples: int, steps: int, *, start: int | None = None) -> None:
    """Examples of at most so many steps. `start` is the seed that they follow from, and the first that fails is made
    smaller; without it the examples are the same each time, and the first failure is raised as it is.

    Raises AssertionError for a broken invariant.
    """

    class Seeded(Machine):
        pass

    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=start is None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate] if start is None else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine if start is None else seed(start)(Seeded), settings=chosen)
