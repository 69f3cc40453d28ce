"""Which cluster the node profile means: one that KUBECONFIG names, one made by kind, or the local one."""

import enum
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.layout import NODE, Layout

KIND_NAME = "copr-operator"
Report = Callable[[str], None]


class Provider(enum.Enum):
    """Where a profile's cluster comes from."""

    LOCAL = "local"
    KIND = "kind"
    GIVEN = "given"


def choose(layout: Layout) -> Provider:
    """Decide the provider; the control plane alone is always local, as tests break and restart its parts."""
    wish = os.environ.get("COPR_CLUSTER_PROVIDER", "")
    if wish not in ("", "local", "kind"):
        raise ClusterError(f"COPR_CLUSTER_PROVIDER is {wish!r}: it may be local or kind, or not set")
    if layout.profile != NODE or wish == "local":
        return Provider.LOCAL
    if wish == "kind":
        return Provider.KIND
    if given_kubeconfig(layout):
        return Provider.GIVEN
    return Provider.KIND if _kind_works() else Provider.LOCAL


def given_kubeconfig(layout: Layout) -> Path | None:
    """Return the file KUBECONFIG names, unless it is one of ours (a developer's `export KUBECONFIG=$(...)`)."""
    value = os.environ.get("KUBECONFIG")
    if not value:
        return None
    path = Path(value.split(os.pathsep)[0]).absolute()
    ours = {layout.kubeconfig, kind_kubeconfig(layout), layout.home.parent / "control-plane" / "kubeconfig"}
    return None if path in ours else path


def kind_kubeconfig(layout: Layout) -> Path:
    """Return where the kubeconfig of the kind cluster is kept."""
    return layout.home / "kind.kubeconfig"


def _kind_works() -> bool:
    docker = shutil.which("docker")
    if not docker or not shutil.which("kind"):
        return False
    try:
        # A client without an engine answers `docker --version`; only `info` asks the engine.
        return subprocess.run([docker, "info"], capture_output=True, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def kind_up(layout: Layout, *, report: Report) -> None:
    """Create the kind cluster unless it is there."""
    with layout.locked():
        if KIND_NAME in _kind("get", "clusters").split():
            report(f"node: using the kind cluster {KIND_NAME} that is there")
        else:
            report(f"node: creating the kind cluster {KIND_NAME}")
            _kind(
                "create", "cluster", "--name", KIND_NAME, "--wait", "180s", "--kubeconfig", str(kind_kubeconfig(layout))
            )
        text = _kind("get", "kubeconfig", "--name", KIND_NAME)
        path = kind_kubeconfig(layout)
        path.touch(mode=0o600)
        path.write_text(text)


def kind_down(layout: Layout, *, report: Report) -> None:
    """Delete the kind cluster if it is there."""
    if KIND_NAME in _kind("get", "clusters").split():
        _kind("delete", "cluster", "--name", KIND_NAME, "--kubeconfig", str(kind_kubeconfig(layout)))
    kind_kubeconfig(layout).unlink(missing_ok=True)
    report(f"node: the kind cluster {KIND_NAME} is gone")


def kind_load(archives: list[Path]) -> None:
    """Import image archives into the kind cluster's node."""
    for archive in archives:
        _kind("load", "image-archive", str(archive), "--name", KIND_NAME)


def _kind(*arguments: str) -> str:
    done = subprocess.run(["kind", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"kind {' '.join(arguments)} failed:\n{done.stderr.strip()[-1500:]}")
    return done.stdout
