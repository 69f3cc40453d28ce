"""Mistakes one could make in the controller: each breaks one policy, by other source for one of its functions."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from copr_operator.controller import ended, packages, sync
from copr_operator.controller.executor import Executor
from copr_operator.controller.ids import IdAllocator
from copr_operator.controller.reconciler import Reconciler
from copr_operator.controller.results import Results
from copr_operator.controller.table import Table
from copr_operator.core import decision, dropped, ends, forks, gates, outcome, package, plan, steps
from tests.model import batch_scenes, fork_scenes, package_scenes, pod_scenes, scenes
from tests.support.mutation import Edit, changed


@dataclass(frozen=True)
class Mutant:
    name: str
    edit: Edit
    caught_by: str
    """What the broken invariant says; a regular expression."""
    scene: Callable[[scenes.Story], None] | None = None
    """Where it shows; None leaves it to the machine's examples."""
    also: tuple[Edit, ...] = ()
    """Where two places hold one policy, one of them alone breaks nothing."""


@contextmanager
def living(mutant: Mutant) -> Iterator[None]:
    """While this lasts the functions are the mutant's, for everyone who has imported them."""
    with ExitStack() as stack:
        for edit in (mutant.edit, *mutant.also):
            stack.enter_context(changed(edit))
        yield


COPIED = (
    "__import__('copr_operator').core.wire.CopiedBuild.model_validate({"
    "'package': {'name': 'hello', 'version': '1'}, 'srpm': {'name': 'hello-1.src.rpm', 'sha256': 'a' * 64},"
    "'chroots': [{'name': chroot.name, 'packages': 1} for chroot in status.chroots]})"
)
"""What the backend says when a copy is done; nobody has asked it."""
MUTANTS = (
    # what is known
    Mutant(
        "what was made is not assumed",
        Edit(Executor._accept_job, "self._store.assume_job(job)", "pass"),
        "asks again for .* that it made",
    ),
    Mutant(
        "an old event counts",
        Edit(Table.put, "not is_newer(view.resource_version, held.resource_version)", "False"),
        "Job .*-src-1 for a step that is succeeded",
        scenes.an_old_event_comes_when_its_job_is_gone,
    ),
    Mutant(
        "what has left may come back",
        Edit(Table.put, "left is not None and", "False and"),
        "Job .*-src-1 for a build that is succeeded",
        scenes.an_old_event_comes_after_the_end,
    ),
    Mutant(
        "what is gone stays in the store",
        Edit(Executor._gone, "if isinstance(view, BuildView):", "if False:"),
        "never comes to rest",
        scenes.a_build_is_gone_when_an_old_event_shows_it,
    ),
    Mutant(
        "a resync drops nothing",
        Edit(sync.Synchronizer._list, "map(source.table.find, gone)", "map(source.table.find, ())"),
        "is starting for ever: Queued",
        scenes.a_job_is_lost_and_nobody_says_so,
    ),
    Mutant(
        "a pod that runs is read as one that has succeeded",
        Edit(outcome.read_step, "pod.succeeded", "pod.phase != 'Pending'"),
        "was called infrastructure",
        scenes.a_build_succeeds,
    ),
    Mutant(
        "a Job that was not seen is lost",
        Edit(steps._unseen, "job_name in observed.missing_jobs", "True"),
        "was called infrastructure",
        scenes.a_status_is_seen_before_the_job_that_it_tells_of,
    ),
    Mutant(
        "ended builds are not watched",
        Edit(ended._Place._apply, 'if leaves or kind == "MODIFIED":', "if False:"),
        "a change is unseen",
    ),
    Mutant(
        "a deletion that was heard of is done",
        Edit(ended._Place.heard, "if not self._leaving:", "if True:"),
        "never ends",
        scenes.a_controller_dies_while_an_ended_build_is_deleted,
    ),
    # what is written, and when
    Mutant(
        "statuses are not locked",
        Edit(Executor._patch, '"resourceVersion": view.resource_version, ', ""),
        "has changed|became|was not seen|its steps say|for the reason",
        scenes.two_controllers_write_one_status,
    ),
    Mutant(
        "a status is written without a change",
        Edit(Reconciler._pause, "or status == build.status or not self._executor.is_news(build, status)", ""),
        "an empty write of the status",
    ),
    Mutant(
        "another message is written at once",
        Edit(decision.urgency, "Urgency.LAZY if", "Urgency.SOON if"),
        "a message, too soon",
        scenes.a_build_is_deleted_while_the_backend_is_away,
    ),
    Mutant(
        "a write whose answer is lost is none",
        Edit(Reconciler._write, "finally:", "except ZeroDivisionError:"),
        "s after the last",
        scenes.a_write_is_carried_out_but_its_answer_is_lost,
    ),
    Mutant(
        "a block of ids is given twice",
        Edit(IdAllocator._take_block, "max(_next(found), self._floor)", "self._floor"),
        "given twice|an empty write of configmaps",
    ),
    Mutant("two builds get one id", Edit(IdAllocator.for_build, "self._next += 1", "pass"), r"id \d+ was given twice"),
    Mutant(
        "a late change is not acknowledged",
        Edit(ends.plan_finished, "if build.status.observed_generation == build.generation:", "if True:"),
        "a change is unseen",
    ),
    Mutant(
        "a build that was there is waited for again",
        Edit(plan._Planner._linked, "batch.latch is None or", "True or"),
        "never becomes succeeded",
        batch_scenes.one_that_is_waited_for_is_deleted_before_a_restart,
    ),
    # states
    Mutant(
        "the end of the source step is forgotten",
        Edit(plan._Planner._source, "if source.state in TERMINAL:", "if False:"),
        "is pending for ever: Queued",
        scenes.nothing_special_happens,
    ),
    Mutant(
        "the end of a chroot is forgotten",
        Edit(plan._Planner._chroots, "chroot if chroot.state in TERMINAL else self._chroot(chroot)",
             "self._chroot(chroot)"),
        "for a step that is succeeded",
        scenes.a_finished_job_expires_while_others_run,
    ),
    Mutant(
        "a chroot that the project has dropped is waited for",
        Edit(dropped.without_dropped, "if not left:", "if True:"),
        "it never comes so far",
        scenes.the_project_drops_a_chroot_that_waits,
    ),
    Mutant(
        "a state goes back",
        Edit(steps._read_job, "return _no_way_back(step, latched)", "pass"),
        "running became starting",
        scenes.a_pod_is_gone_before_its_job_has_ended,
    ),
    Mutant(
        "the end of a pod is not waited for",
        Edit(outcome.read_step, "awaited is not None and", "False and"),
        "success was called infrastructure",
        scenes.a_jobs_end_is_seen_before_its_pods,
    ),
    Mutant(
        "a pod without a node has a deadline",
        Edit(outcome._running, "if not pod.scheduled:", "if False:"),
        "was called infrastructure",
        pod_scenes.no_node_takes_a_pod_for_hours,
    ),
    Mutant(
        "the time without a node counts",
        Edit(outcome._running, "pod.node_since + timedelta(seconds=deadlines.starting)",
             "pod.created + timedelta(seconds=deadlines.starting)"),
        "was called infrastructure",
        pod_scenes.no_node_takes_a_pod_for_hours,
    ),
    Mutant(
        "canceled is written before the Jobs are stopped",
        Edit(plan._Planner._cancel, "if unseen or stops:", "if unseen:"),
        "canceled is written, and .* still run",
        scenes.a_build_is_canceled_while_it_runs,
    ),
    # Jobs
    Mutant(
        "anybody's Job will do",
        Edit(Executor._create_job, 'controller_of(found, "CoprBuild")[1] == build.uid', "True"),
        "never comes to rest",
        scenes.somebody_has_the_name_of_a_job,
    ),
    Mutant(
        "Jobs come before the finalizer",
        Edit(plan.plan, "if not build.finalized:", "if False:"),
        "before the finalizer was set",
    ),
    Mutant(
        "RPMs are built before the SRPM is latched",
        Edit(plan._Planner._chroots, 'latched is None or latched.state != "succeeded"', "False"),
        "the SRPM is latched first",  # the product's own assertion: such a Job can't even be rendered
        scenes.a_build_succeeds,
        also=(Edit(plan._Planner._finish, "not self.important and", ""),),
    ),
    Mutant(
        "two attempts run at once",
        Edit(gates._previous_job_gate, 'job is not None and job.state == "active"', "False"),
        "-2 beside ",
        pod_scenes.a_pod_does_not_start,
    ),
    Mutant(
        "Jobs that nobody needs run on",
        Edit(ends.leftovers, "job is not None and done and", "False and"),
        "runs on, and nobody needs it",
        pod_scenes.the_last_attempt_does_not_start,
    ),
    Mutant(
        "what the Events of a Job said outlives it",
        Edit(steps.read, "or not refusal.of_job", ""),
        "JobRefused|had no Job",
        scenes.a_job_is_deleted_before_it_has_a_pod,
    ),
    Mutant(
        "a rerun does not wait for its SRPM",
        Edit(plan._Planner._take_srpm, "if taken is not None:", "if True:"),
        "a rerun goes on without an SRPM of its own",
        scenes.a_failed_chroot_is_rerun,
    ),
    Mutant(
        "a refusal that is over is waited for",
        Edit(steps._refused, "again if held else None", "again"),
        "looks at one again and again",
        pod_scenes.a_chroot_is_disabled_while_a_quota_holds_its_job,
    ),
    # failures and attempts
    Mutant(
        "a user's failure is tried again",
        Edit(plan._Planner._retried, "known is None or known.failure_class is not FailureClass.INFRA", "False"),
        "user was called infrastructure",
        scenes.the_spec_is_broken,
    ),
    Mutant(
        "there is no last attempt",
        Edit(plan._Planner._retried, "step.attempt >= names.MAX_ATTEMPTS", "False"),
        "one attempt too many",
        pod_scenes.every_pod_is_evicted,
    ),
    Mutant(
        "an eviction is the user's failure",
        Edit(outcome._why_failed, "if disrupted:", "if False:"),
        "evicted was called the user's failure",
        pod_scenes.every_pod_is_evicted,
    ),
    Mutant(
        "a node that is lost ends its pods",
        Edit(outcome.lost_at, "pod is None or", "True or"),
        "it never comes so far",
        pod_scenes.the_node_of_a_build_is_lost,
    ),
    Mutant(
        "what runs on a lost node is waited for",
        Edit(gates._previous_job_gate, "job.deleting and lost is not None and", "False and"),
        "it never comes so far",
        pod_scenes.the_node_of_a_build_is_lost,
    ),
    Mutant(
        "what is deleted is lost at once",
        Edit(outcome.lost_at, "timedelta(seconds=deadlines.lost)", "timedelta(0)"),
        "-2 beside ",
        pod_scenes.a_pod_does_not_start,
    ),
    Mutant(
        "a build that has run waits in a queue",
        Edit(plan._Planner._has_had_a_node, "step.attempt > 1", "False"),
        "a new attempt begins as failed",
        pod_scenes.a_pod_is_evicted_after_the_queue_timeout,
    ),
    Mutant(
        "a lost Job is a success",
        Edit(steps._unseen, 'state="failed", fault=fault', 'state="succeeded"'),
        "succeeded, but its Job did not",
        scenes.a_job_is_deleted_while_it_runs,
    ),
    # deletion
    Mutant(
        "the object goes before its results",
        Edit(ends.plan_deletion, "not observed.results_removed", "False"),
        "the build is gone, its results are still there",
    ),
    Mutant(
        "the object goes before its Jobs",
        Edit(ends.plan_deletion, "if live and observed.now < patience:", "if False:"),
        "the build is gone, .* are still there",
        scenes.a_build_is_deleted_while_it_runs,
    ),
    Mutant(
        "a backend that is away has removed everything",
        Edit(Results.remove, "self.failed(build.uid, error)", "self.removed.add(build.uid)"),
        "the build is gone, its results are still there",
        scenes.a_build_is_deleted_while_the_backend_is_away,
    ),
    Mutant(
        "retained results are removed",
        Edit(ends.plan_deletion, 'build.spec.results == "Delete" and', ""),
        "packages that were to be retained are gone",
        scenes.a_build_whose_results_stay_succeeds,
    ),
    # packages
    Mutant(
        "a package does not find the build that it made before a crash",
        Edit(package.wanted_build, "status.sources_built + 1", "package.generation"),
        "one change of the source became the builds",
        package_scenes.a_controller_dies_when_it_has_made_a_build,
    ),
    Mutant(
        "a source is latched before its build is made",
        Edit(package._follow, "if made is None:\n"
             "        return PackagePlan(actions=(CreateBuild(_manifest(package, name)),))\n"
             "    if made", "if made is not None and made"),
        "is latched, and was never made",
        package_scenes.a_source_comes_back,
    ),
    Mutant(
        "a build is made by what was known of its package",
        Edit(packages.Packages.reconcile, "newest.resource_version != package.resource_version", "False"),
        "its source is latched already",
        package_scenes.a_build_is_deleted_before_it_is_heard_that_its_source_is_latched,
    ),
    Mutant(
        "anybody's build is the package's",
        Edit(package._follow, "made.package_uid != package.uid", "False"),
        "is latched, and was never made",
        package_scenes.somebody_has_the_name_of_a_packages_build,
    ),
    Mutant(
        "the newest builds are deleted",
        Edit(package._surplus, "key=_age", "key=_age, reverse=True"),
        "is deleted, and is one of the newest 2",
        package_scenes.more_builds_than_are_kept,
    ),
    Mutant(
        "a build that runs is one too many",
        Edit(package._too_many, "build.status.state in TERMINAL and", ""),
        "is deleted, and is running",
        package_scenes.a_newer_build_ends_first,
    ),
    Mutant(
        "failures take a success away",
        Edit(package._too_many, "and build.uid != good", ""),
        "is deleted, and is the newest that succeeded",
        package_scenes.failures_follow_a_success,
    ),
    Mutant(
        "an end during the count is not counted",
        Edit(packages.Packages.ended, "self._ends[key] += 1", "pass"),
        "keeps 1 builds in demo, and .* are still there",
        package_scenes.a_build_ends_while_others_are_counted,
    ),
    Mutant(
        "a build that is about to end is not announced",
        Edit(Reconciler._write, "await self._packages.announce(replace(build, status=ending))", "pass"),
        "two is newer than hello's last: one",
        package_scenes.a_build_fails_at_once_and_the_controller_dies,
    ),
    Mutant(
        "a lost last build is not looked for",
        Edit(packages._is_lost, "last.name not in {build.name for build in known}", "False"),
        "hello knows nothing of one",
        package_scenes.the_last_build_is_deleted_before_its_end,
    ),
    # forks
    Mutant(
        "a fork makes a Job",
        Edit(plan._Planner._source, "if self.build.spec.forked_from is not None:", "if False:"),
        "Job .* of a fork",
        fork_scenes.a_build_is_forked,
    ),
    Mutant(
        "a fork ends without the copy",
        Edit(plan._Planner._forked, "copied = self.observed.copied", f"copied = {COPIED}"),
        "the backend has not said that the copy is done",
        fork_scenes.a_build_is_forked,
    ),
    Mutant(
        "a backend that is away has nothing to fork",
        Edit(Results.copy, "self.failed(build.uid, error)", "from copr_operator.core.wire import CopiedBuild; "
             "self.copied[build.uid] = CopiedBuild()"),
        "NothingToFork|the backend has not said that",
        fork_scenes.a_fork_is_asked_for_while_the_backend_is_away,
    ),
    Mutant(
        "every chroot of a fork has something",
        Edit(forks.taken_over, "if chroot.name in found", "if found.setdefault(chroot.name, 0) is not None"),
        "has taken over .*, and shows",
        fork_scenes.a_chroot_has_nothing_to_fork,
    ),
    Mutant(
        "nobody makes the directory of a fork",
        Edit(plan._Planner._forked, "self._open(gate)", "self._wait(gate)"),
        "it never comes so far",
        fork_scenes.a_build_is_forked_into_another_directory,
    ),
    Mutant(
        "a copy outlives its project",
        Edit(Results.remove_project, "self.copied.clear()", "pass"),
        "it never comes so far",
        fork_scenes.a_forks_project_is_removed_and_made_again,
    ),
)  # fmt: skip
