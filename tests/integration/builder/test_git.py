"""`fetch` against a real git server: what is checked out, what is refused, and where credentials go."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from copr_operator.builder.agent import repositories, tools
from copr_operator.builder.agent.backend import Pauses
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import AgentExit, EgressRules, ScmSource, StepPlan
from tests.integration.builder.conftest import plan_of
from tests.support.scm_servers import SourceServer, commit, git, source_server


@pytest.fixture
def hello(server: SourceServer) -> Path:
    """A repository with two branches, a tag, and a commit that only a merge request's ref reaches."""
    repository = server.root / "hello"
    commit(repository, {"hello.spec": "Version: 1\n", "dist/other.spec": "x\n"})
    git(repository, "tag", "-a", "-m", "v1", "v1")
    commit(repository, {"hello.spec": "Version: 2\n"})
    git(repository, "checkout", "--quiet", "-b", "feature/a+b")
    commit(repository, {"hello.spec": "Version: feature\n"})
    git(repository, "checkout", "--quiet", "--detach")
    commit(repository, {"hello.spec": "Version: request\n"})
    git(repository, "update-ref", "refs/pull/7/head", "HEAD")
    git(repository, "checkout", "--quiet", "main")
    return repository


async def clone(paths: PodPaths, url: str, plan: StepPlan | None = None, **source: Any) -> Path:
    wanted = ScmSource(scm="git", clone_url=url, method="rpkg", **source)
    await repositories.bring_scm(plan or plan_of(), wanted, paths)
    return paths.in_dir / "source" / "repository"


@pytest.mark.parametrize(
    ("committish", "version"),
    [
        (None, "2"),
        ("HEAD", "2"),
        ("main", "2"),
        ("v1", "1"),
        ("refs/tags/v1", "1"),
        ("v1^{}", "1"),
        ("main~1", "1"),
        ("feature/a+b", "feature"),
        ("refs/heads/feature/a+b", "feature"),
        ("refs/pull/7/head", "request"),
    ],
)
async def test_a_branch_a_tag_a_revision_and_a_ref_are_checked_out(
    server: SourceServer, hello: Path, paths: PodPaths, committish: str | None, version: str
) -> None:
    cloned = await clone(paths, f"{server.url}/git/hello", committish=committish)
    assert (cloned / "hello.spec").read_text() == f"Version: {version}\n"


async def test_a_commit_is_checked_out_also_by_a_part_of_its_name(
    server: SourceServer, hello: Path, paths: PodPaths
) -> None:
    first = git(hello, "rev-parse", "v1^{}")
    cloned = await clone(paths, f"{server.url}/git/hello", committish=first[:10])
    assert git(cloned, "rev-parse", "HEAD") == first


async def test_a_branch_is_a_branch_for_the_tools_that_run_later(
    server: SourceServer, hello: Path, paths: PodPaths
) -> None:
    cloned = await clone(paths, f"{server.url}/git/hello", committish="feature/a+b")
    assert git(cloned, "symbolic-ref", "--short", "HEAD") == "feature/a+b"
    assert git(cloned, "describe", "--tags").startswith("v1-")


def many_commits(repository: Path, count: int) -> None:
    stream = "".join(
        f"commit refs/heads/main\nmark :{n}\ncommitter T <t@example.org> {1700000000 + n} +0000\ndata 1\nx\n"
        f"from {f':{n - 1}' if n > 1 else 'refs/heads/main^0'}\n"
        for n in range(1, count + 1)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repository, input=stream, text=True, check=True)


async def test_a_commit_below_the_depth_of_the_clone_is_found(server: SourceServer, paths: PodPaths) -> None:
    repository = server.root / "long"
    first = commit(repository, {"a.spec": "first\n"})
    many_commits(repository, 600)
    cloned = await clone(paths, f"{server.url}/git/long", committish=first)
    assert git(cloned, "rev-parse", "HEAD") == first


async def test_files_have_the_modes_they_would_have_for_the_build_user(
    server: SourceServer, hello: Path, paths: PodPaths
) -> None:
    (hello / "run.sh").write_text("#!/bin/sh\n")
    (hello / "run.sh").chmod(0o755)
    commit(hello, {})
    cloned = await clone(paths, f"{server.url}/git/hello")
    assert (cloned / "hello.spec").stat().st_mode & 0o777 == 0o644
    assert (cloned / "run.sh").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("committish", ["nope", "refs/heads/nope", "0" * 40, "v9", "main~99"])
async def test_what_the_repository_does_not_have_is_said_with_some_of_what_it_has(
    server: SourceServer, hello: Path, paths: PodPaths, committish: str
) -> None:
    with pytest.raises(AgentError, match=r"some of the branches are: .*main") as failed:
        await clone(paths, f"{server.url}/git/hello", committish=committish)
    assert failed.value.reason == "CommittishNotFound"


