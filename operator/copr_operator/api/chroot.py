"""CoprChroot: what a name such as `fedora-43-x86_64` means in this installation, as its administrator says."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from copr_operator.api.common import (
    ATOMIC,
    ApiModel,
    ChrootName,
    ObjectName,
    RepoId,
    RepoUrl,
    Requirement,
    atomic_map,
    cel,
    list_map,
)

Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
MacroName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{2,63}$")]
MacroBody = Annotated[str, Field(max_length=512, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$")]
LabelKey = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"),
]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]


class ChrootRepo(ApiModel):
    """A DNF repository that every build in the chroot uses."""

    id: RepoId = Field(description="Id of the repository.")
    baseurl: RepoUrl = Field(description="Its base URL; $releasever and $basearch are expanded by dnf.")
    priority: Annotated[int, Field(ge=1, le=999)] | None = Field(None, description="dnf priority; lower wins.")


class ChrootResources(ApiModel):
    """What one build pod asks for. Memory is the build's own spec.memoryLimitMB."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            *(
                (
                    f"quantity(self.{name}Request).compareTo(quantity(self.{name}Limit)) <= 0",
                    f"resources.{name}Request is more than resources.{name}Limit",
                )
                for name in ("cpu", "storage")
            )
        )
    )

    cpu_request: Quantity = Field("500m", description="CPU requested for the build container.")
    cpu_limit: Quantity = Field("4", description="CPU limit of the build container.")
    memory_request: Quantity = Field(
        "256Mi", description="Memory requested for the build container (at most its limit)."
    )
    storage_limit: Quantity = Field("20Gi", description="Limit for the build container's files.")
    storage_request: Quantity = Field("1Gi", description="Storage requested for the build container's files.")


class ChrootSpec(ApiModel):
    """How builds in this chroot are run."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "self.networkProfile != 'sandbox' || has(self.runtimeClassName)",
                "spec.networkProfile is 'sandbox', so spec.runtimeClassName must be given",
            )
        )
    )

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
        dict[MacroName, MacroBody],
        Field(
            max_length=64,
            json_schema_extra=atomic_map("a macro's name has 3 to 64 letters, digits and underscores, without the %"),
        ),
    ] = Field(default_factory=dict, description="Further RPM macros, without the %.")
    packages: Annotated[list[Requirement], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Packages installed into the build root before every build."
    )
    network_profile: Literal["nested", "sysadmin", "sandbox"] = Field(
        "nested", description="How %build is cut off from the network; see the docs on network profiles."
    )
    runtime_class_name: ObjectName | None = Field(
        None, description="runtimeClassName of build pods, e.g. for kata or gVisor."
    )
    node_selector: Annotated[
        dict[LabelKey, LabelValue],
        Field(max_length=32, json_schema_extra=atomic_map("a node selector's key must be a label key")),
    ] = Field(default_factory=dict, description="Further node labels that build pods need.")
    resources: ChrootResources = Field(ChrootResources(), description="CPU and storage of build pods in this chroot.")
