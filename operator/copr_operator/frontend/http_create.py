"""`/api_3/build/create/...` and `check-before-build` (contract 4.2, 4.3)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from copr_operator.core.observed import ProjectView
from copr_operator.frontend import build_forms, rights, source_forms
from copr_operator.frontend.body import form
from copr_operator.frontend.build_forms import BuildOptions
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.fields import Fields
from copr_operator.frontend.http import Handler, answer, idempotency_key, items, route
from copr_operator.frontend.http_builds import BUILD
from copr_operator.frontend.paging import NO_META
from copr_operator.frontend.records import BuildRecord
from copr_operator.frontend.services import Services
from copr_operator.frontend.tokens import Account
from copr_operator.frontend.viewer import viewer_of

Sources = Callable[[Fields], Sequence[Mapping[str, Any]]]


class CreateRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._uploads = asyncio.Semaphore(services.settings.max_uploads)

    def routes(self) -> list[Route]:
        return [
            route(f"{BUILD}/check-before-build", self.check_before_build, "POST"),
            route(f"{BUILD}/create/url", self.url, "POST"),
            route(f"{BUILD}/create/upload", self.upload, "POST"),
            *(
                route(f"{BUILD}/create/{kind}", self._one_build(sources), "POST")
                for kind, sources in self._kinds().items()
            ),
        ]

    def _kinds(self) -> dict[str, Sources]:
        """Ways to create one build from fields alone."""
        instances = [instance.name for instance in self._services.sources.dist_gits]
        return {
            "scm": source_forms.scm,
            "distgit": lambda fields: source_forms.distgit(fields, instances),
            "pypi": source_forms.pypi,
            "rubygems": source_forms.rubygems,
            "custom": lambda fields: source_forms.custom(fields, self._services.cache.active_chroots()),
        }

    def _one_build(self, sources: Sources) -> Handler:
        async def create(request: Request) -> Response:
            return answer((await self._create(request, sources))[0].json)

        return create

    async def check_before_build(self, request: Request) -> Response:
        """Says what a create would say, and does nothing."""
        account = await self._services.auth.account(request)
        async with form(request, self._services.limits) as sent:
            project = await self._project(account, sent.fields)
            _require(account, project, "User '{user}' is not allowed to build in '{project}'")
            fields = Fields(sent.fields)
            await self._services.builds.batch(account, project, _options(fields, project))
        return answer({"message": "It should be safe to submit a build like this"})

    async def url(self, request: Request) -> Response:
        """One build for each URL; the answer is a list."""
        records = await self._create(request, build_forms.url_sources)
        return items([record.json for record in records], NO_META)

    async def upload(self, request: Request) -> Response:
        """The file comes before the fields, so it is kept on disk until they say what it is for."""
        account = await self._services.auth.account(request)
        if self._uploads.locked():
            raise CoprError(503, "Too many uploads at the same time; try again.", {"Retry-After": "10"})
        with self._services.metrics.uploads.track_inprogress():
            return await self._upload(request, account)

    async def _upload(self, request: Request, account: Account) -> Response:
        limits = self._services.limits
        async with self._uploads, form(request, limits, file=limits.file) as sent:
            project = await self._project(account, sent.fields)
            fields = Fields(sent.fields)
            file = sent.files.get("pkgs")
            problem = build_forms.upload_problem(file.filename if file is not None else None)
            if problem is not None:
                fields.problem("pkgs", problem)
            options = _options(fields, project)
            _require(account, project)
            await self._services.builds.batch(account, project, options)  # before a file is kept that nobody builds
            assert file is not None  # noqa: S101 (that would have been a problem)
            ref, sha256 = await self._services.backend.upload(project.namespace, file)
            source = build_forms.upload_source(ref, sha256)
            records = await self._services.builds.create(account, project, options, [source], idempotency_key(request))
        return answer(records[0].json)

    async def _create(self, request: Request, sources: Sources) -> list[BuildRecord]:
        account = await self._services.auth.account(request)
        async with form(request, self._services.limits) as sent:
            project = await self._project(account, sent.fields)
            fields = Fields(sent.fields)
            wanted = sources(fields)
            options = _options(fields, project)
        _require(account, project)
        return await self._services.builds.create(account, project, options, wanted, idempotency_key(request))

    async def _project(self, account: Account, values: Mapping[str, Any]) -> ProjectView:
        return await self._services.reader.project(*build_forms.project_name(values), viewer_of(account))


def _options(fields: Fields, project: ProjectView) -> BuildOptions:
    """Raises CoprError 400 for all that is wrong with the request."""
    options = build_forms.options(fields, project.spec)
    fields.check()
    build_forms.check_packit(fields, project.spec)
    return options


def _require(
    account: Account, project: ProjectView, text: str = "User {user} is not allowed to build in the copr: {project}"
) -> None:
    if not rights.can_build(account, project.spec):
        name = f"{project.spec.owner}/{project.spec.name}"
        raise CoprError(403, text.format(user=account.name, project=name))
