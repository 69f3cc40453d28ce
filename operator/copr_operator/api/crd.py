"""Generates the CustomResourceDefinitions from the models: `python -m copr_operator.api.crd DIRECTORY` writes them.

A structural schema knows no $ref, no anyOf-with-null and no titles, so pydantic's JSON schema is flattened: references
are put in place, and an optional field is one that is not required. The API server fills in the defaults of the schema,
so a nested model that is always there is a field's default: what a default_factory makes is not in the schema.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from copr_operator.api.build import BuildSpec, BuildStatus
from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.common import KEY_MESSAGE, ApiModel, cel
from copr_operator.api.package import DefinitionStatus, PackageSpec
from copr_operator.api.project import ProjectSpec, ProjectStatus

GROUP = "copr-operator.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True)
class Kind:
    """One kind: its models and how kubectl shows it."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    description: str
    spec: type[ApiModel]
    status: type[ApiModel] | None = None
    columns: tuple[tuple[str, str, str, int], ...] = ()
    """Printer columns: (name, type, JSON path, priority)."""
    selectable: tuple[str, ...] = ()
    """JSON paths usable in --field-selector (at most 8; only = and !=)."""

    @property
    def singular(self) -> str:
        return self.kind.lower()


KINDS = (
    Kind(
        kind="CoprBuild",
        plural="coprbuilds",
        short_names=("cb",),
        description="One build: a source becomes an SRPM, that becomes RPMs in each chroot, those a DNF repository.",
        spec=BuildSpec,
        status=BuildStatus,
        columns=(
            ("Id", "integer", ".status.id", 0),
            ("Project", "string", ".spec.project", 0),
            ("Package", "string", ".status.source.package.name", 0),
            ("Version", "string", ".status.source.package.version", 0),
            ("State", "string", ".status.state", 0),
            ("Reason", "string", '.status.conditions[?(@.type=="Succeeded")].reason', 0),
            ("Age", "date", ".metadata.creationTimestamp", 0),
            ("Owner", "string", ".spec.owner", 1),
            ("Source", "string", ".spec.source.type", 1),
            ("Message", "string", ".status.failure.message", 1),
        ),
        selectable=(
            ".spec.owner", ".spec.project", ".spec.packageName", ".status.state", ".status.id",
            ".status.source.package.name",
        ),
    ),
    Kind(
        kind="CoprProject",
        plural="coprprojects",
        short_names=("cproj",),
        description="A named set of DNF repositories, one a chroot, and the settings its builds start from.",
        spec=ProjectSpec,
        status=ProjectStatus,
        columns=(
            ("Owner", "string", ".spec.owner", 0),
            ("Name", "string", ".spec.name", 0),
            ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
            ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
            ("Age", "date", ".metadata.creationTimestamp", 0),
            ("Repository", "string", ".status.repoURL", 1),
        ),
        selectable=(".spec.owner", ".spec.name"),
    ),
    Kind(
        kind="CoprChroot",
        plural="coprchroots",
        short_names=("cchroot",),
        description="What a chroot name such as fedora-43-x86_64 means. Read in the installation's namespace only.",
        spec=ChrootSpec,
        columns=(
            ("Chroot", "string", ".spec.name", 0),
            ("Arch", "string", ".spec.arch", 0),
            ("Enabled", "boolean", ".spec.enabled", 0),
            ("Image", "string", ".spec.image", 1),
            ("Age", "date", ".metadata.creationTimestamp", 0),
        ),
        selectable=(".spec.name",),
    ),
    Kind(
        kind="CoprPackage",
        plural="coprpackages",
        short_names=("cpkg",),
        description="A package of a project, and how its SRPM is made.",
        spec=PackageSpec,
        status=DefinitionStatus,
        columns=(
            ("Owner", "string", ".spec.owner", 0),
            ("Project", "string", ".spec.project", 0),
            ("Package", "string", ".spec.name", 0),
            ("Source", "string", ".spec.source.type", 0),
            ("Build", "integer", ".status.lastBuild.id", 0),
            ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
            ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
            ("Age", "date", ".metadata.creationTimestamp", 0),
        ),
        selectable=(".spec.owner", ".spec.project", ".spec.name"),
    ),
)  # fmt: skip


def structural(model: type[ApiModel], description: str) -> dict[str, Any]:
    """The model as a structural OpenAPI v3 schema."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    result = _flatten(schema, definitions)
    result["description"] = description
    return result


def _flatten(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    node = dict(node)
    if "$ref" in node:
        target = definitions[node.pop("$ref").removeprefix("#/$defs/")]
        node = {**target, **node}  # the field's own description wins over the model's
    if "anyOf" in node:
        (variant,) = (v for v in node.pop("anyOf") if v.get("type") != "null")
        resolved = definitions[variant["$ref"].removeprefix("#/$defs/")] if "$ref" in variant else variant
        node = {**resolved, **node}
    node.pop("title", None)
    if node.get("default", ...) is None:
        node.pop("default")
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "patternProperties" in node:  # keys with a pattern: structural schemas check keys by CEL only
        ((pattern, values),) = node.pop("patternProperties").items()
        node["additionalProperties"] = values
        node |= cel((f"self.all(key, key.matches({json.dumps(pattern)}))", node.pop(KEY_MESSAGE)))
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            node[key] = _flatten(node[key], definitions)
    if "properties" in node:
        node["properties"] = {name: _flatten(value, definitions) for name, value in node["properties"].items()}
    if node.get("type") == "integer":
        node["format"] = "int64"
    return node


_UNOBSERVED = {"observedGeneration": 0}
"""Status before the operator has seen the object. Without it kstatus, and with it Flux, takes an object that nobody has
looked at yet for one that is done: no condition says otherwise. Generations start at 1."""


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    properties = {
        "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object"},
        "spec": structural(kind.spec, "What is wanted."),
    }
    if kind.status is not None:
        properties["status"] = structural(kind.status, "What is; written by the operator only.") | {
            "default": _UNOBSERVED
        }
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": kind.description,
                "required": ["spec"],
                "properties": properties,
            }
        },
        "additionalPrinterColumns": [
            {"name": name, "type": kind_, "jsonPath": path, "priority": priority}
            for name, kind_, path, priority in kind.columns
        ],
        "selectableFields": [{"jsonPath": path} for path in kind.selectable],
    }
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": ["copr"],
            },
            "versions": [version],
        },
    }


HEADER = "# Generated by `make generate` from operator/copr_operator/api; do not edit.\n"


class _Plain(yaml.SafeDumper):
    """Writes parts that models share in full wherever they occur: YAML anchors are a trap for other tools."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(kind: Kind) -> str:
    text: str = yaml.dump(definition(kind), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    return HEADER + text


def file_name(kind: Kind) -> str:
    return f"{GROUP}_{kind.plural}.yaml"


def write_all(directory: Path) -> list[Path]:
    """Writes one file a kind, and a kustomization, into `directory`; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {file_name(kind): render(kind) for kind in KINDS}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
    }
    files["kustomization.yaml"] = HEADER + yaml.safe_dump(kustomization, sort_keys=False)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in files]


if __name__ == "__main__":
    for written in write_all(Path(sys.argv[1])):
        print(written)
