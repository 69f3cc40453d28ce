"""The parts of a CoprBuild's status that follow from the others: overall state, times, conditions, failures."""

from collections.abc import Mapping
from datetime import datetime

from copr_operator.api.build import BuildStatus, FailureStatus
from copr_operator.api.common import TERMINAL, Condition, ConditionStatus, Phase
from copr_operator.core import names
from copr_operator.core.config import OperatorConfig
from copr_operator.core.kept import MAX_REASON
from copr_operator.core.observed import BuildView, format_time
from copr_operator.core.outcome import Fault
from copr_operator.core.reasons import FAILURES, FailureClass

BUILD_MESSAGE_LIMIT = 2048
CHROOT_MESSAGE_LIMIT = 300
"""Characters; a status with ten failed chroots must stay below 10 KiB."""

_CHROOT_PRECEDENCE: tuple[Phase, ...] = ("running", "starting", "pending", "failed", "succeeded", "skipped", "canceled")


def overall(status: BuildStatus) -> Phase:
    """Overall state by Copr's precedence (frontend `models.py`, Build.status): the source first, then the chroots.

    One running chroot hides a failed one; failed beats succeeded; one success beats skips.
    """
    if status.state in TERMINAL:
        return status.state or "failed"
    if status.source is None or status.source.state != "succeeded":
        return status.source.state if status.source is not None else "pending"
    states = {chroot.state for chroot in status.chroots}
    return next((state for state in _CHROOT_PRECEDENCE if state in states), "pending")


def failure_status(
    fault: Fault,
    chroot: str | None,
    build: BuildView,
    config: OperatorConfig,
    *,
    step: str | None = None,
    limit: int = 0,
) -> FailureStatus:
    """The failure as the status shows it, with its class from the one table and where its log is."""
    reason = FAILURES.get(fault.reason)
    limit = limit or (BUILD_MESSAGE_LIMIT if chroot is None else CHROOT_MESSAGE_LIMIT)
    return FailureStatus(
        failure_class=(reason.failure_class if reason else FailureClass.USER).value,
        reason=fault.reason[:MAX_REASON],
        step=step or fault.step,
        chroot=chroot,
        message=shorten(fault.message, limit),
        log_url=_log_url(build, chroot, config) if step is None else None,
    )


def chroots_failed(
    status: BuildStatus, faults: Mapping[str, Fault], build: BuildView, config: OperatorConfig, now: datetime
) -> BuildStatus:
    """The same with these chroots failed by what is known without running them. The first speaks for the build, if
    none has failed before."""
    failures = {name: failure_status(fault, name, build, config, step="validation") for name, fault in faults.items()}
    ended = format_time(now)
    chroots = [
        chroot.model_copy(update={"state": "failed", "ended_at": ended, "failure": failures[chroot.name]})
        if chroot.name in failures
        else chroot
        for chroot in status.chroots
    ]
    first = next((chroot.failure for chroot in chroots if chroot.name in failures), None)
    return status.model_copy(update={"chroots": chroots, "failure": status.failure or first})


def shorten(message: str, limit: int) -> str:
    """The first line and the end: the start says what failed, the end of a log why."""
    if len(message) <= limit:
        return message
    first, _, rest = message.partition("\n")
    first = first[: limit // 2]
    return f"{first}\n…{rest[-(limit - len(first) - 2) :]}"


def _log_url(build: BuildView, chroot: str | None, config: OperatorConfig) -> str | None:
    """The log of a step that has ended; a step that failed by losing its pod may have none."""
    build_id, package = build.status.id, build.status.source.package if build.status.source else None
    if build_id is None or (chroot is not None and package is None):
        return None
    if chroot is None or package is None:
        directory = names.srpm_dir(build.spec.owner, build.dirname, build_id)
    else:
        directory = names.result_dir(build.spec.owner, build.dirname, chroot, build_id, package.name)
    return f"{config.results_url}/results/{directory}/{names.LIVE_LOG}.gz"


def conclude(
    status: BuildStatus, build: BuildView, now: datetime, reason: str, message: str, *, ending: bool = False
) -> BuildStatus:
    """Fills in what follows from the rest: times, observedGeneration and the conditions (see the table in the docs).

    `ending` marks a build that is being deleted: it reconciles whatever its state is, but the verdict on it stays.
    """
    started = [c.started_at for c in status.chroots if c.started_at is not None]
    ended = [c.ended_at for c in status.chroots if c.ended_at is not None]
    update: dict[str, object] = {
        "observed_generation": build.generation,
        "started_at": min(started, default=None),
        "conditions": _conditions(status, build, now, reason, message, ending=ending),
    }
    if status.state in TERMINAL and status.ended_at is None:
        source_end = status.source.ended_at if status.source is not None else None
        update["ended_at"] = max(ended, default=source_end or format_time(now))
    return status.model_copy(update=update)


def _conditions(
    status: BuildStatus, build: BuildView, now: datetime, reason: str, message: str, *, ending: bool
) -> list[Condition]:
    true, false, unknown = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
    wanted: list[tuple[str, ConditionStatus, str, str]]
    if ending:
        verdict = [c for c in status.conditions if c.type == "Succeeded" and status.state in TERMINAL]
        wanted = [(c.type, c.status, c.reason, c.message) for c in verdict] or [("Succeeded", unknown, reason, message)]
        wanted += [("Ready", false, reason, message), ("Reconciling", true, reason, message)]
    elif status.state in ("succeeded", "skipped"):
        done = "Succeeded" if status.state == "succeeded" else "Skipped"
        text = _success_message(status)
        wanted = [("Succeeded", true, done, text), ("Ready", true, done, text)]
    elif status.state in TERMINAL:
        why = status.failure.reason if status.state == "failed" and status.failure is not None else "Canceled"
        text = _failure_message(status) if status.state == "failed" else "the build was canceled"
        wanted = [("Succeeded", false, why, text), ("Ready", false, why, text), ("Stalled", true, why, text)]
    else:
        why = reason or "Accepted"
        wanted = [("Succeeded", unknown, why, message), ("Ready", false, why, message)]
        wanted.append(("Reconciling", true, why, message))
    return merge_conditions(status.conditions, wanted, build.generation, now)


def merge_conditions(
    old: list[Condition], wanted: list[tuple[str, ConditionStatus, str, str]], generation: int, now: datetime
) -> list[Condition]:
    """Conditions as wanted; lastTransitionTime moves only when the status does. Those not wanted are dropped."""
    before = {condition.type: condition for condition in old}
    merged = []
    for kind, state, reason, message in wanted:
        previous = before.get(kind)
        same = previous is not None and previous.status is state
        merged.append(
            Condition(
                type=kind,
                status=state,
                observed_generation=generation,
                last_transition_time=previous.last_transition_time if same and previous else format_time(now),
                reason=reason,
                message=message[:1024],
            )
        )
    return merged


def _success_message(status: BuildStatus) -> str:
    succeeded = sum(c.state == "succeeded" for c in status.chroots)
    skipped = sum(c.state == "skipped" for c in status.chroots)
    return f"{succeeded} of {len(status.chroots)} chroots succeeded" + (f", {skipped} skipped" if skipped else "")


def _failure_message(status: BuildStatus) -> str:
    assert status.failure is not None  # noqa: S101
    where = f" in {status.failure.chroot}" if status.failure.chroot else ""
    failed = sum(c.state == "failed" for c in status.chroots)
    first = status.failure.message.partition("\n")[0][:300]
    return f"step {status.failure.step}{where}: {first} ({failed} of {len(status.chroots)} chroots failed)"
