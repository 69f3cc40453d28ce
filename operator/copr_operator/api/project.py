"""CoprProject: the owner's named set of repositories and the settings its builds start from."""

from typing import Annotated

from pydantic import ConfigDict, Field

from copr_operator.api.build import MAX_CHROOTS, MAX_TIMEOUT
from copr_operator.api.common import (
    ATOMIC,
    WRITTEN_AS_ONE,
    ApiModel,
    BuildOption,
    ChrootName,
    Conditions,
    Owner,
    ProjectName,
    RepoUrls,
    Requirement,
    cel,
    list_map,
)
from copr_operator.api.project_settings import ChrootApiSettings, ProjectApiSettings, ProjectPermission

BuildOptions = Annotated[list[BuildOption], Field(max_length=32, json_schema_extra=ATOMIC)]


class ProjectChroot(ApiModel):
    """Settings of one chroot of the project."""

    name: ChrootName = Field(description="Name of the chroot (spec.name of a CoprChroot).")
    additional_repos: RepoUrls = Field(default_factory=list, description="Repositories for builds in this chroot only.")
    additional_packages: Annotated[list[Requirement], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Packages that are in the build root before the build starts."
    )
    with_opts: BuildOptions = Field(default_factory=list, description="rpmbuild --with options.")
    without_opts: BuildOptions = Field(default_factory=list, description="rpmbuild --without options.")
    api: ChrootApiSettings | None = Field(None, description="What Copr's API keeps here; no build needs it.")

    @property
    def api_settings(self) -> ChrootApiSettings:
        """`api`, or its defaults."""
        return self.api or ChrootApiSettings()


class ProjectSpec(ApiModel):
    """The project as its owner wants it. (owner, name) is unique in the installation: the first CoprProject wins."""

    owner: Owner = Field(
        description="Owner: a user, or a group with a leading @.",
        json_schema_extra=cel(("self == oldSelf", "spec.owner can't be changed")),
    )
    name: ProjectName = Field(
        description="Name of the project.", json_schema_extra=cel(("self == oldSelf", "spec.name can't be changed"))
    )
    description: Annotated[str, Field(max_length=4096)] = Field("", description="What the project is, for people.")
    chroots: Annotated[
        list[ProjectChroot], Field(min_length=1, max_length=MAX_CHROOTS, json_schema_extra=list_map("name"))
    ] = Field(description="Chroots the project builds in, each with its settings.")
    additional_repos: RepoUrls = Field(
        default_factory=list,
        description="Repositories for all builds; copr://OWNER/PROJECT is another project here, $chroot and $distname "
        "(fedora of fedora-43-x86_64) are the build's, and ?priority=N is for dnf.",
    )
    enable_net: bool = Field(False, description="Network access during %build, unless a build says otherwise.")
    private: bool = Field(
        False, description="Only owner, approved builders and admins see the project, its builds and its results."
    )
    timeout: Annotated[int, Field(ge=1, le=MAX_TIMEOUT)] | None = Field(
        None, description="Upper bound of the timeout of this project's builds, in seconds."
    )
    source_chroot: ChrootName | None = Field(
        None, description="Make SRPMs in this chroot's image. Absent: in the installation's source image."
    )
    permissions: Annotated[list[ProjectPermission], Field(max_length=256, json_schema_extra=list_map("user"))] = Field(
        default_factory=list, description="Who else may build in the project or administer it through Copr's API."
    )
    api: ProjectApiSettings | None = Field(None, description="What Copr's API keeps here; no build needs it.")

    @property
    def api_settings(self) -> ProjectApiSettings:
        """`api`, or its defaults."""
        return self.api or ProjectApiSettings()


class ProjectChrootStatus(ApiModel):
    """Repository of one chroot."""

    name: ChrootName = Field(description="Name of the chroot.")
    ready: bool = Field(False, description="Whether its repository is there, so that builds may start.")


class ProjectStatus(ApiModel):
    """What of the project is there."""

    model_config = ConfigDict(json_schema_extra=WRITTEN_AS_ONE)

    observed_generation: Annotated[int, Field(ge=0)] = Field(
        0, description="metadata.generation this status was made from."
    )
    conditions: Conditions = Field(
        default_factory=list, description="NameHeld: the name is this project's; Ready: every repository is there."
    )
    repo_url: Annotated[str, Field(max_length=2600)] | None = Field(
        None, alias="repoURL", description="Base URL of the repositories; append a chroot's name for dnf."
    )
    private: bool = Field(False, description="Whether the store keeps the results from everybody else.")
    chroots: Annotated[list[ProjectChrootStatus], Field(max_length=MAX_CHROOTS, json_schema_extra=list_map("name"))] = (
        Field(default_factory=list, description="Repository of each chroot.")
    )
