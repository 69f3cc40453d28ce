"""Who may do what: every link between a token and a build is checked."""

import dataclasses
from typing import Any

import pytest

from copr_operator.backend.errors import HttpError
from copr_operator.backend.identity import CACHE_SECONDS, Identities
from copr_operator.backend.kept import SIZE
from tests.unit.backend.world import CHROOT, CONTROLLER, NAMESPACE, Clock, World, bearer, build_path, results

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def only(objects: dict[str, Any], below: str) -> dict[str, Any]:
    """The one object below a path."""
    (found,) = (item for path, item in objects.items() if path.startswith(f"{below}/"))
    result: dict[str, Any] = found
    return result


async def status_of(world: World, token: str) -> int:
    return (await world.append(token, b"x", 0)).status_code


async def test_a_pod_of_a_build_s_job_is_known_as_that_step(world: World) -> None:
    build = world.add_build(42, projectDirname="demo:pr:7")
    token = world.add_pod(42, CHROOT, attempt=2)
    who = await world.services.identities.step(token)
    assert (who.build_id, who.owner, who.dirname, who.chroot, who.attempt) == (42, "alice", "demo:pr:7", CHROOT, 2)
    assert who.result == f"alice/demo:pr:7/{CHROOT}/00000042-hello"
    assert not who.cancelled
    assert who.pod.job_uid.startswith("uid-cb-")
    assert build["metadata"]["uid"].replace("-", "")[:10] in who.pod.job_uid


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Basic eA=="}, {"Authorization": "Bearer "}, bearer("unknown")]
)
async def test_without_a_valid_token_nothing_is_answered(world: World, header: dict[str, str]) -> None:
    for method, path in (
        ("GET", "/agent/v1/srpm"),
        ("PATCH", "/agent/v1/log/builder-live.log?offset=0"),
        ("POST", "/agent/v1/finish"),
        ("GET", "/control/v1/highest-id"),
        ("PUT", f"/control/v1/repos/alice/demo/{CHROOT}"),
        ("POST", f"/uploads?namespace={NAMESPACE}&filename=x.spec"),
    ):
        response = await world.http.request(method, path, headers=header)
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"


async def test_a_token_for_another_audience_is_refused(world: World) -> None:
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    world.kube.users[token]["audiences"] = ["https://kubernetes.default.svc"]
    assert await status_of(world, token) == 401


async def test_an_api_server_that_does_not_look_at_audiences_proves_nothing(world: World) -> None:
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    world.kube.ignores_audiences = True
    assert await status_of(world, token) == 401


async def test_a_token_that_belongs_to_no_pod_is_refused(world: World) -> None:
    world.kube.users["person"] = {"username": "alice"}
    world.kube.users["account"] = {"username": f"system:serviceaccount:{NAMESPACE}:default"}
    assert await status_of(world, "person") == 403
    assert await status_of(world, "account") == 403


async def test_the_controller_s_token_is_no_pod_s_and_a_pod_s_is_not_the_controller_s(world: World) -> None:
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    assert await status_of(world, "controller-token") == 403
    assert (await world.http.get("/control/v1/highest-id", headers=bearer(token))).status_code == 403


BROKEN_LINKS = [
    "pod uid", "no job", "job uid", "job kind", "no build", "build uid", "build kind", "not controller", "labels only",
    "job name", "pod gone", "build gone",
]  # fmt: skip


@pytest.mark.parametrize("break_link", BROKEN_LINKS)
async def test_a_broken_link_between_pod_and_build_is_refused(world: World, break_link: str) -> None:
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    objects = world.kube.objects
    pod, job = only(objects, PODS), only(objects, JOBS)
    build = objects[build_path(42)]
    match break_link:
        case "pod uid":
            pod["metadata"]["uid"] = "another"
        case "no job":
            pod["metadata"]["ownerReferences"] = []
        case "job uid":
            job["metadata"]["uid"] = "another"
        case "job kind":
            pod["metadata"]["ownerReferences"][0]["apiVersion"] = "evil.example/v1"
        case "no build":
            del job["metadata"]["ownerReferences"]
        case "build uid":
            build["metadata"] = build["metadata"] | {"uid": "another"}
        case "build kind":
            job["metadata"]["ownerReferences"][0]["apiVersion"] = "other/v1"
        case "not controller":
            job["metadata"]["ownerReferences"][0]["controller"] = False
        case "labels only":
            pod["metadata"]["ownerReferences"] = []
            pod["metadata"]["labels"] = {"copr-operator.dev/build-id": "42", "copr-operator.dev/chroot": CHROOT}
        case "job name":
            job["metadata"]["name"] = pod["metadata"]["ownerReferences"][0]["name"] = "innocent"
            objects[f"{JOBS}/innocent"] = job
        case "pod gone":
            objects.clear()
        case "build gone":
            del objects[build_path(42)]
    assert await status_of(world, token) == 403


