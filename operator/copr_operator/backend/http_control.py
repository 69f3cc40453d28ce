"""`/control/v1` (the controller), `/uploads` (users), health and metrics."""

import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from copr_operator.backend.errors import HttpError
from copr_operator.backend.http_common import bearer, body, small_body
from copr_operator.backend.layout import FILE_NAME, PACKAGE_NAME, Repo, checked
from copr_operator.backend.metrics import CONTENT_TYPE
from copr_operator.backend.services import Services
from copr_operator.bodies import content_length
from copr_operator.core.wire import (
    CONTROL_PREFIX,
    CopyBuildRequest,
    ProjectRequest,
    RemoveBuildRequest,
    TakeSrpmRequest,
    WireModel,
)

T = TypeVar("T", bound=WireModel)
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_BODY = 64 * 1024


class ControlRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        repo = f"{CONTROL_PREFIX}/repos/{{owner}}/{{dirname}}/{{chroot}}"
        return [
            Route(repo, self.ensure_repo, methods=["PUT"]),
            Route(repo, self.remove_repo, methods=["DELETE"]),
            Route(f"{CONTROL_PREFIX}/projects/{{owner}}/{{project}}", self.set_privacy, methods=["PUT"]),
            Route(f"{CONTROL_PREFIX}/projects/{{owner}}/{{project}}", self.remove_project, methods=["DELETE"]),
            Route(f"{CONTROL_PREFIX}/builds/{{id}}/srpm", self.take_srpm, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/builds/{{id}}/remove", self.remove_build, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/builds/{{id}}/copy", self.copy_build, methods=["POST"]),
            Route(f"{CONTROL_PREFIX}/highest-id", self.highest_id, methods=["GET"]),
            Route("/uploads", self.upload, methods=["POST"]),
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def ensure_repo(self, request: Request) -> Response:
        await self._services.identities.require_controller(bearer(request))
        return _answer(await self._services.control.ensure_repo(_repo(request)))

    async def remove_repo(self, request: Request) -> Response:
        await self._services.identities.require_controller(bearer(request))
        return _answer(await self._services.control.remove_repo(_repo(request)))

    async def set_privacy(self, request: Request) -> Response:
        await self._services.identities.require_controller(bearer(request))
        owner = checked("owner", request.path_params["owner"])
        project = checked("project", request.path_params["project"])
        data = await small_body(request, _MAX_BODY, silence=self._services.settings.read_timeout)
        try:
            wanted = ProjectRequest.model_validate_json(data)
        except ValidationError as error:
            raise HttpError(400, f"not a ProjectRequest: {error.error_count()} errors") from None
        return _answer(await self._services.control.set_privacy(owner, project, wanted))

    async def remove_project(self, request: Request) -> Response:
        await self._services.identities.require_controller(bearer(request))
        owner = checked("owner", request.path_params["owner"])
        project = checked("project", request.path_params["project"])
        return _answer(await self._services.control.remove_project(owner, project))

    async def take_srpm(self, request: Request) -> Response:
        build_id, wanted = await self._of_build(request, TakeSrpmRequest)
        checked("owner", wanted.owner)
        checked("dirname", wanted.dirname)
        if wanted.of_build < 1 or not FILE_NAME.fullmatch(wanted.name):
            raise HttpError(400, "not a build's SRPM")
        return _answer(await self._services.control.take_srpm(build_id, wanted))

    async def remove_build(self, request: Request) -> Response:
        build_id, wanted = await self._of_build(request, RemoveBuildRequest)
        checked("owner", wanted.owner)
        checked("dirname", wanted.dirname)
        for chroot in wanted.chroots:
            checked("chroot", chroot)
        if wanted.package is not None and not PACKAGE_NAME.fullmatch(wanted.package):
            raise HttpError(400, "not the name of a package")
        return _answer(await self._services.control.remove_build(build_id, wanted))

    async def copy_build(self, request: Request) -> Response:
        build_id, wanted = await self._of_build(request, CopyBuildRequest)
        for owner, dirname in ((wanted.owner, wanted.dirname), (wanted.from_owner, wanted.from_dirname)):
            checked("owner", owner)
            checked("dirname", dirname)
        for chroot in wanted.chroots:
            checked("chroot", chroot)
        self._services.control.seen(build_id)
        return _answer(await self._services.forks.copy(build_id, wanted))

    async def _of_build(self, request: Request, model: type[T]) -> tuple[int, T]:
        """The build's id and what the controller wants of it. Raises HttpError 400, 401, 403."""
        await self._services.identities.require_controller(bearer(request))
        build_id = request.path_params["id"]
        if not re.fullmatch(r"[1-9][0-9]{0,17}", build_id):
            raise HttpError(400, "the build's id must be a number")
        data = await small_body(request, _MAX_BODY, silence=self._services.settings.read_timeout)
        try:
            return int(build_id), model.model_validate_json(data)
        except ValidationError as error:
            raise HttpError(400, f"not a {model.__name__}: {error.error_count()} errors") from None

    async def highest_id(self, request: Request) -> Response:
        await self._services.identities.require_controller(bearer(request))
        return JSONResponse({"id": self._services.control.highest_id()})

    async def upload(self, request: Request) -> Response:
        namespace = request.query_params.get("namespace", "")
        if not _NAMESPACE.fullmatch(namespace):
            raise HttpError(400, "namespace must be the name of a namespace")
        await self._services.identities.require(bearer(request), "create", namespace)
        settings = self._services.settings
        announced = content_length(request)
        self._services.require_space(announced or 0)
        data = body(
            request,
            settings.max_upload_bytes,
            silence=settings.read_timeout,
            count=self._services.metrics.received_bytes.inc,
            reason="SourceRefused",
        )
        size = settings.max_upload_bytes if announced is None else announced
        name = request.query_params.get("filename", "")
        return JSONResponse(await self._services.uploads.add(namespace, name, data, size))

    async def healthz(self, _request: Request) -> Response:
        """The event loop turns; no more, so that a slow API server or disk doesn't get the backend restarted."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        ready = self._services.ready
        return PlainTextResponse("ok\n" if ready else "starting or stopping\n", status_code=200 if ready else 503)

    async def metrics(self, _request: Request) -> Response:
        return Response(self._services.metrics.text(), media_type=CONTENT_TYPE)


def _build_id(request: Request) -> int:
    text: str = request.path_params["id"]
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text):
        raise HttpError(400, "the build's id must be a number")
    return int(text)


def _repo(request: Request) -> Repo:
    parts = request.path_params
    return Repo.of(parts["owner"], parts["dirname"], parts["chroot"])


def _answer(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")
