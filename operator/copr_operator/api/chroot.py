"""CoprChroot: what a name such as `fedora-43-x86_64` means in this installation, as its administrator says."""

from typing import Annotated, Literal

from pydantic import Field

from copr_operator.api.common import (
    ATOMIC,
    ATOMIC_MAP,
    ApiModel,
    ChrootName,
    RepoId,
    RepoUrl,
    Requirement,
    cel,
    list_map,
)

Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
MacroName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{2,63}$")]


class ChrootRepo(ApiModel):
    """A DNF repository that every build in the chroot uses."""

    id: RepoId = Field(description="Id of the repository.")
    baseurl: RepoUrl = Field(description="Its base URL; $releasever and $basearch are expanded by dnf.")
    priority: Annotated[int, Field(ge=1, le=999)] | None = Field(None, description="dnf priority; lower wins.")


class ChrootResources(ApiModel):
    """What one build pod asks for. Memory is the build's own spec.memoryLimitMB."""

    cpu_request: Quantity = Field("500m", description="CPU requested for the build container.")
    cpu_limit: Quantity = Field("4", description="CPU limit of the build container.")
    memory_request: Quantity = Field(
        "256Mi", description="Memory requested for the build container (at most its limit)."
    )
    storage_limit: Quantity = Field("20Gi", description="Limit for the build container's files.")
    storage_request: Quantity = Field("1Gi", description="Storage requested for the build container's files.")


class ChrootSpec(ApiModel):
    """How builds in this chroot are run."""

    name: ChrootName = Field(
        description="Copr's name of the chroot; an object name can't hold `_`.",
        json_schema_extra=cel(("self == oldSelf", "spec.name can't be changed")),
    )
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9./:@_-]*$")] = Field(
        description="Image that is the build root: bash, rpm-build, dnf5 or dnf or microdnf, util-linux, iproute."
    )
    arch: Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[a-z0-9_]+$")] = Field(
        description="RPM architecture, e.g. x86_64 or aarch64; pods go to nodes of the matching kubernetes.io/arch."
    )
    enabled: bool = Field(True, description="Builds in a disabled chroot wait.")
    repos: Annotated[list[ChrootRepo], Field(max_length=32, json_schema_extra=list_map("id"))] = Field(
        default_factory=list, description="Base repositories. Empty: those configured in the image."
    )
    dist: Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z0-9._~^]*$")] | None = Field(
        None, description="%dist, e.g. .fc43. Absent: the image's own."
    )
    release_ver: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = (
        Field(None, description="$releasever for dnf. Absent: the image's own.")
    )
    macros: Annotated[
        dict[MacroName, Annotated[str, Field(max_length=512, pattern=r"^[^\r\n]*$")]],
        Field(max_length=64, json_schema_extra=ATOMIC_MAP),
    ] = Field(default_factory=dict, description="Further RPM macros, without the %.")
    packages: Annotated[list[Requirement], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Packages installed into the build root before every build."
    )
    network_profile: Literal["nested", "sysadmin", "sandbox"] = Field(
        "nested", description="How %build is cut off from the network; see the docs on network profiles."
    )
    runtime_class_name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None = (
        Field(None, description="runtimeClassName of build pods, e.g. for kata or gVisor.")
    )
    node_selector: Annotated[
        dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]],
        Field(max_length=32, json_schema_extra=ATOMIC_MAP),
    ] = Field(default_factory=dict, description="Further node labels that build pods need.")
    resources: ChrootResources = Field(
        default_factory=ChrootResources, description="CPU and storage of build pods in this chroot."
    )
