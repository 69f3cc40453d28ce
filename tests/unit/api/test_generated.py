"""The CRDs are what the models say, and every field says what it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copr_operator.api.crd import KINDS, Kind, definition, write_all

CRDS = Path(__file__).resolve().parents[3] / "crds"


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        if "items" in field:
            yield from fields(field["items"], f"{path}.{name}[]")


def all_fields(kind: Kind) -> list[tuple[str, dict[str, Any]]]:
    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found = [
        (f"{kind.kind}.{part}", schema["properties"][part])
        for part in ("spec", "status")
        if part in schema["properties"]
    ]
    return found + [entry for path, part in list(found) for entry in fields(part, path)]


def test_the_committed_files_are_what_make_generate_writes(tmp_path: Path) -> None:
    written = {path.name: path.read_text() for path in write_all(tmp_path)}
    assert {path.name: path.read_text() for path in CRDS.iterdir()} == written


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_has_a_description(kind: Kind) -> None:
    assert [path for path, field in all_fields(kind) if not field.get("description", "").strip()] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_string_and_list_is_bounded(kind: Kind) -> None:
    unbounded = [
        path
        for path, field in all_fields(kind)
        if (field.get("type") == "string" and not {"maxLength", "enum"} & set(field))
        or (field.get("type") == "array" and "maxItems" not in field)
    ]
    assert unbounded == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_selectable_fields_stay_within_the_limit_of_the_api_server(kind: Kind) -> None:
    assert 0 < len(kind.selectable) <= 8
