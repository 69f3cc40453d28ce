"""The controller in a model world: any order of events, crashes and faults that hypothesis can think of.

What is real: core.plan, the store, the reconciler, the executor, the queue, the resync and the id allocator. What is a
model: the API server, the cluster, the backend, the watches and time (see the modules beside this one). What must hold
is in invariants.py (on every write) and at the end of machine.py (when all calms down).

`make test` runs EXAMPLES examples of STEPS steps with a new seed each time, and prints how to repeat a failure. More:
COPR_MODEL_EXAMPLES=20000 COPR_MODEL_STEPS=80 .venv/bin/python -m pytest tests/model/test_model.py
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.model.machine import Machine

EXAMPLES = int(os.environ.get("COPR_MODEL_EXAMPLES", "300"))
STEPS = int(os.environ.get("COPR_MODEL_STEPS", "40"))
MUTANT = os.environ.get("COPR_MODEL_MUTANT") == "1"
"""Set by test_mutants.py: the same examples each time, and the first failure will do."""


class TestController(Machine.TestCase):  # type: ignore[misc, name-defined]
    settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=MUTANT,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        phases=[Phase.generate] if MUTANT else [Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


pytestmark = pytest.mark.timeout(3600 if EXAMPLES > 300 else 300)
