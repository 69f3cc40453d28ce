"""The Debian packages that cannot be built from Go modules: looked for first, installed only when missing."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.errors import ClusterError

Probe = Mapping[str, str]
"""Package -> a program (found on PATH) or a file (absolute) that proves that it is there, on any distribution."""

CONTROL_PLANE: Probe = {"openssl": "openssl"}
CGO: Probe = {
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdlib.h",
    "libseccomp-dev": "/usr/include/seccomp.h",
    "pkg-config": "pkg-config",
}
NODE: Probe = {
    **CONTROL_PLANE,
    "containernetworking-plugins": "ptp",
    "iproute2": "ip",
    "nftables": "nft",
    "conntrack": "conntrack",
    "mmdebstrap": "mmdebstrap",  # makes the root of the test images
}

_EXTRA_PATH = ":/usr/sbin:/sbin:/usr/lib/cni:/opt/cni/bin"


def find_program(name: str) -> str | None:
    """Look a program up, also where Debian keeps administrators' programs and CNI plugins."""
    return shutil.which(name, path=os.environ.get("PATH", "") + _EXTRA_PATH)


def missing(probes: Probe) -> list[str]:
    """Return the packages whose proof is not there."""
    return [
        package
        for package, proof in probes.items()
        if not (Path(proof).exists() if proof.startswith("/") else find_program(proof))
    ]


def ensure(probes: Probe, *, report: Callable[[str], None]) -> None:
    """Install what is missing, or say plainly what is, when this process may not install packages."""
    wanted = missing(probes)
    if not wanted:
        return
    names = " ".join(wanted)
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        why = "this is no Debian" if apt is None else "installing them needs root"
        raise ClusterError(f"missing on this machine: {names} (names of the Debian packages; {why})")
    report(f"installing Debian packages: {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *wanted]):
        done = subprocess.run([apt, *command], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise ClusterError(f"apt-get {' '.join(command)} failed:\n{tail}")
    if still := missing(probes):
        raise ClusterError(f"still missing after apt-get install: {' '.join(still)}")
