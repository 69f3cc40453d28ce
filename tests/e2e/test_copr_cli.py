"""The unmodified copr-cli against the operator on the real node: from an SRPM on this machine to dnf's download."""

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import CHROOT, Builds
from tests.support.installation import NAMESPACE as OPERATOR_NAMESPACE
from tests.support.installation import REPOSITORY

COPR_CLI = Path(sys.executable).with_name("copr-cli")


def run(*command: str | Path, fails: int = 0) -> str:
    """What the command says; it must end with the code `fails`."""
    done = subprocess.run(command, cwd=REPOSITORY / "operator", capture_output=True, text=True, check=False)
    assert done.returncode == fails, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def config(project: Builds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ~/.config/copr with a token that was made for alice, and the namespace that her projects go to."""
    installation = project.installation
    installation.build_namespace("copr-alice")
    file = tmp_path_factory.mktemp("copr") / "config"
    file.write_text(
        run(
            sys.executable, "-m", "copr_operator", "token", "create", "alice", "--namespace", OPERATOR_NAMESPACE,
            "--url", installation.frontend_url, "--kubeconfig", str(installation.cluster.kubeconfig),
        )
    )  # fmt: skip
    return file


def test_copr_cli_makes_a_project_and_builds_an_srpm_whose_packages_can_be_downloaded(
    config: Path, srpm: Path, tmp_path: Path
) -> None:
    def copr(*arguments: str | Path, fails: int = 0) -> str:
        return run(COPR_CLI, "--config", config, *arguments, fails=fails)

    assert copr("whoami").strip() == "alice"
    assert CHROOT in copr("list-chroots")
    name = f"cli-{secrets.token_hex(4)}"
    copr("create", name, "--chroot", CHROOT)
    said = copr("build", name, srpm)  # waits for the end
    assert "succeeded" in said
    build_id = said.partition("Created builds: ")[2].split()[0]
    assert copr("status", build_id).strip() == "succeeded"
    copr("download-build", build_id, "--dest", tmp_path)
    names = sorted(file.name for file in tmp_path.rglob("*.rpm"))
    assert names == ["sent-1.0-1.deb12.noarch.rpm", "sent-1.0-1.deb12.src.rpm"]
    assert (tmp_path / CHROOT / "builder-live.log.gz").exists()
    copr("delete-build", build_id)
    assert "does not exist" in copr("status", build_id, fails=1)
    copr("delete", name)
    assert name not in copr("list")
