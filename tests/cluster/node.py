"""The parts that make a node out of this machine: containerd, kubelet, kube-proxy, scheduler and DNS."""

import json
from typing import Any

import yaml

from tests.cluster import cgroups, containerd, network
from tests.cluster.control_plane import Context
from tests.cluster.supervisor import HttpReady, Part, SocketReady

NODE_NAME = "localhost"
"""The API server connects to the kubelet by this name, and the kubelet listens on loopback only."""


def parts(context: Context) -> list[Part]:
    """Describe the node; containerd comes up with etcd, all others need the API server."""
    return [_containerd(context), _scheduler(context), _kubelet(context), _kube_proxy(context), _coredns(context)]


def write_configuration(context: Context) -> None:
    """Write the configuration files of all parts of the node."""
    layout = context.layout
    layout.conf.mkdir(parents=True, exist_ok=True)
    (layout.conf / "containerd.toml").write_text(_containerd_toml(context))
    (layout.conf / "Corefile").write_text(_corefile(context))
    resolv_conf = network.write_resolv_conf(layout)
    _dump(context, "kubelet", _kubelet_configuration(context, str(resolv_conf)))
    _dump(context, "kube-proxy", _kube_proxy_configuration(context))


def containerd_socket(context: Context) -> str:
    """Return the path of containerd's socket."""
    return str(context.layout.run / "containerd.sock")


def _dump(context: Context, name: str, configuration: dict[str, Any]) -> None:
    (context.layout.conf / f"{name}.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))


def _containerd(context: Context) -> Part:
    binary = context.programs["containerd"]
    # containerd looks its shim up on PATH, next to nothing else of ours.
    path = f"{binary.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return Part(
        name="containerd",
        wave=0,
        argv=[str(binary), f"--config={context.layout.conf / 'containerd.toml'}"],
        ready=SocketReady(context.layout.run / "containerd.sock"),
        env={"PATH": path},
    )


def _containerd_toml(context: Context) -> str:
    layout = context.layout
    # restrict_oom_score_adj: a machine whose root lacks CAP_SYS_RESOURCE may not lower the score, and runc then
    # dies with "can't get final child's PID from pipe: EOF".
    # All that would lie in /run/containerd or /opt otherwise (shim sockets, runc's state, network namespaces) is put
    # below our own folders: `down` can then tell it from what another containerd of this machine owns.
    return f"""
version = 4
root = {json.dumps(str(layout.keep / "containerd"))}
state = {json.dumps(str(layout.run / "containerd"))}
imports = []

[plugins."io.containerd.server.v1.grpc"]
address = {json.dumps(containerd_socket(context))}
[plugins."io.containerd.server.v1.ttrpc"]
address = {json.dumps(containerd_socket(context) + ".ttrpc")}
[plugins."io.containerd.shim.v1.manager"]
socket_dir = {json.dumps(str(layout.run / "s"))}
[plugins."io.containerd.internal.v1.opt"]
path = {json.dumps(str(layout.data / "opt"))}
[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{containerd.PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = {json.dumps(network.cni_bin_dirs())}
conf_dir = {json.dumps(str(layout.conf / "cni"))}
use_internal_loopback = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = {json.dumps(str(context.programs["runc"]))}
Root = {json.dumps(str(layout.run / "runc"))}
SystemdCgroup = false
"""


