"""Start, processor time and memory of processes, from /proc."""

import os
import time
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1024**2


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, all threads, in steps of 10 ms. Raises OSError when it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * _TICK


def started(pid: int) -> float:
    """When the process was started, in seconds since the epoch, in steps of 10 ms. Raises OSError when it is gone."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(_stat(pid)[19]) * _TICK


def _stat(pid: int) -> list[str]:
    stat = Path(f"/proc/{pid}/stat").read_text()
    # The program's name may hold spaces and brackets: the fields are counted from behind it.
    return stat[stat.rindex(")") + 2 :].split()


def rss_mib(pid: int) -> float:
    """Resident memory of the process. Raises OSError when it is gone."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / MIB
