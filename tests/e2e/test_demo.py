"""The demo's chain on the real node: an application is built against the library that was built before it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_the_demo_builds_a_chain_in_both_chroots_and_dnf_installs_the_result() -> None:
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Hello, copr!") == 2
    assert "hello-app: succeeded" in done.stdout
