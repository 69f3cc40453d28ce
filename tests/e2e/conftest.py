"""The operator of this working tree on the node cluster, and the builds of packages.py, all under way at once."""

import gzip
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import images
from tests.e2e.packages import BARE_CHROOT, Scenario, scenarios
from tests.e2e.source_builds import Servers, SourceBuilds, serve
from tests.support.installation import NAMESPACE as OPERATOR_NAMESPACE
from tests.support.installation import Installation, install
from tests.support.sources import SourceServer, serve_sources

NAMESPACE = "e2e"
CHROOT = "debian-12-x86_64"
LIMIT = 300.0
"""Seconds for one build, with everything else that runs beside it."""
ENDED = frozenset({"succeeded", "failed", "canceled", "skipped"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(1200))
    # The chart is installed on a cluster without anything of ours; what comes then installs by kustomize, and stays.
    items.sort(key=lambda item: item.path.name != "test_chart.py")


class Builds:
    """CoprBuilds in the tests' namespace."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def submit(self, name: str, source: dict[str, Any], **options: Any) -> None:
        spec = {"owner": "alice", "project": "e2e", "chroots": [CHROOT], "timeout": 240, "source": source, **options}
        self.installation.apply(
            {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprBuild",
             "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        )  # fmt: skip

    def ended(self, name: str) -> dict[str, Any]:
        """Status of the build once it has ended."""
        deadline = time.monotonic() + LIMIT
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            status = self.installation.get("coprbuild", name, "-n", NAMESPACE).get("status", {})
            if status.get("state") in ENDED:
                return status
            time.sleep(1)
        raise AssertionError(f"{name} has not ended: {status}")

    def failure(self, name: str) -> dict[str, Any]:
        """The failure of a build that must fail."""
        status = self.ended(name)
        assert status["state"] == "failed", status
        failure: dict[str, Any] = status["failure"]
        return failure

    def log(self, name: str, *, source: bool = False) -> str:
        """The log that the store keeps of a build in CHROOT (or of its source step)."""
        status = self.ended(name)
        number = f"{status['id']:08d}"
        step = f"srpm-builds/{number}" if source else f"{CHROOT}/{number}-{status['source']['package']['name']}"
        return self.read(f"{status['repoURL']}/{step}/builder-live.log.gz")

    def read(self, url: str) -> str:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return gzip.decompress(answer.read()).decode(errors="replace")

    def probes(self, name: str) -> list[str]:
        """What the package reported from inside its build."""
        return [line.removeprefix("PROBE ") for line in self.log(name).splitlines() if line.startswith("PROBE ")]


@pytest.fixture(scope="session")
def installation() -> Installation:
    return install()


@pytest.fixture(scope="session")
def sources(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourceServer]:
    host = installation.cluster.node_address
    assert host is not None
    with serve_sources(tmp_path_factory.mktemp("sources"), host) as server:
        yield server


@pytest.fixture(scope="session")
def project(installation: Installation) -> Builds:
    """An empty project, in a namespace where Pod Security baseline is enforced."""
    installation.build_namespace(NAMESPACE)
    installation.kubectl("delete", "coprbuilds", "--all", "-n", NAMESPACE, "--timeout=120s")
    installation.apply(
        {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprChroot",
         "metadata": {"name": "bare-1-x86-64", "namespace": OPERATOR_NAMESPACE},
         "spec": {"name": BARE_CHROOT, "image": images.image_refs()["source"], "arch": "x86_64"}},
        {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprProject",
         "metadata": {"name": "e2e", "namespace": NAMESPACE},
         "spec": {"owner": "alice", "name": "e2e", "chroots": [{"name": CHROOT}, {"name": BARE_CHROOT}]}},
    )  # fmt: skip
    return Builds(installation)


@pytest.fixture(scope="session")
def builds(project: Builds, sources: SourceServer) -> Builds:
    """All scenarios are submitted: each test waits for its own."""
    for scenario in scenarios(sources):
        (sources.directory / f"{scenario.name}.spec").write_text(scenario.spec)
        link = {"type": "link", "link": {"url": f"{sources.url}/{scenario.name}.spec"}}
        project.submit(scenario.name, link, **scenario.options)
    return project


@pytest.fixture(scope="session")
def srpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source RPM made on this machine."""
    top = tmp_path_factory.mktemp("rpmbuild")
    spec = top / "sent.spec"
    spec.write_text(Scenario("sent").spec)
    subprocess.run(
        ["rpmbuild", "-bs", "--define", f"_topdir {top}", "--define", f"_dbpath {top}/db", spec],
        check=True, capture_output=True,
    )  # fmt: skip
    (made,) = (top / "SRPMS").glob("*.src.rpm")
    return made


@pytest.fixture(scope="session")
def source_servers(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of every kind of source."""
    host = installation.cluster.node_address
    assert host is not None
    with serve(tmp_path_factory.mktemp("servers"), host) as servers:
        yield servers


@pytest.fixture(scope="session")
def source_builds(installation: Installation) -> SourceBuilds:
    """Projects for builds of every kind of source."""
    made = SourceBuilds(installation)
    made.prepare()
    return made
