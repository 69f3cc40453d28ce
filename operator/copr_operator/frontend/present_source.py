"""Sources of CoprBuilds in the words of Copr's API (contract 3.3, 4.3). Pure."""

from typing import Any
from urllib.parse import urlsplit

from copr_operator.api.sources import CustomSpec, DistGitSpec, PypiSpec, ScmSpec, SourceSpec


def source_dict(source: SourceSpec) -> dict[str, Any]:
    """Copr's keys, and its strings for lists."""
    if source.link is not None:
        return {"url": source.link.url}
    if source.upload is not None:
        folder, _, package = source.upload.ref.partition("/")
        return {"url": None, "pkg": package, "tmp": folder}
    if source.scm is not None:
        return _scm(source.scm)
    if source.distgit is not None:
        return _distgit(source.distgit)
    if source.pypi is not None:
        return _pypi(source.pypi)
    if source.rubygems is not None:
        return {"gem_name": source.rubygems.name}
    if source.custom is not None:
        return _custom(source.custom)
    return {}


def scm_type(scm: ScmSpec) -> str:
    """svn for svn:// and svn+ssh://, a path with /svn/ and one that ends in /trunk; git for all others."""
    if scm.type is not None:
        return scm.type
    parts = urlsplit(scm.clone_url)
    path = parts.path.rstrip("/")
    svn = parts.scheme in ("svn", "svn+ssh") or "/svn/" in f"{path}/" or path.endswith("/trunk")
    return "svn" if svn else "git"


def _scm(scm: ScmSpec) -> dict[str, Any]:
    return {
        "type": scm_type(scm),
        "clone_url": scm.clone_url,
        "committish": scm.committish or "",
        "subdirectory": scm.subdirectory or "",
        "spec": scm.spec or "",
        "srpm_build_method": scm.method,
    }


def _distgit(distgit: DistGitSpec) -> dict[str, Any]:
    """Copr leaves out what was not given."""
    optional = {"namespace": distgit.namespace, "committish": distgit.committish}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"package_name": distgit.package, "distgit": distgit.instance, **given}


def _pypi(pypi: PypiSpec) -> dict[str, Any]:
    return {
        "pypi_package_name": pypi.name,
        "pypi_package_version": pypi.version or "",
        "spec_generator": pypi.spec_generator,
        "spec_template": pypi.spec_template or "",
        "python_versions": pypi.python_versions,
    }


def _custom(custom: CustomSpec) -> dict[str, Any]:
    return {
        "script": custom.script,
        "chroot": custom.chroot or "",
        "builddeps": " ".join(custom.builddeps),
        "resultdir": custom.resultdir or "",
        "repos": " ".join(custom.repos),
    }
