"""What the API server is asked for, and how its objects get into the store: from kopf, our own watches, and LISTs.

The selectors are applied by the API server: ended builds, and Jobs and Pods that are not ours, are never sent.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from copr_operator.controller.store import Store, try_view
from copr_operator.controller.table import Table, V
from copr_operator.core import names
from copr_operator.core.observed import build_view, chroot_view, job_view, pod_view, project_view

log = logging.getLogger(__name__)

ACTIVE_SELECTOR = ",".join(f"status.state!={state}" for state in ("succeeded", "failed", "canceled", "skipped"))
"""Builds that have not ended; a build without a state yet matches too."""
OURS_SELECTOR = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY},{names.LABEL_BUILD_UID}"

Apply = Callable[[str | None, Mapping[str, Any]], None]


class Feeder:
    """Turns raw objects into views and gives them to the store; used by the watches and by the resync."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.heartbeat = 0.0
        """Loop time at which the watch last showed the Lease: proof that watching works."""

    def build(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        view = try_view(build_view, obj)
        if isinstance(view, str):
            log.error("CoprBuild %s/%s can't be read: %s", obj["metadata"]["namespace"], obj["metadata"]["name"], view)
            self._store.build_event("DELETED", obj, None)
        else:
            self._store.build_event(kind, obj, view)

    def project(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        view = try_view(project_view, obj)
        self._give(kind, obj, view, self._store.projects, self._store.project_event)

    def chroot(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        view = try_view(chroot_view, obj)
        self._give(kind, obj, view, self._store.chroot_objects, self._store.chroot_event)

    def _give(
        self,
        kind: str | None,
        obj: Mapping[str, Any],
        view: V | str,
        table: Table[V],
        event: Callable[[str | None, V], None],
    ) -> None:
        """An object that can't be read (any more) counts as none."""
        if not isinstance(view, str):
            event(kind, view)
            return
        meta = obj["metadata"]
        log.error("%s %s/%s can't be read: %s", obj.get("kind", "object"), meta["namespace"], meta["name"], view)
        held = table.find(meta["uid"])
        if held is not None:
            event("DELETED", held)

    def job(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        self._store.job_event(kind, job_view(obj))

    def pod(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        self._store.pod_event(kind, pod_view(obj))

    def lease(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        self.heartbeat = asyncio.get_running_loop().time()
