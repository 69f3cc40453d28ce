"""`fetch` against a real dist-git: a git server and a lookaside cache."""

import hashlib
from pathlib import Path

import pytest

from copr_operator.builder.agent import repositories
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.lookaside import SourceFile, parse_sources
from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import DistGitSource
from tests.integration.builder.conftest import LOOPBACK, plan_of
from tests.support.scm_servers import SourceServer, commit, git

DATA = b"the source\n"
SHA512, MD5 = hashlib.sha512(DATA).hexdigest(), hashlib.md5(DATA, usedforsecurity=False).hexdigest()
NEW, OLD = f"SHA512 (hello-1.0.tar.gz) = {SHA512}\n", f"{MD5}  hello-1.0.tar.gz\n"


@pytest.fixture
def package(server: SourceServer) -> Path:
    """rpms/hello, and its source in the lookaside cache by both hashes."""
    for hashtype, digest in (("sha512", SHA512), ("md5", MD5)):
        file = server.root / f"cache/hello/hello-1.0.tar.gz/{hashtype}/{digest}/hello-1.0.tar.gz"
        file.parent.mkdir(parents=True)
        file.write_bytes(DATA)
    commit(server.root / "rpms/hello", {"hello.spec": "x\n", "sources": NEW})
    return server.root / "rpms/hello"


async def bring(server: SourceServer, paths: PodPaths, **limits: int) -> Path:
    source = DistGitSource(
        package="hello",
        clone_url=f"{server.url}/git/rpms/hello",
        lookaside_url=f"{server.url}/files/cache/hello/{{filename}}/{{hashtype}}/{{hash}}/{{filename}}",
        committish="main",
    )
    await repositories.bring_dist_git(plan_of(LOOPBACK, **limits), source, paths)
    return paths.in_dir / "source" / "repository"


@pytest.mark.parametrize("sources", [NEW, OLD, OLD.replace("  ", " *"), NEW + "\n"])
async def test_the_sources_are_beside_the_spec(
    server: SourceServer, package: Path, paths: PodPaths, sources: str
) -> None:
    commit(package, {"sources": sources})
    brought = await bring(server, paths)
    assert (brought / "hello-1.0.tar.gz").read_bytes() == DATA
    assert (brought / "hello-1.0.tar.gz").stat().st_mode & 0o777 == 0o644


async def test_a_package_without_sources_is_fine(server: SourceServer, package: Path, paths: PodPaths) -> None:
    git(package, "rm", "--quiet", "sources")
    commit(package, {})
    assert (await bring(server, paths) / "hello.spec").exists()


async def test_a_file_with_another_hash_is_refused_and_not_left_behind(
    server: SourceServer, package: Path, paths: PodPaths
) -> None:
    next(server.root.glob("cache/hello/*/sha512/*/*")).write_bytes(b"another")
    with pytest.raises(AgentError, match=r"hello-1\.0\.tar\.gz has sha512 .* but `sources` says") as failed:
        await bring(server, paths)
    assert failed.value.reason == "LookasideMismatch"
    assert not (paths.in_dir / "source/repository/hello-1.0.tar.gz").exists()


async def test_a_file_that_is_not_in_the_cache_is_said(server: SourceServer, package: Path, paths: PodPaths) -> None:
    commit(package, {"sources": NEW.replace(SHA512, "0" * 128)})
    with pytest.raises(AgentError, match=r"hello-1\.0\.tar\.gz can't be had: .*404") as failed:
        await bring(server, paths)
    assert failed.value.reason == "LookasideMismatch"


async def test_a_link_in_the_repository_is_replaced_and_not_written_through(
    server: SourceServer, package: Path, paths: PodPaths, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (package / "hello-1.0.tar.gz").symlink_to(precious)
    commit(package, {})
    brought = await bring(server, paths)
    assert precious.read_text() == "kept"
    assert not (brought / "hello-1.0.tar.gz").is_symlink()


async def test_a_sources_file_that_is_a_link_is_not_read(
    server: SourceServer, package: Path, paths: PodPaths, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("a-secret-token\n")
    (package / "sources").unlink()
    (package / "sources").symlink_to(tmp_path / "token")
    commit(package, {})
    with pytest.raises(AgentError, match="LookasideMismatch") as failed:
        await bring(server, paths)
    assert "a-secret-token" not in failed.value.message


async def test_the_cache_may_not_redirect_into_the_cluster(
    server: SourceServer, package: Path, paths: PodPaths
) -> None:
    server.redirects["/files/cache"] = "http://10.96.0.1/cache"
    with pytest.raises(AgentError, match=r"10\.96\.0\.1") as failed:
        await bring(server, paths)
    assert failed.value.reason == "AddressRefused"


async def test_the_limit_is_for_all_files_together(server: SourceServer, package: Path, paths: PodPaths) -> None:
    big = b"x" * 600_000
    digest = hashlib.sha512(big).hexdigest()
    lines = ""
    for name in ("a.tar.gz", "b.tar.gz"):
        file = server.root / f"cache/hello/{name}/sha512/{digest}/{name}"
        file.parent.mkdir(parents=True)
        file.write_bytes(big)
        lines += f"SHA512 ({name}) = {digest}\n"
    commit(package, {"sources": lines})
    with pytest.raises(AgentError, match=r"SourceRefused: .*larger than"):
        await bring(server, paths, max_source_bytes=1_000_000)


@pytest.mark.parametrize(
    "line",
    [
        "SHA512 (../x) = " + SHA512,
        "SHA512 (/etc/x) = " + SHA512,
        "SHA512 (.git) = " + SHA512,
        "SHA512 (-x) = " + SHA512,
        "SHA512 (x) = " + "0" * 40,
        "SHA512 (x) = " + "z" * 128,
        "CRC32 (x) = 00000000",
        MD5 + "  a/b",
        MD5,
        "hello",
        MD5 + "0  x",
    ],
)
def test_a_line_that_means_nothing_is_refused(line: str) -> None:
    with pytest.raises(AgentError, match="LookasideMismatch"):
        parse_sources(f"{NEW}{line}\n")


def test_both_formats_are_understood() -> None:
    text = f"{NEW}{OLD}SHA256 (b c.tar.xz) = {'A' * 64}\n"
    assert parse_sources(text) == [
        SourceFile("hello-1.0.tar.gz", "sha512", SHA512),
        SourceFile("hello-1.0.tar.gz", "md5", MD5),
        SourceFile("b c.tar.xz", "sha256", "a" * 64),
    ]
