"""values.yaml of the chart, read with its comments: from them come values.schema.json and the README's table.

Above a value stand `# -- what it is`, continued by further comment lines, and if the type of the default does not say
enough, `# @schema {...}`: JSON schema that is put over what the default gives. A map without a `# --` comment is a
group of values; strict, so that helm refuses what is spelled wrong. Helm takes out what is given as null before it
looks at the schema: so a group, and a value that can't be empty, is required.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter

from copr_operator.api.chroot import ChrootSpec, LabelKey, LabelValue
from copr_operator.api.common import ObjectName
from copr_operator.api.crd import structural
from copr_operator.backend.settings import BackendSettings
from copr_operator.core import names
from copr_operator.core.config import EnvName, QueueName
from copr_operator.core.egress import HOST
from copr_operator.frontend.settings import FrontendSettings

CHART = Path(__file__).resolve().parents[2] / "helm/copr-operator"
TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "NoneType": "null", "list": "array"}
OWNED = frozenset(
    {
        "root", "host", "port", "tls_cert", "tls_key", "controller", "audience", "scratch", "spool", "frontend_url",
        "frontend_ca_file", "objects_url",
    }
)  # fmt: skip
"""Settings of backend and frontend that the chart decides itself."""
FRONTEND_OWNED = OWNED | {
    "namespace", "watch", "dist_gits", "backend_url", "results_url", "frontend_url", "backend_token_file",
    "backend_ca_file",
}  # fmt: skip

_OBJECT = {"type": "object"}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_NAMED = {
    "type": "array",
    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}},
}
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_NETWORK = rf"({_IPV4}(/(3[0-2]|[12]?[0-9]|{_IPV4}))?|[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){{2,8}}(/[0-9]{{1,3}})?)"
_OWN = ("name", "component", "instance", "version", "managed-by")
OWN_LABELS = (*(f"app.kubernetes.io/{name}" for name in _OWN), "helm.sh/chart")
"""Labels that the chart gives its objects; pods have the first two. Given twice, a label would be no YAML."""
_QUANTITY = {"type": ["string", "integer", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$"}


@dataclass(frozen=True)
class Value:
    """One value that can be set."""

    path: str
    """Keys from the top, joined by dots."""
    default: Any
    description: str
    schema: dict[str, Any]
    """What `# @schema` says."""


def values(text: str | None = None) -> list[Value]:
    """All values of values.yaml in its order. Raises ValueError for one without a description."""
    text = (CHART / "values.yaml").read_text() if text is None else text
    node = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("the values are no map")
    return list(_values(node, text.splitlines(), ""))


def _values(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        description, schema = _comment(lines, key.start_mark.line)
        if description is not None:
            default = yaml.safe_load(yaml.serialize(value))
            yield Value(path, default, description, schema)
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _values(value, lines, f"{path}.")
        else:
            raise ValueError(f"{path} has no `# --` comment")


def _comment(lines: list[str], line: int) -> tuple[str | None, dict[str, Any]]:
    """Description and schema of the comment right above a line."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words: list[str] | None = None
    schema: dict[str, Any] = {}
    for text in (one.strip().removeprefix("#").strip() for one in lines[first:line]):
        if text.startswith("-- "):
            words = [text.removeprefix("-- ")]
        elif text.startswith("@schema "):
            schema = json.loads(text.removeprefix("@schema "))
        elif words is not None:
            words.append(text)
    return (None if words is None else " ".join(words)), schema


def schema() -> dict[str, Any]:
    """values.schema.json."""
    top: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of copr-operator's chart",
        **_group(),
        "$defs": _definitions(),
    }
    for value in values():
        *groups, name = value.path.split(".")
        place = top
        for group in groups:
            if group not in place["properties"]:
                place["properties"][group] = _group()
                place["required"].append(group)
            place = place["properties"][group]
        if can_not_be_null(value):
            place["required"].append(name)
        place["properties"][name] = {"description": value.description, **(_of_default(value) | value.schema)}
    top["properties"]["global"] = {"type": "object", "description": "Helm's own: values of a parent chart."}
    top["properties"]["enabled"] = {"type": "boolean", "description": "For the `condition` of a parent chart."}
    return top


def can_not_be_null(value: Value) -> bool:
    """null is as good as an empty text, list or map; other defaults have no such meaning."""
    empty = isinstance(value.default, dict) or value.default in ("", None, [])
    return not empty and "null" not in value.schema.get("type", ())


def _group() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": [], "properties": {}}


def _of_default(value: Value) -> dict[str, Any]:
    if "$ref" in value.schema:
        return {}
    tag = type(value.default).__name__
    if tag not in TYPES:
        raise ValueError(f"{value.path}: a default of type {tag} needs an @schema")
    return {"type": TYPES[tag]}