async def test_an_option_is_no_revision(server: SourceServer, hello: Path, paths: PodPaths, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="CommittishNotFound"):
        await clone(paths, f"{server.url}/git/hello", committish=f"--upload-pack=touch {tmp_path}/owned")
    assert not (tmp_path / "owned").exists()


def add_submodule(repository: Path, path: str, url: str, head: str) -> None:
    """As `git submodule add` would, without a look at the URL."""
    with (repository / ".gitmodules").open("a") as file:
        file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head},{path}")
    git(repository, "add", ".gitmodules")
    git(repository, "commit", "--quiet", "-m", f"submodule {path}")


async def test_submodules_of_submodules_come_along(server: SourceServer, hello: Path, paths: PodPaths) -> None:
    url = f"{server.url}/git"
    inner = commit(server.root / "inner", {"inner.c": "inner\n"})
    commit(server.root / "outer", {"outer.c": "outer\n"})
    add_submodule(server.root / "outer", "inner", f"{url}/inner", inner)
    add_submodule(hello, "outer", "../outer", git(server.root / "outer", "rev-parse", "HEAD"))
    cloned = await clone(paths, f"{url}/hello")
    assert (cloned / "outer/inner/inner.c").read_text() == "inner\n"


@pytest.mark.parametrize("url", ["ext::sh -c touch% OWNED", "file://HOME/secret", "HOME/secret"])
async def test_a_submodule_can_not_run_programs_or_read_files_of_the_pod(
    server: SourceServer, hello: Path, paths: PodPaths, tmp_path: Path, url: str
) -> None:
    commit(tmp_path / "secret", {"token": "secret\n"})
    url = url.replace("OWNED", str(tmp_path / "owned")).replace("HOME", str(tmp_path))
    add_submodule(hello, "sub", url, git(tmp_path / "secret", "rev-parse", "HEAD"))
    with pytest.raises(AgentError, match=r"submodules could not be fetched") as failed:
        await clone(paths, f"{server.url}/git/hello")
    assert failed.value.reason == "CloneFailed"
    assert not (tmp_path / "owned").exists()
    assert not list((paths.in_dir / "source").rglob("token"))


@pytest.mark.parametrize("url", ["ext::sh -c id", "file:///etc", "/etc", "svn://127.0.0.1/x"])
async def test_other_protocols_are_refused_before_git_runs(paths: PodPaths, url: str) -> None:
    with pytest.raises(AgentError, match="SourceRefused"):
        await clone(paths, url)


async def test_a_host_that_is_not_public_is_refused(server: SourceServer, hello: Path, paths: PodPaths) -> None:
    with pytest.raises(AgentError, match=r"127\.0\.0\.1, which is not a public address") as failed:
        await clone(paths, f"{server.url}/git/hello", plan_of(EgressRules()))
    assert failed.value.reason == "AddressRefused"
    assert server.requests == []


@pytest.mark.parametrize("target", ["http://169.254.169.254", "http://127.0.0.2:9"])
async def test_a_redirect_to_a_host_that_is_not_allowed_is_refused(
    server: SourceServer, hello: Path, paths: PodPaths, target: str
) -> None:
    server.redirects["/git/moved"] = f"{target}/git/hello"
    with pytest.raises(AgentError, match="not a public address") as failed:
        await clone(paths, f"{server.url}/git/moved")
    assert failed.value.reason == "AddressRefused"


async def test_a_submodule_on_a_host_that_is_not_allowed_is_refused(
    server: SourceServer, hello: Path, paths: PodPaths
) -> None:
    add_submodule(hello, "sub", "http://10.96.0.1/x", "1" * 40)
    with pytest.raises(AgentError, match=r"10\.96\.0\.1") as failed:
        await clone(paths, f"{server.url}/git/hello")
    assert failed.value.reason == "AddressRefused"


def secret(paths: PodPaths, **keys: str) -> None:
    for name, text in keys.items():
        (paths.credentials / name.replace("_", "-")).write_text(text)


