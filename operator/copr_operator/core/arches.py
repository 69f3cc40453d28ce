"""Architectures: what a chroot's architecture can build, and on which nodes."""

from collections.abc import Collection

_FAMILIES: dict[str, frozenset[str]] = {
    "i386": frozenset({"i386", "i486", "i586", "i686"}),
    "armhfp": frozenset({"armv7hl", "armv7hnl"}),
}
_GOARCH: dict[str, str] = {
    "x86_64": "amd64",
    "i386": "amd64",
    "aarch64": "arm64",
    "armhfp": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}


def chroot_arch(chroot: str) -> str:
    """`fedora-43-x86_64` -> `x86_64`."""
    return chroot.rpartition("-")[2]


def rpm_arches(arch: str) -> frozenset[str]:
    """The architectures of binary RPMs that a chroot of this architecture makes, `noarch` aside."""
    return _FAMILIES.get(arch, frozenset({arch}))


def node_arch(arch: str) -> str:
    """Value of the node label kubernetes.io/arch; unknown architectures are Go's own names already."""
    return _GOARCH.get(arch, arch)


def excluded(arch: str, exclusive: Collection[str], exclude: Collection[str], build: Collection[str]) -> bool:
    """Whether an SRPM's tags rule out a chroot of this architecture (Copr then skips it).

    `noarch` in ExclusiveArch is a marker for noarch packages and names no machine (Koji and Copr drop it as well);
    alone it means that any machine will do. BuildArch says nothing of the machine, unless it names real
    architectures only and none of them is this one.
    """
    mine = rpm_arches(arch)
    wanted = {a for a in exclusive if a != "noarch"}
    if wanted and not wanted & mine:
        return True
    if mine & set(exclude):
        return True
    built = set(build)
    return bool(built) and "noarch" not in built and not built & mine
