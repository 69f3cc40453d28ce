"""The pod of the source step: who sees what, in which image, with which packages and repositories."""

import re
from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.chroot import ChrootRepo, ChrootSpec
from copr_operator.core import manifests, names
from copr_operator.core.config import BuildPods, OperatorConfig, SourceSettings
from copr_operator.core.plan import plan
from copr_operator.core.wire import EgressRules, StepPlan
from tests.support.builders import CONFIG, D12, D13, accepted, build, imported, job, observed, project
from tests.support.builders import container as ended
from tests.support.builders import pod as failed_pod

CHROOTS = {
    D12: ChrootSpec(name=D12, image="debian-12:1", arch="x86_64"),
    D13: ChrootSpec(
        name=D13, image="debian-13:1", arch="x86_64", packages=["gcc"], release_ver="13", network_profile="sysadmin",
        repos=[ChrootRepo(id="base", baseurl="https://mirror.example/$chroot/")],
    ),
}  # fmt: skip
SCM = {"type": "scm", "scm": {"cloneURL": "https://git.example/hello.git", "credentialsSecret": "key"}}
PYPI = {"type": "pypi", "pypi": {"name": "six"}}
DISTGIT = {"type": "distgit", "distgit": {"package": "hello"}}


def pod(source: dict[str, Any], config: OperatorConfig = CONFIG, **project_spec: Any) -> dict[str, Any]:
    of = build(accepted(), source=source)
    seen = observed(of, project=project(**project_spec), chroots=CHROOTS)
    spec: dict[str, Any] = manifests.job(seen, names.SOURCE_STEP, 1, config)["spec"]["template"]["spec"]
    return spec


def container(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in (*spec["initContainers"], *spec["containers"]) if c["name"] == name)


def mounts(spec: dict[str, Any], name: str) -> set[str]:
    return {mount["name"] for mount in container(spec, name)["volumeMounts"]}


def plan_in(spec: dict[str, Any]) -> StepPlan:
    env = {entry["name"]: entry["value"] for entry in container(spec, "fetch")["env"]}
    return StepPlan.model_validate_json(env["COPR_PLAN"])


