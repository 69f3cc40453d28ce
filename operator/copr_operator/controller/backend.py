"""The backend as the controller asks it: idempotent requests, one error."""

import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from copr_operator.core.wire import (
    CONTROL_PREFIX,
    ControlAnswer,
    CopiedBuild,
    CopyBuildRequest,
    ProjectRequest,
    RemoveBuildRequest,
    TakeSrpmRequest,
)


class BackendError(Exception):
    """The backend refused, failed, or did not answer."""


class BackendAwayError(BackendError):
    """The backend did not answer; that it took long to find out is to be expected again."""


class BackendClient:
    """HTTP client of the backend's control surface. The token is read for each request: the kubelet rotates it."""

    def __init__(self, url: str, token_file: Path, ca_file: Path | None = None, *, timeout: float = 20.0) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._ssl: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=5)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ensure_repository(self, owner: str, dirname: str, chroot: str) -> None:
        """Makes the (empty) repository of a chroot, if it isn't there."""
        await self._ask("PUT", f"/repos/{_segments(owner, dirname, chroot)}")

    async def take_srpm(self, build_id: int, request: TakeSrpmRequest) -> str:
        """Empty when the SRPM is the build's own now, else why it never will be."""
        answer = ControlAnswer.model_validate(
            await self._request("POST", f"/builds/{build_id}/srpm", request.model_dump(mode="json"))
        )
        if not answer.ready and not answer.reason:
            raise BackendError(answer.message or "the backend has not finished yet")
        return "" if answer.ready else answer.message

    async def set_privacy(self, owner: str, project: str, request: ProjectRequest) -> None:
        """Returns when it holds for everything of the project."""
        await self._ask("PUT", f"/projects/{_segments(owner, project)}", request.model_dump(mode="json"))

    async def remove_build(self, build_id: int, request: RemoveBuildRequest) -> None:
        """Returns when no repository lists the build any more."""
        await self._ask("POST", f"/builds/{build_id}/remove", request.model_dump(mode="json"))

    async def remove_project(self, owner: str, project: str) -> None:
        """Returns when nothing of the project is served any more."""
        await self._ask("DELETE", f"/projects/{_segments(owner, project)}")

    async def copy_build(self, build_id: int, request: CopyBuildRequest) -> CopiedBuild:
        """Returns when the results of the other build are published as this one's too."""
        body = request.model_dump(mode="json")
        return CopiedBuild.model_validate(await self._request("POST", f"/builds/{build_id}/copy", body))

    async def highest_id(self) -> int:
        """The highest build id in the store, 0 when it is empty."""
        return int((await self._request("GET", "/highest-id"))["id"])

    async def _ask(self, method: str, path: str, body: Any = None) -> None:
        answer = ControlAnswer.model_validate(await self._request(method, path, body))
        if not answer.ready:
            raise BackendError(answer.message or "the backend has not finished yet")

    async def _request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        url = f"{self._url}{CONTROL_PREFIX}{path}"
        try:
            token = self._token_file.read_text().strip()
            async with self._session.request(
                method, url, json=body, headers={"Authorization": f"Bearer {token}"}, ssl=self._ssl
            ) as response:
                data = await response.read()
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise BackendAwayError(f"the backend can't be reached: {error or type(error).__name__}") from error
        try:
            answer: dict[str, Any] = json.loads(data)
        except ValueError:
            answer = {"error": data[:200].decode(errors="replace")}
        if response.status >= 400:
            raise BackendError(f"the backend answered {response.status}: {answer.get('error', '')}")
        return answer


def _segments(*parts: str) -> str:
    return "/".join(quote(part, safe="@:+") for part in parts)
