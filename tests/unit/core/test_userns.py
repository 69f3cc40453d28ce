"""Nodes that can't give a pod a user namespace: their words, and what becomes of a build."""

from typing import Any

import pytest

from copr_operator.core import actions
from copr_operator.core import names as core_names
from copr_operator.core.observed import PodView, Refusal
from copr_operator.core.plan import Plan, plan
from copr_operator.core.userns import lacks_user_namespaces, without_ids
from tests.support.builders import CONFIG, accepted, at, build, container, job, observed, pod, reason

SRC = core_names.SOURCE_STEP
IDMAP = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: error during container init: failed to fulfil mount request: failed to set "
    "MOUNT_ATTR_IDMAP on /srv/x: invalid argument (maybe the filesystem used doesn't support idmap mounts on this "
    "kernel?): unknown"
)
"""runc; the Kubernetes documentation of user namespaces."""
LACKING = (
    # kubelet, pkg/kubelet/userns
    "Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does not support user namespaces",
    "Failed to create pod sandbox: can't set `spec.hostUsers: false`, RuntimeClass handler \"kata\" does not support "
    "user namespaces",
    # containerd, user.max_user_namespaces is 0 (siderolabs/talos#8554); AppArmor or a sysctl forbids it
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create network namespace for sandbox "
    '"0752eaba05387bb7782ff1ad87ebd37ec3e1129e4e6e8c0695fc4337eac088d5": failed to start noop process for unshare: '
    "fork/exec /proc/self/exe: no space left on device",
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create network namespace for sandbox "
    '"4aaef6805ae4171d2cb5c87818cc5d5dadd83d589ee148bfd85008719d2d1485": failed to start noop process for unshare: '
    "fork/exec /proc/self/exe: operation not permitted",
    # CRI-O (kubernetes/kubernetes#114011, cri-o/cri-o#7568)
    'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to mount container k8s_POD in pod sandbox '
    'k8s_x(49c15575d729): create mapped mount for "/var/lib/containers/storage/overlay": invalid argument',
    "Failed to create pod sandbox: rpc error: code = Unknown desc = creating pod sandbox: not enough unused IDs in "
    "user namespace",
    IDMAP,
)  # fmt: skip
OTHERS = (
    'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "x": plugin '
    'type="bridge" failed (add): failed to allocate for range 0: no IP addresses available',
    'MountVolume.SetUp failed for volume "backend-ca" : configmap "ca" not found',
    "",
)


@pytest.mark.parametrize("message", LACKING)
def test_the_words_of_a_node_without_user_namespaces(message: str) -> None:
    assert lacks_user_namespaces(message)


@pytest.mark.parametrize("message", OTHERS)
def test_the_words_of_other_troubles(message: str) -> None:
    assert not lacks_user_namespaces(message)


def test_two_tries_say_the_same_once_the_ids_are_gone() -> None:
    first, second = (f'sandbox "{char * 64}": no space' for char in "ab")
    assert without_ids(first) == without_ids(second) == 'sandbox "…": no space'


SOURCE = job(SRC)


def waiting(**changes: Any) -> PodView:
    return pod(SOURCE, "Pending", node="n1", source=container("waiting", reason="PodInitializing"), **changes)


def planned(of: PodView, now: float, told: Refusal | None = None, source_state: str = "pending") -> Plan:
    refusals = {of.name: told} if told is not None else {}
    return plan(observed(build(accepted()), SOURCE, pods=(of,), refusals=refusals, now=now), CONFIG)


def test_a_pod_that_has_its_node_and_does_not_start_is_asked_about_after_ten_seconds_and_again() -> None:
    stuck = waiting()
    assert planned(stuck, 9).requeue_at == at(10)
    assert planned(stuck, 10).actions == (actions.ReadPodEvents(stuck.name, stuck.uid),)
    told = Refusal(0, "", at(10))
    assert planned(stuck, 39, told).requeue_at == at(40)
    assert planned(stuck, 40, told).actions == (actions.ReadPodEvents(stuck.name, stuck.uid),)


@pytest.mark.parametrize("begun", [{"sandboxed": True}, {"fetch": container("running")}])
def test_a_pod_whose_sandbox_is_there_is_not_asked_about(begun: dict[str, Any]) -> None:
    decision = planned(waiting(**begun), 100, Refusal(0, LACKING[0], at(10)))
    assert decision.actions == ()
    assert reason(decision) == "Starting"


@pytest.mark.parametrize("message", LACKING[:2])
def test_a_node_without_user_namespaces_is_told_at_once_and_fails_the_build_in_the_end(message: str) -> None:
    held = planned(waiting(), 11, Refusal(0, message, at(10)))
    assert reason(held) == "UserNamespacesUnavailable"
    assert held.status is not None
    assert held.status.state == "starting"
    assert held.status.conditions[0].message == f"node n1: {message}"
    late = planned(waiting(), 600, Refusal(0, message, at(590)))
    assert late.status is not None
    failure = late.status.failure
    assert failure is not None
    assert (failure.reason, failure.failure_class) == ("UserNamespacesUnavailable", "policy")
    assert failure.message == f"node n1: {message}"


@pytest.mark.parametrize("message", OTHERS[:2])
def test_other_troubles_of_a_sandbox_or_volume_are_told_and_tried_again(message: str) -> None:
    held = planned(waiting(), 11, Refusal(0, message, at(10)))
    assert reason(held) == "Held"
    late = planned(waiting(), 600, Refusal(0, message, at(590)))
    assert late.status is not None
    assert late.status.source is not None
    assert (late.status.source.attempt, reason(late)) == (2, "Retrying")
    assert message in late.status.conditions[0].message


def test_a_container_that_can_not_be_started_in_it_ends_the_build_and_no_attempt_is_spent() -> None:
    """With restartPolicy Never the pod fails when the runtime can't start a container."""
    ended = job(SRC, state="failed")
    cases: tuple[dict[str, Any], ...] = ({"fetch": container(code=128, message=IDMAP, reason="StartError")},
                       {"source": container(code=128, message=IDMAP, reason="StartError")})  # fmt: skip
    for containers in cases:
        world = observed(build(accepted()), ended, pods=(pod(ended, "Failed", node="n1", **containers),))
        decision = plan(world, CONFIG)
        assert decision.status is not None
        assert decision.status.failure is not None
        assert decision.status.failure.reason == "UserNamespacesUnavailable"
        assert decision.status.failure.message.startswith("node n1: ")


def test_what_the_code_itself_says_of_user_namespaces_is_no_such_thing() -> None:
    ended = job(SRC, state="failed")
    said = container(code=1, message="user namespace", reason="Error")
    decision = plan(observed(build(accepted()), ended, pods=(pod(ended, "Failed", source=said),)), CONFIG)
    assert decision.status is not None
    assert decision.status.failure is not None
    assert decision.status.failure.failure_class == "user"
