"""CoprPackage: a package of a project, and how its SRPM is made, so that it can be built again by its name."""

from typing import Annotated

from pydantic import Field

from copr_operator.api.build import MAX_TIMEOUT
from copr_operator.api.common import ATOMIC, ApiModel, ChrootPattern, Owner, PackageName, ProjectName, cel
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
    auto_rebuild: bool = Field(False, description="Whether a webhook's event may build it.")
    timeout: Annotated[int, Field(ge=1, le=MAX_TIMEOUT)] | None = Field(
        None, description="Timeout of its builds that name none, in seconds."
    )
    max_builds: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Kept only: so far nothing is deleted by it."
    )
    chroot_denylist: Annotated[list[ChrootPattern], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Chroots it is not built in, names or shell patterns."
    )