async def test_a_private_repository_is_cloned_with_its_secret_and_keeps_nothing_of_it(
    server: SourceServer, paths: PodPaths
) -> None:
    commit(server.root / "private", {"hello.spec": "private\n"})
    secret(paths, username="alice", password="s3cret\n", hosts="git.example, 127.0.0.1")
    cloned = await clone(paths, f"{server.url}/git/private", credentials=True)
    assert (cloned / "hello.spec").read_text() == "private\n"
    kept = [path for path in (paths.in_dir).rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert kept == []


async def test_a_secret_is_for_its_hosts_however_the_url_writes_them(server: SourceServer, paths: PodPaths) -> None:
    commit(server.root / "private", {"hello.spec": "private\n"})
    secret(paths, username="alice", password="s3cret", hosts="LOCALhost")
    url = f"{server.url.replace('127.0.0.1', 'LocalHost')}/git/private"
    plan = plan_of(EgressRules(allow=("localhost",)))
    assert (await clone(paths, url, plan, credentials=True) / "hello.spec").exists()


async def test_a_password_in_the_url_does_not_stay_in_the_clone(server: SourceServer, paths: PodPaths) -> None:
    commit(server.root / "private", {"hello.spec": "private\n"})
    cloned = await clone(paths, f"{server.url.replace('//', '//alice:s3cret@')}/git/private")
    assert git(cloned, "remote", "get-url", "origin") == f"{server.url}/git/private"
    assert "s3cret" not in (cloned / ".git/config").read_text()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"username": "alice", "password": "s3cret"}, "no key `hosts`"),
        ({}, "not there, or has no key `hosts`"),
        ({"username": "alice", "password": "s3cret", "hosts": "git.example"}, "does not name 127.0.0.1"),
        ({"hosts": "127.0.0.1", "token": "x"}, "neither `username` nor `password`"),
        ({"hosts": "127.0.0.1", "username": "a", "password": "b\nhost=x"}, "single lines"),
    ],
)
async def test_a_secret_that_is_not_for_this_host_is_not_used(
    server: SourceServer, paths: PodPaths, keys: dict[str, str], why: str
) -> None:
    secret(paths, **keys)
    with pytest.raises(AgentError, match=why) as failed:
        await clone(paths, f"{server.url}/git/private", credentials=True)
    assert failed.value.reason == "CredentialsRefused"
    assert server.requests == []


async def test_credentials_are_not_sent_to_where_a_server_redirects(
    server: SourceServer, paths: PodPaths, tmp_path: Path
) -> None:
    commit(server.root / "private", {"hello.spec": "private\n"})
    async with source_server(tmp_path / "thief", host="127.0.0.2") as thief:
        commit(thief.root / "private", {"hello.spec": "stolen\n"})
        server.redirects["/git/lent"] = f"{thief.url}/git/private"
        secret(paths, username="alice", password="s3cret", hosts="127.0.0.1")
        with pytest.raises(AgentError, match="CloneFailed"):
            await clone(paths, f"{server.url}/git/lent", plan_of(EgressRules(allow=("127.0.0.0/8",))), credentials=True)
        assert thief.requests != []
        assert thief.credentials_seen == []


