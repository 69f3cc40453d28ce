"""etcd, the API server and the controller manager, and what both profiles share of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import network
from tests.cluster.credentials import Credentials
from tests.cluster.layout import CONTROL_PLANE, NODE, Layout, State
from tests.cluster.supervisor import HttpReady, Part

_TEST_CONTROLLERS = (
    "job-controller",
    "ttl-after-finished-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "resourcequota-controller",
)
"""All that a namespace with Jobs needs; the others only cost processor time that load tests would measure."""


@dataclass(frozen=True)
class Context:
    """All that the parts of a profile are described from."""

    layout: Layout
    state: State
    programs: Mapping[str, Path]

    @property
    def credentials(self) -> Credentials:
        """The profile's certificates and tokens."""
        return Credentials(self.layout.certs)

    @property
    def server_address(self) -> str:
        """Where the API server listens: pods have to reach the one of the node profile."""
        return network.NODE_ADDRESS if self.layout.profile == NODE else network.LOOPBACK

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.server_address}:{self.state.ports['apiserver']}"


AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""What ServiceAccounts of ours ask for is written down: tests compare it with the rights that they have."""


def write_configuration(context: Context) -> None:
    """Write the files that the parts read."""
    context.layout.audit_policy.write_text(yaml.safe_dump(AUDIT_POLICY))


def parts(context: Context) -> list[Part]:
    """Describe the control plane."""
    return [_etcd(context), _apiserver(context), _controller_manager(context)]


def _etcd(context: Context) -> Part:
    ports = context.state.ports
    client = f"http://{network.LOOPBACK}:{ports['etcd']}"
    peer = f"http://{network.LOOPBACK}:{ports['etcd-peer']}"
    health = f"http://{network.LOOPBACK}:{ports['etcd-health']}"
    return Part(
        name="etcd",
        wave=0,
        argv=[
            *(str(context.programs["etcd"]), "--name=copr", f"--data-dir={context.layout.data / 'etcd'}"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=copr={peer}"),
            f"--listen-metrics-urls={health}",
            # A throw-away cluster survives a killed etcd, and need not survive a power cut.
            "--unsafe-no-fsync",
            "--quota-backend-bytes=8589934592",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=5m",
            "--log-level=warn",
        ],
        ready=HttpReady(f"{health}/readyz"),
        grace=3,  # with clients connected it would take its full seven seconds to see that they stay
    )


def _apiserver(context: Context) -> Part:
    made, ports, layout = context.credentials, context.state.ports, context.layout
    certificate, key = made.serving
    client_certificate, client_key = made.kubelet_client
    public, private = made.service_accounts
    argv = [
        str(context.programs["kube-apiserver"]),
        f"--etcd-servers=http://{network.LOOPBACK}:{ports['etcd']}",
        f"--bind-address={context.server_address}",
        f"--advertise-address={context.state.node_address}",
        f"--secure-port={ports['apiserver']}",
        f"--service-cluster-ip-range={network.SERVICE_CIDR}",
        *(f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--client-ca-file={made.ca}"),
        f"--token-auth-file={made.token_file}",
        "--authorization-mode=Node,RBAC",
        # In addition to the defaults, PodSecurity and ResourceQuota. The second one is on in OpenShift.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        *(f"--audit-policy-file={layout.audit_policy}", f"--audit-log-path={layout.audit_log}"),
        f"--service-account-issuer=https://kubernetes.default.svc.{network.CLUSTER_DOMAIN}",
        *(f"--service-account-key-file={public}", f"--service-account-signing-key-file={private}"),
        *(f"--kubelet-client-certificate={client_certificate}", f"--kubelet-client-key={client_key}"),
        "--allow-privileged=true",
        "--profiling=false",
        f"--cert-dir={layout.data / 'apiserver'}",
        "--shutdown-delay-duration=0s",
    ]
    if layout.profile == CONTROL_PLANE:
        # Without pods nobody follows the kubernetes Service, and its endpoint may not be a loopback address.
        argv.append("--endpoint-reconciler-type=none")
    return Part(name="kube-apiserver", wave=1, argv=argv, ready=HttpReady(f"{context.server}/readyz", made.ca), grace=5)


def _controller_manager(context: Context) -> Part:
    made, port = context.credentials, context.state.ports["controller-manager"]
    certificate, key = made.serving
    kubeconfig = made.kubeconfig("kube-controller-manager")
    argv = [
        str(context.programs["kube-controller-manager"]),
        f"--kubeconfig={kubeconfig}",
        *(f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}"),
        "--authentication-skip-lookup=true",  # there is no front proxy whose CA it could look for
        *(f"--bind-address={network.LOOPBACK}", f"--secure-port={port}"),
        *(f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"),
        "--use-service-account-credentials=true",
        *(f"--root-ca-file={made.ca}", f"--service-account-private-key-file={made.service_accounts[1]}"),
        f"--service-cluster-ip-range={network.SERVICE_CIDR}",
        "--leader-elect=false",
        "--profiling=false",
        # The defaults of 20 and 30 requests a second would be what a load test measures.
        *("--kube-api-qps=2000", "--kube-api-burst=4000", "--concurrent-job-syncs=50"),
    ]
    if context.layout.profile == CONTROL_PLANE:
        argv.append(f"--controllers={','.join(_TEST_CONTROLLERS)}")
    return Part(
        name="kube-controller-manager",
        wave=2,
        argv=argv,
        ready=HttpReady(f"https://{network.LOOPBACK}:{port}/healthz", made.ca),
        grace=5,
    )
