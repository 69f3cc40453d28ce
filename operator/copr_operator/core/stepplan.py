"""What a build pod is told: a StepPlan out of the build, its project and its chroot."""

from collections.abc import Iterable

from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.project import ProjectChroot, ProjectSpec
from copr_operator.core import names, sources
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import Observed
from copr_operator.core.urls import expand_repo
from copr_operator.core.wire import ArtifactRef, EgressRules, RepoConfig, StepLimits, StepPlan


def step_plan(observed: Observed, step: str, attempt: int, config: OperatorConfig) -> StepPlan:
    """The plan of one step and attempt. The project and the chroot must be there (core.gates sees to it)."""
    build, project = observed.build, observed.project
    assert project is not None and build.status.id is not None  # noqa: S101, PT018 (core.gates has seen both)
    timeout = build.spec.timeout if project.spec.timeout is None else min(build.spec.timeout, project.spec.timeout)
    deadlines = config.deadlines
    common = StepPlan(
        build_id=build.status.id,
        build_uid=build.uid,
        namespace=build.namespace,
        owner=build.spec.owner,
        project=build.spec.project,
        dirname=build.dirname,
        submitter=build.spec.submitter,
        step="source",
        attempt=attempt,
        backend_url=config.backend_url,
        limits=StepLimits(timeout=timeout, end_signal=deadlines.starting + timeout + deadlines.running_slack),
    )
    if step == names.SOURCE_STEP:
        return _source_plan(common, observed, config)
    chroot = observed.chroots[step]
    settings = next((c for c in project.spec.chroots if c.name == step), ProjectChroot(name=step))
    source = build.status.source
    package, srpm = (source.package, source.srpm) if source is not None else (None, None)
    assert package is not None and srpm is not None, "the SRPM is latched first"  # noqa: S101, PT018 (see core.plan)
    repos = _repos(observed, step, chroot, project.spec, settings, config)
    enable_net = project.spec.enable_net if build.spec.enable_net is None else build.spec.enable_net
    return common.model_copy(
        update={
            "step": "rpm",
            "chroot": step,
            "package": package.name,
            "srpm": ArtifactRef(name=srpm.url.rpartition("/")[2], sha256=srpm.sha256),
            "enable_net": enable_net,
            "network_profile": chroot.network_profile,
            "repos": _with_private(repos, project.spec, config),
            "dist": chroot.dist,
            "release_ver": chroot.release_ver,
            "macros": dict(chroot.macros),
            "extra_packages": (*chroot.packages, *settings.additional_packages),
            "with_opts": tuple(settings.with_opts),
            "without_opts": tuple(settings.without_opts),
        }
    )


def _source_plan(common: StepPlan, observed: Observed, config: OperatorConfig) -> StepPlan:
    """In a chroot's image the source step has that chroot's packages and repositories, and `custom` its own on top."""
    project, source = observed.project, observed.build.spec.source
    assert project is not None and source is not None  # noqa: S101, PT018 (core.gates and core.plan have seen both)
    update: dict[str, object] = {
        "source": sources.step_source(source, config.sources),
        "egress": EgressRules(allow=config.sources.egress_allow, deny=config.sources.egress_deny),
        "enable_net": True,
    }
    repos: list[RepoConfig] = []
    packages: list[str] = []
    name = sources.image_chroot(source, project.spec)
    if name is not None:
        chroot = observed.chroots[name]
        update |= {"network_profile": chroot.network_profile, "release_ver": chroot.release_ver}
        repos += _chroot_repos(name, chroot, config)
        packages += chroot.packages
    if source.custom is not None:
        repos += [
            _repo(f"additional_{number}", url, name or "", config)
            for number, url in enumerate(source.custom.repos, start=1)
        ]
        packages += source.custom.builddeps
    update |= {"repos": _with_private(repos, project.spec, config), "extra_packages": tuple(packages)}
    return common.model_copy(update=update)


def _repos(
    observed: Observed,
    chroot_name: str,
    chroot: ChrootSpec,
    project: ProjectSpec,
    settings: ProjectChroot,
    config: OperatorConfig,
) -> tuple[RepoConfig, ...]:
    """The chroot's own repositories, then in Copr's order: the project's, the directory's, additional ones."""
    spec, dirname = observed.build.spec, observed.build.dirname
    own = f"{config.backend_url}/results/{spec.owner}"
    repos = _chroot_repos(chroot_name, chroot, config)
    repos.append(_repo("copr_base", f"{own}/{spec.project}/{chroot_name}/", chroot_name, config))
    if dirname != spec.project:
        repos.append(_repo("copr_coprdir", f"{own}/{dirname}/{chroot_name}/", chroot_name, config))
    for number, url in enumerate((*project.additional_repos, *settings.additional_repos), start=1):
        repos.append(_repo(f"additional_{number}", url, chroot_name, config))
    return tuple(repos)


def _with_private(repos: Iterable[RepoConfig], project: ProjectSpec, config: OperatorConfig) -> tuple[RepoConfig, ...]:
    """Marks those of a private project itself; what is private elsewhere its builds can't read either."""
    if not project.private:
        return tuple(repos)
    own = f"{config.backend_url}/results/{project.owner}/{project.name}"
    return tuple(
        repo.model_copy(update={"private": True}) if repo.baseurl.startswith((f"{own}/", f"{own}:")) else repo
        for repo in repos
    )


def _chroot_repos(name: str, chroot: ChrootSpec, config: OperatorConfig) -> list[RepoConfig]:
    return [_repo(repo.id, repo.baseurl, name, config, repo.priority) for repo in chroot.repos]


def _repo(repo_id: str, url: str, chroot: str, config: OperatorConfig, priority: int | None = None) -> RepoConfig:
    """The backend's own repositories are verified as the backend is."""
    baseurl, said = expand_repo(url, chroot, config.backend_url)
    ours = config.backend_ca_config_map is not None and baseurl.startswith(f"{config.backend_url}/")
    ca_file = f"{names.BACKEND_CA_DIR}/ca.crt" if ours else None
    return RepoConfig(id=repo_id, baseurl=baseurl, priority=said if priority is None else priority, ca_file=ca_file)
