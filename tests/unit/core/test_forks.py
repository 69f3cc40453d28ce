"""Builds that take over the results of others: what is asked for when, and that nothing of them ever runs."""

from typing import Any

from copr_operator.api.build import BuildStatus
from copr_operator.core import actions
from copr_operator.core.decision import Plan, Urgency
from copr_operator.core.plan import plan
from copr_operator.core.wire import ArtifactRef, CopiedBuild, CopiedChroot, Package
from tests.support import builders
from tests.support.builders import CONFIG, D12, D13, accepted, build, observed

ORIGIN = {"owner": "bob", "projectDirname": "demo", "id": 7}
COPIED = CopiedBuild(
    package=Package(name="hello", version="2.8-1"),
    srpm=ArtifactRef(name="hello-2.8-1.src.rpm", sha256="a" * 64),
    chroots=(CopiedChroot(name=D12, packages=4),),
)


def decided(status: BuildStatus | None = None, *, cancel: bool = False, **world: Any) -> Plan:
    view = build(status or accepted(), forkedFrom=ORIGIN, cancel=cancel)
    return plan(observed(view, **world), CONFIG)


def test_results_are_taken_over_when_the_project_and_its_repositories_are_there() -> None:
    assert decided().actions == (actions.CopyResults(),)
    for world, reason in (
        ({"project": None}, "ProjectNotFound"),
        ({"project": builders.project(ready=False)}, "RepositoryNotReady"),
        ({"backend_message": "the backend is away"}, "BackendUnavailable"),
    ):
        waits = decided(**world)
        assert waits.actions == ()
        assert waits.status is not None
        assert waits.status.conditions[0].reason == reason
        assert waits.status.state == "pending"


def test_a_forks_directory_is_made_first() -> None:
    view = build(accepted(), forkedFrom=ORIGIN, projectDirname="demo:fork")
    assert plan(observed(view, directory_ready=False), CONFIG).actions == (actions.EnsureDirectory(),)
    assert plan(observed(view), CONFIG).actions == (actions.CopyResults(),)


def test_a_source_that_could_not_be_built_here_any_more_is_no_obstacle() -> None:
    """It is where the other build's came from, and is not fetched."""
    source = {"type": "distgit", "distgit": {"instance": "a-former-one", "package": "hello"}}
    assert plan(observed(build(accepted(), source=source, forkedFrom=ORIGIN)), CONFIG).actions == (
        actions.CopyResults(),
    )
    assert plan(observed(build(accepted(), source=source)), CONFIG).actions == ()


def test_one_write_ends_the_build_with_what_was_taken_over() -> None:
    done = decided(copied=COPIED)
    assert (done.actions, done.urgency) == ((), Urgency.NOW)
    status = done.status
    assert status is not None
    assert status.source is not None
    assert status.source.package is not None
    assert status.source.srpm is not None
    assert (status.state, status.source.state, status.source.package.version) == ("succeeded", "succeeded", "2.8-1")
    assert status.source.srpm.url.endswith("/results/alice/demo/srpm-builds/00000042/hello-2.8-1.src.rpm")
    chroots = [(chroot.name, chroot.state, chroot.packages) for chroot in status.chroots]
    assert chroots == [(D12, "succeeded", 4), (D13, "skipped", 0)]
    assert status.started_at is not None
    assert status.ended_at is not None


def test_a_fork_of_nothing_fails_and_says_so() -> None:
    for copied in (CopiedBuild(), COPIED.model_copy(update={"chroots": ()})):
        failed = decided(copied=copied).status
        assert failed is not None
        assert failed.failure is not None
        assert (failed.state, failed.failure.reason, failed.failure.failure_class) == (
            "failed",
            "NothingToFork",
            "user",
        )


def test_a_canceled_fork_asks_for_nothing() -> None:
    canceled = decided(cancel=True)
    assert canceled.actions == ()
    assert canceled.status is not None
    assert canceled.status.state == "canceled"
    late = decided(cancel=True, copied=COPIED).status
    assert late is not None
    assert late.state == "succeeded", "what is published already is no canceled build's"
