"""The OpenAPI document of the API, made from the code: routes, the fields that the forms read, the objects shown. Pure.

What a form reads is recorded by running it: a field that it starts to read is in the document at once.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.routing import Route

from copr_operator.api.build import MAX_TIMEOUT
from copr_operator.api.project import ProjectSpec, ProjectStatus
from copr_operator.core.config import SourceSettings
from copr_operator.core.observed import ProjectView
from copr_operator.core.views import build_view
from copr_operator.frontend import build_forms, present, present_project, project_forms, source_forms
from copr_operator.frontend.fields import Fields
from copr_operator.frontend.http import API
from copr_operator.frontend.packages import Package, package_json

Schema = dict[str, Any]
_CHROOT = "fedora-43-x86_64"
_PROJECT = ProjectSpec.model_validate({"owner": "user", "name": "project", "chroots": [{"name": _CHROOT}]})


class Recorder(Fields):
    """Has every field, and nothing in any of them; keeps what was asked for."""

    def __init__(self) -> None:
        super().__init__({})
        self.schema: dict[str, Schema] = {}
        self.required: list[str] = []

    def __contains__(self, name: str) -> bool:
        return True

    def rename(self, **new_names: str) -> "Recorder":
        return self

    def text(self, name: str, *, required: bool = False, longest: int = 4096, strip: bool = True) -> str | None:
        self._keep(name, {"type": "string", "maxLength": longest}, required)
        return None

    def matching(self, name: str, pattern: str, message: str, *, required: bool = False) -> str | None:
        self._keep(name, {"type": "string", "pattern": f"^{pattern}$"}, required)
        return None

    def words(self, name: str, *, most: int = 1000) -> list[str] | None:
        self._keep(name, {"type": "array", "items": {"type": "string"}, "maxItems": most})
        return None

    def number(self, name: str, lowest: int, highest: int) -> int | None:
        self._keep(name, {"type": "integer", "minimum": lowest, "maximum": highest})
        return None

    def flag(self, name: str) -> bool | None:
        self._keep(name, {"type": "boolean"})
        return None

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        self._keep(name, {"type": "string", "enum": [*choices]})
        return None

    def check(self) -> None:
        """Nothing is wrong with what isn't there."""

    def _keep(self, name: str, schema: Schema, required: bool = False) -> None:
        self.schema.setdefault(name, schema)
        if required and name not in self.required:
            self.required.append(name)


Reader = Callable[[Recorder], object]


def body_schema(*readers: Reader) -> Schema:
    """Of a request whose fields are read by these."""
    recorder = Recorder()
    for read in readers:
        read(recorder)
    schema: Schema = {"type": "object", "properties": recorder.schema}
    return {**schema, "required": recorder.required} if recorder.required else schema


def _named(fields: Recorder) -> None:
    fields.text("ownername", required=True)
    fields.text("projectname", required=True)


def _options(fields: Recorder) -> None:
    _named(fields)
    build_forms.options(fields, _PROJECT)
    build_forms.check_packit(fields, _PROJECT)


def _file(fields: Recorder) -> None:
    fields.schema["pkgs"] = {"type": "string", "format": "binary"}
    fields.required.append("pkgs")


def _builds(fields: Recorder) -> None:
    fields.schema["builds"] = {"type": "array", "items": {"type": "integer"}}
    fields.required.append("builds")


def _new_project(fields: Recorder) -> None:
    project_forms.new_name(fields)
    project_forms.read_settings(fields, (), ())
    fields.flag("persistent")


def _fork(fields: Recorder) -> None:
    project_forms.new_name(fields)
    fields.text("ownername")
    fields.flag("confirm")


def _package(fields: Recorder) -> None:
    for read in (source_forms.scm, _distgit, source_forms.pypi, source_forms.rubygems, _custom):
        read(fields)
    fields.required.clear()  # each belongs to its own type of source
    fields.flag("webhook_rebuild")
    fields.number("timeout", 0, MAX_TIMEOUT)
    fields.number("max_builds", 0, 100)
    fields.words("chroot_denylist", most=64)


def _distgit(fields: Fields) -> object:
    return source_forms.distgit(fields, ["fedora", "centos"])


def _custom(fields: Fields) -> object:
    return source_forms.custom(fields, ())


@dataclass(frozen=True)
class Operation:
    """What can't be seen in a route: its body, and the object that it answers."""

    answer: str = ""
    """A schema's name; with [] a list of them; empty: see the description."""
    body: tuple[Reader, ...] = ()
    multipart: bool = False
    query: tuple[str, ...] = ()


