"""What the controller, the build pods and the backend say to each other, as models.

Controller -> pod: a StepPlan in the environment variable COPR_PLAN of the trusted containers.
Pod -> controller: a StepSummary of at most 4096 bytes as the termination message of `fetch` or `collect`.
Pod -> backend: HTTP below AGENT_PREFIX; controller -> backend: HTTP below CONTROL_PREFIX (see docs/architecture.md).
"""

from enum import IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

AGENT_PREFIX = "/agent/v1"
CONTROL_PREFIX = "/control/v1"
TERMINATION_MESSAGE_LIMIT = 4096
"""Bytes; Kubernetes cuts a container's termination message here (and 12 KiB for all containers of a pod)."""
LOG_TAIL_LIMIT = 2048
"""Bytes of the log's end that a StepSummary carries, before it is shortened further to fit the limit above."""


class WrapperExit(IntEnum):
    """Exit codes of the shell wrapper of the untrusted container. They can be forged, so none means infrastructure."""

    OK = 0
    FAILED = 1
    SRPM_INVALID = 20
    DEPENDENCIES = 21
    BUILD_FAILED = 22
    TIMEOUT = 23
    NO_PACKAGE_MANAGER = 24
    NO_NETWORK_ISOLATION = 25
    NO_SRPM = 26
    SEVERAL_SRPMS = 27
    SOURCE_FAILED = 28
    TOOL_MISSING = 29
    NO_SPEC = 30
    SEVERAL_SPECS = 31
    SCRIPT_FAILED = 32
    NO_LICENSE = 33
    TERMINATED = 143


WRAPPER_REASONS: dict[int, str] = {
    WrapperExit.SRPM_INVALID: "SRPMInvalid",
    WrapperExit.DEPENDENCIES: "DependenciesUnresolved",
    WrapperExit.BUILD_FAILED: "BuildFailed",
    WrapperExit.TIMEOUT: "Timeout",
    WrapperExit.NO_PACKAGE_MANAGER: "NoPackageManager",
    WrapperExit.NO_NETWORK_ISOLATION: "NetworkIsolationUnavailable",
    WrapperExit.NO_SRPM: "NoSRPM",
    WrapperExit.SEVERAL_SRPMS: "SeveralSRPMs",
    WrapperExit.SOURCE_FAILED: "SourceFailed",
    WrapperExit.TOOL_MISSING: "ToolMissing",
    WrapperExit.NO_SPEC: "NoSpec",
    WrapperExit.SEVERAL_SPECS: "SeveralSpecs",
    WrapperExit.SCRIPT_FAILED: "ScriptFailed",
    WrapperExit.NO_LICENSE: "NoLicense",
}


class AgentExit(IntEnum):
    """Exit codes of `fetch` and `collect`, which are trusted."""

    OK = 0
    REFUSED = 65
    """EX_DATAERR: the input or the results are at fault (class user); the summary says why."""
    INFRA = 75
    """EX_TEMPFAIL: the cluster or the backend is at fault; podFailurePolicy fails the Job, the controller retries."""


class WireModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True,
                              extra="ignore", serialize_by_alias=True)  # fmt: skip


class LinkSource(WireModel):
    type: Literal["link"] = "link"
    url: str


class UploadSource(WireModel):
    type: Literal["upload"] = "upload"
    ref: str
    """Reference of the uploaded file as the backend gave it: `<random>/<file name>`."""
    sha256: str | None = None


class ScmSource(WireModel):
    type: Literal["scm"] = "scm"
    scm: Literal["git", "svn"]
    clone_url: str
    committish: str | None = None
    subdirectory: str = "."
    """Relative and without `..`, as is `spec`; `.` is the repository's root."""
    spec: str | None = None
    """Path of the spec, relative to the repository's root; None: the only one in `subdirectory`."""
    method: Literal["rpkg", "tito", "tito_test", "make_srpm"]
    credentials: bool = False
    """Whether a Secret is mounted in `fetch`."""


