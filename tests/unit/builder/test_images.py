"""How the images' scripts call dnf5, which refuses an option in the wrong place."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dnf5 import DNF5

IMAGES = Path(__file__).resolve().parents[3] / "images"
OTHERS = (
    "curl", "getent", "git", "install", "ip", "make", "python3", "rpm", "rpm2cpio", "rpmbuild", "setpriv", "unshare",
)  # fmt: skip


@pytest.mark.parametrize("image", ["chroot", "source"])
def test_an_image_is_made_with_dnf5(image: str, tmp_path: Path) -> None:
    bash, true = shutil.which("bash"), shutil.which("true")
    if bash is None or true is None:
        pytest.skip("no bash on this machine")
    dnf5 = tmp_path / "dnf5"
    dnf5.write_text(DNF5.replace("/usr/bin/python3", sys.executable))
    dnf5.chmod(0o755)
    for name in OTHERS:
        (tmp_path / name).symlink_to(true)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REAL_DNF": true}
    script = IMAGES / image / "install.sh"
    done = subprocess.run([bash, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *_, last = [line for line in done.stdout.splitlines() if line.startswith("dnf5: ")]
    assert first.startswith("dnf5: -y --setopt=install_weak_deps=False install --allowerasing bash ")
    assert last == "dnf5: clean all"
    assert "not in this image" not in done.stderr
