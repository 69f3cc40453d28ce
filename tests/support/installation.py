"""The operator installed on the node cluster from the working tree: images built, loaded, manifests applied."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from copr_operator.api.crd import GROUP, KINDS
from tests.cluster import api as clusters
from tests.cluster import images

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACE = "copr-operator"
CHROOTS = {"debian-12-x86_64": "debian-12", "debian-13-x86_64": "debian-13"}
STORE_UID = 65532
"""User of the backend's pod; a hostPath volume is not given to it by the kubelet."""
NODE_PORT = 30080
FRONTEND_PORT = 30081
SOURCE_PORT, INDEX_PORT, SVN_PORT, SVN_HTTP_PORT = 17980, 17981, 17982, 17983
"""Where tests that need them start their servers of sources, on the node's address."""

Report = Callable[[str], None]


class InstallError(Exception):
    """A step of the installation failed; the message has the command's own words."""


@dataclass(frozen=True)
class Installation:
    """The operator on a cluster."""

    cluster: clusters.Cluster

    @property
    def results_url(self) -> str:
        """The backend as this machine reaches it."""
        return f"http://{self.cluster.node_address}:{NODE_PORT}"

    @property
    def frontend_url(self) -> str:
        """Copr's API as this machine reaches it."""
        return f"http://{self.cluster.node_address}:{FRONTEND_PORT}"

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Output of kubectl against the cluster. Raises InstallError with its words when it fails."""
        return kubectl(self.cluster, *arguments, stdin=stdin, check=check)

    def get(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return answer

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def build_namespace(self, name: str) -> None:
        """A namespace for builds: Pod Security baseline is enforced, uploads are allowed."""
        labels = {"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "baseline"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        self.kubectl("apply", "--server-side", "-n", name, "-k", str(REPOSITORY / "manifests/tenant"))


def kubectl(cluster: clusters.Cluster, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
    command = [str(clusters.tool("kubectl")), "--kubeconfig", str(cluster.kubeconfig), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise InstallError(f"kubectl {' '.join(arguments)}\n{done.stderr.strip()}")
    return done.stdout


def install(report: Report = print) -> Installation:
    """Brings up the cluster and the operator of this working tree on it. What is there already is kept."""
    cluster = clusters.up(clusters.NODE, report=report)
    references = images.image_refs()
    load_images(cluster, report)
    installation = Installation(cluster)
    _prepare_store(installation)
    report("installing the operator")
    overlay = _write_overlay(cluster, references)
    # The kinds must be known before the chroots can be applied.
    installation.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(REPOSITORY / "crds"))
    installation.kubectl("wait", "--for=condition=Established", "--timeout=30s", *_crd_names())
    installation.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(overlay))
    for workload in (
        "statefulset/copr-operator-backend", "deployment/copr-operator-controller", "deployment/copr-operator-frontend",
    ):  # fmt: skip
        installation.kubectl("-n", NAMESPACE, "rollout", "status", workload, "--timeout=180s")
    return installation


def _crd_names() -> list[str]:
    return [f"customresourcedefinition/{kind.plural}.{GROUP}" for kind in KINDS]


def load_images(cluster: clusters.Cluster, report: Report = print) -> None:
    """Loads what the cluster does not have yet; the list of loaded references lives as long as the cluster's images."""
    marker = cluster.home / "loaded-images.json"
    loaded = set(json.loads(marker.read_text())) if marker.exists() else set()
    for short, reference in images.image_refs().items():
        if reference in loaded:
            continue
        report(f"building image {short}")
        archive = images.build(short)
        report(f"loading image {short}")
        clusters.load([archive], report=lambda _: None)
        loaded.add(reference)
        marker.write_text(json.dumps(sorted(loaded)))


def _prepare_store(installation: Installation) -> None:
    """An empty store for a new cluster: results of a cluster that is gone belong to nobody."""
    store = installation.cluster.home / "results"
    known = installation.kubectl("get", "persistentvolume", "copr-operator-results", "--ignore-not-found", "-o", "name")
    if not known.strip() and store.exists():
        shutil.rmtree(store)
    store.mkdir(parents=True, exist_ok=True)
    os.chown(store, STORE_UID, STORE_UID)


def _source_settings(cluster: clusters.Cluster) -> dict[str, str]:
    """Sources may come from this machine, which has a private address; one dist-git and the package index are on it."""
    address = cluster.node_address
    files = f"http://{address}:{SOURCE_PORT}/files/cache"
    dist_git = {
        "name": "local",
        "cloneURL": f"http://{address}:{SOURCE_PORT}/git/{{namespace}}/{{package}}",
        "lookasideURL": f"{files}/{{package}}/{{filename}}/{{hashtype}}/{{hash}}/{{filename}}",
    }
    return {
        "COPR_CONTROLLER_SOURCE_ALLOW": f"{address}",
        "COPR_CONTROLLER_DIST_GITS": json.dumps([dist_git]),
        "COPR_CONTROLLER_PYPI_URL": f"http://{address}:{INDEX_PORT}/pypi",
    }


def _write_overlay(cluster: clusters.Cluster, references: dict[str, str]) -> Path:
    """A kustomization in build/ that puts the local images and addresses into manifests/overlays/local."""
    directory = REPOSITORY / "build" / "local"
    directory.mkdir(parents=True, exist_ok=True)
    name, _, tag = references["operator"].rpartition(":")
    settings = {
        "COPR_CONTROLLER_OPERATOR_IMAGE": references["operator"],
        "COPR_CONTROLLER_SOURCE_IMAGE": references["source"],
        "COPR_CONTROLLER_RESULTS_URL": f"http://{cluster.node_address}:{NODE_PORT}",
    }
    settings |= _source_settings(cluster)
    frontend = {
        "COPR_FRONTEND_DIST_GITS": settings["COPR_CONTROLLER_DIST_GITS"],
        "COPR_FRONTEND_RESULTS_URL": settings["COPR_CONTROLLER_RESULTS_URL"],
        "COPR_FRONTEND_FRONTEND_URL": f"http://{cluster.node_address}:{FRONTEND_PORT}",
    }
    chroots = [
        {"target": {"kind": "CoprChroot", "name": chroot.replace("_", "-")},
         "patch": yaml.safe_dump([{"op": "replace", "path": "/spec/image", "value": references[image]}])}
        for chroot, image in CHROOTS.items()
    ]  # fmt: skip
    volume = [{"op": "replace", "path": "/spec/hostPath/path", "value": str(cluster.home / "results")}]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": ["../../manifests/overlays/local", "../../manifests/chroots/debian"],
        "images": [{"name": "copr-operator/operator", "newName": name, "newTag": tag}],
        "patches": [
            {"target": {"kind": "PersistentVolume"}, "patch": yaml.safe_dump(volume)},
            {"target": {"kind": "ConfigMap", "name": "copr-operator-controller-settings"},
             "patch": yaml.safe_dump([{"op": "add", "path": f"/data/{k}", "value": v} for k, v in settings.items()])},
            {"target": {"kind": "ConfigMap", "name": "copr-operator-frontend-settings"},
             "patch": yaml.safe_dump([{"op": "add", "path": f"/data/{k}", "value": v} for k, v in frontend.items()])},
            *chroots,
        ],
    }  # fmt: skip
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization, sort_keys=False))
    return directory