class DistGitSource(WireModel):
    type: Literal["distgit"] = "distgit"
    package: str
    clone_url: str
    lookaside_url: str
    """With {filename}, {hashtype} and {hash} to be replaced."""
    committish: str | None = None


class PypiSource(WireModel):
    type: Literal["pypi"] = "pypi"
    name: str
    version: str | None = None
    python_versions: tuple[str, ...] = ()
    generator: Literal["pyp2spec", "pyp2rpm"]
    template: str
    index_url: str
    """Where the index's JSON API is, without a trailing slash: `<index_url>/<name>/json`."""


class RubyGemsSource(WireModel):
    type: Literal["rubygems"] = "rubygems"
    name: str
    gem_source: str
    """URL of the gem source, with a trailing slash."""


class CustomSource(WireModel):
    type: Literal["custom"] = "custom"
    script: str
    resultdir: str = "."
    """Relative and without `..`."""
    payload: UploadSource | None = None
    """What called the webhook that had the build made."""


StepSource = Annotated[
    LinkSource | UploadSource | ScmSource | DistGitSource | PypiSource | RubyGemsSource | CustomSource,
    Field(discriminator="type"),
]


class EgressRules(WireModel):
    """Which hosts `fetch` may connect to, beside all public addresses (core.egress)."""

    allow: tuple[str, ...] = ()
    """Addresses, networks, host names or `*.domain`; they come first."""
    deny: tuple[str, ...] = ()
    """Addresses and networks, in addition to those that are not public."""


class ArtifactRef(WireModel):
    name: str
    sha256: str
    size: int = 0


class RepoConfig(WireModel):
    """One DNF repository the build root uses, in the order given. `baseurl` may hold $releasever and $basearch."""

    id: str
    baseurl: str
    priority: int | None = None
    private: bool = False
    """Of the step's own project, whose results only a ticket of the backend opens."""
    ca_file: str | None = None
    """CA bundle that verifies its server; None: the one of all others."""


class StepLimits(WireModel):
    timeout: int
    """Seconds the untrusted part may run; the wrapper ends it by INT, TERM and KILL, 10 s apart."""
    fetch: int = 600
    """Seconds for bringing the inputs."""
    end_signal: int
    """Seconds after the start of `collect` at which it stops waiting for the end of the untrusted container."""
    upload: int = 60
    """Seconds for storing the results after the end."""
    max_source_bytes: int = 2 * 1024**3
    max_result_bytes: int = 8 * 1024**3
    max_log_bytes: int = 256 * 1024**2 - 64 * 1024
    """Where a log is cut. What then follows, its end, must be below the backend's limit too (256 MiB)."""


class StepPlan(WireModel):
    """All that one build pod must know. Holds nothing secret."""

    build_id: int
    build_uid: str
    namespace: str
    owner: str
    project: str
    dirname: str
    submitter: str | None = None
    step: Literal["source", "rpm"]
    chroot: str | None = None
    attempt: int = 1
    package: str | None = None
    """Name of the package; known from the source step on."""
    source: StepSource | None = None
    egress: EgressRules = EgressRules()
    srpm: ArtifactRef | None = None
    backend_url: str
    vendor: str = "Fedora Project COPR"
    """First part of %vendor (Copr's rpm_vendor_copr_name)."""
    enable_net: bool = False
    network_profile: Literal["nested", "sysadmin", "sandbox"] = "nested"
    repos: tuple[RepoConfig, ...] = ()
    dist: str | None = None
    """%dist of the chroot, e.g. `.fc43`; None leaves the image's own."""
    release_ver: str | None = None
    """$releasever for dnf; None leaves the image's own."""
    macros: dict[str, str] = {}
    """Further macros of the chroot."""
    extra_packages: tuple[str, ...] = ()
    """Installed into the build root before anything else."""
    with_opts: tuple[str, ...] = ()
    without_opts: tuple[str, ...] = ()
    limits: StepLimits


