"""kopf as transport of our own kinds: `on.event` handlers that only feed the store. No kopf state, finalizers,
annotations or timers. Jobs and Pods, of which there are many more, are watched without it (sync.py).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import kopf

from copr_operator.controller.feeder import ACTIVE_SELECTOR, Apply, Feeder
from copr_operator.controller.lease import LEASE_NAME
from copr_operator.core import names
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

LEASES = "coordination.k8s.io"


async def operate(
    feeder: Feeder,
    kube: KubeClient,
    namespaces: tuple[str, ...],
    identity: str,
    stop: asyncio.Event,
    started: asyncio.Event,
) -> None:
    """Runs kopf in the current event loop until `stop`. No namespaces: all of them."""
    await discovered(kube, stop)
    await kopf.operator(
        registry=registry(feeder, kube),
        settings=operator_settings(),
        clusterwide=not namespaces,
        namespaces=namespaces,
        standalone=True,
        # Else kopf asks for the user's name, and a pod's user may have none. Its type is private to kopf.
        identity=cast(Any, identity),
        stop_flag=stop,
        ready_flag=started,
    )


async def discovered(kube: KubeClient, stop: asyncio.Event) -> None:
    """Returns when the API server tells of the groups that kopf is to watch, which one that has just begun does not
    at once, or at `stop`.

    kopf looks for them when it starts, and never again: it would watch nothing, until the liveness probe ends us.
    """
    told = False
    while not stop.is_set():
        why = ""
        try:
            groups = {group["name"] for group in (await kube.get("/apis")).get("groups") or ()}
        except ApiError as error:
            if not error.transient:
                raise
            why = str(error)
        else:
            if {names.GROUP, LEASES} <= groups:
                return
        if not told:
            log.warning("the API server does not tell of %s yet; watching begins when it does %s", names.GROUP, why)
            told = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await stop.wait()


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
        (LEASES, "v1", "leases", feeder.lease),
    )
    for group, version, plural, apply in kinds:
        kopf.on.event(group, version, plural, id=plural, registry=handlers)(feed(apply))

    @kopf.on.login(id="same-as-ours", registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        """kopf talks to the same API server as the same user as the rest of the controller."""
        mine = kube.access
        return kopf.ConnectionInfo(
            server=mine.server,
            ca_data=mine.ca,
            insecure=not mine.verify,
            token=await mine.token(),
            certificate_data=mine.certificate,
            private_key_data=mine.key,
            proxy_url=mine.proxy,
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
    selectors.field_selectors[LEASES, "v1", "leases"] = f"metadata.name={LEASE_NAME}"
    return settings
