"""What a spec's BuildRequires can make root install: real dnf, rpmbuild and packages, and a repository of files."""

import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from copr_operator.core.wire import RepoConfig, WrapperExit
from tests.support.build_container import BuildContainer, Run
from tests.support.dnf5 import DNF5
from tests.unit.builder.conftest import make_plan

DNF = {
    # What images/chroot/install.sh writes on Debian.
    "/etc/rpm/macros.copr-chroot": "%_dbpath /var/lib/rpm\n%__transaction_dbus_announce %{nil}\n",
    "/etc/dnf/dnf.conf": "[main]\nplugins=0\ninstall_weak_deps=0\nlogdir=/var/log\n",
}
PACKAGE = """Name: {name}
Version: 1
Release: 1
Summary: A package
License: MIT
BuildArch: noarch
{header}
%description
A package.
%files
{files}
"""
COMPS = """<?xml version="1.0"?><comps><group><id>buildsys</id><name>buildsys</name><uservisible>true</uservisible>
<packagelist><packagereq type="mandatory">grouped</packagereq></packagelist></group></comps>
"""
EVIL_RAN = "out/evil-ran"
EVIL_POST = '%post -p <lua>\nio.open("/copr/out/evil-ran", "w"):close()'
"""Lua, since no package provides a shell here."""