class FinishRequest(WireModel):
    """`POST /agent/v1/finish`: the step has ended and all its files were sent. Safe to repeat."""

    outcome: Literal["succeeded", "failed"]
    files: tuple[ArtifactRef, ...] = ()
    """Files sent with PUT that belong to the result; the logs are not among them."""


Count = Annotated[int, Field(ge=0, lt=2**31)]


class Package(WireModel):
    name: str
    version: str
    """`[epoch:]version-release`, of the SRPM without the dist tag."""


class StepFailure(WireModel):
    reason: str
    message: str = ""


class StepSummary(WireModel):
    """The end of a step as `fetch` or `collect` report it to the controller (and the backend to `collect`)."""

    v: Literal[1] = 1
    outcome: Literal["succeeded", "failed"]
    package: Package | None = None
    srpm: ArtifactRef | None = None
    exclusive_arch: tuple[str, ...] = ()
    exclude_arch: tuple[str, ...] = ()
    build_arch: tuple[str, ...] = ()
    packages: Count = 0
    """How many RPMs were published, the SRPM included."""
    source_sha256: str | None = None
    """Checksum of the file that a link or upload brought."""
    failure: StepFailure | None = None
    log_tail: str = ""


def fit_summary(summary: StepSummary, limit: int = TERMINATION_MESSAGE_LIMIT) -> str:
    """The summary as JSON of at most `limit` bytes: the log's tail, then the failure's message are cut to fit."""
    text = summary.model_dump_json(exclude_defaults=False, exclude_none=True)
    if len(text.encode()) <= limit:
        return text
    tail = summary.log_tail
    while tail:
        tail = tail[len(tail) // 4 + 1 :]
        text = summary.model_copy(update={"log_tail": tail}).model_dump_json(exclude_none=True)
        if len(text.encode()) <= limit:
            return text
    if summary.failure and len(summary.failure.message) > 200:
        failure = summary.failure.model_copy(update={"message": summary.failure.message[:200]})
        return fit_summary(summary.model_copy(update={"failure": failure, "log_tail": ""}), limit)
    # All else in it comes out of the SRPM, and would be as long in the next try.
    message = f"the SRPM says more than fits into {limit} bytes: names and architectures must be fewer or shorter"
    bare = StepSummary(outcome="failed", failure=StepFailure(reason="ResultsRefused", message=message))
    return bare.model_dump_json(exclude_none=True)


class RemoveBuildRequest(WireModel):
    """`POST /control/v1/builds/<id>/remove`: the build leaves its repositories, then its files go. Repeatable."""

    owner: str
    dirname: str
    chroots: tuple[str, ...] = ()
    package: str | None = None


class TakeSrpmRequest(WireModel):
    """`POST /control/v1/builds/<id>/srpm`: the SRPM of another build of the same directory becomes this one's too."""

    owner: str
    dirname: str
    of_build: int
    """Id of the build that made it."""
    name: str
    sha256: str


class ProjectRequest(WireModel):
    """`PUT /control/v1/projects/<owner>/<project>`: who may read its results. Repeatable."""

    private: bool
    namespace: str
    """Of the CoprProject."""


class Ticket(WireModel):
    """`GET /agent/v1/ticket`: what dnf shows to read the results of the step's own project (HTTP Basic)."""

    username: str
    password: str


class CopyBuildRequest(WireModel):
    """`POST /control/v1/builds/<id>/copy`: the results of another build become this one's too. Repeatable."""

    owner: str
    dirname: str
    namespace: str
    """Of this build: a private project's results don't leave its namespace."""
    chroots: tuple[str, ...]
    from_owner: str
    from_dirname: str
    from_id: int


class CopiedChroot(WireModel):
    name: str
    packages: Count


class CopiedBuild(WireModel):
    """What was taken over, published already; without a package: nothing."""

    package: Package | None = None
    srpm: ArtifactRef | None = None
    chroots: tuple[CopiedChroot, ...] = ()


class ControlAnswer(WireModel):
    ready: bool = True
    message: str = ""
    reason: str = ""
    """Name of the failure (core.reasons) when it will never be ready."""
