"""What a Deployment does for the controller: when one has ended or was killed, the next one starts."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

from copr_operator.controller.lease import LEASE_NAME
from tests.support.api_faults import Call, Event, Fault, events
from tests.support.api_proxy import ApiProxy
from tests.support.world import RunningController, World, eventually


class Deployment:
    """One controller at a time, each behind a proxy of its own that makes faults until `calm` is called.

    A killed controller leaves its Lease behind; so that tests need not wait for it, each has a Lease of its own: behind
    a dead proxy the old one can do nothing any more.
    """

    def __init__(
        self,
        here: World,
        *,
        fault: Callable[[Call], Fault | None] | None = None,
        event: Callable[[Call, int, dict[str, Any]], Event] | None = None,
        prefix: str = LEASE_NAME,
        **settings: Any,
    ) -> None:
        self._here = here
        self._fault = fault
        self._event = event
        self._prefix = prefix
        self._settings = settings
        self._calm = False
        self._may_run = asyncio.Event()
        self._may_run.set()
        self._stops: list[asyncio.Task[None]] = []
        self._earlier: Counter[str] = Counter()
        self.prepare: Callable[[ApiProxy], None] | None = None
        """What is done to the next controllers' proxies before anything passes them."""
        self.generation = 0
        self.current: RunningController | None = None

    @property
    def made(self) -> Counter[str]:
        """How many faults of each kind were made, by all controllers' proxies."""
        return self._earlier + (self.current.proxy.made if self.current is not None else Counter())

    @property
    def proxy(self) -> ApiProxy:
        assert self.current is not None
        return self.current.proxy

    def calm(self) -> None:
        """No more faults: of requests at once, of watches from their next event on."""
        self._calm = True

    def kill(self) -> None:
        """Ends the current controller as SIGKILL would: nothing that it does arrives any more."""
        self.proxy.kill()

    def pause(self) -> None:
        """No controller runs, until `resume`."""
        self._may_run.clear()
        self.proxy.kill()

    def resume(self) -> None:
        self._may_run.set()

    async def acted(self, resyncs: int) -> None:
        """Returns when the current controller has listed everything that many times more."""
        proxy = self.proxy
        wanted = proxy.lists["coprbuilds"] + resyncs

        async def probe() -> bool:
            return proxy.lists["coprbuilds"] >= wanted

        await eventually(probe, lambda: "the controller does not list")

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Deployment"]:
        keeper = asyncio.create_task(self._keep())
        try:
            while self.current is None:
                await asyncio.sleep(0.01)
            yield self
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})
            await asyncio.gather(*self._stops)

    async def _keep(self) -> None:
        while True:
            await self._may_run.wait()
            self.generation += 1
            stack = contextlib.AsyncExitStack()
            lease = self._prefix if self.generation == 1 else f"{self._prefix}-{self.generation}"
            controller = self._here.controller(wait=False, lease=lease, prepare=self._prepare, **self._settings)
            running = await stack.enter_async_context(controller)
            if self.current is not None:
                self._earlier += self.current.proxy.made
            self.current = running
            try:
                while running.alive and not running.proxy.dead:
                    await asyncio.sleep(0.02)
            finally:
                self._stops.append(asyncio.create_task(stack.aclose()))

    def _prepare(self, proxy: ApiProxy) -> None:
        if self.prepare is not None:
            self.prepare(proxy)
        if self._fault is not None:
            proxy.fault = self._decide
        if self._event is not None:
            counted = self._event

            def decide(call: Call, number: int, event: dict[str, Any]) -> Event:
                what = Event.PASS if self._calm else counted(call, number, event)
                if what is not Event.PASS:
                    proxy.made[what.name] += 1
                return what

            proxy.tamper = events(decide)

    def _decide(self, call: Call) -> Fault | None:
        assert self._fault is not None
        return None if self._calm else self._fault(call)
