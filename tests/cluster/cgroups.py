"""A cgroup of our own for all processes of a profile: what is in it is ours to end, whatever its name or parent.

Two folders below it: `parts` holds the cluster's programs with containerd's shims, `kubepods` (made by the kubelet)
the containers. On cgroup v1 every controller has a tree of its own.
"""

import contextlib
import os
import time
from pathlib import Path

from tests.cluster import process
from tests.cluster.errors import ClusterError

ROOT = Path("/sys/fs/cgroup")
NAME = "copr-operator-cluster"


def is_v2() -> bool:
    """Say whether this machine has one unified cgroup tree."""
    return (ROOT / "cgroup.controllers").exists()


def _trees() -> list[Path]:
    if is_v2():
        return [ROOT]
    return [path for path in sorted(ROOT.iterdir()) if path.is_dir() and not path.is_symlink()]


def kubelet_root(instance: str) -> str:
    """Return the cgroup, as the kubelet names it, below which it makes kubepods."""
    return f"/{NAME}/{instance}"


def create(instance: str) -> None:
    """Make the profile's cgroups in every tree: the kubelet refuses a cgroup root that is not there."""
    for tree in _trees():
        _make(tree, f"{NAME}/{instance}/parts")


def join_parts(instance: str) -> Path | None:
    """Return the file that a new process writes its pid to; None for a user who may not make cgroups."""
    if os.geteuid() != 0:
        return None
    tree = ROOT if is_v2() else ROOT / "pids"
    if not tree.is_dir():
        return None
    return _make(tree, f"{NAME}/{instance}/parts") / "cgroup.procs"


def _make(tree: Path, relative: str) -> Path:
    path = tree
    for name in relative.split("/"):
        if is_v2():
            # A child gets the controllers that its parent hands down.
            with contextlib.suppress(OSError):
                controllers = (path / "cgroup.controllers").read_text().split()
                (path / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in controllers))
        path = path / name
        with contextlib.suppress(FileExistsError):
            path.mkdir()
        _inherit_cpuset(path)
    return path


def _inherit_cpuset(path: Path) -> None:
    """A new cpuset of cgroup v1 is empty and admits no process until it is given its parent's processors."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        target = path / name
        if not is_v2() and target.exists() and not target.read_text().strip():
            target.write_text((path.parent / name).read_text())


def _folders(instance: str) -> list[Path]:
    """All cgroups of the profile, children before parents, as rmdir wants them."""
    found: list[Path] = []
    for tree in _trees():
        top = tree / NAME / instance
        if top.is_dir():
            found += [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]
    return found


def members(instance: str) -> list[process.Record]:
    """Return every process in the profile's cgroups."""
    pids: set[int] = set()
    for folder in _folders(instance):
        with contextlib.suppress(OSError):
            pids.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
    return [record for pid in sorted(pids - {0, os.getpid()}) if (record := process.record_of(pid))]


def kill_members(instance: str) -> None:
    """End all of them; repeated, because a process may fork while it is being looked at."""
    for _ in range(50):
        found = members(instance)
        if not found:
            return
        process.kill(found)
        time.sleep(0.02)
    left = ", ".join(str(record.pid) for record in members(instance))
    raise ClusterError(f"{instance}: processes that cannot be ended: {left}")


def remove(instance: str) -> None:
    """Remove the profile's cgroups, and the folder above them when no other profile uses it."""
    for attempt in range(50):
        for folder in _folders(instance):
            with contextlib.suppress(OSError):
                folder.rmdir()
        if not _folders(instance):
            break
        time.sleep(0.02 * min(attempt, 10))  # a cgroup stays busy for a moment after its last process has gone
    for tree in _trees():
        with contextlib.suppress(OSError):
            (tree / NAME).rmdir()
    if left := _folders(instance):
        raise ClusterError(f"{instance}: cgroups that cannot be removed: {', '.join(map(str, left[:5]))}")
