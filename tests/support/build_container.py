"""The untrusted container without a node: the real scripts in a throw-away copy of this machine's file system.

An overlay of `/`, with its own mount and PID namespaces, in which `/copr/in` is what `fetch` prepared. What a pod has
besides (images, limits, user namespace, seccomp) is what tests/e2e is for. Needs root, as the local cluster does.
"""

import os
import shlex
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from copr_operator.builder.agent import fetch
from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import StepPlan

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = REPOSITORY / ".tools" / "source"
"""Where `make source-tools` installs what the source image has from PyPI."""

_ENTER = """
set -e
PATH=$PATH:/usr/sbin:/sbin
mount --make-rprivate /
mount -t tmpfs tmpfs {top}
mkdir {top}/upper {top}/work {top}/root
mount -t overlay overlay -o lowerdir={image},upperdir={top}/upper,workdir={top}/work {top}/root
cd {top}/root
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
rm -rf copr builddir
mkdir -p copr/in copr/out copr/ctl usr/local/bin etc/rpm
cp {macros} etc/rpm/macros.copr-source
mount --bind {home}/in copr/in
mount --bind {home}/out copr/out
mount --bind {home}/ctl copr/ctl
{links}
# Not chroot: nobody may make a user namespace in one.
mkdir .old
pivot_root . .old
cd /
umount -l .old
exec env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 {variables} /bin/bash /copr/in/scripts/main.sh
"""


@dataclass(frozen=True)
class Run:
    """How the wrapper ended and what it left."""

    code: int
    log: str
    results: Path

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.results.iterdir())


@dataclass
class BuildContainer:
    """`programs`: name -> text of programs on PATH that no image here can have, or that are to be absent (empty)."""

    home: Path
    plan: StepPlan
    programs: dict[str, str]
    image: Path = Path(os.environ.get("COPR_SOURCE_ROOT", "/"))
    """Root of the image's file system. This machine's own, with the tools of `make source-tools`, will do."""
    files: dict[str, str] = field(default_factory=dict)
    """Further files of the image: path -> text."""

    @property
    def paths(self) -> PodPaths:
        return PodPaths(
            in_dir=self.home / "in",
            out_dir=self.home / "out",
            end_fifo=self.home / "ctl" / "end",
            token=self.home / "token",
            private=self.home / "private",
            credentials=self.home / "credentials",
            termination_log=self.home / "termination-log",
        )

    def prepare(self) -> None:
        for name in ("in", "out", "ctl", "private", "credentials"):
            (self.home / name).mkdir(parents=True)
        fetch.prepare(self.plan, self.paths)

    async def bring(self) -> None:
        await fetch.bring(self.plan, self.paths)

    def run(self, variables: Mapping[str, str] | None = None, timeout: float = 120) -> Run:
        """Runs the step's script as PID 1; `collect` is a reader of the FIFO."""
        reader = threading.Thread(target=self.paths.end_fifo.read_bytes, daemon=True)
        reader.start()
        top = self.home / "top"
        top.mkdir()
        tools = ("tito", "pyp2spec", "pyp2rpm", "rpmautospec") if self.image == Path("/") else ()
        links = [f"ln -sf {TOOLS}/bin/{program} usr/local/bin/{program}" for program in tools]
        for name, text in self.programs.items():
            file = self.home / f"program-{name}"
            file.write_text(text)
            file.chmod(0o755)
            where = f"usr/local/bin/{name}"
            links.append(f"rm -f {where} usr/bin/{name}" if not text else f"rm -f {where}; cp {file} {where}")
        for path, text in self.files.items():
            file = self.home / f"file-{Path(path).name}"
            file.write_text(text)
            links.append(f"install -D -m 0644 {file} .{path}")
        script = _ENTER.format(
            image=self.image, top=top, home=self.home, macros=REPOSITORY / "images/source/macros.copr-source",
            links="\n".join(links),
            variables=" ".join(shlex.quote(f"{name}={value}") for name, value in (variables or {}).items()),
        )  # fmt: skip
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/bash", "-c", script],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if not self.paths.out_dir.joinpath("exit-code").exists():
            raise AssertionError(f"the wrapper did not run: {done.stdout}\n{done.stderr}")
        reader.join(5)
        log = (self.home / "out/builder-live.log").read_text(errors="replace")
        return Run(done.returncode, log, self.home / "out" / "results")
