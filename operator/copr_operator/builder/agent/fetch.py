"""`copr-operator agent fetch`: the init container. Prepares the pod for untrusted code and brings its input."""

import asyncio
import errno
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import aiohttp

from copr_operator.builder.agent.backend import Backend, tls_context
from copr_operator.builder.agent.download import check_url, source_file_name
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import (
    CA_VARIABLE,
    SOURCE_CHECKSUM,
    PodPaths,
    read_plan,
    recent,
    say,
    write_summary,
)
from copr_operator.builder.agent.render import render, repositories
from copr_operator.builder.agent.repositories import bring_dist_git, bring_link, bring_scm
from copr_operator.core import names
from copr_operator.core.wire import (
    AgentExit,
    CustomSource,
    DistGitSource,
    LinkSource,
    PypiSource,
    RubyGemsSource,
    ScmSource,
    StepPlan,
    StepSource,
    StepSummary,
    UploadSource,
)

_SRPM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]{0,250}\.src\.rpm")


def main(paths: PodPaths | None = None) -> int:
    """The exit code; a failure is explained in the termination message."""
    paths = paths or PodPaths()
    os.umask(0o077)
    try:
        plan = read_plan()
        prepare(plan, paths)
        asyncio.run(bring(plan, paths))
    except AgentError as failure:
        return _failed(paths, failure)
    except OSError as error:
        return _failed(paths, AgentError("FetchFailed", f"{type(error).__name__}: {error}"))
    return AgentExit.OK


def prepare(plan: StepPlan, paths: PodPaths) -> None:
    """Everything but the input: the FIFO, the scripts, the rendered files.

    The build user reads `in`, so its files are open to all; nothing is secret but the ticket that `bring` may put into
    `copr.repo`. The FIFO is the pod's root's only.
    """
    paths.in_dir.chmod(0o755)
    for name in ("scripts", "source", "srpm"):
        directory = paths.in_dir / name
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
    for script in files("copr_operator.builder").joinpath("scripts").iterdir():
        if script.name.endswith(".sh"):
            _write(paths.in_dir / "scripts" / script.name, script.read_text())
    for name, text in render(plan).items():
        _write(paths.in_dir / name, text)
    # An emptyDir is open to all: the build user could put something else in the FIFO's place.
    paths.end_fifo.parent.chmod(0o755)
    os.mkfifo(paths.end_fifo, 0o600)


async def bring(plan: StepPlan, paths: PodPaths) -> None:
    """The source or the SRPM, checked against its announced checksum; before it what opens a private project."""
    if any(repo.private for repo in plan.repos):
        async with _backend(plan, paths) as backend:
            _write(paths.in_dir / "copr.repo", repositories(plan.repos, await backend.ticket()), mode=0o600)
    if plan.step == "rpm":
        async with _backend(plan, paths) as backend:
            await _bring_srpm(plan, paths, backend)
    elif plan.source is None:
        raise AgentError("FetchFailed", "the plan of a source step has no source")
    else:
        await _bring_source(plan, plan.source, paths)


@asynccontextmanager
async def _backend(plan: StepPlan, paths: PodPaths) -> AsyncIterator[Backend]:
    context = tls_context(os.environ.get(CA_VARIABLE))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield Backend(session, plan.backend_url, paths.token, "FetchFailed", budget=plan.limits.fetch)


async def _bring_srpm(plan: StepPlan, paths: PodPaths, backend: Backend) -> None:
    if plan.srpm is None or not _SRPM_NAME.fullmatch(plan.srpm.name):
        raise AgentError("FetchFailed", f"the plan of an rpm step has no usable SRPM: {plan.srpm}")
    target = paths.in_dir / "srpm" / plan.srpm.name
    sha256 = await backend.download("/srpm", target, plan.limits.max_source_bytes, missing="FetchFailed")
    if sha256 != plan.srpm.sha256:
        raise AgentError("FetchFailed", f"{plan.srpm.name} is not the SRPM of the source step (checksum {sha256})")
    say(f"brought {plan.srpm.name}, sha256 {sha256}")


async def _bring_source(plan: StepPlan, source: StepSource, paths: PodPaths) -> None:
    match source:
        case LinkSource() | ScmSource() | DistGitSource():
            with _users_doing():
                await _bring_from_outside(plan, source, paths)
        case UploadSource(ref=ref):
            target = paths.in_dir / "source" / source_file_name(ref)
            _brought(paths, target, await _bring_upload(plan, source, target, paths))
        case CustomSource(script=script, payload=payload):
            _write(paths.in_dir / "script", script)
            (paths.in_dir / "script").chmod(0o755)
            if payload is not None:
                target = paths.in_dir / names.HOOK_PAYLOAD
                await _bring_upload(plan, payload, target, paths)
                target.chmod(0o644)
        case PypiSource() | RubyGemsSource():
            say("nothing to bring: the tools of the source step download what they need")


async def _bring_from_outside(plan: StepPlan, source: LinkSource | ScmSource | DistGitSource, paths: PodPaths) -> None:
    match source:
        case LinkSource(url=url):
            check_url(url)
            target = paths.in_dir / "source" / source_file_name(url.partition("?")[0].partition("#")[0])
            sha256 = await bring_link(plan, url, target)
            _brought(paths, target, sha256)
        case ScmSource():
            say(f"brought {await bring_scm(plan, source, paths)}")
        case DistGitSource():
            say(f"brought {await bring_dist_git(plan, source, paths)}")


@contextmanager
def _users_doing() -> Iterator[None]:
    """What only a URL, a path or a server of the user's brings about is the user's failure, and not tried again."""
    try:
        yield
    except ValueError as error:
        raise AgentError("SourceRefused", f"the source has a URL or a name that can't be used: {error}") from error
    except RecursionError as error:
        raise AgentError("SourceRefused", "the source has directories too deep in each other") from error
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        raise AgentError("SourceRefused", f"the source has a path that can't be used: {error.strerror}") from error


async def _bring_upload(plan: StepPlan, upload: UploadSource, target: Path, paths: PodPaths) -> str:
    """SHA-256 of the file, which is the one that was announced."""
    async with _backend(plan, paths) as backend:
        path = f"/upload/{quote(upload.ref)}"
        sha256 = await backend.download(path, target, plan.limits.max_source_bytes, missing="UploadNotFound")
    if upload.sha256 is not None and upload.sha256.lower() != sha256:
        raise AgentError("ChecksumMismatch", f"{target.name} has sha256 {sha256}, announced was {upload.sha256}")
    return sha256


def _brought(paths: PodPaths, target: Path, sha256: str) -> None:
    _write(paths.in_dir / SOURCE_CHECKSUM, sha256)
    say(f"brought {target.name}, {target.stat().st_size} bytes, sha256 {sha256}")


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)


def _failed(paths: PodPaths, failure: AgentError) -> int:
    log_tail = recent()
    say(str(failure))
    write_summary(paths, StepSummary(outcome="failed", failure=failure.as_step_failure(), log_tail=log_tail))
    return failure.exit_code
