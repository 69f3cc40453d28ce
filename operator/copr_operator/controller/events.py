"""Kubernetes Events, posted only after the status write they tell of has succeeded; one for each change of state."""

import logging
from datetime import UTC, datetime

from copr_operator.core import names
from copr_operator.core.observed import BuildView, format_time
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)


class EventPoster:
    """Posts Events; a lost one is not worth a retry. The name follows from what happened, so none comes twice."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube

    async def build_changed(self, before: BuildView, after: BuildView) -> None:
        state = after.status.state
        if state is None or state == before.status.state:
            return
        message = next((c.message for c in after.status.conditions if c.type == "Succeeded"), "")
        reason = next((c.reason for c in after.status.conditions if c.type == "Succeeded"), "")
        now = format_time(datetime.now(UTC))
        stem = after.name[:200].rstrip("-.")  # a name may be cut where it must not end
        event = {
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
        try:
            await self._kube.create(paths.core("events", after.namespace), event)
        except ApiError as error:
            if not error.conflict:
                log.debug("an Event was lost: %s", error)
