"""The source step of tito and tito_test."""

from pathlib import Path

import pytest

from copr_operator.core.wire import WrapperExit
from tests.support.scm_servers import commit, git
from tests.support.source_step import SPEC, Start, assert_failed, assert_hello, scm


@pytest.fixture
def titos(tmp_path: Path) -> Path:
    """A repository that `tito init` and `tito tag` have been run in, and one commit after the tag."""
    repository = tmp_path / "hello"
    tito = {"[buildconfig]": "builder = tito.builder.Builder\ntagger = tito.tagger.VersionTagger\n"}
    props = "".join(f"{section}\n{text}" for section, text in tito.items())
    spec = SPEC.replace("hello.txt", "%{name}-%{version}.tar.gz")
    commit(repository, {"hello.spec": spec, ".tito/tito.props": props, ".tito/packages/hello": "1.0-1 ./\n"})
    git(repository, "tag", "-a", "-m", "hello 1.0-1", "hello-1.0-1")
    commit(repository, {"more.txt": "after the tag\n"})
    return repository


def test_tito_builds_the_latest_tag(start: Start, titos: Path) -> None:
    assert_hello(start(scm("tito"), titos).run())


def test_tito_test_builds_the_commit(start: Start, titos: Path) -> None:
    run = start(scm("tito_test"), titos).run()
    assert run.code == 0, run.log
    (srpm,) = [name for name in run.files if name.endswith(".src.rpm")]
    assert srpm.startswith("hello-1.0-1.git.1.")


def test_tito_fails_with_its_own_words_where_nothing_was_tagged(start: Start, hello_repository: Path) -> None:
    assert_failed(start(scm("tito"), hello_repository).run(), WrapperExit.SOURCE_FAILED, "tito build failed")


def test_tito_test_fails_with_its_own_words_where_there_is_no_spec(start: Start, hello_repository: Path) -> None:
    (hello_repository / "hello.spec").unlink()
    commit(hello_repository, {})
    assert_failed(
        start(scm("tito_test"), hello_repository).run(), WrapperExit.SOURCE_FAILED, "tito build --test failed"
    )
