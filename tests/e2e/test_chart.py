"""The life of a release on the real node: install, test, upgrade while a build runs, rollback, uninstall, reinstall.

It runs before the other end-to-end tests, which install by kustomize, and leaves a cluster without anything of ours.
"""

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import api as clusters
from tests.support.chart import NAMESPACE, RELEASE, Release, remove_objects
from tests.support.installation import load_images
from tests.support.sources import SourceServer, serve_sources

BUILDS = "chart-builds"
CHROOT = "debian-12-x86_64"
SPEC = """\
Name:           slow
Version:        1.0
Release:        1
Summary:        Takes its time
License:        MIT
BuildArch:      noarch

%description
Takes its time.

%build
sleep 20

%install
mkdir -p %{buildroot}/usr/share
echo slow > %{buildroot}/usr/share/slow

%files
/usr/share/slow
"""


@pytest.fixture
def release() -> Iterator[Release]:
    cluster = clusters.up(clusters.NODE, report=print)
    load_images(cluster)
    remove_objects(cluster)
    ours = Release(cluster)
    ours.prepare()
    try:
        yield ours
    finally:
        ours.remove()


@pytest.fixture
def sources(release: Release, tmp_path: Path) -> Iterator[SourceServer]:
    assert release.cluster.node_address is not None
    with serve_sources(tmp_path, release.cluster.node_address) as server:
        (tmp_path / "slow.spec").write_text(SPEC)
        yield server


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        content: bytes = answer.read()
        return content


def submit(release: Release, sources: SourceServer) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    kinds = "copr-operator.dev/v1alpha1"
    release.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BUILDS, "labels": labels}},
        {"apiVersion": kinds, "kind": "CoprProject", "metadata": {"name": "slow", "namespace": BUILDS},
         "spec": {"owner": "alice", "name": "slow", "chroots": [{"name": CHROOT}]}},
        {"apiVersion": kinds, "kind": "CoprBuild", "metadata": {"name": "slow", "namespace": BUILDS},
         "spec": {"owner": "alice", "project": "slow", "timeout": 240,
                  "source": {"type": "link", "link": {"url": f"{sources.url}/slow.spec"}}}},
    )  # fmt: skip


def reaches(release: Release, *states: str, limit: float = 180) -> dict[str, Any]:
    """Status of the build as soon as it is in one of the states."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        status: dict[str, Any] = release.get("coprbuild", "slow", "-n", BUILDS).get("status", {})
        if status.get("state") in states:
            return status
        assert status.get("state") not in ("failed", "canceled"), status
        time.sleep(0.5)
    raise AssertionError(f"the build has not become {states}: {status}")


def controller(release: Release) -> set[str]:
    """Pods of the controller that are not on their way out."""
    pods = release.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller")["items"]
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def finalizers(release: Release) -> list[str]:
    """All finalizers of builds and projects."""
    items = release.get("coprbuilds,coprprojects", "-n", BUILDS)["items"]
    return [name for item in items for name in item["metadata"].get("finalizers", [])]


def test_a_release_is_upgraded_while_a_build_runs_and_its_results_outlive_it(
    release: Release, sources: SourceServer
) -> None:
    release.put("install")
    said = release.helm("test", RELEASE, "--logs", "--timeout", "4m")
    assert "built; the repository is http://copr-backend" in said

    submit(release, sources)
    reaches(release, "running")
    before = controller(release)
    release.put("upgrade", "--set", "controller.logLevel=debug", "--set", "buildPods.labels.team=rpm")
    assert not before & controller(release)
    assert reaches(release, "running", "succeeded")["state"] == "running"
    status = reaches(release, "succeeded")
    attempts = [chroot.get("attempt", 1) for chroot in status["chroots"]]
    assert attempts == [1]
    metadata = f"{release.results_url}/results/alice/slow/{CHROOT}/repodata/repomd.xml"
    published = read(metadata)

    before = controller(release)
    release.helm("rollback", RELEASE, "1", "--wait", "--timeout", "2m")
    assert not before & controller(release)
    assert finalizers(release) == ["copr-operator.dev/results"] * 2

    release.helm("uninstall", RELEASE, "--wait", "--timeout", "2m")
    # helm waits for what it has made, not for the pods of that.
    release.kubectl("wait", "pods", "--all", "-n", NAMESPACE, "--for=delete", "--timeout=90s")
    assert release.get("all", "-n", NAMESPACE)["items"] == []
    assert [one["metadata"]["name"] for one in release.get("pvc", "-n", NAMESPACE)["items"]] == [
        "results-copr-operator-backend-0"
    ]
    assert finalizers(release) == []
    release.kubectl("delete", "coprbuild", "slow", "-n", BUILDS, "--timeout=10s")

    release.put("install")
    assert read(metadata) == published
    release.kubectl("wait", "coprproject/slow", "-n", BUILDS, "--for=condition=Ready", "--timeout=60s")
    release.kubectl("delete", "coprproject", "slow", "-n", BUILDS, "--timeout=60s")
