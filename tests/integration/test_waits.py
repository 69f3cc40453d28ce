"""What a build waits for, against a real API server: it says why, and starts by itself when the cause goes away."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError
from tests.support.fake_kubelet import Status, now, running, succeed, waiting
from tests.support.world import CHROOTS, World, eventually

POLICIES = "/apis/admissionregistration.k8s.io/v1"


def verdict(build: dict[str, Any]) -> tuple[str, str]:
    """Reason and message of the condition Succeeded."""
    conditions = (build.get("status") or {}).get("conditions") or []
    return next(((c["reason"], c["message"]) for c in conditions if c["type"] == "Succeeded"), ("", ""))


def says(reason: str, words: str) -> Callable[[dict[str, Any]], bool]:
    return lambda build: verdict(build)[0] == reason and words in verdict(build)[1]


async def prepare(here: World) -> None:
    await here.create_chroots()
    await here.create_project()


async def enforce(here: World, level: str) -> None:
    body = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}
    await here.kube.patch(f"{paths.core('namespaces')}/{here.namespace}", body)


async def test_a_pod_that_pod_security_refuses(here: World) -> None:
    await prepare(here)
    await enforce(here, "restricted")
    async with here.controller():
        await here.create_build()
        build = await here.until(says("Held", "violates PodSecurity"))
        assert build["status"]["state"] == "starting"
        await enforce(here, "baseline")
        await here.until_state("succeeded")
        assert len(await here.jobs()) == 3, "no attempt was spent on it"


@contextlib.asynccontextmanager
async def denied(here: World, group: str, resource: str) -> AsyncIterator[str]:
    """A ValidatingAdmissionPolicy against a resource in this namespace, in force; the path of its binding."""
    name = f"no-{resource}-in-{here.namespace}"
    policy, binding = f"{POLICIES}/validatingadmissionpolicies", f"{POLICIES}/validatingadmissionpolicybindings"
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": here.namespace}}
    version = "admissionregistration.k8s.io/v1"
    await here.kube.create(policy, {
        "apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
                 "validations": [{"expression": "false", "message": "not on Mondays"}]},
    })  # fmt: skip
    await here.kube.create(binding, {
        "apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}},
    })  # fmt: skip
    try:

        async def in_force() -> bool:
            return "not on Mondays" in await refusal(here, resource)

        await eventually(in_force, lambda: "the policy does not come into force")
        yield f"{binding}/{name}"
    finally:
        for path in (f"{binding}/{name}", f"{policy}/{name}"):
            with contextlib.suppress(ApiError):
                await here.kube.delete(path)


async def refusal(here: World, resource: str) -> str:
    """What the API server says to one of that resource, which it does not make."""
    spec = {"containers": [{"name": "a", "image": "a"}], "restartPolicy": "Never"}
    probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec}
    path = paths.core("pods", here.namespace)
    if resource == "jobs":
        probe = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "probe"},
            "spec": {"template": {"spec": spec}},
        }
        path = paths.jobs(here.namespace)
    try:
        await here.kube.create(path, probe, {"dryRun": "All"})
    except ApiError as error:
        return error.message
    return ""


@pytest.mark.parametrize(("group", "resource", "state"), [("batch", "jobs", "pending"), ("", "pods", "starting")])
async def test_a_job_or_pod_that_an_admission_policy_refuses(
    here: World, group: str, resource: str, state: str
) -> None:
    await prepare(here)
    async with denied(here, group, resource) as binding, here.controller():
        await here.create_build()
        build = await here.until(says("Held", "not on Mondays"))
        assert build["status"]["state"] == state
        await here.kube.delete(binding)
        await here.until_state("succeeded")
        assert len(await here.jobs()) == 3, "no attempt was spent on it"


async def enable_chroot(here: World, enabled: bool) -> None:
    """The first of CHROOTS."""
    path = paths.copr("coprchroots", here.namespace, CHROOTS[0].replace("_", "-"))
    await here.kube.patch(path, {"spec": {"enabled": enabled}})


async def test_a_chroot_that_the_administrator_has_disabled(here: World) -> None:
    await prepare(here)
    await enable_chroot(here, False)
    async with here.controller():
        await here.create_build()
        await here.until(says("ChrootDisabled", CHROOTS[0]))
        await enable_chroot(here, True)
        await here.until_state("succeeded")


async def test_a_chroot_that_the_project_does_not_have_fails_at_once(here: World) -> None:
    await prepare(here)
    async with here.controller():
        await here.create_build(chroots=["fedora-99-x86_64"])
        build = await here.until_state("failed")
        assert build["status"]["failure"]["reason"] == "ChrootNotInProject"
        assert await here.jobs() == []


async def test_a_chroot_that_the_project_drops_while_the_build_waits(here: World) -> None:
    """The build waits for the administrator in one chroot, of which the project thinks better: the other goes on."""
    await prepare(here)
    await enable_chroot(here, False)
    async with here.controller():
        await here.create_build()
        await here.until(says("ChrootDisabled", CHROOTS[0]))
        left = {"spec": {"chroots": [{"name": CHROOTS[1]}]}}
        await here.kube.patch(paths.copr("coprprojects", here.namespace, "demo"), left)
        build = await here.until_state("failed")
        assert [chroot["state"] for chroot in build["status"]["chroots"]] == ["failed", "succeeded"]
        failure = build["status"]["failure"]
        assert (failure["class"], failure["reason"], failure["chroot"]) == ("user", "ChrootNotInProject", CHROOTS[0])
        assert len(await here.jobs()) == 2


async def test_an_image_that_does_not_exist(here: World) -> None:
    await prepare(here)
    here.kubelet.behaviour = lambda pod: waiting(pod, "ImagePullBackOff", "no such image")
    async with here.controller():
        await here.create_build()
        await here.until(says("Held", "ImagePullBackOff"))
        here.kubelet.behaviour = succeed
        await here.kubelet.look_again()
        await here.until_state("succeeded")


async def full_cluster(here: World) -> None:
    """What the scheduler says of every pod, which has no node."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are free",
                 "lastTransitionTime": now()}  # fmt: skip
    for pod in await here.pods():
        path = f"{paths.core('pods', here.namespace)}/{pod['metadata']['name']}/status"
        await here.kube.patch(path, {"status": {"conditions": [condition]}})


