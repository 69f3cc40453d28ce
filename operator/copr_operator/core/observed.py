"""What the controller sees, as small frozen records, and how they are read from Kubernetes objects.

Records instead of whole objects: a finished build costs no memory, a running one a few hundred bytes a Job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from copr_operator.api.build import BuildSpec, BuildStatus
from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.package import DefinitionStatus, PackageSpec
from copr_operator.api.project import ProjectSpec, ProjectStatus
from copr_operator.core import names
from copr_operator.core.wire import CopiedBuild

JobState = Literal["active", "complete", "failed"]


@dataclass(frozen=True)
class ContainerView:
    """State of one container; all None while it waits without a reason."""

    state: Literal["waiting", "running", "terminated"] = "waiting"
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started: datetime | None = None
    finished: datetime | None = None


@dataclass(frozen=True)
class PodView:
    name: str
    uid: str
    namespace: str
    job_uid: str
    created: datetime
    resource_version: str = ""
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    scheduled: bool = False
    scheduling_message: str = ""
    node: str = ""
    sandboxed: bool = False
    """Its sandbox is there: containers can be started in it."""
    disrupted: bool = False
    deleting: bool = False
    containers: Mapping[str, ContainerView] = field(default_factory=dict)


@dataclass(frozen=True)
class JobView:
    name: str
    namespace: str
    uid: str
    owner: tuple[str, str]
    """Name and uid of the controlling CoprBuild; empty strings if there is none."""
    created: datetime
    resource_version: str = ""
    state: JobState = "active"
    reason: str = ""
    message: str = ""
    finished: datetime | None = None
    deleting: bool = False
    suspended: bool = False
    """Somebody else holds it back (spec.suspend): a queueing system, or a person."""


@dataclass(frozen=True)
class BuildView:
    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    created: datetime
    spec: BuildSpec
    status: BuildStatus
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    package_uid: str = ""
    """uid of the CoprPackage that it belongs to, if it was made from one."""

    @property
    def finalized(self) -> bool:
        """Whether our finalizer is set."""
        return names.FINALIZER in self.finalizers

    @property
    def dirname(self) -> str:
        return self.spec.project_dirname or self.spec.project

    @property
    def package(self) -> str | None:
        """Name of its package: the SRPM's own, else the one that was announced."""
        source = self.status.source
        return source.package.name if source is not None and source.package is not None else self.spec.package_name


@dataclass(frozen=True)
class ProjectView:
    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    created: datetime
    spec: ProjectSpec
    status: ProjectStatus
    deleting: bool = False
    finalizers: tuple[str, ...] = ()

    @property
    def finalized(self) -> bool:
        """Whether our finalizer is set."""
        return names.FINALIZER in self.finalizers


@dataclass(frozen=True)
class PackageView:
    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    spec: PackageSpec
    status: DefinitionStatus
    deleting: bool = False


@dataclass(frozen=True)
class ChrootView:
    name: str
    namespace: str
    uid: str
    resource_version: str
    created: datetime
    spec: ChrootSpec


@dataclass(frozen=True)
class Refusal:
    """The API server would not create a Job, the Job controller would not create its pod, or the pod does not start."""

    status: int
    """HTTP status; 0 for what an Event said (an empty message: nothing was found)."""
    message: str
    at: datetime
    reason: str = ""
    """Name of the failure, where the status does not tell."""
    waits: str = ""
    """Name of the reason to wait, when the refusal will pass by itself (core.refusals)."""

    @property
    def of_job(self) -> bool:
        """Whether the Job was refused, and not the pod of a Job that was there when its Events were read."""
        return self.status != 0


@dataclass(frozen=True)
class Batch:
    """Whether another batch must end first, and which build is in the way."""

    blocked: bool = False
    message: str = ""
    circle: str = ""
    """In words, the circle of waiting builds that this one has closed."""


@dataclass(frozen=True)
class Observed:
    """All that a decision about one build may depend on."""

    build: BuildView
    now: datetime
    project: ProjectView | None = None
    chroots: Mapping[str, ChrootSpec] = field(default_factory=dict)
    jobs: Mapping[str, JobView] = field(default_factory=dict)
    """By Job name; only Jobs of this build's uid."""
    pods: Mapping[str, PodView] = field(default_factory=dict)
    """The newest pod of each Job, by Job uid."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By the name of the Job; what Events say of a pod, by the name of the pod."""
    batch: Batch = Batch()
    next_id: int | None = None
    """The id this build gets if it has none yet."""
    directory_ready: bool = True
    """Whether the repositories of a directory other than the project's own are there."""
    original: BuildView | None = None
    """The build to rerun, if spec.rerunOf names one that is there."""
    srpm_taken: str | None = None
    """What the backend said of its SRPM: nothing yet (None), that it is this build's now (empty), why it can't be."""
    copied: CopiedBuild | None = None
    """What the backend took over for a forked build; None: it was not asked, or did not answer."""
    results_removed: bool = False
    """Whether the backend has said that the build is out of every repository."""
    backend_message: str = ""
    """What the backend said, or why it can't be reached, when it would not do what was asked."""


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339 as Kubernetes writes it, or None."""
    return datetime.fromisoformat(text) if text else None


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _created(meta: Mapping[str, Any]) -> datetime:
    return parse_time(meta.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC)


def controller_of(obj: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """Name and uid of the object's controlling owner of that kind, or empty strings."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == kind:
            return str(owner["name"]), str(owner["uid"])
    return "", ""


