"""`/api_3/build`: reading, cancelling and deleting builds (contract 4.1)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from copr_operator.api.build import ChrootStatus
from copr_operator.api.project import ProjectChroot
from copr_operator.core.observed import BuildView
from copr_operator.frontend import present, present_project
from copr_operator.frontend.body import read_small
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.fields import as_number
from copr_operator.frontend.http import API, answer, items, path_number, query, route
from copr_operator.frontend.paging import Page
from copr_operator.frontend.records import BuildRecord
from copr_operator.frontend.services import Services

BUILD = f"{API}/build"
ORDERS = ("id", "submitted_on", "started_on", "ended_on", "package_name", "state")
"""Accepted and echoed only: the newest build always comes first, as in Copr."""
MAX_DELETED = 10000


class BuildRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._reader = services.reader
        self._viewer = services.auth.viewer
        self._results_url = services.settings.results_url

    def routes(self) -> list[Route]:
        return [
            route(f"{BUILD}/list", self.list_builds),
            route(f"{BUILD}/source-chroot/{{id}}", self.source_chroot),
            route(f"{BUILD}/source-build-config/{{id}}", self.source_build_config),
            route(f"{BUILD}/built-packages/{{id}}", self.built_packages),
            route(f"{BUILD}/cancel/{{id}}", self.cancel, "PUT", deprecated="POST"),
            route(f"{BUILD}/delete/list", self.delete_list, "DELETE", deprecated="POST"),
            route(f"{BUILD}/delete/{{id}}", self.delete, "DELETE", deprecated="POST"),
            route(f"{BUILD}/{{id}}", self.get),
            route(f"{API}/build-chroot/list", self.chroot_list),
            route(f"{API}/build-chroot/list/{{build_id}}", self.chroot_list),
            route(f"{API}/build-chroot/build-config", self.chroot_build_config),
            route(f"{API}/build-chroot/build-config/{{build_id}}/{{chrootname}}", self.chroot_build_config),
            route(f"{API}/build-chroot/built-packages", self.chroot_built_packages),
            route(f"{API}/build-chroot", self.chroot),
            route(f"{API}/build-chroot/{{build_id}}/{{chrootname}}", self.chroot),
        ]

    # -- builds ------------------------------------------------------------------------------------------------------

    async def get(self, request: Request) -> Response:
        return answer((await self._build(request)).json)

    async def list_builds(self, request: Request) -> Response:
        """Newest first. Unlike Copr's, both `offset` and `limit` count the builds that `status` lets through."""
        for name in ("ownername", "projectname"):
            query(request, name)
        owner, name = request.query_params["ownername"], request.query_params["projectname"]
        page = Page.of(request.query_params, ORDERS)
        project = await self._reader.project(owner, name, self._viewer(request))
        package, state = request.query_params.get("packagename"), request.query_params.get("status")
        if not package and not state:
            cut: Sequence[BuildRecord] = self._services.cache.newest(project, page.offset, page.limit)
        else:
            everything = self._services.cache.newest(project, 0, None)
            cut = page.cut([r for r in everything if package in (None, "", r.package) and state in (None, "", r.state)])
        return items([record.json for record in cut], page.meta)

    async def source_chroot(self, request: Request) -> Response:
        return answer(present.source_chroot_json((await self._build(request)).view, self._results_url))

    async def source_build_config(self, request: Request) -> Response:
        record = await self._build(request)
        source = self._services.cache.source_of(record)
        return answer(present.source_build_config_json(record.view, source, self._services.sources))

    async def built_packages(self, request: Request) -> Response:
        view = (await self._build(request)).view
        found = await asyncio.gather(*(self._packages(view, chroot) for chroot in view.status.chroots))
        return answer({chroot.name: result for chroot, result in zip(view.status.chroots, found, strict=True)})

    async def cancel(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        record = await self._services.builds.cancel(account, await self._build(request))
        return answer(record.json)

    async def delete(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        record = await self._build(request)
        await self._services.builds.delete(account, record)
        return answer(record.json)

    async def delete_list(self, request: Request) -> Response:
        account = await self._services.auth.account(request)
        ids = _build_ids(await read_small(request, self._services.limits))
        await self._services.builds.delete_all(account, ids)
        return answer({"builds": ids})

    # -- chroots of builds -------------------------------------------------------------------------------------------

    async def chroot(self, request: Request) -> Response:
        view, chroot = await self._chroot(request)
        return answer(present.build_chroot_json(view, chroot, self._results_url))

    async def chroot_list(self, request: Request) -> Response:
        """An unknown build has an empty list, as in Copr."""
        page = Page.of(request.query_params, ("id", "name", "state", "started_on", "ended_on"))
        try:
            view = (await self._reader.build(_number(request, "build_id"), self._viewer(request))).view
        except CoprError as error:
            if error.status != 404:
                raise
            return answer({"items": [], "meta": page.meta})
        rows = [present.build_chroot_json(view, chroot, self._results_url) for chroot in view.status.chroots]
        if page.order != "id":
            rows = page.sort(rows, lambda row: (row[page.order] is None, row[page.order]))
        elif page.order_type == "DESC":
            rows.reverse()
        return answer({"items": list(page.cut(rows)), "meta": page.meta})

    async def chroot_built_packages(self, request: Request) -> Response:
        return answer(await self._packages(*await self._chroot(request)))

    async def chroot_build_config(self, request: Request) -> Response:
        """By the project as it is now, as in Copr."""
        view, chroot = await self._chroot(request)
        project = await self._reader.project(view.spec.owner, view.spec.project, self._viewer(request))
        settings = next((c for c in project.spec.chroots if c.name == chroot.name), ProjectChroot(name=chroot.name))
        return answer(present_project.build_chroot_config(view, project, settings, self._results_url))

    # -- shared ------------------------------------------------------------------------------------------------------

    async def _build(self, request: Request) -> BuildRecord:
        return await self._reader.build(path_number(request), self._viewer(request))

    async def _chroot(self, request: Request) -> tuple[BuildView, ChrootStatus]:
        """View of the build, and the status of its chroot. Raises CoprError 400, 404."""
        build_id, name = _number(request, "build_id"), query(request, "chrootname")
        view = (await self._reader.build(build_id, self._viewer(request))).view
        for chroot in view.status.chroots:
            if chroot.name == name:
                return view, chroot
        raise CoprError(404, f"Build {build_id} was not submitted to {name[:100]} chroot.")

    async def _packages(self, view: BuildView, chroot: ChrootStatus) -> dict[str, Any]:
        """Packages of a chroot (3.6); none before it has ended, or when the build failed there."""
        directory = present.result_dir(view, chroot)
        if directory is None or chroot.state != "succeeded":
            return {"packages": []}
        return {"packages": await self._services.backend.packages(directory)}


def _number(request: Request, name: str) -> int:
    number = as_number(query(request, name))
    if number is None:
        raise CoprError(400, f"{name} must be a number")
    return number


def _build_ids(values: Mapping[str, Any]) -> list[int]:
    """Raises CoprError 400 for what is no list of numbers (Copr: 500)."""
    given = values.get("builds")
    given = given.split() if isinstance(given, str) else given
    ids = [as_number(value) for value in given] if isinstance(given, list) else [None]
    if not ids or len(ids) > MAX_DELETED or None in ids:
        raise CoprError(400, f"builds must be a list of 1 to {MAX_DELETED} build ids")
    return [number for number in ids if number is not None]
