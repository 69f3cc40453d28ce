"""What may become a result, case by case."""

from typing import Any

import pytest

from copr_operator.backend import checks
from copr_operator.backend.errors import RefusedError
from copr_operator.backend.inspector import RpmFile
from copr_operator.core.wire import ArtifactRef, Package, StepSummary, fit_summary

CHROOT = "fedora-43-x86_64"
HELLO = Package(name="hello", version="1.0-1")


def rpm(
    name: str = "hello", version: str = "1.0", release: str = "1.fc43", arch: str = "x86_64", **more: Any
) -> RpmFile:
    sourcerpm = "" if arch in ("src", "nosrc") else "hello-1.0-1.fc43.src.rpm"
    facts = {"epoch": None, "sourcerpm": sourcerpm, "sha256": "0" * 64, "size": 1, "chunks": ("", "", "")} | more
    return RpmFile(name=name, version=version, release=release, arch=arch, **facts)


def named(*found: RpmFile) -> list[tuple[str, RpmFile]]:
    return [(item.file_name, item) for item in found]


def refs(*names: str) -> list[ArtifactRef]:
    return [ArtifactRef(name=name, sha256="0" * 64) for name in names]


def test_an_srpm_may_name_all_architectures_there_are_and_no_novels() -> None:
    """The controller hears of them in a termination message."""
    many = tuple(f"arch{number}" for number in range(150))
    source = rpm(arch="src", exclusive_arch=many)
    package = checks.check_srpm(source.file_name, source)
    told = StepSummary(
        outcome="succeeded", package=package, source_sha256="0" * 64, exclusive_arch=many, log_tail="x" * 2048,
        srpm=ArtifactRef(name="n" * 240, sha256="0" * 64, size=2**40),
    )  # fmt: skip
    assert StepSummary.model_validate_json(fit_summary(told)).exclusive_arch == many
    endless = rpm(arch="src", exclusive_arch=many, exclude_arch=many)
    with pytest.raises(RefusedError, match="architecture tags") as refused:
        checks.check_srpm(endless.file_name, endless)
    assert refused.value.reason == "SRPMInvalid"


def test_binaries_noarch_and_the_source_package_of_the_build_are_accepted() -> None:
    found = named(rpm(), rpm("hello-doc", "7", arch="noarch"), rpm(arch="src"))
    checks.check_rpms(found, CHROOT, HELLO)


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        (named(rpm(arch="aarch64"), rpm(arch="src")), "ResultsRefused", "hello-1.0-1.fc43.aarch64.rpm: architecture"),
        (named(rpm(arch="i686"), rpm(arch="src")), "ResultsRefused", "architecture 'i686'"),
        (named(rpm(arch="nosrc"), rpm()), "ResultsRefused", "architecture 'nosrc'"),
        (named(rpm(arch="src")), "NoResults", "no binary"),
        ([], "NoResults", "no binary"),
        (named(rpm()), "ResultsRefused", "0 source packages"),
        (named(rpm(), rpm(arch="src"), rpm("other", arch="src")), "ResultsRefused", "2 source packages"),
        (named(rpm(), rpm("other", arch="src")), "ResultsRefused", "is other 1.0-1.fc43, but the SRPM was hello 1.0-1"),
        (named(rpm(), rpm(version="2.0", arch="src")), "ResultsRefused", "but the SRPM was"),
        (named(rpm(), rpm(arch="src", epoch=1)), "ResultsRefused", "but the SRPM was"),
        (named(rpm(sourcerpm="bash-5-1.src.rpm"), rpm(arch="src")), "ResultsRefused", "made from 'bash-5-1.src.rpm'"),
        (named(rpm(sourcerpm=""), rpm(arch="src")), "ResultsRefused", "made from ''"),
        ([("evil-1-1.x86_64.rpm", rpm()), *named(rpm(arch="src"))], "ResultsRefused", "evil-1-1.x86_64.rpm: its"),
        (named(rpm("../../etc"), rpm(arch="src")), "ResultsRefused", "unusual characters"),
        (named(rpm(version="1-0"), rpm(arch="src")), "ResultsRefused", "unusual characters"),
        (named(rpm("hell\u043e"), rpm(arch="src")), "ResultsRefused", "unusual characters"),
        (named(rpm("a\nb"), rpm(arch="src")), "ResultsRefused", "unusual characters"),
    ],
)  # fmt: skip
def test_other_results_are_refused_with_the_name_of_the_file(
    found: list[tuple[str, RpmFile]], reason: str, message: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        checks.check_rpms(found, CHROOT, HELLO)
    assert refused.value.reason == reason
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("chroot", "arch", "accepted"),
    [
        ("fedora-43-x86_64", "x86_64", True),
        ("epel-10-x86_64_v2", "x86_64_v2", True),
        ("fedora-43-i386", "i686", True),
        ("opensuse-tumbleweed-i586", "i686", True),
        ("fedora-43-aarch64", "aarch64", True),
        ("fedora-43-ppc64le", "ppc64le", True),
        ("fedora-43-riscv64", "riscv64", True),
        ("fedora-36-armhfp", "armv7hl", True),
        ("fedora-43-s390x", "x86_64", False),
        ("fedora-43-i386", "x86_64", False),
    ],
)
def test_a_chroot_accepts_the_architectures_of_its_family(chroot: str, arch: str, accepted: bool) -> None:
    assert (arch in checks.accepted_archs(chroot)) is accepted


