"""What `fetch` leaves in the pod, and how it fails."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable
from unittest.mock import AsyncMock

import pytest

from copr_operator.builder.agent import fetch
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import PLAN_VARIABLE, PodPaths
from copr_operator.core.wire import AgentExit, ArtifactRef, CustomSource, StepPlan, StepSummary, UploadSource
from tests.unit.builder.conftest import FakeBackend

PlanOf = Callable[..., StepPlan]
SRPM = ArtifactRef(name="hello-1.0-1.src.rpm", sha256=hashlib.sha256(b"an srpm").hexdigest())


def test_the_untrusted_container_finds_scripts_and_settings(plan_of: PlanOf, paths: PodPaths) -> None:
    fetch.prepare(plan_of(), paths)
    scripts = {path.name for path in (paths.in_dir / "scripts").iterdir()}
    assert {"main.sh", "lib.sh", "packages.sh", "rpm.sh", "source.sh", "source-custom.sh"} <= scripts
    assert {"settings.sh", "macros", "copr.repo", "packages"} < {path.name for path in paths.in_dir.iterdir()}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in paths.in_dir.rglob("*") if path.is_file())


def test_the_fifo_is_for_the_pods_root_only(plan_of: PlanOf, paths: PodPaths) -> None:
    paths.end_fifo.parent.chmod(0o777)
    fetch.prepare(plan_of(), paths)
    assert stat.S_IMODE(paths.end_fifo.parent.stat().st_mode) == 0o755
    mode = paths.end_fifo.stat().st_mode
    assert stat.S_ISFIFO(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_an_rpm_step_gets_the_srpm(plan_of: PlanOf, paths: PodPaths, fake_backend: FakeBackend) -> None:
    plan = plan_of(srpm=SRPM, backend_url=fake_backend.url)
    fetch.prepare(plan, paths)
    await fetch.bring(plan, paths)
    assert (paths.in_dir / "srpm" / SRPM.name).read_bytes() == b"an srpm"


async def test_a_private_projects_repositories_get_a_ticket_that_only_root_reads(
    plan_of: PlanOf, paths: PodPaths, fake_backend: FakeBackend
) -> None:
    repos = [{"id": "fedora", "baseurl": "https://f/"}, {"id": "copr_base", "baseurl": "http://b/", "private": True}]
    plan = plan_of(srpm=SRPM, backend_url=fake_backend.url, repos=repos)
    fetch.prepare(plan, paths)
    await fetch.bring(plan, paths)
    others, _, own = (paths.in_dir / "copr.repo").read_text().partition("[copr_base]")
    assert own.endswith("username=build\npassword=9.abc\n")
    assert "username" not in others
    assert stat.S_IMODE((paths.in_dir / "copr.repo").stat().st_mode) == 0o600


async def test_an_srpm_that_is_not_the_announced_one_is_the_stores_fault(
    plan_of: PlanOf, paths: PodPaths, fake_backend: FakeBackend
) -> None:
    fake_backend.srpm = b"another"
    plan = plan_of(srpm=SRPM, backend_url=fake_backend.url)
    fetch.prepare(plan, paths)
    with pytest.raises(AgentError, match=r"FetchFailed.*not the SRPM") as failed:
        await fetch.bring(plan, paths)
    assert failed.value.exit_code is AgentExit.INFRA


@pytest.mark.parametrize("name", ["../x.src.rpm", "x.rpm", "a b.src.rpm", ""])
async def test_an_srpm_name_that_is_no_file_name_is_not_written(plan_of: PlanOf, paths: PodPaths, name: str) -> None:
    with pytest.raises(AgentError, match="no usable SRPM"):
        await fetch.bring(plan_of(srpm=ArtifactRef(name=name, sha256="0" * 64)), paths)


async def test_an_upload_is_brought_and_its_checksum_kept_for_collect(
    plan_of: PlanOf, paths: PodPaths, fake_backend: FakeBackend
) -> None:
    fake_backend.uploads["r4nd/hello.spec"] = b"Name: hello"
    sha256 = hashlib.sha256(b"Name: hello").hexdigest()
    source = UploadSource(ref="r4nd/hello.spec", sha256=sha256.upper())
    plan = plan_of(step="source", chroot=None, source=source, backend_url=fake_backend.url)
    fetch.prepare(plan, paths)
    await fetch.bring(plan, paths)
    assert (paths.in_dir / "source" / "hello.spec").read_bytes() == b"Name: hello"
    assert (paths.in_dir / "source.sha256").read_text() == sha256


async def test_a_scripts_payload_is_brought_beside_it(
    plan_of: PlanOf, paths: PodPaths, fake_backend: FakeBackend
) -> None:
    fake_backend.uploads["r4nd/hook_payload"] = b'{"ref": "main"}'
    sha256 = hashlib.sha256(b'{"ref": "main"}').hexdigest()
    source = CustomSource(script="#!/bin/sh\n", payload=UploadSource(ref="r4nd/hook_payload", sha256=sha256))
    plan = plan_of(step="source", chroot=None, source=source, backend_url=fake_backend.url)
    fetch.prepare(plan, paths)
    await fetch.bring(plan, paths)
    payload = paths.in_dir / "hook_payload"
    assert (payload.read_bytes(), oct(payload.stat().st_mode & 0o777)) == (b'{"ref": "main"}', "0o644")
    assert (paths.in_dir / "script").read_text() == "#!/bin/sh\n"
    assert not (paths.in_dir / "source.sha256").exists()


async def test_an_upload_with_another_checksum_is_refused(
    plan_of: PlanOf, paths: PodPaths, fake_backend: FakeBackend
) -> None:
    fake_backend.uploads["r4nd/hello.spec"] = b"Name: hello"
    source = UploadSource(ref="r4nd/hello.spec", sha256="0" * 64)
    plan = plan_of(step="source", chroot=None, source=source, backend_url=fake_backend.url)
    fetch.prepare(plan, paths)
    with pytest.raises(AgentError, match="ChecksumMismatch") as refused:
        await fetch.bring(plan, paths)
    assert refused.value.exit_code is AgentExit.REFUSED


async def test_an_upload_that_is_gone_is_the_users_failure(
    plan_of: PlanOf, paths: PodPaths, fake_backend: FakeBackend
) -> None:
    plan = plan_of(step="source", chroot=None, source=UploadSource(ref="r4nd/hello.spec"), backend_url=fake_backend.url)
    with pytest.raises(AgentError, match="UploadNotFound"):
        await fetch.bring(plan, paths)


def test_a_missing_plan_is_an_infrastructure_failure_and_says_so(
    paths: PodPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PLAN_VARIABLE, raising=False)
    assert fetch.main(paths) == AgentExit.INFRA
    summary = StepSummary.model_validate_json(paths.termination_log.read_text())
    assert summary.failure is not None
    assert summary.failure.reason == "FetchFailed"


def test_a_link_that_can_not_be_built_is_refused_with_its_reason(
    plan_of: PlanOf, paths: PodPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(step="source", chroot=None, source={"type": "link", "url": "http://127.0.0.1:1/hello-1-1.nosrc.rpm"})
    monkeypatch.setenv(PLAN_VARIABLE, plan.model_dump_json())
    assert fetch.main(paths) == AgentExit.REFUSED
    summary = json.loads(paths.termination_log.read_text())
    assert summary["failure"]["reason"] == "SourceRefused"
    assert "nosrc" in summary["failure"]["message"]


@pytest.mark.parametrize(
    ("scm", "url"),
    [
        ("git", "https://[abc/x"),
        ("git", "https://127.0.0.1:99999/x"),
        ("svn", "svn://127.0.0.1:abc/x"),
        ("svn", "https://127.0.0.1:99999/svn/x"),
        ("svn", "svn://a..b/x"),
    ],
)
def test_a_url_that_can_not_be_used_is_the_users_failure(
    plan_of: PlanOf, paths: PodPaths, monkeypatch: pytest.MonkeyPatch, scm: str, url: str
) -> None:
    source = {"type": "scm", "scm": scm, "clone_url": url, "method": "rpkg"}
    monkeypatch.setenv(PLAN_VARIABLE, plan_of(step="source", chroot=None, source=source).model_dump_json())
    assert fetch.main(paths) == AgentExit.REFUSED
    summary = StepSummary.model_validate_json(paths.termination_log.read_text())
    assert summary.failure is not None
    assert summary.failure.reason in ("SourceRefused", "CloneFailed")


def test_what_the_disk_does_is_tried_again_and_what_a_users_names_do_is_not(
    plan_of: PlanOf, paths: PodPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"type": "scm", "scm": "git", "clone_url": "https://x.example/a", "method": "rpkg"}
    monkeypatch.setenv(PLAN_VARIABLE, plan_of(step="source", chroot=None, source=source).model_dump_json())
    for error, expected in (
        (OSError(errno.EIO, os.strerror(errno.EIO)), AgentExit.INFRA),
        (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)), AgentExit.REFUSED),
        (RecursionError(), AgentExit.REFUSED),
        (ValueError("Invalid IPv6 URL"), AgentExit.REFUSED),
    ):
        monkeypatch.setattr(fetch, "bring_scm", AsyncMock(side_effect=error))
        paths.end_fifo.unlink(missing_ok=True)
        assert fetch.main(paths) == expected


def test_a_failure_carries_the_last_lines_of_the_log(
    plan_of: PlanOf, paths: PodPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"type": "scm", "scm": "git", "clone_url": "http://10.0.0.1/x", "method": "rpkg"}
    monkeypatch.setenv(PLAN_VARIABLE, plan_of(step="source", chroot=None, source=source).model_dump_json())
    assert fetch.main(paths) == AgentExit.REFUSED
    summary = StepSummary.model_validate_json(paths.termination_log.read_text())
    assert summary.failure is not None
    assert summary.failure.reason == "AddressRefused"
    assert "refused: 10.0.0.1 is 10.0.0.1, which is not a public address" in summary.log_tail


def test_a_link_with_a_query_is_called_by_its_path(
    plan_of: PlanOf, paths: PodPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(step="source", chroot=None, source={"type": "link", "url": "http://127.0.0.1:1/get?f=hello.spec"})
    monkeypatch.setenv(PLAN_VARIABLE, plan.model_dump_json())
    assert fetch.main(paths) == AgentExit.REFUSED
    assert "neither" in paths.termination_log.read_text()
