"""What the controller sees, as small frozen records (`views` reads them from Kubernetes objects).

Records instead of whole objects: a finished build costs no memory, a running one a few hundred bytes a Job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from copr_operator.api.build import BatchStatus, BuildSpec, BuildStatus
from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.common import TERMINAL
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
    """Both by the API server's clock."""


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
    scheduled_at: datetime | None = None
    """When it got its node, by the API server's clock."""
    scheduling_message: str = ""
    node: str = ""
    sandboxed: bool = False
    """Its sandbox is there: containers can be started in it."""
    disrupted: bool = False
    deleting: bool = False
    gone_by: datetime | None = None
    """Of a deleted pod: when the grace that it was given is over."""
    containers: Mapping[str, ContainerView] = field(default_factory=dict)

    @property
    def node_since(self) -> datetime:
        """Since when it has had its node; for one without a node, or that does not say, since when it is there."""
        return self.scheduled_at or self.created

    @property
    def succeeded(self) -> bool:
        """All its containers have ended with 0, for good: `collect` has stored and published what was made."""
        return self.phase == "Succeeded"


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
    deleted_at: datetime | None = None
    """When its deletion was asked for."""
    finalizers: tuple[str, ...] = ()
    package_uid: str = ""
    """uid of the CoprPackage that it belongs to, if it was made from one."""
    unread: str = ""
    """What of its spec only a newer version understands; `spec` is without it."""
    unread_status: str = ""
    """What of its status only a newer version understands; `status` is without it, and is not to be written over it."""

    @property
    def finalized(self) -> bool:
        """Whether our finalizer is set."""
        return names.FINALIZER in self.finalizers

    @property
    def dirname(self) -> str:
        return self.spec.project_dirname or self.spec.project

    @property
    def open_chroots(self) -> tuple[str, ...]:
        """Those of its chroots that have not ended."""
        return tuple(chroot.name for chroot in self.status.chroots if chroot.state not in TERMINAL)

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
    times: int = 1
    """How often it was said in a row."""

    def again(self, first: int) -> datetime:
        """When to try or ask again, `first` seconds after the first time: what stays so is tried less often, since each
        try costs the API server as much as the first. A Job is made by that try only, so twice that is the most; a
        Job's pod comes without it, and only the words would be late."""
        return self.at + timedelta(seconds=first * min(2 ** (self.times - 1), 2 if self.of_job else 10))

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
    latch: BatchStatus | None = None
    """What was found of its links, for the status; None: nothing yet, or nothing new."""


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
    """By Job uid the pod that tells of each Job: one that has succeeded, else the newest."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By the name of the Job; what Events say of a pod, by the name of the pod."""
    missing_jobs: frozenset[str] = frozenset()
    """Names of Jobs that the API server, when it was asked for them, said are not there."""
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

    def runs(self, job: JobView) -> bool:
        """Whether it still does anything; the Job controller notices only later that its pod has succeeded."""
        pod = self.pods.get(job.uid)
        return job.state == "active" and (pod is None or not pod.succeeded)


def parse_time(text: str | None) -> datetime | None:
    """RFC 3339 as Kubernetes writes it, or None."""
    return datetime.fromisoformat(text) if text else None


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
