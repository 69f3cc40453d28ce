from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.unit.backend.world import World


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = await World(tmp_path / "store").start()
    yield world
    await world.close()
