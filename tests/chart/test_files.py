"""The chart's files agree with what they are made from, and with manifests/."""

import base64
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from copr_operator import __version__
from copr_operator.api.crd import KINDS, definition
from copr_operator.core.manifests import BUILD_CAPABILITIES
from tests.chart.cases import CHROOT
from tests.chart.objects import rendered
from tests.cluster import api as clusters
from tests.support import chart_values
from tests.support.chart import CHART, NAMESPACE, helm
from tests.support.installation import REPOSITORY
from tests.support.reference import chart_files


def test_the_generated_files_are_what_make_generate_writes() -> None:
    assert {path: path.read_text() for path in chart_files()} == chart_files()
    assert set((CHART / "files/crds").iterdir()) == {path for path in chart_files() if path.suffix == ".yaml"}


def test_every_value_says_what_it_is() -> None:
    assert [value.path for value in chart_values.values() if len(value.description) < 10] == []
    with pytest.raises(ValueError, match=r"a\.b has no"):
        chart_values.values("a:\n  # A plain comment.\n  b: 1\n")


def test_helm_lint_has_nothing_to_say() -> None:
    said = helm("lint", str(CHART), "--strict")
    assert "1 chart(s) linted, 0 chart(s) failed" in said
    assert re.findall(r"^\[.*", said, re.MULTILINE) == []


def test_the_icon_is_the_picture_beside_it() -> None:
    kind, _, data = yaml.safe_load((CHART / "Chart.yaml").read_text())["icon"].partition(",")
    assert (kind, base64.b64decode(data)) == ("data:image/svg+xml;base64", (CHART / "icon.svg").read_bytes())


def test_the_chart_has_the_version_of_the_operator_and_names_every_kind() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    annotations = chart["annotations"]
    listed = {crd["kind"] for crd in yaml.safe_load(annotations["artifacthub.io/crds"])}
    assert listed >= {kind.kind for kind in KINDS}
    images = {image["image"] for image in yaml.safe_load(annotations["artifacthub.io/images"])}
    assert images == {f"copr-operator/{name}:{__version__}" for name in ("operator", "source")}


def test_artifact_hub_is_told_of_the_repository_what_holds_for_every_publisher() -> None:
    told = yaml.safe_load((CHART.parent / "artifacthub-repo.yml").read_text())
    assert told.keys() == {"ignore"}, "an ID and owners are the publisher's"
    (ignored,) = told["ignore"]
    assert ignored["name"] == yaml.safe_load((CHART / "Chart.yaml").read_text())["name"]
    assert re.search(ignored["version"], __version__) is None
    assert re.search(ignored["version"], f"{__version__}-dev.3") is not None


def test_the_crds_are_those_of_the_models_and_stay_when_the_release_goes() -> None:
    for kind in KINDS:
        crd = rendered().find("CustomResourceDefinition", definition(kind)["metadata"]["name"])
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert crd == definition(kind)


