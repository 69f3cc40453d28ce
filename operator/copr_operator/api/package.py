"""CoprPackage: a package of a project, and how its SRPM is made, so that it can be built again by its name.

With `buildOnChange` it is built by itself: once for each source that it is given.
"""

from typing import Annotated

from pydantic import Field

from copr_operator.api.build import MAX_TIMEOUT
from copr_operator.api.common import (
    ATOMIC,
    ApiModel,
    ChrootPattern,
    Conditions,
    Owner,
    PackageName,
    Phase,
    ProjectName,
    Sha256,
    cel,
)
from copr_operator.api.sources import SourceSpec

_FINAL = {name: cel(("self == oldSelf", f"spec.{name} can't be changed")) for name in ("owner", "project", "name")}


class PackageSpec(ApiModel):
    """The package as the project's owner wants it."""

    owner: Owner = Field(description="Owner of the project.", json_schema_extra=_FINAL["owner"])
    project: ProjectName = Field(
        description="Name of the CoprProject (its spec.name) in this namespace.", json_schema_extra=_FINAL["project"]
    )
    name: PackageName = Field(description="Name of the package: that of its SRPM.", json_schema_extra=_FINAL["name"])
    source: SourceSpec | None = Field(
        None, description="Where builds of the package get their source. Absent: it can't be built by its name."
    )
    build_on_change: bool = Field(
        False, description="Build it when it is first applied with a source, and whenever `source` becomes another one."
    )
    auto_rebuild: bool = Field(False, description="Whether a webhook's event may build it.")
    timeout: Annotated[int, Field(ge=1, le=MAX_TIMEOUT)] | None = Field(
        None, description="Timeout of its builds that name none, in seconds."
    )
    max_builds: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None,
        description="Builds that are kept in each directory of the project: older ones are deleted once they have "
        "ended, the newest that succeeded excepted. Absent or 0: all are kept.",
    )
    chroot_denylist: Annotated[list[ChrootPattern], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Chroots it is not built in, names or shell patterns."
    )


class LastBuild(ApiModel):
    """The newest build of the package, however it was asked for."""

    name: Annotated[str, Field(max_length=253)] = Field(description="Name of the CoprBuild.")
    id: Annotated[int, Field(ge=1)] | None = Field(None, description="Its number, once it has one.")
    state: Phase = Field("pending", description="Its state when it was first seen, and how it ended.")


class DefinitionStatus(ApiModel):
    """What became of the package as it is defined."""

    observed_generation: Annotated[int, Field(ge=0)] = Field(
        0, description="metadata.generation this status was made from."
    )
    conditions: Conditions = Field(
        default_factory=list, description="Ready, Reconciling and Stalled: whether the newest build ended well."
    )
    sources_built: Annotated[int, Field(ge=0)] = Field(
        0, description="How many sources have been built because of buildOnChange."
    )
    source_digest: Sha256 | None = Field(None, description="SHA-256 of the last of these sources.")
    last_build: LastBuild | None = Field(None, description="The newest build of the package.")
