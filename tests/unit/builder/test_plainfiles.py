"""Untrusted code can leave anything in its results; only plain files with the right names get out."""

import os
from pathlib import Path

import pytest

from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.plainfiles import list_results, open_directory, read_exit_code, sha256_of

LIMIT = 1000


def listed(directory: Path, limit: int = LIMIT) -> list[str]:
    with open_directory(directory) as fd:
        return [file.name for file in list_results(fd, limit)]


def test_rpms_and_the_spec_are_results_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b-1-1.noarch.rpm", "a-1-1.src.rpm", "a.spec", "libstdc++-1~rc1^2-1.x86_64.rpm"):
        (tmp_path / name).write_bytes(b"x")
    assert listed(tmp_path) == ["a-1-1.src.rpm", "a.spec", "b-1-1.noarch.rpm", "libstdc++-1~rc1^2-1.x86_64.rpm"]


@pytest.mark.parametrize(
    "name", ["core", ".hidden.rpm", "a b.rpm", "a\n.rpm", "-rf.rpm", "a.rpm.exe", "x.rpm" + "x" * 250]
)
def test_a_file_with_another_name_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(AgentError, match=r"ResultsRefused.*is no name of a result"):
        listed(tmp_path)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rpm").symlink_to("/etc/passwd")
    with pytest.raises(AgentError, match=r"a\.rpm.*can't be opened as a plain file"):
        listed(tmp_path)


def test_a_hard_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rpm").write_bytes(b"x")
    os.link(tmp_path / "a.rpm", tmp_path / "b.rpm")
    with pytest.raises(AgentError, match=r"a\.rpm.*has 2 links"):
        listed(tmp_path)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.rpm")
    with pytest.raises(AgentError, match=r"a\.rpm.*no regular file"):
        listed(tmp_path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rpm").mkdir()
    with pytest.raises(AgentError, match=r"a\.rpm.*no regular file"):
        listed(tmp_path)


def test_results_that_are_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to("/etc")
    with pytest.raises(AgentError, match="is no directory"):
        listed(tmp_path / "results")


def test_results_over_the_limit_are_refused_with_the_file_that_is_too_much(tmp_path: Path) -> None:
    (tmp_path / "a.rpm").write_bytes(b"x" * 600)
    (tmp_path / "b.rpm").write_bytes(b"x" * 600)
    with pytest.raises(AgentError, match=r"larger than 1000 bytes \(at 'b\.rpm'\)"):
        listed(tmp_path)


def test_too_many_results_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copr_operator.builder.agent.plainfiles.MAX_FILES", 1)
    (tmp_path / "a.rpm").write_bytes(b"")
    (tmp_path / "b.rpm").write_bytes(b"")
    with pytest.raises(AgentError, match="2 result files"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("text", "code"),
    [("0\n", 0), ("22", 22), ("255\n", 255), ("256", None), ("", None), ("-1", None), ("zero", None), ("0" * 50, None)],
)
def test_the_exit_code_is_a_small_number_or_unknown(tmp_path: Path, text: str, code: int | None) -> None:
    (tmp_path / "exit-code").write_text(text)
    assert read_exit_code(tmp_path) == code


def test_no_exit_code_means_that_the_wrapper_was_killed(tmp_path: Path) -> None:
    assert read_exit_code(tmp_path) is None


def test_an_exit_code_behind_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "zero").write_text("0")
    (tmp_path / "exit-code").symlink_to("zero")
    assert read_exit_code(tmp_path) is None


def test_the_checksum_is_of_the_size_that_was_seen(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        assert sha256_of(fd, 0) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        assert sha256_of(fd, 3) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    finally:
        os.close(fd)
