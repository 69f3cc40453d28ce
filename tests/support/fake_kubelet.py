"""A kubelet and scheduler of one status write a pod: integration and load tests measure the controller, not a node.

What a pod "does" is a function from the pod to its end (a status) or to None (it goes on running).
"""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from copr_operator.core.observed import format_time
from copr_operator.core.wire import ArtifactRef, Package, StepFailure, StepPlan, StepSummary, fit_summary
from copr_operator.kube import paths
from copr_operator.kube.client import MERGE_PATCH, ApiError, KubeClient

Status = dict[str, Any]
Behaviour = Callable[[dict[str, Any]], Status | None]


TIMES = {"startTime", "startedAt", "finishedAt"}


def now() -> str:
    return format_time(datetime.now(UTC))


def by_clock(status: Any, off: timedelta) -> Any:
    """The same with all its times as a clock that is off tells them."""
    if not off:
        return status
    if isinstance(status, list):
        return [by_clock(item, off) for item in status]
    if not isinstance(status, dict):
        return status
    times = {key: format_time(datetime.fromisoformat(status[key]) + off) for key in TIMES & status.keys()}
    return {key: by_clock(value, off) for key, value in status.items()} | times


def plan_of(pod: dict[str, Any]) -> StepPlan:
    """The plan the pod's fetch container was given."""
    env = pod["spec"]["initContainers"][0]["env"]
    return StepPlan.model_validate_json(next(e["value"] for e in env if e["name"] == "COPR_PLAN"))


def ended(
    pod: dict[str, Any], work_code: int, summary: StepSummary | None, collect_code: int = 0, **extra: Any
) -> Status:
    """Status of a pod whose containers have all ended; `extra` goes into the work container's terminated state."""
    time = now()
    work = pod["spec"]["containers"][0]["name"]

    def container(name: str, code: int, message: str = "", **more: Any) -> dict[str, Any]:
        state = {
            "exitCode": code,
            "startedAt": time,
            "finishedAt": time,
            "reason": "Completed" if code == 0 else "Error",
        }
        if message:
            state["message"] = message
        return {"name": name, "state": {"terminated": {**state, **more}}, "image": "x", "imageID": "x",
                "ready": False, "restartCount": 0}  # fmt: skip

    message = fit_summary(summary) if summary is not None else ""
    return {
        "phase": "Succeeded" if work_code == 0 and collect_code == 0 else "Failed",
        "startTime": time,
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [container("fetch", 0)],
        "containerStatuses": [container(work, work_code, **extra), container("collect", collect_code, message)],
    }


def running(pod: dict[str, Any]) -> Status:
    """Status of a pod whose untrusted container runs."""
    work = pod["spec"]["containers"][0]["name"]
    states = [
        {"name": name, "state": {"running": {"startedAt": now()}}, "image": "x", "imageID": "x", "ready": True,
         "restartCount": 0, "started": True}
        for name in (work, "collect")
    ]  # fmt: skip
    return {"phase": "Running", "startTime": now(), "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": states}  # fmt: skip


def storing(pod: dict[str, Any]) -> Status:
    """Status of a pod whose untrusted container has ended well; `collect` is still storing what it made."""
    status = ended(pod, 0, None)
    collect = next(c for c in status["containerStatuses"] if c["name"] == "collect")
    collect["state"], collect["ready"] = {"running": {"startedAt": now()}}, True
    return {**status, "phase": "Running"}


def source_summary(**arch_tags: Any) -> StepSummary:
    return StepSummary(
        outcome="succeeded",
        package=Package(name="hello", version="2.8-1"),
        srpm=ArtifactRef(name="hello-2.8-1.src.rpm", sha256="a" * 64),
        **arch_tags,
    )


def succeed(pod: dict[str, Any]) -> Status | None:
    """Every step succeeds at once."""
    if plan_of(pod).step == "source":
        return ended(pod, 0, source_summary())
    return ended(pod, 0, StepSummary(outcome="succeeded", packages=4))


def disrupted(pod: dict[str, Any]) -> Status:
    """Status of a pod that was evicted through the API, or whose node went away."""
    status = ended(pod, 137, None, collect_code=137)
    status["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"})
    return status


