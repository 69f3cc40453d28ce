"""Addresses and ports, and the node profile's network: one device, one nft table, one CNI configuration.

Pods hang on routed veth pairs (the CNI plugin `ptp`), not on a bridge: traffic between two pods of a service then
passes the machine's routing, where kube-proxy's address translation (and a test's nft rules) see it, with or
without br_netfilter. The node's own address is a private one on a device of ours: nothing that the cluster listens
on can be reached from outside the machine, and the address is the same on every machine.
"""

import contextlib
import json
import shutil
import socket
import subprocess
from pathlib import Path

from tests.cluster import debian
from tests.cluster.errors import ClusterError
from tests.cluster.layout import CONTROL_PLANE, NODE, Layout

LOOPBACK = "127.0.0.1"
NODE_ADDRESS = "10.95.0.1"
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"

DEVICE = "copr-node"
NFT_TABLE = "copr-operator-cluster"
CNI_NETWORK = "copr-operator-cluster"
KUBE_PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))

_COMMON_PORTS = {"apiserver": 443, "etcd": 379, "etcd-peer": 380, "etcd-health": 381, "controller-manager": 257}
_NODE_PORTS = {
    **{"scheduler": 259, "kubelet": 250, "kubelet-health": 248, "proxy-metrics": 249, "proxy-health": 256},
    **{"dns": 53, "dns-health": 80},
}
# Below the range of NodePorts (30000-32767) and of outgoing connections (32768 and up).
_DEFAULT_PORTS = {
    CONTROL_PLANE: {name: 17000 + last for name, last in _COMMON_PORTS.items()},
    NODE: {name: 16000 + last for name, last in {**_COMMON_PORTS, **_NODE_PORTS}.items()},
}


def choose_ports(profile: str) -> dict[str, int]:
    """Return the profile's usual ports, with a free one in place of each that is taken."""
    chosen: dict[str, int] = {}
    for name, port in _DEFAULT_PORTS[profile].items():
        chosen[name] = port if _free(port) else _any_free(set(chosen.values()))
    return chosen


def _free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:  # what lingers in TIME_WAIT does not stop a server either
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104 - taken on any address counts as taken
            except OSError:
                return False
    return True


def _any_free(but_not: set[int]) -> int:
    for port in range(18000, 30000):
        if port not in but_not and _free(port):
            return port
    raise ClusterError("no free port between 18000 and 29999")


def run(*command: str, given: str | None = None) -> str:
    """Run a system program, and say which one failed and what it said."""
    program = debian.find_program(command[0]) or command[0]
    done = subprocess.run([program, *command[1:]], input=given, capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def set_up(layout: Layout) -> None:
    """Make the node's device, the masquerading of pods and the CNI configuration."""
    if not Path(f"/sys/class/net/{DEVICE}").exists():
        # A bridge without ports: unlike a dummy device, every kernel that runs containers has it.
        run("ip", "link", "add", DEVICE, "type", "bridge")
    run("ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", DEVICE)
    run("ip", "link", "set", DEVICE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    run("nft", "-f", "-", given=_nft_rules())
    _write_cni(layout)


def _nft_rules() -> str:
    # Created, deleted and created again in one transaction: the rules are ours alone, whatever was there.
    return f"""
table ip {NFT_TABLE}
delete table ip {NFT_TABLE}
table ip {NFT_TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {POD_CIDR} ip daddr != {{ {POD_CIDR}, {SERVICE_CIDR}, {NODE_ADDRESS} }} counter masquerade
    }}
}}
"""


def cni_bin_dirs() -> list[str]:
    """Return where Debian, and where everybody else, keeps the CNI plugins."""
    return ["/usr/lib/cni", "/opt/cni/bin"]


def _write_cni(layout: Layout) -> None:
    folder = layout.conf / "cni"
    folder.mkdir(parents=True, exist_ok=True)
    network = {
        "cniVersion": "1.0.0",
        "name": CNI_NETWORK,
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "mtu": uplink_mtu(),
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.run / "cni"),
                    "ranges": [[{"subnet": POD_CIDR}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
        ],
    }
    (folder / "10-copr.conflist").write_text(json.dumps(network, indent=1))


def uplink_mtu() -> int:
    """Return the MTU of the way out: pods with a larger one lose big packets where no ICMP comes back."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        device, destination = line.split()[:2]
        with contextlib.suppress(OSError):
            if destination == "00000000":
                return int(Path(f"/sys/class/net/{device}/mtu").read_text())
    return 1500


def tear_down(layout: Layout) -> None:
    """Remove the device, our nft table, kube-proxy's tables, and what CNI remembers of our network."""
    tables = [("ip", NFT_TABLE), *KUBE_PROXY_TABLES]
    if debian.find_program("nft"):
        present = run("nft", "list", "tables")
        for family, table in tables:
            if f"table {family} {table}\n" in present:
                run("nft", "delete", "table", family, table)
    if Path(f"/sys/class/net/{DEVICE}").exists():
        run("ip", "link", "delete", DEVICE)
    for path in Path("/var/lib/cni/results").glob(f"{CNI_NETWORK}-*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(layout.run / "cni", ignore_errors=True)


def write_resolv_conf(layout: Layout) -> Path:
    """Write the resolver file of pods with dnsPolicy Default; a stub on the machine's loopback is no use to a pod."""
    source = Path("/etc/resolv.conf")
    full = Path("/run/systemd/resolve/resolv.conf")
    text = (full if full.exists() else source).read_text()
    lines = [line for line in text.splitlines() if not line.split()[1:2] or not line.split()[1].startswith("127.")]
    path = layout.conf / "resolv.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def device_is_up() -> bool:
    """Say whether the node's device exists."""
    return Path(f"/sys/class/net/{DEVICE}").exists()
