"""Downloading a `link` source from wherever its user keeps it: bounded in size, time and redirects.

A user's server is not our infrastructure: every failure here is SourceDownloadFailed or SourceRefused (class user).
"""

import asyncio
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp

from copr_operator.builder.agent.backend import Pauses, store
from copr_operator.builder.agent.egress import EgressProxy
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import say
from copr_operator.core.urls import problem

MAX_REDIRECTS = 10
MAX_TRIES = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]{0,250}")
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)


class _TryAgainError(Exception):
    """The server may answer better in a moment."""


def source_file_name(path: str) -> str:
    """The file name of a URL path or an upload reference, if it is one a build can start from.

    It becomes a file name in the pod, so it has the letters of RPM file names only.
    """
    name = PurePosixPath(unquote(path)).name
    if name.endswith(".nosrc.rpm"):
        raise AgentError("SourceRefused", f"{name} does not hold all its sources (nosrc); give a complete .src.rpm")
    if not name.endswith((".src.rpm", ".spec")):
        raise AgentError("SourceRefused", f"{name or 'the URL'} is neither an .src.rpm nor a .spec")
    if not _FILE_NAME.fullmatch(name):
        raise AgentError("SourceRefused", f"{name!r} is no file name of an .src.rpm or .spec")
    return name


def check_url(url: str) -> None:
    """Only http and https, with a host: of the first URL and of every redirect."""
    if problem(url) or urlsplit(url).scheme not in ("http", "https"):
        raise AgentError("SourceRefused", f"only http and https URLs with a usable host can be downloaded, not {url}")


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise AgentError("SourceRefused", f"{url} redirects to {location[:200]!r}, which is no URL") from None


async def download_link(
    session: aiohttp.ClientSession,
    url: str,
    target: Path,
    *,
    limit: int,
    timeout: float,
    egress: EgressProxy | None = None,
    pauses: Pauses | None = None,
) -> str:
    """Downloads `url` to `target`; its SHA-256. `limit` in bytes; `timeout` in seconds for everything together.

    `egress`: the proxy that decides which hosts may be connected to, be it the URL's or a redirect's.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _with_tries(session, url, target, limit, egress, pauses or Pauses())
    except TimeoutError:
        raise AgentError("SourceDownloadFailed", f"{url} was not downloaded within {timeout:.0f} seconds") from None


async def _with_tries(
    session: aiohttp.ClientSession, url: str, target: Path, limit: int, egress: EgressProxy | None, pauses: Pauses
) -> str:
    for tries in range(MAX_TRIES):
        try:
            return await _follow(session, url, target, limit, egress)
        except aiohttp.ClientConnectorCertificateError as error:
            raise AgentError("SourceDownloadFailed", f"{url}: {error}") from error
        except (_TryAgainError, aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"{type(error).__name__}: {error}" if not isinstance(error, _TryAgainError) else str(error)
            if egress is not None and egress.refusals:
                raise AgentError("AddressRefused", egress.refusals[-1]) from error
            say(f"{url}: {problem} (try {tries + 1} of {MAX_TRIES})")
        if tries + 1 < MAX_TRIES:
            await asyncio.sleep(pauses.after(tries))
    raise AgentError("SourceDownloadFailed", f"{url}: {problem}")


async def _follow(
    session: aiohttp.ClientSession, url: str, target: Path, limit: int, egress: EgressProxy | None
) -> str:
    proxy = egress.url if egress is not None else None
    for _ in range(MAX_REDIRECTS + 1):
        check_url(url)
        # identity: the checksum is of the file as the server keeps it.
        headers = {"Accept-Encoding": "identity"}
        async with session.get(url, headers=headers, allow_redirects=False, timeout=_TIMEOUT, proxy=proxy) as response:
            if egress is not None and egress.refusals:
                raise AgentError("AddressRefused", egress.refusals[-1])
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                url = _redirected(url, location)
                continue
            if response.status == 429 or response.status >= 500:
                raise _TryAgainError(f"the server answered {response.status}")
            if response.status != 200:
                raise AgentError("SourceDownloadFailed", f"{url}: the server answered {response.status}")
            return await store(response, target, limit)
    raise AgentError("SourceDownloadFailed", f"{url}: more than {MAX_REDIRECTS} redirects")