def waiting(pod: dict[str, Any], reason: str, message: str) -> Status:
    """Status of a scheduled pod whose untrusted container can't be started, for the reason that the kubelet gives."""
    work = pod["spec"]["containers"][0]["name"]
    state = {"name": work, "state": {"waiting": {"reason": reason, "message": message}}, "image": "x", "imageID": "",
             "ready": False, "restartCount": 0}  # fmt: skip
    return {"phase": "Pending", "startTime": now(), "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [state]}  # fmt: skip


def fail_build(pod: dict[str, Any]) -> Status | None:
    """The source step succeeds, every chroot fails in %build."""
    if plan_of(pod).step == "source":
        return succeed(pod)
    failure = StepFailure(reason="BuildFailed", message="rpmbuild ended with 1")
    return ended(pod, 22, StepSummary(outcome="failed", failure=failure, log_tail="error: Bad exit status\n"))


class FakeKubelet:
    """Gives every pod of a namespace its status. Use with `async with`."""

    def __init__(self, kube: KubeClient, namespace: str, behaviour: Behaviour = succeed) -> None:
        self._kube = kube
        self._namespace = namespace
        self.behaviour = behaviour
        self.clock_off = 0.0
        """Seconds that the node's clock is ahead of the API server's."""
        self.seen: list[StepPlan] = []
        self.errors: list[str] = []
        self._given: dict[str, tuple[str, ...]] = {}
        """The stage each pod was last given, by uid."""
        self._order: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._removing: set[str] = set()
        self._patches: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["FakeKubelet"]:
        task = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            broken = task.done()
            task.cancel()
            await asyncio.wait({task, *self._patches})
            if broken:
                task.result()

    async def _watch(self) -> None:
        path = paths.core("pods", self._namespace)
        while True:
            version = ""
            with contextlib.suppress(ApiError):
                async for items, version in self._kube.list_pages(path):  # noqa: B007
                    for pod in items:
                        self._look(pod)
                async for event in self._kube.watch(path, {"resourceVersion": version}):
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._look(event["object"])
            await asyncio.sleep(0.05)

    def _look(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if "deletionTimestamp" in pod["metadata"]:
            if uid not in self._removing:
                self._removing.add(uid)
                self._spawn(self._remove(pod))
            return
        given = self._given.get(uid, ("",))
        if given[0] in ("Succeeded", "Failed"):
            return
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return  # somebody else has ended it
        status = self.behaviour(pod)
        if status is None or _stage(status) == given:
            return
        if uid not in self._given:
            self.seen.append(plan_of(pod))
        self._given[uid] = _stage(status)
        self._spawn(self._patch(pod, status))

    async def look_again(self) -> None:
        """Looks at the pods that have not ended once more, after `behaviour` has been changed."""
        for pod in (await self._kube.get(paths.core("pods", self._namespace)))["items"]:
            self._look(pod)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._patches.add(task)
        task.add_done_callback(self._patches.discard)

    async def _patch(self, pod: dict[str, Any], status: Status) -> None:
        path = paths.core("pods", pod["metadata"]["namespace"], pod["metadata"]["name"]) + "/status"
        status = by_clock(status, timedelta(seconds=self.clock_off))
        async with self._order[pod["metadata"]["uid"]]:
            while True:
                try:
                    await self._kube.patch(path, {"status": status}, content_type=MERGE_PATCH)
                    return
                except ApiError as error:
                    if not error.transient:
                        if not error.not_found:
                            self.errors.append(str(error))
                        return
                    await asyncio.sleep(0.2)

    async def _remove(self, pod: dict[str, Any]) -> None:
        """A kubelet ends a deleted pod and then removes the object."""
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            await self._patch(pod, ended(pod, 143, None, collect_code=1))
        path = paths.core("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        with contextlib.suppress(ApiError):
            await self._kube.delete(path, body)


def _stage(status: Status) -> tuple[str, ...]:
    """What a pod does, without the times."""
    containers = status.get("containerStatuses") or ()
    return status["phase"], *(f"{c['name']} {next(iter(c['state']))}" for c in containers)


def describe(pod: dict[str, Any]) -> str:
    """For messages of failed tests."""
    return json.dumps(pod.get("status"), indent=1)
