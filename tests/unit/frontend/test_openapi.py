"""The OpenAPI document says what the code does."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from copr_operator.frontend.app import make_app
from copr_operator.frontend.http import API, WithoutSlashes
from copr_operator.frontend.openapi import OPERATIONS, document
from copr_operator.frontend.services import Services
from copr_operator.frontend.settings import FrontendSettings
from tests.unit.frontend.test_present import SUCCEEDED, build, shown


def routes() -> list[Route]:
    settings = FrontendSettings(namespace="ns", backend_url="http://b", results_url="http://b")
    app = make_app(Services(settings, None))  # type: ignore[arg-type]
    assert isinstance(app, WithoutSlashes)
    assert isinstance(app._app, Starlette)
    return [route for route in app._app.routes if isinstance(route, Route)]


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(document(routes(), "1")))
    return found


def test_every_route_of_the_api_is_described_with_its_methods(described: dict[str, Any]) -> None:
    expected: dict[str, set[str]] = {}
    for route in routes():
        if route.path.startswith(f"{API}/"):
            methods = {method.lower() for method in route.methods or ()} - {"head"}
            expected.setdefault(route.path.removeprefix(API), set()).update(methods)
    assert {path: set(operations) for path, operations in described["paths"].items()} == expected


def test_nothing_is_said_of_routes_that_are_not_there(described: dict[str, Any]) -> None:
    assert set(OPERATIONS) <= set(described["paths"])


def test_operations_have_names_of_their_own(described: dict[str, Any]) -> None:
    names = [
        operation["operationId"] for operations in described["paths"].values() for operation in operations.values()
    ]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert set(references(described)) <= known


def body(described: dict[str, Any], path: str, kind: str = "application/json") -> dict[str, Any]:
    schema: dict[str, Any] = described["paths"][path]["post"]["requestBody"]["content"][kind]["schema"]
    return schema


def test_bodies_have_the_fields_that_the_forms_read(described: dict[str, Any]) -> None:
    pypi = body(described, "/build/create/pypi")
    assert {"ownername", "projectname", "chroots", "timeout", "pypi_package_name", "python_versions"} <= set(
        pypi["properties"]
    )
    assert pypi["required"] == ["ownername", "projectname", "pypi_package_name"]
    assert pypi["properties"]["spec_generator"] == {"type": "string", "enum": ["pyp2spec", "pyp2rpm"]}
    assert pypi["properties"]["timeout"] == {"type": "integer", "minimum": 0, "maximum": 180000}
    upload = body(described, "/build/create/upload", "multipart/form-data")
    assert upload["properties"]["pkgs"] == {"type": "string", "format": "binary"}
    project = body(described, "/project/add/{ownername}")
    assert {"name", "chroots", "description", "repo_priority", "persistent", "storage"} <= set(project["properties"])


def test_what_changes_something_needs_a_token_and_what_is_read_does_not(described: dict[str, Any]) -> None:
    assert "security" not in described["paths"]["/build/{id}"]["get"]
    cancel = described["paths"]["/build/cancel/{id}"]
    assert cancel["put"]["security"] == [{"token": []}]
    assert (cancel["post"].get("deprecated"), cancel["put"].get("deprecated")) == (True, None)


def test_the_build_is_described_with_the_keys_that_it_has(described: dict[str, Any]) -> None:
    schema = described["components"]["schemas"]["Build"]
    assert schema["required"] == list(shown(build(status=SUCCEEDED)))