def _scheduler(context: Context) -> Part:
    made, port = context.credentials, context.state.ports["scheduler"]
    certificate, key = made.serving
    kubeconfig = made.kubeconfig("kube-scheduler")
    return Part(
        name="kube-scheduler",
        wave=2,
        argv=[
            *(str(context.programs["kube-scheduler"]), f"--kubeconfig={kubeconfig}"),
            *(f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}"),
            "--authentication-skip-lookup=true",  # there is no front proxy whose CA it could look for
            *(f"--bind-address={network.LOOPBACK}", f"--secure-port={port}"),
            *(f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"),
            *("--leader-elect=false", "--profiling=false", "--kube-api-qps=2000", "--kube-api-burst=4000"),
        ],
        ready=HttpReady(f"https://{network.LOOPBACK}:{port}/healthz", made.ca),
        grace=5,
    )


def _kubelet(context: Context) -> Part:
    layout = context.layout
    return Part(
        name="kubelet",
        wave=2,
        argv=[
            *(str(context.programs["kubelet"]), f"--config={layout.conf / 'kubelet.yaml'}"),
            *(f"--kubeconfig={context.credentials.kubeconfig('kubelet')}", f"--root-dir={layout.data / 'kubelet'}"),
            *(f"--hostname-override={NODE_NAME}", f"--node-ip={network.NODE_ADDRESS}"),
            f"--cert-dir={layout.data / 'kubelet-pki'}",
        ],
        ready=HttpReady(f"http://{network.LOOPBACK}:{context.state.ports['kubelet-health']}/healthz"),
        grace=5,
    )


def _kubelet_configuration(context: Context, resolv_conf: str) -> dict[str, Any]:
    layout, ports = context.layout, context.state.ports
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        **{"address": network.LOOPBACK, "port": ports["kubelet"], "readOnlyPort": 0},
        **{"healthzBindAddress": network.LOOPBACK, "healthzPort": ports["kubelet-health"]},
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(context.credentials.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{containerd_socket(context)}",
        **{"clusterDNS": [network.DNS_SERVICE], "clusterDomain": network.CLUSTER_DOMAIN, "resolvConf": resolv_conf},
        **{"cgroupDriver": "cgroupfs", "cgroupRoot": cgroups.kubelet_root(layout.instance), "failCgroupV1": False},
        **{"failSwapOn": False, "enforceNodeAllocatable": [], "oomScoreAdj": 0, "makeIPTablesUtilChains": False},
        **{"podLogsDir": str(layout.data / "pod-logs"), "volumePluginDir": str(layout.data / "volume-plugins")},
        # The disk is shared with everything else on this machine: only a really full one may evict pods, and images,
        # which come from no registry, are never collected.
        "evictionHard": {
            **{"memory.available": "100Mi", "nodefs.inodesFree": "1%"},
            **{"nodefs.available": "1Gi", "imagefs.available": "1Gi"},
        },
        # Every minute otherwise: a pod that fills its emptyDir would be evicted long after.
        "volumeStatsAggPeriod": "10s",
        **{"imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99},
        **{"serializeImagePulls": False, "maxParallelImagePulls": 4},
        **{"kubeAPIQPS": 200, "kubeAPIBurst": 400, "eventRecordQPS": 0, "registryPullQPS": 0},
        **{"shutdownGracePeriod": "0s", "shutdownGracePeriodCriticalPods": "0s"},
    }


def _kube_proxy(context: Context) -> Part:
    return Part(
        name="kube-proxy",
        wave=2,
        argv=[str(context.programs["kube-proxy"]), f"--config={context.layout.conf / 'kube-proxy.yaml'}"],
        ready=HttpReady(f"http://{network.LOOPBACK}:{context.state.ports['proxy-health']}/healthz"),
        grace=5,
    )


def _kube_proxy_configuration(context: Context) -> dict[str, Any]:
    ports = context.state.ports
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE_NAME,
        "clientConnection": {"kubeconfig": str(context.credentials.kubeconfig("kube-proxy")), "qps": 50, "burst": 100},
        "clusterCIDR": network.POD_CIDR,
        # The machine's connection tracking table is not ours to size.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nodePortAddresses": [f"{network.NODE_ADDRESS}/32"],
        "healthzBindAddress": f"{network.LOOPBACK}:{ports['proxy-health']}",
        "metricsBindAddress": f"{network.LOOPBACK}:{ports['proxy-metrics']}",
        "oomScoreAdj": 0,
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }


def _coredns(context: Context) -> Part:
    return Part(
        name="coredns",
        wave=2,
        argv=[str(context.programs["coredns"]), "-conf", str(context.layout.conf / "Corefile")],
        ready=HttpReady(f"http://{network.LOOPBACK}:{context.state.ports['dns-health']}/ready"),
        grace=3,
    )


def _corefile(context: Context) -> str:
    ports = context.state.ports
    return f""".:{ports["dns"]} {{
    bind {network.NODE_ADDRESS}
    errors
    ready {network.LOOPBACK}:{ports["dns-health"]}
    kubernetes {network.CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {context.credentials.kubeconfig("coredns")}
        fallthrough in-addr.arpa
        ttl 5
    }}
    cache 10
    forward . /etc/resolv.conf
}}
"""


def base_objects(context: Context) -> list[dict[str, Any]]:
    """Return what DNS needs in the API: its rights, and a Service whose only endpoint is a process of this machine."""
    name, role = "kube-dns", "copr-cluster:coredns"
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    port = context.state.ports["dns"]
    protocols = (("dns", "UDP"), ("dns-tcp", "TCP"))
    return [
        {
            **{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"},
            **{"metadata": {"name": role}, "rules": rules},
        },
        {
            **{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": role}},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}],
        },
        {
            **{"apiVersion": "v1", "kind": "Service"},
            "metadata": {"name": name, "namespace": "kube-system", "labels": {"k8s-app": name}},
            "spec": {
                "clusterIP": network.DNS_SERVICE,
                "ports": [{"name": n, "port": 53, "protocol": p, "targetPort": port} for n, p in protocols],
            },
        },
        {
            **{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"},
            "metadata": {"name": name, "namespace": "kube-system", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [network.NODE_ADDRESS], "conditions": {"ready": True}}],
            "ports": [{"name": n, "port": port, "protocol": p} for n, p in protocols],
        },
    ]
