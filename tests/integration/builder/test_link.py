"""Links through the egress proxy: where they and their redirects may lead."""

import asyncio
import hashlib
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from copr_operator.builder.agent import repositories
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import SOURCE_CA_VARIABLE, PodPaths
from copr_operator.core.wire import EgressRules
from tests.integration.builder.conftest import plan_of
from tests.support.certificate import make_certificate
from tests.support.scm_servers import SourceServer


@pytest.fixture
def spec(server: SourceServer) -> Path:
    server.root.mkdir()
    (server.root / "hello.spec").write_text("Name: hello\n")
    return server.root / "hello.spec"


async def test_a_link_is_downloaded_and_its_checksum_known(server: SourceServer, spec: Path, paths: PodPaths) -> None:
    target = paths.in_dir / "source/hello.spec"
    sha256 = await repositories.bring_link(plan_of(), f"{server.url}/files/hello.spec?x=1", target)
    assert target.read_bytes() == spec.read_bytes()
    assert sha256 == hashlib.sha256(spec.read_bytes()).hexdigest()
    assert server.requests == ["/files/hello.spec?x=1"]


async def test_a_host_that_is_not_public_is_refused(server: SourceServer, spec: Path, paths: PodPaths) -> None:
    url = f"{server.url.replace('127.0.0.1', 'localhost')}/files/hello.spec"
    with pytest.raises(AgentError, match=r"localhost is (127\.0\.0\.1|::1), which is not a public address") as failed:
        await repositories.bring_link(plan_of(EgressRules()), url, paths.in_dir / "x")
    assert failed.value.reason == "AddressRefused"
    assert server.requests == []


@pytest.mark.parametrize("address", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::1]"])
async def test_another_way_to_write_an_address_is_the_same_address(
    server: SourceServer, spec: Path, paths: PodPaths, address: str
) -> None:
    url = f"{server.url.replace('127.0.0.1', address)}/files/hello.spec"
    with pytest.raises(AgentError, match="not a public address"):
        await repositories.bring_link(plan_of(EgressRules()), url, paths.in_dir / "x")


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "https://10.96.0.1/api", "http://[fd00::1]/x"])
async def test_a_redirect_into_the_cluster_is_refused(
    server: SourceServer, spec: Path, paths: PodPaths, target: str
) -> None:
    server.redirects["/files/moved.spec"] = target
    with pytest.raises(AgentError, match="not a public address") as failed:
        await repositories.bring_link(plan_of(), f"{server.url}/files/moved.spec", paths.in_dir / "x")
    assert failed.value.reason == "AddressRefused"


async def test_https_is_verified_with_the_bundle_of_the_administrator(
    paths: PodPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make_certificate(key, certificate)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"Name: hello\n")

    app = web.Application()
    app.router.add_get("/hello.spec", answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/hello.spec"
    monkeypatch.delenv(SOURCE_CA_VARIABLE, raising=False)
    with pytest.raises(AgentError, match=r"SourceDownloadFailed: .*certificate"):
        await repositories.bring_link(plan_of(), url, paths.in_dir / "x")
    monkeypatch.setenv(SOURCE_CA_VARIABLE, str(certificate))
    await repositories.bring_link(plan_of(), url, paths.in_dir / "x")
    assert (paths.in_dir / "x").read_text() == "Name: hello\n"
    await runner.cleanup()


async def test_the_administrators_own_proxy_is_used_and_resolves_names_itself(
    paths: PodPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0].decode())
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" if head.startswith(b"GET") else b"HTTP/1.1 500 x\r\n\r\n"
        )
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, address)
    monkeypatch.setenv("no_proxy", "")
    nowhere, target = plan_of(EgressRules()), paths.in_dir / "x"
    await repositories.bring_link(nowhere, "http://only.the.proxy.knows/a.spec", target)
    assert target.read_text() == "ok"
    with pytest.raises(AgentError, match="SourceDownloadFailed"):
        await repositories.bring_link(plan_of(EgressRules(), fetch=2), "https://only.the.proxy.knows/a.spec", target)
    assert asked[:2] == [
        "GET http://only.the.proxy.knows/a.spec HTTP/1.1",
        "CONNECT only.the.proxy.knows:443 HTTP/1.1",
    ]
    before = len(asked)
    for url in ("http://10.0.0.1/a.spec", "https://10.0.0.1/a.spec"):
        with pytest.raises(AgentError, match="AddressRefused"):
            await repositories.bring_link(nowhere, url, target)
    assert len(asked) == before
    listening.close()
