"""What an administrator adds to build pods, and what nobody can take away from them."""

from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from copr_operator.api.chroot import ChrootRepo, ChrootSpec
from copr_operator.cli import main
from copr_operator.core import names
from copr_operator.core.config import BuildPods, OperatorConfig
from copr_operator.core.manifests import job
from copr_operator.core.stepplan import step_plan
from tests.support.builders import CONFIG, D12, accepted, build, imported, observed, project

SRC = names.SOURCE_STEP


def config(**wanted: Any) -> OperatorConfig:
    return replace(CONFIG, build_pods=BuildPods.model_validate(wanted))


def template(step: str = SRC, chroot: ChrootSpec | None = None, **wanted: Any) -> dict[str, Any]:
    """The pod template of a step's Job."""
    status = accepted() if step == SRC else imported()
    world = observed(build(status)) if chroot is None else observed(build(status), chroots={D12: chroot})
    pod: dict[str, Any] = job(world, step, 1, config(**wanted))["spec"]["template"]
    return pod


def env(pod: dict[str, Any], container: str) -> dict[str, str]:
    containers = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    return next({e["name"]: e["value"] for e in c["env"]} for c in containers if c["name"] == container)


def test_a_setting_that_is_not_given_leaves_no_field() -> None:
    spec = template()["spec"]
    assert not {"affinity", "tolerations", "imagePullSecrets", "priorityClassName", "runtimeClassName"} & set(spec)


@pytest.mark.parametrize("step", [SRC, D12])
def test_placement_is_put_into_the_pods_of_every_step(step: str) -> None:
    tolerations = [{"key": "builds", "operator": "Exists", "effect": "NoSchedule"}]
    affinity: dict[str, Any] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    }
    spec = template(
        step, nodeSelector={"pool": "builds"}, tolerations=tolerations, affinity=affinity,
        priorityClassName="low", runtimeClassName="kata", imagePullSecrets=["registry"],
    )["spec"]  # fmt: skip
    assert spec["nodeSelector"]["pool"] == "builds"
    assert (spec["tolerations"], spec["affinity"]) == (tolerations, affinity)
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("low", "kata")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize(("background", "expected"), [(False, "builds"), (True, "leftovers")])
def test_background_builds_may_have_a_priority_of_their_own(background: bool, expected: str) -> None:
    wanted = config(priorityClassName="builds", backgroundPriorityClassName="leftovers")
    made = job(observed(build(accepted(), background=background)), SRC, 1, wanted)
    assert made["spec"]["template"]["spec"]["priorityClassName"] == expected


def test_a_chroot_wins_over_what_holds_for_all_pods() -> None:
    chroot = ChrootSpec(
        name=D12, image="chroot:1", arch="x86_64", runtime_class_name="gvisor", node_selector={"pool": "own"}
    )
    spec = template(D12, chroot, nodeSelector={"pool": "builds", "kubernetes.io/os": "other"}, runtimeClassName="kata")[
        "spec"
    ]
    assert spec["runtimeClassName"] == "gvisor"
    assert spec["nodeSelector"] == {"pool": "own", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}


