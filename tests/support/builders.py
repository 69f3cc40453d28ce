"""Short ways to say what the world looks like, for tables of plans."""

from datetime import UTC, datetime, timedelta
from typing import Any

from copr_operator.api.build import BuildSpec, BuildStatus, ChrootStatus, PackageStatus, SourceStatus, SrpmStatus
from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.common import Condition, ConditionStatus, Phase
from copr_operator.api.project import ProjectChroot, ProjectChrootStatus, ProjectSpec, ProjectStatus
from copr_operator.core import names
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView, ContainerView, JobView, Observed, PodView, ProjectView
from copr_operator.core.plan import Plan
from copr_operator.core.wire import ArtifactRef, Package, StepFailure, StepSummary, fit_summary

T0 = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
UID = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
D12, D13 = "debian-12-x86_64", "debian-13-x86_64"

CONFIG = OperatorConfig(
    namespace="copr-operator",
    operator_image="operator:1",
    source_image="source:1",
    backend_url="http://backend:8080",
    results_url="https://copr.example",
)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def condition(kind: str, status: str = "True", reason: str = "X") -> Condition:
    return Condition(
        type=kind, status=ConditionStatus(status), last_transition_time="2026-01-01T12:00:00Z", reason=reason
    )  # fmt: skip


def project(*chroots: str, ready: bool = True, held: bool = True, **spec: Any) -> ProjectView:
    wanted = chroots or (D12, D13)
    return ProjectView(
        name="demo",
        namespace="ns",
        uid="project-uid",
        generation=1,
        resource_version="7",
        created=T0,
        spec=ProjectSpec(owner="alice", name="demo", chroots=[ProjectChroot(name=c) for c in wanted], **spec),
        status=ProjectStatus(
            conditions=[condition("NameHeld")] if held else [],
            chroots=[ProjectChrootStatus(name=c, ready=ready) for c in wanted],
        ),
        finalizers=(names.FINALIZER,),
    )


def spec(**changes: Any) -> BuildSpec:
    source = {"type": "link", "link": {"url": "http://x.example/hello.src.rpm"}}
    return BuildSpec.model_validate({"owner": "alice", "project": "demo", "source": source, **changes})


def build(
    status: BuildStatus | None = None, *, adopted: bool = True, deleting: bool = False, **changes: Any
) -> BuildView:
    return BuildView(
        name="hello",
        namespace="ns",
        uid=UID,
        generation=1,
        resource_version="1",
        created=T0,
        spec=spec(**changes),
        status=status or BuildStatus(),
        deleting=deleting,
        finalizers=(names.FINALIZER,) if adopted else (),
    )


def accepted(*chroots: str, state: Phase = "pending", attempt: int = 1, source_state: Phase = "pending") -> BuildStatus:
    """Status of a build whose chroots are chosen and whose source step is at `source_state`."""
    return BuildStatus(
        id=42,
        state=state,
        observed_generation=1,
        source=SourceStatus(state=source_state, attempt=attempt),
        chroots=[ChrootStatus(name=c, state="pending") for c in chroots or (D12, D13)],
    )


def imported(*chroots: ChrootStatus) -> BuildStatus:
    """Status of a build whose SRPM is there."""
    return BuildStatus(
        id=42,
        state="pending",
        observed_generation=1,
        source=SourceStatus(
            state="succeeded",
            package=PackageStatus(name="hello", version="2.8-1"),
            srpm=SrpmStatus(url="https://copr.example/results/x/hello-2.8-1.src.rpm", sha256="a" * 64),
        ),
        chroots=list(chroots) or [ChrootStatus(name=c, state="pending") for c in (D12, D13)],
    )


def job(step: str, attempt: int = 1, state: str = "active", **changes: Any) -> JobView:
    values: dict[str, Any] = {
        "name": names.job_name(UID, step, attempt),
        "namespace": "ns",
        "uid": f"job-{step}-{attempt}",
        "owner": ("hello", UID),
        "created": T0,
        "state": state,
        "finished": at(60) if state != "active" else None,
    }
    return JobView(**{**values, **changes})


def container(state: str = "terminated", code: int | None = 0, message: str = "", **changes: Any) -> ContainerView:
    if state != "terminated":
        changes = {"started": T0 if state == "running" else None, **changes}
        return ContainerView(state=state, **changes)  # type: ignore[arg-type]
    values: dict[str, Any] = {"exit_code": code, "message": message, "started": T0, "finished": at(60)}
    return ContainerView(state="terminated", **{**values, **changes})


def pod(of: JobView, phase: str = "Running", *, scheduled: bool = True, **containers: Any) -> PodView:
    """`containers`: fetch, source or build, collect; other names are fields of the pod."""
    known: dict[str, ContainerView] = {
        name: containers.pop(name) for name in ("fetch", "source", "build", "collect") if name in containers
    }
    return PodView(
        name=f"{of.name}-pod",
        uid=f"{of.uid}-pod",
        namespace="ns",
        job_uid=of.uid,
        created=containers.pop("created", of.created),
        phase=phase,
        scheduled=scheduled,
        containers=known,
        **containers,
    )


SRPM_MADE = StepSummary(
    outcome="succeeded",
    package=Package(name="hello", version="2.8-1"),
    srpm=ArtifactRef(name="hello-2.8-1.src.rpm", sha256="a" * 64),
)
RPMS_MADE = StepSummary(outcome="succeeded", packages=4)


def failed_summary(reason: str, message: str = "", tail: str = "") -> StepSummary:
    return StepSummary(outcome="failed", failure=StepFailure(reason=reason, message=message), log_tail=tail)


def said(summary: StepSummary, code: int = 0) -> ContainerView:
    """A trusted container that ended with this summary."""
    return container(code=code, message=fit_summary(summary))


def observed(
    of: BuildView, *jobs: JobView, pods: tuple[PodView, ...] = (), now: float = 61, **changes: Any
) -> Observed:
    values: dict[str, Any] = {
        "project": project(),
        "chroots": {c: ChrootSpec(name=c, image=f"{c}:1", arch="x86_64") for c in (D12, D13)},
        "jobs": {j.name: j for j in jobs},
        "pods": {p.job_uid: p for p in pods},
        "next_id": 42,
    }
    return Observed(build=of, now=at(now), **{**values, **changes})


def reason(decision: Plan) -> str:
    """Why the build is as it is, by the status of the plan."""
    assert decision.status is not None
    return next(c.reason for c in decision.status.conditions if c.type == "Succeeded")


def condition_status(decision: Plan, kind: str) -> str | None:
    assert decision.status is not None
    return next((c.status.value for c in decision.status.conditions if c.type == kind), None)
