"""The script of the rpm step, run for real with a stand-in for dnf: what it asks for, in which order, and what a
spec can not make root do."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copr_operator.core.wire import WrapperExit
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
{build}
%files
{more}
"""
DNF = '#!/bin/sh\nfor word; do echo "<$word>"; done\ntouch /usr/bin/installed-tool\n'
HELLO = ["hello-1.0-1.noarch.rpm", "hello-1.0-1.src.rpm", "hello.spec"]

Made = Callable[..., BuildContainer]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A container that builds this spec: `build` in %build, `more` at its end. `plan`: more of the step's plan."""

    def make(build: str = "", more: str = "", spec: str = "hello.spec", dnf: str = DNF, **plan: Any) -> BuildContainer:
        (tmp_path / spec).write_text(SPEC.format(build=build, more=more))
        command = ["rpmbuild", "-bs", "--quiet", "--define", f"_srcrpmdir {tmp_path}", str(tmp_path / spec)]
        subprocess.run(command, check=True)
        plan = {"extra_packages": ("tool", "lib >= 2"), **plan}
        container = BuildContainer(tmp_path / "pod", make_plan(**plan), {"dnf": dnf, "dnf5": "", "microdnf": ""})
        container.prepare()
        (tmp_path / "hello-1.0-1.src.rpm").rename(container.home / "in/srpm/hello-1.0-1.src.rpm")
        return container

    return make


def test_the_packages_of_chroot_and_project_are_there_before_anything_else_happens(made: Made) -> None:
    run = made(dist=".fc43").run()
    assert run.code == 0, run.log
    assert "<install>\n<--allowerasing>\n<tool>\n<lib >= 2>\n" in run.log
    assert run.files == HELLO


@pytest.mark.parametrize("spec", ["hello@2.spec", "my hello.spec", "_hello.spec"])
def test_a_spec_of_any_name_is_a_result_by_the_name_of_its_package(made: Made, spec: str) -> None:
    run = made(spec=spec).run()
    assert run.code == 0, run.log
    assert run.files == HELLO


@pytest.mark.parametrize(
    ("chroot", "machine"), [("fedora-43-i386", "i686"), ("x-1-i586", "i686"), ("fedora-43-x86_64", "x86_64")]
)
def test_a_32_bit_chroot_builds_as_on_such_a_machine(made: Made, chroot: str, machine: str) -> None:
    dnf = f"{DNF}echo dnf on $(uname -m)\n"
    run = made("echo rpmbuild for $(uname -m), %{_arch}", dnf=dnf, chroot=chroot).run()
    assert run.code == 0, run.log
    assert f"dnf on {machine}\n" in run.log
    assert f"rpmbuild for {machine}, {'i386' if machine == 'i686' else machine}\n" in run.log


def test_a_32_bit_chroot_whose_image_has_no_setarch_is_told_of(made: Made) -> None:
    container = made(chroot="fedora-43-i386")
    container.programs["setarch"] = ""
    run = container.run()
    assert run.code == 0, run.log
    assert "'fedora-43-i386' is 32-bit, and uname can not be made to say so: this may build for x86_64" in run.log


def test_root_removes_nothing_where_a_link_of_the_spec_leads(made: Made) -> None:
    # Whatever reads the spec in the container makes SRPMS a link to where the build user may write, but not remove.
    srpms = "/builddir/build/SRPMS"
    link = f"%(test ! -d /copr/in || {{ rm -rf {srpms}; ln -s /tmp {srpms}; }})"
    run = made("test -e /tmp/roots", more=link, dnf=f"{DNF}touch /tmp/roots /tmp/roots.buildreqs.nosrc.rpm\n").run()
    assert run.code == 0, run.log


def test_what_only_root_can_read_is_no_result(made: Made) -> None:
    dnf = f"{DNF}mkdir -p /secrets\necho secret >/secrets/secret.rpm\nchmod 600 /secrets/secret.rpm\n"
    link = "%clean\nrm -rf /builddir/build/RPMS\nln -s /secrets /builddir/build/RPMS\n"
    run = made(more=link, dnf=dnf).run()
    assert run.code == WrapperExit.FAILED, run.log
    assert "could not copy secret.rpm" in run.log
    assert "secret.rpm" not in run.files
