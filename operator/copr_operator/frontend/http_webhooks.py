"""`/webhooks/...`: code forges and scripts that have packages built, and the secret that lets them."""

import asyncio
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from copr_operator.api.sources import SourceSpec, UploadSpec
from copr_operator.core import names
from copr_operator.core.observed import ProjectView
from copr_operator.frontend import events, rights, webhooks
from copr_operator.frontend.body import SpooledFile, parse_json_object, read_bytes, read_small
from copr_operator.frontend.errors import CoprError, form_error
from copr_operator.frontend.fields import Fields
from copr_operator.frontend.http import API, answer, idempotency_key, query, route
from copr_operator.frontend.packages import Package, build_options
from copr_operator.frontend.present_project import number
from copr_operator.frontend.reader import refused
from copr_operator.frontend.records import BuildRecord
from copr_operator.frontend.services import Services
from copr_operator.kube.client import ApiError

MAX_EVENT = 8 * 1024**2
_OPTIONS: Mapping[str, Any] = {"background": True}
"""Builds by webhooks give way to those that people wait for, as in Copr."""


class WebhookRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [
            route(f"{API}/webhook/generate/{{ownername}}/{{projectname}}", self.generate, "POST"),
            route("/webhooks/custom/{id}/{secret}/{package}", self.custom, "POST"),
            route("/webhooks/custom-dir/{owner}/{dirname}/{secret}/{package}", self.custom_dir, "POST"),
            route("/webhooks/{forge}/{id}/{secret}", self.forge, "POST"),
            route("/webhooks/{forge}/{id}/{secret}/{package}", self.forge, "POST"),
        ]

    async def generate(self, request: Request) -> Response:
        """A new secret; the one before it is lost. `pagure_key`: what Pagure signs its events with."""
        account = await self._services.auth.account(request)
        fields = Fields(await read_small(request, self._services.limits), form_error)
        key = fields.text("pagure_key", longest=256)
        fields.check()
        viewer = self._services.auth.viewer(request)
        project = await self._services.reader.project(
            query(request, "ownername"), query(request, "projectname"), viewer
        )
        full_name = f"{project.spec.owner}/{project.spec.name}"
        if not rights.can_edit(account, project.spec):
            raise CoprError(
                403, f"User '{account.name}' can not see permissions for project '{full_name}' (missing admin rights)"
            )
        secret, manifest = webhooks.new_secret(project.uid, key)
        try:
            await self._services.secrets.replace(manifest)
        except ApiError as error:
            if error.conflict:
                raise CoprError(409, "Somebody else gets a new secret at the same time; try again.") from None
            raise refused(error) from None
        return answer(
            {
                "id": number(project.uid), "name": project.spec.name, "ownername": project.spec.owner,
                "full_name": full_name, "webhook_secret": secret,
            }
        )  # fmt: skip

    async def forge(self, request: Request) -> Response:
        """The ids of the builds that the event brings; an event that is sent again brings the same builds.

        One package that can't be built does not stop the others, unless it may be built later: then the forge hears of
        a failure, so that it sends the event again.
        """
        forge, secret = str(request.path_params["forge"]), str(request.path_params["secret"])
        if forge not in events.FORGES:
            raise CoprError(404, "There is no such webhook.")
        project, kept = await self._project(request, secret)
        data = await read_bytes(request, MAX_EVENT, self._services.limits.silence)
        right = (
            webhooks.signed_by_pagure(request.headers, data, webhooks.pagure_key(kept))
            if forge == "pagure" else webhooks.signed(request.headers, data, secret)
        )  # fmt: skip
        if not right:
            raise CoprError(403, "The signature is not made with the webhook's secret.")
        if request.headers.get("x-github-event") == "ping":
            return answer({"builds": []})
        event = events.parse(forge, request.headers, _payload(request, data))
        wanted: list[webhooks.Rebuild] = []
        if event is not None:
            name = request.path_params.get("package")
            packages = await self._services.reader.packages(project, name)
            wanted = webhooks.concerned(packages.values(), event, name, self._services.sources)
        delivery = webhooks.delivery(request.headers, event)
        found = await asyncio.gather(*(self._rebuild(project, one, delivery) for one in wanted), return_exceptions=True)
        builds = [one.id for one in found if isinstance(one, BuildRecord)]
        failed = {
            one.package.name: error
            for one, error in zip(wanted, found, strict=True)
            if isinstance(error, BaseException)
        }
        later = [error for error in failed.values() if not isinstance(error, CoprError) or error.status == 503]
        if later or (failed and not builds):
            raise (later or list(failed.values()))[0]
        texts = {name: str(error) for name, error in failed.items()}
        return answer({"builds": builds, **({"failed": texts} if texts else {})})

    async def _rebuild(self, project: ProjectView, wanted: webhooks.Rebuild, delivery: str | None) -> BuildRecord:
        name = project.spec.name
        dirname = f"{name}:{wanted.directory}" if wanted.directory is not None else name
        return await self._build(project, wanted.package, wanted.source, delivery, dirname)

    async def custom(self, request: Request) -> Response:
        """Builds the named package from its own source; the answer is the build's id, for scripts."""
        project = self._numbered(request)
        return await self._custom(request, project, project.spec.name if project is not None else "")

    async def custom_dir(self, request: Request) -> Response:
        owner, dirname = str(request.path_params["owner"]), str(request.path_params["dirname"])
        project = await self._services.reader.find_project(owner, dirname.partition(":")[0])
        return await self._custom(request, project, dirname)

    async def _custom(self, request: Request, project: ProjectView | None, dirname: str) -> Response:
        """Errors are words for scripts, as in Copr."""
        kept = None
        if project is not None:
            kept = await self._kept(project, str(request.path_params["secret"]))
        if project is None or (kept is None and project.spec.private):
            return PlainTextResponse("PROJECT_NOT_FOUND\n", 404)
        if kept is None:
            return PlainTextResponse("BAD_UUID\n", 403)
        data = await read_bytes(request, MAX_EVENT, self._services.limits.silence)
        if request.headers.get("x-github-event") == "ping":
            return PlainTextResponse("SKIPPED\n")
        name = str(request.path_params["package"])
        package = (await self._services.reader.packages(project, name)).get(name)
        if package is None:
            return PlainTextResponse("PACKAGE_NOT_FOUND\n", 404)
        if package.source is None:
            return PlainTextResponse("BUILD_REQUEST_ERROR\n", 400)
        key = idempotency_key(request) or webhooks.delivery(request.headers)
        source = await self._with_payload(project, package.source, data)
        record = await self._build(project, package, source, key, dirname)
        return PlainTextResponse(f"{record.id}\n")

    # -- shared ------------------------------------------------------------------------------------------------------

    async def _with_payload(self, project: ProjectView, source: SourceSpec, data: bytes) -> SourceSpec:
        """A script finds in a file what its webhook was called with (Copr's custom_source_method.rst)."""
        if source.custom is None or not data:
            return source
        file = SpooledFile(names.HOOK_PAYLOAD, io.BytesIO(data), len(data), hashlib.sha256(data))
        ref, sha256 = await self._services.backend.upload(project.namespace, file)
        custom = source.custom.model_copy(update={"hook_payload": UploadSpec(ref=ref, sha256=sha256)})
        return source.model_copy(update={"custom": custom})

    def _numbered(self, request: Request) -> ProjectView | None:
        """By the number in the URL."""
        text = str(request.path_params["id"])
        known = text.isascii() and text.isdigit() and len(text) <= 18
        return self._services.cache.project_by_number(int(text)) if known else None

    async def _project(self, request: Request, secret: str) -> tuple[ProjectView, dict[str, Any]]:
        """The project, and what is kept of its webhook. Raises CoprError 403, also when there is none."""
        project = self._numbered(request)
        kept = await self._kept(project, secret) if project is not None else None
        if project is None or kept is None:
            raise CoprError(403, "This webhook is not valid")
        return project, kept

    async def _kept(self, project: ProjectView, secret: str) -> dict[str, Any] | None:
        """What is kept of the project's webhook; None when its secret is another one."""
        name = webhooks.secret_name(project.uid)
        kept = await self._services.secrets.get(name)
        if not webhooks.is_secret(kept, secret):
            kept = await self._services.secrets.get(name, anew=True)  # another replica may just have made it
        return kept if webhooks.is_secret(kept, secret) else None

    async def _build(
        self, project: ProjectView, package: Package, source: SourceSpec, key: str | None, dirname: str
    ) -> BuildRecord:
        options = build_options(project, package, {**_OPTIONS, "project_dirname": dirname})
        body = source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        key = None if key is None else f"webhook {key} {package.name}"
        return (await self._services.builds.create(None, project, options, [body], key))[0]


def _payload(request: Request, data: bytes) -> Mapping[str, Any]:
    """As JSON, or as JSON in a form's field `payload` (GitHub's other content type)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        fields = parse_qs(data.decode(errors="replace"), max_num_fields=100)
        data = json.dumps(None).encode() if "payload" not in fields else fields["payload"][0].encode(errors="replace")
    return parse_json_object(data)
