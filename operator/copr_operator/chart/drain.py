"""`copr-operator drain`: takes our finalizers off before an uninstall, so that nothing is left that can't be deleted.

Deletions under way get some time to end as they should, by the controller that still runs; then it is stopped (it
would set the finalizers again) and what is left is let go. Results are never touched: they stay in the store.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import METADATA_ONLY_LIST, ApiError, KubeClient

KINDS = ("coprbuilds", "coprprojects")
POLL = 1.0
CONFLICT_TRIES = 5


class DrainError(Exception):
    """The drain could not be ended; the message says why."""


@dataclass(frozen=True)
class Drained:
    """What was done: objects let go, and how many of those were being deleted, whose results may be left."""

    released: int
    deleting: int


def holds(obj: dict[str, Any]) -> bool:
    """Whether our finalizer is on the object."""
    return names.FINALIZER in (obj["metadata"].get("finalizers") or [])


def is_deleting(obj: dict[str, Any]) -> bool:
    """Whether somebody waits for us to let the object go."""
    return holds(obj) and "deletionTimestamp" in obj["metadata"]


async def drain(kube: KubeClient, namespace: str, deployment: str, watched: Sequence[str], patience: float) -> Drained:
    """Lets go of all CoprBuilds and CoprProjects of the `watched` namespaces (none: of all).

    `patience` is how many seconds deletions under way may take, and how many the controller's pods may take to end.
    Raises DrainError when the controller does not end, and ApiError for what the API server refuses.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while [obj async for _, obj in _held(kube, watched) if is_deleting(obj)]:
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(POLL)
    await _stop(kube, namespace, deployment, patience)
    released = deleting = 0
    async for plural, obj in _held(kube, watched):
        released += await _release(kube, plural, obj)
        deleting += is_deleting(obj)
    return Drained(released, deleting)


async def _held(kube: KubeClient, watched: Sequence[str]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """(plural, metadata) of all objects that have our finalizer. Kinds that are not there have no objects."""
    for plural in KINDS:
        for namespace in watched or (None,):
            try:
                async for items, _ in kube.list_pages(paths.copr(plural, namespace), accept=METADATA_ONLY_LIST):
                    for item in items:
                        if holds(item):
                            yield plural, item
            except ApiError as error:
                if not error.not_found:
                    raise


async def _stop(kube: KubeClient, namespace: str, deployment: str, patience: float) -> None:
    """Scales the controller to nothing and waits until its last pod is gone. No Deployment: nothing to stop."""
    path = paths.deployments(namespace, deployment)
    try:
        await kube.patch(f"{path}/scale", {"spec": {"replicas": 0}})
    except ApiError as error:
        if error.not_found:
            return
        raise
    selector = (await kube.get(path))["spec"]["selector"]["matchLabels"]
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in selector.items())}
    deadline = asyncio.get_running_loop().time() + patience
    while (await kube.get(paths.core("pods", namespace), query))["items"]:
        if asyncio.get_running_loop().time() > deadline:
            raise DrainError(f"the pods of Deployment {namespace}/{deployment} have not ended in {patience:.0f} s")
        await asyncio.sleep(POLL)


async def _release(kube: KubeClient, plural: str, obj: dict[str, Any]) -> bool:
    """Takes our finalizer off; whether it was there. Finalizers of others stay."""
    path = paths.copr(plural, obj["metadata"]["namespace"], obj["metadata"]["name"])
    for _ in range(CONFLICT_TRIES):
        if not holds(obj):
            return False
        left = [name for name in obj["metadata"]["finalizers"] if name != names.FINALIZER]
        version = obj["metadata"]["resourceVersion"]
        try:
            await kube.patch(path, {"metadata": {"finalizers": left, "resourceVersion": version}})
            return True
        except ApiError as error:
            if error.not_found:
                return False
            if not error.conflict:
                raise
        current = await kube.find(path)
        if current is None:
            return False
        obj = current
    raise DrainError(f"{path} is changed by others all the time")