@pytest.mark.parametrize("version", ["1.0-1", "0:1.0-9"])
def test_the_release_of_the_rebuilt_source_package_may_have_another_dist_tag(version: str) -> None:
    checks.check_rpms(named(rpm(), rpm(arch="src")), CHROOT, Package(name="hello", version=version))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "NoSRPM"),
        (["hello.spec"], "NoSRPM"),
        (["a-1-1.src.rpm", "b-1-1.src.rpm"], "SeveralSRPMs"),
        (["a-1-1.src.rpm", "a-1-1.x86_64.rpm"], "ResultsRefused"),
        (["a-1-1.src.rpm", "a.spec", "b.spec"], "ResultsRefused"),
    ],
)
def test_a_source_step_brings_one_srpm_and_at_most_its_spec(names: list[str], reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        checks.split_source(refs(*names))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("name", "found", "reason"),
    [
        ("hello-1.0-1.fc43.x86_64.rpm", rpm(), "SRPMInvalid"),
        ("hello-1.0-1.fc43.nosrc.rpm", rpm(arch="nosrc"), "SRPMInvalid"),
        ("other-1.0-1.src.rpm", rpm(arch="src"), "SRPMInvalid"),
        ("x.src.rpm", rpm("n" * 101, arch="src"), "PackageNameTooLong"),
    ],
)
def test_an_srpm_that_is_none_is_refused(name: str, found: RpmFile, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        checks.check_srpm(name, found)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "name", ["../x.rpm", ".hidden", "-rf", "a b.rpm", "a/b.rpm", "a\\b.rpm", "a\0b", "\u0430.rpm", "", "x" * 241, "a#1"]
)
def test_unusual_file_names_are_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="not an acceptable file name"):
        checks.check_names(refs(name), 10)


def test_too_many_files_and_files_listed_twice_are_refused() -> None:
    with pytest.raises(RefusedError, match="at most 1"):
        checks.check_names(refs("a", "b"), 1)
    with pytest.raises(RefusedError, match="a is listed twice"):
        checks.check_names(refs("a", "a"), 10)


def test_results_json_is_copr_s_with_a_null_epoch_and_the_source_package() -> None:
    assert checks.results_json([rpm(arch="src"), rpm(epoch=2)]) == {
        "packages": [
            {"name": "hello", "epoch": None, "version": "1.0", "release": "1.fc43", "arch": "src"},
            {"name": "hello", "epoch": 2, "version": "1.0", "release": "1.fc43", "arch": "x86_64"},
        ]
    }
