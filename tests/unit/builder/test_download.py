"""Links: where they may lead, and what a user's server can do."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from copr_operator.builder.agent.backend import Pauses
from copr_operator.builder.agent.download import check_url, download_link, source_file_name
from copr_operator.builder.agent.errors import AgentError
from copr_operator.core.wire import AgentExit

FAST = Pauses(first=0.001, ceiling=0.002)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("http://x/a/hello-1.0-1.src.rpm", "hello-1.0-1.src.rpm"),
        ("http://x/hello.spec", "hello.spec"),
        ("http://x/libstdc%2B%2B.spec", "libstdc++.spec"),
        ("r4nd0m/hello.spec", "hello.spec"),
    ],
)
def test_the_file_is_called_as_the_url_calls_it(path: str, name: str) -> None:
    assert source_file_name(path) == name


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("http://x/hello.tar.gz", "neither an .src.rpm nor a .spec"),
        ("http://x/", "neither an .src.rpm nor a .spec"),
        ("http://x/hello.rpm", "neither an .src.rpm nor a .spec"),
        ("http://x/hello-1-1.nosrc.rpm", "nosrc"),
        ("http://x/.spec", "no file name"),
        ("http://x/a%0Ab.spec", "no file name"),
        ("http://x/-rf.spec", "no file name"),
        ("http://x/" + "a" * 300 + ".spec", "no file name"),
    ],
)
def test_a_url_without_a_usable_file_name_is_refused(path: str, why: str) -> None:
    with pytest.raises(AgentError, match=why) as refused:
        source_file_name(path)
    assert refused.value.reason == "SourceRefused"


def test_an_encoded_path_does_not_leave_the_folder() -> None:
    assert source_file_name("http://x/..%2F..%2Fetc%2Fa.spec") == "a.spec"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/a.spec", "http:///a.spec", "a.spec", "http://[x/a.spec"]
)
def test_only_http_and_https_are_downloaded(url: str) -> None:
    with pytest.raises(AgentError, match="only http and https"):
        check_url(url)


class Site:
    """A user's web server; `answers` are given first."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[web.Response] = []
        self.requests = 0

    async def handle(self, _: web.Request) -> web.Response:
        self.requests += 1
        return self.answers.pop(0) if self.answers else web.Response(body=b"Name: hello\n")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.handle)
    async with TestServer(app) as server:
        site.url = str(server.make_url("/hello.spec"))
        yield site


async def get(url: str, target: Path, *, limit: int = 1000, timeout: float = 5) -> str:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        return await download_link(session, url, target, limit=limit, timeout=timeout, pauses=FAST)


async def test_a_link_is_downloaded_with_its_checksum(site: Site, tmp_path: Path) -> None:
    assert await get(site.url, tmp_path / "x") == hashlib.sha256(b"Name: hello\n").hexdigest()
    assert (tmp_path / "x").read_bytes() == b"Name: hello\n"


async def test_a_redirect_is_followed(site: Site, tmp_path: Path) -> None:
    site.answers = [web.Response(status=302, headers={"Location": "/elsewhere.spec"})]
    await get(site.url, tmp_path / "x")
    assert site.requests == 2


async def test_a_redirect_to_another_scheme_is_refused(site: Site, tmp_path: Path) -> None:
    site.answers = [web.Response(status=302, headers={"Location": "file:///etc/passwd"})]
    with pytest.raises(AgentError, match=r"SourceRefused.*file:///etc/passwd"):
        await get(site.url, tmp_path / "x")


@pytest.mark.parametrize("location", ["http://[bad/x.spec", "http://a..b/x.spec", "http://x:99999/x.spec"])
async def test_a_redirect_to_what_is_no_url_is_the_users_failure_at_once(
    site: Site, tmp_path: Path, location: str
) -> None:
    site.answers = [web.Response(status=302, headers={"Location": location})]
    with pytest.raises(AgentError, match="SourceRefused") as refused:
        await get(site.url, tmp_path / "x")
    assert location in refused.value.message
    assert site.requests == 1


async def test_redirects_without_end_are_given_up(site: Site, tmp_path: Path) -> None:
    site.answers = [web.Response(status=302, headers={"Location": "/a.spec"}) for _ in range(20)]
    with pytest.raises(AgentError, match="more than 10 redirects"):
        await get(site.url, tmp_path / "x")


async def test_what_the_server_does_not_have_is_the_users_failure_at_once(site: Site, tmp_path: Path) -> None:
    site.answers = [web.Response(status=404)]
    with pytest.raises(AgentError, match=r"SourceDownloadFailed.*404") as failed:
        await get(site.url, tmp_path / "x")
    assert failed.value.exit_code is AgentExit.REFUSED
    assert site.requests == 1


async def test_a_server_in_trouble_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.answers = [web.Response(status=503), web.Response(status=429)]
    await get(site.url, tmp_path / "x")
    assert site.requests == 3


async def test_a_server_that_stays_in_trouble_is_the_users_failure(site: Site, tmp_path: Path) -> None:
    site.answers = [web.Response(status=500) for _ in range(9)]
    with pytest.raises(AgentError, match=r"SourceDownloadFailed.*500") as failed:
        await get(site.url, tmp_path / "x")
    assert failed.value.exit_code is AgentExit.REFUSED
    assert site.requests == 5


async def test_a_server_that_is_not_there_is_the_users_failure(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="SourceDownloadFailed") as failed:
        await get("http://127.0.0.1:1/a.spec", tmp_path / "x")
    assert failed.value.exit_code is AgentExit.REFUSED


async def test_a_file_over_the_limit_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"SourceRefused.*larger than 4 bytes"):
        await get(site.url, tmp_path / "x", limit=4)


async def test_a_server_that_never_ends_its_answer_is_given_up(tmp_path: Path) -> None:
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client is gone
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(AgentError, match="not downloaded within 0 seconds"):
            await get(f"http://127.0.0.1:{port}/a.spec", tmp_path / "x", timeout=0.1)
        await asyncio.wait_for(hung_up.wait(), 5)
