"""Our handlers under kopf's own test kit: `kopf run` starts, feeds the store, and ends without an error."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

import kopf
import pytest
from kopf.testing import KopfRunner

from copr_operator.controller.feeder import Feeder
from copr_operator.controller.store import Key, Store
from copr_operator.controller.transport import operator_settings, registry
from copr_operator.kube.access import Access
from copr_operator.kube.client import KubeClient
from tests.support.api_proxy import ApiProxy
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


@contextlib.asynccontextmanager
async def running(runner: KopfRunner) -> AsyncIterator[None]:
    """Its end is waited for in a thread: the proxy works in this one."""
    runner.__enter__()
    try:
        yield
    finally:
        await asyncio.to_thread(runner.__exit__, None, None, None)


@pytest.mark.usefixtures("as_before")
async def test_kopf_runs_our_handlers_until_it_is_stopped(here: World) -> None:
    await here.create_chroots()
    await here.create_project()
    await here.create_build("before")
    woken: list[Key] = []
    store = Store(woken.append, here.namespace)
    # Through the proxy, as all controllers under test: KopfRunner closes its loop before TLS has said goodbye.
    async with ApiProxy(here.kube).serve() as proxy, KubeClient(Access(proxy.url)) as kube:
        runner = KopfRunner(
            ["run", "--standalone", f"--namespace={here.namespace}", "--log-format=plain"],
            registry=registry(Feeder(store), kube),
            settings=operator_settings(),
            timeout=WAIT,
        )
        async with running(runner):

            async def seen(name: str) -> bool:
                return store.builds.get(here.namespace, name) is not None

            await eventually(lambda: seen("before"), lambda: "the build that was there is not seen")
            await here.create_build("after")
            await eventually(lambda: seen("after"), lambda: "the build that was made is not seen")
            await here.delete("coprbuilds", "before")

            async def forgotten() -> bool:
                return not await seen("before")

            await eventually(forgotten, lambda: "the build that was deleted stays")

            async def others() -> bool:
                return (len(store.projects), len(store.chroots)) == (1, 2)

            await eventually(others, lambda: "the project or the chroots are not seen")
    assert runner.exit_code == 0
    assert runner.exception is None
    assert Key("build", here.namespace, "after") in woken
    assert proxy.writes == [], "kopf is a transport: it writes nothing"