def test_labels_and_annotations_are_added_to_the_pods_and_ours_stay() -> None:
    metadata = template(
        labels={"team": "a"},
        annotations={"note": "x y", "cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
    )["metadata"]
    assert metadata["labels"]["team"] == "a"
    assert metadata["labels"][names.LABEL_STEP] == "source"
    assert metadata["annotations"] == {"note": "x y", "cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def test_the_proxy_is_told_to_those_that_reach_the_world_and_not_to_collect() -> None:
    pod = template(env={"https_proxy": "http://proxy:3128", "HOME": "/tmp"})
    assert env(pod, "fetch")["https_proxy"] == env(pod, "source")["https_proxy"] == "http://proxy:3128"
    assert "https_proxy" not in env(pod, "collect")
    assert [e["value"] for e in pod["spec"]["containers"][0]["env"] if e["name"] == "HOME"][-1] == "/root"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodeSelctor": {}},
        {"labels": {names.LABEL_BUILD_ID: "1"}},
        {"labels": {names.LABEL_MANAGED_BY: "me"}},
        {"nodeSelector": {"a b": "c"}},
        {"env": {"a-b": "c"}},
        {"imagePullSecrets": ["Not a name"]},
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BuildPods.model_validate(wrong)


def test_the_controller_names_the_option_that_is_wrong_and_does_not_start() -> None:
    required = {"namespace": "a", "operator-image": "b", "source-image": "c", "backend-url": "http://d"}
    options = [f"--{name}={value}" for name, value in required.items()]
    done = CliRunner().invoke(main, ["controller", *options, '--build-pods={"tolerationz": []}'])
    assert done.exit_code == 2
    assert "--build-pods" in done.output
    assert "tolerationz" in done.output


def mounts(pod: dict[str, Any], container: str) -> dict[str, str]:
    """Volume -> path."""
    containers = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    (found,) = (c["volumeMounts"] for c in containers if c["name"] == container)
    return {mount["name"]: mount["mountPath"] for mount in found}


def test_the_jobs_of_a_queue_are_labelled_as_kueue_asks_and_their_pods_are_not() -> None:
    jobs = [job(observed(build(imported())), D12, 1, config(**wanted)) for wanted in ({"queueName": "q"}, {})]
    assert [one["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") for one in jobs] == ["q", None]
    assert "kueue.x-k8s.io/queue-name" not in jobs[0]["spec"]["template"]["metadata"]["labels"]


def test_packages_come_from_servers_that_the_administrators_ca_bundle_verifies() -> None:
    pod = template(D12, caConfigMap="company-ca")
    assert env(pod, "build")["SSL_CERT_FILE"] == f"{mounts(pod, 'build')['ca']}/ca.crt"
    assert {"name": "ca", "configMap": {"name": "company-ca"}} in pod["spec"]["volumes"]
    assert all("ca" not in mounts(pod, name) for name in ("fetch", "collect")), "these speak to the backend only"


def test_repositories_have_the_variables_and_priorities_of_copr() -> None:
    wanted = project(additional_repos=["copr://bob/tools?priority=5", "https://repo.example/$distname/?priority=7"])
    repos = {repo.id: (repo.baseurl, repo.priority) for repo in step_plan(
        observed(build(imported()), project=wanted), D12, 1, CONFIG).repos}  # fmt: skip
    assert repos["additional_1"] == (f"http://backend:8080/results/bob/tools/{D12}/", 5)
    assert repos["additional_2"] == ("https://repo.example/debian/", 7)


def test_the_priority_of_a_chroots_repository_is_the_administrators() -> None:
    repos = [
        ChrootRepo(id="a", baseurl="https://a.example/?priority=5"),
        ChrootRepo(id="b", baseurl="https://b.example/?priority=5", priority=9),
    ]
    world = observed(build(imported()), chroots={D12: ChrootSpec(name=D12, image="x:1", arch="x86_64", repos=repos)})
    found = {repo.id: (repo.baseurl, repo.priority) for repo in step_plan(world, D12, 1, CONFIG).repos}
    assert (found["a"], found["b"]) == (("https://a.example/", 5), ("https://b.example/", 9))


def test_the_backends_repositories_are_verified_by_its_own_ca_and_others_are_not() -> None:
    settings = replace(CONFIG, backend_ca_config_map="backend-ca")
    wanted = project(additional_repos=["copr://bob/tools", "https://repo.example/x"])
    world = observed(build(imported()), project=wanted)
    pod = job(world, D12, 1, settings)["spec"]["template"]
    bundle = f"{mounts(pod, 'build')['backend-ca']}/ca.crt"
    repos = {repo.id: repo.ca_file for repo in step_plan(world, D12, 1, settings).repos}
    assert repos == {"copr_base": bundle, "additional_1": bundle, "additional_2": None}
    assert {repo.ca_file for repo in step_plan(world, D12, 1, CONFIG).repos} == {None}
