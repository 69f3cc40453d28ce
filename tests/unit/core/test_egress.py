"""Given a host, its address and the administrator's lists, whether a source may be fetched from there."""

from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from copr_operator.core.egress import TAKEN_FOR_PUBLIC, refusal
from copr_operator.core.wire import EgressRules

NO_RULES = EgressRules()


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]
)
def test_a_public_address_is_fine(address: str) -> None:
    assert refusal("x.example", address, NO_RULES) == ""


NOT_PUBLIC = (
        "10.96.0.1",  # services
        "10.244.1.7",  # pods
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",  # carrier-grade NAT, used by clouds for nodes
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104
        "169.254.169.254",  # metadata services
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",  # a metadata service
        "ff02::1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",  # 169.254.169.254 by NAT64
        "64:ff9b:1::a00:1",
        "2002:a00:1::",  # 10.0.0.1 by 6to4
        "192.0.0.192",  # a metadata service
        "::ffff:192.0.0.192",
        "168.63.129.16",  # a metadata service
        "fec0::1",
        "feff:ffff::1",
)  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert "not a public address" in refusal("x.example", address, NO_RULES)


@pytest.mark.parametrize(
    ("host", "allow"),
    [
        ("git.internal", ("git.internal",)),
        ("GIT.Internal.", ("git.internal",)),
        ("a.git.internal", ("*.git.internal",)),
        ("x.example", ("10.0.0.0/8",)),
        ("10.1.2.3", ("10.1.2.3",)),
        ("x.example", ("192.168.0.0/16", "10.1.2.0/24")),
    ],
)
def test_the_administrator_may_allow_a_host_or_a_network(host: str, allow: tuple[str, ...]) -> None:
    assert refusal(host, "10.1.2.3", EgressRules(allow=allow)) == ""


@pytest.mark.parametrize(
    ("host", "allow"),
    [
        ("evil-git.internal", ("*.git.internal",)),
        ("git.internal.example", ("git.internal",)),
        ("git.internal", ("*.git.internal",)),
        ("x.example", ("10.2.0.0/16", "fd00::/8")),
    ],
)
def test_what_is_allowed_allows_nothing_else(host: str, allow: tuple[str, ...]) -> None:
    assert refusal(host, "10.1.2.3", EgressRules(allow=allow)) != ""


def test_a_public_address_may_be_denied_and_an_allowed_one_of_it_comes_first() -> None:
    rules = EgressRules(allow=("203.0.114.7",), deny=("203.0.114.0/24",))
    assert "the administrator denies" in refusal("x.example", "203.0.114.8", rules)
    assert refusal("x.example", "203.0.114.7", rules) == ""


def test_what_is_no_address_is_refused() -> None:
    assert "no usable address" in refusal("x.example", "", NO_RULES)


@pytest.mark.parametrize(("namespace", "port"), [("kube-system", 53), ("openshift-dns", 5353)])
def test_the_network_policy_of_build_namespaces_lets_pods_ask_the_dns(namespace: str, port: int) -> None:
    to = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]
    (rule,) = (rule for rule in network_policy() if rule["to"] == to)
    assert rule["ports"] == [{"port": port, "protocol": "UDP"}, {"port": port, "protocol": "TCP"}]


def network_policy() -> list[dict[str, Any]]:
    """The rules for what build pods may reach."""
    manifest = Path(__file__).resolve().parents[3] / "manifests/tenant/network-policy.yaml"
    rules: list[dict[str, Any]] = yaml.safe_load(manifest.read_text())["spec"]["egress"]
    return rules


def test_the_network_policy_of_build_namespaces_denies_user_code_the_same_addresses() -> None:
    blocks = [to["ipBlock"] for rule in network_policy() for to in rule["to"] if "ipBlock" in to]
    denied = [ip_network(network) for block in blocks for network in block["except"]]
    for address in map(ip_address, NOT_PUBLIC):
        # An IPv4 address in IPv6's words leaves the pod as IPv4.
        sent = (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
        assert any(sent in network for network in denied), address
    assert set(TAKEN_FOR_PUBLIC) <= set(denied)
    # 6to4 and NAT64 are denied there as a whole: a policy can't look into the address.
    for network in denied:
        if network not in (ip_network("2002::/16"), ip_network("64:ff9b::/96")):
            for address in (network[0], network[-1]):
                assert refusal("x.example", str(address), NO_RULES) != "", address
    assert sorted(block["cidr"] for block in blocks) == ["0.0.0.0/0", "::/0"]
