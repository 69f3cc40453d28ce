"""No object of the last release is lost to a change of the kinds; and the comparison that says so finds each change."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from copr_operator.api.common import RepoUrl
from copr_operator.api.crd import KINDS, definition, file_name
from tests.support.schema_changes import RELEASED, definitions, taken_away

OLD_REPO_URL = (
    r"^(https?://[A-Za-z0-9._~:@%$\[\]-]+(/[!-~]*)?|copr://@?[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.+:-]*)$"
)
REVIEWED = (
    f": pattern {OLD_REPO_URL!r} became",
    "v1alpha1.spec.source.link.url: new rule self.matches(r'^[a-z+]+://",
    "v1alpha1.spec.source.scm.cloneURL: new rule self.matches(r'^[a-z+]+://",
)
"""What is said of changes that were looked at, and take nothing away. Repositories may have a query. The new rule
for URLs refuses what no build could ever be made of; the models admit it still, so that an object that has one
is read, and its build fails with a reason; and the API server lets such an object be changed elsewhere
(CRDValidationRatcheting)."""

OLD: dict[str, Any] = {
    "spec": {
        "group": "g.example",
        "scope": "Namespaced",
        "names": {"kind": "A", "plural": "as", "singular": "a", "listKind": "AList", "shortNames": ["x"],
                  "categories": ["c"]},
        "versions": [{
            "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
            "selectableFields": [{"jsonPath": ".spec.name"}],
            "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": {
                "type": "object",
                "required": ["name"],
                "x-kubernetes-validations": [{"rule": "self.name != ''", "message": "m"}],
                "properties": {
                    "name": {"type": "string", "maxLength": 10, "minLength": 1, "pattern": "^a"},
                    "free": {"type": "string"},
                    "size": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 9, "default": 3},
                    "color": {"type": "string", "enum": ["red", "blue"]},
                    "list": {"type": "array", "maxItems": 4, "x-kubernetes-list-type": "atomic",
                             "items": {"type": "object", "properties": {"key": {"type": "string"}}}},
                    "map": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 5}},
                    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }}}},
        }],
    }
}  # fmt: skip
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> dict[str, Any]:
    new = copy.deepcopy(OLD)
    change(new["spec"])
    return new


def fields(spec: dict[str, Any]) -> dict[str, Any]:
    """The fields of the kind's spec."""
    found: dict[str, Any] = schema(spec)["properties"]
    return found


