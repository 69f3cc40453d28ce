"""What /proc says of a process."""

import os
import subprocess
import time

from tests.bench.procfs import started


def test_the_start_of_a_process_is_when_it_was_started() -> None:
    before = time.time()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        after = time.time()
        assert before - 0.02 <= started(child.pid) <= after + 0.02, "/proc has steps of 10 ms"
    assert started(os.getpid()) < before
