"""Every object that the chart or manifests/ makes has only fields that there are, judged without a cluster."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.cases import CHROOT, everything
from tests.chart.objects import rendered
from tests.support.gitops import kustomized
from tests.support.installation import REPOSITORY
from tests.support.schemas import UNKNOWN, judge, write_schemas

MANIFESTS = REPOSITORY / "manifests"
VALUES: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "all values": everything("a"),
    "two namespaces": {"watchNamespaces": ["a", "b"], "chroots": [CHROOT]},
    "openshift": {"openshift.enabled": True},
    "a test in a namespace of its own": {"chroots": [CHROOT]},
    "without a frontend": {"frontend.enabled": False, "metrics.podMonitor.enabled": True},
}
KUSTOMIZATIONS = sorted(
    path.parent
    for path in [*MANIFESTS.rglob("kustomization.yaml"), REPOSITORY / "crds/kustomization.yaml"]
    if "kind: Component" not in path.read_text()
)
TESTDATA = sorted(MANIFESTS.glob("argocd/resource_customizations/*/*/testdata"))


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("schemas")
    write_schemas(directory)
    return directory


def wrong(objects: list[dict[str, Any]], schemas: Path) -> list[str]:
    """What kubeconform finds. Nothing but the kinds that have no schema may be passed over."""
    judged = judge(yaml.dump_all(objects, Dumper=yaml.CSafeDumper), schemas)
    assert len(judged) == len(objects) > 0
    skipped = [one for one in judged if one["status"] == "statusSkipped"]
    assert {f"{one['version']}/{one['kind']}" for one in skipped} <= UNKNOWN
    return [
        f"{one['kind']} {one['name']}: {one['msg']}"
        for one in judged
        if one["status"] not in ("statusValid", "statusSkipped")
    ]


@pytest.mark.parametrize("values", VALUES)
def test_the_chart_makes_nothing_that_the_schemas_do_not_know(values: str, schemas: Path) -> None:
    assert wrong(rendered(VALUES[values]).all, schemas) == []


@pytest.mark.parametrize("directory", KUSTOMIZATIONS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_kustomization_makes_nothing_that_the_schemas_do_not_know(directory: Path, schemas: Path) -> None:
    assert wrong(kustomized(directory), schemas) == []


@pytest.mark.parametrize("directory", TESTDATA, ids=lambda path: path.parts[-2])
def test_the_objects_of_argo_cds_tests_are_ones_that_there_can_be(directory: Path, schemas: Path) -> None:
    objects = [yaml.safe_load(path.read_text()) for path in sorted(directory.glob("*.yaml"))]
    assert wrong(objects, schemas) == []


CONTROLLER = ("Deployment", "copr-operator-controller")
MISSPELT = {
    "of a container": (*CONTROLLER, ("spec", "template", "spec", "containers", 0), "imagePullPolcy"),
    "of metadata": (*CONTROLLER, ("metadata",), "label"),
    "of an object": (*CONTROLLER, (), "specs"),
    "of a CRD": ("CustomResourceDefinition", "coprbuilds.copr-operator.dev", ("spec", "versions", 0), "storge"),
    "of a kind of ours": ("CoprChroot", "debian-12-x86-64", ("spec",), "imag"),
    "of its metadata": ("CoprChroot", "debian-12-x86-64", ("metadata",), "label"),
    "of a kind of the Gateway API": ("HTTPRoute", "copr-operator-backend", ("spec", "rules", 0), "backendRef"),
    "of a kind of Prometheus": ("ServiceMonitor", "copr-operator-backend", ("spec",), "endpoint"),
}


@pytest.mark.parametrize("place", MISSPELT)
def test_a_misspelt_field_is_found(place: str, schemas: Path) -> None:
    kind, name, path, field = MISSPELT[place]
    changed = rendered(everything("a")).find(kind, name)
    part: Any = changed
    for key in path:
        part = part[key]
    part[field] = "x"
    (found,) = wrong([changed], schemas)
    assert field in found


def test_a_field_given_twice_is_found(schemas: Path) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: b\n"
    (judged,) = judge(text, schemas)
    assert judged["status"] == "statusError"
    assert re.search(r'key "name" already set', judged["msg"])


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        (*CONTROLLER, ("spec", "replicas"), "two"),
        (*CONTROLLER, ("spec", "template", "spec", "containers"), None),
        ("CoprChroot", "debian-12-x86-64", ("spec", "arch"), 7),
    ],
)
def test_a_value_of_the_wrong_type_is_found(
    kind: str, name: str, path: tuple[str, ...], value: Any, schemas: Path
) -> None:
    changed = rendered(everything("a")).find(kind, name)
    part: Any = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert len(wrong([changed], schemas)) == 1


def test_a_kind_that_nobody_knows_is_found(schemas: Path) -> None:
    (judged,) = judge("apiVersion: apps/v1\nkind: Deploymnet\nmetadata:\n  name: a\n", schemas)
    assert (judged["status"], "could not find schema" in judged["msg"]) == ("statusError", True)
