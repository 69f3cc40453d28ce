"""containerd's client, and image archives written without an engine."""

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.errors import ClusterError

PAUSE_IMAGE = "localhost/copr-operator/pause:1"
NAMESPACE = "k8s.io"
"""The containerd namespace in which the kubelet sees images."""


def architecture() -> str:
    """Return this machine's architecture as images name it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def write_archive(target: Path, *, image: str, layer: Path, config: Mapping[str, Any]) -> None:
    """Write a docker archive of one uncompressed layer, say a root file system made by mmdebstrap.

    `config` is the image's run configuration (Entrypoint, Cmd, Env, User, WorkingDir). Written under another name
    first, as an archive that was cut short would be taken for a cached one.
    """
    with layer.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    description = {
        **{"architecture": architecture(), "os": "linux", "config": dict(config)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    with tarfile.open(unfinished, mode="w") as tar:
        tar.add(layer, arcname="layer.tar")
        for name, content in (("config.json", description), ("manifest.json", manifest)):
            encoded = json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(encoded)
            tar.addfile(entry, io.BytesIO(encoded))
    unfinished.rename(target)


def write_pause_archive(target: Path, *, program: Path) -> None:
    """Write the image of every pod's sandbox container."""
    layer = target.with_suffix(".layer")
    with tarfile.open(layer, mode="w") as tar:
        tar.add(program, arcname="pause", filter=_owned_by_root)
    write_archive(target, image=PAUSE_IMAGE, layer=layer, config={"Entrypoint": ["/pause"]})
    layer.unlink()


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755
    return entry


class Ctr:
    """containerd's own client, bound to one socket and to the kubelet's namespace."""

    def __init__(self, program: Path, socket: str) -> None:
        self._command = [str(program), "--address", socket, "--namespace", NAMESPACE]

    def run(self, *arguments: str) -> str:
        """Run one subcommand."""
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise ClusterError(f"ctr {' '.join(arguments)} failed: {done.stderr.strip()[-800:]}")
        return done.stdout

    def images(self) -> list[str]:
        """Return the names of all images."""
        return self.run("images", "list", "-q").split()

    def load(self, archive: Path) -> None:
        """Import a docker- or oci-archive and unpack it, so that the first pod does not pay for that."""
        if not archive.is_file():
            raise ClusterError(f"there is no image archive {archive}")
        self.run("images", "import", str(archive))

    def forget_containers(self) -> bool:
        """Delete the records of all containers and sandboxes, none of which runs; returns whether there were any."""
        containers = self.run("containers", "list", "-q").split()
        if containers:
            self.run("containers", "delete", *containers)
        sandboxes = [line.split()[0] for line in self.run("sandboxes", "list").splitlines()[1:] if line.split()]
        for sandbox in sandboxes:
            self.run("sandboxes", "remove", "--force", sandbox)
        return bool(containers or sandboxes)
