"""The source step of link and upload: an .src.rpm, or a .spec."""

import subprocess
from pathlib import Path

from copr_operator.core.wire import UploadSource, WrapperExit
from tests.support.source_step import SPEC, Start, assert_failed, assert_hello


def test_a_spec_becomes_an_srpm(start: Start) -> None:
    container = start(UploadSource(ref="r/hello.spec"))
    (container.home / "in/source/hello.spec").write_text(SPEC.replace("Source0: hello.txt\n", ""))
    assert_hello(container.run())


def test_a_spec_whose_source_can_not_be_had_is_the_sources_failure(start: Start) -> None:
    container = start(UploadSource(ref="r/hello.spec"))
    (container.home / "in/source/hello.spec").write_text(SPEC.replace("hello.txt", "http://127.0.0.1:1/hello.txt"))
    assert_failed(container.run(), WrapperExit.SOURCE_FAILED, "rpmbuild -bs failed")


def test_an_srpm_without_its_sources_is_refused_whatever_it_is_called(start: Start, tmp_path: Path) -> None:
    nosrc = tmp_path / "nosrc"
    (nosrc / "SPECS").mkdir(parents=True)
    (nosrc / "SPECS/hello.spec").write_text(SPEC.replace("Source0: hello.txt", "Source0: hello.txt\nNoSource: 0"))
    command = ["rpmbuild", "-bs", "--quiet", "--define", f"_topdir {nosrc}", "--define", f"_sourcedir {nosrc}"]
    (nosrc / "hello.txt").write_text("x")
    subprocess.run([*command, str(nosrc / "SPECS/hello.spec")], check=True)
    container = start(UploadSource(ref="r/hello-1.0-1.src.rpm"))
    (nosrc / "SRPMS/hello-1.0-1.nosrc.rpm").rename(container.home / "in/source/hello-1.0-1.src.rpm")
    assert_failed(container.run(), WrapperExit.SRPM_INVALID, "does not hold all its sources (nosrc)")