_PAGE = ("limit", "offset", "order", "order_type")
_NUMBERS = ("id", "build_id", "limit", "offset")
_OF_PROJECT = ("ownername", "projectname")
OPERATIONS: Mapping[str, Operation] = {
    "/build/list": Operation("Build[]", query=(*_OF_PROJECT, "packagename", "status", *_PAGE)),
    "/build/{id}": Operation("Build"),
    "/build/source-chroot/{id}": Operation("SourceChroot"),
    "/build/source-build-config/{id}": Operation("SourceBuildConfig"),
    "/build/cancel/{id}": Operation("Build"),
    "/build/delete/{id}": Operation("Build"),
    "/build/delete/list": Operation(body=(_builds,)),
    "/build/check-before-build": Operation(body=(_options,)),
    "/build/create/url": Operation("Build[]", (_options, build_forms.url_sources)),
    "/build/create/upload": Operation("Build", (_options, _file), multipart=True),
    "/build/create/scm": Operation("Build", (_options, source_forms.scm)),
    "/build/create/distgit": Operation("Build", (_options, _distgit)),
    "/build/create/pypi": Operation("Build", (_options, source_forms.pypi)),
    "/build/create/rubygems": Operation("Build", (_options, source_forms.rubygems)),
    "/build/create/custom": Operation("Build", (_options, _custom)),
    "/build-chroot": Operation("BuildChroot", query=("build_id", "chrootname")),
    "/build-chroot/{build_id}/{chrootname}": Operation("BuildChroot"),
    "/build-chroot/list": Operation("BuildChroot[]", query=("build_id", *_PAGE)),
    "/build-chroot/list/{build_id}": Operation("BuildChroot[]", query=_PAGE),
    "/build-chroot/build-config": Operation(query=("build_id", "chrootname")),
    "/build-chroot/build-config/{build_id}/{chrootname}": Operation(),
    "/build-chroot/built-packages": Operation(query=("build_id", "chrootname")),
    "/project": Operation("Project", query=_OF_PROJECT),
    "/project/list": Operation("Project[]", query=("ownername", *_PAGE)),
    "/project/search": Operation("Project[]", query=("query", *_PAGE)),
    "/project/add/{ownername}": Operation("Project", (_new_project,), query=("exist_ok",)),
    "/project/edit/{ownername}/{projectname}": Operation(
        "Project", (lambda fields: project_forms.read_settings(fields, (), ()),)
    ),
    "/project/fork/{ownername}/{projectname}": Operation("Project", (_fork,)),
    "/project/delete/{ownername}/{projectname}": Operation("Project", (project_forms.check_verified,)),
    "/project/regenerate-repos/{ownername}/{projectname}": Operation("Project"),
    "/project-chroot": Operation("ProjectChroot", query=(*_OF_PROJECT, "chrootname")),
    "/project-chroot/build-config": Operation(query=(*_OF_PROJECT, "chrootname")),
    "/project-chroot/edit/{ownername}/{projectname}/{chrootname}": Operation(
        "ProjectChroot", (lambda fields: project_forms.edited_chroot(fields, _PROJECT, _CHROOT, comps=False),),
        multipart=True,
    ),
    "/package": Operation("Package", query=(*_OF_PROJECT, "packagename", "with_latest_build",
                                            "with_latest_succeeded_build")),
    "/package/list": Operation("Package[]", query=(*_OF_PROJECT, "with_latest_build", "with_latest_succeeded_build",
                                                   *_PAGE)),
    "/package/add/{ownername}/{projectname}/{package_name}/{source_type}": Operation("Package", (_package,)),
    "/package/edit/{ownername}/{projectname}/{package_name}": Operation("Package", (_package,)),
    "/package/edit/{ownername}/{projectname}/{package_name}/{source_type}": Operation("Package", (_package,)),
    "/package/reset": Operation("Package", (_named, lambda fields: fields.text("package_name", required=True))),
    "/package/delete": Operation("Package", (_named, lambda fields: fields.text("package_name", required=True))),
    "/package/build": Operation("Build", (_options, lambda fields: fields.text("package_name", required=True))),
    "/webhook/generate/{ownername}/{projectname}": Operation(
        body=(lambda fields: fields.text("pagure_key", longest=256),)
    ),
    "/monitor": Operation(query=(*_OF_PROJECT, "project_dirname", "additional_fields[]")),
}  # fmt: skip


