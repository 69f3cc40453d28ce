"""Architectures: what a chroot's architecture can build, and on which nodes."""

from collections.abc import Collection

_LEVELS = ("x86_64", "x86_64_v2", "x86_64_v3", "x86_64_v4")
"""Each runs what was made for those before it."""
_X86_64 = frozenset({*_LEVELS, "amd64", "ia32e"})
_I386 = frozenset({"i386", "i486", "i586", "i686", "athlon", "geode"})
_ARM = frozenset({"armhfp", "armv7l", "armv7hl", "armv7hnl"})
_FAMILIES = {arch: family for family in (_X86_64, _I386, _ARM) for arch in family}
_GOARCH = {
    **dict.fromkeys(_X86_64 | _I386, "amd64"),
    **dict.fromkeys(_ARM, "arm"),
    "aarch64": "arm64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}


def chroot_arch(chroot: str) -> str:
    """`fedora-43-x86_64` -> `x86_64`."""
    return chroot.rpartition("-")[2]


def rpm_arches(arch: str) -> frozenset[str]:
    """The architectures of binary RPMs that a chroot of this architecture may make, `noarch` aside."""
    return _FAMILIES.get(arch, frozenset({arch}))


def _called(arch: str) -> frozenset[str]:
    """What stands for this architecture in a spec: of x86_64_v2 its own name and x86_64, and of x86_64 only that."""
    return frozenset(_LEVELS[: _LEVELS.index(arch) + 1]) if arch in _LEVELS else rpm_arches(arch)


def node_arch(arch: str) -> str:
    """Value of the node label kubernetes.io/arch; unknown architectures are Go's own names already."""
    return _GOARCH.get(arch, arch)


def excluded(arch: str, exclusive: Collection[str], exclude: Collection[str], build: Collection[str]) -> bool:
    """Whether an SRPM's tags rule out a chroot of this architecture (Copr then skips it).

    `noarch` in ExclusiveArch is a marker for noarch packages and names no machine (Koji and Copr drop it as well);
    alone it means that any machine will do. BuildArch says nothing of the machine, unless it names real
    architectures only and none of them is this one.
    """
    mine = _called(arch)
    wanted = {a for a in exclusive if a != "noarch"}
    if wanted and not wanted & mine:
        return True
    if mine & set(exclude):
        return True
    built = set(build)
    return bool(built) and "noarch" not in built and not built & mine
