"""The life of a release on the real node: installed by the chart as it was before, upgraded to today's while a build
runs, rolled back, uninstalled, installed again; and one with rights in one namespace only, over TLS.

It runs before the other end-to-end tests, which install by kustomize, and leaves a cluster without anything of ours.
"""

import json
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import api as clusters
from tests.support.chart import NAMESPACE, RELEASE, Release, former_chart, remove_objects
from tests.support.installation import FRONTEND_PORT, load_images
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
sleep 60

%install
mkdir -p %{buildroot}/usr/share
echo slow > %{buildroot}/usr/share/slow

%files
/usr/share/slow
"""


ONE = """\
Name:           tls-one
Version:        1.0
Release:        1
Summary:        Is built first
License:        MIT
BuildArch:      noarch

%description
Is built first.

%install
mkdir -p %{buildroot}/usr/share
echo one > %{buildroot}/usr/share/tls-one

%files
/usr/share/tls-one
"""
TWO = ONE.replace("tls-one", "tls-two").replace("BuildArch", "BuildRequires:  tls-one\nBuildArch")
KINDS = "copr-operator.dev/v1alpha1"


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


def read(url: str, trust: ssl.SSLContext | None = None) -> bytes:
    with urllib.request.urlopen(url, timeout=30, context=trust) as answer:
        content: bytes = answer.read()
        return content


def submit(release: Release, sources: SourceServer) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    release.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BUILDS, "labels": labels}},
        {"apiVersion": KINDS, "kind": "CoprProject", "metadata": {"name": "slow", "namespace": BUILDS},
         "spec": {"owner": "alice", "name": "slow", "chroots": [{"name": CHROOT}]}},
        {"apiVersion": KINDS, "kind": "CoprBuild", "metadata": {"name": "slow", "namespace": BUILDS},
         "spec": {"owner": "alice", "project": "slow", "timeout": 240,
                  "source": {"type": "link", "link": {"url": f"{sources.url}/slow.spec"}}}},
    )  # fmt: skip


def reaches(release: Release, *states: str, name: str = "slow", limit: float = 180) -> dict[str, Any]:
    """Status of a build as soon as it is in one of the states."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        status: dict[str, Any] = release.get("coprbuild", name, "-n", BUILDS).get("status", {})
        if status.get("state") in states:
            return status
        assert status.get("state") not in ("failed", "canceled"), status
        time.sleep(0.5)
    raise AssertionError(f"the build has not become {states}: {status}")


def controller(release: Release) -> set[str]:
    """Pods of the controller that are not on their way out."""
    pods = release.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller")["items"]
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def chroots(release: Release) -> set[str]:
    """Names of the CoprChroots that are not on their way out."""
    items = release.get("coprchroots", "-n", NAMESPACE)["items"]
    return {one["spec"]["name"] for one in items if "deletionTimestamp" not in one["metadata"]}


def finalizers(release: Release) -> list[str]:
    """All finalizers of builds and projects."""
    items = release.get("coprbuilds,coprprojects", "-n", BUILDS)["items"]
    return [name for item in items for name in item["metadata"].get("finalizers", [])]


def test_a_release_is_upgraded_while_a_build_runs_and_its_results_outlive_it(
    release: Release, sources: SourceServer, tmp_path: Path
) -> None:
    release.put("install", chart=former_chart(tmp_path))
    submit(release, sources)
    reaches(release, "running")
    installed = chroots(release)
    assert CHROOT in installed
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
    assert chroots(release) == installed
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
    said = release.helm("test", RELEASE, "--logs", "--timeout", "4m")
    assert "built; the repository is http://copr-backend" in said
    assert read(metadata) == published
    release.kubectl("wait", "coprproject/slow", "-n", BUILDS, "--for=condition=Ready", "--timeout=60s")
    release.kubectl("delete", "coprproject", "slow", "-n", BUILDS, "--timeout=60s")


