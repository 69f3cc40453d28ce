"""Mistakes one could make in the controller: each breaks one policy, in one place, by other source for one function."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from copr_operator.controller import sync
from copr_operator.controller.executor import Executor
from copr_operator.controller.ids import IdAllocator
from copr_operator.controller.reconciler import Reconciler
from copr_operator.controller.store import Store, Table
from copr_operator.core import gates, outcome, plan, steps


class MutantError(Exception):
    """The source that a mutant changes is not what it was: the mutant must be written anew."""


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in the source of `function`."""

    name: str
    function: Callable[..., Any]
    old: str
    new: str
    caught_by: str
    """What the broken invariant says; a regular expression."""


@contextmanager
def living(mutant: Mutant) -> Iterator[None]:
    """While this lasts the function is the mutant's, for everyone who has imported it."""
    function = mutant.function
    assert isinstance(function, FunctionType)
    code = function.__code__
    function.__code__ = _mutated(mutant, function)
    try:
        yield
    finally:
        function.__code__ = code


def _mutated(mutant: Mutant, function: FunctionType) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(mutant.old) != 1:
        raise MutantError(
            f"{mutant.name}: {mutant.old!r} is {source.count(mutant.old)} times in {function.__qualname__}"
        )
    namespace = dict(function.__globals__)
    code = compile(source.replace(mutant.old, mutant.new), inspect.getfile(function), "exec", dont_inherit=True)
    exec(code, namespace)  # noqa: S102 (our own source)
    changed: CodeType = namespace[function.__name__].__code__
    if (changed.co_code, changed.co_consts, changed.co_names) == (
        function.__code__.co_code, function.__code__.co_consts, function.__code__.co_names,
    ):  # fmt: skip
        raise MutantError(f"{mutant.name}: nothing has changed")
    return changed


MUTANTS = (
    # what is known
    Mutant("what was made is not assumed", Store.assume_job, "if self.jobs.put(", "if False and self.jobs.put(", "."),
    Mutant("an old event counts", Table.put, "not _newer(view.resource_version, held.resource_version)", "False", "."),
    Mutant("a resync drops nothing", sync.Synchronizer._drop_ghosts, "table.among(gone)", "table.among(set())", "."),
    Mutant("ended builds are not watched", sync.Synchronizer._watch_ended, "if changed or", "if False and", "."),
    # what is written, and when
    Mutant("statuses are not locked", Executor._patch, '"resourceVersion": view.resource_version, ', "", "."),
    Mutant("a status is written without a change", Reconciler._write, "or dump(status) == dump(build.status)", "", "."),
    Mutant("a message is written soon", plan._urgency, "Urgency.LAZY if", "Urgency.SOON if", "."),
    Mutant("a block of ids is given twice", IdAllocator._take_block,
           'max(int(found["data"]["next"]), self._floor)', "self._floor", "."),
    Mutant("two builds get one id", IdAllocator.for_build, "self._next += 1", "pass", "."),
    Mutant("a late cancel is not acknowledged", plan._plan_finished,
           "if build.status.observed_generation == build.generation:", "if True:", "."),
    # states
    Mutant("the end of a build is forgotten", plan.plan, "if build.status.state in TERMINAL:", "if False:", "."),
    Mutant("the end of a chroot is forgotten", plan._Planner._chroots,
           "chroot if chroot.state in TERMINAL else self._chroot(chroot)", "self._chroot(chroot)", "."),
    Mutant("a state goes back", steps._read_job, "return _no_way_back(step, latched)", "pass", "."),
    Mutant("a pod's end is not waited for", outcome.read_step, "awaited is not None and", "False and", "."),
    Mutant("canceled is written before the Jobs are gone", plan._Planner._cancel, "if stops:", "if False:", "."),
    # Jobs
    Mutant("anybody's Job will do", Executor._create_job,
           'controller_of(found, "CoprBuild")[1] == build.uid', "True", "."),
    Mutant("Jobs come before the finalizer", plan.plan, "if not build.finalized:", "if False:", "."),
    Mutant("RPMs are built before the SRPM is latched", plan._Planner._chroots,
           'latched is None or latched.state != "succeeded"', "False", "."),
    Mutant("two attempts run at once", gates._previous_job_gate, 'job.state == "active"', "False", "."),
    Mutant("Jobs that nobody needs run on", plan._leftovers, "job is not None and done and", "False and", "."),
    Mutant("what a Job's Events said outlives it", steps.read, "or not refusal.of_job", "", "."),
    # failures and attempts
    Mutant("a user's failure is tried again", plan._Planner._retried,
           "FAILURES[fault.reason].failure_class is not FailureClass.INFRA", "False", "."),
    Mutant("attempts without end", plan._Planner._retried, "step.attempt >= names.MAX_ATTEMPTS", "False", "."),
    Mutant("an eviction is the user's failure", outcome._why_failed, "if pod.disrupted:", "if False:", "."),
    Mutant("a lost Job is a success", steps.read, 'state="failed", fault=fault', 'state="succeeded"', "."),
    # deletion
    Mutant("the object goes before its results", plan._plan_deletion, "not observed.results_removed", "False", "."),
    Mutant("the object goes before its Jobs", plan._plan_deletion, "if live:", "if False:", "."),
    Mutant("results count as removed when the backend is away", Executor._remove_results,
           "self._note(build.uid, error)", "self.removed.add(build.uid)", "."),
)  # fmt: skip
