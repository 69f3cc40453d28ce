"""kopf as transport: `on.event` handlers that only feed the store. No kopf state, finalizers, annotations or timers.

The selectors are applied by the API server: ended builds, and Jobs and Pods that are not ours, are never sent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import kopf

from copr_operator.controller.lease import LEASE_NAME
from copr_operator.controller.store import Store, try_view
from copr_operator.controller.table import Table, V
from copr_operator.core import names
from copr_operator.core.observed import build_view, chroot_view, job_view, package_view, pod_view, project_view
from copr_operator.kube.client import KubeClient

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

    def package(self, kind: str | None, obj: Mapping[str, Any]) -> None:
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


def registry(feeder: Feeder, kube: KubeClient) -> kopf.OperatorRegistry:
    """All handlers of the operator: one page, no decisions."""
    handlers = kopf.OperatorRegistry()

    def feed(apply: Apply) -> Callable[..., Awaitable[None]]:
        async def handler(event: Mapping[str, Any], **_: Any) -> None:
            apply(event["type"], event["object"])

        return handler

    kinds: tuple[tuple[str, str, str, Apply], ...] = (
        (names.GROUP, names.VERSION, "coprchroots", feeder.chroot),
        (names.GROUP, names.VERSION, "coprprojects", feeder.project),
        (names.GROUP, names.VERSION, "coprpackages", feeder.package),
        (names.GROUP, names.VERSION, "coprbuilds", feeder.build),
        ("batch", "v1", "jobs", feeder.job),
        ("", "v1", "pods", feeder.pod),
        ("coordination.k8s.io", "v1", "leases", feeder.lease),
    )
    for group, version, plural, apply in kinds:
        kopf.on.event(group, version, plural, id=plural, registry=handlers)(feed(apply))

    @kopf.on.login(id="same-as-ours", registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        """kopf talks to the same API server as the same user as the rest of the controller."""
        mine = await kube.credentials()
        return kopf.ConnectionInfo(
            server=mine.server,
            ca_path=mine.ca_file,
            insecure=not mine.verify,
            token=mine.token,
            certificate_path=mine.certificate_file,
            private_key_path=mine.key_file,
        )

    return handlers


class _NoDiffBase(kopf.DiffBaseStorage):
    """kopf copies every object it sees several times to find out what changed since it was last handled.

    Nobody here asks (that is for on.create and the like), and half of the controller's processor time went there.
    """

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is handled in kopf's sense, so nothing is stored."""


def operator_settings() -> kopf.OperatorSettings:
    """Settings with reasons: docs/architecture.md, "kopf"."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.chunk_size = 100
    settings.watching.inactivity_timeout = 70
    # They belong together: an idle worker of kopf holds its slot until the timeout.
    settings.queueing.worker_limit = 500
    settings.queueing.idle_timeout = 0.1
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = [1, 1, 2, 3, 5, 8, 13, *[20] * 90]
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.finalizer = f"{names.GROUP}/kopf-is-not-used-for-finalizers"
    selectors = settings.watching
    selectors.field_selectors[names.GROUP, names.VERSION, "coprbuilds"] = ACTIVE_SELECTOR
    selectors.field_selectors["coordination.k8s.io", "v1", "leases"] = f"metadata.name={LEASE_NAME}"
    selectors.label_selectors["batch", "v1", "jobs"] = OURS_SELECTOR
    selectors.label_selectors["", "v1", "pods"] = OURS_SELECTOR
    return settings
