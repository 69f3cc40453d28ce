"""The unmodified copr-cli, a process for each command: `python -m tests.support.copr_cli`.

Imports once (two thirds of what a command costs), then forks for every line of JSON on stdin: `{"arguments": [...],
"out": PATH, "err": PATH}`. The child runs copr_cli's own main; its exit code is written when it has ended.
"""

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class CoprCli:
    """Runs commands one after the other."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def run(self, *arguments: str) -> Ended:
        async with self._lock:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.support.copr_cli", cwd=REPOSITORY,
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                )  # fmt: skip
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with tempfile.TemporaryDirectory() as directory:
                out, err = Path(directory, "out"), Path(directory, "err")
                order = {"arguments": arguments, "out": str(out), "err": str(err)}
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
                code = int(await asyncio.wait_for(self._process.stdout.readline(), 60))
                return Ended(code, out.read_text(), err.read_text())

    async def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()


def _child(order: dict[str, object]) -> None:
    from copr_cli.main import main as copr_cli

    for number, name in ((1, "out"), (2, "err")):
        descriptor = os.open(str(order[name]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, number)
    arguments = order["arguments"]
    assert isinstance(arguments, list)
    try:
        copr_cli(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    import copr_cli.main  # noqa: F401 (what the children then have already)

    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _child(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
