"""JSON schemas for kubeconform that know every field and refuse all others.

Kubernetes' own kinds are in the module that the local cluster is built from, so both have one version. Of other
projects' kinds the definitions (CRDs) are in their modules, ours are in crds/.
"""

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import api as clusters
from tests.support.installation import REPOSITORY

Schema = dict[str, Any]
FOREIGN = (
    ("sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    ("github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd/*_*monitors.yaml"),
)
UNKNOWN = frozenset(
    {
        "argoproj.io/v1alpha1/Application",
        "helm.toolkit.fluxcd.io/v2/HelmRelease",
        "kustomize.toolkit.fluxcd.io/v1/Kustomization",
        "source.toolkit.fluxcd.io/v1/GitRepository",
        "security.openshift.io/v1/SecurityContextConstraints",
    }
)
"""Left out. Argo CD's and Flux's are judged by their own types (tests/gitops); OpenShift's definitions are in no module
that can be had."""
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
"""Described as a string; `cpu: 1` is taken all the same."""
_PREFIX = "#/definitions/"


def write_schemas(directory: Path) -> None:
    """One file a kind, named as `judge` looks for it."""
    for name, schema in _of_kubernetes():
        (directory / name).write_text(json.dumps(schema))
    for crd in _definitions():
        for name, schema in _of_crd(crd):
            (directory / name).write_text(json.dumps(schema))


def judge(text: str, schemas: Path) -> list[dict[str, Any]]:
    """What kubeconform says of each object of a YAML text: `kind`, `name`, `status`, `msg`."""
    done = subprocess.run(
        [
            *(str(clusters.tool("kubeconform")), "-strict", "-verbose", "-output", "json", "-skip", ",".join(UNKNOWN)),
            *(
                "-schema-location",
                f"{schemas}/{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}_{{{{.ResourceKind}}}}.json",
                "-",
            ),
        ],
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.stderr == "", done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["resources"]
    return found


def _file(group: str, version: str, kind: str) -> str:
    """kubeconform takes the version for the group where an apiVersion has none."""
    return f"{group or version}_{version}_{kind.lower()}.json"


@cache
def _kubernetes() -> dict[str, Schema]:
    """Every definition of the API by its name, as strict as can be."""
    module = clusters.module("kubernetes", "k8s.io/kubernetes")
    document = json.loads((module / "api/openapi-spec/swagger.json").read_text())
    found = {name: _strict(schema) for name, schema in document["definitions"].items()}
    return {**found, _QUANTITY: {"type": ["string", "number"]}}


def _of_kubernetes() -> Iterator[tuple[str, Schema]]:
    for name, schema in _kubernetes().items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            if {"apiVersion", "kind", "metadata"} <= schema.get("properties", {}).keys():
                yield (
                    _file(kind["group"], kind["version"], kind["kind"]),
                    {"$ref": _PREFIX + name, "definitions": _needed({"$ref": _PREFIX + name})},
                )


def _definitions() -> Iterator[dict[str, Any]]:
    files = [*(REPOSITORY / "crds").glob("*_*.yaml")]
    for path, pattern in FOREIGN:
        found = list(clusters.module("schemas", path).glob(pattern))
        assert found, f"{path} has no {pattern}"
        files += found
    for file in files:
        yield yaml.load(file.read_text(), yaml.CSafeLoader)


def _of_crd(crd: dict[str, Any]) -> Iterator[tuple[str, Schema]]:
    spec = crd["spec"]
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"$ref": _PREFIX + _OBJECT_META},
        }  # fmt: skip
        schema["definitions"] = _needed(schema)
        yield _file(spec["group"], version["name"], spec["names"]["kind"]), schema


def _needed(schema: Schema) -> dict[str, Schema]:
    """The definitions that a schema refers to, and those that they do."""
    found: dict[str, Schema] = {}
    wanted = list(_references(schema))
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _kubernetes()[name]
            wanted += _references(found[name])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.removeprefix(_PREFIX)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _strict(schema: Schema) -> Schema:
    """The schema of the API server as one of JSON: what it would drop without a word is refused."""
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return {"type": ["string", "integer"]}
    strict = dict(schema)
    if "properties" in schema:
        strict["properties"] = {name: _strict(one) for name, one in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            strict[name] = _strict(schema[name])
    if schema.get("nullable"):
        strict["type"] = [schema["type"], "null"]
    return strict
