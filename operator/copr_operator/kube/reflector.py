"""One collection's changes for as long as the process lives: what client-go calls a Reflector."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from copr_operator.kube.client import ApiError, KubeClient, Params

log = logging.getLogger(__name__)

PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a stream that has ended is taken up again; doubled each time until it brings something."""


class Reflector:
    """Watches a collection from a resourceVersion on, and goes on from the last one it has seen when the stream ends.

    `relist` is called at the start, unless `run` is given a version, and when the version is too old (410): it reads
    everything, drops what is gone, and returns the LIST's version. `apply` gets each event's type and object; it must
    not wait, so that nothing is queued here: an API server whose stream is not read slows down or ends it.
    """

    def __init__(
        self,
        kube: KubeClient,
        path: str,
        params: Params,
        relist: Callable[[], Awaitable[str]],
        apply: Callable[[str, dict[str, Any]], None],
        *,
        accept: str = "application/json",
    ) -> None:
        self._kube = kube
        self._path = path
        self._params = params
        self._relist = relist
        self._apply = apply
        self._accept = accept
        self.version = ""
        """Up to where everything has been given to `apply`; empty while nothing has."""

    async def run(self, version: str = "") -> None:
        """Until it is cancelled. `version`: of a LIST that was read and applied already."""
        pause, self.version = PAUSE, version
        while True:
            try:
                if not self.version:
                    self.version = await self._relist()
                params = {**self._params, "resourceVersion": self.version}
                async for event in self._kube.watch(self._path, params, accept=self._accept):
                    if event["type"] != "BOOKMARK":
                        self._give(event["type"], event["object"])
                    self.version, pause = event["object"]["metadata"]["resourceVersion"], PAUSE
            except ApiError as error:
                if error.gone:
                    self.version = ""
                log.log(
                    logging.DEBUG if error.gone or error.status == 0 else logging.WARNING,
                    "the watch of %s broke: %s", self._path, error,
                )  # fmt: skip
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 (jitter, not a secret)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _give(self, kind: str, obj: dict[str, Any]) -> None:
        """One object that can't be handled must not end the watch of all others."""
        try:
            self._apply(kind, obj)
        except Exception:
            log.exception("%s %s of %s", kind, obj["metadata"].get("name"), self._path)
