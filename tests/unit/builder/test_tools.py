"""Commands of `fetch` within limits: what happens when the directory can't be measured."""

import errno
import os
import time
from pathlib import Path

import pytest

from copr_operator.builder.agent import tools
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.tools import Toolbox

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        (errno.ENAMETOOLONG, AgentError, "SourceRefused: the source has a path of more than"),
        (errno.EIO, OSError, os.strerror(errno.EIO)),
    ],
)
async def test_a_command_whose_directory_can_not_be_measured_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[Exception], words: str
) -> None:
    def unmeasurable(_: Path) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tools, "size_of", unmeasurable)
    monkeypatch.setattr(tools, "_LOOK_EVERY", 0.01)
    start = time.monotonic()
    with pytest.raises(expected, match=words):
        await Toolbox(tmp_path, 1000, ENVIRONMENT).run("sleep", "30")
    assert time.monotonic() - start < 10


async def test_a_command_that_has_made_too_much_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_LOOK_EVERY", 0.01)
    start = time.monotonic()
    with pytest.raises(AgentError, match="SourceRefused: the source is larger than 1000 bytes"):
        await Toolbox(tmp_path, 1000, ENVIRONMENT).run("sh", "-c", "head -c 100000 /dev/urandom >x; exec sleep 30")
    assert time.monotonic() - start < 10
