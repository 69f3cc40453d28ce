"""Where a profile keeps its files, and the state that later commands need to find the cluster again."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.cluster.errors import ClusterError

CONTROL_PLANE = "control-plane"
NODE = "node"
PROFILES = (CONTROL_PLANE, NODE)


_DEFAULT_HOME = Path("/var/lib/copr-operator-cluster")


def _home_root() -> Path:
    return Path(os.environ.get("COPR_CLUSTER_HOME") or _DEFAULT_HOME).absolute()


def shared() -> bool:
    """Whether the clusters are everybody's on this machine: COPR_CLUSTER_HOME gives them no home of their own."""
    return _home_root() == _DEFAULT_HOME


def _run_root() -> Path:
    # Unix socket paths end at 108 characters: sockets never live below a home that the user may choose.
    if os.geteuid() == 0:
        return Path("/run/copr-operator-cluster")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/copr-operator-{os.geteuid()}") / "copr-operator-cluster"


def _instance(profile: str) -> str:
    """Name a profile on this machine: clusters with different homes must not end each other's processes."""
    home = _home_root()
    return profile if home == _DEFAULT_HOME else f"{profile}-{hashlib.sha256(str(home).encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Layout:
    """The folders of one profile."""

    profile: str
    home: Path
    run: Path
    instance: str
    """The profile's name on this machine; differs from the profile when COPR_CLUSTER_HOME is set."""

    @property
    def data(self) -> Path:
        """What a fresh start throws away."""
        return self.home / "data"

    @property
    def keep(self) -> Path:
        """What survives `down`: containerd's image store."""
        return self.home / "keep"

    @property
    def certs(self) -> Path:
        """Certificates, keys and tokens, made anew for each fresh start."""
        return self.home / "certs"

    @property
    def conf(self) -> Path:
        """Generated configuration files of the parts."""
        return self.home / "conf"

    @property
    def logs(self) -> Path:
        """One file per part."""
        return self.home / "logs"

    @property
    def audit_policy(self) -> Path:
        """What the API server writes into `audit_log`."""
        return self.conf / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """Requests of ServiceAccounts, an event of audit.k8s.io a line."""
        return self.logs / "audit.log"

    @property
    def pids(self) -> Path:
        """One record per running part."""
        return self.run / "pids"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.home / "kubeconfig"

    @property
    def owner_file(self) -> Path:
        """Says which home has this machine's one node."""
        return self.run.parent / "node.home"

    @property
    def state_file(self) -> Path:
        """The ports and addresses that were chosen at the last fresh start."""
        return self.home / "state.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the profile's lock: two test sessions that say `up` at once must not start it twice."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            stream = (self.home / "lock").open("w")
        except PermissionError as error:
            raise ClusterError(f"cannot write {self.home}: be root, or set COPR_CLUSTER_HOME ({error})") from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def layout_of(profile: str) -> Layout:
    """Return the folders of a profile, without creating any."""
    if profile not in PROFILES:
        raise ClusterError(f"there is no profile {profile!r}: {' or '.join(PROFILES)}")
    instance = _instance(profile)
    return Layout(profile=profile, home=_home_root() / profile, run=_run_root() / instance, instance=instance)


@dataclass(frozen=True)
class State:
    """What was decided at a fresh start and must not change while the cluster lives."""

    node_address: str
    ports: dict[str, int] = field(default_factory=dict)

    def save(self, layout: Layout) -> None:
        """Write the state, so that any later process can describe the same parts again."""
        layout.state_file.write_text(json.dumps(asdict(self), indent=1))

    @staticmethod
    def load(layout: Layout) -> "State | None":
        """Read the state back; None when the profile was never started or its state is damaged."""
        try:
            raw = json.loads(layout.state_file.read_text())
            return State(node_address=str(raw["node_address"]), ports={k: int(v) for k, v in raw["ports"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
