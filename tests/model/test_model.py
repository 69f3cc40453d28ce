"""The controller in a model world: any order of events, crashes and faults that hypothesis can think of.

What is real: core.plan, the store, the reconciler, the executor, the queue, the resync and the id allocator. What is a
model: the API server, the cluster, the backend, the watches and time (see the modules beside this one). What must hold
is in invariants.py (on every write) and at the end of machine.py (when all calms down).

`make test` runs EXAMPLES examples of STEPS steps with a new seed each time; a failure says how to see it again. A long
run: COPR_MODEL_EXAMPLES=20000 COPR_MODEL_STEPS=80 .venv/bin/python -m pytest tests/model/test_model.py
"""

import os
import secrets

import pytest

from tests.model import examples

EXAMPLES = int(os.environ.get("COPR_MODEL_EXAMPLES", "300"))
STEPS = int(os.environ.get("COPR_MODEL_STEPS", "40"))
SEED = int(os.environ.get("COPR_MODEL_SEED") or secrets.randbits(32))


@pytest.mark.timeout(600 + EXAMPLES)
def test_no_build_is_stuck_lost_or_doubled_whatever_happens() -> None:
    try:
        examples.run(EXAMPLES, STEPS, start=SEED)
    except BaseException as error:
        error.add_note(f"again: COPR_MODEL_SEED={SEED} COPR_MODEL_EXAMPLES={EXAMPLES} COPR_MODEL_STEPS={STEPS}")
        raise
