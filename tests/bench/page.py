"""docs/performance.md's table, between two marks, as the last full run made it."""

import os
import platform
from pathlib import Path

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def renewed(page: str, block: str) -> str:
    """The page with `block` between its marks. Raises ValueError when it has not each of them once, in this order."""
    head, begin, rest = page.partition(BEGIN)
    _old, end, tail = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in tail:
        raise ValueError("the page needs each of the bench's marks once")
    return f"{head}{BEGIN}\n{block.strip()}\n{END}{tail}"


def machine() -> str:
    """What the numbers were made on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors ({cpu}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def load() -> float:
    """Processes that wanted a processor in the last minute: before a run it says what else the machine was doing."""
    return os.getloadavg()[0]
