"""What one build of two chroots writes when nothing goes wrong."""

from collections import Counter
from contextlib import closing

import pytest

from tests.model.calm import check_that_all_ends_well
from tests.model.invariants import status_of
from tests.model.loop import CLOCK
from tests.model.world import ARM, X86, World

CHROOTS = 2
ROUNDS = 40


@pytest.mark.parametrize(("slowly", "most"), [(False, 5), (True, 6 + CHROOTS)], ids=["at once", "slowly"])
def test_a_build_writes_no_more_than_its_budget(slowly: bool, most: int) -> None:
    """Its pods go straight to their end, or every state of theirs lasts long enough to be shown."""
    world = World()
    with closing(world):
        world.define_chroot(X86)
        world.define_chroot(ARM)
        world.define_project()
        controller = world.start()
        world.rest()
        world.create_build("one")
        before = len(world.api.changes)
        for _ in range(ROUNDS):
            world.fair_round()
            if slowly:
                CLOCK.seconds += 2
            else:
                for work in world.cluster.busy():
                    world.cluster.run_to_end(work, "success")
        writes = Counter((c.plural, c.verb) for c in world.api.changes[before:] if c.by == controller.name)
        assert status_of(world.build("one")).state == "succeeded"
        status = writes.pop(("coprbuilds", "status"))
        assert writes == {("jobs", "create"): 1 + CHROOTS, ("coprbuilds", "update"): 1, ("configmaps", "create"): 1}
        assert status <= most
        check_that_all_ends_well(world)
