"""Our handlers under kopf's own test kit: `kopf run` starts, feeds the store, and ends without an error."""

import logging
from collections.abc import Iterator

import kopf
import pytest
from kopf.testing import KopfRunner

from copr_operator.controller.store import Key, Store
from copr_operator.controller.transport import Feeder, operator_settings, registry
from tests.support.world import WAIT, World, eventually


@pytest.fixture
def as_before() -> Iterator[None]:
    """`kopf run` is made to own its process: it sets up logging and its default registry for all of it."""
    root, registered = logging.getLogger(), kopf.get_default_registry()
    handlers, level = list(root.handlers), root.level
    yield
    kopf.set_default_registry(registered)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("as_before")
async def test_kopf_runs_our_handlers_until_it_is_stopped(here: World) -> None:
    woken: list[Key] = []
    store = Store(woken.append, here.namespace)
    feeder = Feeder(store)
    await here.create_chroots()
    await here.create_project()
    await here.create_build("before")
    runner = KopfRunner(
        ["run", "--standalone", f"--namespace={here.namespace}", "--log-format=plain"],
        registry=registry(feeder, here.kube),
        settings=operator_settings(),
        timeout=WAIT,
    )
    with runner:

        async def seen(name: str) -> bool:
            return store.builds.get(here.namespace, name) is not None

        await eventually(lambda: seen("before"), lambda: "the build that was there is not seen")
        await here.create_build("after")
        await eventually(lambda: seen("after"), lambda: "the build that was made is not seen")
        await here.delete("coprbuilds", "before")

        async def forgotten() -> bool:
            return not await seen("before")

        await eventually(forgotten, lambda: "the build that was deleted stays")
        assert len(store.projects) == 1
        assert len(store.chroots) == 2
    assert runner.exit_code == 0
    assert runner.exception is None
    assert Key("build", here.namespace, "after") in woken
    assert (await here.build("after"))["metadata"].get("finalizers") is None, "kopf keeps nothing in our objects"