def rpmbuild(directory: Path, name: str, header: str = "", files: str = "", mode: str = "-bb") -> None:
    spec = directory / f"{name}.spec"
    spec.write_text(PACKAGE.format(name=name, header=header, files=files))
    defines = [f"_topdir {directory}/top", f"_rpmdir {directory}", f"_srcrpmdir {directory}", f"_sourcedir {directory}",
               "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"]  # fmt: skip
    options = [word for define in defines for word in ("--define", define)]
    command = ["rpmbuild", mode, "--quiet", "--nodeps", *options, str(spec)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


HERE = RepoConfig(id="here", baseurl="file:///copr/in/repository")


class Build(Protocol):
    """`build`: what %build does. `repos`: of the plan. `files`, `programs`: as BuildContainer's."""

    def __call__(
        self,
        requirement: str,
        build: str = "",
        repos: tuple[RepoConfig, ...] = (HERE,),
        files: dict[str, str] | None = None,
        programs: dict[str, str] | None = None,
    ) -> Run: ...


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Builds a package with these BuildRequires, with an evil package among its sources and in no repository."""

    def run(
        requirement: str,
        build: str = "",
        repos: tuple[RepoConfig, ...] = (HERE,),
        files: dict[str, str] | None = None,
        programs: dict[str, str] | None = None,
    ) -> Run:
        plan = make_plan(repos=repos, release_ver="12", extra_packages=("@buildsys",), limits={"timeout": 100})
        container = BuildContainer(tmp_path / "pod", plan, programs or {}, files=DNF | (files or {}))
        container.prepare()
        repository = container.home / "in/repository"
        repository.mkdir()
        rpmbuild(repository, "plain", "Provides: python3dist(plain[extra]) = 2")
        rpmbuild(repository, "tool", "Provides: /usr/bin/plain-tool, /usr/share/plain/data")
        rpmbuild(repository, "grouped")
        comps = tmp_path / "comps.xml"
        comps.write_text(COMPS)
        subprocess.run(["createrepo_c", "--quiet", "--groupfile", comps, repository], check=True)
        evil = tmp_path / "evil"
        evil.mkdir()
        rpmbuild(evil, "evil", files=EVIL_POST)
        shutil.copy(evil / "evil-1-1.noarch.rpm", evil / "evil")
        header = f"Source0: evil-1-1.noarch.rpm\nSource1: evil\nBuildRequires: {requirement}"
        rpmbuild(evil, "hello", header, f"%build\n{build}", mode="-bs")
        (evil / "hello-1-1.src.rpm").rename(container.home / "in/srpm/hello-1-1.src.rpm")
        return container.run()

    return run


@pytest.mark.parametrize(
    "requirement",
    [
        "plain",
        "plain >= 1",
        "(plain or no-such-package)",
        "(plain >= 1 if tool)",
        "(plain and tool)",
        "plain, (tool and grouped)",
        "((plain or no-such-package) and tool)",
        "plain, (no-such-package if no-such-other)",
        "/usr/bin/plain-tool",
        "/usr/share/plain/data",
        "python3dist(plain[extra]) >= 2",
    ],
)
def test_a_requirement_is_whatever_the_repositories_provide(build: Build, requirement: str) -> None:
    assert_built(build(requirement))


def assert_built(run: Run) -> None:
    assert run.code == 0, run.log
    assert run.files == ["hello-1-1.noarch.rpm", "hello-1-1.src.rpm", "hello.spec"]
    assert "grouped" in run.log


@pytest.mark.parametrize(
    ("requirement", "options"),
    [
        ("(plain and tool) , python3dist(plain[extra])", ""),
        ("/usr/share/plain/data", " --setopt=optional_metadata_types=filelists"),
    ],
)
def test_dnf5_takes_each_option_where_it_is_given(build: Build, requirement: str, options: str) -> None:
    run = build(requirement, programs={"dnf5": DNF5}, repos=(HERE.model_copy(update={"id": "additional_1"}),))
    assert_built(run)
    common = "dnf5: -y --setopt=install_weak_deps=0 --setopt=keepcache=0 --releasever=12"
    assert f"\n{common} install --allowerasing @buildsys\n" in run.log
    assert (
        f"\n{common} --setopt=localpkg_gpgcheck=0{options} install --allowerasing"
        " /copr/root/requirements/copr-build-requirements.rpm\n" in run.log
    )


def test_microdnf_gets_each_requirement_and_the_few_options_it_knows(build: Build) -> None:
    microdnf = '#!/bin/sh\nfor word; do echo "<$word>"; done\nrpm --initdb\n'
    run = build("plain >= 1, python3dist(plain[extra]) >= 2", programs={"microdnf": microdnf, "dnf": "", "dnf5": ""})
    common = "\n".join(
        f"<{word}>"
        for word in (
            "-y", "--setopt=install_weak_deps=0", "--setopt=keepcache=0", "--releasever=12",
            "--setopt=reposdir=/copr/root/repos.d", "install",
        )
    )  # fmt: skip
    assert f"\n{common}\n<@buildsys>\n" in run.log
    assert f"\n{common}\n<plain >= 1>\n<python3dist(plain[[]extra]) >= 2>\n" in run.log
    assert run.code == WrapperExit.DEPENDENCIES, run.log


def test_a_build_sees_no_package_but_those_of_the_repositories(build: Build) -> None:
    run = build("plain", build="echo root has $(rpm -qa | sort)")
    assert_built(run)
    assert "root has grouped-1-1.noarch plain-1-1.noarch\n" in run.log


def test_macros_that_a_spec_leaves_are_not_read_when_its_requirements_are(build: Build) -> None:
    told = "%%_dbpath %%(tr [:cntrl:] . </proc/$PPID/cmdline | sed s,^,read-by:, >&2)/var/lib/rpm"
    leave = f"cp ~/.rpmmacros ~/macros; echo '{told}' >>~/macros; mv -f ~/macros ~/.rpmmacros"
    run = build("plain", build=f"%(test ! -d /copr/in || {{ {leave}; }})")
    assert_built(run)
    assert "read-by:rpmbuild." in run.log
    assert "read-by:rpm." not in run.log


def test_nothing_of_a_requirement_is_expanded_by_root(build: Build) -> None:
    run = build("plain%%(id>/copr/out/build.log)")
    assert run.code == WrapperExit.DEPENDENCIES, run.log
    assert "nothing provides plain%(id>/copr/out/build.log)" in run.log


UNREACHABLE = {
    "/etc/yum.repos.d/image.repo": "[image]\nname=image\nbaseurl=http://127.0.0.1:1/\ngpgcheck=0\nskip_if_unavailable=0\n"
}


def test_the_repositories_of_the_chroot_take_the_place_of_those_of_the_image(build: Build) -> None:
    assert_built(build("plain", files=UNREACHABLE))


def test_the_repositories_of_the_project_come_on_top_of_those_of_the_image(build: Build) -> None:
    run = build("plain", files=UNREACHABLE, repos=(HERE.model_copy(update={"id": "copr_base"}),))
    assert run.code == WrapperExit.DEPENDENCIES, run.log
    assert "Failed to download metadata for repo 'image'" in run.log


@pytest.mark.parametrize(
    "requirement",
    [
        "/builddir/build/SOURCES/evil-1-1.noarch.rpm",
        "SOURCES/evil-1-1.noarch.rpm",
        "file:///builddir/build/SOURCES/evil-1-1.noarch.rpm",
        "FILE:///builddir/build/SOURCES/evil-1-1.noarch.rpm",
        "https://127.0.0.1:1/evil-1-1.noarch",
        "plain = 1.rpm",
        "plai*",
        "plai?",
    ],
)
def test_a_requirement_is_nothing_but_a_capability(build: Build, tmp_path: Path, requirement: str) -> None:
    run = build(requirement)
    assert not (tmp_path / "pod" / EVIL_RAN).exists()
    assert run.code == WrapperExit.DEPENDENCIES, run.log
    assert f"'{requirement}'" in run.log
    assert run.files == []


def test_an_rpm_by_another_name_is_a_file_that_no_package_has(build: Build, tmp_path: Path) -> None:
    run = build("/builddir/build/SOURCES/evil")
    assert not (tmp_path / "pod" / EVIL_RAN).exists()
    assert run.code == WrapperExit.DEPENDENCIES, run.log
    assert "can not be installed; asked for: /builddir/build/SOURCES/evil" in run.log
