"""Results of private projects: who gets them, and that nobody else can tell that they are there."""

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from copr_operator.backend.store import Entry
from tests.support.certificate import make_certificate
from tests.unit.backend.world import CHROOT, NAMESPACE, World, bearer

RPM = f"alice/demo/{CHROOT}/00000042-hello/hello-1.0-1.x86_64.rpm"
LOG = f"alice/demo/{CHROOT}/00000042-hello/builder-live.log.gz"
PRIVATE = {"private": True, "namespace": NAMESPACE}
PATHS = (RPM, LOG, "alice/demo", "alice/demo/", f"alice/demo/{CHROOT}/", f"alice/demo/{CHROOT}/repodata/repomd.xml")


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def told(answer: httpx.Response) -> tuple[int, bytes]:
    return answer.status_code, answer.content


@pytest.fixture
async def private(world: World) -> World:
    """alice/demo is private before anything of it is there."""
    assert (await world.control("PUT", "projects/alice/demo", PRIVATE)).json()["ready"] is True
    await world.build(42)
    return world


async def statuses(world: World, headers: dict[str, str], *paths: str) -> list[int]:
    return [(await world.get(path, **headers)).status_code for path in paths or PATHS]


async def test_what_is_private_is_answered_as_what_is_not_there(private: World) -> None:
    for path in PATHS:
        missing = await private.get(path.replace("demo", "nothing"))
        for headers in ({}, basic("a" * 20, "guess"), bearer("guess"), {"Authorization": "Basic"},
                        {"Authorization": "Basic =="}, {"Authorization": "Digest x"}):  # fmt: skip
            assert told(await private.get(path, **headers)) == told(missing) != (200, b""), (path, headers)


async def test_lists_do_not_name_private_projects_nor_owners_of_nothing_else(private: World) -> None:
    assert "alice" not in (await private.get("")).text
    assert told(await private.get("alice/")) == told(await private.get("nobody/"))
    await private.control("PUT", f"repos/alice/open/{CHROOT}")
    assert "alice" in (await private.get("")).text
    listed = (await private.get("alice/")).text
    assert ("open" in listed, "demo" in listed) == (True, False)


