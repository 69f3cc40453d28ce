"""Kubernetes Events, posted only after the status write they tell of has succeeded; one for each change of state."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import Any

from copr_operator.core import names
from copr_operator.core.observed import BuildView, format_time
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
        """Has an Event posted soon when the build's state is another one now. That a new one is pending is no news."""
        state = after.status.state
        if state is None or state == (before.status.state or "pending"):
            return
        message = next((c.message for c in after.status.conditions if c.type == "Succeeded"), "")
        reason = next((c.reason for c in after.status.conditions if c.type == "Succeeded"), "")
        now = format_time(datetime.now(UTC))
        stem = after.name[:200].rstrip("-.")  # a name may be cut where it must not end
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{stem}.{names.short_hash(f'{after.uid} {state} {reason} {now}', 16)}"},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": "CoprBuild",
                "namespace": after.namespace,
                "name": after.name,
                "uid": after.uid,
                "resourceVersion": after.resource_version,
            },
            "type": "Warning" if state == "failed" else "Normal",
            "reason": f"Build{state.capitalize()}",
            "message": f"build {after.status.id} is {state}: {reason} {message}".strip()[:1024],
            "source": {"component": names.FIELD_MANAGER},
            "reportingComponent": names.FIELD_MANAGER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait((after.namespace, event))
