"""What everybody can fetch, and what nobody can."""

import asyncio
import gzip
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from copr_operator.backend.app import make_app
from tests.unit.backend import rpms
from tests.unit.backend.world import CHROOT, World, results

HELLO = f"alice/demo/{CHROOT}/00000042-hello"
RPM = f"{HELLO}/hello-1.0-1.x86_64.rpm"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "gzip, deflate, br"}


@pytest.fixture
async def built(world: World) -> World:
    await world.build(42)
    return world


async def test_a_file_is_sent_as_it_is(built: World) -> None:
    response = await built.get(RPM)
    assert (response.status_code, response.content) == (200, results()["hello-1.0-1.x86_64.rpm"])
    assert response.headers["content-type"] == "application/x-rpm"
    assert response.headers["accept-ranges"] == "bytes"
    assert int(response.headers["content-length"]) == len(response.content)


async def test_head_tells_the_same_without_the_file(built: World) -> None:
    get, head = await built.get(RPM), await built.http.head(f"/results/{RPM}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=3-99999", 3, None)],
)
async def test_a_range_is_sent_as_a_part(built: World, wanted: str, start: int, end: int | None) -> None:
    whole = results()["hello-1.0-1.x86_64.rpm"]
    response = await built.get(RPM, Range=wanted)
    assert (response.status_code, response.content) == (206, whole[start:end])
    first = start if start >= 0 else len(whole) + start
    last = (end or len(whole)) - 1
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


