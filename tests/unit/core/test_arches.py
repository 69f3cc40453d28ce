"""Given a chroot's architecture: on which nodes it is built, and which tags of a spec rule it out."""

import pytest

from copr_operator.core import arches


@pytest.mark.parametrize(
    ("chroot", "node"),
    [
        ("fedora-43-x86_64", "amd64"),
        ("almalinux-kitten-10-x86_64_v2", "amd64"),
        ("fedora-43-x86_64_v4", "amd64"),
        ("fedora-30-i386", "amd64"),
        ("opensuse-tumbleweed-i586", "amd64"),
        ("mageia-9-i686", "amd64"),
        ("fedora-36-armhfp", "arm"),
        ("mageia-9-armv7hl", "arm"),
        ("fedora-43-aarch64", "arm64"),
        ("fedora-43-ppc64le", "ppc64le"),
        ("fedora-43-s390x", "s390x"),
        ("fedora-43-riscv64", "riscv64"),
        ("x-1-loong64", "loong64"),
    ],
)
def test_a_chroot_is_built_on_nodes_that_there_are(chroot: str, node: str) -> None:
    assert arches.node_arch(arches.chroot_arch(chroot)) == node


@pytest.mark.parametrize(
    ("arch", "exclusive", "exclude", "build", "skipped"),
    [
        ("x86_64", ["x86_64", "aarch64"], [], [], False),
        ("x86_64", ["aarch64"], [], [], True),
        ("x86_64", ["noarch"], [], [], False),
        ("x86_64", ["aarch64", "noarch"], [], [], True),
        ("x86_64", [], ["x86_64"], [], True),
        ("x86_64", [], ["x86_64_v2"], [], False),
        ("x86_64", ["x86_64_v3"], [], [], True),
        ("x86_64_v2", ["x86_64"], [], [], False),
        ("x86_64_v2", ["x86_64_v2"], [], [], False),
        ("x86_64_v2", ["x86_64_v3"], [], [], True),
        ("x86_64_v2", [], ["x86_64"], [], True),
        ("i586", ["i686", "x86_64"], [], [], False),
        ("i586", ["x86_64"], [], [], True),
        ("i386", [], ["i686"], [], True),
        ("armhfp", ["armv7hl"], [], [], False),
        ("x86_64", [], [], ["noarch"], False),
        ("x86_64", [], [], ["aarch64"], True),
        ("x86_64_v2", [], [], ["x86_64"], False),
    ],
)
def test_tags_rule_a_chroot_out_by_its_names(
    arch: str, exclusive: list[str], exclude: list[str], build: list[str], skipped: bool
) -> None:
    assert arches.excluded(arch, exclusive, exclude, build) is skipped
