"""The images of the local cluster, built from the repository's own Containerfiles without a container engine.

`python -m tests.cluster.images build [operator|source|debian-12|debian-13|all]` prints one archive's path a line, for
`python -m tests.cluster load FILE`. buildah makes them (chroot isolation, its own storage, no daemon) on bases that
mmdebstrap makes from Debian packages: no registry is asked. An archive's name and its image's tag carry a hash of
everything it was made of, so nothing is built twice and a changed image can't be mistaken for the old one.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from copr_operator import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIX = "localhost/copr-operator"
MIRROR = "http://deb.debian.org/debian"
"""The same that Debian's own installer uses; `COPR_DEBIAN_MIRROR` replaces it."""

_BASE_OPTIONS = (
    "--variant=minbase",
    "--include=ca-certificates",
    '--aptopt=APT::Install-Recommends "false"',
    # As Debian's own images do it; else bookworm merges /usr with a package that needs Perl.
    "--hook-directory=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)
_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


class ImageError(Exception):
    """An image can't be built on this machine; the message says why."""


@dataclass(frozen=True)
class Image:
    """`inputs`: files and directories, relative to the repository, that the image is made of."""

    name: str
    suite: str
    containerfile: str
    context: str
    inputs: tuple[str, ...]
    needs_https: bool = False
    """Whether the build talks to a server over TLS and so must trust what this machine trusts."""


IMAGES = {
    "operator": Image(
        name="operator",
        suite="bookworm",
        containerfile="images/operator/Containerfile",
        context=".",
        inputs=("images/operator", "images/sbom.sh", "operator", "pyproject.toml", "README.md", "LICENSE"),
        needs_https=True,
    ),
    "source": Image(
        "source", "bookworm", "images/source/Containerfile", "images", ("images/source", "images/sbom.sh"),
        needs_https=True,
    ),
    "debian-12": Image(
        "chroot-debian-12", "bookworm", "images/chroot/Containerfile", "images", ("images/chroot", "images/sbom.sh")
    ),
    "debian-13": Image(
        "chroot-debian-13", "trixie", "images/chroot/Containerfile", "images", ("images/chroot", "images/sbom.sh")
    ),
}  # fmt: skip


def image_refs() -> dict[str, str]:
    """Short name -> reference of the image as it is now in the working tree, whether or not it was built."""
    return {short: _ref(image) for short, image in IMAGES.items()}


def build(short: str) -> Path:
    """The archive of one image; made when it is not there."""
    image = IMAGES[short]
    archive = _cache() / f"{image.name}-{content_hash(image)}.tar"
    with _locked():
        if not archive.exists():
            _need("buildah", "mmdebstrap")
            _build(image, archive)
            _drop_older(image, archive)
    return archive


def content_hash(image: Image) -> str:
    digest = hashlib.sha256("\0".join((image.suite, *_BASE_OPTIONS)).encode())
    for path in _input_files(image):
        digest.update(f"\0{path.relative_to(REPOSITORY)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _input_files(image: Image) -> Iterator[Path]:
    for entry in image.inputs:
        path = REPOSITORY / entry
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)


def _ref(image: Image) -> str:
    return f"{PREFIX}/{image.name}:dev-{content_hash(image)}"


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(home) / "copr-operator" / "images"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def _locked() -> Iterator[None]:
    """One build at a time: they share a storage, and two of the same would do the work twice."""
    with (_cache() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise ImageError(f"{' and '.join(missing)} not found; on Debian: apt-get install {' '.join(missing)}")


def _build(image: Image, archive: Path) -> None:
    base = _base(image.suite)
    ref = _ref(image)
    options = ["--isolation", "chroot", "--layers", "--pull=never"]
    for name, value in {"BASE": base, "VERSION": __version__, "REVISION": _revision(image)}.items():
        options += ["--build-arg", f"{name}={value}"]
    if image.needs_https and Path(_CA_BUNDLE).exists():
        options += ["--volume", f"{_CA_BUNDLE}:{_CA_BUNDLE}:ro"]
    _buildah("build", *options, "--tag", ref, "--file", str(REPOSITORY / image.containerfile), image.context)
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _buildah("push", "--quiet", ref, f"docker-archive:{partial}:{ref}")
    partial.rename(archive)


def _revision(image: Image) -> str:
    """The commit that the image is made of, with `-dirty` when its inputs are others; `unknown` outside of git."""
    try:
        commit = _run("git", "rev-parse", "HEAD")
        changed = _run("git", "status", "--porcelain", "--", *image.inputs)
    except (ImageError, FileNotFoundError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _base(suite: str) -> str:
    """Reference of the base image of a Debian suite in buildah's storage."""
    ref = f"{PREFIX}/debian-base:{suite}-{hashlib.sha256(repr(_BASE_OPTIONS).encode()).hexdigest()[:8]}"
    if _buildah_status("inspect", "--type", "image", ref) == 0:
        return ref
    tar = _cache() / f"debian-base-{suite}.tar"
    if not tar.exists():
        partial = tar.with_suffix(".partial.tar")
        mirror = os.environ.get("COPR_DEBIAN_MIRROR", MIRROR)
        _run("mmdebstrap", "--quiet", *_BASE_OPTIONS, suite, str(partial), mirror)
        partial.rename(tar)
    container = _buildah("from", "scratch")
    _buildah("add", "--quiet", container, str(tar), "/")
    _buildah("commit", "--quiet", "--rm", container, ref)
    tar.unlink()
    return ref


def _drop_older(image: Image, archive: Path) -> None:
    """An archive has hundreds of MB and is of no use once its inputs have changed."""
    for old in _cache().glob(f"{image.name}-????????????.tar"):
        if old != archive:
            tag = old.stem.removeprefix(f"{image.name}-")
            old.unlink()
            _buildah_status("rmi", f"{PREFIX}/{image.name}:dev-{tag}")


def storage() -> Path:
    """Where buildah keeps its layers."""
    return _cache() / "storage"


def _buildah_command(arguments: tuple[str, ...]) -> list[str]:
    driver = os.environ.get("STORAGE_DRIVER", "overlay")
    return [
        "buildah",
        "--root",
        f"{storage()}/root",
        "--runroot",
        f"{storage()}/run",
        "--storage-driver",
        driver,
        *arguments,
    ]


def _buildah(*arguments: str) -> str:
    return _run(*_buildah_command(arguments))


def _buildah_status(*arguments: str) -> int:
    return subprocess.run(_buildah_command(arguments), capture_output=True, check=False).returncode


def _run(*command: str) -> str:
    """Runs to the end; its output is shown only when it fails."""
    done = subprocess.run(
        command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        output = (done.stdout + done.stderr)[-8000:]
        raise ImageError(f"{' '.join(command)} failed with exit code {done.returncode}:\n{output}")
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="build what is missing; print the archives")
    builder.add_argument("images", nargs="*", choices=[*IMAGES, "all"], default="all")
    commands.add_parser("refs", help="print the references that the images have in the cluster")
    arguments = parser.parse_args()
    if arguments.command == "refs":
        for short, ref in image_refs().items():
            sys.stdout.write(f"{short} {ref}\n")
        return 0
    wanted = [arguments.images] if isinstance(arguments.images, str) else arguments.images
    for short in IMAGES if "all" in wanted else wanted:
        start = time.monotonic()
        try:
            archive = build(short)
        except ImageError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        sys.stderr.write(f"{short}: {archive.stat().st_size / 1e6:.0f} MB, {time.monotonic() - start:.0f} s\n")
        sys.stdout.write(f"{archive}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
