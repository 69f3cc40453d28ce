"""`/api_3/project`, `/api_3/project-chroot` and `/api_3/mock-chroots` (contract 8)."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from copr_operator.api.project import ProjectChroot, ProjectSpec
from copr_operator.core.observed import ProjectView
from copr_operator.frontend import present_project, project_forms, rights
from copr_operator.frontend.body import form, read_small
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.http import API, answer, query, route
from copr_operator.frontend.paging import Page
from copr_operator.frontend.projects import name_taken
from copr_operator.frontend.services import Services
from copr_operator.frontend.tokens import Account

PROJECT = f"{API}/project"
_NAMED = "{ownername}/{projectname}"


class ProjectRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._reader = services.reader
        self._projects = services.projects
        self._cache = services.cache
        self._results_url = services.settings.results_url

    def routes(self) -> list[Route]:
        permissions = f"{PROJECT}/permissions"
        return [
            route(PROJECT, self.get),
            route(f"{PROJECT}/list", self.list_projects),
            route(f"{PROJECT}/search", self.search),
            route(f"{PROJECT}/add/{{ownername}}", self.add, "POST"),
            route(f"{PROJECT}/edit/{_NAMED}", self.edit, "PUT", deprecated="POST"),
            route(f"{PROJECT}/fork/{_NAMED}", self.fork, "POST", deprecated="PUT"),
            route(f"{PROJECT}/delete/{_NAMED}", self.delete, "DELETE", deprecated="POST"),
            route(f"{PROJECT}/regenerate-repos/{_NAMED}", self.regenerate_repos, "PUT", deprecated="POST"),
            route(f"{permissions}/get/{_NAMED}", self.permissions_get),
            route(f"{permissions}/set/{_NAMED}", self.permissions_set, "PUT", deprecated="POST"),
            route(f"{permissions}/request/{_NAMED}", self.permissions_request, "PUT", deprecated="POST"),
            route(f"{permissions}/can_build_in/{{who}}/{_NAMED}", self.can_build_in),
            route(f"{API}/project-chroot", self.chroot),
            route(f"{API}/project-chroot/build-config", self.chroot_build_config),
            route(f"{API}/project-chroot/edit/{_NAMED}/{{chrootname}}", self.edit_chroot, "PUT", deprecated="POST"),
            route(f"{API}/mock-chroots/list", self.mock_chroots),
        ]

    # -- reading -----------------------------------------------------------------------------------------------------

    async def get(self, request: Request) -> Response:
        return self._answer(await self._project(request))

    async def list_projects(self, request: Request) -> Response:
        owner = request.query_params.get("ownername")
        projects = await self._visible(request)
        found = [
            project
            for project in projects
            if (project.spec.owner == owner if owner else not project.spec.api_settings.unlisted_on_hp)
        ]
        return self._page(request, found)

    async def search(self, request: Request) -> Response:
        """Projects with the text in their full name or description, whatever its case."""
        text = query(request, "query").strip().lower()
        projects = await self._visible(request)
        found = [
            project
            for project in projects
            if not project.spec.api_settings.unlisted_on_hp
            and text in f"{project.spec.owner}/{project.spec.name}\n{project.spec.description}".lower()
        ]
        return self._page(request, found)

    async def mock_chroots(self, _request: Request) -> Response:
        """Name to comment, which chroots have none of here."""
        return answer(dict.fromkeys(self._cache.active_chroots(), ""))

    # -- changing ----------------------------------------------------------------------------------------------------

    async def add(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        owner = str(request.path_params["ownername"])
        if not (account.admin or rights.owns(account, owner)):
            what = "are not a member of the group" if owner.startswith("@") else "can't create projects for"
            raise CoprError(403, f"You {what} {owner[:101]}.")
        async with form(request, self._services.limits) as sent:
            fields = project_forms.fields_of(sent.fields)
        name = project_forms.new_name(fields)
        exist_ok = request.query_params.get("exist_ok") == "True"
        existing = await self._reader.find_project(owner, name) if name is not None else None
        if existing is not None:
            if exist_ok:
                return self._answer(existing)
            raise name_taken(owner, existing.spec.name)
        if fields.flag("persistent") and not account.admin:
            raise CoprError(403, "Non-admin user cannot create persistent projects.")
        spec = project_forms.new_project(fields, owner, name or "", self._cache.active_chroots())
        return self._answer(await self._projects.create(spec, exist_ok=exist_ok))

    async def edit(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        async with form(request, self._services.limits) as sent:
            values = sent.fields
        project = await self._project(request)
        _require_edit(account, project, "Only owners and admins may update their projects.")

        def change(old: ProjectSpec) -> ProjectSpec:
            new = project_forms.edited_project(project_forms.fields_of(values), old, self._cache.active_chroots())
            self._projects.require_chroots_idle(project, new)
            return new

        return self._answer(await self._projects.change(project, change))

    async def fork(self, request: Request) -> Response:
        """A project with the same settings, chroots, package definitions, and the newest results of each package."""
        account = await self._services.auth.account(request)
        fields = project_forms.fields_of(await read_small(request, self._services.limits))
        source = await self._project(request)
        name, owner = project_forms.new_name(fields), fields.text("ownername") or account.name
        fields.check()
        if not (account.admin or rights.owns(account, owner)):
            raise CoprError(404, f"There is no such group: {owner[:101]}")
        target = await self._reader.find_project(owner, name or "")
        if target is None:
            spec = project_forms.forked_project(source.spec, owner, name or "")
            target = await self._projects.create(spec)
        elif not fields.flag("confirm"):
            raise CoprError(
                400,
                f"You are about to fork into existing project: {name}\n"
                "Please use --confirm if you really want to do this",
            )
        elif target.uid == source.uid:
            raise CoprError(400, "Source project should not be same as destination")
        await self._services.definitions.copy(source, target)
        await self._services.builds.fork(account, source, target)
        return self._answer(target)

    async def delete(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        fields = project_forms.fields_of(await read_small(request, self._services.limits))
        project = await self._project(request)
        project_forms.check_verified(fields)
        await self._projects.delete(account, project)
        return self._answer(project)

    async def regenerate_repos(self, request: Request) -> Response:
        """Nothing is left to be done: here no repository can be behind its packages (docs/api.md)."""
        account = await self._services.auth.account(request)
        project = await self._project(request)
        _require_edit(account, project, "Only owners and admins may update their projects.")
        return self._answer(project)

    # -- permissions -------------------------------------------------------------------------------------------------

    async def permissions_get(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        project = await self._project(request)
        name = f"{project.spec.owner}/{project.spec.name}"
        text = f"User '{account.name}' can not see permissions for project '{name}' (missing admin rights)"
        _require_edit(account, project, text)
        if not project.spec.permissions:
            raise CoprError(404, f"No permissions set on {name} project")
        found = {entry.user: {"admin": entry.admin, "builder": entry.builder} for entry in project.spec.permissions}
        return answer({"permissions": found})

    async def permissions_set(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        values = await read_small(request, self._services.limits)
        project = await self._project(request)
        _require_edit(account, project, "only owners and admins may update their projects permissions.")
        return answer({"updated": await self._change_permissions(project, values, None)})

    async def permissions_request(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        values = await read_small(request, self._services.limits)
        updated = await self._change_permissions(await self._project(request), values, account.name)
        return answer({"updated": bool(updated)})

    async def can_build_in(self, request: Request) -> Response:
        """For somebody else, by what the project says: groups of others are known only while they log in."""
        asking = await self._services.auth.account(request)
        who = str(request.path_params["who"])
        project = await self._project(request)
        account = asking if who == asking.name else Account(who)
        return answer(
            {
                "who": who,
                "ownername": project.spec.owner,
                "projectname": project.spec.name,
                "can_build_in": rights.can_build(account, project.spec),
            }
        )

    async def _change_permissions(
        self, project: ProjectView, values: Mapping[str, Any], requester: str | None
    ) -> list[str]:
        updated: list[str] = []

        def change(old: ProjectSpec) -> ProjectSpec:
            if requester is None:
                new, users = project_forms.changed_permissions(values, old)
            else:
                new, users = project_forms.requested_permissions(values, requester, old)
            updated[:] = users
            return new

        await self._projects.change(project, change)
        return updated

    # -- chroots of projects -----------------------------------------------------------------------------------------

    async def chroot(self, request: Request) -> Response:
        project = await self._project(request)
        return answer(present_project.chroot_json(project, _chroot(request, project)))

    async def chroot_build_config(self, request: Request) -> Response:
        project = await self._project(request)
        return answer(present_project.chroot_build_config(project, _chroot(request, project), self._results_url))

    async def edit_chroot(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        limits = self._services.limits
        async with form(request, limits, file=limits.body) as sent:
            values, comps = sent.fields, "upload_comps" in sent.files
        project = await self._project(request)
        _require_edit(account, project, "Only owners and admins may update their projects.")
        name = _chroot(request, project).name

        def change(old: ProjectSpec) -> ProjectSpec:
            if not any(chroot.name == name for chroot in old.chroots):
                raise _no_chroot(project, name)
            return project_forms.edited_chroot(project_forms.fields_of(values), old, name, comps=comps)

        changed = await self._projects.change(project, change)
        return answer(present_project.chroot_json(changed, _chroot(request, changed)))

    # -- shared ------------------------------------------------------------------------------------------------------

    async def _project(self, request: Request) -> ProjectView:
        viewer = self._services.auth.viewer(request)
        return await self._reader.project(query(request, "ownername"), query(request, "projectname"), viewer)

    async def _visible(self, request: Request) -> list[ProjectView]:
        return await self._reader.visible(self._cache.projects(), self._services.auth.viewer(request))

    def _answer(self, project: ProjectView) -> Response:
        return answer(present_project.project_json(project, self._results_url))

    def _page(self, request: Request, found: list[ProjectView]) -> Response:
        """Ids are no numbers in a row here: ordered by them, the older project comes first."""
        page = Page.of(request.query_params, ("id", "name", "ownername"))
        keys = {
            "id": lambda project: (project.created, project.uid),
            "name": lambda project: (project.spec.name, project.spec.owner),
            "ownername": lambda project: (project.spec.owner, project.spec.name),
        }
        cut = page.cut(page.sort(found, keys[page.order]))
        rows = [present_project.project_json(project, self._results_url) for project in cut]
        return answer({"items": rows, "meta": page.meta})


def _require_edit(account: Account, project: ProjectView, text: str) -> None:
    if not rights.can_edit(account, project.spec):
        raise CoprError(403, text)


def _chroot(request: Request, project: ProjectView) -> ProjectChroot:
    name = query(request, "chrootname")
    for chroot in project.spec.chroots:
        if chroot.name == name:
            return chroot
    raise _no_chroot(project, name)


def _no_chroot(project: ProjectView, name: str) -> CoprError:
    return CoprError(404, f"Chroot {name[:100]} does not exist in {project.spec.owner}/{project.spec.name}.")
