"""What the API server is asked for, and how its objects get into the store: from kopf, our own watches, and LISTs.

The selectors are applied by the API server: ended builds, and Jobs and Pods that are not ours, are never sent.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from copr_operator.controller.store import Store
from copr_operator.controller.table import Table, V
from copr_operator.core import names
from copr_operator.core.views import build_view, chroot_view, job_view, package_view, pod_view, project_view, try_view

log = logging.getLogger(__name__)

ACTIVE_SELECTOR = ",".join(f"status.state!={state}" for state in ("succeeded", "failed", "canceled", "skipped"))
"""Builds that have not ended; a build without a state yet matches too."""
OURS_SELECTOR = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY},{names.LABEL_BUILD_UID}"

Apply = Callable[[str | None, Mapping[str, Any]], None]


class Feeder:
    """Turns raw objects into views and gives them to the store; used by the watches and by the resync.

    `namespaces`: those with builds; none: all. The watches show the installation's own as well, for its chroots: what
    else is there does not count, and the controller may have no right to touch it.
    """

    def __init__(self, store: Store, namespaces: Collection[str] = ()) -> None:
        self._store = store
        self._namespaces = frozenset(namespaces)
        self.heartbeat = 0.0
        """Loop time at which the watch last showed the Lease: proof that watching works."""

    def _is_ours(self, obj: Mapping[str, Any]) -> bool:
        return not self._namespaces or obj["metadata"]["namespace"] in self._namespaces

    def build(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        if not self._is_ours(obj):
            return
        view = try_view(build_view, obj)
        if isinstance(view, str):
            log.error("CoprBuild %s/%s can't be read: %s", obj["metadata"]["namespace"], obj["metadata"]["name"], view)
            self._store.build_event("DELETED", obj, None)
        else:
            self._store.build_event(kind, obj, view)

    def project(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        if self._is_ours(obj):
            view = try_view(project_view, obj)
            self._give(kind, obj, view, self._store.projects, self._store.project_event)

    def package(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        if self._is_ours(obj):
            view = try_view(package_view, obj)
            self._give(kind, obj, view, self._store.packages, self._store.package_event)

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