def _conditions(obj: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or () if c.get("status") == "True"}


def build_view(obj: Mapping[str, Any]) -> BuildView:
    """Raises pydantic.ValidationError for a spec that this version's schema would not have admitted."""
    meta = obj["metadata"]
    return BuildView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        resource_version=meta.get("resourceVersion", ""),
        created=_created(meta),
        spec=BuildSpec.model_validate(obj["spec"]),
        status=BuildStatus.model_validate(obj.get("status") or {}),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        package_uid=controller_of(obj, "CoprPackage")[1],
    )


def project_view(obj: Mapping[str, Any]) -> ProjectView:
    """Raises pydantic.ValidationError for a spec that this version's schema would not have admitted."""
    meta = obj["metadata"]
    return ProjectView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        resource_version=meta.get("resourceVersion", ""),
        created=_created(meta),
        spec=ProjectSpec.model_validate(obj["spec"]),
        status=ProjectStatus.model_validate(obj.get("status") or {}),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
    )


def package_view(obj: Mapping[str, Any]) -> PackageView:
    """Raises pydantic.ValidationError for a spec that this version's schema would not have admitted."""
    meta = obj["metadata"]
    return PackageView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        resource_version=meta.get("resourceVersion", ""),
        spec=PackageSpec.model_validate(obj["spec"]),
        status=DefinitionStatus.model_validate(obj.get("status") or {}),
        deleting="deletionTimestamp" in meta,
    )


def chroot_view(obj: Mapping[str, Any]) -> ChrootView:
    """Raises pydantic.ValidationError for a spec that this version's schema would not have admitted."""
    meta = obj["metadata"]
    return ChrootView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        resource_version=meta.get("resourceVersion", ""),
        created=_created(meta),
        spec=ChrootSpec.model_validate(obj["spec"]),
    )


def job_view(obj: Mapping[str, Any]) -> JobView:
    """Which step and attempt it is follows from its name alone: labels and annotations can be forged."""
    meta = obj["metadata"]
    conditions = _conditions(obj)
    ended = conditions.get("Complete") or conditions.get("Failed")
    state: JobState = "complete" if "Complete" in conditions else "failed" if "Failed" in conditions else "active"
    return JobView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        owner=controller_of(obj, "CoprBuild"),
        created=_created(meta),
        resource_version=meta.get("resourceVersion", ""),
        state=state,
        reason=(ended or {}).get("reason", ""),
        message=(ended or {}).get("message", ""),
        finished=parse_time((ended or {}).get("lastTransitionTime")),
        deleting="deletionTimestamp" in meta,
        suspended=bool((obj.get("spec") or {}).get("suspend")),
    )


def pod_view(obj: Mapping[str, Any]) -> PodView:
    meta, status = obj["metadata"], obj.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    containers = {
        c["name"]: _container(c)
        for c in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    }
    return PodView(
        name=meta["name"],
        uid=meta["uid"],
        namespace=meta["namespace"],
        job_uid=controller_of(obj, "Job")[1],
        created=_created(meta),
        resource_version=meta.get("resourceVersion", ""),
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        scheduled=scheduled.get("status") == "True",
        scheduling_message=scheduled.get("message", ""),
        node=(obj.get("spec") or {}).get("nodeName", ""),
        sandboxed=(conditions.get("PodReadyToStartContainers") or {}).get("status") == "True",
        disrupted=(conditions.get("DisruptionTarget") or {}).get("status") == "True",
        deleting="deletionTimestamp" in meta,
        containers=containers,
    )


def _container(status: Mapping[str, Any]) -> ContainerView:
    state = status.get("state") or {}
    if (ended := state.get("terminated")) is not None:
        return ContainerView(
            state="terminated",
            reason=ended.get("reason", ""),
            message=ended.get("message", ""),
            exit_code=ended.get("exitCode"),
            started=parse_time(ended.get("startedAt")),
            finished=parse_time(ended.get("finishedAt")),
        )
    if (running := state.get("running")) is not None:
        return ContainerView(state="running", started=parse_time(running.get("startedAt")))
    waiting = state.get("waiting") or {}
    return ContainerView(reason=waiting.get("reason", ""), message=waiting.get("message", ""))
