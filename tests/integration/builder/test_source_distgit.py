"""The source step of a dist-git: what fetch has brought is there, verified."""

import subprocess
from pathlib import Path

import pytest

from copr_operator.core.wire import DistGitSource, WrapperExit
from tests.support.scm_servers import commit
from tests.support.source_step import SPEC, Start, assert_failed, assert_hello

DIST_GIT = DistGitSource(package="hello", clone_url="https://x.example/hello", lookaside_url="https://x.example/")


def test_a_dist_git_becomes_an_srpm(start: Start, hello_repository: Path) -> None:
    assert_hello(start(DIST_GIT, hello_repository).run())


def test_rpmautospec_counts_the_commits_and_writes_the_changelog(start: Start, hello_repository: Path) -> None:
    commit(
        hello_repository,
        {"hello.spec": SPEC.replace("Release: 1", "Release: %autorelease") + "%changelog\n%autochangelog\n"},
        "two",
    )
    commit(hello_repository, {"hello.txt": "more\n"}, "Say more")
    run = start(DIST_GIT, hello_repository).run()
    assert_hello(run, "hello-1.0-3.src.rpm", "hello.spec")
    command = ["rpm", "-qp", "--changelog", str(run.results / "hello-1.0-3.src.rpm")]
    assert "- Say more" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("files", "programs", "code", "words"),
    [
        ({"second.spec": SPEC}, {}, WrapperExit.SEVERAL_SPECS, "2 specs, which of them? hello.spec second.spec"),
        ({"hello.spec": "Name: hello\n"}, {}, WrapperExit.SOURCE_FAILED, "rpmbuild -bs failed"),
        (
            {"hello.spec": SPEC.replace("Release: 1", "Release: %{autorelease}")}, {"rpmautospec": ""},
            WrapperExit.TOOL_MISSING, "the image has no 'rpmautospec'",
        ),
    ],
)  # fmt: skip
def test_a_dist_git_fails_with_a_reason(
    start: Start, hello_repository: Path, files: dict[str, str], programs: dict[str, str], code: WrapperExit, words: str
) -> None:
    commit(hello_repository, files)
    assert_failed(start(DIST_GIT, hello_repository, programs).run(), code, words)


def test_a_dist_git_without_a_spec_says_what_it_has(start: Start, tmp_path: Path) -> None:
    commit(tmp_path / "empty", {"README": "x"})
    assert_failed(start(DIST_GIT, tmp_path / "empty").run(), WrapperExit.NO_SPEC, "there is no .spec; there is: README")
