"""The script of the rpm step, run for real with a stand-in for dnf: what it asks for, and in which order."""

import subprocess
from pathlib import Path

from tests.support.build_container import BuildContainer
from tests.unit.builder.conftest import make_plan

SPEC = """Name: hello
Version: 1.0
Release: 1
Summary: Says hello
License: MIT
BuildArch: noarch
%description
Says hello.
%build
test -e /usr/bin/installed-tool
%files
"""


def test_the_packages_of_chroot_and_project_are_there_before_anything_else_happens(tmp_path: Path) -> None:
    (tmp_path / "hello.spec").write_text(SPEC)
    command = ["rpmbuild", "-bs", "--quiet", "--define", f"_srcrpmdir {tmp_path}", str(tmp_path / "hello.spec")]
    subprocess.run(command, check=True)
    dnf = '#!/bin/sh\nfor word; do echo "<$word>"; done\ntouch /usr/bin/installed-tool\n'
    plan = make_plan(extra_packages=("tool", "lib >= 2"), dist=".fc43")
    container = BuildContainer(tmp_path / "pod", plan, {"dnf": dnf, "dnf5": "", "microdnf": ""})
    container.prepare()
    (tmp_path / "hello-1.0-1.src.rpm").rename(container.home / "in/srpm/hello-1.0-1.src.rpm")
    run = container.run()
    assert run.code == 0, run.log
    assert "<install>\n<--allowerasing>\n<tool>\n<lib >= 2>\n" in run.log
    assert run.files == ["hello-1.0-1.noarch.rpm", "hello-1.0-1.src.rpm", "hello.spec"]
