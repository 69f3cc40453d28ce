"""A real API server takes all that the chart can make; Pod Security restricted admits every pod of it."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.cases import CHROOT, everything
from tests.chart.objects import Objects, nested
from tests.cluster import api as clusters
from tests.support.chart import render
from tests.support.installation import REPOSITORY

NAMESPACE = "chart-restricted"
FOREIGN = frozenset({"HTTPRoute", "ServiceMonitor", "PodMonitor", "SecurityContextConstraints"})
"""Kinds of other projects. Whoever has their definitions names the folder in COPR_FOREIGN_CRDS: then they are judged,
too."""
FOREIGN_CRDS = os.environ.get("COPR_FOREIGN_CRDS", "")
VALUES: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "all values": everything(NAMESPACE),
    "two namespaces": {"watchNamespaces": [NAMESPACE, "default"], "chroots": [CHROOT]},
}


@pytest.fixture(scope="module")
def kubectl() -> Iterator["Kubectl"]:
    """kubectl against the control-plane cluster, with the CRDs and a namespace where restricted is enforced."""
    run = Kubectl(clusters.up(clusters.CONTROL_PLANE))
    run("apply", "--server-side", "--force-conflicts", "-k", str(REPOSITORY / "crds"))
    run("wait", "--for=condition=Established", "--timeout=30s", "crd", "coprprojects.copr-operator.dev")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    if FOREIGN_CRDS:
        run("apply", "--server-side", "--force-conflicts", "-f", FOREIGN_CRDS)
        run("wait", "--for=condition=Established", "--timeout=30s", "-f", FOREIGN_CRDS)
    run.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}])
    yield run
    run("delete", "namespace", NAMESPACE, "--wait=false")


class Kubectl:
    def __init__(self, cluster: clusters.Cluster) -> None:
        self.command = [str(clusters.tool("kubectl")), "--kubeconfig", str(cluster.kubeconfig)]

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run([*self.command, *arguments], input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def apply(self, objects: list[dict[str, Any]], *options: str) -> str:
        if not objects:
            return ""
        command = ("apply", "--server-side", "--force-conflicts", "--validate=strict", *options, "-f", "-")
        return self(*command, stdin=yaml.dump_all(objects, Dumper=yaml.CSafeDumper))


def objects(name: str) -> Objects:
    return Objects(render(nested(VALUES[name]), namespace=NAMESPACE))


@pytest.mark.parametrize("name", VALUES)
def test_the_api_server_takes_every_object_with_every_field(kubectl: Kubectl, name: str) -> None:
    left_out = {"Pod"} if FOREIGN_CRDS else FOREIGN | {"Pod"}  # pods: see below
    known = [one for one in objects(name).all if one["kind"] not in left_out]
    kubectl.apply([one for one in known if one["kind"] == "Namespace"])
    assert kubectl.apply(known, "--dry-run=server").count("serverside-applied") == len(known)


@pytest.mark.parametrize("name", VALUES)
def test_restricted_admits_every_pod_of_the_chart(kubectl: Kubectl, name: str) -> None:
    rendered = objects(name)
    pods: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Pod", "spec": admissible(spec),
         "metadata": {"name": title.lower().replace("/", "-"), "namespace": NAMESPACE}}
        for title, spec in rendered.pod_specs().items()
    ]  # fmt: skip
    accounts: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}
        for name in {pod["spec"]["serviceAccountName"] for pod in pods}
    ]
    kubectl.apply(accounts)
    assert kubectl.apply(pods, "--dry-run=server").count("serverside-applied") == len(pods) >= 4
    kubectl("delete", "serviceaccount", "-n", NAMESPACE, *(one["metadata"]["name"] for one in accounts))


def admissible(spec: dict[str, Any]) -> dict[str, Any]:
    """A pod's spec as admission plugins other than Pod Security need it: names of classes that exist, a volume claim's
    template as a volume, a restart policy that a pod may have."""
    spec = json.loads(json.dumps(spec))
    for field in ("priorityClassName", "runtimeClassName"):
        spec.pop(field, None)
    mounted = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", [])}
    have = {volume["name"] for volume in spec.get("volumes", [])}
    claims = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in sorted(mounted - have)]
    return {**spec, "volumes": [*spec.get("volumes", []), *claims]}


def test_restricted_would_refuse_a_pod_that_runs_as_root(kubectl: Kubectl) -> None:
    spec = {"containers": [{"name": "a", "image": "a", "securityContext": {"runAsUser": 0}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root", "namespace": NAMESPACE}, "spec": spec}
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted'):
        kubectl.apply([pod], "--dry-run=server")
