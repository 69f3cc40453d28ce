"""Kubernetes Events, posted only after the status write they tell of has succeeded; one for each change of state."""

import asyncio
import contextlib
import logging
from typing import Any

from copr_operator.api.common import Condition
from copr_operator.core import names
from copr_operator.core.observed import BuildView, ProjectView, format_time
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

POSTERS = 4
"""Events that are posted at the same time."""
WAITING = 1000
"""Events that wait to be posted; more are dropped: a build never waits for what is only read by people."""


class EventPoster:
    """Posts Events; a lost one is not worth a retry. The name follows from what happened, so none comes twice."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._waiting: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(WAITING)

    async def run(self) -> None:
        """Posts what there is to post, until it is cancelled."""
        while True:
            namespace, event = await self._waiting.get()
            try:
                await self._kube.create(paths.core("events", namespace), event)
            except ApiError as error:
                if not error.conflict:
                    log.debug("an Event was lost: %s", error)

    def build_changed(self, before: BuildView, after: BuildView) -> None:
        """Has an Event posted soon when the build's state is another one now, or when its deletion waits. That a new
        build is pending is no news."""
        state = after.status.state
        if state is not None and state != (before.status.state or "pending"):
            verdict = _condition(after.status.conditions, "Succeeded")
            text = f"build {after.status.id} is {state}: {verdict.reason} {verdict.message}".strip() if verdict else ""
            self._post("CoprBuild", after, f"Build{state.capitalize()}", text, warning=state == "failed")
        elif after.deleting:
            self._deletion_waits("CoprBuild", after, before.status.conditions, after.status.conditions)

    def status_unread(self, build: BuildView) -> None:
        """Has one Event posted soon: this version leaves the build to the one that wrote its status."""
        message = (
            f"this controller is older than the build's status, and leaves the build alone until it is upgraded; "
            f"it can be deleted: {build.unread_status}"
        )
        self._post("CoprBuild", build, "StatusNotUnderstood", message, warning=True, once=True)

    def id_waits(self, build: BuildView, problem: str) -> None:
        """Has one Event posted soon: without an id a build has no status that could say so."""
        message = f"the build gets its id, and begins, when the backend answers: {problem}"
        self._post("CoprBuild", build, "BackendUnavailable", message, warning=True, once=True)

    def project_changed(self, before: ProjectView, after: ProjectView) -> None:
        """Has an Event posted soon when the project's deletion waits."""
        if after.deleting:
            self._deletion_waits("CoprProject", after, before.status.conditions, after.status.conditions)

    def _deletion_waits(
        self, kind: str, view: BuildView | ProjectView, before: list[Condition], after: list[Condition]
    ) -> None:
        """One Event for each reason; the words may change."""
        waits, waited = _condition(after, "Reconciling"), _condition(before, "Reconciling")
        if waits is not None and (waited is None or waited.reason != waits.reason):
            self._post(kind, view, "DeletionWaits", f"{waits.reason}: {waits.message}", warning=True)

    def _post(
        self,
        kind: str,
        after: BuildView | ProjectView,
        reason: str,
        message: str,
        *,
        warning: bool,
        once: bool = False,
    ) -> None:
        """`once`: what is still so is no second Event, as long as the API server has the first."""
        now = format_time(self._kube.clock.now())
        told = f"{after.uid} {reason} {message} {'' if once else now}"
        stem = after.name[:200].rstrip("-.")  # a name may be cut where it must not end
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{stem}.{names.short_hash(told, 16)}"},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": kind,
                "namespace": after.namespace,
                "name": after.name,
                "uid": after.uid,
                "resourceVersion": after.resource_version,
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:1024],
            "source": {"component": names.FIELD_MANAGER},
            "reportingComponent": names.FIELD_MANAGER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait((after.namespace, event))


def _condition(conditions: list[Condition], kind: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)
