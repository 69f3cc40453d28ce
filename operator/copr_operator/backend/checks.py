"""Whether what a build pod sent may become a result. Pure; raises RefusedError naming the file.

Everything here comes from untrusted code: names, headers and the order of files included.
"""

import json
import re
from collections.abc import Sequence

from copr_operator.backend.errors import RefusedError
from copr_operator.backend.inspector import RpmFile
from copr_operator.backend.layout import FILE_NAME, MAX_PACKAGE_NAME, PACKAGE_NAME
from copr_operator.core import arches
from copr_operator.core.wire import ArtifactRef, Package

SOURCE_SUFFIX = ".src.rpm"
_VERSION = re.compile(r"[A-Za-z0-9._+~^]+")
_ARCH = re.compile(r"[A-Za-z0-9_]+")
_EVR = re.compile(r"(?:([0-9]+):)?([^:-]+)-([^:-]+)")

MAX_ARCH_TAGS = 2048
"""Bytes. The controller hears of ExclusiveArch, ExcludeArch and BuildArch in a termination message, beside names and
checksums; all architectures that rpm knows are less."""


def accepted_archs(chroot: str) -> frozenset[str]:
    """Architectures of binary packages that a chroot may produce."""
    return arches.rpm_arches(arches.chroot_arch(chroot)) | {"noarch"}


def check_names(files: Sequence[ArtifactRef], max_files: int) -> None:
    if len(files) > max_files:
        raise RefusedError("ResultsRefused", f"{len(files)} files; at most {max_files} are accepted")
    seen: set[str] = set()
    for file in files:
        if not FILE_NAME.fullmatch(file.name):
            raise RefusedError("ResultsRefused", f"{file.name[:250]!r} is not an acceptable file name")
        if file.name in seen:
            raise RefusedError("ResultsRefused", f"{file.name} is listed twice")
        seen.add(file.name)


def split_source(files: Sequence[ArtifactRef]) -> tuple[ArtifactRef, list[ArtifactRef]]:
    """The one SRPM and the spec files beside it."""
    srpms = [file for file in files if file.name.endswith(SOURCE_SUFFIX)]
    if not srpms:
        raise RefusedError("NoSRPM", "no .src.rpm was sent")
    if len(srpms) > 1:
        raise RefusedError("SeveralSRPMs", "more than one: " + ", ".join(sorted(file.name for file in srpms)[:5]))
    specs = [file for file in files if file.name.endswith(".spec")]
    for file in files:
        if file not in srpms and file not in specs:
            raise RefusedError("ResultsRefused", f"{file.name}: a source step makes one .src.rpm and at most one .spec")
    if len(specs) > 1:
        raise RefusedError("ResultsRefused", f"{specs[1].name}: a source step makes at most one .spec")
    return srpms[0], specs


def split_rpms(files: Sequence[ArtifactRef]) -> tuple[list[ArtifactRef], list[ArtifactRef]]:
    """The RPMs of a chroot, and the spec that Copr keeps beside them."""
    specs = [file for file in files if file.name.endswith(".spec")]
    packages = [file for file in files if file not in specs]
    for file in packages:
        if not file.name.endswith(".rpm"):
            raise RefusedError("ResultsRefused", f"{file.name} is no RPM")
    if len(specs) > 1:
        raise RefusedError("ResultsRefused", f"{specs[1].name}: a build has one .spec")
    return packages, specs


def check_srpm(name: str, rpm: RpmFile) -> Package:
    """The package an SRPM stands for."""
    if rpm.arch != "src":
        what = "has sources that may not be distributed (nosrc)" if rpm.arch == "nosrc" else "is no source package"
        raise RefusedError("SRPMInvalid", f"{name} {what}")
    if len(rpm.name) > MAX_PACKAGE_NAME:
        raise RefusedError("PackageNameTooLong", f"{rpm.name[:120]} has {len(rpm.name)} characters")
    _check_nevra(name, rpm, "SRPMInvalid")
    tags = len(json.dumps([rpm.exclusive_arch, rpm.exclude_arch, rpm.build_arch]))
    if tags > MAX_ARCH_TAGS:
        raise RefusedError("SRPMInvalid", f"{name}: its architecture tags have {tags} bytes, above {MAX_ARCH_TAGS}")
    return Package(name=rpm.name, version=rpm.evr)


def check_rpms(rpms: Sequence[tuple[str, RpmFile]], chroot: str, expected: Package) -> None:
    """`rpms` as (file name, header), the result of building `expected` in `chroot`."""
    accepted = accepted_archs(chroot)
    for name, rpm in rpms:
        if rpm.arch != "src" and rpm.arch not in accepted:
            raise RefusedError("ResultsRefused", f"{name}: architecture {rpm.arch[:40]!r} does not belong to {chroot}")
        _check_nevra(name, rpm, "ResultsRefused")
    sources = [(name, rpm) for name, rpm in rpms if rpm.arch == "src"]
    if len(sources) == len(rpms):
        raise RefusedError("NoResults", "no binary package was made")
    if len(sources) != 1:
        raise RefusedError("ResultsRefused", f"{len(sources)} source packages among the results instead of one")
    name, source = sources[0]
    _check_source(name, source, expected)
    for name, rpm in rpms:
        if rpm.arch != "src" and rpm.sourcerpm != source.file_name:
            raise RefusedError(
                "ResultsRefused", f"{name}: made from {rpm.sourcerpm[:250]!r}, not from {source.file_name}"
            )


def _check_source(name: str, source: RpmFile, expected: Package) -> None:
    """Release is left out: the chroot's own %dist is in it."""
    match = _EVR.fullmatch(expected.version)
    same_version = match is None or (int(match[1] or 0), match[2]) == (source.epoch or 0, source.version)
    if source.name != expected.name or not same_version:
        found = f"{source.name} {source.evr}"
        raise RefusedError("ResultsRefused", f"{name}: is {found}, but the SRPM was {expected.name} {expected.version}")


def _check_nevra(file_name: str, rpm: RpmFile, reason: str) -> None:
    sound = (
        PACKAGE_NAME.fullmatch(rpm.name)
        and _VERSION.fullmatch(rpm.version)
        and _VERSION.fullmatch(rpm.release)
        and _ARCH.fullmatch(rpm.arch)
    )
    if not sound:
        raise RefusedError(reason, f"{file_name}: unusual characters in its name, version, release or architecture")
    if file_name != rpm.file_name:
        raise RefusedError(reason, f"{file_name}: its header says {rpm.file_name[:250]}")


def results_json(rpms: Sequence[RpmFile]) -> dict[str, object]:
    """Copr's results.json: every package, the source package included."""
    return {
        "packages": [
            {"name": rpm.name, "epoch": rpm.epoch, "version": rpm.version, "release": rpm.release, "arch": rpm.arch}
            for rpm in sorted(rpms, key=lambda rpm: (rpm.name, rpm.arch))
        ]
    }
