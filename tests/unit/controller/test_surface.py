"""What the controller shows of itself: health, metrics and Events."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from copr_operator.api.build import BuildStatus
from copr_operator.api.common import Condition, ConditionStatus
from copr_operator.controller.events import WAITING, EventPoster
from copr_operator.controller.health import serve_health
from copr_operator.controller.metrics import Metrics
from copr_operator.core.observed import BuildView
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError
from tests.unit.controller.fakes import FakeKube, build


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def serving(
    port: int | None,
    *,
    problem: Callable[[], str] = str,
    unready: Callable[[], str] = str,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[aiohttp.ClientSession]:
    """The server, and a client; health and readiness are whole unless something else is said."""
    async with (
        serve_health(port, problem, unready, registry or CollectorRegistry()),
        aiohttp.ClientSession() as session,
    ):
        yield session


class TestHealth:
    async def test_it_answers_ok_until_something_is_wrong_and_then_says_what(self) -> None:
        problem, port = "", free_port()
        async with serving(port, problem=lambda: problem) as session:
            for path, status in (("healthz", 500), ("readyz", 503)):
                problem = ""
                async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                    assert (answer.status, await answer.text()) == (200, "ok")
                problem = "the watch has been silent for 80 s"
                async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                    assert (answer.status, await answer.text()) == (status, problem)

    async def test_one_that_is_not_ready_yet_is_healthy_all_the_same_or_it_would_be_restarted(self) -> None:
        port = free_port()
        async with serving(port, unready=lambda: "the first LIST is not done yet") as session:
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert (answer.status, await answer.text()) == (503, "the first LIST is not done yet")
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok")

    async def test_it_shows_the_metrics_of_its_registry(self) -> None:
        metrics, port = Metrics(), free_port()
        metrics.active.set(1)
        async with (
            serving(port, registry=metrics.registry) as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            assert "copr_controller_active 1.0" in (await answer.text()).splitlines()

    async def test_it_is_gone_afterwards(self) -> None:
        port = free_port()
        async with serving(port):
            pass
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://127.0.0.1:{port}/healthz")

    async def test_without_a_port_there_is_none(self) -> None:
        async with serving(None):
            pass


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        (paths.copr("coprbuilds"), "coprbuilds"),
        (paths.copr("coprbuilds", "ns"), "coprbuilds"),
        (paths.copr("coprbuilds", "ns", "hello.1"), "coprbuilds"),
        (paths.copr("coprbuilds", "ns", "hello", "status"), "coprbuilds/status"),
        (paths.jobs("ns", "cb-0123456789-src-1"), "jobs"),
        (paths.core("pods"), "pods"),
        (paths.core("events", "ns"), "events"),
        (paths.core("namespaces", None, "pods"), "namespaces"),
        (paths.core("configmaps", "namespaces", "x"), "configmaps"),
        (paths.leases("ns", "copr-operator-controller"), "leases"),
        (paths.TOKEN_REVIEWS, "tokenreviews"),
        ("/version", "other"),
    ],
)
def test_requests_are_counted_by_resource_and_never_by_name(path: str, resource: str) -> None:
    metrics = Metrics()
    metrics.record_request("GET", path, 200)
    (sample,) = (
        sample
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "copr_api_requests_total"
    )
    assert (sample.labels, sample.value) == ({"verb": "GET", "resource": resource, "code": "200"}, 1)


def at_state(state: str, name: str = "hello", reason: str = "Building", message: str = "") -> BuildView:
    condition = Condition(
        type="Succeeded", status=ConditionStatus.UNKNOWN, last_transition_time="2026-01-01T12:00:00Z", reason=reason,
        message=message,
    )  # fmt: skip
    status = BuildStatus.model_validate({"id": 7, "state": state})
    return replace(build(name), status=status.model_copy(update={"conditions": [condition]}))


async def post(kube: FakeKube, *changes: tuple[BuildView, BuildView]) -> None:
    """All Events of these changes (before, after), posted."""
    poster = EventPoster(kube)
    for before, after in changes:
        poster.build_changed(before, after)
    await posted(poster, len(changes))


async def posted(poster: EventPoster, events: int) -> None:
    posting = asyncio.create_task(poster.run())
    for _ in range(10 * events):  # steps of the event loop, more than an Event needs
        await asyncio.sleep(0)
    assert not posting.done(), "the poster has given up"
    posting.cancel()


class TestEvents:
    async def test_a_change_of_state_is_told_once_of_the_build(self) -> None:
        kube = FakeKube()
        after = at_state("running", message="2 of 3 chroots")
        await post(kube, (at_state("starting"), after))
        (event,) = kube.objects.values()
        assert (event["type"], event["reason"]) == ("Normal", "BuildRunning")
        assert event["message"] == "build 7 is running: Building 2 of 3 chroots"
        assert (event["involvedObject"]["uid"], event["involvedObject"]["namespace"]) == (after.uid, "ns")

    async def test_that_a_new_build_is_pending_is_no_news(self) -> None:
        kube = FakeKube()
        await post(kube, (build(), at_state("pending")))
        assert kube.writes == []

    async def test_a_failure_is_a_warning(self) -> None:
        kube = FakeKube()
        await post(kube, (at_state("running"), at_state("failed", reason="BuildFailed")))
        (event,) = kube.objects.values()
        assert (event["type"], event["reason"]) == ("Warning", "BuildFailed")

    async def test_a_status_that_can_not_be_read_is_told_once_as_long_as_it_is_the_same(self) -> None:
        kube, view = FakeKube(), replace(at_state("running"), unread_status="state: Input should be 'importing'")
        poster = EventPoster(kube)
        for shown in (view, view, replace(view, unread_status="source.state: Input should be 'importing'")):
            poster.status_unread(shown)
        await posted(poster, 3)
        first, second = kube.objects.values()
        assert {first["reason"], second["reason"]} == {"StatusNotUnderstood"}
        assert first["message"].endswith("it can be deleted: state: Input should be 'importing'")

    async def test_a_status_of_the_same_state_is_no_event(self) -> None:
        kube = FakeKube()
        await post(kube, (at_state("running"), at_state("running", message="new")))
        assert kube.writes == []

    async def test_events_beyond_what_may_wait_are_dropped_and_hold_nobody_up(self) -> None:
        kube = FakeKube()
        changes = [(at_state("starting"), replace(at_state("running"), uid=str(n))) for n in range(WAITING + 1)]
        await post(kube, *changes)
        assert len(kube.objects) == WAITING

    async def test_a_long_message_is_cut(self) -> None:
        kube = FakeKube()
        await post(kube, (at_state("running"), at_state("failed", message="x" * 1024)))
        (event,) = kube.objects.values()
        assert len(event["message"]) == 1024

    @pytest.mark.parametrize("name", ["a", "a" * 253, "a" * 199 + "-b", "a" * 199 + "." + "b" * 53])
    async def test_its_name_is_a_valid_one_whatever_the_builds_is(self, name: str) -> None:
        kube = FakeKube()
        await post(kube, (at_state("starting", name), at_state("running", name)))
        (event,) = kube.objects.values()
        label = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
        assert re.fullmatch(rf"{label}(\.{label})*", event["metadata"]["name"])
        assert len(event["metadata"]["name"]) <= 253

    async def test_events_of_different_states_and_builds_have_different_names(self) -> None:
        kube = FakeKube()
        other = replace(at_state("running"), uid="another build of this name")
        states = (("pending", "starting"), ("starting", "running"), ("running", "failed"))
        changes = [(at_state(before), at_state(after)) for before, after in states]
        await post(kube, *changes, (at_state("starting"), other))
        assert len(kube.objects) == 4

    @pytest.mark.parametrize("status", [0, 403, 409, 500])
    async def test_an_event_that_can_not_be_posted_stops_nothing(self, status: int) -> None:
        kube = FakeKube()

        async def refuse(method: str, path: str) -> None:
            raise ApiError(status, "Refused", "no events here")

        kube.before = refuse
        await post(kube, (at_state("starting"), at_state("running")))
        assert kube.writes == []
