"""Settings of a CoprProject that come from Copr's API: who may do what, and what is kept for its clients."""

from typing import Annotated, Literal

from pydantic import Field

from copr_operator.api.common import ATOMIC, ApiModel, HttpUrl, RepoUrl

PermissionState = Literal["nothing", "request", "approved"]
Bootstrap = Literal["default", "on", "off", "image"]
Isolation = Literal["default", "nspawn", "simple"]
MAX_PRIORITY = 2**31 - 1
"""As large as Copr's database, and dnf, take it: one above 99 comes after all that have none."""
Line = r"^[^\x00-\x1f\x7f]*$"


class ProjectPermission(ApiModel):
    """What a user other than the owner may do in the project, through Copr's API."""

    user: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = Field(
        description="Name of the user."
    )
    builder: PermissionState = Field("nothing", description="approved: may submit and cancel builds.")
    admin: PermissionState = Field(
        "nothing", description="approved: may also change the project, and delete its builds and packages."
    )


class ProjectApiSettings(ApiModel):
    """Settings of Copr's API that no build depends on. Those "kept only" are shown again, and change nothing here."""

    instructions: Annotated[str, Field(max_length=16384)] = Field("", description="How to use the repositories.")
    homepage: HttpUrl | None = Field(None, description="Web page of the project.")
    contact: Annotated[str, Field(min_length=1, max_length=256, pattern=Line)] | None = Field(
        None, description="E-mail address or URL of who is responsible."
    )
    unlisted_on_hp: bool = Field(False, description="Left out of lists of all projects and of searches.")
    persistent: bool = Field(False, description="The API deletes neither the project nor its builds.")
    delete_after_days: Annotated[int, Field(ge=-1, le=720)] | None = Field(
        None, description="Kept and shown to dnf only: nothing is deleted by it."
    )
    multilib: bool = Field(False, description="Kept only.")
    module_hotfixes: bool = Field(False, description="module_hotfixes=1 in the .repo file.")
    repo_priority: Annotated[int, Field(ge=1, le=MAX_PRIORITY)] | None = Field(
        None, description="priority in the .repo file; repositories without one have 99."
    )
    runtime_dependencies: Annotated[list[RepoUrl], Field(max_length=32, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Repositories that the .repo file brings along."
    )
    packit_forge_projects_allowed: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")]],
        Field(max_length=64, json_schema_extra=ATOMIC),
    ] = Field(default_factory=list, description="Forge projects whose Packit builds are accepted, as shell patterns.")
    auto_prune: bool = Field(True, description="Kept only.")
    devel_mode: bool = Field(False, description="Kept only: repositories are renewed after each build.")
    bootstrap: Bootstrap = Field("default", description="Kept only: builds here need no mock.")
    bootstrap_image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")] | None = Field(
        None, description="Kept only."
    )
    isolation: Isolation = Field("default", description="Kept only: builds here need no mock.")
    follow_fedora_branching: bool = Field(True, description="Kept only.")
    fedora_review: bool = Field(False, description="Kept only.")
    appstream: bool = Field(True, description="Kept only.")


class ChrootApiSettings(ApiModel):
    """Settings of Copr's API for one chroot that no build here depends on: kept only, and shown again."""

    additional_modules: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]],
        Field(max_length=32, json_schema_extra=ATOMIC),
    ] = Field(default_factory=list, description="Kept only: modules to enable, or with a leading ! to disable.")
    bootstrap: Literal["unchanged", "default", "on", "off", "image", "custom_image"] = Field(
        "unchanged", description="Kept only."
    )
    bootstrap_image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")] | None = Field(
        None, description="Kept only."
    )
    isolation: Literal["unchanged", "default", "nspawn", "simple"] = Field("unchanged", description="Kept only.")
