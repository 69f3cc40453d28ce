"""The scripts of the source step, run by BuildContainer: a source, what fetch has brought, and what comes of it."""

import subprocess
from pathlib import Path
from typing import Any

from copr_operator.core.wire import ScmSource, StepSource, WrapperExit
from tests.support.build_container import BuildContainer, Run
from tests.unit.builder.conftest import make_plan

SPEC = """Name: hello
Version: 1.0
Release: 1
Summary: Says hello
License: MIT
BuildArch: noarch
Source0: hello.txt
%description
Says hello.
%files
"""

RECORD = '#!/bin/sh\necho "ran: $0 $*" | sed "s,/usr/local/bin/,,"; id -u; pwd\n'
"""A program that says how it was called."""


class Start:
    """Prepares containers below `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __call__(
        self, source: StepSource, repository: Path | None = None, programs: dict[str, str] | None = None, **plan: Any
    ) -> BuildContainer:
        """`repository`: what fetch has cloned. `programs`: as BuildContainer's. `plan`: more of the step's plan."""
        limits = {"timeout": 100}
        made = make_plan(step="source", chroot=None, source=source, enable_net=True, limits=limits, **plan)
        container = BuildContainer(self._home, made, programs or {})
        container.prepare()
        if repository is not None:
            subprocess.run(["cp", "-a", repository, container.home / "in/source/repository"], check=True)
        return container


def scm(method: str, **fields: Any) -> ScmSource:
    return ScmSource.model_validate(
        {"scm": "git", "clone_url": "https://git.example/hello.git", "method": method, **fields}
    )


def assert_failed(run: Run, code: WrapperExit, *words: str) -> None:
    assert run.code == code, run.log
    for word in words:
        assert word in run.log
    assert run.files == []


def assert_hello(run: Run, *files: str) -> None:
    assert run.code == 0, run.log
    assert run.files == list(files or ("hello-1.0-1.src.rpm", "hello.spec"))
