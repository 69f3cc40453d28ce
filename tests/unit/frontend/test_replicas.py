"""Two replicas of the frontend, or two requests at once: one knows later than the other what has changed."""

import asyncio

from copr_operator.frontend import auth, tokens
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError
from tests.unit.frontend.replicas import F43, HERE, Replica, Server, person

SECRETS = paths.core("secrets", HERE)


async def test_a_token_that_was_taken_back_gets_itself_no_new_one() -> None:
    server = Server()
    site, alice = Replica(server), await person(server, "alice")
    assert (await site.get("/api_3/auth-check", auth=alice)).status_code == 200
    await server.delete(f"{SECRETS}/{tokens.secret_name(alice[0])}")
    renewed = await site.post("/api_3/api-token", auth=alice)
    assert (renewed.status_code, renewed.json()["output"], server.of("secrets")) == (401, "notok", [])
    assert (await site.get("/api_3/auth-check", auth=alice)).status_code == 401


async def test_one_token_becomes_one_new_one() -> None:
    server = Server()
    one, other, alice = Replica(server), Replica(server), await person(server, "alice")
    answers = await asyncio.gather(*(site.post("/api_3/api-token", auth=alice) for site in (one, other)))
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    assert [secret["metadata"]["name"] for secret in server.of("secrets")] == [tokens.secret_name(won["api_login"])]
    assert (await one.get("/api_3/auth-check", auth=(won["api_login"], won["api_token"]))).status_code == 200


