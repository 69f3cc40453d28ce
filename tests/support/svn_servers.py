"""Real servers of Subversion on loopback: svnserve, and Apache with mod_dav_svn."""

import asyncio
import base64
import hashlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_MODULES = (
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "alias",
    "dav",
    "dav_svn",
)
_APACHE = """ServerName {host}
ServerRoot {root}
Listen {host}:{port}
PidFile {root}/pid
ErrorLog {root}/errors
Mutex file:{root}/run
User www-data
Group www-data
StartServers 1
{modules}
Redirect permanent /moved {moved}
<Location />
DAV svn
SVNParentPath {root}/repositories
</Location>
<Location /private>
AuthType Basic
AuthName svn
AuthUserFile {root}/users
Require valid-user
</Location>
"""


@dataclass
class SvnServer:
    root: Path
    url: str = ""

    def repository(self, name: str, files: Mapping[str, str], password: str | None = None) -> str:
        """A repository with these files in its first revision; its URL.

        `password`: alice's, who is needed then. It is called `private` then, and only then.
        """
        path = self.root / name
        subprocess.run(["svnadmin", "create", str(path)], check=True)
        tree = self.root / f"{name}.tree"
        for file, text in files.items():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            (tree / file).write_text(text)
        self._import(tree, path, "the first")
        self._protect(path, password)
        return f"{self.url}/{name}"

    def _protect(self, path: Path, password: str | None) -> None:
        anonymous = "read" if password is None else "none"
        (path / "conf/svnserve.conf").write_text(
            f"[general]\nanon-access = {anonymous}\nauth-access = write\npassword-db = passwd\n"
        )
        (path / "conf/passwd").write_text(f"[users]\nalice = {password or ''}\n")

    def _import(self, tree: Path, path: Path, message: str) -> None:
        command = [
            "svn",
            "import",
            "--quiet",
            "--no-ignore",
            "--username",
            "Bob",
            "-m",
            message,
            str(tree),
            f"file://{path}",
        ]
        subprocess.run(command, check=True)
        shutil.rmtree(tree)

    def change(self, name: str, files: Mapping[str, str]) -> None:
        """One more revision that writes these files."""
        tree = self.root / f"{name}.wc"
        subprocess.run(["svn", "checkout", "--quiet", f"file://{self.root / name}", str(tree)], check=True)
        for file, text in files.items():
            (tree / file).write_text(text)
            subprocess.run(["svn", "add", "--quiet", "--force", "--no-ignore", str(tree / file)], check=True)
        subprocess.run(["svn", "commit", "--quiet", "--username", "Bob", "-m", "more", str(tree)], check=True)
        shutil.rmtree(tree)


@dataclass
class SvnHttpServer(SvnServer):
    def _protect(self, path: Path, password: str | None) -> None:
        digest = base64.b64encode(hashlib.sha1((password or "").encode(), usedforsecurity=False).digest()).decode()
        (self.root.parent / "users").write_text(f"alice:{{SHA}}{digest}\n" if password else "")


async def _listening(host: str, port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(10):
        while True:
            assert process.returncode is None, "the server has ended"
            try:
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.01)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def svn_server(root: Path, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[SvnServer]:
    """svnserve; port 0: a free one."""
    root.mkdir(parents=True, exist_ok=True)
    port = port or _free_port(host)
    process = await asyncio.create_subprocess_exec(
        "svnserve", "--daemon", "--foreground", f"--listen-host={host}", f"--listen-port={port}", f"--root={root}"
    )
    try:
        await _listening(host, port, process)
        yield SvnServer(root, f"svn://{host}:{port}")
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def svn_http_server(
    host: str = "127.0.0.1", port: int = 0, moved: str = "http://10.96.0.1"
) -> AsyncIterator[SvnServer]:
    """Apache with mod_dav_svn; port 0: a free one. `moved`: where everything below /moved is said to be now."""
    port = port or _free_port(host)
    # Not below the folder of the tests, which is root's only: Apache serves as a user of its own.
    with tempfile.TemporaryDirectory(prefix="svn-http-") as home:
        root = Path(home)
        root.chmod(0o755)
        for name in ("run", "repositories"):
            (root / name).mkdir()
        modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _MODULES)
        configuration = root / "apache.conf"
        configuration.write_text(_APACHE.format(host=host, port=port, root=root, modules=modules, moved=moved))
        process = await asyncio.create_subprocess_exec("apache2", "-f", str(configuration), "-DFOREGROUND")
        try:
            await _listening(host, port, process)
            yield SvnHttpServer(root / "repositories", f"http://{host}:{port}")
        finally:
            process.terminate()
            await process.wait()
