"""`/agent/v1`: what build pods ask for and send."""

import asyncio
import re
from collections.abc import AsyncIterator

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from copr_operator.backend.errors import HttpError
from copr_operator.backend.http_common import bearer, body, file_response, small_body
from copr_operator.backend.identity import StepIdentity
from copr_operator.backend.layout import FILE_NAME, LOG_NAME, RESULTS
from copr_operator.backend.services import Services
from copr_operator.backend.spool import StepSpool
from copr_operator.bodies import content_length
from copr_operator.core import names
from copr_operator.core.wire import AGENT_PREFIX, FinishRequest

_SHA256 = re.compile(r"[0-9a-f]{64}")
TICKET_SLACK = 3600
"""Seconds that a ticket lasts beside the build's timeout: for images, the queue of a node, the source."""
_MAX_LOGS = 16
_MAX_FINISH_BYTES = 4 * 1024**2


class AgentRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [
            Route(f"{AGENT_PREFIX}/srpm", self.srpm, methods=["GET"]),
            Route(f"{AGENT_PREFIX}/upload/{{ref:path}}", self.upload, methods=["GET"]),
            Route(f"{AGENT_PREFIX}/ticket", self.ticket, methods=["GET"]),
            Route(f"{AGENT_PREFIX}/log/{{name}}", self.log, methods=["PATCH"]),
            Route(f"{AGENT_PREFIX}/files/{{name}}", self.file, methods=["PUT"]),
            Route(f"{AGENT_PREFIX}/finish", self.finish, methods=["POST"]),
        ]

    async def srpm(self, request: Request) -> Response:
        """The one .src.rpm of the build's source step, which must still be the one the controller knows."""
        who = await self._services.identities.step(bearer(request))
        directory = f"{RESULTS}/{names.srpm_dir(who.owner, who.dirname, who.build_id)}"
        store = self._services.store
        entries = await asyncio.to_thread(store.list, directory)
        found = [entry.name for entry in entries if entry.name.endswith(".src.rpm") and entry.name[0] != "."]
        if len(found) != 1:
            raise HttpError(404, f"build {who.build_id} has no SRPM", "NoSRPM")
        file, entry = await asyncio.to_thread(store.open, f"{directory}/{found[0]}")
        headers = {"X-File-Name": found[0]}
        if who.srpm_sha256 is not None:
            headers["X-Content-SHA256"] = who.srpm_sha256
        return file_response(request, file, entry, media_type="application/x-rpm", headers=headers)

    async def upload(self, request: Request) -> Response:
        who = await self._services.identities.step(bearer(request))
        ref = request.path_params["ref"]
        if who.step != names.SOURCE_STEP or ref != who.upload_ref:
            raise HttpError(403, "this is not the uploaded file of this pod's build")
        file, entry = await asyncio.to_thread(self._services.uploads.open, who.namespace, ref)
        return file_response(request, file, entry, media_type="application/octet-stream")

    async def ticket(self, request: Request) -> Response:
        """For dnf, which runs in the untrusted container and may read the build's own project as long as that lasts."""
        who = await self._services.identities.step(bearer(request))
        if who.cancelled:
            raise HttpError(410, "this step has ended")
        ticket = self._services.tickets.issue(who.owner, who.project, who.timeout + TICKET_SLACK)
        return Response(ticket.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"})

    async def log(self, request: Request) -> Response:
        """Append at `offset`. An offset that is not the size gets 409 with the size, to go on from."""
        name = request.path_params["name"]
        if not LOG_NAME.fullmatch(name):
            raise HttpError(400, f"{name[:100]!r} is not a name of a log")
        try:
            offset = int(request.query_params.get("offset", ""))
        except ValueError:
            raise HttpError(400, "offset must be a number") from None
        who = await self._services.identities.step(bearer(request))
        step = await self._step(who)
        settings = self._services.settings
        async with self._services.exclusive(f"{step.path}/{name}"):
            size = await asyncio.to_thread(step.log_size, name)
            if offset != size:
                raise HttpError(409, f"the log has {size} bytes", size=size)
            if not size and len(await asyncio.to_thread(step.log_names)) >= _MAX_LOGS:
                raise HttpError(413, f"more than {_MAX_LOGS} logs")
            self._services.require_space(content_length(request) or 0)
            data = self._body(request, settings.max_log_bytes - size)
            size = await step.append(name, data)
        return JSONResponse({"size": size})

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not FILE_NAME.fullmatch(name):
            raise HttpError(400, f"{name[:250]!r} is not an acceptable file name", "ResultsRefused")
        sha256 = request.headers.get("x-content-sha256", "")
        if not _SHA256.fullmatch(sha256):
            raise HttpError(400, "X-Content-SHA256 must be the SHA-256 of the body in lower case hex")
        who = await self._services.identities.step(bearer(request))
        step = await self._step(who)
        settings = self._services.settings
        count, used = await asyncio.to_thread(step.used)
        before = await asyncio.to_thread(step.size, name)
        if before is not None:  # sent again, maybe because the answer was lost
            count, used = count - 1, used - before
        if count >= settings.max_step_files:
            raise HttpError(413, f"more than {settings.max_step_files} files", "ResultsRefused")
        is_log = LOG_NAME.fullmatch(name) is not None
        largest = settings.max_log_bytes if is_log else min(settings.max_file_bytes, settings.max_step_bytes - used)
        self._services.require_space(content_length(request) or 0)
        data = self._body(request, largest)
        artifact = await (step.receive_log if is_log else step.receive)(name, data, sha256)
        return JSONResponse(artifact.model_dump())

    async def finish(self, request: Request) -> Response:
        identities = self._services.identities
        who = await identities.step(bearer(request))
        data = await small_body(request, _MAX_FINISH_BYTES, silence=self._services.settings.read_timeout)
        try:
            finish = FinishRequest.model_validate_json(data)
        except ValidationError as error:
            raise HttpError(400, f"not a FinishRequest: {error.error_count()} errors") from None
        self._services.control.seen(who.build_id)
        summary = await self._services.ingest.finish(who, finish, identities.again)
        if who.step == names.SOURCE_STEP and who.upload_ref is not None:
            await asyncio.to_thread(self._services.uploads.imported, who.namespace, who.upload_ref)
        return Response(summary.model_dump_json(exclude_none=True), media_type="application/json")

    def _body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        silence = self._services.settings.read_timeout
        count = self._services.metrics.received_bytes.inc
        return body(request, limit, silence=silence, count=count, reason="ResultsRefused")

    async def _step(self, who: StepIdentity) -> StepSpool:
        """The place for files of a step that has not ended yet."""
        step = self._services.spool.step(who.build_id, who.step, who.attempt)
        if await asyncio.to_thread(lambda: step.answer) is not None:
            raise HttpError(410, "this step has ended")
        self._services.control.seen(who.build_id)
        await asyncio.to_thread(self._services.spool.opened, step, who.result)
        return step
