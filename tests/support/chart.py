"""The Helm chart as the tests use it: rendered, and installed on the node cluster."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import api as clusters
from tests.cluster import images
from tests.support.installation import CHROOTS, NODE_PORT, REPOSITORY, STORE_UID, InstallError, kubectl

CHART = REPOSITORY / "helm/copr-operator"
RELEASE = "copr-operator"
NAMESPACE = "copr-operator"
VOLUME = "copr-operator-chart-results"


class HelmError(Exception):
    """helm refused; the message has its own words."""


def helm(*arguments: str, kubeconfig: Path | None = None) -> str:
    """Output of helm. Raises HelmError. Without a kubeconfig it reaches no cluster."""
    command = [str(clusters.tool("helm")), *arguments, "--kubeconfig", str(kubeconfig or os.devnull)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmError(f"helm {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_values(values: Mapping[str, Any]) -> str:
    """Path of a file with the values (YAML would be read again for nothing: JSON is YAML)."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="values-", delete=False) as file:
        json.dump(values, file)
    return file.name


def render(
    values: Mapping[str, Any] | None = None, *options: str, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[dict[str, Any]]:
    """The chart's objects, hooks among them. Raises HelmError, for values that the schema refuses too."""
    file = write_values(values or {})
    try:
        text = helm("template", release, str(CHART), "--namespace", namespace, "--values", file, *options)
    finally:
        os.unlink(file)
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def former_chart(directory: Path) -> Path:
    """The chart of the last release (a tag), else as it was before the last commit that changed it."""
    tag = subprocess.run(["git", "describe", "--tags", "--abbrev=0"], cwd=REPOSITORY, capture_output=True, text=True)
    commit = tag.stdout.strip() if tag.returncode == 0 else _git("log", "--skip=1", "-1", "--format=%H", "--", CHART)
    archive = directory / "former.tar"
    _git("archive", f"--output={archive}", commit, CHART.relative_to(REPOSITORY))
    shutil.unpack_archive(archive, directory, filter="data")
    return directory / CHART.relative_to(REPOSITORY)


def _git(*arguments: str | Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass
class Release:
    """The chart on the node cluster, with the images of this working tree and a volume on the node."""

    cluster: clusters.Cluster
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def results_url(self) -> str:
        return f"http://{self.cluster.node_address}:{NODE_PORT}"

    @property
    def store(self) -> Path:
        return self.cluster.home / "chart-results"

    def values(self) -> dict[str, Any]:
        """What makes the chart fit this cluster."""
        references = images.image_refs()
        operator, source = (references[name].rpartition(":") for name in ("operator", "source"))
        return {
            "image": {"repository": operator[0], "tag": operator[2]},
            "sourceImage": {"repository": source[0], "tag": source[2]},
            "backend": {
                "resultsURL": self.results_url,
                "persistence": {"storageClass": "", "volumeName": VOLUME},
                "service": {"type": "NodePort", "nodePort": NODE_PORT},
                "settings": {"removalGrace": 5, "sweepInterval": 1},
            },
            "frontend": {"replicas": 1},
            "sources": {"allow": [self.cluster.node_address]},
            "chroots": [
                {"name": name, "image": references[image], "arch": "x86_64"} for name, image in CHROOTS.items()
            ],
        }

    def prepare(self) -> None:
        """The namespace, with Pod Security enforced, and an empty volume."""
        if self.store.exists():
            shutil.rmtree(self.store)
        self.store.mkdir(parents=True)
        os.chown(self.store, STORE_UID, STORE_UID)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        volume = {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": str(self.store), "type": "Directory"},
        }
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": VOLUME}, "spec": volume},
        )

    def helm(self, *arguments: str) -> str:
        return helm(*arguments, "--namespace", NAMESPACE, kubeconfig=self.cluster.kubeconfig)

    def put(self, command: str, *options: str, chart: Path = CHART) -> str:
        """`install` or `upgrade` with our values and `options`; waits until all runs."""
        file = write_values(self.values())
        try:
            return self.helm(command, RELEASE, str(chart), "--values", file, "--wait", "--timeout", "2m", *options)
        finally:
            os.unlink(file)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return kubectl(self.cluster, *arguments, stdin=stdin)

    def get(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return answer

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def remove(self) -> None:
        """Everything of the release, with its volume."""
        try:
            self.helm("uninstall", RELEASE, "--ignore-not-found", "--wait", "--timeout", "2m")
        finally:
            remove_objects(self.cluster)
            shutil.rmtree(self.store, ignore_errors=True)


def remove_objects(cluster: clusters.Cluster) -> None:
    """Leaves a node cluster without anything of ours, however the operator came there and whether or not it runs."""
    if cluster.provider is clusters.Provider.GIVEN:
        raise InstallError("the operator of a cluster that was given is not ours to remove")
    ours = "app.kubernetes.io/name=copr-operator"
    # The controller first: it would give back the finalizers that are taken off below.
    gone = ("--wait", "--cascade=foreground", "--timeout=120s")
    kubectl(cluster, "delete", "deployment,statefulset", "-A", "-l", ours, *gone)
    for kind in ("coprbuilds", "coprpackages", "coprprojects", "coprchroots"):
        resource = f"{kind}.copr-operator.dev"
        known = kubectl(cluster, "get", "crd", resource, "--ignore-not-found", "-o", "name")
        if not known.strip():
            continue
        kubectl(cluster, "delete", resource, "--all", "-A", "--wait=false")
        for one in json.loads(kubectl(cluster, "get", resource, "-A", "-o", "json"))["items"]:
            of = ("-n", one["metadata"]["namespace"], resource, one["metadata"]["name"])
            patch = '{"metadata":{"finalizers":null}}'
            kubectl(cluster, "patch", *of, "--type=merge", "-p", patch, check=False)
    everything = kubectl(cluster, "get", "namespaces", "-o", "name").split()
    namespaces = [name for name in everything if not name.startswith(("namespace/default", "namespace/kube-"))]
    if namespaces:
        kubectl(cluster, "delete", *namespaces, "--ignore-not-found", "--timeout=120s")
    kubectl(cluster, "delete", "clusterrole,clusterrolebinding", "-l", ours)
    names = [f"copr-operator-{part}" for part in ("controller", "backend", "frontend", "view", "edit")]
    kubectl(cluster, "delete", "clusterrole,clusterrolebinding", *names, "--ignore-not-found")
    kubectl(cluster, "delete", "persistentvolume", VOLUME, "copr-operator-results", "--ignore-not-found")
    kubectl(cluster, "delete", "-k", str(REPOSITORY / "crds"), "--ignore-not-found")
