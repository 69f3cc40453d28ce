"""A world with a running controller and a frontend before it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.frontend import Site, frontend
from tests.support.world import World


@pytest.fixture
async def site(here: World, tmp_path: Path) -> AsyncIterator[Site]:
    await here.create_chroots()
    async with here.controller(), frontend(here, tmp_path) as running:
        await running.person("alice")
        yield running
