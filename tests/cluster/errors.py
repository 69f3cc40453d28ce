"""The one exception that this package raises on purpose."""

from pathlib import Path

TAIL_LINES = 15


class ClusterError(Exception):
    """Something a developer has to read; the CLI prints it without a traceback."""


def log_tail(log: Path, *, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, since a failure message without them only sends the reader looking."""
    try:
        size = log.stat().st_size
        with log.open("rb") as stream:
            stream.seek(max(0, size - 64 * 1024))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return f"(no log at {log})"
    tail = text.splitlines()[-lines:]
    return "\n".join(f"    {line[:400]}" for line in tail) or "    (empty)"


def part_failed(part: str, waited_for: str, why: str, log: Path) -> ClusterError:
    """Build the error of a part that died or did not become ready: what, waited for what, and its last words."""
    return ClusterError(f"{part}: {why} while waiting for {waited_for}\n  last lines of {log}:\n{log_tail(log)}")
