"""The source step of rpkg and gem2rpm: stand-ins that record their command line, for there is no such tool here."""

from pathlib import Path

import pytest

from copr_operator.core.wire import RubyGemsSource, StepSource, WrapperExit
from tests.support.scm_servers import commit
from tests.support.source_step import RECORD, SPEC, Start, assert_failed, assert_hello, scm


def test_rpkg_is_called_as_copr_calls_it(start: Start, hello_repository: Path) -> None:
    record = RECORD + 'cat ~/.config/rpkg.conf\ncp hello.txt "$3/../SOURCES" && rpmbuild -bs hello.spec\n'
    run = start(
        scm("rpkg", clone_url="https://me:secret@git.example/rpms/hello.git"),
        hello_repository,
        {"rpkg": record},
    ).run()
    assert (
        "ran: rpkg srpm --outdir /builddir/build/SRPMS --spec /builddir/repository\n1000\n/builddir/repository\n"
        in run.log
    )
    assert "preprocess_spec = True" in run.log
    assert "anon_clone_url = https://me@git.example/%(repo_path)s" in run.log
    assert_hello(run)


def test_rpkg_gets_the_spec_that_the_user_names(start: Start, hello_repository: Path) -> None:
    commit(hello_repository, {"dist/a.spec": SPEC})
    run = start(
        scm("rpkg", subdirectory="dist", spec="dist/a.spec"), hello_repository, {"rpkg": RECORD + "exit 3\n"}
    ).run()
    assert "--spec /builddir/repository/dist/a.spec\n1000\n/builddir/repository/dist\n" in run.log
    assert_failed(run, WrapperExit.SOURCE_FAILED, "rpkg failed (exit code 3)")


@pytest.mark.parametrize(
    ("source", "program"),
    [
        (scm("rpkg"), "rpkg"),
        (scm("tito"), "tito"),
        (RubyGemsSource(name="rake", gem_source="https://rubygems.org/"), "gem2rpm"),
    ],
)
def test_an_image_without_the_tool_says_which(
    start: Start, hello_repository: Path, source: StepSource, program: str
) -> None:
    assert_failed(
        start(source, hello_repository, {program: ""}).run(), WrapperExit.TOOL_MISSING, f"the image has no '{program}'"
    )


GEM = RubyGemsSource(name="rake", gem_source="https://rubygems.org/")


def test_gem2rpm_is_called_as_copr_calls_it(start: Start) -> None:
    run = start(GEM, programs={"gem2rpm": RECORD + "exit 4\n"}).run()
    assert "ran: gem2rpm rake --srpm -C /builddir/work --fetch\n1000\n/builddir/work\n" in run.log
    assert_failed(run, WrapperExit.SOURCE_FAILED, "gem2rpm failed (exit code 4)")


def test_gem2rpm_gets_a_gem_of_another_source_as_a_file(start: Start) -> None:
    source = RubyGemsSource(name="rake", gem_source="https://gems.example/")
    gem = RECORD + "touch rake-13.0.gem\n"
    run = start(source, programs={"gem2rpm": RECORD, "gem": gem}).run()
    assert "ran: gem fetch --clear-sources --source https://gems.example/ rake\n1000\n/builddir/work\n" in run.log
    assert "ran: gem2rpm /builddir/work/rake-13.0.gem --srpm -C /builddir/work\n" in run.log
    assert_failed(run, WrapperExit.NO_SRPM)


def test_a_gem_that_the_source_does_not_have_is_said(start: Start) -> None:
    source = RubyGemsSource(name="rake", gem_source="https://gems.example/")
    run = start(source, programs={"gem2rpm": RECORD, "gem": RECORD}).run()
    assert_failed(run, WrapperExit.SOURCE_FAILED, "the gem source has no gem 'rake'")


@pytest.mark.parametrize("code", [0, 1])
def test_a_gem_without_a_license_is_refused_with_the_reason(start: Start, code: int) -> None:
    program = f"#!/bin/sh\necho 'error: line 6: Empty tag: License:' >&2\nexit {code}\n"
    assert_failed(start(GEM, programs={"gem2rpm": program}).run(), WrapperExit.NO_LICENSE, "names no license")
