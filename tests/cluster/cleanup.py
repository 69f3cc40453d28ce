"""Remove every trace that a profile leaves outside its own folders, also after a crash or a kill -9 of all of it."""

import ctypes
import os
import re
import shutil
from pathlib import Path

from tests.cluster import cgroups, network
from tests.cluster.errors import ClusterError
from tests.cluster.layout import NODE, Layout
from tests.cluster.supervisor import Supervisor

_MNT_DETACH = 2


def clean(layout: Layout) -> None:
    """End all processes of a profile, then unmount, remove and delete, in the order in which one holds the other."""
    Supervisor(layout, []).stop_all()
    if os.geteuid() == 0:
        cgroups.kill_members(layout.instance)
        unmount_below(layout.home, layout.run)
        if layout.profile == NODE and other_owner(layout) is None:
            network.tear_down(layout)
            _remove_log_links(layout)
            layout.owner_file.unlink(missing_ok=True)
        cgroups.remove(layout.instance)
    if left := mounts_below(layout.home, layout.run):
        # Deleting below a mount would delete what is mounted there.
        raise ClusterError(f"{layout.profile}: still mounted: {', '.join(map(str, left))}")
    for folder in (layout.run, layout.data, layout.certs, layout.conf):
        shutil.rmtree(folder, ignore_errors=True)
    layout.kubeconfig.unlink(missing_ok=True)
    layout.state_file.unlink(missing_ok=True)
    _remove_container_records(layout)


def other_owner(layout: Layout) -> Path | None:
    """Return the home of another node on this machine: the device and kube-proxy's tables exist only once."""
    try:
        owner = Path(layout.owner_file.read_text())
    except OSError:
        return None
    return None if owner == layout.home else owner


def mounts_below(*folders: Path) -> list[Path]:
    """Return the mount points inside the folders, the innermost and latest first."""
    found: list[Path] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[4]))
        if any(folder in point.parents for folder in folders):
            found.append(point)
    return found[::-1]


def unmount_below(*folders: Path) -> None:
    """Take away every mount inside the folders."""
    for point in mounts_below(*folders):
        _unmount(point)


def _unmount(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # Detached, as a file that is still open must not keep the mount in everybody's way.
    if libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise ClusterError(f"cannot unmount {path}: {os.strerror(number)}")


def _remove_log_links(layout: Layout) -> None:
    """Remove the links that the kubelet makes in a folder which its configuration cannot move."""
    folder = Path("/var/log/containers")
    if not folder.is_dir():
        return
    for link in folder.iterdir():
        if link.is_symlink() and str(link.readlink()).startswith(f"{layout.data}/"):
            link.unlink(missing_ok=True)


def _remove_container_records(layout: Layout) -> None:
    """Drop the CRI plugin's files of containers that are gone; the image store beside them is kept."""
    for name in ("io.containerd.grpc.v1.cri", "io.containerd.sandbox.controller.v1.shim"):
        shutil.rmtree(layout.keep / "containerd" / name, ignore_errors=True)
