"""Settings that decisions depend on. All times are seconds."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from copr_operator.api.chroot import LabelKey, LabelValue
from copr_operator.api.common import ObjectName
from copr_operator.core import names


@dataclass(frozen=True)
class Deadlines:
    """How long a state may last; the rest waits as long as it must (see docs)."""

    starting: int = 600
    """For a pod that has its node; one without a node waits as long as it must."""
    fetching: int = 660
    """For the inputs, counted from when they are begun to be fetched; `fetch` itself gives up after 600."""
    importing: int = 900
    running_slack: int = 300
    """Added to the build's own timeout, which the wrapper in the pod keeps."""
    stopping: int = 120
    """For the pods of a deleted build to end; their grace period is 70 s."""
    lost: int = 60
    """For a deleted pod to end after the grace it was given: later its node can't be reached."""
    refused_look: int = 10
    """A Job without a pod for so long may be held back by quota or admission: its Events are read."""
    backend_retry: int = 10
    """A backend that did not do what was asked is asked again after so long."""
    refusal_retry: int = 30
    """A Job that the API server refused is tried again, a Job without a pod is asked about again, after so long; then
    less often (Refusal.again)."""
    retry_base: int = 10
    """First delay before an infrastructure failure is tried again; doubles each time."""


QueueName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""An object's name that is the value of a label."""
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class BuildPods(BaseModel):
    """What an administrator adds to every build pod. What a chroot or the operator itself says wins over it.

    Tolerations and affinity are Kubernetes' own: the API server checks them when a Job is made.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    affinity: dict[str, Any] | None = None
    priority_class_name: ObjectName | None = None
    background_priority_class_name: ObjectName | None = None
    """For background builds, so that the scheduler gives the nodes to others first; else as for the others."""
    runtime_class_name: ObjectName | None = None
    """For the source step, and for chroots that name none."""
    image_pull_secrets: list[ObjectName] = Field(default_factory=list)
    """Names of Secrets; each must be in the namespaces of the builds."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    annotations: dict[LabelKey, str] = Field(default_factory=dict)
    env: dict[EnvName, str] = Field(default_factory=dict)
    """For `fetch` and the untrusted container: proxies. Not for `collect`, which speaks to the backend only."""
    queue_name: QueueName | None = None
    """Kueue's LocalQueue in the namespaces of the builds that their Jobs wait in."""
    ca_config_map: ObjectName | None = None
    """ConfigMap in each build namespace whose `ca.crt` these trust, for sources and packages alike, instead of their
    images' bundles."""

    @field_validator("labels")
    @classmethod
    def _labels_are_not_ours(cls, labels: dict[str, str]) -> dict[str, str]:
        taken = [key for key in labels if key.startswith(f"{names.GROUP}/") or key == names.LABEL_MANAGED_BY]
        if taken:
            raise ValueError(f"set by the operator itself: {', '.join(taken)}")
        return labels


@dataclass(frozen=True)
class DistGit:
    """A dist-git: where its repositories and its lookaside cache are."""

    name: str
    clone_url: str
    """With {namespace} and {package}."""
    lookaside_url: str
    """With {namespace}, {package}, {filename}, {hashtype} and {hash}."""
    namespace: str = "rpms"
    """The namespace of packages that name none."""


# As Fedora's and CentOS Stream's own clients (fedpkg, centpkg) know them.
DIST_GITS = (
    DistGit(
        "fedora",
        "https://src.fedoraproject.org/{namespace}/{package}.git",
        "https://src.fedoraproject.org/repo/pkgs/{namespace}/{package}/{filename}/{hashtype}/{hash}/{filename}",
    ),
    DistGit(
        "centos",
        "https://gitlab.com/redhat/centos-stream/{namespace}/{package}.git",
        "https://sources.stream.centos.org/sources/{namespace}/{package}/{filename}/{hashtype}/{hash}/{filename}",
    ),
)


@dataclass(frozen=True)
class SourceSettings:
    """What an administrator sets for the source step."""

    dist_gits: tuple[DistGit, ...] = DIST_GITS
    pypi_url: str = "https://pypi.org/pypi"
    """JSON API of the Python package index, without a trailing slash."""
    gem_source: str = "https://rubygems.org/"
    egress_allow: tuple[str, ...] = ()
    """Hosts that sources may be fetched from although they are not public: addresses, networks, names, `*.domain`."""
    egress_deny: tuple[str, ...] = ()
    """Public addresses and networks that sources may not be fetched from, e.g. the cluster's own."""


@dataclass(frozen=True)
class OperatorConfig:
    """What an administrator sets, as far as plans and manifests need it."""

    namespace: str
    """The installation's own namespace: CoprChroots are read from here only."""
    operator_image: str
    source_image: str
    backend_url: str
    """How build pods reach the backend, without a trailing slash."""
    results_url: str
    """How people reach the results, without a trailing slash."""
    image_pull_policy: str = "IfNotPresent"
    backend_ca_config_map: str | None = None
    """ConfigMap in each build namespace whose `ca.crt` verifies the backend's TLS certificate."""
    source_cpu_request: str = "250m"
    source_storage_limit: str = "10Gi"
    build_pods: BuildPods = field(default_factory=BuildPods)
    ttl_after_finished: int = 3600
    """How long finished Jobs stay to be looked at. Longer than the resync, or results could vanish unseen."""
    sources: SourceSettings = SourceSettings()
    deadlines: Deadlines = Deadlines()
