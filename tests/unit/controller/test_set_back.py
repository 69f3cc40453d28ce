"""A build whose status somebody has set back by hand, while its ended Job is still there."""

from typing import Any

import pytest

from copr_operator.controller.executor import StaleError
from tests.support.builders import D12
from tests.unit.controller.reconciling import NOW, World


async def set_back() -> World:
    """The only attempt of the source step has failed, and with it the build, until somebody makes it pending again."""
    world = World()
    world.create("hello")
    await world.reconcile("hello")
    place = next(place for place in world.kube.objects if place[0] == "jobs")
    failed = {"type": "Failed", "status": "True", "lastTransitionTime": NOW, "reason": "BackoffLimitExceeded"}
    job = world.kube.put(place, {**world.kube.objects[place], "status": {"conditions": [failed]}})
    world.feeder.job("MODIFIED", job)
    world.feeder.pod("ADDED", pod_of(job))
    await world.reconcile("hello")
    status = world.build("hello")["status"]
    assert (status["state"], len(world.store.jobs)) == ("failed", 0)
    waiting = {"id": status["id"], "state": "pending", "chroots": [{"name": D12, "state": "pending"}]}
    world.feeder.build("ADDED", world.change("hello", status=waiting))
    world.requests.clear()
    return world


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    meta = job["metadata"]
    owner = {"kind": "Job", "controller": True, "name": meta["name"], "uid": meta["uid"]}
    ends = [{"name": "source", "state": {"terminated": {"exitCode": 1}}}]
    pod = {"name": "pod", "namespace": "ns", "uid": "pod", "resourceVersion": "1", "ownerReferences": [owner]}
    return {"metadata": pod, "spec": {}, "status": {"phase": "Failed", "containerStatuses": ends}}


async def test_it_is_tried_again() -> None:
    world = await set_back()
    await world.reconcile("hello")
    assert world.requests.count("POST jobs") == 2
    assert sorted(name[-2:] for plural, _, name in world.kube.objects if plural == "jobs") == ["-1", "-2"]


async def test_a_build_that_does_not_come_to_rest_is_looked_at_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await set_back()
    monkeypatch.setattr(world.store, "assume_job", lambda _: None)
    with pytest.raises(StaleError, match="does not come to rest"):
        await world.reconcile("hello")
