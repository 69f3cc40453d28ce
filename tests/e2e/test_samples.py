"""manifests/samples built on the node. Where a sample names a public server, one of this machine stands in."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from copr_operator.api.sources import SOURCE_TYPES
from tests.e2e.conftest import CHROOT, ENDED
from tests.e2e.test_source_methods import Servers, installation, servers
from tests.support.installation import REPOSITORY, SOURCE_PORT, Installation
from tests.support.samples import replaced, sample
from tests.support.scm_servers import git

__all__ = ["installation", "servers"]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

NAMESPACE = "samples"
ENDS = {
    **dict.fromkeys(("link", "upload", "scm", "distgit", "custom"), ("succeeded", "succeeded", None)),
    # Its spec needs Fedora's macros for Python, which no chroot here has: the SRPM is what can be had.
    "pypi": ("failed", "succeeded", "BuildFailed"),
    # gem2rpm comes with Fedora's packages only.
    "rubygems": ("failed", "failed", "ToolMissing"),
}
"""How each ends here: the build, its source step, and why."""


def upload(installation: Installation, file: Path) -> dict[str, Any]:
    """The source that `copr-operator upload` prints."""
    command = [sys.executable, "-m", "copr_operator", "upload", str(file), "-n", NAMESPACE]
    command += ["--backend-url", installation.results_url, "--kubeconfig", str(installation.cluster.kubeconfig)]
    sent = subprocess.run(command, cwd=REPOSITORY / "operator", capture_output=True, text=True, check=False)
    assert sent.returncode == 0, sent.stderr
    source: dict[str, Any] = yaml.safe_load(sent.stdout)["source"]
    return source


def test_every_sample_builds_as_far_as_this_machine_can(
    installation: Installation, servers: Servers, srpm: Path
) -> None:
    installation.build_namespace(NAMESPACE)
    installation.kubectl("delete", "coprbuilds,coprprojects", "--all", "-n", NAMESPACE, "--timeout=120s")
    shutil.copy(srpm, servers.sources.root / "sample.src.rpm")
    git(servers.sources.root / "rpms/hello-dist", "branch", "f43")
    here = {
        "link": {"link": {"url": f"http://{servers.address}:{SOURCE_PORT}/files/sample.src.rpm"}},
        "upload": upload(installation, srpm),
        "scm": {"scm": {"cloneURL": f"{servers.git}/hello-tito"}},
        "distgit": {"distgit": {"instance": "local", "package": "hello-dist"}},
        "pypi": {"pypi": {"name": "hello-copr"}},
    }
    project = replaced(sample("project"), {"spec": {"chroots": [{"name": CHROOT}]}})
    builds = [replaced(sample(name), {"spec": {"source": here.get(name, {})}}) for name in SOURCE_TYPES]
    for obj in (project, *builds):
        obj["metadata"] = {**obj["metadata"], "namespace": NAMESPACE}
    installation.apply(project, *builds)
    deadline = time.monotonic() + 900
    while True:
        items = installation.get("coprbuilds", "-n", NAMESPACE)["items"]
        statuses = {item["spec"]["source"]["type"]: item.get("status", {}) for item in items}
        if all(status.get("state") in ENDED for status in statuses.values()):
            break
        assert time.monotonic() < deadline, {name: status.get("state") for name, status in statuses.items()}
        time.sleep(1)
    assert {
        name: (status["state"], status["source"]["state"], status.get("failure", {}).get("reason"))
        for name, status in statuses.items()
    } == ENDS
