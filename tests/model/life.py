"""One life of a controller: the real store, queue, reconciler, executor and resync, between a start and a crash.

Every request waits until the test answers it, and every watch event until the test delivers it. A life that is killed
is just never resumed. Only what needs a network is replaced: the transport below the clients, and kopf, whose watches
are Streams here.
"""

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from copr_operator.controller.backend import BackendError
from copr_operator.controller.events import EventPoster
from copr_operator.controller.executor import Executor, StaleError
from copr_operator.controller.feeder import ACTIVE_SELECTOR, OURS_SELECTOR, Feeder
from copr_operator.controller.ids import IdAllocator
from copr_operator.controller.metrics import Metrics
from copr_operator.controller.queue import KeyedQueue
from copr_operator.controller.reconciler import Reconciler
from copr_operator.controller.store import Key, Store
from copr_operator.controller.sync import Synchronizer
from copr_operator.kube.client import ApiError, KubeClient, Params
from copr_operator.kube.clock import ClusterClock
from tests.model.apiserver import ApiServer, Obj, selected
from tests.model.backend import ModelBackend, ModelBackendClient
from tests.model.loop import CLOCK, ModelLoop
from tests.support.builders import CONFIG

METRICS = Metrics()
RESYNC = 600.0
WORKERS = 2
RESTLESS = 600
"""Requests in one go after which a controller counts as never coming to rest."""
SHORTEST, HURRIED = 0.05, 5
"""Seconds in which a time that has passed has a build looked at again; how often in a row something can have passed."""

Fault = Literal["none", "refused", "unheard", "held"]
"""What happens to a request. `unheard`: carried out, but the connection breaks; `held`: carried out, answered later."""
FAULTS: tuple[Fault, ...] = Fault.__args__  # type: ignore[attr-defined]
Event = tuple[str | None, Obj]


@dataclass
class Call:
    """A request that waits for its answer."""

    text: str
    apply: Callable[[], Any]
    future: Any
    outcome: tuple[Any, Exception | None] | None = None
    """Result or error, once it was carried out."""


class Stream:
    """A watch with selectors: events in order, unless the test loses, repeats or reorders them."""

    def __init__(self, api: ApiServer, plural: str, *, since: int | None = None, **params: str) -> None:
        """`since`: resource version after which it begins; None: now."""
        self._api = api
        self._plural = plural
        self._wanted = selected(plural, params)
        self._begin = len(api.changes) if since is None else sum(change.version <= since for change in api.changes)
        self._position = self._begin
        self._listed: deque[Event] = deque()

    def take(self, count: int | None = None) -> list[Event]:
        """The next events; all of them without a count."""
        events: list[Event] = []
        while self._listed and (count is None or len(events) < count):
            events.append(self._listed.popleft())
        while self._position < len(self._api.changes) and (count is None or len(events) < count):
            event = self._event(self._position)
            self._position += 1
            if event is not None:
                events.append(event)
        return events

    def relist(self) -> None:
        """410 Gone: what was pending is lost, the list that follows shows what there is, but not what is gone."""
        self._position = len(self._api.changes)
        self._listed = deque((None, obj) for obj in self._api.all(self._plural) if self._wanted(obj))

    def again(self, index: int, *, ancient: bool = False) -> Event | None:
        """Some event since this watch began, or one that is yet to come out of turn (as a resync may show it).
        `ancient`: of those before, as an API server that reads an old state might show it."""
        first, last = (0, self._begin) if ancient else (self._begin, len(self._api.changes))
        mine = [i for i in range(first, last) if self._api.changes[i].plural == self._plural]
        return self._event(mine[index % len(mine)]) if mine else None

    def _event(self, index: int) -> Event | None:
        change = self._api.changes[index]
        if change.plural != self._plural:
            return None
        was = change.before is not None and self._wanted(change.before)
        if not change.gone and self._wanted(change.after):
            return ("MODIFIED" if was else "ADDED"), change.after
        if not was:
            return None
        if change.gone:
            return "DELETED", change.after
        assert change.before is not None  # it has left the selection: shown as it was, under the version of now
        version = {"resourceVersion": change.after["metadata"]["resourceVersion"]}
        return "DELETED", {**change.before, "metadata": {**change.before["metadata"], **version}}


