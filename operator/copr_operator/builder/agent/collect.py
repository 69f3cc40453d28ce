"""`copr-operator agent collect`: takes logs and results out of the pod, and reports how the step ended.

It is the only way out of a build pod. Nothing that the untrusted container does may make it exit with INFRA (that
would buy a free retry), and it exits with OK only when everything is stored.
"""

import asyncio
import os
import signal

import aiohttp

from copr_operator.builder.agent.backend import Backend, tls_context
from copr_operator.builder.agent.endsignal import End, wait_for_end
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.logs import LogSender, tail
from copr_operator.builder.agent.plainfiles import (
    PlainFile,
    list_results,
    open_directory,
    open_plain,
    read_exit_code,
    sha256_of,
)
from copr_operator.builder.agent.pod import CA_VARIABLE, SOURCE_CHECKSUM, PodPaths, read_plan, say, write_summary
from copr_operator.core.names import LIVE_LOG
from copr_operator.core.wire import (
    LOG_TAIL_LIMIT,
    AgentExit,
    ArtifactRef,
    FinishRequest,
    StepFailure,
    StepPlan,
    StepSummary,
)

OTHER_LOGS = ("root.log", "build.log")
"""Written by the scripts beside the live log; Copr's names."""


def main(paths: PodPaths | None = None) -> int:
    """The exit code; the termination message has the summary, always with the end of the log."""
    paths = paths or PodPaths()
    os.umask(0o077)
    # A canceled pod gets TERM in all containers at once; the wrapper then ends, and its log is still to be stored.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        plan = read_plan()
        summary, code = asyncio.run(collect(plan, paths))
    except AgentError as error:
        summary, code = _report(error)
    except OSError as error:
        summary, code = _report(AgentError("CollectFailed", f"{type(error).__name__}: {error}"))
    if summary.failure is not None:
        say(f"{summary.failure.reason}: {summary.failure.message}")
    log_tail = tail(paths.out_dir, LIVE_LOG, LOG_TAIL_LIMIT)
    write_summary(paths, summary.model_copy(update={"log_tail": log_tail}))
    return code


def _report(error: AgentError) -> tuple[StepSummary, AgentExit]:
    return StepSummary(outcome="failed", failure=error.as_step_failure()), error.exit_code


async def collect(plan: StepPlan, paths: PodPaths) -> tuple[StepSummary, AgentExit]:
    context = tls_context(os.environ.get(CA_VARIABLE))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        backend = Backend(session, plan.backend_url, paths.token, "CollectFailed", budget=plan.limits.upload)
        end = await _follow(plan, paths, backend)
        return await _store(plan, paths, backend, end)


async def _follow(plan: StepPlan, paths: PodPaths, backend: Backend) -> End:
    """Streams the live log until the untrusted container has ended (or is given up), and then its rest."""
    sender = LogSender(backend, paths.out_dir, LIVE_LOG, plan.limits.max_log_bytes)
    stop = asyncio.Event()
    follower = asyncio.create_task(sender.follow(stop))
    try:
        end = await wait_for_end(paths.end_fifo, plan.limits.end_signal)
    finally:
        stop.set()
        await follower
    say(f"the untrusted container: {end.value}")
    if end is End.NEVER_STARTED:
        message = f"the build container did not start within {plan.limits.end_signal} seconds"
        raise AgentError("StartingTimeout", message)
    await _ignoring_refusals(sender)
    return end


async def _store(plan: StepPlan, paths: PodPaths, backend: Backend, end: End) -> tuple[StepSummary, AgentExit]:
    for name in OTHER_LOGS:
        await _ignoring_refusals(LogSender(backend, paths.out_dir, name, plan.limits.max_log_bytes))
    code = read_exit_code(paths.out_dir)
    if end is End.STILL_RUNNING:
        failure = StepFailure(reason="Timeout", message="the build container outlived its timeout and was given up")
        return await _failed(backend, failure), AgentExit.REFUSED
    if code != 0:
        say(f"the untrusted part failed: {'it was killed' if code is None else f'exit code {code}'}")
        return await _failed(backend, None), AgentExit.OK
    try:
        files = await _send_results(plan, paths, backend)
    except AgentError as failure:
        if failure.exit_code is AgentExit.INFRA:
            raise
        return await _failed(backend, failure.as_step_failure()), AgentExit.REFUSED
    answer = await backend.finish(FinishRequest(outcome="succeeded", files=tuple(files)))
    summary = answer.model_copy(update={"source_sha256": _source_checksum(paths)})
    if summary.outcome == "failed":
        reason = summary.failure or StepFailure(reason="ResultsRefused", message="the backend refused the results")
        return summary.model_copy(update={"failure": reason}), AgentError(reason.reason, reason.message).exit_code
    say(f"stored {len(files)} files")
    return summary, AgentExit.OK


async def _failed(backend: Backend, failure: StepFailure | None) -> StepSummary:
    await backend.finish(FinishRequest(outcome="failed"))
    return StepSummary(outcome="failed", failure=failure)


async def _ignoring_refusals(sender: LogSender) -> None:
    """The rest of a log. A log that is no plain file any more is the untrusted code's doing: it only loses its log."""
    try:
        await sender.finish()
    except AgentError as failure:
        if failure.exit_code is AgentExit.INFRA:
            raise
        say(f"{sender.name} was not stored: {failure}")


async def _send_results(plan: StepPlan, paths: PodPaths, backend: Backend) -> list[ArtifactRef]:
    sent: list[ArtifactRef] = []
    with open_directory(paths.out_dir) as out, open_directory("results", out) as directory:
        files = list_results(directory, plan.limits.max_result_bytes)
        check_complete(plan, files)
        for file in files:
            with open_plain(directory, file.name) as fd:
                sha256 = await asyncio.to_thread(sha256_of, fd, file.size)
                sent.append(await backend.put_file(file.name, fd, file.size, sha256))
    return sent


def check_complete(plan: StepPlan, files: list[PlainFile]) -> None:
    """A source step gives exactly one SRPM; an rpm step at least one binary RPM."""
    sources = [file.name for file in files if file.name.endswith(".src.rpm")]
    if plan.step == "source" and not sources:
        raise AgentError("NoSRPM", "the source step made no SRPM")
    if plan.step == "source" and len(sources) > 1:
        raise AgentError("SeveralSRPMs", f"the source step made {len(sources)} SRPMs: {', '.join(sources)}")
    if plan.step == "rpm" and not any(file.name.endswith(".rpm") for file in files if file.name not in sources):
        raise AgentError("NoResults", "the build made no binary RPM")


def _source_checksum(paths: PodPaths) -> str | None:
    try:
        return (paths.in_dir / SOURCE_CHECKSUM).read_text()
    except FileNotFoundError:
        return None
