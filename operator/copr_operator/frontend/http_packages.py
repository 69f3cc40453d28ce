"""`/api_3/package` (contract 8): packages that are built by their names."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from copr_operator.api.build import MAX_TIMEOUT
from copr_operator.api.package import PackageSpec
from copr_operator.core.observed import ProjectView
from copr_operator.frontend import build_forms, rights, source_forms
from copr_operator.frontend.body import form
from copr_operator.frontend.definitions import exists
from copr_operator.frontend.errors import CoprError, form_error
from copr_operator.frontend.fields import Fields
from copr_operator.frontend.http import API, answer, idempotency_key, query, route
from copr_operator.frontend.packages import (
    Package,
    build_options,
    edited_source,
    package_json,
)
from copr_operator.frontend.paging import Page
from copr_operator.frontend.services import Services
from copr_operator.frontend.tokens import Account
from copr_operator.frontend.viewer import viewer_of

PACKAGE = f"{API}/package"
MOST_WITHOUT_LIMIT = 10000
_NAMED = "{ownername}/{projectname}/{package_name}"
_RENAMED = {
    "script_builddeps": "builddeps", "script_resultdir": "resultdir", "script_chroot": "chroot",
    "script_repos": "repos", "source_build_method": "srpm_build_method",
}  # fmt: skip
_TRUE = ("True", "true", "1")


class PackageRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._reader = services.reader
        self._cache = services.cache

    def routes(self) -> list[Route]:
        return [
            route(PACKAGE, self.get),
            route(f"{PACKAGE}/list", self.list_packages),
            route(f"{PACKAGE}/add/{_NAMED}/{{source_type}}", self.add, "POST"),
            route(f"{PACKAGE}/edit/{_NAMED}", self.edit, "POST"),
            route(f"{PACKAGE}/edit/{_NAMED}/{{source_type}}", self.edit, "POST"),
            route(f"{PACKAGE}/reset", self.reset, "PUT", deprecated="POST"),
            route(f"{PACKAGE}/build", self.build, "POST"),
            route(f"{PACKAGE}/delete", self.delete, "DELETE", deprecated="POST"),
        ]

    # -- reading -----------------------------------------------------------------------------------------------------

    async def get(self, request: Request) -> Response:
        project = await self._project(request)
        package = await self._package(project, query(request, "packagename"))
        return answer(package_json(package, project, self._services.sources, **_with_builds(request)))

    async def list_packages(self, request: Request) -> Response:
        """Ordered by name; `order` id is echoed only, as ids are no numbers in a row here."""
        project = await self._project(request)
        page = Page.of(request.query_params, ("id", "name"))
        found = await self._reader.packages(project)
        if page.limit is None and len(found) > MOST_WITHOUT_LIMIT:
            text = f"Requests are limited to only {MOST_WITHOUT_LIMIT} packages at once."
            raise CoprError(413, f"Too many packages, please use pagination. {text}")
        cut = page.cut(page.sort(found.values(), lambda package: package.name))
        rows = [package_json(package, project, self._services.sources, **_with_builds(request)) for package in cut]
        return answer({"items": rows, "meta": page.meta})

    # -- changing ----------------------------------------------------------------------------------------------------

    async def add(self, request: Request) -> Response:
        project, values = await self._editable(request)
        name = str(request.path_params["package_name"])
        if any(record.spec.name == name for record in self._cache.packages_of(project)):
            raise exists(project, name)
        spec = self._spec(project, Package(name), str(request.path_params["source_type"]), values)
        await self._services.definitions.create(project, spec)
        return await self._shown(project, name)

    async def edit(self, request: Request) -> Response:
        """What is not given stays; a package that builds brought is defined by its first edit."""
        project, values = await self._editable(request)
        name = str(request.path_params["package_name"])
        package = (await self._reader.packages(project, name)).get(name)
        if package is None:
            text = f"Package {name[:100]} does not exists in copr {project.spec.owner}/{project.spec.name}."
            raise CoprError(404, text)

        def edited(package: Package) -> PackageSpec:
            kind = str(request.path_params.get("source_type") or (package.source.type if package.source else "unset"))
            return self._spec(project, package, kind, values)

        await self._write(project, package, edited)
        return await self._shown(project, name)

    async def reset(self, request: Request) -> Response:
        project, package = await self._named(request, "You are not allowed to reset package `{}`.")

        def emptied(package: Package) -> PackageSpec:
            held = package.spec or PackageSpec(owner=project.spec.owner, project=project.spec.name, name=package.name)
            return held.model_copy(update={"source": None})

        await self._write(project, package, emptied)
        return await self._shown(project, package.name)

    async def delete(self, request: Request) -> Response:
        """With all its builds, as in Copr."""
        account = await self._services.auth.account(request)
        project, package = await self._named(request, "You are not allowed to delete package `{}`.", account)
        shown = package_json(package, project, self._services.sources)
        if package.builds:
            await self._services.builds.delete_all(account, [record.id for record in package.builds])
        if package.defined is not None:
            await self._services.definitions.delete(package.defined)
        return answer(shown)

    async def build(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        async with form(request, self._services.limits) as sent:
            values = sent.fields
        project = await self._reader.project(*build_forms.project_name(values), viewer_of(account))
        package = await self._package(project, str(values.get("package_name") or ""))
        if not rights.can_build(account, project.spec):
            name = f"{project.spec.owner}/{project.spec.name}"
            raise CoprError(403, f"User {account.name} is not allowed to build in the copr: {name}")
        if package.source is None:
            raise CoprError(400, f"Unset default source for package {package.name}")
        options = build_options(project, package, values)
        source = package.source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        key = idempotency_key(request)
        records = await self._services.builds.create(account, project, options, [source], key)
        return answer(records[0].json)

    # -- shared ------------------------------------------------------------------------------------------------------

    async def _project(self, request: Request) -> ProjectView:
        viewer = self._services.auth.viewer(request)
        return await self._reader.project(query(request, "ownername"), query(request, "projectname"), viewer)

    async def _package(self, project: ProjectView, name: str) -> Package:
        package = (await self._reader.packages(project, name)).get(name)
        if package is None:
            raise CoprError(404, f"No package with name {name[:100]} in copr {project.spec.name}")
        return package

    async def _shown(self, project: ProjectView, name: str) -> Response:
        return answer(package_json(await self._package(project, name), project, self._services.sources))

    async def _editable(self, request: Request) -> tuple[ProjectView, Mapping[str, Any]]:
        account = await self._services.auth.account(request)
        async with form(request, self._services.limits) as sent:
            values = sent.fields
        project = await self._project(request)
        if not rights.can_edit(account, project.spec):
            raise CoprError(403, "You are not allowed to add or edit packages in this copr.")
        return project, values

    async def _named(
        self, request: Request, forbidden: str, account: Account | None = None
    ) -> tuple[ProjectView, Package]:
        """The package that the body names, for somebody who may change it."""
        account = account or await self._services.auth.account(request)
        async with form(request, self._services.limits) as sent:
            values = sent.fields
        project = await self._reader.project(*build_forms.project_name(values), viewer_of(account))
        package = await self._package(project, str(values.get("package_name") or ""))
        if not rights.can_edit(account, project.spec):
            raise CoprError(403, forbidden.format(package.name))
        return project, package

    def _spec(self, project: ProjectView, package: Package, kind: str, values: Mapping[str, Any]) -> PackageSpec:
        """The package as the request wants it; what it does not give stays as it was. Raises CoprError 400."""
        given = {_RENAMED.get(name, name): value for name, value in values.items() if value is not None}
        fields = Fields({**given, "package_name": package.name}, form_error)
        (source,) = self._source(kind)(fields)
        if package.source is not None and package.source.type == kind:
            fields.forgive_absent()
        old = package.spec.model_dump(mode="json", by_alias=True, exclude_none=True) if package.spec else {}
        spec = {
            **old, "owner": project.spec.owner, "project": project.spec.name, "name": package.name,
            "source": edited_source(package.source, source, given), **_settings(fields, given),
        }  # fmt: skip
        fields.check()
        try:
            return PackageSpec.model_validate(spec)
        except ValidationError as error:
            texts = {str(entry["loc"][-1]): [entry["msg"]] for entry in error.errors()[:20]}
            raise form_error(texts) from None

    def _source(self, kind: str) -> Callable[[Fields], list[dict[str, Any]]]:
        instances = [instance.name for instance in self._services.sources.dist_gits]
        kinds: dict[str, Callable[[Fields], list[dict[str, Any]]]] = {
            "scm": source_forms.scm,
            "distgit": lambda fields: source_forms.distgit(fields, instances),
            "pypi": source_forms.pypi,
            "rubygems": source_forms.rubygems,
            "custom": lambda fields: source_forms.custom(fields, self._cache.active_chroots()),
        }
        if kind not in kinds:
            raise CoprError(400, f"Unsupported package source type {kind[:100]}")
        return kinds[kind]

    async def _write(self, project: ProjectView, package: Package, change: Callable[[Package], PackageSpec]) -> None:
        """What `change` makes of the package; once more, of what it is now, when another replica was faster."""
        try:
            await self._write_once(project, package, change(package))
        except CoprError as error:
            if error.status != 409:
                raise
            package = await self._package(project, package.name)
            await self._write_once(project, package, change(package))

    async def _write_once(self, project: ProjectView, package: Package, spec: PackageSpec) -> None:
        if package.defined is None:
            await self._services.definitions.create(project, spec)
        else:
            await self._services.definitions.change(package.defined, spec)


def _with_builds(request: Request) -> dict[str, bool]:
    names_of = {"latest": "with_latest_build", "succeeded": "with_latest_succeeded_build"}
    return {name: request.query_params.get(parameter) in _TRUE for name, parameter in names_of.items()}


def _settings(fields: Fields, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is beside the source, as far as it was given."""
    settings: dict[str, Any] = {}
    if (rebuild := fields.flag("webhook_rebuild")) is not None:
        settings["autoRebuild"] = rebuild
    if "timeout" in given:
        settings["timeout"] = fields.number("timeout", 0, MAX_TIMEOUT) or None
    if "max_builds" in given:
        settings["maxBuilds"] = fields.number("max_builds", 0, 100)
    if "chroot_denylist" in given:
        text = " ".join(fields.words("chroot_denylist", most=64) or ()).replace(",", " ")
        settings["chrootDenylist"] = text.split()
    return settings