def schema(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


NARROWER: dict[str, Change] = {
    "v1.spec.free: is gone": lambda s: fields(s).pop("free"),
    "v1.spec.list[].key: is gone": lambda s: fields(s)["list"]["items"]["properties"].pop("key"),
    "v1.spec.free: type 'string' became 'integer'": lambda s: fields(s)["free"].update(type="integer"),
    "v1.spec.size: format 'int64' became 'int32'": lambda s: fields(s)["size"].update(format="int32"),
    "v1.spec.free: is required now": lambda s: schema(s)["required"].append("free"),
    "v1.spec.more: is required now": lambda s: (
        schema(s)["required"].append("more"), fields(s).update(more={"type": "string"})
    ),
    "v1.spec.color: 'blue' is no value any more": lambda s: fields(s)["color"].update(enum=["red", "green"]),
    "v1.spec.free: only a now": lambda s: fields(s)["free"].update(enum=["a"]),
    "v1.spec.name: maxLength 10 became 9": lambda s: fields(s)["name"].update(maxLength=9),
    "v1.spec.free: maxLength nothing became 9": lambda s: fields(s)["free"].update(maxLength=9),
    "v1.spec.name: minLength 1 became 2": lambda s: fields(s)["name"].update(minLength=2),
    "v1.spec.size: maximum 9 became 8": lambda s: fields(s)["size"].update(maximum=8),
    "v1.spec.size: minimum 1 became 2": lambda s: fields(s)["size"].update(minimum=2),
    "v1.spec.list: maxItems 4 became 3": lambda s: fields(s)["list"].update(maxItems=3),
    "v1.spec.name: pattern '^a' became '^b'": lambda s: fields(s)["name"].update(pattern="^b"),
    "v1.spec.free: pattern nothing became '^b'": lambda s: fields(s)["free"].update(pattern="^b"),
    "v1.spec.size: default 3 became 4": lambda s: fields(s)["size"].update(default=4),
    "v1.spec.size: default 3 became nothing": lambda s: fields(s)["size"].pop("default"),
    "v1.spec.free: default nothing became 'a'": lambda s: fields(s)["free"].update(default="a"),
    "v1.spec: new rule self.size > 1": lambda s: schema(s)["x-kubernetes-validations"].append(
        {"rule": "self.size > 1"}
    ),
    "v1.spec.list: x-kubernetes-list-type 'atomic' became 'set'": lambda s: fields(s)["list"].update(
        {"x-kubernetes-list-type": "set"}
    ),
    "v1.spec.map.*: maxLength 5 became 4": lambda s: fields(s)["map"]["additionalProperties"].update(maxLength=4),
    "v1.spec.map: takes no keys of the user's any more": lambda s: fields(s)["map"].pop("additionalProperties"),
    "v1.spec.any: is not x-kubernetes-preserve-unknown-fields any more": lambda s: fields(s)["any"].pop(
        "x-kubernetes-preserve-unknown-fields"
    ),
    "v1.spec.list: is uniqueItems now": lambda s: fields(s)["list"].update(uniqueItems=True),
    "v1.spec.free: anyOf is another one": lambda s: fields(s)["free"].update(anyOf=[{"maxLength": 3}]),
    "v1: is not served any more": lambda s: s["versions"][0].update(served=False),
    "v1: .spec.name can't be selected any more": lambda s: s["versions"][0].pop("selectableFields"),
    "v1: subresource status came or went": lambda s: s["versions"][0].pop("subresources"),
    "scope: Namespaced became Cluster": lambda s: s.update(scope="Cluster"),
    "names.plural: as became bs": lambda s: s["names"].update(plural="bs"),
    "names.shortNames: x is gone": lambda s: s["names"].update(shortNames=[]),
    "names.categories: c is gone": lambda s: s["names"].update(categories=[]),
}  # fmt: skip

WIDER: dict[str, Change] = {
    "a new field": lambda s: fields(s).update(more={"type": "string", "maxLength": 3, "pattern": "^a"}),
    "a new field that is required and has a default": lambda s: (
        schema(s)["required"].append("more"), fields(s).update(more={"type": "string", "default": "a"})
    ),
    "nothing is required": lambda s: schema(s).pop("required"),
    "longer": lambda s: fields(s)["name"].update(maxLength=11),
    "without a bound": lambda s: fields(s)["name"].pop("maxLength"),
    "without a pattern": lambda s: fields(s)["name"].pop("pattern"),
    "shorter": lambda s: fields(s)["name"].update(minLength=0),
    "more values": lambda s: fields(s)["color"]["enum"].append("green"),
    "any value": lambda s: fields(s)["color"].pop("enum"),
    "without a rule": lambda s: schema(s).pop("x-kubernetes-validations"),
    "another message": lambda s: schema(s)["x-kubernetes-validations"][0].update(message="n"),
    "another description": lambda s: fields(s)["name"].update(description="d"),
    "any keys": lambda s: fields(s)["map"].update(additionalProperties=True),
    "another version": lambda s: s["versions"].append({**copy.deepcopy(s["versions"][0]), "name": "v2"}),
    "more names": lambda s: s["names"]["shortNames"].append("y"),
    "nothing at all": lambda _: None,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_nothing_of_the_last_release_is_lost(kind: Any) -> None:
    released = yaml.safe_load((RELEASED / file_name(kind)).read_text())
    assert [
        lost for lost in taken_away(released, definition(kind)) if not any(words in lost for words in REVIEWED)
    ] == []


@given(st.from_regex(OLD_REPO_URL, fullmatch=True))
def test_repositories_of_the_last_release_are_admitted(url: str) -> None:
    assert re.match(TypeAdapter(RepoUrl).json_schema()["pattern"], url)


def test_no_kind_of_the_last_release_is_gone() -> None:
    assert definitions(RELEASED).keys() <= {file_name(kind) for kind in KINDS}


@pytest.mark.parametrize("said", NARROWER)
def test_a_narrower_definition_is_told(said: str) -> None:
    assert taken_away(OLD, changed(NARROWER[said])) == [said]


def test_a_removed_version_is_told() -> None:
    assert taken_away(OLD, changed(lambda s: s.update(versions=[]))) == ["v1: is not served any more"]


@pytest.mark.parametrize("what", WIDER)
def test_a_wider_definition_is_not(what: str) -> None:
    assert taken_away(OLD, changed(WIDER[what])) == []
