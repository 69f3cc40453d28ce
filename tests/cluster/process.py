"""Processes that outlive the command that started them, known by pid and start time, never by name."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """A process. The start time and boot tell it from a later one that was given the same pid."""

    pid: int
    started: int
    boot: str

    def alive(self) -> bool:
        """Say whether this very process still runs; a zombie does not."""
        return _boot_id() == self.boot and _start_time(self.pid) == self.started


def record_of(pid: int) -> Record | None:
    """Identify a running process; None when it is gone already."""
    started = _start_time(pid)
    return None if started is None else Record(pid=pid, started=started, boot=_boot_id())


def save(record: Record, path: Path) -> None:
    """Write a pid file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(record)))


def load(path: Path) -> Record | None:
    """Read a pid file; None when there is none or it is damaged."""
    try:
        raw = json.loads(path.read_text())
        return Record(pid=int(raw["pid"]), started=int(raw["started"]), boot=str(raw["boot"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def start_detached(argv: Sequence[str], *, log: Path, env: Mapping[str, str], procs_file: Path | None) -> Record | None:
    """Start a program in a session of its own with its output in a log, inside the cgroup of procs_file if given.

    Returns None when it is gone already. The shell joins the cgroup before it becomes the program, so no child of
    the program can ever be outside.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = list(argv)
    if procs_file is not None:
        command = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(procs_file), *command]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd="/",
            start_new_session=True,
        )
    record = record_of(process.pid)
    # The program is meant to outlive us: without this, the interpreter warns about it when the object goes.
    process.returncode = 0
    return record


def stop(records: Iterable[Record], *, grace: float) -> None:
    """End processes: ask, wait up to grace seconds for all of them together, then kill what is left."""
    left = [record for record in records if record.alive()]
    _signal(left, signal.SIGTERM)
    left = _wait_gone(left, grace)
    _signal(left, signal.SIGKILL)
    _wait_gone(left, 10)


def kill(records: Iterable[Record]) -> list[Record]:
    """End processes at once; returns those that the kernel would not let go within 10 s."""
    left = [record for record in records if record.alive()]
    _signal(left, signal.SIGKILL)
    return _wait_gone(left, 10)


def _signal(records: Iterable[Record], number: signal.Signals) -> None:
    for record in records:
        # A pidfd names the process itself: between the check and the signal the pid cannot change hands.
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(record.pid)
            try:
                if record.alive():
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def _wait_gone(records: list[Record], seconds: float) -> list[Record]:
    deadline = time.monotonic() + seconds
    while records and time.monotonic() < deadline:
        _reap(records)
        records = [record for record in records if record.alive()]
        if records:
            time.sleep(0.02)
    return records


def _reap(records: Iterable[Record]) -> None:
    """Collect those that are our own children, or they would stay behind as zombies."""
    for record in records:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(record.pid, os.WNOHANG)


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The program's name may hold spaces and brackets: the fields are counted from behind it.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