async def test_wrong_credentials_are_a_failed_clone_that_does_not_show_them(
    server: SourceServer, paths: PodPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(server.root / "private", {"hello.spec": "private\n"})
    secret(paths, username="alice", password="wr0ng", hosts="127.0.0.1")
    with pytest.raises(AgentError, match="CloneFailed") as failed:
        await clone(paths, f"{server.url}/git/private", credentials=True)
    assert "wr0ng" not in failed.value.message + capsys.readouterr().out


async def test_a_repository_that_is_not_there_fails_with_gits_words(server: SourceServer, paths: PodPaths) -> None:
    with pytest.raises(AgentError, match=r"CloneFailed: .*not found"):
        await clone(paths, f"{server.url}/git/nothing")


@pytest.mark.parametrize(("faults", "works"), [(tools.MAX_TRIES - 1, True), (tools.MAX_TRIES, False)])
async def test_a_server_that_is_out_of_order_for_a_moment_is_asked_again(
    server: SourceServer, hello: Path, paths: PodPaths, monkeypatch: pytest.MonkeyPatch, faults: int, works: bool
) -> None:
    monkeypatch.setattr(tools, "PAUSES", Pauses(first=0.001, ceiling=0.002))
    server.faults = faults
    if works:
        assert (await clone(paths, f"{server.url}/git/hello") / "hello.spec").exists()
    else:
        with pytest.raises(AgentError, match=r"CloneFailed: .*503"):
            await clone(paths, f"{server.url}/git/hello")


async def test_a_server_that_is_out_of_order_when_it_is_asked_for_its_default_branch_is_asked_again(
    server: SourceServer, hello: Path, paths: PodPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "PAUSES", Pauses(first=0.001, ceiling=0.002))
    await clone(paths, f"{server.url}/git/hello")
    asked = len(server.requests)
    shutil.rmtree(paths.in_dir / "source/repository")
    server.faults, server.faults_after = 2, asked - 2  # set-head asks for the service and for its refs
    cloned = await clone(paths, f"{server.url}/git/hello")
    assert server.faults == 0
    assert git(cloned, "symbolic-ref", "--short", "HEAD") == "main"


async def test_a_server_whose_head_is_no_branch_is_cloned_there(
    server: SourceServer, hello: Path, paths: PodPaths
) -> None:
    git(hello, "checkout", "--quiet", "--detach")
    detached = commit(hello, {"hello.spec": "Version: detached\n"})
    cloned = await clone(paths, f"{server.url}/git/hello")
    assert git(cloned, "rev-parse", "HEAD") == detached
    assert (cloned / "hello.spec").read_text() == "Version: detached\n"


async def test_a_server_whose_head_is_a_branch_that_is_not_there_needs_a_committish(
    server: SourceServer, hello: Path, paths: PodPaths
) -> None:
    git(hello, "symbolic-ref", "HEAD", "refs/heads/gone")
    with pytest.raises(AgentError, match=r"CloneFailed: .*HEAD"):
        await clone(paths, f"{server.url}/git/hello")
    shutil.rmtree(paths.in_dir / "source/repository")
    assert (await clone(paths, f"{server.url}/git/hello", committish="main") / "hello.spec").exists()


async def test_a_repository_that_is_too_large_is_refused(server: SourceServer, hello: Path, paths: PodPaths) -> None:
    with pytest.raises(AgentError, match="larger than 10000 bytes") as failed:
        await clone(paths, f"{server.url}/git/hello", plan_of(max_source_bytes=10_000))
    assert failed.value.reason == "SourceRefused"


async def test_a_repository_that_is_small_and_unpacks_to_more_is_refused(
    server: SourceServer, hello: Path, paths: PodPaths
) -> None:
    (hello / "bomb").write_bytes(b"x" * 64 * 1024**2)  # of zeros git would make a hole
    commit(hello, {})
    git(hello, "gc", "--quiet")
    stored = sum(path.stat().st_size for path in (hello / ".git").rglob("*") if path.is_file())
    assert stored < 1_000_000
    with pytest.raises(AgentError, match="larger than 1000000 bytes") as failed:
        await clone(paths, f"{server.url}/git/hello", plan_of(max_source_bytes=1_000_000))
    assert failed.value.reason == "SourceRefused"


async def test_a_repository_with_a_path_that_nothing_can_open_is_refused(
    server: SourceServer, hello: Path, paths: PodPaths
) -> None:
    def tree(entry: str) -> str:
        made = subprocess.run(["git", "mktree"], cwd=hello, input=entry, text=True, capture_output=True, check=True)
        return made.stdout.strip()

    deep = tree(f"100644 blob {git(hello, 'rev-parse', 'HEAD:hello.spec')}\tf\n")
    # 4082 bytes: short enough as git writes it, below the working directory, and too long with that before it.
    for name in ["d" * 255] * 15 + ["e" * 240]:
        deep = tree(f"040000 tree {deep}\t{name}\n")
    git(hello, "update-ref", "HEAD", git(hello, "commit-tree", "-m", "deep", deep))
    with pytest.raises(AgentError, match=r"SourceRefused: .* path of more than") as failed:
        await clone(paths, f"{server.url}/git/hello")
    assert failed.value.exit_code is AgentExit.REFUSED


@pytest.mark.parametrize("subdirectory", ["nope", "hello.spec", "a" * 300])
async def test_a_subdirectory_that_is_not_there_is_said(
    server: SourceServer, hello: Path, paths: PodPaths, subdirectory: str
) -> None:
    with pytest.raises(AgentError, match="SourceRefused: the repository has no directory"):
        await clone(paths, f"{server.url}/git/hello", subdirectory=subdirectory)


async def test_a_server_that_never_answers_is_given_up(paths: PodPaths, tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    with pytest.raises(AgentError, match=r"CloneFailed: .*was not cloned within 1 seconds"):
        await clone(paths, f"http://127.0.0.1:{port}/x", plan_of(fetch=1))
    listening.close()


async def test_git_daemon_is_reached_through_the_same_rules(
    server: SourceServer, hello: Path, paths: PodPaths, git_daemon: str
) -> None:
    cloned = await clone(paths, f"{git_daemon}/hello")
    assert (cloned / "hello.spec").read_text() == "Version: 2\n"


async def test_git_daemon_on_a_host_that_is_not_allowed_is_refused(
    hello: Path, paths: PodPaths, git_daemon: str
) -> None:
    with pytest.raises(AgentError, match="AddressRefused"):
        await clone(paths, f"{git_daemon}/hello", plan_of(EgressRules()))


@pytest.fixture
async def git_daemon(server: SourceServer) -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server.root.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        "git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}",
        f"--base-path={server.root}", str(server.root),
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_COUNT": "1",
             "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
        start_new_session=True,
    )  # fmt: skip
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.01)
    yield f"git://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    await process.wait()
