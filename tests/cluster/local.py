"""The local provider: a profile's life from a fresh start to its last trace."""

import os
import time
from collections.abc import Callable

from tests.cluster import cgroups, cleanup, containerd, control_plane, credentials, debian, kube, network, node, toolbox
from tests.cluster.control_plane import Context
from tests.cluster.errors import ClusterError
from tests.cluster.layout import NODE, Layout, State
from tests.cluster.supervisor import PartStatus, Supervisor

READY_SECONDS = 90.0
Report = Callable[[str], None]


def prepare(profile: str, *, report: Report) -> None:
    """Build the programs and install the packages of a profile, so that `up` is only a start."""
    debian.ensure(debian.NODE if profile == NODE else debian.CONTROL_PLANE, report=report)
    toolbox.build_all(profile, report=report)


def context_of(layout: Layout) -> Context | None:
    """Describe the profile as it was last started; None when it was not."""
    state = State.load(layout)
    if state is None:
        return None
    programs = toolbox.build_all(layout.profile)
    return Context(layout=layout, state=state, programs=programs)


def supervisor_of(context: Context) -> Supervisor:
    """Return the supervisor of all parts of the profile."""
    parts = control_plane.parts(context)
    if context.layout.profile == NODE:
        parts += node.parts(context)
    return Supervisor(context.layout, sorted(parts, key=lambda part: part.wave))


def status(layout: Layout) -> list[PartStatus]:
    """Return a line per part, or a single unhealthy one when nothing was started."""
    context = context_of(layout)
    if context is None:
        return [PartStatus(layout.profile, None, False, "not started")]
    return supervisor_of(context).status()


def up(layout: Layout, *, report: Report) -> Context:
    """Make the profile run: leave a healthy one alone, replace anything else by a fresh one with an empty etcd."""
    if layout.profile == NODE and os.geteuid() != 0:
        raise ClusterError("the node profile needs root: it makes namespaces, mounts and cgroups")
    with layout.locked():
        if layout.profile == NODE and (other := cleanup.other_owner(layout)):
            raise ClusterError(
                f"this machine has a node already, at {other}: end it with COPR_CLUSTER_HOME={other.parent} "
                "python -m tests.cluster down"
            )
        context = context_of(layout)
        if context is not None:
            states = supervisor_of(context).status()
            if all(one.healthy for one in states) and network_is_up(layout):
                report(f"{layout.profile}: running and healthy at {context.server}")
                return context
            sick = ", ".join(f"{one.name} ({one.detail})" for one in states if not one.healthy)
            report(f"{layout.profile}: not healthy: {sick or 'network'}; starting afresh")
        prepare(layout.profile, report=report)
        begun = time.monotonic()
        cleanup.clean(layout)
        context = _start(layout)
        report(f"{layout.profile}: up at {context.server} after {time.monotonic() - begun:.1f} s")
        return context


def down(layout: Layout, *, report: Report) -> None:
    """End the profile and remove what it made; built programs, logs and containerd's image store stay."""
    with layout.locked():
        cleanup.clean(layout)
    report(f"{layout.profile}: down")


def network_is_up(layout: Layout) -> bool:
    """Say whether the node's device, which no process owns, is still there."""
    return layout.profile != NODE or network.device_is_up()


def _start(layout: Layout) -> Context:
    for folder in (layout.data, layout.conf, layout.logs, layout.keep, layout.run):
        folder.mkdir(parents=True, exist_ok=True)
    for log in layout.logs.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))  # the logs of the run before, and no older ones
    is_node = layout.profile == NODE
    address = network.NODE_ADDRESS if is_node else network.LOOPBACK
    state = State(node_address=address, ports=network.choose_ports(layout.profile))
    context = Context(layout=layout, state=state, programs=toolbox.build_all(layout.profile))
    addresses = sorted({network.LOOPBACK, address, network.KUBERNETES_SERVICE})
    control_plane.write_configuration(context)
    credentials.generate(layout, server=context.server, addresses=addresses)
    if is_node:
        layout.owner_file.write_text(str(layout.home))
        cgroups.create(layout.instance)
        network.set_up(layout)
        node.write_configuration(context)
    state.save(layout)
    supervisor = supervisor_of(context)
    supervisor.start_all(timeout=READY_SECONDS, between=lambda wave: _between(wave, context, supervisor))
    _wait_usable(context, supervisor)
    return context


def _between(wave: int, context: Context, supervisor: Supervisor) -> None:
    if context.layout.profile != NODE:
        return
    if wave == 0:
        _prepare_containerd(context, supervisor)
    if wave == 1:
        client = admin(context)
        for item in node.base_objects(context):
            client.create(item)


def _prepare_containerd(context: Context, supervisor: Supervisor) -> None:
    """Give containerd the pause image, and make it forget the containers of the cluster before."""
    ctr = ctr_of(context)
    if ctr.forget_containers():
        # The CRI plugin read the records when it started and would offer them to the kubelet.
        part = supervisor.part("containerd")
        supervisor.stop(part)
        supervisor.start(part)
        supervisor.wait_ready(part, timeout=READY_SECONDS)
    if containerd.PAUSE_IMAGE not in ctr.images():
        archive = context.layout.data / "pause.tar"
        containerd.write_pause_archive(archive, program=context.programs["pause"])
        ctr.load(archive)


def _wait_usable(context: Context, supervisor: Supervisor) -> None:
    """Wait for what a first pod needs beyond running processes."""

    def check() -> None:
        for part in supervisor.parts:
            if supervisor.record(part) is None:
                supervisor.wait_ready(part, timeout=0)

    client = admin(context)
    client.wait("the default service account", kube.has_default_service_account, timeout=READY_SECONDS, check=check)
    if context.layout.profile == NODE:
        ready = kube.node_is_ready(node.NODE_NAME)
        try:
            client.wait("the node to be Ready", ready, timeout=READY_SECONDS, check=check)
        except ClusterError as error:
            raise ClusterError(f"{error}\n  see {supervisor.log(supervisor.part('kubelet'))}") from error


def admin(context: Context) -> kube.Kube:
    """Return an API client with all rights."""
    made = context.credentials
    return kube.Kube(context.server, ca=made.ca, token=made.admin_token_file.read_text())


def ctr_of(context: Context) -> containerd.Ctr:
    """Return containerd's client for this profile."""
    return containerd.Ctr(context.programs["ctr"], node.containerd_socket(context))