async def test_lists_of_owners_cost_a_look_at_those_with_private_projects_only(
    private: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await private.control("PUT", f"repos/owner{number}/open/{CHROOT}")
    looked: list[str] = []
    store = private.services.store
    listing = store.list

    def counted(path: str) -> list[Entry]:
        looked.append(path)
        return listing(path)

    monkeypatch.setattr(store, "list", counted)
    page = (await private.get("")).text
    assert ("owner19" in page, "alice" in page) == (True, False)
    assert looked == ["results", "results/alice"]
    looked.clear()
    assert (await private.get("owner1/")).status_code == 200
    assert looked == ["results/owner1"]
    await private.control("PUT", "projects/alice/demo", {**PRIVATE, "private": False})
    looked.clear()
    assert "alice" in (await private.get("")).text
    assert looked == ["results"]


async def test_another_directory_of_a_private_project_is_private_too(private: World) -> None:
    await private.build(43, projectDirname="demo:pr:1")
    assert await statuses(private, {}, "alice/demo:pr:1/") == [404]
    await private.control("PUT", f"repos/alice/demo2/{CHROOT}")
    assert await statuses(private, {}, f"alice/demo2/{CHROOT}/repodata/repomd.xml") == [200]


async def test_live_logs_are_private(private: World) -> None:
    private.add_build(44)
    token = private.add_pod(44, CHROOT)
    assert (await private.append(token, b"secret", 0)).status_code == 200
    path = f"alice/demo/{CHROOT}/00000044-hello/builder-live.log"
    assert await statuses(private, {}, path) == [404]
    ticket = (await private.http.get("/agent/v1/ticket", headers=bearer(token))).json()
    assert (await private.get(path, **basic(ticket["username"], ticket["password"]))).content == b"secret"


async def test_the_ticket_of_a_build_pod_opens_its_own_project_while_the_build_may_run(private: World) -> None:
    private.add_project("alice", "other")
    await private.control("PUT", "projects/alice/other", PRIVATE)
    await private.control("PUT", f"repos/alice/other/{CHROOT}")
    private.add_build(45, timeout=600)
    answer = await private.http.get("/agent/v1/ticket", headers=bearer(private.add_pod(45, CHROOT)))
    ticket = basic(answer.json()["username"], answer.json()["password"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert await statuses(private, ticket) == [200, 200, 301, 200, 200, 200]
    assert (await private.get(RPM, **ticket)).headers["Cache-Control"] == "private, no-cache"
    repomd = f"alice/other/{CHROOT}/repodata/repomd.xml"
    assert await statuses(private, ticket, repomd) == [404]
    until, _, mac = answer.json()["password"].partition(".")
    later = basic("build", f"{int(until) + 9999}.{mac}")
    assert await statuses(private, later, RPM) == [404], "a ticket can't be prolonged"
    await private.restart()
    assert await statuses(private, ticket, RPM) == [200]
    private.clock.now += 600 + 3601
    assert await statuses(private, ticket, RPM) == [404]


@pytest.mark.parametrize("password", ["", ".", "x.y", "9999999999.", "9999999999." + "0" * 64, "1" * 40 + ".a", "9.ü"])
async def test_nothing_else_is_a_ticket(private: World, password: str) -> None:
    assert await statuses(private, basic("build", password), RPM) == [404]


async def test_no_ticket_is_given_to_a_canceled_build_or_to_somebody_else(private: World) -> None:
    private.add_build(46, cancel=True)
    assert (await private.http.get("/agent/v1/ticket", headers=bearer(private.add_pod(46, CHROOT)))).status_code == 410
    assert (await private.http.get("/agent/v1/ticket")).status_code == 401


async def test_who_may_get_the_builds_of_the_namespace_may_read(private: World) -> None:
    for name in ("reader", "stranger"):
        private.kube.users[name] = {"username": name}
    private.kube.readers.add(("reader", NAMESPACE))
    private.kube.allowed.add(("stranger", NAMESPACE))
    private.kube.readers.add(("stranger", "elsewhere"))
    assert await statuses(private, bearer("reader"), RPM) == [200]
    assert await statuses(private, bearer("stranger"), RPM) == [404]
    private.kube.down = True
    assert await statuses(private, bearer("other"), RPM) == [503]


async def test_privacy_outlives_the_process_and_the_project_and_ends_with_its_results(private: World) -> None:
    await private.restart()
    private.kube.down = True
    assert await statuses(private, {}, RPM) == [404]
    private.kube.down = False
    assert (await private.control("DELETE", "projects/alice/demo")).json()["ready"] is False
    assert await statuses(private, {}, RPM) == [404], "also in the grace time"
    private.clock.now += 601
    await private.services.sweep()
    assert (await private.control("DELETE", "projects/alice/demo")).json()["ready"] is True
    await private.control("PUT", f"repos/alice/demo/{CHROOT}")
    assert await statuses(private, {}, f"alice/demo/{CHROOT}/repodata/repomd.xml") == [200]


async def test_a_project_can_become_private_and_public(private: World) -> None:
    for public in (True, False, True):
        await private.control("PUT", "projects/alice/demo", {**PRIVATE, "private": not public})
        assert await statuses(private, {}, RPM) == [200 if public else 404]


async def test_a_damaged_mark_keeps_the_project_private(private: World) -> None:
    (private.root / "state/private/alice/demo").write_bytes(b"{")
    await private.restart()
    private.kube.users["reader"] = {"username": "reader"}
    private.kube.readers.add(("reader", NAMESPACE))
    assert await statuses(private, {}, RPM) == [404]
    assert await statuses(private, bearer("reader"), RPM) == [404]


async def test_only_the_controller_says_what_is_private(world: World) -> None:
    for body, status in (({"private": True}, 400), ([], 400)):
        assert (await world.control("PUT", "projects/alice/demo", body)).status_code == status
    refused = await world.http.put("/control/v1/projects/alice/demo", json=PRIVATE, headers=bearer("x"))
    assert refused.status_code == 401
    assert (await world.control("PUT", "projects/alice/..", PRIVATE)).status_code in (400, 404)


class Frontend:
    """Says whether these credentials are good enough."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.status = 0
        """Instead of what is right."""
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        owner, project = request.query["ownername"], request.query["projectname"]
        self.asked.append((owner, project))
        good = request.headers["Authorization"] == basic("a" * 20, "right")["Authorization"]
        return web.json_response(
            {}, status=self.status or (200 if good and (owner, project) == ("alice", "demo") else 404)
        )

    @contextlib.asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Frontend"]:
        app = web.Application()
        app.router.add_get("/api_3/project", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


async def test_people_are_known_by_the_frontend(tmp_path: Path) -> None:
    async with Frontend().serve() as frontend:
        world = await World(tmp_path, frontend_url=frontend.url).start()
        await world.control("PUT", "projects/alice/demo", PRIVATE)
        await world.build(42)
        right, wrong = basic("a" * 20, "right"), basic("a" * 20, "wrong")
        assert await statuses(world, right, RPM, RPM, f"alice/demo/{CHROOT}/") == [200] * 3
        assert await statuses(world, wrong, RPM, RPM) == [404] * 2
        assert frontend.asked == [("alice", "demo")] * 2, "what was answered is kept"
        frontend.status = 503
        assert await statuses(world, basic("b" * 20, "right"), RPM) == [503]
        frontend.status = 302
        assert await statuses(world, basic("c" * 20, "right"), RPM) == [404]
        assert await statuses(world, {}, RPM) == [404]
        assert len(frontend.asked) == 4, "nobody is asked about those who show nothing"
        await world.close()


async def test_a_frontend_that_speaks_https_is_asked_when_its_certificate_is_good(tmp_path: Path) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    make_certificate(key, certificate)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with Frontend().serve(tls) as frontend:
        for ca_file, status in ((certificate, 200), (None, 503)):
            root = tmp_path / str(status)
            world = await World(root, frontend_url=frontend.url, frontend_ca_file=ca_file).start()
            await world.control("PUT", "projects/alice/demo", PRIVATE)
            await world.build(42)
            assert await statuses(world, basic("a" * 20, "right"), RPM) == [status]
            await world.close()
    assert frontend.asked == [("alice", "demo")]


async def test_a_frontend_that_is_away_opens_nothing(tmp_path: Path) -> None:
    world = await World(tmp_path, frontend_url="http://127.0.0.1:9").start()
    await world.control("PUT", "projects/alice/demo", PRIVATE)
    await world.build(42)
    assert await statuses(world, basic("a" * 20, "right"), RPM) == [503]
    assert await statuses(world, {}, RPM) == [404]
    await world.close()
