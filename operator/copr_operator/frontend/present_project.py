"""CoprProject -> the objects of Copr's API v3 (contract 3.5, 3.7, 3.8). Pure."""

import functools
import hashlib
from typing import Any

from copr_operator.api.project import ProjectChroot
from copr_operator.core.observed import BuildView, ProjectView
from copr_operator.core.urls import expand_repo
from copr_operator.frontend.present import Json


@functools.lru_cache(maxsize=65536)
def number(text: str) -> int:
    """A number for what has none here: the same for the same uid or name, other for others (52 bits)."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16)


def project_json(project: ProjectView, results_url: str) -> Json:
    """3.7."""
    spec, api = project.spec, project.spec.api_settings
    base = f"{results_url}/results/{spec.owner}/{spec.name}"
    return {
        "id": number(project.uid),
        "name": spec.name,
        "ownername": spec.owner,
        "full_name": f"{spec.owner}/{spec.name}",
        "homepage": api.homepage,
        "contact": api.contact,
        "description": spec.description,
        "instructions": api.instructions,
        "devel_mode": api.devel_mode,
        "persistent": api.persistent,
        "unlisted_on_hp": api.unlisted_on_hp,
        "auto_prune": api.auto_prune,
        "chroot_repos": {chroot.name: f"{base}/{chroot.name}/" for chroot in spec.chroots},
        "additional_repos": spec.additional_repos,
        "enable_net": spec.enable_net,
        "bootstrap": api.bootstrap,
        "isolation": api.isolation,
        "module_hotfixes": api.module_hotfixes,
        "appstream": api.appstream,
        "packit_forge_projects_allowed": api.packit_forge_projects_allowed,
        "follow_fedora_branching": api.follow_fedora_branching,
        "repo_priority": api.repo_priority,
        # What is told otherwise makes `copr-cli download-build` look for RPMs elsewhere (7.2).
        "storage": "backend",
        # Copr has no such key, and who reads this one knows of it.
        **({"private": True} if spec.private else {}),
    }


def chroot_json(project: ProjectView, chroot: ProjectChroot) -> Json:
    """3.8."""
    return {
        "mock_chroot": chroot.name,
        "projectname": project.spec.name,
        "ownername": project.spec.owner,
        "comps_name": None,
        "additional_repos": chroot.additional_repos,
        "additional_packages": chroot.additional_packages,
        "additional_modules": chroot.api_settings.additional_modules,
        "with_opts": chroot.with_opts,
        "without_opts": chroot.without_opts,
        "delete_after_days": None,
        "isolation": chroot.api_settings.isolation,
    }


def chroot_build_config(project: ProjectView, chroot: ProjectChroot, results_url: str) -> Json:
    """What a build in the chroot starts from (`copr-cli mock-config`)."""
    config: Json = {
        "chroot": chroot.name,
        "repos": _repos(project, chroot, project.spec.name, results_url),
        "additional_repos": _additional_repos(project, chroot),
        "additional_packages": chroot.additional_packages,
        "additional_modules": chroot.api_settings.additional_modules,
        "enable_net": project.spec.enable_net,
        "with_opts": chroot.with_opts,
        "without_opts": chroot.without_opts,
        "isolation": chroot.api_settings.isolation,
    }
    return {**config, **_bootstrap(project, chroot)}


def _bootstrap(project: ProjectView, chroot: ProjectChroot) -> Json:
    """What is said of mock's bootstrap; nothing where it is the default."""
    bootstrap = (
        chroot.api_settings.bootstrap
        if chroot.api_settings.bootstrap != "unchanged"
        else project.spec.api_settings.bootstrap
    )
    if bootstrap == "default":
        return {}
    image = chroot.api_settings.bootstrap_image or project.spec.api_settings.bootstrap_image
    return {"bootstrap": bootstrap, **({"bootstrap_image": image} if image is not None else {})}