async def test_of_two_new_secrets_of_a_webhook_at_once_one_is_right_and_the_other_is_refused() -> None:
    server = Server()
    one, other, alice = Replica(server), Replica(server), await person(server, "alice")
    await one.made("alice", alice)
    await one.defined(alice)
    await one.hook(alice)
    assert (await other.get("/api_3/auth-check", auth=alice)).status_code == 200  # so that both are equally fast
    url = "/api_3/webhook/generate/alice/demo"
    answers = await asyncio.gather(*(site.post(url, auth=alice) for site in (one, other)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (made,) = [answer.json() for answer in answers if answer.status_code == 200]
    for site in (one, other):
        assert (await site.post(f"/webhooks/custom/{made['id']}/{made['webhook_secret']}/hello")).status_code == 200


async def test_a_webhook_s_new_secret_is_known_to_all_replicas_at_once() -> None:
    server = Server()
    one, other, alice = Replica(server), Replica(server), await person(server, "alice")
    await one.made("alice", alice)
    await one.defined(alice)
    for _ in range(2):
        hook = await one.hook(alice)
        assert (await other.post(f"/webhooks/custom/{hook}/hello")).status_code == 200


async def test_a_wrong_secret_is_not_looked_up_each_time() -> None:
    server = Server()
    site, alice = Replica(server), await person(server, "alice")
    await site.made("alice", alice)
    number = (await site.hook(alice)).partition("/")[0]
    server.log.clear()
    for _ in range(20):
        assert (await site.post(f"/webhooks/github/{number}/wrong", json={})).status_code == 403
    assert len([path for _, path in server.log if "/secrets/" in path]) <= 1 + auth.ANEW


async def test_a_secret_that_can_t_be_looked_up_is_not_said_to_be_wrong() -> None:
    server = Server()
    site, alice = Replica(server), await person(server, "alice")
    await site.made("alice", alice)
    number = (await site.hook(alice)).partition("/")[0]
    await site.post(f"/webhooks/github/{number}/wrong", json={})
    server.refuses["get", "/secrets/"] = ApiError(0, "NoAnswer", "")
    assert (await site.post(f"/webhooks/github/{number}/wrong", json={})).status_code == 503


async def test_what_was_absent_is_there_as_soon_as_another_replica_has_made_it() -> None:
    server = Server()
    one, late, alice = Replica(server), Replica(server, watches=False), await person(server, "alice")
    url = "/api_3/project?ownername=alice&projectname=demo"
    assert (await late.get(url)).status_code == 404
    await one.made("alice", alice)
    assert (await late.get(url)).status_code == 200


async def test_exist_ok_is_true_also_of_a_project_that_is_made_at_that_moment() -> None:
    server = Server()
    one, other, alice = Replica(server), Replica(server), await person(server, "alice")
    url, body = "/api_3/project/add/alice", {"name": "demo", "chroots": [F43]}
    answers = await asyncio.gather(
        *(site.post(url, params={"exist_ok": "True"}, json=body, auth=alice) for site in (one, other))
    )
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len([path for verb, path in server.log if verb == "create" and "/coprprojects/" in path]) == 2
    answers = await asyncio.gather(
        *(site.post(url, json={**body, "name": "other"}, auth=alice) for site in (one, other))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400]


async def test_a_held_name_of_an_object_is_no_project_of_another_name() -> None:
    server = Server()
    site, alice = Replica(server, watches=False), await person(server, "alice")
    await site.made("alice", alice)
    ((path, obj),) = [(path, obj) for path, obj in server.objects.items() if "/coprprojects/" in path]
    server.objects[path] = {**obj, "spec": {**obj["spec"], "name": "renamed"}}
    url, body = "/api_3/project/add/alice", {"name": "demo", "chroots": [F43]}
    late = Replica(server, watches=False)
    assert (await late.post(url, params={"exist_ok": "True"}, json=body, auth=alice)).status_code == 400


async def test_one_edit_of_a_package_after_another_reaches_both_whichever_replica_has_them() -> None:
    server = Server()
    one, late, alice = Replica(server), Replica(server, watches=False), await person(server, "alice")
    await one.made("alice", alice)
    await one.defined(alice)
    url = "/api_3/package/edit/alice/demo/hello"
    assert (await late.get("/api_3/package?ownername=alice&projectname=demo&packagename=hello")).status_code == 200
    for site, change in ((one, {"committish": "f43"}), (late, {"spec": "a.spec"})):
        assert (await site.post(f"{url}/scm", json=change, auth=alice)).status_code == 200
    (spec,) = server.specs("coprpackages")
    assert (spec["source"]["scm"]["committish"], spec["source"]["scm"]["spec"]) == ("f43", "a.spec")
    assert (await one.post(f"{url}/scm", json={"max_builds": 5}, auth=alice)).status_code == 200
    body = {"ownername": "alice", "projectname": "demo", "package_name": "hello"}
    assert (await late.put("/api_3/package/reset", json=body, auth=alice)).status_code == 200
    (spec,) = server.specs("coprpackages")
    assert (spec.get("source"), spec["maxBuilds"]) == (None, 5)


async def test_a_package_that_builds_brought_is_defined_by_the_first_edit_and_changed_by_the_second() -> None:
    server = Server()
    one, late, alice = Replica(server), Replica(server, watches=False), await person(server, "alice")
    await one.made("alice", alice)
    body = {"ownername": "alice", "projectname": "demo", "clone_url": "https://git.example/hello"}
    build = (await one.post("/api_3/build/create/scm", json=body, auth=alice)).json()
    server.finish()
    assert (await late.get(f"/api_3/build/{build['id']}")).status_code == 200
    for site, change in ((one, {"committish": "f43"}), (late, {"spec": "a.spec"})):
        edited = await site.post("/api_3/package/edit/alice/demo/hello/scm", json=change, auth=alice)
        assert edited.status_code == 200, edited.text
    (spec,) = server.specs("coprpackages")
    assert (spec["source"]["scm"]["committish"], spec["source"]["scm"]["spec"]) == ("f43", "a.spec")


async def test_a_project_is_not_deleted_while_a_build_runs_that_another_replica_has_made() -> None:
    server = Server()
    one, late, alice = Replica(server), Replica(server, watches=False), await person(server, "alice")
    await one.made("alice", alice)
    assert (await late.get("/api_3/project?ownername=alice&projectname=demo")).status_code == 200
    body = {"ownername": "alice", "projectname": "demo", "pkgs": ["https://x.example/a.spec"]}
    (build,) = (await one.post("/api_3/build/create/url", json=body, auth=alice)).json()["items"]
    delete = ("DELETE", "/api_3/project/delete/alice/demo")
    refused = await late.request(*delete, json={"verify": True}, auth=alice)
    assert (refused.status_code, refused.json()) == (400, {"error": f"Build(s) {build['id']} are still running.\n"})
    server.finish()
    server.refuses["list", "/coprbuilds"] = ApiError(0, "NoAnswer", "")
    assert (await late.request(*delete, json={"verify": True}, auth=alice)).status_code == 503
    server.refuses.clear()
    assert (await late.request(*delete, json={"verify": True}, auth=alice)).status_code == 200
    assert server.of("coprprojects") == server.of("coprbuilds") == []


async def test_a_fork_is_asked_for_again_through_a_replica_that_does_not_know_its_packages() -> None:
    server = Server()
    one, late, alice = Replica(server), Replica(server, watches=False), await person(server, "alice")
    await one.made("alice", alice)
    await one.defined(alice)
    body = {"name": "f", "ownername": "alice", "confirm": True}
    await late.get("/api_3/package?ownername=alice&projectname=demo&packagename=hello")
    for site in (one, late):
        assert (await site.post("/api_3/project/fork/alice/demo", json=body, auth=alice)).status_code == 200
    assert len(server.of("coprpackages")) == 2
