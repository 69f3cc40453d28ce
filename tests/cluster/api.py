"""What tests call: `up(profile)` gives a Cluster, whose parts fault tests may stop and start again."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import layout as layouts
from tests.cluster import local, providers, toolbox
from tests.cluster.errors import ClusterError
from tests.cluster.layout import CONTROL_PLANE, NODE, PROFILES
from tests.cluster.local import Report
from tests.cluster.providers import Provider
from tests.cluster.supervisor import PartStatus, Supervisor

__all__ = [
    "CONTROL_PLANE",
    "NODE",
    "PROFILES",
    "Cluster",
    "ClusterError",
    "Provider",
    "cluster",
    "down",
    "load",
    "tool",
    "up",
]


@dataclass(frozen=True)
class Cluster:
    """A running cluster, and how to reach it."""

    profile: str
    provider: Provider
    kubeconfig: Path
    server: str
    token: str | None
    """The administrator's bearer token; None for a cluster that KUBECONFIG or kind gave."""
    ca: Path | None
    node_address: str | None
    """Where NodePorts answer, and where pods reach servers that a test starts on this machine."""
    home: Path
    run: Path
    logs: Path

    @property
    def audit_log(self) -> Path:
        """What ServiceAccounts asked of the API server: an event of audit.k8s.io a line. Of a local cluster only."""
        return layouts.layout_of(self.profile).audit_log

    def require_own(self) -> None:
        """Raises ClusterError for a cluster that others may be working with: to be asked before it is broken."""
        if self.provider is not Provider.LOCAL or layouts.shared():
            hint = "set COPR_CLUSTER_HOME to a folder of your own"
            raise ClusterError(f"{self.profile}: others may be working with this cluster: {hint}")

    def stop_part(self, name: str, *, kill: bool = False) -> None:
        """Stop a part and return when it is gone; kill=True does it by SIGKILL. Raises as `require_own` does."""
        self.require_own()
        supervisor = self._supervisor()
        supervisor.stop(supervisor.part(name), kill=kill)

    def start_part(self, name: str, *, timeout: float = local.READY_SECONDS) -> None:
        """Start a stopped part with its data and return when it is ready."""
        supervisor = self._supervisor()
        supervisor.start(supervisor.part(name))
        supervisor.wait_ready(supervisor.part(name), timeout=timeout)

    def restart_part(self, name: str, *, kill: bool = False) -> None:
        """Stop a part and start it again."""
        self.stop_part(name, kill=kill)
        self.start_part(name)

    def status(self) -> list[PartStatus]:
        """Return one line per part; none for a cluster whose parts are not ours."""
        return self._supervisor().status() if self.provider is Provider.LOCAL else []

    def _supervisor(self) -> Supervisor:
        if self.provider is not Provider.LOCAL:
            raise ClusterError(f"the parts of a cluster from {self.provider.value} are not ours to stop or start")
        context = local.context_of(layouts.layout_of(self.profile))
        if context is None:
            raise ClusterError(f"{self.profile} is not started")
        return local.supervisor_of(context)


def up(profile: str = NODE, *, report: Report = toolbox.to_stderr) -> Cluster:
    """Make a profile run, or find it running, and return it."""
    layout = layouts.layout_of(profile)
    provider = providers.choose(layout)
    if provider is Provider.LOCAL:
        local.up(layout, report=report)
    elif provider is Provider.KIND:
        providers.kind_up(layout, report=report)
    else:
        report(f"node: using the cluster of KUBECONFIG={providers.given_kubeconfig(layout)} as it is")
    return cluster(profile)


def down(profile: str = NODE, *, report: Report = toolbox.to_stderr) -> None:
    """End a profile and remove all that it made; a cluster that was given stays as it is."""
    layout = layouts.layout_of(profile)
    provider = providers.choose(layout)
    if provider is Provider.GIVEN:
        report(f"node: the cluster of KUBECONFIG={providers.given_kubeconfig(layout)} is not ours: left alone")
        return
    if provider is Provider.KIND:
        providers.kind_down(layout, report=report)
    local.down(layout, report=report)  # also after kind: an earlier local start may have left something


def cluster(profile: str = NODE) -> Cluster:
    """Return a profile that `up` has started before, without starting it."""
    layout = layouts.layout_of(profile)
    provider = providers.choose(layout)
    common = {"home": layout.home, "run": layout.run, "logs": layout.logs}
    if provider is Provider.LOCAL:
        context = local.context_of(layout)
        if context is None:
            raise ClusterError(f"{profile} is not started: python -m tests.cluster up --profile {profile}")
        made = context.credentials
        return Cluster(
            profile=profile,
            provider=provider,
            kubeconfig=layout.kubeconfig,
            server=context.server,
            token=made.admin_token_file.read_text(),
            ca=made.ca,
            node_address=context.state.node_address,
            **common,
        )
    given = providers.given_kubeconfig(layout) if provider is Provider.GIVEN else providers.kind_kubeconfig(layout)
    if given is None or not given.exists():
        raise ClusterError(f"there is no kubeconfig at {given}")
    return Cluster(
        profile=profile,
        provider=provider,
        kubeconfig=given,
        server=_server_of(given),
        token=None,
        ca=None,
        node_address=None,
        **common,
    )


def load(archives: list[Path], *, report: Report = toolbox.to_stderr) -> None:
    """Give image archives to the node profile's cluster."""
    layout = layouts.layout_of(NODE)
    provider = providers.choose(layout)
    if provider is Provider.GIVEN:
        raise ClusterError(
            "the cluster of KUBECONFIG is not ours to load images into: push them to a registry that it can pull "
            "from, and set COPR_IMAGE_PREFIX to the registry's prefix"
        )
    if provider is Provider.KIND:
        providers.kind_load(archives)
        return
    context = local.context_of(layout)
    if context is None:
        raise ClusterError("node is not started: python -m tests.cluster up")
    for archive in archives:
        local.ctr_of(context).load(archive)
        report(f"node: imported {archive}")


def tool(name: str) -> Path:
    """Return the path of a pinned program (kubectl, helm, kubeconform, ...), built when it is not cached."""
    return toolbox.tool(name)


def module(folder: str, path: str) -> Path:
    """Return the directory of a Go module that `tools/FOLDER/go.mod` pins, downloaded when it is not there."""
    return toolbox.module(folder, path)


def _server_of(kubeconfig: Path) -> str:
    try:
        config = yaml.safe_load(kubeconfig.read_text())
        contexts = {one["name"]: one["context"] for one in config["contexts"]}
        clusters = {one["name"]: one["cluster"] for one in config["clusters"]}
        return str(clusters[contexts[config["current-context"]]["cluster"]]["server"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ClusterError(f"{kubeconfig} has no current cluster: {error!r}") from error