def kustomized(overlay: str) -> list[dict[str, Any]]:
    command = [str(clusters.tool("kubectl")), "kustomize", str(REPOSITORY / "manifests/overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]


def comparable(objects: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The objects without the differences that are meant; see test_the_chart_makes_what_kustomize_makes."""
    hashed = {
        one["metadata"]["name"]: re.sub(r"-[a-z0-9]{10}$", "", one["metadata"]["name"])
        for one in objects
        if one["kind"] == "ConfigMap"
    }
    for one in objects:
        metadata = one["metadata"]
        aggregated = {key: value for key, value in metadata.pop("labels", {}).items() if key.startswith("rbac.")}
        metadata.pop("annotations", None)
        if aggregated:
            metadata["labels"] = aggregated
        if one["kind"] == "Namespace" or metadata["name"].endswith(("-drain", "-test")):
            continue
        if one["kind"] == "ConfigMap":
            metadata["name"] = hashed[metadata["name"]]
            for name in DEFAULTS & set(one["data"]):
                del one["data"][name]
        if one["kind"] in ("Deployment", "StatefulSet"):
            template = one["spec"]["template"]
            template["metadata"].pop("annotations", None)
            (container,) = template["spec"]["containers"]
            container.pop("imagePullPolicy", None)
            (source,) = container["envFrom"]
            source["configMapRef"]["name"] = hashed[source["configMapRef"]["name"]]
        yield (one["kind"], metadata.get("namespace", ""), metadata["name"]), one


DEFAULTS = {
    "COPR_CONTROLLER_IMAGE_PULL_POLICY", "COPR_CONTROLLER_SOURCE_CPU_REQUEST", "COPR_CONTROLLER_BUILD_PODS",
    "COPR_CONTROLLER_WORKERS", "COPR_CONTROLLER_RESYNC_SECONDS", "COPR_CONTROLLER_LOG_LEVEL",
    "COPR_BACKEND_LOG_LEVEL", "COPR_FRONTEND_LOG_LEVEL",
}  # fmt: skip
"""Settings that the chart says although they are the default."""


OVERLAYS: dict[str, dict[str, Any]] = {
    "cluster-wide": {},
    "namespaced": {"watchNamespaces": ["copr-builds"]},
    "openshift": {"openshift.enabled": True},
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_chart_makes_what_kustomize_makes(overlay: str) -> None:
    """But for: the Namespace (helm's --create-namespace), labels and annotations of the objects (helm's own, no hash in
    a ConfigMap's name but its checksum on the pod), what is the default anyway, and the hooks (drain, test)."""
    chart = dict(comparable(rendered(OVERLAYS[overlay]).all))
    manifests = dict(comparable(kustomized(overlay)))
    assert chart.keys() == manifests.keys()
    for key, one in manifests.items():
        assert chart[key] == one, key


def test_every_overlay_for_users_is_one_of_the_charts_ways() -> None:
    overlays = {path.name for path in (REPOSITORY / "manifests/overlays").iterdir()}
    assert overlays - {"local"} == set(OVERLAYS)


def test_openshift_allows_build_pods_the_capabilities_that_they_have_and_no_others() -> None:
    scc = rendered({"openshift.enabled": True}).find("SecurityContextConstraints", "copr-build-pods")
    assert tuple(scc["allowedCapabilities"]) == BUILD_CAPABILITIES


def test_the_checksum_on_the_pods_follows_the_settings_so_that_a_change_restarts_them() -> None:
    def checksum(values: dict[str, Any], component: str) -> str:
        annotations = rendered(values).template(component)["metadata"]["annotations"]
        return str(annotations["copr-operator.dev/settings-checksum"])

    changed = {"backend.settings": {"gather": 5}}
    assert checksum({}, "backend") != checksum(changed, "backend")
    assert checksum({}, "controller") == checksum(changed, "controller")


def test_a_backend_that_reads_its_store_for_minutes_is_not_killed_before_it_listens() -> None:
    container = rendered({"backend.tls.secretName": "t"}).container("backend")
    start, later = container["startupProbe"], container["livenessProbe"]
    assert start["httpGet"] == later["httpGet"]
    assert start["periodSeconds"] * start["failureThreshold"] == 600


def test_a_pod_that_is_not_healthy_keeps_no_node_from_being_drained() -> None:
    budget = rendered().find("PodDisruptionBudget", "copr-operator-frontend")
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_parent_chart_may_switch_this_one_on_and_off(tmp_path: Path, enabled: bool) -> None:
    shutil.copytree(CHART, tmp_path / "charts/copr-operator")
    dependency = {"name": "copr-operator", "version": __version__, "condition": "copr-operator.enabled"}
    parent = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(parent))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"copr-operator": {"enabled": enabled}}))
    assert ("copr-operator-backend" in helm("template", "copr-operator", str(tmp_path))) == enabled


def rules(objects: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """(group, resource, verb) of the components' ClusterRoles."""
    return {
        (group, resource, verb)
        for one in objects
        if one["kind"] == "ClusterRole" and one["metadata"]["name"].endswith(("-controller", "-backend", "-frontend"))
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }  # fmt: skip


def test_with_namespaces_the_cluster_gives_no_more_than_what_no_role_can() -> None:
    """A deleted namespace loses its Roles first; a controller that starts then must find what has its finalizer."""
    kinds = ("coprbuilds", "coprprojects")
    assert rules(rendered({"watchNamespaces": ["a"]}).all) == {
        *(("copr-operator.dev", kind, verb) for kind in kinds for verb in ("get", "list", "watch", "patch")),
        *(("copr-operator.dev", f"{kind}/status", "patch") for kind in kinds),
        ("copr-operator.dev", "coprbuilds/finalizers", "update"),
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    }


KNOWN = ("--api-versions", "copr-operator.dev/v1alpha1/CoprChroot")
"""What helm is told of the cluster from the first upgrade on."""
OF_THE_RELEASE = {"meta.helm.sh/release-name": "copr-operator", "meta.helm.sh/release-namespace": NAMESPACE}


def test_chroots_are_hooks_where_the_cluster_does_not_know_them_yet_and_else_belong_to_the_release() -> None:
    """A rollback to the first revision deletes them, since its manifest has none; its hook makes them again."""
    first = rendered({"chroots": [CHROOT]}).find("CoprChroot", "debian-12-x86-64")["metadata"]
    later = rendered({"chroots": [CHROOT]}, *KNOWN).find("CoprChroot", "debian-12-x86-64")["metadata"]
    assert first["annotations"] == {"helm.sh/hook": "post-install,post-rollback", **OF_THE_RELEASE}
    assert later["labels"] == first["labels"]
    assert "annotations" not in later


def test_nothing_that_helm_does_deletes_the_demo_project_with_its_results() -> None:
    """Neither a rollback, an upgrade without it or an uninstall, nor the hook: without a policy of its own it would
    delete a project that it finds."""
    values = {"demo.enabled": True, "chroots": [CHROOT]}
    first = rendered(values).find("CoprProject", "demo", "default")["metadata"]
    later = rendered(values, *KNOWN).find("CoprProject", "demo", "default")["metadata"]
    keep = {"helm.sh/resource-policy": "keep"}
    hook = {"helm.sh/hook": "post-install", "helm.sh/hook-delete-policy": "hook-failed"}
    assert first["annotations"] == {**keep, **hook, **OF_THE_RELEASE}
    assert later["annotations"] == keep
    assert later["labels"] == first["labels"]
