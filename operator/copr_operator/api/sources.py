"""Where an SRPM comes from: the seven sources of Copr's API, as the member `source` of a CoprBuild.

The bounds are those of Copr's forms where it has any. No string may begin with a dash: each of them becomes an argument
of some program. Paths stay inside the repository; core.sources checks all of it once more before anything runs.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from copr_operator.api.common import (
    ATOMIC,
    ApiModel,
    ChrootName,
    HttpUrl,
    ObjectName,
    RepoUrls,
    Requirement,
    Sha256,
    cel,
)

SourceType = Literal["link", "upload", "scm", "distgit", "pypi", "rubygems", "custom"]
SOURCE_TYPES: tuple[SourceType, ...] = ("link", "upload", "scm", "distgit", "pypi", "rubygems", "custom")

# Neither the user nor the host may look like an option: git and svn hand both to ssh.
CloneUrl = Annotated[
    str,
    Field(
        min_length=8,
        max_length=2048,
        pattern=r"^(https?|git|ssh|svn|svn\+ssh)://([A-Za-z0-9_][A-Za-z0-9._~:%-]*@)?[A-Za-z0-9\[][A-Za-z0-9.:\[\]_-]*"
        r"([/?#][!-~]*)?$",
    ),
]
# A branch, a tag, a commit, or a whole ref; never an option of git, a refspec or a pattern.
Committish = Annotated[
    str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9_.@][A-Za-z0-9_.@/+=,#%~^{}()-]*$")
]
RepositoryPath = Annotated[
    str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9_./+@][A-Za-z0-9_./+@~^,= -]*$")
]
SpecPath = Annotated[
    str, Field(min_length=6, max_length=512, pattern=r"^[A-Za-z0-9_./+@][A-Za-z0-9_./+@~^,= -]*\.spec$")
]
DistGitInstance = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*$")]
DistGitNamespace = Annotated[
    str,
    Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$"),
]
DistGitPackage = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_+][A-Za-z0-9_.+-]*$")]
PypiName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
PypiVersion = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*$")]
PythonVersion = Annotated[str, Field(min_length=1, max_length=6, pattern=r"^[0-9]{1,2}(\.[0-9]{1,3})?$")]
GemName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Script = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]


def _with_host(field: str) -> dict[str, Any]:
    """Of what the pattern admits, the URLs that can be read. A rule, so that what was admitted before is still read:
    core.sources says what is wrong with it."""
    host = r"([^@/?#]*@)?([^:@/?#\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?"
    return cel(
        (
            f"self.matches(r'^[a-z+]+://{host}([/?#]|$)')",
            f"{field} needs a host: brackets are for an IPv6 address, and a port is a number",
        )
    )


def _inside(field: str, root: str) -> dict[str, Any]:
    """A path must not leave its root. RE2 and Rust's expressions can't say "no .. in it", so CEL does."""
    return cel((r"!self.matches('(^|/)[.][.](/|$)')", f"{field} must not leave {root}: no '..' in it"))


class LinkSpec(ApiModel):
    """A file on a web server."""

    url: HttpUrl = Field(
        description="http or https URL of an .src.rpm, or of a .spec whose Source and Patch URLs are downloaded too.",
        json_schema_extra=_with_host("url"),
    )


class UploadSpec(ApiModel):
    """A file that was sent to the backend before."""

    ref: Annotated[
        str, Field(min_length=1, max_length=320, pattern=r"^[A-Za-z0-9_-]+/[A-Za-z0-9][A-Za-z0-9_.+~^-]*$")
    ] = Field(description="Reference of the uploaded .src.rpm or .spec, as `copr-operator upload FILE` printed it.")
    sha256: Sha256 | None = Field(None, description="SHA-256 of the file; the build fails when it differs.")


class ScmSpec(ApiModel):
    """A repository of git or Subversion."""

    type: Literal["git", "svn"] | None = Field(
        None,
        description="git or svn. Absent: svn for svn:// and svn+ssh:// URLs, a path with /svn/ or one that ends in "
        "/trunk; git for all others.",
    )
    clone_url: CloneUrl = Field(
        alias="cloneURL",
        description="URL of the repository: https, http, git, ssh, svn or svn+ssh.",
        json_schema_extra=_with_host("cloneURL"),
    )
    committish: Committish | None = Field(
        None,
        description="Branch, tag, commit or refs/...; for svn a revision. Absent: the repository's default branch.",
    )
    subdirectory: RepositoryPath | None = Field(
        None,
        description="Directory of the spec and the sources below the repository's root.",
        json_schema_extra=_inside("subdirectory", "the repository"),
    )
    spec: SpecPath | None = Field(
        None,
        description="Path of the .spec below subdirectory. Absent: the only spec there.",
        json_schema_extra=_inside("spec", "the repository"),
    )
    method: Literal["rpkg", "tito", "tito_test", "make_srpm"] = Field(
        "rpkg",
        description="Tool that makes the SRPM: rpkg; tito (the latest tag); tito_test (the commit checked out); "
        "make_srpm (target srpm of .copr/Makefile at the repository's root).",
    )
    credentials_secret: ObjectName | None = Field(
        None,
        description="Name of a Secret of this namespace, of type kubernetes.io/basic-auth or kubernetes.io/ssh-auth, "
        "for a private repository. Its key `hosts` names the hosts it may be used for. Only the clone sees it, never "
        "code of the repository.",
    )


class DistGitSpec(ApiModel):
    """A package of a dist-git: a git repository with the spec, and a lookaside cache with the sources."""

    package: DistGitPackage = Field(description="Name of the package in the dist-git.")
    instance: DistGitInstance = Field(
        "fedora", description="Name of the dist-git: fedora, centos, or one the installation defines."
    )
    namespace: DistGitNamespace | None = Field(
        None, description="Namespace in the dist-git, e.g. rpms or forks/USER/rpms. Absent: the instance's default."
    )
    committish: Committish | None = Field(
        None, description="Branch, tag, commit or refs/.... Absent: the repository's default branch."
    )


class PypiSpec(ApiModel):
    """A package of a Python package index; its spec is generated."""

    name: PypiName = Field(description="Name of the package in the index.")
    version: PypiVersion | None = Field(None, description="Version of the package. Absent: the latest.")
    python_versions: Annotated[list[PythonVersion], Field(max_length=8, json_schema_extra=ATOMIC)] = Field(
        default_factory=list,
        description="Versions of Python to build for, X or X.Y, as strings (3.10 without quotes is the number 3.1); "
        "the first is the base version. For pyp2rpm only.",
    )
    spec_generator: Literal["pyp2spec", "pyp2rpm"] = Field("pyp2spec", description="Tool that writes the spec.")
    spec_template: Literal["fedora", "epel7", "mageia", "pld"] | None = Field(
        None, description="Template of the spec. For pyp2rpm only. Absent: fedora."
    )


class RubyGemsSpec(ApiModel):
    """A gem; its spec is generated by gem2rpm."""

    name: GemName = Field(description="Name of the gem in the gem source.")


class CustomSpec(ApiModel):
    """A script that brings a spec and its sources, or an SRPM."""

    script: Script = Field(
        description="The script; its first line names the interpreter (#!). It runs unprivileged, with network, with "
        "COPR_OWNER, COPR_PROJECT, COPR_PACKAGE and COPR_RESULTDIR in its environment."
    )
    chroot: ChrootName | None = Field(
        None,
        description="Chroot in whose image the script runs. Absent: the project's sourceChroot, else the source image.",
    )
    builddeps: Annotated[list[Requirement], Field(max_length=64, json_schema_extra=ATOMIC)] = Field(
        default_factory=list, description="Packages that are installed before the script runs."
    )
    resultdir: RepositoryPath | None = Field(
        None,
        description="Directory below the working directory in which the script leaves its results. Absent: the working "
        "directory itself.",
        json_schema_extra=_inside("resultdir", "the working directory"),
    )
    repos: RepoUrls = Field(default_factory=list, description="Further repositories for builddeps.")
    hook_payload: UploadSpec | None = Field(
        None,
        description="A file sent to the backend before that the script finds as `hook_payload` in its working "
        "directory: what called a custom webhook.",
    )


class SourceSpec(ApiModel):
    """Where the SRPM comes from: `type`, and the one member of that name."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "[" + ", ".join(f"has(self.{t})" for t in SOURCE_TYPES) + "].filter(x, x).size() == 1",
                "source needs exactly one member, the one that type names",
            ),
            *(
                (f"self.type != '{t}' || has(self.{t})", f"source.type is '{t}', so source.{t} must be given")
                for t in SOURCE_TYPES
            ),
        )
    )

    type: SourceType = Field(description="How the SRPM is made: link, upload, scm, distgit, pypi, rubygems or custom.")
    link: LinkSpec | None = Field(None, description="For type link: a file on a web server.")
    upload: UploadSpec | None = Field(None, description="For type upload: a file sent to the backend before.")
    scm: ScmSpec | None = Field(None, description="For type scm: a repository of git or Subversion.")
    distgit: DistGitSpec | None = Field(None, description="For type distgit: a package of a dist-git.")
    pypi: PypiSpec | None = Field(None, description="For type pypi: a package of a Python package index.")
    rubygems: RubyGemsSpec | None = Field(None, description="For type rubygems: a gem.")
    custom: CustomSpec | None = Field(None, description="For type custom: a script that brings spec and sources.")
