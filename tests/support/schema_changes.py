"""What a change of a CustomResourceDefinition takes away from objects that exist: pure, on two definitions as dicts.

A stored object must stay valid, keep every field, and mean the same. `python -m tests.support.schema_changes` keeps the
definitions of crds/ as those of the release that is being made (`make release-schema`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from copr_operator.api.crd import GROUP

REPOSITORY = Path(__file__).resolve().parents[2]
CRDS = REPOSITORY / "crds"
RELEASED = REPOSITORY / "tests/released"
"""The definitions of the last release."""

_LOWER_IS_NARROWER = ("maxLength", "maxItems", "maxProperties", "maximum")
_HIGHER_IS_NARROWER = ("minLength", "minItems", "minProperties", "minimum")
_SAME = ("type", "default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type")
_SAME_OR_NONE = ("format", "pattern", "multipleOf")
_KEPT = ("nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string")
_NEVER = ("uniqueItems", "exclusiveMinimum", "exclusiveMaximum", "x-kubernetes-embedded-resource")
_ALTERNATIVES = ("anyOf", "oneOf", "allOf", "not")

Schema = Mapping[str, Any]


def taken_away(old: Schema, new: Schema) -> list[str]:
    """A sentence for each thing that an object, a client or a selector could do by `old` and can't by `new`.

    Empty: every object that `old` admits is admitted by `new` with the same meaning. What is judged by its text alone
    (a pattern, a CEL rule) counts as narrower when it is another one.
    """
    return [*_identity(old["spec"], new["spec"]), *_versions(old["spec"], new["spec"])]


def _identity(old: Schema, new: Schema) -> Iterator[str]:
    for what in ("group", "scope"):
        if old[what] != new[what]:
            yield f"{what}: {old[what]} became {new[what]}"
    for what in ("kind", "plural", "singular", "listKind"):
        if old["names"].get(what) != new["names"].get(what):
            yield f"names.{what}: {old['names'].get(what)} became {new['names'].get(what)}"
    for what in ("shortNames", "categories"):
        for name in sorted({*old["names"].get(what, ())} - {*new["names"].get(what, ())}):
            yield f"names.{what}: {name} is gone"


def _versions(old: Schema, new: Schema) -> Iterator[str]:
    now = {version["name"]: version for version in new["versions"]}
    for before in old["versions"]:
        name = before["name"]
        after = now.get(name)
        if after is None or (before["served"] and not after["served"]):
            yield f"{name}: is not served any more"
            continue
        fields = {field["jsonPath"] for field in after.get("selectableFields", ())}
        for field in before.get("selectableFields", ()):
            if field["jsonPath"] not in fields:
                yield f"{name}: {field['jsonPath']} can't be selected any more"
        for subresource in sorted({*before.get("subresources", ())} ^ {*after.get("subresources", ())}):
            yield f"{name}: subresource {subresource} came or went"
        yield from _schema(before["schema"]["openAPIV3Schema"], after["schema"]["openAPIV3Schema"], name)


def _schema(old: Schema, new: Schema, path: str) -> Iterator[str]:
    """What one field (an object's fields, a list's items) lost."""
    for key in (*_SAME, *(key for key in _SAME_OR_NONE if key in new)):
        if old.get(key) != new.get(key):
            yield f"{path}: {key} {_shown(old, key)} became {_shown(new, key)}"
    for key in _LOWER_IS_NARROWER:
        if key in new and new[key] < old.get(key, float("inf")):
            yield f"{path}: {key} {_shown(old, key)} became {_shown(new, key)}"
    for key in _HIGHER_IS_NARROWER:
        if key in new and new[key] > old.get(key, float("-inf")):
            yield f"{path}: {key} {_shown(old, key)} became {_shown(new, key)}"
    for key in _KEPT:
        if old.get(key) and not new.get(key):
            yield f"{path}: is not {key} any more"
    for key in _NEVER:
        if new.get(key) and not old.get(key):
            yield f"{path}: is {key} now"
    for key in _ALTERNATIVES:
        if key in new and new[key] != old.get(key):
            yield f"{path}: {key} is another one"
    yield from _enum(old, new, path)
    yield from _rules(old, new, path)
    yield from _members(old, new, path)


def _shown(schema: Schema, key: str) -> str:
    return repr(schema[key]) if key in schema else "nothing"


def _enum(old: Schema, new: Schema, path: str) -> Iterator[str]:
    if "enum" not in new:
        return
    if "enum" not in old:
        yield f"{path}: only {', '.join(map(str, new['enum']))} now"
        return
    for value in old["enum"]:
        if value not in new["enum"]:
            yield f"{path}: {value!r} is no value any more"


def _rules(old: Schema, new: Schema, path: str) -> Iterator[str]:
    known = {rule["rule"] for rule in old.get("x-kubernetes-validations", ())}
    for rule in new.get("x-kubernetes-validations", ()):
        if rule["rule"] not in known:
            yield f"{path}: new rule {rule['rule']}"


def _members(old: Schema, new: Schema, path: str) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in new.get("required", ()):
        if name not in old.get("required", ()) and "default" not in after.get(name, {}):
            yield f"{path}.{name}: is required now"
    for name, field in before.items():
        if name in after:
            yield from _schema(field, after[name], f"{path}.{name}")
        elif not new.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.{name}: is gone"
    if "items" in old and "items" in new:
        yield from _schema(old["items"], new["items"], f"{path}[]")
    values, now = old.get("additionalProperties"), new.get("additionalProperties")
    if isinstance(values, Mapping) and isinstance(now, Mapping):
        yield from _schema(values, now, f"{path}.*")
    elif values and values != now and now is not True:
        yield f"{path}: takes no keys of the user's any more"


def definitions(folder: Path) -> dict[str, str]:
    """Texts of the definitions in a folder, by file name."""
    return {path.name: path.read_text() for path in sorted(folder.glob(f"{GROUP}_*.yaml"))}


if __name__ == "__main__":
    RELEASED.mkdir(exist_ok=True)
    for path in RELEASED.glob("*.yaml"):
        path.unlink()
    for name, text in definitions(CRDS).items():
        (RELEASED / name).write_text(text)