async def test_a_full_cluster_is_waited_for_and_takes_nothing_of_the_time_to_start(here: World) -> None:
    await prepare(here)
    here.deadlines = replace(here.deadlines, starting=0)
    here.kubelet.behaviour = lambda pod: None
    async with here.controller():
        await here.create_build()
        await eventually(lambda: count(here), lambda: "there is no pod")
        await full_cluster(here)
        build = await here.until(says("Unschedulable", "0/3 nodes are free"))
        assert build["status"]["state"] == "starting"
        here.kubelet.behaviour = succeed
        await here.kubelet.look_again()
        await here.until_state("succeeded")
        assert len(await here.jobs()) == 3, "no attempt was spent on it"


async def test_the_queue_timeout_ends_the_wait_for_a_node(here: World) -> None:
    await prepare(here)
    here.kubelet.behaviour = lambda pod: None
    async with here.controller():
        await here.create_build(queueTimeout=3)
        build = await here.until_state("failed")
        assert build["status"]["failure"]["reason"] == "QueueTimeout"
        await eventually(lambda: none_left(here), lambda: "a Job or pod is left")


async def none_left(here: World) -> bool:
    return not await here.jobs() and not await here.pods()


def without_sandbox(pod: dict[str, Any]) -> Status | None:
    """A pod that has its node, and no more."""
    return {"phase": "Pending", "startTime": now(), "conditions": [{"type": "PodScheduled", "status": "True"}]}


async def tell(here: World, reason: str, message: str) -> None:
    """A Warning of the kubelet about every pod."""
    for number, pod in enumerate(await here.pods()):
        meta = pod["metadata"]
        reference = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": here.namespace,
            "name": meta["name"],
            "uid": meta["uid"],
        }
        await here.kube.create(paths.core("events", here.namespace), {
            "apiVersion": "v1", "kind": "Event", "type": "Warning",
            "metadata": {"name": f"{meta['name']}.{reason.lower()}.{number}"},
            "involvedObject": reference, "reason": reason, "message": message, "source": {"component": "kubelet"},
            "firstTimestamp": now(), "lastTimestamp": now(), "count": 1,
        })  # fmt: skip


