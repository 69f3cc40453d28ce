"""The results store as the frontend uses it: uploads go in, results.json comes out."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import aiohttp

from copr_operator.frontend.body import SpooledFile
from copr_operator.frontend.errors import CoprError, unavailable

_PIECE = 256 * 1024
_MOST_KEPT = 2000
_MAX_ANSWER = 16 * 1024**2


class BackendClient:
    """Use with `async with`."""

    def __init__(self, url: str, token_file: Path, ca_file: Path | None, *, silence: float) -> None:
        self._url = url
        self._token_file = token_file
        self._ssl: ssl.SSLContext | bool = True
        if ca_file is not None:
            self._ssl = ssl.create_default_context(cafile=str(ca_file))
        self._timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=silence)
        self._session: aiohttp.ClientSession | None = None
        self._packages: dict[str, list[dict[str, Any]]] = {}

    async def __aenter__(self) -> "BackendClient":
        self._session = aiohttp.ClientSession(timeout=self._timeout, connector=aiohttp.TCPConnector(ssl=self._ssl))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def upload(self, namespace: str, file: SpooledFile) -> tuple[str, str]:
        """Ref and SHA-256 of the stored file. Raises CoprError with the backend's own words, or 503."""
        headers = {
            **await self._token(),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(file.size),
        }
        params = {"namespace": namespace, "filename": file.filename}
        answer = await self._send("POST", "/uploads", params=params, headers=headers, data=_pieces(file.data))
        if answer.get("sha256") != file.sha256:
            raise unavailable("The file was damaged on its way to the results store; try again.")
        return str(answer["ref"]), file.sha256

    async def packages(self, directory: str) -> list[dict[str, Any]]:
        """NEVRAs of one result directory, also of a private project, the source package's included; none when it has no
        results.

        Ask for directories of steps that have succeeded only: the answer is kept.
        """
        kept = self._packages.get(directory)
        if kept is not None:
            return kept
        try:
            path = f"/results/{quote(directory)}/results.json"
            answer = await self._send("GET", path, headers=await self._token())
        except CoprError as error:
            if error.status == 404:
                return []
            raise
        packages = answer.get("packages")
        if not isinstance(packages, list):
            raise unavailable("The results store sent no list of packages.")
        self._packages[directory] = packages
        while len(self._packages) > _MOST_KEPT:
            del self._packages[next(iter(self._packages))]
        return packages

    async def _token(self) -> dict[str, str]:
        """The header that shows who is asking."""
        try:
            return {"Authorization": f"Bearer {(await asyncio.to_thread(self._token_file.read_text)).strip()}"}
        except OSError as error:
            raise unavailable(f"The frontend has no token for the results store: {error.strerror}") from None

    async def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        assert self._session is not None  # noqa: S101 (see the class)
        try:
            async with self._session.request(method, f"{self._url}{path}", **options) as response:
                if (response.content_length or 0) > _MAX_ANSWER:
                    raise unavailable("The results store sent something too long.")
                answer = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise unavailable(f"The results store can't be reached: {error or type(error).__name__}") from None
        if response.status == 507:
            raise CoprError(507, "The results store is full.")
        if response.status in (401, 403) or response.status >= 500:
            raise unavailable(f"The results store can't do it now: {answer.get('error', response.status)}")
        if response.status >= 400:
            raise CoprError(response.status, str(answer.get("error", response.status)))
        if not isinstance(answer, dict):
            raise unavailable("The results store sent something unexpected.")
        return answer


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while data := await asyncio.to_thread(file.read, _PIECE):
        yield data
