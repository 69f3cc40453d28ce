"""`fetch` against real servers of Subversion: svnserve, and Apache with mod_dav_svn."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from copr_operator.builder.agent import repositories
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import EgressRules, ScmSource, StepPlan
from tests.integration.builder.conftest import plan_of
from tests.support.scm_servers import git
from tests.support.svn_servers import SvnServer, svn_http_server, svn_server


@pytest.fixture(params=["svnserve", "http"])
async def svn(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SvnServer]:
    async with svn_server(tmp_path / "svn") if request.param == "svnserve" else svn_http_server() as running:
        yield running


@pytest.fixture
def hello(svn: SvnServer) -> str:
    """URL of the trunk of a repository with two revisions."""
    url = svn.repository("hello", {"trunk/hello.spec": "Version: 1\n", "trunk/sub/a.txt": "a\n"})
    svn.change("hello", {"trunk/hello.spec": "Version: 2\n"})
    return f"{url}/trunk"


async def export(paths: PodPaths, url: str, plan: StepPlan | None = None, **source: Any) -> Path:
    wanted = ScmSource(scm="svn", clone_url=url, method="rpkg", **source)
    await repositories.bring_scm(plan or plan_of(), wanted, paths)
    return paths.in_dir / "source" / "repository"


@pytest.mark.parametrize(("committish", "version"), [(None, "2"), ("HEAD", "2"), ("2", "2"), ("r1", "1")])
async def test_a_revision_is_exported(hello: str, paths: PodPaths, committish: str | None, version: str) -> None:
    exported = await export(paths, hello, committish=committish)
    assert (exported / "hello.spec").read_text() == f"Version: {version}\n"
    assert (exported / "sub/a.txt").stat().st_mode & 0o777 == 0o644
    assert list((paths.in_dir / "source").iterdir()) == [exported]


async def test_the_export_is_a_git_repository_for_the_tools(hello: str, paths: PodPaths) -> None:
    exported = await export(paths, hello)
    assert git(exported, "status", "--porcelain") == ""
    assert git(exported, "log", "--format=%an %s") == f"Bob r2 of {hello}"


@pytest.mark.parametrize(("committish", "why"), [("r99", "No such revision"), ("main", "is no revision")])
async def test_a_revision_that_is_not_there_is_said(hello: str, paths: PodPaths, committish: str, why: str) -> None:
    with pytest.raises(AgentError, match=why) as failed:
        await export(paths, hello, committish=committish)
    assert failed.value.reason == "CommittishNotFound"


async def test_a_repository_that_is_not_there_fails_with_svns_words(hello: str, paths: PodPaths) -> None:
    with pytest.raises(
        AgentError, match=r"CloneFailed: .*(No repository found|Could not find the requested SVN)"
    ) as failed:
        await export(paths, hello.replace("hello", "nothing"))
    assert failed.value.reason == "CloneFailed"


async def test_a_host_that_is_not_public_is_refused(hello: str, paths: PodPaths) -> None:
    with pytest.raises(AgentError, match="AddressRefused"):
        await export(paths, hello, plan_of(EgressRules()))


async def test_a_private_repository_is_exported_with_its_secret(svn: SvnServer, paths: PodPaths) -> None:
    url = svn.repository("private", {"hello.spec": "private\n"}, password="s3cret")
    for name, text in {"username": "alice", "password": "s3cret", "hosts": "127.0.0.1"}.items():
        (paths.credentials / name).write_text(text)
    exported = await export(paths, url, credentials=True)
    assert (exported / "hello.spec").read_text() == "private\n"
    kept = [path for path in paths.in_dir.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert kept == []


async def test_a_wrong_password_is_a_failure(svn: SvnServer, paths: PodPaths) -> None:
    url = svn.repository("private", {"hello.spec": "private\n"}, password="s3cret")
    with pytest.raises(AgentError, match=r"CloneFailed: .*([Aa]uth|No more credentials)"):
        await export(paths, url.replace("//", "//alice:wr0ng@"))


async def test_a_git_configuration_that_was_checked_in_runs_nothing(
    svn: SvnServer, paths: PodPaths, tmp_path: Path
) -> None:
    owned = tmp_path / "owned"
    hostile = f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = touch {owned}\n"
    files = {".git/config": hostile, ".git/HEAD": "ref: refs/heads/main\n", "sub/.git/config": hostile,
             "sub/.git/HEAD": "ref: refs/heads/main\n", "sub/a": "a\n", "hello.spec": "x\n"}  # fmt: skip
    exported = await export(paths, svn.repository("hostile", files))
    assert not owned.exists()
    assert "fsmonitor" not in (exported / ".git/config").read_text()
    assert not (exported / "sub/.git").exists()


async def test_a_redirect_to_a_host_that_is_not_allowed_is_refused(paths: PodPaths) -> None:
    async with svn_http_server(moved="http://10.96.0.1/svn") as svn:
        with pytest.raises(AgentError, match=r"10\.96\.0\.1, which is not a public address") as failed:
            await export(paths, f"{svn.url}/moved/trunk")
    assert failed.value.reason == "AddressRefused"


async def test_credentials_are_not_sent_to_where_a_server_redirects(paths: PodPaths) -> None:
    for name, text in {"username": "alice", "password": "s3cret", "hosts": "127.0.0.1"}.items():
        (paths.credentials / name).write_text(text)
    asked = []

    async def thief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))
        writer.close()

    listening = await asyncio.start_server(thief, "127.0.0.2", 0)
    stolen = f"http://127.0.0.2:{listening.sockets[0].getsockname()[1]}/svn"
    async with svn_http_server(moved=stolen) as svn, listening:
        with pytest.raises(AgentError, match="not one of the hosts that the credentials are for"):
            await export(
                paths, f"{svn.url}/moved/trunk", plan_of(EgressRules(allow=("127.0.0.0/8",))), credentials=True
            )
    assert asked == []
