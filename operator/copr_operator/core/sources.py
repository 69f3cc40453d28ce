"""What a source of the API means: for the build pod, for the choice of its image, and in the words of Copr's API. Pure.

The schema has checked every string already. Paths are checked here once more, because they become paths in a pod.
"""

import posixpath
import re
from typing import Any, Literal
from urllib.parse import urlsplit

from copr_operator.api.project import ProjectSpec
from copr_operator.api.sources import CustomSpec, DistGitSpec, PypiSpec, ScmSpec, SourceSpec
from copr_operator.core import urls
from copr_operator.core.config import DistGit, SourceSettings
from copr_operator.core.wire import (
    CustomSource,
    DistGitSource,
    LinkSource,
    PypiSource,
    RubyGemsSource,
    ScmSource,
    StepSource,
    UploadSource,
)

DEFAULT_PYTHON = ("3",)
DEFAULT_TEMPLATE = "fedora"
_FORK = re.compile(r"^forks?/[^/]+/")


class SourceError(Exception):
    """The source can't become an SRPM, whatever is done. `reason` is a name of core.reasons."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def detect_scm(url: str) -> Literal["git", "svn"]:
    """svn for svn:// and svn+ssh://, a path with /svn/ and one that ends in /trunk; git for all others.

    For any text: the API shows sources that can't be built too.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "git"
    path = parts.path.rstrip("/")
    if parts.scheme in ("svn", "svn+ssh") or "/svn/" in f"{path}/" or path.endswith("/trunk"):
        return "svn"
    return "git"


def step_source(source: SourceSpec, settings: SourceSettings) -> StepSource:
    """The source as the pod needs it. Raises SourceError when it can't be built in this installation."""
    if source.link is not None:
        return LinkSource(url=_readable(source.link.url, "the link"))
    if source.upload is not None:
        return UploadSource(ref=source.upload.ref, sha256=source.upload.sha256)
    if source.scm is not None:
        return _scm(source.scm)
    if source.distgit is not None:
        return _dist_git(source.distgit, settings)
    if source.pypi is not None:
        return _pypi(source.pypi, settings)
    if source.rubygems is not None:
        gem_source = _readable(settings.gem_source, "the gem source of this installation")
        return RubyGemsSource(name=source.rubygems.name, gem_source=gem_source)
    if source.custom is not None:
        sent = source.custom.hook_payload
        return CustomSource(
            script=script_text(source.custom.script),
            resultdir=inside(source.custom.resultdir or "", "resultdir"),
            payload=UploadSource(ref=sent.ref, sha256=sent.sha256) if sent is not None else None,
        )
    raise ValueError(f"a source of type {source.type} without its member: the schema refuses that")


def image_chroot(source: SourceSpec, project: ProjectSpec) -> str | None:
    """The chroot in whose image the source step runs; None for the installation's source image.

    User code that may need a distribution's own packages runs in the project's source chroot, `custom` in the one it
    names. The other tools are in the source image, unless the project has a source chroot for all its sources.
    """
    if source.custom is not None and source.custom.chroot is not None:
        return source.custom.chroot
    return project.source_chroot


def inside(path: str, what: str) -> str:
    """The path relative to its root, `.` for the root. A leading slash means the root too, as it does in Copr."""
    normal = posixpath.normpath(path.lstrip("/") or ".")
    if normal == ".." or normal.startswith("../") or "\0" in normal:
        raise SourceError("SourceRefused", f"{what} {path!r} leaves its root")
    return normal


def script_text(script: str) -> str:
    """Unix line ends, and one at the end, as Copr's form makes them."""
    text = script.replace("\r\n", "\n")
    return text if text.endswith("\n") else f"{text}\n"


def _readable(url: str, what: str) -> str:
    if problem := urls.problem(url):
        raise SourceError("SourceRefused", f"{what} is no usable URL: {problem}")
    return url


def _scm(scm: ScmSpec) -> ScmSource:
    subdirectory = inside(scm.subdirectory or "", "subdirectory")
    return ScmSource(
        scm=scm.type or detect_scm(scm.clone_url),
        clone_url=_readable(scm.clone_url, "cloneURL"),
        committish=scm.committish,
        subdirectory=subdirectory,
        # Joined first: a spec may be above its subdirectory, as long as it is in the repository.
        spec=inside(f"{subdirectory}/{scm.spec}", "spec") if scm.spec else None,
        method=scm.method,
        credentials=scm.credentials_secret is not None,
    )


