"""What is neither a build nor a project: login, tokens, monitor, .repo files, redirects, health."""

import re
from datetime import UTC, datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from copr_operator.core.observed import ProjectView
from copr_operator.frontend import pages, present_project, repofile, tokens
from copr_operator.frontend.errors import CoprError, LoginError
from copr_operator.frontend.http import API, answer, path_number, query, route
from copr_operator.frontend.metrics import CONTENT_TYPE
from copr_operator.frontend.monitor import FIELDS, monitor
from copr_operator.frontend.reader import refused
from copr_operator.frontend.services import Services
from copr_operator.kube.client import ApiError


class GeneralRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.settings

    def routes(self) -> list[Route]:
        repo = "{dirname}/repo/{release}"
        return [
            route(API, self.root),
            route(f"{API}/auth-check", self.auth_check),
            route(f"{API}/api-token", self.api_token, "POST"),
            route(f"{API}/monitor", self.monitor),
            route(f"{API}/rpmrepo/{{owner}}/{{dirname}}/{{release}}", self.rpmrepo),
            route(f"/coprs/{{owner}}/{repo}", self.repo_file),
            route(f"/coprs/{{owner}}/{repo}/{{file}}", self.repo_file),
            route(f"/coprs/g/{{group}}/{repo}", self.repo_file),
            route(f"/coprs/g/{{group}}/{repo}/{{file}}", self.repo_file),
            route("/coprs/build/{id}", self.build_page),
            route("/backend/get-build-task/{task}", self.build_task),
            route("/coprs/{owner}/{dirname}", self.project_page),
            route("/coprs/g/{group}/{dirname}", self.project_page),
            route("/api", self.login_help),
            route("/results", self.results),
            route("/results/{path:path}", self.results),
            route("/healthz", self.healthz),
            route("/readyz", self.readyz),
            route("/metrics", self.metrics),
        ]

    async def root(self, _request: Request) -> Response:
        return answer({"version": 3})

    async def auth_check(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        return answer({"name": account.name, "id": present_project.number(account.name)})

    async def api_token(self, request: Request) -> Response:
        """A new token in place of the one that was used to ask for it, and that must still be there."""
        account = await self._services.auth.account(request)
        now = datetime.now(UTC)
        made = tokens.make(account.name, account.groups, admin=account.admin, now=now, days=self._settings.token_days)
        try:
            renewed = await self._services.secrets.renew(tokens.secret_name(account.login), made.secret)
        except ApiError as error:
            raise refused(error) from None
        if not renewed:
            raise LoginError(self._settings.frontend_url)
        expires = made.expires.strftime("%Y-%m-%d")
        return answer({"api_login": made.login, "api_token": made.token, "expiration": expires})

    async def monitor(self, request: Request) -> Response:
        wanted = request.query_params.getlist("additional_fields[]")
        if unknown := sorted(set(wanted) - set(FIELDS)):
            raise CoprError(400, f"Wrong additional_fields argument(s): {', '.join(unknown)[:500]}")
        project = await self._project(request, query(request, "ownername"), query(request, "projectname"))
        dirname = request.query_params.get("project_dirname") or project.spec.name
        builds = self._services.cache.of_project(project)
        if not self._has(project, dirname):
            name = f"{project.spec.owner}/{project.spec.name}"
            raise CoprError(404, f"Dirname '{dirname[:200]}' doesn't exist in '{name}' copr")
        chroots = {chroot.name for chroot in project.spec.chroots}
        packages = monitor(
            builds, dirname, chroots, set(wanted), self._settings.results_url, self._settings.frontend_url
        )
        return answer({"output": "ok", "message": "Project monitor request successful", "packages": packages})

    async def _project(self, request: Request, owner: str, name: str) -> ProjectView:
        return await self._services.reader.project(owner, name, self._services.auth.viewer(request))

    def _has(self, project: ProjectView, dirname: str) -> bool:
        """Whether the project has that directory: its own, or one that builds have made."""
        builds = self._services.cache.of_project(project)
        return dirname == project.spec.name or any(record.dirname == dirname for record in builds)

    # -- repositories for dnf ----------------------------------------------------------------------------------------

    async def repo_file(self, request: Request) -> Response:
        """What `dnf copr enable` fetches."""
        owner, dirname = _owner(request), str(request.path_params["dirname"])
        project = await self._project(request, owner, dirname.partition(":")[0])
        if not self._has(project, dirname):
            raise CoprError(404, f"copr dir {owner}/{dirname[:200]} does not exist.")
        text = repofile.repo_file(
            project, dirname, str(request.path_params["release"]), request.query_params.get("arch"),
            self._settings.results_url, self._settings.frontend_url,
        )  # fmt: skip
        return PlainTextResponse(text)

    async def rpmrepo(self, request: Request) -> Response:
        """What dnf5's copr plugin fetches."""
        owner, dirname = str(request.path_params["owner"]), str(request.path_params["dirname"])
        project = await self._project(request, owner, dirname.partition(":")[0])
        dirnames = {record.dirname for record in self._services.cache.of_project(project)}
        return answer(repofile.rpmrepo(project, dirnames, self._settings.results_url, self._settings.frontend_url))

    # -- elsewhere ---------------------------------------------------------------------------------------------------

    async def build_page(self, request: Request) -> Response:
        """The link that `copr-cli` prints."""
        record = await self._services.reader.build(path_number(request), self._services.auth.viewer(request))
        return HTMLResponse(pages.build_page(record.view, self._settings.results_url), headers=pages.HEADERS)

    async def build_task(self, request: Request) -> Response:
        """What Copr's builders fetch, and people to see what a build was told: `<build id>-<chroot>`."""
        task = str(request.path_params["task"])
        match = re.fullmatch(r"([0-9]{1,18})-(.+)", task)
        if match is None:
            raise CoprError(404, f"Build task {task[:100]} does not exist.")
        viewer = self._services.auth.viewer(request)
        view = (await self._services.reader.build(int(match[1]), viewer)).view
        project = await self._services.reader.project(view.spec.owner, view.spec.project, viewer)
        chroot = next((chroot for chroot in view.status.chroots if chroot.name == match[2]), None)
        if chroot is None:
            raise CoprError(404, f"Build task {task[:100]} does not exist.")
        return answer(present_project.build_task(view, project, chroot.name, self._settings.results_url))

    async def project_page(self, request: Request) -> Response:
        """The other link that it prints."""
        owner, dirname = _owner(request), str(request.path_params["dirname"])
        project = await self._project(request, owner, dirname.partition(":")[0])
        target = f"{self._settings.results_url}/results/{project.spec.owner}/{quote(dirname, safe=':')}/"
        return RedirectResponse(target, 302)

    async def login_help(self, _request: Request) -> Response:
        """Where the answer to a wrong login sends people (contract 1.2)."""
        return PlainTextResponse(
            "API tokens are made by the administrator of this installation (copr-operator token create NAME).\n"
            "Who has one that still works gets a new one with `copr-cli new-api-token`.\n"
        )

    async def results(self, request: Request) -> Response:
        """Results and logs are the backend's; the path is the same there."""
        path = request.scope.get("raw_path", b"/results").decode("ascii", errors="replace").partition("?")[0]
        if self._settings.results_url == self._settings.frontend_url or "\\" in path or "//" in path:
            raise CoprError(404, "Results are not served here.")
        return RedirectResponse(f"{self._settings.results_url}{path}", 302)

    async def metrics(self, _request: Request) -> Response:
        return Response(self._services.metrics.text(), media_type=CONTENT_TYPE)

    async def healthz(self, _request: Request) -> Response:
        """The event loop turns; no more, so that a slow API server doesn't get the frontend restarted."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        ready = self._services.ready
        return PlainTextResponse("ok\n" if ready else "starting or stopping\n", status_code=200 if ready else 503)


def _owner(request: Request) -> str:
    """`/coprs/g/GROUP/...` is what `/coprs/@GROUP/...` is."""
    group = request.path_params.get("group")
    return f"@{group}" if group is not None else str(request.path_params["owner"])
