"""manifests/tenant's NetworkPolicy, enforced on the local cluster by rules of nft: its own network enforces none.

A stand-in for a network plugin, for this one policy. It judges what pods send after kube-proxy has put a pod's or the
node's address in a Service's place, as plugins do. Every pod that starts while it is in force counts as a build pod.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.cluster import network
from tests.support.installation import REPOSITORY, Installation

TABLE = "copr-operator-test-policy"
POLICY = REPOSITORY / "manifests/tenant/network-policy.yaml"


@contextmanager
def enforced(installation: Installation, allowed: Iterable[str]) -> Iterator[None]:
    """`allowed`: what an administrator would add to the policy, as HOST:PORT."""
    present = sorted(_addresses(installation.get("pods", "-A")))
    spec = yaml.safe_load(POLICY.read_text())["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert spec["ingress"] == []
    rules = [rule for peer in spec["egress"] for rule in _rules(installation, peer)]
    added = [
        f"ip daddr {host} tcp dport {port} accept" for host, _, port in (entry.rpartition(":") for entry in allowed)
    ]
    network.run("nft", "-f", "-", given=_ruleset(present, added + rules))
    try:
        yield
    finally:
        network.run("nft", "delete", "table", "inet", TABLE)


def _addresses(pods: dict[str, Any]) -> set[str]:
    """Of pods that have one of their own."""
    return {
        pod["status"]["podIP"]
        for pod in pods["items"]
        if "podIP" in pod["status"] and not pod["spec"].get("hostNetwork")
        if pod["status"]["phase"] == "Running"
    }


def _rules(installation: Installation, rule: dict[str, Any]) -> Iterator[str]:
    """Rules of nft for one of the policy; the last of them all is the one for the rest of the world."""
    for peer in rule["to"]:
        if "ipBlock" in peer:
            if "." not in peer["ipBlock"]["cidr"]:
                continue  # The local cluster has no IPv6.
            yield f"ip daddr {{ {', '.join(peer['ipBlock']['except'])} }} reject"
            yield f"ip daddr {peer['ipBlock']['cidr']} accept"
            continue
        namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        if "podSelector" in peer:
            labels = ",".join(f"{key}={value}" for key, value in peer["podSelector"]["matchLabels"].items())
            for address in _addresses(installation.get("pods", "-n", namespace, "-l", labels)):
                for port in rule["ports"]:
                    yield f"ip daddr {address} {port.get('protocol', 'TCP').lower()} dport {port['port']} accept"
        else:
            yield from _dns_rules(installation, namespace)


def _dns_rules(installation: Installation, namespace: str) -> Iterator[str]:
    """The local cluster's DNS is no pod: it is where the endpoints of its Service are."""
    for piece in installation.get("endpointslices", "-n", namespace)["items"]:
        for endpoint in piece["endpoints"]:
            for port in piece["ports"]:
                yield f"ip daddr {endpoint['addresses'][0]} {port['protocol'].lower()} dport {port['port']} accept"


def _ruleset(others: list[str], rules: list[str]) -> str:
    listed = "\n        ".join(rules)
    not_others = f"ip saddr {network.POD_CIDR} ip saddr != {{ {', '.join(others)} }}"
    to_build_pods = f"ip daddr {network.POD_CIDR} ip daddr != {{ {', '.join(others)} }}"
    return f"""
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
    chain from_build_pods {{
        {listed}
    }}
    chain to_pods_and_the_world {{
        type filter hook forward priority 10; policy accept;
        ct state established,related accept
        {to_build_pods} reject
        {not_others} jump from_build_pods
    }}
    chain to_the_node {{
        type filter hook input priority 10; policy accept;
        ct state established,related accept
        {not_others} jump from_build_pods
    }}
}}
"""
