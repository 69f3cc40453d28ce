"""git over ssh against a real sshd on loopback: the Secret's key, known hosts, and the same rules for addresses."""

import asyncio
import getpass
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from copr_operator.builder.agent import repositories
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import EgressRules, ScmSource, StepPlan
from tests.integration.builder.conftest import plan_of
from tests.support.scm_servers import commit
from tests.support.svn_servers import SvnServer


@dataclass(frozen=True)
class Sshd:
    url: str
    host_key: str
    user_key: str


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[Sshd]:
    """Lets the user who runs the tests in, by a key made for it, to do what a git client asks for."""
    home = tmp_path / "sshd"
    home.mkdir(mode=0o700)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)]
        await (await asyncio.create_subprocess_exec(*command)).wait()
    repository = home / "hello"
    commit(repository, {"hello.spec": "by ssh\n"})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/user.pub\n"
        "StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nPidFile none\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd wants to be when it lets nobody in
    process = await asyncio.create_subprocess_exec("/usr/sbin/sshd", "-D", "-e", "-f", str(home / "config"))
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await writer.wait_closed()
                break
            except OSError:
                await asyncio.sleep(0.01)
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{repository}"
    host_key = f"[127.0.0.1]:{port} {(home / 'host.pub').read_text()}"
    yield Sshd(url, host_key, (home / "user").read_text())
    process.terminate()
    await process.wait()


def secret(paths: PodPaths, **keys: str) -> None:
    for name, text in keys.items():
        path = paths.credentials / name.replace("ssh_privatekey", "ssh-privatekey")
        path.write_text(text)
        path.chmod(0o400)


async def clone(paths: PodPaths, url: str, plan: StepPlan | None = None) -> Path:
    source = ScmSource(scm="git", clone_url=url, method="rpkg", credentials=True)
    await repositories.bring_scm(plan or plan_of(), source, paths)
    return paths.in_dir / "source" / "repository"


async def test_a_repository_is_cloned_with_the_key_of_the_secret(sshd: Sshd, paths: PodPaths) -> None:
    secret(paths, ssh_privatekey=sshd.user_key, known_hosts=sshd.host_key, hosts="127.0.0.1")
    cloned = await clone(paths, sshd.url)
    assert (cloned / "hello.spec").read_text() == "by ssh\n"
    kept = [path for path in paths.in_dir.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert kept == []


async def test_svn_over_ssh_uses_the_same_key(sshd: Sshd, paths: PodPaths, tmp_path: Path) -> None:
    svn = SvnServer(tmp_path / "svn")
    svn.root.mkdir()
    svn.repository("hello", {"hello.spec": "by svn+ssh\n"})
    secret(paths, ssh_privatekey=sshd.user_key, known_hosts=sshd.host_key, hosts="127.0.0.1")
    url = f"svn+{sshd.url.partition('/sshd/')[0].rpartition(str(tmp_path))[0]}{svn.root}/hello"
    source = ScmSource(scm="svn", clone_url=url, method="rpkg", credentials=True)
    await repositories.bring_scm(plan_of(), source, paths)
    assert (paths.in_dir / "source/repository/hello.spec").read_text() == "by svn+ssh\n"


async def test_without_known_hosts_the_hosts_first_key_is_believed(sshd: Sshd, paths: PodPaths) -> None:
    secret(paths, ssh_privatekey=sshd.user_key, hosts="127.0.0.1")
    assert (await clone(paths, sshd.url) / "hello.spec").exists()


async def test_a_host_with_another_key_than_the_secret_knows_is_not_talked_to(
    sshd: Sshd, paths: PodPaths, tmp_path: Path
) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")]
    subprocess.run(command, check=True)  # noqa: ASYNC221 (takes milliseconds)
    other = sshd.host_key.split(" ")[0] + " " + (tmp_path / "other.pub").read_text()
    secret(paths, ssh_privatekey=sshd.user_key, known_hosts=other, hosts="127.0.0.1")
    with pytest.raises(AgentError, match="CloneFailed"):
        await clone(paths, sshd.url)


async def test_a_secret_without_a_key_is_refused(sshd: Sshd, paths: PodPaths) -> None:
    secret(paths, username="alice", password="x", hosts="127.0.0.1")
    with pytest.raises(AgentError, match=r"CredentialsRefused: .*ssh-privatekey"):
        await clone(paths, sshd.url)


async def test_a_key_that_the_host_does_not_know_is_a_failed_clone(sshd: Sshd, paths: PodPaths, tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")]
    subprocess.run(command, check=True)  # noqa: ASYNC221 (takes milliseconds)
    secret(paths, ssh_privatekey=(tmp_path / "other").read_text(), hosts="127.0.0.1")
    with pytest.raises(AgentError, match="CloneFailed"):
        await clone(paths, sshd.url)


async def test_a_host_that_is_not_public_is_refused(sshd: Sshd, paths: PodPaths) -> None:
    secret(paths, ssh_privatekey=sshd.user_key, hosts="127.0.0.1")
    with pytest.raises(AgentError, match="AddressRefused"):
        await clone(paths, sshd.url, plan_of(EgressRules()))
