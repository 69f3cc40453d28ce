"""The builds of the demo as they go on: a table that renews itself in a terminal, a line for each change elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

Builds = list[Mapping[str, Any]]
Show = Callable[[Builds], None]

_STYLES = {"succeeded": "green", "failed": "red", "canceled": "yellow", "skipped": "dim", "pending": "dim"}
ENDED = frozenset({"succeeded", "failed", "canceled", "skipped"})


@contextmanager
def progress() -> Iterator[Show]:
    """Gives a function that shows the CoprBuilds (as the API server has them) as they are now."""
    console = Console()
    started = time.monotonic()
    if not console.is_terminal:
        yield _lines(started)
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield lambda builds: live.update(_table(builds, time.monotonic() - started))


def state_of(build: Mapping[str, Any]) -> str:
    return str(build.get("status", {}).get("state", "new"))


def _reason(build: Mapping[str, Any]) -> str:
    conditions = build.get("status", {}).get("conditions", [])
    return next((c["reason"] for c in conditions if c["type"] == "Succeeded"), "")


def _lines(started: float) -> Show:
    shown: dict[str, str] = {}

    def show(builds: Builds) -> None:
        for build in builds:
            name = build["metadata"]["name"]
            chroots = " ".join(f"{c['name']}={c['state']}" for c in build.get("status", {}).get("chroots", []))
            line = f"{name}: {state_of(build)} ({_reason(build)}) {chroots}".rstrip()
            if shown.get(name) != line:
                shown[name] = line
                sys.stdout.write(f"  {time.monotonic() - started:5.1f} s  {line}\n")
                sys.stdout.flush()

    return show


def _table(builds: Builds, seconds: float) -> Table:
    chroots = sorted({c["name"] for build in builds for c in build.get("status", {}).get("chroots", [])})
    table = Table(caption=f"{seconds:.0f} s", caption_justify="left")
    for heading in ("id", "build", "state", "why", "source", *chroots):
        table.add_column(heading)
    for build in builds:
        status = build.get("status", {})
        states = {c["name"]: c["state"] for c in status.get("chroots", [])}
        cells = [status.get("source", {}).get("state", ""), *(states.get(chroot, "") for chroot in chroots)]
        table.add_row(
            str(status.get("id", "")), build["metadata"]["name"], _state(state_of(build)), _reason(build),
            *map(_state, cells),
        )  # fmt: skip
    return table


def _state(state: str) -> Text | Spinner:
    if state in ("", "new", "pending") or state in ENDED:
        return Text(state, style=_STYLES.get(state, ""))
    return Spinner("dots", Text(state, style="cyan"))
