"""The .repo file of a project (contract 7.4), and the same for dnf5 as JSON. Pure.

gpgcheck=0 until projects have keys: a file that names a key which isn't there breaks every install.
"""

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from copr_operator.core.observed import ProjectView
from copr_operator.core.urls import expand_repo
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.present import Json

_DIRNAME = re.compile(r"[A-Za-z0-9_.+-]+(:[A-Za-z0-9-]+)*")
_BY_RELEASEVER = ("fedora", "centos-stream", "opensuse-leap", "mageia")


def split_chroot(chroot: str) -> tuple[str, str, str]:
    """`fedora-43-x86_64` -> distribution, version, architecture."""
    release, _, arch = chroot.rpartition("-")
    distribution, _, version = release.rpartition("-")
    return distribution, version, arch


def repo_file(
    project: ProjectView, dirname: str, release: str, arch: str | None, results_url: str, frontend_url: str
) -> str:
    """For all chroots of a release. Raises CoprError 404, with the chroots there are in a header for dnf."""
    if not _DIRNAME.fullmatch(dirname):
        raise CoprError(404, "There is no such directory.")
    chroot = _chroot(project, release, arch)
    spec, host = project.spec, urlsplit(frontend_url).hostname or "copr"
    base = f"{results_url}/results/{spec.owner}/{dirname}"
    name = f"Copr repo for {dirname} owned by {spec.owner}"
    sections = [_section(_repo_id("copr", host, spec.owner, dirname), name, _baseurl(base, chroot), project)]
    for number, url in enumerate(spec.api_settings.runtime_dependencies, 1):
        sections.append(_dependency(url, number, chroot, project, results_url, host))
    return "\n".join(sections)


def _chroot(project: ProjectView, release: str, arch: str | None) -> str:
    wanted = f"{release}-{arch}" if arch else release
    for chroot in project.spec.chroots:
        distribution, version, _ = split_chroot(chroot.name)
        if wanted in (chroot.name, f"{distribution}-{version}"):
            return chroot.name
    available = [chroot.name for chroot in project.spec.chroots]
    data = base64.b64encode(json.dumps({"available chroots": available}).encode()).decode()
    full_name = f"{project.spec.owner}/{project.spec.name}"
    text = f"Chroot {wanted[:100]} does not exist in {full_name}.\nAvailable chroots:\n" + "\n".join(available) + "\n"
    raise CoprError(404, text, {"Copr-Error-Data": data})


def _baseurl(base: str, chroot: str) -> str:
    """One file is right for every release and architecture whose name dnf knows."""
    distribution, version, _ = split_chroot(chroot)
    if distribution in _BY_RELEASEVER and version not in ("rawhide", "cauldron", "eln"):
        version = "$releasever"
    return f"{base}/{distribution}-{version}-$basearch/"


def _section(repo_id: str, name: str, baseurl: str, project: ProjectView) -> str:
    lines = [
        f"[{repo_id}]",
        f"name={name}",
        f"baseurl={baseurl}",
        "type=rpm-md",
        "skip_if_unavailable=True",
        "gpgcheck=0",
        "repo_gpgcheck=0",
        "enabled=1",
        "enabled_metadata=1",
    ]
    if project.spec.api_settings.module_hotfixes:
        lines.append("module_hotfixes=1")
    if project.spec.api_settings.repo_priority is not None:
        lines.append(f"priority={project.spec.api_settings.repo_priority}")
    return "\n".join(lines) + "\n"


def _dependency(url: str, number: int, chroot: str, project: ProjectView, results_url: str, host: str) -> str:
    """A repository that the project needs at run time: another project of this installation, or any other."""
    dependent = f"{host}/{project.spec.owner}/{project.spec.name}"
    if url.startswith("copr://"):
        owner, _, dirname = url.removeprefix("copr://").partition("?")[0].partition("/")
        repo_id = _repo_id("coprdep", host, owner, dirname)
        name = f"Copr {dependent} runtime dependency #{number} - {owner}/{dirname}"
        baseurl = _baseurl(f"{results_url}/results/{owner}/{dirname}", chroot)
    else:
        plain = _plain(url)
        repo_id = f"coprdep:{plain}"
        name = f"Copr {dependent} external runtime dependency #{number} - {plain}"
        baseurl, _ = expand_repo(url, chroot, results_url)
    lines = ("type=rpm-md", "skip_if_unavailable=True", "repo_gpgcheck=0", "gpgcheck=0", "enabled=1",
             "enabled_metadata=1")  # fmt: skip
    return "\n".join((f"[{repo_id}]", f"name={name}", f"baseurl={baseurl}", *lines)) + "\n"


def rpmrepo(project: ProjectView, dirnames: Iterable[str], results_url: str, frontend_url: str) -> Json:
    """For dnf5's copr plugin."""
    spec, host = project.spec, urlsplit(frontend_url).hostname or "copr"
    options: Json = {}
    if spec.api_settings.module_hotfixes:
        options["module_hotfixes"] = "1"
    if spec.api_settings.repo_priority is not None:
        options["priority"] = spec.api_settings.repo_priority
    repos: Json = {}
    for chroot in spec.chroots:
        distribution, version, arch = split_chroot(chroot.name)
        repos.setdefault(f"{distribution}-{version}", {"arch": {}})["arch"][arch] = {"opts": dict(options)}
    answer: Json = {
        "results_url": f"{results_url}/results",
        "repos": repos,
        "directories": {name: {} for name in sorted({spec.name, *dirnames})},
        "dependencies": [_rpmrepo_dependency(url, number, project, host)
                         for number, url in enumerate(spec.api_settings.runtime_dependencies, 1)],
    }  # fmt: skip
    if spec.api_settings.delete_after_days is not None:
        answer["delete_after_days"] = spec.api_settings.delete_after_days
    return answer


def _rpmrepo_dependency(url: str, number: int, project: ProjectView, host: str) -> Json:
    dependent = f"{host}/{project.spec.owner}/{project.spec.name}"
    if url.startswith("copr://"):
        owner, _, dirname = url.removeprefix("copr://").partition("?")[0].partition("/")
        name = f"Copr {dependent} runtime dependency #{number} - {owner}/{dirname}"
        options = {"id": _repo_id("coprdep", host, owner, dirname), "name": name}
        return {"opts": options, "type": "copr", "data": {"owner": owner, "projectname": dirname}}
    plain = _plain(url)
    name = f"Copr {dependent} external runtime dependency #{number} - {plain}"
    return {"opts": {"id": f"coprdep:{plain}", "name": name}, "type": "external_baseurl", "data": {"pattern": url}}


def _repo_id(kind: str, host: str, owner: str, dirname: str) -> str:
    return f"{kind}:{host}:{owner.replace('@', 'group_')}:{dirname}"


def _plain(url: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", url).strip("_")