def find_dist_git(distgit: DistGitSpec, settings: SourceSettings) -> DistGit:
    for instance in settings.dist_gits:
        if instance.name == distgit.instance:
            return instance
    known = ", ".join(instance.name for instance in settings.dist_gits)
    raise SourceError("UnknownDistGit", f"no dist-git is called {distgit.instance!r} here; known are: {known}")


def dist_git_clone_url(distgit: DistGitSpec, settings: SourceSettings) -> str:
    instance = find_dist_git(distgit, settings)
    return _expand(instance.clone_url, distgit.package, distgit.namespace or instance.namespace)


def _dist_git(distgit: DistGitSpec, settings: SourceSettings) -> DistGitSource:
    instance = find_dist_git(distgit, settings)
    # A fork has its own repository, but its files are in the lookaside cache of what it was forked from.
    namespace = _FORK.sub("", distgit.namespace or instance.namespace)
    return DistGitSource(
        package=distgit.package,
        clone_url=_readable(dist_git_clone_url(distgit, settings), f"cloneURL of the dist-git {instance.name}"),
        lookaside_url=_readable(
            _expand(instance.lookaside_url, distgit.package, namespace), f"lookasideURL of the dist-git {instance.name}"
        ),
        committish=distgit.committish,
    )


def _expand(pattern: str, package: str, namespace: str) -> str:
    return pattern.replace("{namespace}", namespace).replace("{package}", package)


def _pypi(pypi: PypiSpec, settings: SourceSettings) -> PypiSource:
    return PypiSource(
        name=pypi.name,
        version=pypi.version,
        python_versions=tuple(pypi.python_versions) or DEFAULT_PYTHON,
        generator=pypi.spec_generator,
        template=pypi.spec_template or DEFAULT_TEMPLATE,
        index_url=_readable(settings.pypi_url.rstrip("/"), "the package index of this installation"),
    )


def api_source(source: SourceSpec, settings: SourceSettings) -> tuple[str, dict[str, Any]]:
    """`source_type` and `source_dict` as Copr's API answers them for a build (its keys, its strings for lists)."""
    if source.link is not None:
        return "link", {"url": source.link.url}
    if source.upload is not None:
        tmp, _, name = source.upload.ref.partition("/")
        return "upload", {"url": None, "pkg": name, "tmp": tmp}
    if source.scm is not None:
        return "scm", _api_scm(source.scm)
    if source.distgit is not None:
        return "distgit", _api_dist_git(source.distgit, settings)
    if source.pypi is not None:
        return "pypi", {
            "pypi_package_name": source.pypi.name,
            "pypi_package_version": source.pypi.version or "",
            "spec_generator": source.pypi.spec_generator,
            "spec_template": source.pypi.spec_template or "",
            "python_versions": list(source.pypi.python_versions),
        }
    if source.rubygems is not None:
        return "rubygems", {"gem_name": source.rubygems.name}
    if source.custom is not None:
        return "custom", _api_custom(source.custom)
    raise ValueError(f"a source of type {source.type} without its member: the schema refuses that")


def _api_scm(scm: ScmSpec) -> dict[str, Any]:
    return {
        "type": scm.type or detect_scm(scm.clone_url),
        "clone_url": scm.clone_url,
        "committish": scm.committish or "",
        "subdirectory": scm.subdirectory or "",
        "spec": scm.spec or "",
        "srpm_build_method": scm.method,
    }


def _api_dist_git(distgit: DistGitSpec, settings: SourceSettings) -> dict[str, Any]:
    """Copr leaves out what was not given. An instance that is gone since has no clone URL any more."""
    try:
        clone_url = dist_git_clone_url(distgit, settings)
    except SourceError:
        clone_url = ""
    answer = {"clone_url": clone_url, "distgit": distgit.instance}
    if distgit.namespace is not None:
        answer["namespace"] = distgit.namespace
    if distgit.committish is not None:
        answer["committish"] = distgit.committish
    return answer


def _api_custom(custom: CustomSpec) -> dict[str, Any]:
    return {
        "script": script_text(custom.script),
        "chroot": custom.chroot or "",
        "builddeps": " ".join(custom.builddeps),
        "resultdir": custom.resultdir or "",
        "repos": " ".join(custom.repos),
    }
