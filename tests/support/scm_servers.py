"""A real server of sources on loopback: git over HTTP (git http-backend), and plain files."""

import asyncio
import base64
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

_GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main",
        "-c", "protocol.file.allow=always", "-c", "commit.gpgSign=false")  # fmt: skip


def git(directory: Path, *arguments: str) -> str:
    """Runs git in a repository of the test; its output."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        [*_GIT, *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(repository: Path, files: Mapping[str, str], message: str = "change") -> str:
    """Writes files and commits them; the commit. Makes the repository when it is not there."""
    if not (repository / ".git").exists():
        repository.mkdir(parents=True, exist_ok=True)
        git(repository, "init", "--quiet")
    for name, text in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(repository, "rev-parse", "HEAD")


@dataclass
class SourceServer:
    """`root` holds repositories (served by git http-backend below /git/) and files (below /files/).

    `private`: user and password without which /git/private... is not served. `redirects`: path -> Location.
    """

    root: Path
    url: str = ""
    private: tuple[str, str] = ("alice", "s3cret")
    redirects: dict[str, str] = field(default_factory=dict)
    credentials_seen: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: int = 0
    """So many requests to come are answered with 503,"""
    faults_after: int = 0
    """after so many that are not."""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_route("*", "/git/{path:.*}", self._git)
        app.router.add_get("/files/{path:.*}", self._file)
        return app

    async def _git(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if self.faults_after:
            self.faults_after -= 1
        elif self.faults:
            self.faults -= 1
            return web.Response(status=503)
        if (location := self._redirect(request)) is not None:
            return web.Response(status=302, headers={"Location": location})
        given = request.headers.get("Authorization", "")
        if given:
            self.credentials_seen.append(given)
        expected = "Basic " + base64.b64encode(":".join(self.private).encode()).decode()
        if request.match_info["path"].startswith("private") and given != expected:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        return await self._http_backend(request)

    def _redirect(self, request: web.Request) -> str | None:
        for prefix, target in self.redirects.items():
            if request.path.startswith(prefix):
                return target + request.path_qs.removeprefix(prefix)
        return None

    async def _http_backend(self, request: web.Request) -> web.Response:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_CONFIG_KEY_1": "uploadpack.allowAnySHA1InWant",
            "GIT_CONFIG_VALUE_1": "false",
            "PATH_INFO": "/" + request.match_info["path"],
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate(await request.content.read())
        head, _, body = output.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split(" ")[0])
        return web.Response(status=status, body=body, headers=fields)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if (location := self._redirect(request)) is not None:
            return web.Response(status=302, headers={"Location": location})
        path = self.root / request.match_info["path"]
        if not path.is_file():
            return web.Response(status=404)
        return web.FileResponse(path)


@asynccontextmanager
async def source_server(root: Path, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[SourceServer]:
    server = SourceServer(root)
    runner = web.AppRunner(server.app(), auto_decompress=False, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()
