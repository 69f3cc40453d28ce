"""Which addresses a source may be fetched from: public ones, and what the administrator allows. Pure.

A user names hosts and a host's owner names addresses, so neither may reach what only the cluster can: other pods,
services, nodes, the API server, metadata services. Names are judged by the addresses they have when they are used.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from copr_operator.core.wire import EgressRules

Address = IPv4Address | IPv6Address

HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z_-][A-Za-z0-9_.-]*)?")
"""Not only digits and dots: that would be an address with a typing error."""
_NAT64 = ip_network("64:ff9b::/96")
TAKEN_FOR_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "64:ff9b:1::/48",  # NAT64 of one's own
        "192.0.0.0/24",  # of protocols; .192 is a metadata service of Oracle's cloud
        "fec0::/10",  # site-local, of old
        "168.63.129.16/32",  # Azure's, from within it: metadata, and what configures nodes
    )
)
"""What `ipaddress` takes for public. manifests/tenant/network-policy.yaml has the same."""


def refusal(host: str, address: str, rules: EgressRules) -> str:
    """Why `host`, which has this address, may not be connected to; empty when it may."""
    if _host_allowed(host, rules.allow):
        return ""
    try:
        real = _unwrapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return f"{host} has no usable address ({address!r})"
    if _within(real, rules.allow):
        return ""
    if _within(real, rules.deny):
        return f"{host} is {real}, which the administrator denies"
    if not _public(real):
        return f"{host} is {real}, which is not a public address"
    return ""


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that is only another way to write it or to reach it."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


def _public(address: Address) -> bool:
    unusual = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not unusual and not any(address in network for network in TAKEN_FOR_PUBLIC)


def _host_allowed(host: str, allow: Iterable[str]) -> bool:
    name = host.lower().rstrip(".")
    return any(
        name == entry.lower() or (entry.startswith("*.") and name.endswith(entry[1:].lower()))
        for entry in allow
        if not _is_network(entry)
    )


def _within(address: Address, entries: Iterable[str]) -> bool:
    return any(address in ip_network(entry, strict=False) for entry in entries if _is_network(entry))


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry, strict=False)
    except ValueError:
        return False
    return True


def check_rules(rules: EgressRules) -> None:
    """Raises ValueError for an entry that means nothing, so that a typing error does not go unseen."""
    for entry in rules.allow:
        if not _is_network(entry) and not HOST.fullmatch(entry):
            raise ValueError(f"{entry!r} is neither an address, a network, a host name nor *.DOMAIN")
    for entry in rules.deny:
        if not _is_network(entry):
            raise ValueError(f"{entry!r} is neither an address nor a network; host names can't be denied")