async def test_a_namespace_can_not_write_into_the_project_of_another(world: World) -> None:
    world.add_project("mallory", "own", namespace="mallory")
    world.add_build(42, namespace="mallory", owner="alice", project="demo")
    token = world.add_pod(42, CHROOT, namespace="mallory")
    response = await world.append(token, b"x", 0)
    assert response.status_code == 403
    assert "no CoprProject of namespace mallory holds alice/demo" in response.json()["error"]


async def test_a_project_that_does_not_hold_its_name_owns_no_repository(world: World) -> None:
    world.add_project("alice", "taken", held=False)
    world.add_build(42, project="taken")
    assert await status_of(world, world.add_pod(42, CHROOT)) == 403


async def test_a_project_that_came_after_the_cached_list_is_found(world: World) -> None:
    world.add_build(1)
    assert await status_of(world, world.add_pod(1, CHROOT)) == 200
    world.add_project("alice", "new")
    world.add_build(2, project="new")
    assert await status_of(world, world.add_pod(2, CHROOT)) == 200


async def test_a_superseded_attempt_is_refused(world: World) -> None:
    build = world.add_build(42)
    build["status"]["chroots"][0]["attempt"] = 2
    assert await status_of(world, world.add_pod(42, CHROOT, attempt=1)) == 410
    assert await status_of(world, world.add_pod(42, CHROOT, attempt=2)) == 200


async def test_a_chroot_before_the_source_step_ended_is_asked_to_come_back(world: World) -> None:
    world.add_build(42, package=None)
    assert await status_of(world, world.add_pod(42, CHROOT)) == 503


async def test_a_build_without_an_id_is_asked_to_come_back(world: World) -> None:
    del world.add_build(42)["status"]["id"]
    assert await status_of(world, world.add_pod(42, CHROOT)) == 503


@pytest.mark.parametrize("dirname", ["other", "demo2", "demo:../x"])
async def test_a_directory_outside_the_project_is_refused(world: World, dirname: str) -> None:
    world.add_build(42, projectDirname=dirname)
    assert await status_of(world, world.add_pod(42, CHROOT)) in (400, 403)


async def test_while_the_api_server_is_away_callers_are_asked_to_come_back(world: World) -> None:
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    world.kube.down = True
    assert await status_of(world, token) == 503
    world.kube.down = False
    assert await status_of(world, token) == 200


async def test_many_requests_of_one_pod_ask_the_api_server_once(world: World) -> None:
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    for offset in range(20):
        assert (await world.append(token, b"x", offset)).status_code == 200
    assert len(world.kube.requests) == 5  # token, pod, job, build, projects


async def test_finish_goes_by_the_build_as_it_is_now(world: World) -> None:
    build = world.add_build(42)
    token = world.add_pod(42, CHROOT)
    files = results()
    for name, data in files.items():
        await world.put(token, name, data)
    build["spec"]["cancel"] = True
    assert (await world.finish(token, files)).json()["outcome"] == "failed"
    assert not (world.repo / "repodata").exists()


async def test_a_cancelled_build_s_pod_is_still_known_when_its_job_is_gone(world: World) -> None:
    build = world.add_build(42)
    token = world.add_pod(42, CHROOT)
    assert await status_of(world, token) == 200
    build["spec"]["cancel"] = True
    for path in [path for path in world.kube.objects if path.startswith(JOBS)]:
        del world.kube.objects[path]
    assert (await world.finish(token, outcome="failed")).status_code == 200
    assert (world.repo / "00000042-hello" / "builder-live.log.gz").exists()


async def test_answers_are_kept_for_a_few_seconds_only(world: World) -> None:
    clock = Clock(0)
    identities = Identities(world.kube, controller=CONTROLLER, clock=clock)
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    await identities.step(token)
    del world.kube.users[token]
    await identities.step(token)
    clock.now += CACHE_SECONDS + 1
    with pytest.raises(HttpError) as refused:
        await identities.step(token)
    assert refused.value.status == 401


async def test_a_flood_of_tokens_does_not_grow_the_cache_without_bound(world: World) -> None:
    identities = Identities(world.kube, controller=CONTROLLER)
    for number in range(SIZE + 50):
        with pytest.raises(HttpError):
            await identities.user(f"token-{number}")
    assert len(identities._reviews._kept) == SIZE


async def test_no_token_is_kept_in_memory(world: World) -> None:
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    who = await world.services.identities.step(token)
    assert token not in repr(vars(world.services.identities)) + repr(dataclasses.asdict(who))
    assert token not in repr(world.services.identities._reviews._kept)