def _definitions() -> dict[str, Any]:
    chroot = _camel(structural(ChrootSpec, "A CoprChroot's spec."))
    toleration = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "key": {"type": "string"},
            "operator": {"enum": ["Exists", "Equal", "Lt", "Gt"]},
            "value": {"type": "string"},
            "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            "tolerationSeconds": {"type": "integer"},
        },
    }
    quantities = {"type": "object", "additionalProperties": {"$ref": "#/$defs/quantity"}}
    resources = {"requests": quantities, "limits": quantities, "claims": _NAMED}
    priority = {
        "name": {"type": "string", "minLength": 1},
        "value": {"type": "integer", "maximum": 1000000000},
        "description": {"type": "string"},
        "preemptionPolicy": {"enum": ["PreemptLowerPriority", "Never"]},
    }
    text = {"type": "string", "minLength": 1}
    name = rule(ObjectName)
    labels = mapping(LabelKey, LabelValue)
    dist_git = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "cloneURL", "lookasideURL"],
        "properties": {
            "name": text,
            "cloneURL": {"type": "string", "pattern": r"\{package\}"},
            "lookasideURL": {"type": "string", "pattern": r"\{filename\}"},
            "namespace": text,
        },
    }
    return {
        "object": _OBJECT,
        "objects": {"type": "array", "items": _OBJECT},
        "strings": _STRINGS,
        "labels": labels,
        "commonLabels": without(labels, *OWN_LABELS),
        "podLabels": without(labels, *OWN_LABELS[:2]),
        "podAnnotations": without(_STRINGS, f"{names.GROUP}/settings-checksum"),
        "buildPodLabels": without(mapping(LabelKey, LabelValue, f"^{re.escape(names.GROUP)}/"), names.LABEL_MANAGED_BY),
        "buildPodAnnotations": mapping(LabelKey, str),
        "buildPodEnv": mapping(EnvName, str),
        "objectName": {"anyOf": [{"const": ""}, name]},
        "objectNames": {"type": "array", "items": name},
        "queueName": {"anyOf": [{"const": ""}, rule(QueueName)]},
        "allowedSources": {"type": "array", "items": {"type": "string", "pattern": f"^({HOST.pattern}|{_NETWORK})$"}},
        "networks": {"type": "array", "items": {"type": "string", "pattern": f"^{_NETWORK}$"}},
        "stringList": {"type": "array", "items": {"type": "string"}},
        "namedObjects": _NAMED,
        "namespaces": {
            "type": "array",
            "uniqueItems": True,
            "items": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"},
        },
        "quantity": _QUANTITY,
        "duration": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"},
        "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
        "url": {"type": "string", "pattern": "^(https?://[!-.0-~]([!-~]*[!-.0-~])?)?$"},
        "tolerations": {"type": "array", "items": toleration},
        "resources": {"type": "object", "additionalProperties": False, "properties": resources},
        "distGits": {"type": "array", "items": dist_git},
        "chroots": {"type": "array", "items": chroot},
        "priorityClasses": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "value"],
                "properties": priority,
            },
        },
        "extraObjects": {
            "type": "array",
            "items": {"type": ["object", "string"], "required": ["apiVersion", "kind", "metadata"]},
        },
        "backendSettings": settings_schema(BackendSettings, OWNED),
        "frontendSettings": settings_schema(FrontendSettings, FRONTEND_OWNED),
    }


def rule(kind: Any) -> dict[str, Any]:
    """JSON schema of a type of the operator's own."""
    return TypeAdapter(kind).json_schema()


def mapping(key: Any, value: Any, *refused: str) -> dict[str, Any]:
    """JSON schema of a map with keys and values of such types; `refused` are patterns of keys that it may not have.

    Without `propertyNames`: of those helm's validator says a wrong place.
    """
    patterns = {rule(key)["pattern"]: rule(value), **dict.fromkeys(refused, False)}
    return {"type": "object", "additionalProperties": False, "patternProperties": patterns}


def without(schema: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The schema of a map, for maps that have none of the keys."""
    return {**schema, "properties": dict.fromkeys(keys, False)}


def settings_schema(model: type[BaseModel], owned: frozenset[str]) -> dict[str, Any]:
    """Settings of a process that the chart does not decide itself, by their names in camel case."""
    properties = model.model_json_schema().get("properties", {})
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            camel(name): {key: part for key, part in field.items() if key not in ("title", "default")}
            for name, field in properties.items()
            if name not in owned
        },
    }


def camel(name: str) -> str:
    """`max_file_bytes` -> `maxFileBytes`."""
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def _camel(node: dict[str, Any]) -> dict[str, Any]:
    """A structural schema as helm reads it: strict, without Kubernetes' extensions."""
    node = {key: value for key, value in node.items() if not key.startswith("x-kubernetes-")}
    if "properties" in node:
        node["properties"] = {name: _camel(part) for name, part in node["properties"].items()}
        node["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            node[key] = _camel(node[key])
    return node


def table() -> str:
    """The README's table of values."""
    rows = ["| value | default | what |", "|---|---|---|"]
    for value in values():
        default = json.dumps(value.default)
        rows.append(f"| `{value.path}` | `{default}` | {value.description.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def schema_text() -> str:
    """What values.schema.json holds."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
