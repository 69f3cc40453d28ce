"""Real backend processes for tests: `python -m tests.integration.backend.server`.

Imports once (the slow part of a start), then forks a backend for every line of JSON on stdin, writes its pid and,
when it has ended, its wait status. Only the API server is pretended (tests.unit.backend.world). With `kill_at` a
backend ends itself by SIGKILL at that checkpoint of the store, counted from when the file ROOT/count appears.
"""

import asyncio
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from copr_operator.backend.main import serve
from copr_operator.backend.objects import ObjectStore
from copr_operator.backend.services import open_store
from copr_operator.backend.store import DirectoryStore
from tests.unit.backend.world import CHROOT, World

BUILDS = 60


def populate(world: World) -> list[str]:
    """Builds 1 to BUILDS of packages p1, p2...; tokens of their chroot steps, the first belongs to build 1."""
    tokens = []
    for number in range(1, BUILDS + 1):
        world.add_build(number, package=f"p{number}")
        tokens.append(world.add_pod(number, CHROOT))
    world.kube.users["user-token"] = {"username": "alice"}
    return tokens


class Killer:
    """Counts checkpoints; ends the process at one of them."""

    def __init__(self, root: Path, kill_at: int) -> None:
        self._count_file = root / "count"
        self._kill_at = kill_at
        self._count = 0

    def __call__(self, _step: str, _path: str) -> None:
        if self._count_file.exists():
            self._count += 1
            if self._count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def run(order: dict[str, Any]) -> None:
    root = Path(order["root"])
    world = World(root, host="127.0.0.1", port=order["port"], **order["settings"])
    populate(world)
    store = open_store(world.settings)
    assert isinstance(store, DirectoryStore | ObjectStore)
    store.checkpoint = Killer(root, order["kill_at"])
    with store.locked(patience=1, lost=lambda: os._exit(1)):
        asyncio.run(serve(world.settings, store, world.kube))


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            # not sys.exit: what the parent would do at its end is not the child's business
            try:
                run(json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