def build_chroot_config(build: BuildView, project: ProjectView, chroot: ProjectChroot, results_url: str) -> Json:
    """3.5."""
    enable_net = build.spec.enable_net
    return {
        "repos": _repos(project, chroot, build.dirname, results_url),
        "additional_repos": _additional_repos(project, chroot),
        "additional_packages": chroot.additional_packages,
        "with_opts": chroot.with_opts,
        "without_opts": chroot.without_opts,
        "memory_limit": build.spec.memory_limit_mb,
        "timeout": build.spec.timeout,
        "enable_net": project.spec.enable_net if enable_net is None else enable_net,
        "is_background": build.spec.background,
    }


def build_task(build: BuildView, project: ProjectView, chroot: str, results_url: str) -> Json:
    """A chroot's task, as Copr's backend has it (7.1). There is no dist-git here and nothing to log in to."""
    settings = next((c for c in project.spec.chroots if c.name == chroot), ProjectChroot(name=chroot))
    config, api = build_chroot_config(build, project, settings, results_url), project.spec.api_settings
    package = build.status.source.package if build.status.source is not None else None
    owner, name = build.spec.owner, build.spec.project
    task: Json = {
        "task_id": f"{build.status.id}-{chroot}",
        "build_id": build.status.id,
        "project_owner": owner,
        "project_name": name,
        "project_dirname": build.dirname,
        "submitter": build.spec.submitter,
        "sandbox": f"{owner}/{name}--{build.spec.submitter}",
        "background": build.spec.background,
        "chroot": chroot,
        "tags": [],
        "timeout": config["timeout"],
        "enable_net": config["enable_net"],
        "memory_reqs": config["memory_limit"],
        "git_repo": None,
        "git_hash": None,
        "package_name": package.name if package is not None else build.spec.package_name,
        "package_version": package.version if package is not None else None,
        "repos": config["repos"],
        "buildroot_pkgs": settings.additional_packages,
        "with_opts": settings.with_opts,
        "without_opts": settings.without_opts,
        "isolation": api.isolation
        if settings.api_settings.isolation == "unchanged"
        else settings.api_settings.isolation,
        "uses_devel_repo": api.devel_mode,
        "fedora_review": api.fedora_review,
        "appstream": api.appstream,
        "repo_priority": api.repo_priority,
        "storage": "backend",
        "ssh_public_keys": None,
    }
    if settings.api_settings.additional_modules:
        task["modules"] = {"toggle": settings.api_settings.additional_modules}
    return {**task, **_bootstrap(project, settings)}


def _additional_repos(project: ProjectView, chroot: ProjectChroot) -> list[str]:
    """The project's own comes first."""
    own = f"copr://{project.spec.owner}/{project.spec.name}"
    return [own, *project.spec.additional_repos, *chroot.additional_repos]


def _repos(project: ProjectView, chroot: ProjectChroot, dirname: str, results_url: str) -> list[Json]:
    """The repositories that builds use beside the chroot's own, in the order of stepplan.py."""
    base = f"{results_url}/results/{project.spec.owner}"
    found = [_repo("copr_base", "Copr repository", f"{base}/{project.spec.name}/{chroot.name}/")]
    if dirname != project.spec.name:
        found.append(_repo("copr_coprdir", "Copr directory repository", f"{base}/{dirname}/{chroot.name}/"))
    for position, url in enumerate((*project.spec.additional_repos, *chroot.additional_repos), 1):
        baseurl, priority = expand_repo(url, chroot.name, results_url)
        found.append(_repo(f"additional_repo_{position}", f"Additional repo {url}", baseurl, priority))
    return found


def _repo(repo_id: str, name: str, baseurl: str, priority: int | None = None) -> dict[str, Any]:
    return {
        "id": repo_id, "name": name, "baseurl": baseurl, "priority": priority, "module_hotfixes": None,
        "repo_gpgcheck": False,
    }  # fmt: skip