@pytest.mark.parametrize(
    ("event", "message", "expected"),
    [
        ("FailedCreatePodSandBox",
         "Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does not support user namespaces",
         "UserNamespacesUnavailable"),
        ("FailedMount", 'MountVolume.SetUp failed for volume "backend-ca" : configmap "ca" not found', "Held"),
    ],
)  # fmt: skip
async def test_a_node_that_can_not_give_the_pod_what_it_needs(
    here: World, event: str, message: str, expected: str
) -> None:
    await prepare(here)
    here.kubelet.behaviour = without_sandbox
    async with here.controller():
        await here.create_build()
        await here.until_state("starting")
        await eventually(lambda: count(here), lambda: "there is no pod")
        await tell(here, event, message)
        await tell(here, "FailedScheduling", "0/3 nodes are available")
        await here.until(says(expected, message))
        here.kubelet.behaviour = succeed
        await here.kubelet.look_again()
        build = await here.until_state("succeeded")
        assert build["status"]["source"]["attempt"] == 1


async def count(here: World) -> int:
    return len(await here.pods())


async def test_a_name_that_a_job_of_a_former_build_still_has(here: World) -> None:
    await here.create_chroots()
    async with here.controller():
        build = await here.create_build()
        await here.until(says("ProjectNotFound", ""))
        name = names.job_name(build["metadata"]["uid"], names.SOURCE_STEP, 1)
        owner = {"apiVersion": names.API_VERSION, "kind": "CoprBuild", "name": "hello", "controller": True,
                 "uid": f"{build['metadata']['uid'][:-4]}0000"}  # fmt: skip
        pod = {"containers": [{"name": "a", "image": "a"}], "restartPolicy": "Never"}
        meta = {"name": name, "ownerReferences": [owner], "finalizers": ["example.org/stays"]}
        await here.kube.create(
            paths.jobs(here.namespace),
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta,
             "spec": {"suspend": True, "template": {"spec": pod}}},
        )  # fmt: skip
        await here.create_project()
        await here.until(says("WaitingForPreviousJob", name))
        await here.kube.patch(paths.jobs(here.namespace, name), {"metadata": {"finalizers": None}})
        with contextlib.suppress(ApiError):  # the garbage collector may have been faster
            await here.kube.delete(paths.jobs(here.namespace, name))
        build = await here.until_state("succeeded")
        assert build["status"]["source"]["attempt"] == 1


async def test_a_circle_of_waiting_builds_fails_its_youngest_and_lets_the_other_go(here: World) -> None:
    await prepare(here)
    async with here.controller():
        await here.create_build("a", afterBuild="b")
        await here.until(says("WaitingForBatch", "CoprBuild b does not exist"), "a")
        await here.create_build("b", afterBuild="a")
        ends = {}
        for name in ("a", "b"):
            build = await here.until(lambda b: (b.get("status") or {}).get("state") in ("succeeded", "failed"), name)
            ends[build["status"]["state"]] = build
        assert ends["failed"]["status"]["failure"]["reason"] == "CircularWait"
        assert "wait for each other" in ends["failed"]["status"]["failure"]["message"]
        assert "succeeded" in ends


async def test_a_build_that_names_itself_fails(here: World) -> None:
    await prepare(here)
    async with here.controller():
        await here.create_build("a", afterBuild="a")
        build = await here.until_state("failed", "a")
        assert build["status"]["failure"]["reason"] == "CircularWait"


async def test_a_pod_that_runs_is_not_held_up_by_what_came_before(here: World) -> None:
    """An old Event of a pod says nothing any more once its containers run."""
    await prepare(here)
    here.kubelet.behaviour = without_sandbox
    async with here.controller():
        await here.create_build()
        await eventually(lambda: count(here), lambda: "there is no pod")
        await tell(here, "FailedCreatePodSandBox", "Failed to create pod sandbox: no address")
        await here.until(says("Held", "no address"))
        here.kubelet.behaviour = running
        await here.kubelet.look_again()
        await here.until(says("SourceRunning", ""))