def certificate(directory: Path, address: str) -> tuple[Path, Path]:
    """Certificate and key of backend and frontend, as pods and as this machine reach them; its own CA."""
    made, key = directory / "tls.crt", directory / "tls.key"
    services = [f"DNS:copr-{component}.{NAMESPACE}.svc" for component in ("backend", "frontend")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=copr-operator test", "-addext", f"subjectAltName={','.join([*services, f'IP:{address}'])}",
         "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


def prepare_namespaces(release: Release, made: Path, key: Path) -> None:
    """The Secret of the certificate, and it as CA bundle wherever it is needed; a namespace that nobody watches."""
    baseline = {"pod-security.kubernetes.io/enforce": "baseline"}
    tls = {"tls.crt": made.read_text(), "tls.key": key.read_text()}
    release.apply(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": baseline}}
          for name in (BUILDS, "unwatched")),
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "stringData": tls,
         "metadata": {"name": "copr-tls", "namespace": NAMESPACE}},
        *({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": made.read_text()},
           "metadata": {"name": "copr-ca", "namespace": namespace}} for namespace in (NAMESPACE, BUILDS)),
    )  # fmt: skip


def submit_package(release: Release, sources: SourceServer, name: str, *repos: str, namespace: str = BUILDS) -> None:
    """A project and a build of that name."""
    link = {"type": "link", "link": {"url": f"{sources.url}/{name}.spec"}}
    metadata = {"name": name, "namespace": namespace}
    release.apply(
        {"apiVersion": KINDS, "kind": "CoprProject", "metadata": metadata,
         "spec": {"owner": "alice", "name": name, "chroots": [{"name": CHROOT}], "additionalRepos": list(repos)}},
        {"apiVersion": KINDS, "kind": "CoprBuild", "metadata": metadata,
         "spec": {"owner": "alice", "project": name, "timeout": 240, "source": link}},
    )  # fmt: skip


def test_a_release_for_one_namespace_builds_over_tls_and_leaves_others_alone(
    release: Release, sources: SourceServer, tmp_path: Path
) -> None:
    assert release.cluster.node_address is not None
    made, key = certificate(tmp_path, release.cluster.node_address)
    prepare_namespaces(release, made, key)
    results = release.results_url.replace("http://", "https://")
    frontend = f"https://{release.cluster.node_address}:{FRONTEND_PORT}"
    values = {
        "watchNamespaces": f"{{{BUILDS}}}",
        "backend.tls.secretName": "copr-tls",
        "backend.tls.caConfigMap": "copr-ca",
        "backend.resultsURL": results,
        "buildPods.caConfigMap": "copr-ca",
        "frontend.tls.secretName": "copr-tls",
        "frontend.service.type": "NodePort",
        "frontend.service.nodePort": str(FRONTEND_PORT),
    }
    release.put("install", "--set", ",".join(f"{name}={value}" for name, value in values.items()))
    for name, spec in (("tls-one", ONE), ("tls-two", TWO)):
        (sources.directory / f"{name}.spec").write_text(spec)
    submit_package(release, sources, "tls-one", namespace="unwatched")
    submit_package(release, sources, "tls-one")
    assert reaches(release, "succeeded", name="tls-one")["repoURL"] == f"{results}/results/alice/tls-one"
    # The first package's repository as people reach it: the CA bundle of build pods verifies it, not the backend's.
    submit_package(release, sources, "tls-two", f"{results}/results/alice/tls-one/$chroot/")
    reaches(release, "succeeded", name="tls-two")
    said = release.helm("test", RELEASE, "--logs", "--timeout", "4m")
    assert "built; the repository is https://copr-backend" in said

    trust = ssl.create_default_context(cafile=str(made))
    listed = json.loads(read(f"{frontend}/api_3/build/list?ownername=alice&projectname=tls-two", trust))
    assert [build["state"] for build in listed["items"]] == ["succeeded"]
    assert b"primary" in read(f"{results}/results/alice/tls-two/{CHROOT}/repodata/repomd.xml", trust)
    unwatched = release.get("coprbuild", "tls-one", "-n", "unwatched")
    assert "state" not in unwatched["status"]