def document(routes: Iterable[Route], version: str) -> Schema:
    """OpenAPI 3.1."""
    paths: dict[str, Schema] = {}
    for route in routes:
        if route.path.startswith(f"{API}/"):
            path = route.path.removeprefix(API)
            operations = {m.lower(): _operation(route, path, m) for m in sorted(route.methods or ()) if m != "HEAD"}
            paths[path] = {**paths.get(path, {}), **operations}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Copr API v3 of copr-operator", "version": version, "description": "See docs/api.md."},
        "servers": [{"url": API}],
        "paths": paths,
        "components": {
            "schemas": {**_shown(), "Error": _schema_of({"error": "text"}), "Meta": _META},
            "securitySchemes": {"token": {"type": "http", "scheme": "basic", "description": "login and token"}},
        },
    }


def _operation(route: Route, path: str, method: str) -> Schema:
    operation, handler = OPERATIONS.get(path, Operation()), route.endpoint
    text = inspect.getdoc(getattr(handler, "handler", handler)) or ""
    found: Schema = {
        "operationId": f"{method.lower()}{re.sub('[^a-z0-9]+', '_', path)}",
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _parameter(name)}
              for name in re.findall(r"\{(\w+)\}", path)),
            *({"name": name, "in": "query", "schema": _parameter(name)} for name in operation.query),
        ],
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": _answer(operation.answer)}}},
            "default": {"description": "refused", "content": {"application/json": {"schema": _ref("Error")}}},
        },
    }  # fmt: skip
    if text:
        found["description"] = text
    if getattr(handler, "deprecated", None) == method:
        found["deprecated"] = True
    if operation.body:
        kind = "multipart/form-data" if operation.multipart else "application/json"
        found["requestBody"] = {"content": {kind: {"schema": body_schema(*operation.body)}}}
    if method != "GET" or path == "/auth-check" or path.startswith("/project/permissions/"):
        found["security"] = [{"token": []}]
    return found


def _parameter(name: str) -> Schema:
    return {"type": "integer", "minimum": 0} if name in _NUMBERS else {"type": "string"}


def _answer(name: str) -> Schema:
    if not name:
        return {"type": "object"}
    if not name.endswith("[]"):
        return _ref(name)
    items = {"items": {"type": "array", "items": _ref(name.removesuffix("[]"))}, "meta": _ref("Meta")}
    return {"type": "object", "properties": items, "required": ["items", "meta"]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_META: Schema = {
    "type": "object",
    "properties": {
        "limit": {"type": ["integer", "null"]}, "offset": {"type": ["integer", "null"]},
        "order": {"type": ["string", "null"]}, "order_type": {"type": ["string", "null"]},
    },
    "required": [*_PAGE],
}  # fmt: skip


def _shown() -> dict[str, Schema]:
    """Schemas of the objects that are shown, by showing one of each."""
    time = "2026-01-01T00:00:00Z"
    build = build_view(
        {
            "metadata": {"name": "x", "namespace": "x", "uid": "x", "creationTimestamp": time},
            "spec": {
                "owner": "user",
                "project": "project",
                "source": {"type": "link", "link": {"url": "http://x/y.spec"}},
            },
            "status": {"id": 1, "source": {"state": "pending"}, "chroots": [{"name": _CHROOT, "state": "pending"}]},
        }
    )
    moment = datetime.fromisoformat(time).astimezone(UTC)
    project = ProjectView("x", "x", "x", 1, "1", moment, _PROJECT, ProjectStatus())
    url = "http://x"
    return {
        "Build": _schema_of(present.build_json(build, url)),
        "SourceChroot": _schema_of(present.source_chroot_json(build, url)),
        "SourceBuildConfig": _schema_of(present.source_build_config_json(build, build.spec.source, SourceSettings())),
        "BuildChroot": _schema_of(present.build_chroot_json(build, build.status.chroots[0], url)),
        "Project": _schema_of(present_project.project_json(project, url)),
        "ProjectChroot": _schema_of(present_project.chroot_json(project, _PROJECT.chroots[0])),
        "Package": _schema_of(package_json(Package("x"), project, SourceSettings())),
    }


_TYPES = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "object", type(None): "null"}


def _schema_of(value: Mapping[str, Any]) -> Schema:
    """Every key is always there; what is null in the example may be anything, what is not may be null."""
    properties: dict[str, Schema] = {}
    for name, held in value.items():
        properties[name] = {} if held is None else {"type": [_TYPES[type(held)], "null"]}
    return {"type": "object", "properties": properties, "required": [*value]}
