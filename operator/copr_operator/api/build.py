"""CoprBuild: one build. Everything the user says is in spec, everything the operator knows is in status."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from copr_operator.api.common import (
    ATOMIC,
    SET,
    WRITTEN_AS_ONE,
    ApiModel,
    ChrootName,
    ChrootPattern,
    Conditions,
    ObjectName,
    Owner,
    PackageName,
    Phase,
    ProjectName,
    Sha256,
    Time,
    cel,
    list_map,
)
from copr_operator.api.sources import SourceSpec

DEFAULT_TIMEOUT = 18000
MAX_TIMEOUT = 180000
MAX_CHROOTS = 64

_MUTABLE = ("cancel", "results")


class ForkedFrom(ApiModel):
    """A build whose results this one takes over."""

    owner: Owner = Field(description="Owner of its project.")
    project_dirname: Annotated[
        str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*(:[A-Za-z0-9-]+)*$")
    ] = Field(description="Its project, or the directory of that.")
    id: Annotated[int, Field(ge=1)] = Field(description="status.id of the build.")


class BuildSpec(ApiModel):
    """What to build. Only `cancel` (false to true) and `results` may change after creation."""

    owner: Owner = Field(description="Owner of the project: a user, or a group with a leading @.")
    project: ProjectName = Field(description="Name of the CoprProject (its spec.name) in this namespace.")
    project_dirname: (
        Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*(:[A-Za-z0-9-]+)*$")]
        | None
    ) = Field(
        None, description="Directory of the project: the project itself (default), PROJECT:custom:X or PROJECT:pr:N."
    )
    source: SourceSpec | None = Field(None, description="Where the SRPM comes from.")
    rerun_of: ObjectName | None = Field(
        None,
        description="Instead of a source: name of a CoprBuild in this namespace, of the same project directory, whose "
        "failed chroots are built again from its SRPM.",
    )
    forked_from: ForkedFrom | None = Field(
        None,
        description="Run nothing, and take over the results of this build. Its project must be public, or a private "
        "one of the same namespace.",
    )
    chroots: (
        Annotated[list[ChrootPattern], Field(min_length=1, max_length=MAX_CHROOTS, json_schema_extra=SET)] | None
    ) = Field(
        None,
        description="Chroots to build in, names or shell patterns. Absent: all chroots of the project; with rerunOf, "
        "all that failed.",
    )
    exclude_chroots: Annotated[list[ChrootPattern], Field(max_length=MAX_CHROOTS, json_schema_extra=SET)] | None = (
        Field(None, description="Chroots not to build in, names or shell patterns.")
    )
    timeout: Annotated[int, Field(ge=1, le=MAX_TIMEOUT)] = Field(
        DEFAULT_TIMEOUT, description="Seconds the build may run in each chroot; waiting does not count."
    )
    memory_limit_mb: Annotated[int, Field(ge=64, le=1048576)] = Field(
        2048, alias="memoryLimitMB", description="Memory limit of the build in each chroot, in MiB."
    )
    enable_net: bool | None = Field(None, description="Network access during %build. Absent: as the project says.")
    background: bool = Field(False, description="A background build gives way to others.")
    after_build: ObjectName | None = Field(
        None, description="Name of a CoprBuild in this namespace whose batch must have ended (in whatever way) first."
    )
    with_build: ObjectName | None = Field(
        None, description="Name of a CoprBuild in this namespace whose batch this build joins."
    )
    package_name: PackageName | None = Field(
        None, description="Name of the package, when it is known before. The SRPM's own name is what counts in the end."
    )
    submitter: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[!-~]+$")] | None = Field(
        None, description="Who submitted the build, as shown to others."
    )
    queue_timeout: Annotated[int, Field(ge=1, le=2592000)] | None = Field(
        None, description="Seconds the build may wait before it starts. Absent: for ever."
    )
    cancel: bool = Field(False, description="Set to true to cancel the build; can't be taken back.")
    results: Literal["Delete", "Retain"] = Field(
        "Delete", description="What happens to the results when this CoprBuild is deleted."
    )


def _immutable() -> list[tuple[str, str]]:
    """One transition rule a field: a field-level `self == oldSelf` would let an unset field be set later."""
    return [
        (
            f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
            f"spec.{name} can't be changed: create another CoprBuild",
        )
        for field_name, field in BuildSpec.model_fields.items()
        if (name := field.alias or field_name) not in _MUTABLE
    ]


BuildSpec.model_config["json_schema_extra"] = cel(
    *_immutable(),
    ("!oldSelf.cancel || self.cancel", "spec.cancel can't be taken back"),
    (
        "!has(self.projectDirname) || self.projectDirname == self.project || "
        "self.projectDirname.startsWith(self.project + ':')",
        "spec.projectDirname must be the project's name, or start with it and a colon",
    ),
    ("has(self.source) != has(self.rerunOf)", "spec needs exactly one of source and rerunOf"),
    ("!(has(self.afterBuild) && has(self.withBuild))", "spec.afterBuild and spec.withBuild can't be given together"),
)


class PackageStatus(ApiModel):
    """The package the source turned out to be."""

    name: Annotated[str, Field(max_length=100)] = Field(description="Name of the SRPM.")
    version: Annotated[str, Field(max_length=256)] = Field(description="[epoch:]version-release without the dist tag.")


class SrpmStatus(ApiModel):
    """The SRPM all chroots are built from."""

    url: Annotated[str, Field(max_length=2600)] = Field(description="Where it can be downloaded.")
    sha256: Sha256 = Field(description="Its SHA-256.")


class FailureStatus(ApiModel):
    """Why something failed, and what can be done about it."""

    failure_class: Literal["user", "infra", "policy"] = Field(
        alias="class",
        description="user: the source or its limits; infra: the cluster; policy: the administrator's rules.",
    )
    reason: Annotated[str, Field(max_length=64)] = Field(description="Stable CamelCase word; docs list all of them.")
    step: Annotated[str, Field(max_length=32)] = Field(
        description="Where it failed: validation, source, fetch, build, collect."
    )
    chroot: ChrootName | None = Field(None, description="In which chroot; absent for the source step.")
    message: Annotated[str, Field(max_length=2600)] = Field("", description="What happened, with the end of the log.")
    log_url: Annotated[str, Field(max_length=2600)] | None = Field(
        None, alias="logURL", description="Where the whole log is."
    )


class SourceStatus(ApiModel):
    """The source step: from the source to the SRPM."""

    state: Phase = Field(description="State of the source step.")
    attempt: Annotated[int, Field(ge=1, le=100)] = Field(1, description="Number of the current try.")
    started_at: Time | None = Field(None, description="When the source step's pod was made.")
    ended_at: Time | None = Field(None, description="When the source step ended.")
    package: PackageStatus | None = Field(None, description="The package, known once the SRPM is there.")
    srpm: SrpmStatus | None = Field(None, description="The SRPM, once it is there.")
    sha256: Sha256 | None = Field(None, description="SHA-256 of the file that a link or an upload brought.")
    exclusive_arch: Annotated[
        list[Annotated[str, Field(max_length=32)]], Field(max_length=64, json_schema_extra=ATOMIC)
    ] = Field(default_factory=list, description="ExclusiveArch of the SRPM.")
    exclude_arch: Annotated[
        list[Annotated[str, Field(max_length=32)]], Field(max_length=64, json_schema_extra=ATOMIC)
    ] = Field(default_factory=list, description="ExcludeArch of the SRPM.")
    build_arch: Annotated[
        list[Annotated[str, Field(max_length=32)]], Field(max_length=64, json_schema_extra=ATOMIC)
    ] = Field(default_factory=list, description="BuildArch of the SRPM.")


class ChrootStatus(ApiModel):
    """The build in one chroot."""

    name: ChrootName = Field(description="Name of the chroot.")
    state: Phase = Field(description="State of the build in this chroot.")
    attempt: Annotated[int, Field(ge=1, le=100)] = Field(1, description="Number of the current try.")
    started_at: Time | None = Field(None, description="When the chroot's pod was made.")
    ended_at: Time | None = Field(None, description="When the build in this chroot ended.")
    packages: Annotated[int, Field(ge=0)] = Field(0, description="Number of published RPMs, the source RPM included.")
    failure: FailureStatus | None = Field(None, description="Why it failed.")


class BatchStatus(ApiModel):
    """What the links of the build (afterBuild, withBuild) led to. It stands when the builds they name are deleted."""

    leader: ObjectName = Field(description="Name of the build that its batch began with.")
    after: ObjectName | None = Field(
        None, description="Name of the build that the batch began with that must have ended first."
    )
    missing: ObjectName | None = Field(None, description="Which of the two was never there yet.")


class BuildStatus(ApiModel):
    """All state of the build. Result URLs follow from repoURL, id and package, so they are not stored."""

    model_config = ConfigDict(json_schema_extra=WRITTEN_AS_ONE)

    id: Annotated[int, Field(ge=1)] | None = Field(None, description="Number of the build; grows, is never reused.")
    state: Phase | None = Field(None, description="Overall state, as in Copr's API.")
    observed_generation: Annotated[int, Field(ge=0)] = Field(
        0, description="metadata.generation this status was made from."
    )
    conditions: Conditions = Field(default_factory=list, description="Succeeded, Ready, Reconciling and Stalled.")
    submitted_at: Time | None = Field(None, description="When the CoprBuild was created.")
    started_at: Time | None = Field(None, description="When the first chroot started.")
    ended_at: Time | None = Field(None, description="When the last chroot ended.")
    repo_url: Annotated[str, Field(max_length=2600)] | None = Field(
        None, alias="repoURL", description="Base URL of the project's repositories; append a chroot's name for dnf."
    )
    batch: BatchStatus | None = Field(
        None, description="Its batch and the one before, from when the first build that its links name was there."
    )
    source: SourceStatus | None = Field(None, description="The source step.")
    chroots: Annotated[list[ChrootStatus], Field(max_length=MAX_CHROOTS, json_schema_extra=list_map("name"))] = Field(
        default_factory=list, description="The build in each chroot."
    )
    failure: FailureStatus | None = Field(None, description="Why the build failed: the first failure.")
