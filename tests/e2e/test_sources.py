"""Sources other than a link to a spec, from the user's file to the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.e2e.conftest import CHROOT, NAMESPACE, Builds
from tests.support.installation import REPOSITORY
from tests.support.sources import SourceServer


def test_an_uploaded_source_rpm_is_built_and_published(project: Builds, srpm: Path) -> None:
    installation = project.installation
    command = [sys.executable, "-m", "copr_operator", "upload", str(srpm), "-n", NAMESPACE]
    command += ["--backend-url", installation.results_url, "--kubeconfig", str(installation.cluster.kubeconfig)]
    sent = subprocess.run(command, cwd=REPOSITORY / "operator", capture_output=True, text=True, check=False)
    assert sent.returncode == 0, sent.stderr
    project.submit("sent", yaml.safe_load(sent.stdout)["source"])
    status = project.ended("sent")
    assert status["state"] == "succeeded", status
    assert status["source"]["package"] == {"name": "sent", "version": "1.0-1"}
    assert status["chroots"][0]["packages"] == 2


def test_a_linked_source_rpm_under_another_name_is_stored_under_the_name_in_its_header(
    project: Builds, sources: SourceServer, srpm: Path
) -> None:
    shutil.copy(srpm, sources.directory / "whatever.src.rpm")
    project.submit("linked", {"type": "link", "link": {"url": f"{sources.url}/whatever.src.rpm"}})
    status = project.ended("linked")
    assert status["state"] == "succeeded", status
    assert status["source"]["srpm"]["url"].endswith(f"/srpm-builds/{status['id']:08d}/sent-1.0-1.src.rpm")
    assert status["repoURL"] == f"{project.installation.results_url}/results/alice/e2e"
    assert CHROOT in {chroot["name"] for chroot in status["chroots"]}
