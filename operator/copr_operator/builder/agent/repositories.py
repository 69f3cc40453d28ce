"""Sources from other people's servers: links, repositories and dist-gits, within the step's limits."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from copr_operator.builder.agent.backend import tls_context
from copr_operator.builder.agent.credentials import Credentials, credentials_for
from copr_operator.builder.agent.download import download_link
from copr_operator.builder.agent.egress import EgressProxy, egress_proxy
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.git import GitClone
from copr_operator.builder.agent.lookaside import bring_sources
from copr_operator.builder.agent.pod import REPOSITORY, SOURCE_CA_VARIABLE, PodPaths, say
from copr_operator.builder.agent.svn import SvnExport
from copr_operator.core.wire import DistGitSource, ScmSource, StepPlan

_SCHEMES = {"git": ("http", "https", "git", "ssh"), "svn": ("http", "https", "svn", "svn+ssh")}


@asynccontextmanager
async def _outside() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that never sees the backend's token, nor trusts its CA; it goes through the egress proxy only."""
    connector = aiohttp.TCPConnector(ssl=tls_context(os.environ.get(SOURCE_CA_VARIABLE)))
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield session


async def bring_link(plan: StepPlan, url: str, target: Path) -> str:
    """Downloads a link to `target`; its SHA-256."""
    limits = plan.limits
    async with egress_proxy(plan.egress) as proxy, _outside() as session:
        return await download_link(
            session, url, target, limit=limits.max_source_bytes, timeout=limits.fetch, egress=proxy
        )


async def bring_scm(plan: StepPlan, source: ScmSource, paths: PodPaths) -> str:
    """Clones to /copr/in/source/repository; what was checked out, for people."""
    credentials = credentials_for(source.clone_url, paths.credentials if source.credentials else None)
    async with _time_limit(plan, source.clone_url):
        # svn would show its password to whoever it is redirected to; git's is given out by host.
        only = credentials.hosts if source.scm == "svn" and credentials.basic else None
        async with egress_proxy(plan.egress, only) as proxy:
            revision = await _clone(plan, source, paths, proxy, credentials)
    _check_subdirectory(paths.in_dir / "source" / REPOSITORY, source)
    return f"{source.scm} {revision}"


async def bring_dist_git(plan: StepPlan, source: DistGitSource, paths: PodPaths) -> str:
    """Clones to /copr/in/source/repository and puts the files of the lookaside cache beside the spec."""
    repository = paths.in_dir / "source" / REPOSITORY
    limit = plan.limits.max_source_bytes
    scm = ScmSource(scm="git", clone_url=source.clone_url, committish=source.committish, method="rpkg")
    async with (
        _time_limit(plan, source.clone_url),
        egress_proxy(plan.egress) as proxy,
        _outside() as session,
    ):
        revision = await _clone(plan, scm, paths, proxy, credentials_for(source.clone_url, None))

        async def download(url: str, target: Path, left: int) -> str:
            say(f"downloading {url}")
            return await download_link(session, url, target, limit=left, timeout=plan.limits.fetch, egress=proxy)

        files = await bring_sources(repository, source.lookaside_url, paths.in_dir / "source", limit, download)
    return f"git {revision} and {files} file(s) of the lookaside cache"


@asynccontextmanager
async def _time_limit(plan: StepPlan, url: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(plan.limits.fetch):
            yield
    except TimeoutError:
        shown = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
        raise AgentError("CloneFailed", f"{shown} was not cloned within {plan.limits.fetch} seconds") from None


async def _clone(
    plan: StepPlan, source: ScmSource, paths: PodPaths, proxy: EgressProxy, credentials: Credentials
) -> str:
    scheme = urlsplit(source.clone_url).scheme
    if scheme not in _SCHEMES[source.scm]:
        raise AgentError("SourceRefused", f"{source.scm} repositories can't be cloned by {scheme or 'a path'}")
    tool = GitClone if source.scm == "git" else SvnExport
    target = paths.in_dir / "source" / REPOSITORY
    clone = tool(source.clone_url, target, paths.private, proxy, credentials, plan.limits.max_source_bytes)
    return await clone.fetch(source.committish)


def _check_subdirectory(repository: Path, source: ScmSource) -> None:
    """Known here already, so said before anything runs. Links are followed by the tools, inside the build container."""
    try:
        found = (repository / source.subdirectory).is_dir()
    except OSError:  # a name that is too long, links in a circle
        found = False
    if not found:
        raise AgentError("SourceRefused", f"the repository has no directory {source.subdirectory!r}")