def as_the_kubelet_expands(env: list[dict[str, str]]) -> dict[str, str]:
    """What the container gets: `$$` is `$`, `$(NAME)` a variable that came before, or what it is if there is none."""
    known: dict[str, str] = {}

    def put_in(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else known.get(found[1], found[0])

    for entry in env:
        known[entry["name"]] = re.sub(r"\$\$|\$\(([^)]*)\)", put_in, entry["value"])
    return known


@pytest.mark.parametrize("text", ["kill $$", "$$$$", "$(PROXY)", "$$(PROXY)", "$(date) $HOME ${x}", r"a\$ \\$$", "$"])
@pytest.mark.parametrize("name", ["fetch", "collect"])
def test_a_script_reaches_its_pod_as_it_was_written(name: str, text: str) -> None:
    config = replace(CONFIG, build_pods=BuildPods(env={"PROXY": "http://proxy.example"}))
    script = f"#!/bin/sh\n{text}\n"
    spec = pod({"type": "custom", "custom": {"script": script}}, config)
    told = StepPlan.model_validate_json(as_the_kubelet_expands(container(spec, name)["env"])["COPR_PLAN"])
    assert told.source is not None
    assert told.source.type == "custom"
    assert told.source.script == script


def test_variables_of_the_administrator_may_name_each_other() -> None:
    """Those are Kubernetes' own, as in any pod."""
    config = replace(CONFIG, build_pods=BuildPods(env={"PROXY": "http://p.example", "http_proxy": "$(PROXY)"}))
    for name in ("fetch", "source"):
        assert as_the_kubelet_expands(container(pod(SCM, config), name)["env"])["http_proxy"] == "http://p.example"


def test_the_secret_of_a_private_repository_is_in_fetch_only() -> None:
    spec = pod(SCM)
    (volume,) = [volume for volume in spec["volumes"] if "secret" in volume]
    assert volume["secret"] == {"secretName": "key", "optional": True, "defaultMode": 0o400}
    assert {name for name in ("fetch", "source", "collect") if volume["name"] in mounts(spec, name)} == {"fetch"}
    assert "key" not in plan_in(spec).model_dump_json()


@pytest.mark.parametrize("source", [PYPI, DISTGIT])
def test_without_a_secret_there_is_none_in_the_pod(source: dict[str, Any]) -> None:
    assert not any("secret" in volume for volume in pod(source)["volumes"])


@pytest.mark.parametrize(("source", "clones"), [(SCM, True), (DISTGIT, True), (PYPI, False)])
def test_what_git_is_configured_with_is_in_memory_and_in_fetch_only(source: dict[str, Any], clones: bool) -> None:
    spec = pod(source)
    assert ("private" in mounts(spec, "fetch")) is clones
    assert all("private" not in mounts(spec, name) for name in ("source", "collect"))
    memory = [volume["emptyDir"] for volume in spec["volumes"] if volume["name"] == "private"]
    assert memory == ([{"medium": "Memory", "sizeLimit": "16Mi"}] if clones else [])


@pytest.mark.parametrize(("source", "clones"), [(SCM, True), (PYPI, False)])
def test_a_source_that_takes_more_memory_than_fetch_has_is_the_users_failure_with_that_limit(
    source: dict[str, Any], clones: bool
) -> None:
    what = "for a repository" if clones else "for a file"
    limit = container(pod(source), "fetch")["resources"]["limits"]["memory"]
    first = job(names.SOURCE_STEP, state="failed", reason="PodFailurePolicy")
    killed = failed_pod(first, "Failed", fetch=ended(code=137, reason="OOMKilled"))
    decided = plan(observed(build(accepted(), source=source), first, pods=(killed,)), CONFIG)
    assert decided.status is not None
    assert decided.status.failure is not None
    assert (decided.status.failure.failure_class, decided.status.failure.reason) == ("user", "OOMKilled")
    assert f"{limit} {what}" in decided.status.failure.message


def test_a_chroots_step_that_takes_more_memory_in_fetch_is_tried_again() -> None:
    first = job(D12, state="failed", reason="PodFailurePolicy")
    killed = failed_pod(first, "Failed", fetch=ended(code=137, reason="OOMKilled"))
    decided = plan(observed(build(imported()), first, pods=(killed,)), CONFIG)
    assert decided.status is not None
    assert {chroot.name: chroot.attempt for chroot in decided.status.chroots}[D12] == 2


def test_untrusted_code_has_no_token_no_plan_and_only_reads_its_input() -> None:
    work = container(pod(SCM), "source")
    assert {mount["name"]: mount.get("readOnly", False) for mount in work["volumeMounts"]} == {
        "in": True, "out": False, "ctl": False,
    }  # fmt: skip
    assert {entry["name"] for entry in work["env"]} == {"HOME", "LANG"}


def test_the_checksum_of_the_source_reaches_collect_where_untrusted_code_can_not_change_it() -> None:
    spec = pod({"type": "link", "link": {"url": "https://x.example/hello.spec"}})
    seen = {
        name: {mount["mountPath"]: mount.get("readOnly", False) for mount in container(spec, name)["volumeMounts"]}
        for name in ("fetch", "source", "collect")
    }
    assert {name: read_only[names.IN_DIR] for name, read_only in seen.items()} == {
        "fetch": False, "source": True, "collect": True,
    }  # fmt: skip


def test_the_ca_bundle_for_servers_outside_is_where_they_are_asked() -> None:
    config = replace(CONFIG, build_pods=BuildPods.model_validate({"caConfigMap": "company-ca"}))
    spec = pod(PYPI, config)
    for name in ("fetch", "source"):
        assert "ca" in mounts(spec, name)
        variables = {entry["name"]: entry["value"] for entry in container(spec, name)["env"]}
        assert {variables[known] for known in manifests.CA_VARIABLES} == {"/copr/ca/ca.crt"}
    assert "ca" not in mounts(spec, "collect")
    assert {"name": "ca", "configMap": {"name": "company-ca"}} in spec["volumes"]


def test_the_rules_for_hosts_are_in_the_plan() -> None:
    config = replace(CONFIG, sources=SourceSettings(egress_allow=("git.internal",), egress_deny=("203.0.114.0/24",)))
    assert plan_in(pod(SCM, config)).egress == EgressRules(allow=("git.internal",), deny=("203.0.114.0/24",))


def test_a_source_runs_in_the_source_image_unless_the_project_has_a_source_chroot() -> None:
    assert container(pod(SCM), "source")["image"] == "source:1"
    assert container(pod(SCM, source_chroot=D13), "source")["image"] == "debian-13:1"


def test_a_custom_source_has_its_chroot_its_packages_and_its_repositories() -> None:
    custom = {"script": "#!/bin/sh", "chroot": D13, "builddeps": ["git"], "repos": ["copr://bob/tools"]}
    spec = pod({"type": "custom", "custom": custom}, source_chroot=D12)
    plan = plan_in(spec)
    assert container(spec, "source")["image"] == "debian-13:1"
    assert plan.extra_packages == ("gcc", "git")
    assert [(repo.id, repo.baseurl) for repo in plan.repos] == [
        ("base", f"https://mirror.example/{D13}/"),
        ("additional_1", f"http://backend:8080/results/bob/tools/{D13}/"),
    ]
    assert (plan.release_ver, plan.network_profile, plan.enable_net) == ("13", "sysadmin", True)
    assert "SYS_ADMIN" in container(spec, "source")["securityContext"]["capabilities"]["add"]


def test_a_custom_source_in_the_source_image_has_only_what_it_asks_for() -> None:
    plan = plan_in(pod({"type": "custom", "custom": {"script": "x", "builddeps": ["git"]}}))
    assert (plan.extra_packages, plan.repos) == (("git",), ())
