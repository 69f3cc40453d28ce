"""Two replicas of the frontend, or two requests at once: one knows later than the other what has changed."""

import asyncio

from copr_operator.frontend import auth, tokens
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError
from tests.unit.frontend.replicas import HERE, Replica, Server, person

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
