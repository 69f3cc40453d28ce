"""`plan(observed, config) -> Plan`: the controller's brain. Pure: the same world always gives the same plan.

The executor carries out a plan's actions, then plans again with what they brought, until a plan has no actions; then
the status is written once, and the events follow. State is derived from Jobs, Pods and what the status has latched:
an ended step is latched in the status and never read again, so Jobs may vanish afterwards.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from copr_operator.api.build import BuildStatus, ChrootStatus, FailureStatus, SourceStatus
from copr_operator.api.common import TERMINAL, Phase
from copr_operator.core import actions, arches, forks, gates, kept, names, reruns, sources
from copr_operator.core.actions import Action
from copr_operator.core.config import OperatorConfig
from copr_operator.core.decision import Plan, Urgency, urgency
from copr_operator.core.dropped import without_dropped
from copr_operator.core.ends import leftovers, plan_deletion, plan_finished
from copr_operator.core.observed import Observed, format_time
from copr_operator.core.outcome import Fault
from copr_operator.core.reasons import FAILURES, FailureClass
from copr_operator.core.selection import select
from copr_operator.core.status import BUILD_MESSAGE_LIMIT, chroots_failed, conclude, failure_status, overall
from copr_operator.core.steps import Step, read


def plan(observed: Observed, config: OperatorConfig) -> Plan:
    """Decides what to do about one build."""
    build = observed.build
    if build.deleting:
        return plan_deletion(observed, config)
    if build.unread_status:
        return Plan()  # the version that wrote it goes on with it, or ends it
    if build.status.state in TERMINAL:
        return plan_finished(observed)
    if build.status.id is None:
        return _plan_acceptance(observed, config)
    if not build.finalized:
        return Plan(actions=(actions.Adopt(),))
    current = without_dropped(observed, config)
    return _Planner(current, config, important=current is not observed).plan()


def _plan_acceptance(observed: Observed, config: OperatorConfig) -> Plan:
    """The id is written before anything else: a Job made before could belong to two ids after a crash."""
    if observed.next_id is None:
        return Plan()
    build = observed.build
    status = BuildStatus(id=observed.next_id, state="pending", submitted_at=format_time(build.created))
    return _Planner(replace(observed, build=replace(build, status=status)), config).accept()


class _Planner:
    """One planning of a build that is accepted and not yet ended. Lives for one call of `plan`."""

    def __init__(self, observed: Observed, config: OperatorConfig, *, important: bool = False) -> None:
        self.observed = observed
        self.build = observed.build
        self.config = config
        self.actions: list[Action] = list(leftovers(observed))
        self.wake: list[datetime] = []
        self.reason, self.message = "", ""
        self.faults: dict[str, Fault] = {}
        self.important = important
        """Something has ended or is to be tried again: latched before anything is made or deleted that rests on it."""

    def plan(self) -> Plan:
        status = self._unread() if self.build.unread else self._source(self._linked())
        if not self.build.unread and status.source is not None and status.source.state == "succeeded":
            status = self._chroots(status)
        status = status.model_copy(update={"state": overall(status)})
        if status.state not in TERMINAL and self.build.spec.cancel:
            return self._cancel(status)
        queue_end = self._queue_end(status)
        if queue_end is not None and self.observed.now >= queue_end:
            status = self._queued_too_long(status)
        elif queue_end is not None:
            self.wake.append(queue_end)
        return self._finish(status)

    def accept(self) -> Plan:
        """The first status, with the chroots in it if the project is there already: one write less."""
        pending = SourceStatus(state="pending")
        status = self._unread() if self.build.unread else self._choose_chroots(self._linked(), pending)
        status = conclude(status, self.build, self.observed.now, self.reason, self.message)
        return Plan(status=status, urgency=Urgency.NOW)

    def _linked(self) -> BuildStatus:
        """With what was found of its links: they may not be there to be found a second time."""
        batch, status = self.observed.batch, self.build.status
        if batch.latch is None or batch.latch == status.batch:
            return status
        self.important |= batch.blocked and batch.latch.missing is None
        return status.model_copy(update={"batch": batch.latch})

    def _unread(self) -> BuildStatus:
        """Nothing is begun, and what runs is left alone, until a version is there that reads it, a cancel or an end."""
        self._wait(gates.Gate("SpecNotUnderstood", f"the CRDs are newer than this controller: {self.build.unread}"))
        status = self.build.status
        return status.model_copy(update={"source": status.source or SourceStatus(state="pending")})

    def _finish(self, status: BuildStatus) -> Plan:
        terminal = status.state in TERMINAL
        if self.actions and not self.important and not terminal:
            return Plan(actions=tuple(self.actions))
        status = conclude(status, self.build, self.observed.now, self.reason, self.message)
        return Plan(
            status=status,
            urgency=urgency(self.build.status, status, important=self.important or terminal),
            requeue_at=min(self.wake, default=None),
        )

    # -- the source step -------------------------------------------------------------------------------------------

    def _source(self, status: BuildStatus) -> BuildStatus:
        source = status.source or SourceStatus(state="pending")
        if source.state in TERMINAL:
            return status
        if source.state == "pending" and self.observed.batch.circle:
            return self._give_up(status, "CircularWait", self.observed.batch.circle)
        if source.state == "pending" and self.build.spec.source is not None and self.build.spec.forked_from is None:
            try:
                sources.step_source(self.build.spec.source, self.config.sources)
            except sources.SourceError as error:
                return self._give_up(status, error.reason, error.message)
        if not status.chroots:
            return self._choose_chroots(status, source)
        if not self.build.open_chroots:
            gone = ", ".join(chroot.name for chroot in status.chroots)
            return self._give_up(status, "ChrootNotInProject", f"taken out of the project before it was built: {gone}")
        if self.build.spec.rerun_of is not None:
            return self._take_srpm(status)
        if self.build.spec.forked_from is not None:
            return self._forked(status, source)
        step = self._read(names.SOURCE_STEP, source.state, source.attempt)
        new = source.model_copy(update={"state": step.state, "attempt": step.attempt, **step.times(source)})
        if step.state == "succeeded":
            return self._import(status, new, step)
        if step.state == "failed" and step.fault is not None:
            self.important = True
            return _all_failed(status, new, failure_status(step.fault, None, self.build, self.config))
        return status.model_copy(update={"source": new})

    def _forked(self, status: BuildStatus, source: SourceStatus) -> BuildStatus:
        """Nothing runs: the build has ended when the backend has taken over the results of another."""
        gate = gates.copy_gate(self.observed, self.config)
        copied = self.observed.copied
        if gate is not None or copied is None:
            self._open(gate)
            if gate is None and not self.build.spec.cancel:
                self.actions.append(actions.CopyResults())
            return status.model_copy(update={"source": source})
        if kept.problem(copied.package, copied.srpm) or not copied.chroots:
            return self._give_up(status, "NothingToFork", "the other build has no results that could be taken over")
        return forks.taken_over(status, copied, self.build, self.config, self.observed.now)

    def _choose_chroots(self, status: BuildStatus, source: SourceStatus) -> BuildStatus:
        """The chroots are chosen once, when the project is there. Later edits of the project touch the build only in
        chroots that are dropped before they are begun (core.dropped)."""
        gate = gates.project_gate(self.observed)
        project, original = self.observed.project, self.observed.original
        if gate is None and self.build.spec.rerun_of is not None:
            gate = reruns.original_gate(self.observed)
        if gate is not None or project is None:
            self._wait(gate)
            return status.model_copy(update={"source": source})
        enabled = [chroot.name for chroot in project.spec.chroots]
        if original is not None:
            chosen = reruns.choose(self.build, original, enabled)
        else:
            chosen = select(self.build.spec.chroots, self.build.spec.exclude_chroots, enabled)
        if chosen.reason:
            return self._give_up(status, chosen.reason, chosen.message)
        # Latched at once: gates and later plans look at the chroots in the status.
        self.important = True
        return status.model_copy(
            update={
                "source": source,
                "chroots": [ChrootStatus(name=name, state="pending") for name in chosen.chroots],
                "repo_url": f"{self.config.results_url}/results/{self.build.spec.owner}/{self.build.spec.project}",
            }
        )

    def _take_srpm(self, status: BuildStatus) -> BuildStatus:
        """In place of the source step of a rerun: the SRPM of the other build becomes this one's."""
        original, taken = self.observed.original, self.observed.srpm_taken
        gate = reruns.original_gate(self.observed)
        gate = gate or gates.start_gate(self.observed, names.SOURCE_STEP, 1, self.config)
        if gate is None and original is not None:
            wrong = reruns.problem(self.build, original)
            if wrong is not None:
                return self._give_up(status, wrong.reason, wrong.message)
            if taken:
                return self._give_up(status, "SRPMNotFound", taken)
            if taken is not None:
                self.important = True
                self.reason, self.message = "Queued", "the SRPM is there, and the Jobs of the chroots are due"
                return reruns.taken_over(status, self.observed, original, self.config)
            gate = reruns.take_gate(self.observed, self.config)
        self._open(gate)
        return status

    def _import(self, status: BuildStatus, source: SourceStatus, step: Step) -> BuildStatus:
        """Latches the package and the SRPM, and skips the chroots that its arch tags rule out."""
        summary = step.summary
        assert summary is not None and summary.package is not None and summary.srpm is not None  # noqa: S101, PT018
        self.important = True
        made = kept.package_and_srpm(summary.package, summary.srpm, self.build, status.id or 0, self.config)
        source = source.model_copy(update={**made, "sha256": summary.source_sha256, **kept.arch_tags(summary)})
        tags = (summary.exclusive_arch, summary.exclude_arch, summary.build_arch)
        ended = format_time(self.observed.now)
        chroots = [
            chroot.model_copy(update={"state": "skipped", "ended_at": ended})
            if chroot.state not in TERMINAL and arches.excluded(arches.chroot_arch(chroot.name), *tags)
            else chroot
            for chroot in status.chroots
        ]
        self.reason, self.message = "Queued", "the SRPM is there, and the Jobs of the chroots are due"
        return status.model_copy(update={"source": source, "chroots": chroots})

    # -- the chroots -----------------------------------------------------------------------------------------------

    def _chroots(self, status: BuildStatus) -> BuildStatus:
        latched = self.build.status.source
        if latched is None or latched.state != "succeeded":
            return status  # the backend lets a chroot's pod have the SRPM that the written status names
        chroots, failure = [], status.failure
        for chroot in status.chroots:
            new = chroot if chroot.state in TERMINAL else self._chroot(chroot)
            failure = failure or self._build_failure(new)
            chroots.append(new)
        return status.model_copy(update={"chroots": chroots, "failure": failure})

    def _chroot(self, chroot: ChrootStatus) -> ChrootStatus:
        step = self._read(chroot.name, chroot.state, chroot.attempt)
        update: dict[str, object] = {"state": step.state, "attempt": step.attempt, **step.times(chroot)}
        if step.state == "succeeded" and step.summary is not None:
            update["packages"] = step.summary.packages
        if step.state == "failed" and step.fault is not None:
            self.faults[chroot.name] = step.fault
            update["failure"] = failure_status(step.fault, chroot.name, self.build, self.config)
        return chroot.model_copy(update=update)

    def _build_failure(self, chroot: ChrootStatus) -> FailureStatus | None:
        """The first failed chroot speaks for the build, with more of its log than the chroot's own entry holds."""
        fault = self.faults.get(chroot.name)
        if fault is None:
            return chroot.failure
        return failure_status(fault, chroot.name, self.build, self.config, limit=BUILD_MESSAGE_LIMIT)

    # -- one step of either kind -----------------------------------------------------------------------------------

    def _read(self, name: str, state: Phase, attempt: int) -> Step:
        """The step's current try: reads its Job, or asks for one when nothing stands in the way."""
        step = read(self.observed, name, state, attempt, self.config)
        if step.state == "failed" and step.fault is not None:
            step = self._retried(step, step.fault)
        elif step.job is None and step.state == "pending":
            self._start(step)
        self.wake += [time for time in (step.deadline, step.look_again) if time is not None]
        self.actions += step.actions
        # What runs says more of the build than what waits.
        if step.reason and (not self.reason or step.reason in ("Building", "SourceRunning")):
            self.reason, self.message = step.reason, step.message
        return step

    def _retried(self, step: Step, fault: Fault) -> Step:
        """An infrastructure failure becomes the next attempt, due after a delay; any other failure stays one.

        A build that is being canceled has no next attempt, and its lost Job is not a failure. A reason that only a
        newer version's pods know (after a rollback) is taken for the user's: most are.
        """
        known = FAILURES.get(fault.reason)
        if known is None or known.failure_class is not FailureClass.INFRA:
            return step
        if self.build.spec.cancel:
            return Step(step.name, step.attempt)
        if step.attempt >= names.MAX_ATTEMPTS:
            return step
        self.important = True
        return Step(step.name, step.attempt + 1, reason="Retrying", message=f"{fault.reason}: {fault.message}"[:400])

    def _start(self, step: Step) -> None:
        if self.build.spec.cancel or step.held:
            return
        gate = gates.start_gate(self.observed, step.name, step.attempt, self.config)
        if gate is None:
            self.actions.append(actions.CreateJob(step.name, step.attempt))
        else:
            self._open(gate)

    def _open(self, gate: gates.Gate | None) -> None:
        """Opens a gate that is the controller's to open; waits for any other."""
        if gate is not None and gate.action is not None:
            wanted = not self.build.spec.cancel and gate.action not in self.actions  # several chroots may need the same
            self.actions += [gate.action] if wanted else []
        else:
            self._wait(gate)

    def _wait(self, gate: gates.Gate | None) -> None:
        if gate is None:
            return
        self.reason, self.message = gate.reason, gate.message
        if gate.look_again is not None:
            self.wake.append(self.observed.now + timedelta(seconds=gate.look_again))

    # -- ends ------------------------------------------------------------------------------------------------------

    def _queue_end(self, status: BuildStatus) -> datetime | None:
        """When a build that waits is to be given up. Only one of which no pod has had a node yet is waiting."""
        timeout = self.build.spec.queue_timeout
        if timeout is None or status.state in TERMINAL or self._has_had_a_node(status):
            return None
        return self.build.created + timedelta(seconds=timeout)

    def _has_had_a_node(self, status: BuildStatus) -> bool:
        """By its pods and, when they are gone, by what is latched: a step that ran had one, and so had one that is
        tried again, but for a Job that was lost in the queue. A rerun's first pods are its chroots'."""
        if any(pod.scheduled for pod in self.observed.pods.values()):
            return True
        own = status.source if self.build.spec.rerun_of is None else None
        steps: list[SourceStatus | ChrootStatus] = [*status.chroots, *([own] if own is not None else [])]
        return any(
            step.attempt > 1
            or step.state in ("running", "importing", "succeeded")
            or (step.state == "failed" and step.started_at is not None)
            for step in steps
        )

    def _give_up(self, status: BuildStatus, reason: str, message: str) -> BuildStatus:
        """The build fails by what is known without running it. If it has a Job, that is stopped afterwards."""
        self.important = True
        fault = Fault(reason, message, "source")
        source = (status.source or SourceStatus(state="pending")).model_copy(
            update={"state": "failed", "ended_at": format_time(self.observed.now)}
        )
        failure = failure_status(fault, None, self.build, self.config, step="validation")
        return _all_failed(status, source, failure).model_copy(update={"state": "failed"})

    def _queued_too_long(self, status: BuildStatus) -> BuildStatus:
        message = f"still waiting: {self.reason}: {self.message}"
        if status.source is None or status.source.state not in TERMINAL:
            return self._give_up(status, "QueueTimeout", message)
        self.important = True  # a rerun's, which has its SRPM
        faults = {c.name: Fault("QueueTimeout", message, "build") for c in status.chroots if c.state not in TERMINAL}
        status = chroots_failed(status, faults, self.build, self.config, self.observed.now)
        return status.model_copy(update={"state": "failed"})

    def _cancel(self, status: BuildStatus) -> Plan:
        """First the Jobs, then the state: once it is written nobody looks at the Jobs again."""
        unseen = [action for action in self.actions if isinstance(action, actions.FindJob)]
        stops = [
            actions.DeleteJob(job.name, job.uid)
            for job in self.observed.jobs.values()
            if self.observed.runs(job) and not job.deleting
        ]
        if unseen or stops:
            return Plan(actions=(*unseen, *stops))
        ended = format_time(self.observed.now)
        source = status.source or SourceStatus(state="pending")
        if source.state not in TERMINAL:
            source = source.model_copy(update={"state": "canceled", "ended_at": ended})
        chroots = [
            chroot
            if chroot.state in TERMINAL
            else chroot.model_copy(update={"state": "canceled", "ended_at": ended, "failure": None})
            for chroot in status.chroots
        ]
        status = status.model_copy(update={"state": "canceled", "source": source, "chroots": chroots})
        return Plan(status=conclude(status, self.build, self.observed.now, "", ""), urgency=Urgency.NOW)


def _all_failed(status: BuildStatus, source: SourceStatus, failure: FailureStatus) -> BuildStatus:
    """Without an SRPM no chroot can be built: Copr marks them failed too."""
    chroots = [
        chroot
        if chroot.state in TERMINAL
        else chroot.model_copy(update={"state": "failed", "ended_at": source.ended_at})
        for chroot in status.chroots
    ]
    return status.model_copy(update={"source": source, "chroots": chroots, "failure": failure})
