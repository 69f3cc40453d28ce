"""The source step of make_srpm: the Makefile of a repository."""

from pathlib import Path

import pytest

from copr_operator.core.wire import WrapperExit
from tests.support.scm_servers import commit
from tests.support.source_step import SPEC, Start, assert_failed, assert_hello, scm

MAKEFILE = """srpm:
\tid -u; pwd
\tcp hello.txt $(dir $(outdir))SOURCES/
\trpmbuild -bs --define "_sourcedir $(dir $(outdir))SOURCES" --define "_srcrpmdir $(outdir)" $(spec)
"""


def test_make_srpm_runs_the_makefile_of_the_root_in_the_subdirectory_as_the_build_user(
    start: Start, tmp_path: Path
) -> None:
    repository = tmp_path / "hello"
    commit(repository, {".copr/Makefile": MAKEFILE, "rpm/hello.spec": SPEC, "rpm/hello.txt": "x\n"})
    run = start(scm("make_srpm", subdirectory="rpm", spec="rpm/hello.spec"), repository).run()
    assert_hello(run)
    assert "\n1000\n/builddir/repository/rpm\n" in run.log


def test_make_srpm_without_a_spec_gets_the_directory(start: Start, hello_repository: Path) -> None:
    commit(hello_repository, {".copr/Makefile": "srpm:\n\techo spec=$(spec) outdir=$(outdir)\n"})
    run = start(scm("make_srpm"), hello_repository).run()
    assert_failed(run, WrapperExit.NO_SRPM, "spec=/builddir/repository outdir=/builddir/build/SRPMS")


@pytest.mark.parametrize(
    ("files", "source", "code", "words"),
    [
        ({}, {}, WrapperExit.SOURCE_FAILED, "no .copr/Makefile at its root"),
        ({".copr/Makefile": "srpm:\n\texit 7\n"}, {}, WrapperExit.SOURCE_FAILED, "make srpm failed (exit code 2)"),
        ({".copr/Makefile": "other:\n"}, {}, WrapperExit.SOURCE_FAILED, "No rule to make target 'srpm'"),
        ({".copr/Makefile": "srpm:\n\ttrue\n"}, {}, WrapperExit.NO_SRPM, "made no SRPM"),
        (
            {".copr/Makefile": "srpm:\n\ttouch $(outdir)/a-1-1.src.rpm $(outdir)/b-1-1.src.rpm\n"}, {},
            WrapperExit.SEVERAL_SRPMS, "made 2 SRPMs: a-1-1.src.rpm b-1-1.src.rpm",
        ),
        (
            {".copr/Makefile": "srpm:\n\techo x > $(outdir)/a-1-1.src.rpm\n"}, {},
            WrapperExit.SRPM_INVALID, "not a readable RPM",
        ),
        (
            {".copr/Makefile": "srpm:\n\tln -s /etc/passwd $(outdir)/a-1-1.src.rpm\n"}, {},
            WrapperExit.NO_SRPM, "no plain file",
        ),
        ({".copr/Makefile": "srpm:\n"}, {"spec": "nope.spec"}, WrapperExit.NO_SPEC, "no file 'nope.spec'"),
    ],
)  # fmt: skip
def test_make_srpm_fails_with_a_reason(
    start: Start, hello_repository: Path, files: dict[str, str], source: dict[str, str], code: WrapperExit, words: str
) -> None:
    commit(hello_repository, files)
    assert_failed(start(scm("make_srpm", **source), hello_repository).run(), code, words)


def test_a_directory_that_leads_out_of_the_repository_is_refused(start: Start, hello_repository: Path) -> None:
    (hello_repository / "out").symlink_to("/etc")
    commit(hello_repository, {".copr/Makefile": "srpm:\n\ttrue\n"})
    assert_failed(
        start(scm("make_srpm", subdirectory="out"), hello_repository).run(),
        WrapperExit.SOURCE_FAILED,
        "leads out of its root",
    )