@pytest.mark.parametrize("wanted", ["bytes=99999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_said_so(built: World, wanted: str) -> None:
    response = await built.get(RPM, Range=wanted)
    assert (response.status_code, response.content) == (416, b"")


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=-", "bytes=a-b", f"bytes={'9' * 30}-"]
)
async def test_a_range_of_another_kind_gets_the_whole_file(built: World, wanted: str) -> None:
    response = await built.get(RPM, Range=wanted)
    assert (response.status_code, response.content) == (200, results()["hello-1.0-1.x86_64.rpm"])


async def test_a_range_of_a_file_that_changed_gets_the_whole_file(built: World) -> None:
    etag = (await built.get(RPM)).headers["etag"]
    assert (await built.get(RPM, Range="bytes=0-1", **{"If-Range": etag})).status_code == 206
    assert (await built.get(RPM, Range="bytes=0-1", **{"If-Range": '"old"'})).status_code == 200


async def test_an_unchanged_file_is_not_sent_again(built: World) -> None:
    headers = (await built.get(RPM)).headers
    for given in (
        {"If-None-Match": headers["etag"]},
        {"If-None-Match": f'"x", W/{headers["etag"]}'},
        {"If-Modified-Since": headers["last-modified"]},
    ):
        response = await built.get(RPM, **given)
        assert (response.status_code, response.content) == (304, b"")
    for given in (
        {"If-None-Match": '"x"'},
        {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
        {"If-Modified-Since": "?"},
    ):
        assert (await built.get(RPM, **given)).status_code == 200


async def test_repomd_is_never_cached_and_what_it_names_for_ever(built: World) -> None:
    repodata = built.repo / "repodata"
    for path in repodata.iterdir():
        caching = (await built.get(f"alice/demo/{CHROOT}/repodata/{path.name}")).headers["cache-control"]
        assert ("immutable" in caching) is (path.name != "repomd.xml")
        assert ("no-cache" in caching) is (path.name == "repomd.xml")


async def test_a_directory_is_a_page_that_links_all_it_holds(built: World) -> None:
    response = await built.get(f"{HELLO}/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    for name in (*results(), "builder-live.log.gz", "results.json", "success"):
        assert f'href="./{name}"' in response.text
    assert 'href="../"' in response.text


async def test_a_directory_without_its_slash_is_redirected_to_it(built: World) -> None:
    response = await built.get(HELLO)
    assert (response.status_code, response.headers["location"]) == (301, "00000042-hello/")
    assert (await built.http.get("/results")).headers["location"] == "results/"


async def test_every_directory_down_to_the_files_can_be_walked(built: World) -> None:
    path = ""
    for name in ("alice", "demo", CHROOT, "00000042-hello"):
        assert f'<a href="./{name}/">{name}/</a>' in (await built.get(path)).text
        path += f"{name}/"


async def test_names_with_colons_at_signs_and_markup_are_linked_safely(world: World) -> None:
    world.add_project("@group", "demo")
    await world.build(1, "libstdc++", owner="@group", projectDirname="demo:pr:1")
    assert 'href="./%40group/"' in (await world.get("")).text
    assert 'href="./demo%3Apr%3A1/"' in (await world.get("@group/")).text
    page = await world.get(f"@group/demo:pr:1/{CHROOT}/00000001-libstdc++/")
    assert 'href="./libstdc%2B%2B-1.0-1.x86_64.rpm"' in page.text
    name = "%3Cscript%3E"
    (world.repo.parent / "<script>").mkdir(parents=True)
    assert "<script>" not in (await world.get("alice/demo/")).text
    assert "<script>" not in (await world.get(f"alice/demo/{name}/")).text


async def test_pages_and_files_can_run_nothing_in_a_browser(built: World) -> None:
    for path in ("", RPM, f"{HELLO}/results.json"):
        headers = (await built.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]


async def test_a_log_is_a_gzip_file_for_programs_and_text_for_browsers(built: World) -> None:
    path = f"{HELLO}/builder-live.log.gz"
    program = await built.get(path, Accept="*/*", **{"Accept-Encoding": "identity"})
    assert program.headers["content-type"] == "application/gzip"
    assert gzip.decompress(program.content) == b"building\n"
    library = await built.get(path, Accept="*/*", **{"Accept-Encoding": "gzip, deflate"})
    assert gzip.decompress(library.content) == b"building\n"
    browser = await built.get(path, **BROWSER)
    assert browser.headers["content-encoding"] == "gzip"
    assert browser.headers["content-type"].startswith("text/plain")
    assert browser.text == "building\n"
    assert "Accept" in browser.headers["vary"]


async def test_a_log_is_live_without_gz_while_the_step_runs_and_only_gz_afterwards(world: World) -> None:
    world.add_build(42)
    token = world.add_pod(42, CHROOT)
    await world.append(token, b"one\n", 0)
    live = await world.get(f"{HELLO}/builder-live.log")
    assert (live.status_code, live.text) == (200, "one\n")
    assert live.headers["cache-control"] == "no-cache"
    await world.append(token, b"two\n", 4)
    assert (await world.get(f"{HELLO}/builder-live.log", Range="bytes=4-")).text == "two\n"
    for path, name in (
        ("alice/demo/", CHROOT),
        (f"alice/demo/{CHROOT}/", "00000042-hello"),
        (f"{HELLO}/", "builder-live.log"),
    ):
        assert name in (await world.get(path)).text
    assert (await world.get(HELLO)).status_code == 301
    assert (await world.get(f"{HELLO}/builder-live.log.gz")).status_code == 404
    await world.finish(token, outcome="failed")
    assert (await world.get(f"{HELLO}/builder-live.log")).status_code == 404
    assert (await world.get(f"{HELLO}/builder-live.log.gz")).status_code == 200


async def test_the_live_log_of_the_source_step_is_in_srpm_builds(world: World) -> None:
    world.add_build(7, package=None)
    await world.append(world.add_pod(7, "src"), b"x\n", 0)
    assert (await world.get("alice/demo/srpm-builds/00000007/builder-live.log")).text == "x\n"


FORBIDDEN = [
    "../state/lock", "..%2fstate/lock", "%2e%2e/state/", "alice/../../uploads/", "alice%2fdemo/", "alice%5cdemo",
    "alice/demo/%00", "alice//demo/", "./alice/", "alice/./demo/", "/etc/passwd", "%2fetc%2fpasswd",
    "alice/demo/.put-1",     "alice/demo/%0a", "\\", "alice/demo/x/",
]  # fmt: skip


async def raw_status(world: World, path: str) -> int:
    """Status of a GET of exactly this path: httpx would tidy it up."""
    scope = {
        "type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode(), "query_string": b"",
        "headers": [], "root_path": "", "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await make_app(world.services)(scope, receive, send)
    return statuses[0]


async def test_downloads_beyond_the_limit_are_refused_and_nothing_else_is(tmp_path: Path) -> None:
    world = await World(tmp_path, max_downloads=1).start()
    try:
        await world.build(42)
        app = make_app(world.services)
        slow, done = asyncio.Event(), asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(_message: MutableMapping[str, Any]) -> None:
            slow.set()
            await done.wait()

        download = asyncio.create_task(app(download_of(RPM), receive, send))
        await slow.wait()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend") as http:
            assert (await http.get(f"/results/{RPM}")).status_code == 503
            assert (await http.get("/healthz")).status_code == 200
            done.set()
            await download
            assert (await http.get("/results/nothing")).status_code == 404, "refused, but not for the limit"
            assert (await http.get(f"/results/{RPM}")).status_code == 200
    finally:
        await world.close()


async def test_a_client_that_takes_nothing_keeps_nobody_out(tmp_path: Path) -> None:
    world = await World(tmp_path, max_downloads=1, read_timeout=0.05).start()
    try:
        await world.build(42)
        app = make_app(world.services)

        async def never(*_message: object) -> Any:
            await asyncio.Event().wait()
            raise AssertionError

        await app(download_of(RPM), never, never)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend") as http:
            assert (await http.get(f"/results/{RPM}")).status_code == 200
    finally:
        await world.close()


def download_of(path: str) -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": f"/results/{path}", "raw_path": b"", "query_string": b"", "headers": [],
    }  # fmt: skip


@pytest.mark.parametrize("path", FORBIDDEN)
async def test_nothing_outside_the_results_can_be_named(built: World, path: str) -> None:
    (built.root / "state" / "lock").touch()
    (built.root / "results/alice/demo/.put-1").touch()
    assert await raw_status(built, f"/results/{path}") == 404
    assert await raw_status(built, "/results/alice/demo/") == 200


async def test_symlinks_fifos_and_sockets_are_not_followed_opened_or_listed(built: World, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    directory = built.repo / "00000042-hello"
    (directory / "link").symlink_to(secret / "file")
    (directory / "linked").symlink_to(secret)
    os.mkfifo(directory / "fifo")
    for name in ("link", "linked/file", "linked/", "fifo"):
        assert (await built.get(f"{HELLO}/{name}")).status_code == 404, name
    page = (await built.get(f"{HELLO}/")).text
    assert "link" not in page
    assert "fifo" not in page


async def test_uploads_state_and_spool_are_not_served(built: World) -> None:
    for path in ("state/", "uploads/", "spool/", "trash/"):
        assert (await built.get(path)).status_code == 404
        assert (await built.http.get(f"/{path}")).status_code == 404


async def test_results_can_only_be_read(built: World) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        assert (await built.http.request(method, f"/results/{RPM}")).status_code == 405


async def test_a_large_file_is_sent_in_pieces(world: World) -> None:
    data = rpms.rpm(payload=os.urandom(3_000_000))
    world.add_build(42)
    files = {"hello-1.0-1.x86_64.rpm": data, "hello-1.0-1.src.rpm": rpms.rpm(arch="src")}
    await world.send(world.add_pod(42, CHROOT), files)
    assert (await world.get(RPM)).content == data
    assert (await world.get(RPM, Range="bytes=1000000-2999999")).content == data[1_000_000:3_000_000]
