"""Jobs that the status tells of and no watch has shown: the API server itself is asked. Refusals that stay.
Statuses that older CRDs know only in part."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from copr_operator.api.build import BuildStatus
from copr_operator.controller.backend import BackendClient
from copr_operator.controller.executor import Executor
from copr_operator.controller.store import Store
from copr_operator.core import actions, names
from copr_operator.core.observed import BuildView
from copr_operator.core.plan import plan
from copr_operator.core.views import build_view
from copr_operator.kube.client import ApiError
from tests.support.builders import CONFIG, UID, accepted, build, job, observed
from tests.unit.controller.fakes import FakeKube

NAME = names.job_name(UID, names.SOURCE_STEP, 1)
LABELS = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_BUILD_UID: UID}


class Place:
    """An executor, with the API server and the store that it works on."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.store = Store(lambda _: None, CONFIG.namespace)
        self.executor = Executor(self.kube, BackendClient("http://backend.example", Path("token")), self.store, CONFIG)

    def job(self, owner: str = UID, labels: Mapping[str, str] = LABELS) -> None:
        """A Job that somebody has made under that name."""
        owners = [{"kind": "CoprBuild", "name": "hello", "uid": owner, "controller": True}]
        meta = {"name": NAME, "namespace": "ns", "uid": "job-uid", "ownerReferences": owners, "labels": labels,
                "creationTimestamp": "2026-01-01T12:00:00Z"}  # fmt: skip
        self.kube.put(("jobs", "ns", NAME), {"metadata": meta, "spec": {}, "status": {}})

    async def looks(self) -> tuple[bool, bool]:
        """Whether it knows the Job afterwards, and whether it takes it for lost."""
        await self.executor.run(observed(build()), [actions.FindJob(NAME)])
        return self.store.jobs.get("ns", NAME) is not None, NAME in self.executor.missing.get(UID, ())


@pytest.fixture
def place() -> Place:
    return Place()


async def test_a_job_that_is_there_is_known_from_then_on(place: Place) -> None:
    place.job()
    assert await place.looks() == (True, False)


async def test_a_job_that_is_not_there_is_lost(place: Place) -> None:
    assert await place.looks() == (False, True)


async def test_a_job_of_another_build_is_not_ours(place: Place) -> None:
    place.job(owner="another-uid")
    assert await place.looks() == (False, True)


async def test_a_job_without_its_labels_is_stopped_since_no_watch_will_show_it(place: Place) -> None:

    async def foreground(method: str, path: str) -> None:
        place.job(labels={})  # it stays until its pods are gone

    place.job(labels={})
    place.kube.after = foreground
    assert await place.looks() == (False, True)
    assert [method for method, _ in place.kube.writes] == ["DELETE"]


async def test_what_was_missing_is_forgotten_with_its_build(place: Place) -> None:
    await place.looks()
    place.executor.forget(UID)
    assert place.executor.missing == {}


class TestRefusedAgain:
    """Each try costs the API server as much as the first; for Events it looks at all of the namespace."""

    async def pauses(self, place: Place, action: actions.Action, count: int) -> list[float]:
        """Seconds that plans wait after each of so many refusals."""
        found: list[float] = []
        for _ in range(count):
            await place.executor.run(observed(build(accepted())), [action])
            told = place.executor.refusals[UID][NAME]
            source = (job(names.SOURCE_STEP, created=told.at),) if not told.of_job else ()
            looked = replace(observed(build(accepted()), *source, refusals={NAME: told}), now=told.at)
            due = plan(looked, CONFIG).requeue_at
            found.append((due - told.at).total_seconds() if due is not None else 0)
        return found

    async def refuse(self, method: str, path: str) -> None:
        if method == "POST":
            raise ApiError(403, "Forbidden", "exceeded quota: count/jobs.batch")

    def told(self, place: Place, message: str) -> None:
        event = {"metadata": {"name": "event", "namespace": "ns"}, "message": message}
        place.kube.put(("events", "ns", "event"), event)

    async def test_a_job_that_quota_refuses_is_tried_once_a_minute_after_the_first_time(self, place: Place) -> None:
        place.kube.before = self.refuse
        create = actions.CreateJob(names.SOURCE_STEP, 1)
        assert await self.pauses(place, create, 7) == [30, 60, 60, 60, 60, 60, 60]

    async def test_a_job_without_a_pod_is_asked_about_less_and_less_often(self, place: Place) -> None:
        self.told(place, "pods is forbidden: exceeded quota, used: pods=5")
        assert await self.pauses(place, actions.ReadJobEvents(NAME, "uid"), 2) == [30, 60]
        self.told(place, "pods is forbidden: exceeded quota, used: pods=6")
        assert await self.pauses(place, actions.ReadJobEvents(NAME, "uid"), 3) == [120, 240, 300]

    async def test_what_is_new_begins_anew(self, place: Place) -> None:
        assert await self.pauses(place, actions.ReadJobEvents(NAME, "uid"), 2) == [30, 60]
        self.told(place, "pods is forbidden: exceeded quota")
        assert await self.pauses(place, actions.ReadJobEvents(NAME, "uid"), 1) == [30]


class TestOlderCrds:
    def olden(self, place: Place, *, dropped: str = "repoURL") -> BuildView:
        """A build at an API server that does not know a field of its status."""

        async def prune(method: str, path: str) -> None:
            place.kube.objects["coprbuilds", "ns", "hello"]["status"].pop(dropped, None)

        spec = {"owner": "alice", "project": "demo"}
        meta = {"name": "hello", "namespace": "ns", "uid": UID, "creationTimestamp": "2026-01-01T12:00:00Z"}
        place.kube.put(("coprbuilds", "ns", "hello"), {"metadata": meta, "spec": spec})
        place.kube.after = prune
        return build_view(place.kube.objects["coprbuilds", "ns", "hello"])

    wanted = BuildStatus(id=7, state="pending", repo_url="https://copr.example/results/alice/demo")

    async def test_what_they_drop_is_no_news_again(self, place: Place) -> None:
        view = self.olden(place)
        assert place.executor.is_news(view, self.wanted)
        written = await place.executor.write_build_status(view, self.wanted)
        assert written is not None
        assert written.status.repo_url is None
        assert not place.executor.is_news(written, self.wanted)

    async def test_anything_else_still_is(self, place: Place) -> None:
        written = await place.executor.write_build_status(self.olden(place), self.wanted)
        assert written is not None
        assert place.executor.is_news(written, self.wanted.model_copy(update={"state": "running"}))

    async def test_where_nothing_is_dropped_a_status_is_news_until_it_is_there(self, place: Place) -> None:
        view = self.olden(place, dropped="nothing")
        written = await place.executor.write_build_status(view, self.wanted)
        assert written is not None
        assert not place.executor.is_news(written, self.wanted)
        assert place.executor.is_news(view, self.wanted)

    async def test_it_is_forgotten_with_its_build(self, place: Place) -> None:
        written = await place.executor.write_build_status(self.olden(place), self.wanted)
        assert written is not None
        place.executor.forget(UID)
        assert place.executor.is_news(written, self.wanted)
