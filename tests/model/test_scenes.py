"""Every scene comes to a good end."""

from collections.abc import Callable

import pytest

from tests.model.batch_scenes import BATCH_SCENES
from tests.model.fork_scenes import FORK_SCENES
from tests.model.package_scenes import PACKAGE_SCENES
from tests.model.pod_scenes import POD_SCENES
from tests.model.scenes import SCENES, Story, play


@pytest.mark.parametrize(
    "scene", [*SCENES, *POD_SCENES, *PACKAGE_SCENES, *FORK_SCENES, *BATCH_SCENES], ids=lambda scene: scene.__name__
)
def test_all_ends_well_after(scene: Callable[[Story], None]) -> None:
    play(scene)
