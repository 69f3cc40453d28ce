"""Jobs that the status tells of and no watch has shown: the API server itself is asked."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from copr_operator.controller.backend import BackendClient
from copr_operator.controller.executor import Executor
from copr_operator.controller.store import Store
from copr_operator.core import actions, names
from tests.support.builders import CONFIG, UID, build, observed
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