class ModelKube(KubeClient):
    """The real client, without a connection below it."""

    def __init__(self, life: "Life") -> None:
        self._life = life
        self.clock = ClusterClock(own=lambda: CLOCK.now.timestamp())

    async def _json(
        self, method: str, path: str, params: Params | None, *,
        body: Any = None, content_type: str = "", accept: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        life = self._life
        if method == "POST" and path.endswith("/jobs"):
            life.check_not_made(body["metadata"]["name"])
        answer: dict[str, Any] = await life.park(
            f"{method} {path}", lambda: life.api.request(life.name, method, path, params or {}, body)
        )
        return answer

    async def watch(
        self, path: str, params: Params, *, accept: str = "", idle_timeout: float = 0
    ) -> AsyncIterator[dict[str, Any]]:
        since = int(params["resourceVersion"])
        self._life.ended = Stream(
            self._life.api, "coprbuilds", since=since, fieldSelector=params["fieldSelector"]
        )  # fmt: skip
        while True:
            kind, obj = await self._life.next_ended()
            yield {"type": kind, "object": {"metadata": obj["metadata"]}}


class Life:
    """A controller process. `run`, `answer`, `deliver` and `resync` are all that can happen to it."""

    def __init__(self, name: str, api: ApiServer, backend: ModelBackend, heard: str = "") -> None:
        """`heard`: what the Lease says of how far a former one has watched ended builds."""
        self.name = name
        self._heard = heard
        self.api = api
        self.loop = ModelLoop()  # type: ignore[abstract]
        self.calls: list[Call] = []
        self._hurried: Counter[Key] = Counter()
        self.made: dict[str, str] = {}
        """Jobs it has made, and knows that it has: their uids by name."""
        self.ready = False
        """The first full LIST is done: workers and watches have started."""
        self.syncing = False
        self.ended: Stream | None = None
        self._ended_waiter: Any = None
        kube = ModelKube(self)
        self.queue: KeyedQueue[Key] = KeyedQueue(lambda key: self.store.turn(key))
        self.store = Store(self.queue.add, CONFIG.namespace)
        client = ModelBackendClient(backend, self.park)
        self.executor = Executor(kube, client, self.store, CONFIG)
        ids = IdAllocator(kube, CONFIG.namespace, client.highest_id, CONFIG.deadlines.backend_retry)
        self._events = EventPoster(kube)
        self._reconciler = Reconciler(
            kube, self.store, self.executor, ids, self._events, METRICS, CONFIG, self.queue.add
        )  # fmt: skip
        self._feeder = Feeder(self.store)
        self._sync = Synchronizer(kube, self.store, self._feeder, self.queue.add, (), CONFIG.namespace, lambda _: None)
        self._feeds: dict[str, Callable[[str | None, Obj], None]] = {
            "coprchroots": self._feeder.chroot,
            "coprprojects": self._feeder.project,
            "coprpackages": self._feeder.package,
            "coprbuilds": self._feeder.build,
            "jobs": self._feeder.job,
            "pods": self._feeder.pod,
        }
        self.streams = {
            "coprchroots": Stream(api, "coprchroots"),
            "coprprojects": Stream(api, "coprprojects"),
            "coprpackages": Stream(api, "coprpackages"),
            "coprbuilds": Stream(api, "coprbuilds", fieldSelector=ACTIVE_SELECTOR),
            "jobs": Stream(api, "jobs", labelSelector=OURS_SELECTOR),
            "pods": Stream(api, "pods", labelSelector=OURS_SELECTOR),
        }
        self.loop.spawn(self._start())
        self._settle()

    # -- what controller.main does, without the Lease and kopf -------------------------------------------------------

    async def _start(self) -> None:
        while not self.ready:
            try:
                await self._sync.resync()
                self.ready = True
            except ApiError:
                continue
        for _ in range(WORKERS):
            self.loop.spawn(self._work())
        self.loop.spawn(self._events.run())
        self.loop.spawn(self._sync.watch_ended(self._heard))

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                again = await self._reconciler.reconcile(key)
            except StaleError as error:
                if "does not come to rest" in str(error):
                    raise AssertionError(f"{self.name} never comes to rest") from error
                self.queue.failed(key)
            except (ApiError, BackendError) as error:
                self.queue.failed(key, getattr(error, "retry_after", None) or 0.0)
            else:
                self.queue.succeeded(key)
                self._check_not_hurried(key, again)
                if again is not None:
                    self.queue.add_after(key, again)
            finally:
                self.queue.done(key)

    def _check_not_hurried(self, key: Key, again: float | None) -> None:
        """Who waits for a time that has passed would look again for ever."""
        hurried = again is not None and 0 < again <= SHORTEST
        self._hurried[key] = self._hurried[key] + 1 if hurried else 0
        assert self._hurried[key] < HURRIED, f"{self.name} looks at {key.name} again and again"

    async def _resync(self) -> None:
        self.syncing = True
        try:
            await self._sync.resync()
        except ApiError:
            return
        finally:
            self.syncing = False

    # -- for the test ------------------------------------------------------------------------------------------------

    def run(self, calls: int | None = None, *, newest: bool = False) -> int:
        """Answers requests, oldest or newest first, until none is left or `calls` were answered; returns how many."""
        served = 0
        self._settle()
        while self.calls and served != calls:
            self.answer(self.calls[-1 if newest else 0])
            served += 1
            assert served < RESTLESS, f"{self.name} never comes to rest; last: {self.calls[0].text}"
        return served

    def answer(self, call: Call, fault: Fault = "none") -> None:
        """Carries a request out and answers it, as far as the fault lets it."""
        refused = BackendError if call.text.startswith("backend") else lambda text: ApiError(503, "Unavailable", text)
        if call.outcome is None and fault != "refused":
            try:
                call.outcome = call.apply(), None
            except (ApiError, BackendError) as error:
                call.outcome = None, error
        if fault == "held":
            return
        self.calls.remove(call)
        if fault == "refused" and call.outcome is None:
            call.future.set_exception(refused("try again later"))
        elif fault == "unheard":
            call.future.set_exception(refused("the connection broke"))
        elif call.outcome is not None and (failure := call.outcome[1]) is not None:
            call.future.set_exception(failure)
        elif call.outcome is not None:
            self._remember(call)
            call.future.set_result(call.outcome[0])
        else:
            raise AssertionError(fault)
        self._settle()

    def _remember(self, call: Call) -> None:
        if call.text.startswith("POST ") and call.text.endswith("/jobs") and call.outcome is not None:
            meta = call.outcome[0]["metadata"]
            self.made[meta["name"]] = meta["uid"]

    def check_not_made(self, name: str) -> None:
        """What it has made itself it need not see in a watch to know of it."""
        made = self.made.get(name)
        assert made is None or self.api.by_uid("jobs", made) is None, f"{self.name} asks again for {name} that it made"

    @property
    def heard(self) -> str:
        """What the next renewal of the Lease would write."""
        return self._sync.ended.heard() or self._heard

    def resync(self) -> None:
        if self.ready and not self.syncing:
            self.loop.spawn(self._resync())
            self._settle()

    def deliver(self, kind: str, events: Iterable[Event]) -> None:
        for event, obj in events:
            self.loop.call_soon(self._feeds[kind], event, obj)
        self._settle()

    def deliver_ended(self) -> None:
        """The watch of ended builds goes on."""
        if self.ended is not None:
            self._settle()
            while self._ended_waiter is not None and (events := self.ended.take(1)):
                waiter, self._ended_waiter = self._ended_waiter, None
                waiter.set_result(events[0])
                self._settle()

    def deliver_all(self) -> None:
        for kind, stream in self.streams.items():
            self.deliver(kind, stream.take())
        self.deliver_ended()

    def _settle(self) -> None:
        self.loop.run()
        if self.loop.errors:
            raise self.loop.errors[0]

    # -- for the clients -----------------------------------------------------------------------------------------------

    async def park(self, text: str, apply: Callable[[], Any]) -> Any:
        call = Call(text, apply, self.loop.create_future())
        self.calls.append(call)
        return await call.future

    async def next_ended(self) -> Event:
        self._ended_waiter = self.loop.create_future()
        event: Event = await self._ended_waiter
        return event
