"""Parts of a build's life that only real pods show: an image that is not there, and a rerun of what failed."""

import time
from typing import Any

from copr_operator.core import names
from tests.cluster import images
from tests.e2e.conftest import CHROOT, LIMIT, NAMESPACE, Builds
from tests.e2e.packages import BARE_CHROOT, Scenario
from tests.support.installation import NAMESPACE as OPERATOR_NAMESPACE
from tests.support.sources import SourceServer

LATE_CHROOT = "late-1-x86_64"


def link(sources: SourceServer, package: Scenario) -> dict[str, Any]:
    (sources.directory / f"{package.name}.spec").write_text(package.spec)
    return {"type": "link", "link": {"url": f"{sources.url}/{package.name}.spec"}}


def until_held(builds: Builds, name: str) -> str:
    """The message of the build once something holds it up."""
    deadline = time.monotonic() + LIMIT
    verdict: dict[str, Any] = {}
    while time.monotonic() < deadline:
        status = builds.installation.get("coprbuild", name, "-n", NAMESPACE).get("status", {})
        verdict = next((c for c in status.get("conditions", ()) if c["type"] == "Succeeded"), {})
        if verdict.get("reason") == "Held":
            return str(verdict["message"])
        time.sleep(1)
    raise AssertionError(f"{name} is not held up: {verdict}")


def jobs_of(builds: Builds, name: str) -> list[dict[str, Any]]:
    uid = builds.installation.get("coprbuild", name, "-n", NAMESPACE)["metadata"]["uid"]
    found: list[dict[str, Any]] = builds.installation.get(
        "jobs", "-n", NAMESPACE, "-l", f"{names.LABEL_BUILD_UID}={uid}"
    )["items"]
    return found


def test_a_build_waits_for_an_image_that_is_not_there_and_starts_by_itself(
    project: Builds, sources: SourceServer
) -> None:
    meta = {"name": "late-1-x86-64", "namespace": OPERATOR_NAMESPACE}
    owner, name = "alice", "late"
    project.installation.apply(
        {"apiVersion": names.API_VERSION, "kind": "CoprChroot", "metadata": meta,
         "spec": {"name": LATE_CHROOT, "image": "localhost:1/late:1", "arch": "x86_64"}},
        {"apiVersion": names.API_VERSION, "kind": "CoprProject", "metadata": {"name": name, "namespace": NAMESPACE},
         "spec": {"owner": owner, "name": name, "chroots": [{"name": LATE_CHROOT}]}},
    )  # fmt: skip
    project.submit("late", link(sources, Scenario("late")), project=name, chroots=[LATE_CHROOT])
    message = until_held(project, "late")
    assert "container build" in message
    assert "ImagePull" in message
    # The image comes; a pod's is what can be changed of it.
    (job,) = (job for job in jobs_of(project, "late") if job["metadata"]["labels"][names.LABEL_STEP] == "rpm")
    selector = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
    (pod,) = project.installation.get("pods", "-n", NAMESPACE, "-l", selector)["items"]
    image = f"build={images.image_refs()['debian-12']}"
    project.installation.kubectl("set", "image", f"pod/{pod['metadata']['name']}", image, "-n", NAMESPACE)
    status = project.ended("late")
    assert status["state"] == "succeeded", status
    assert [chroot["attempt"] for chroot in status["chroots"]] == [1]


def test_a_chroot_that_failed_is_built_again_from_the_same_srpm(project: Builds, sources: SourceServer) -> None:
    """One chroot runs out of memory, the other has no dnf: with more memory the first one is well."""
    hungry = Scenario("hungry", build="head -c 400M /dev/zero | tail >/dev/null")
    project.submit("hungry", link(sources, hungry), memoryLimitMB=256, chroots=[CHROOT, BARE_CHROOT])
    first = project.ended("hungry")
    failures = {chroot["name"]: chroot["failure"]["reason"] for chroot in first["chroots"]}
    assert failures == {CHROOT: "OOMKilled", BARE_CHROOT: "NoPackageManager"}
    (sources.directory / "hungry.spec").unlink()  # nobody needs the source any more
    project.submit("sated", None, rerunOf="hungry", memoryLimitMB=1024)
    again = project.ended("sated")
    assert again["state"] == "succeeded", again
    assert [chroot["name"] for chroot in again["chroots"]] == [CHROOT]
    assert again["source"]["srpm"]["sha256"] == first["source"]["srpm"]["sha256"]
    assert len(jobs_of(project, "sated")) == 1, "a rerun has no source Job"
    assert project.log("sated", source=True) == project.log("hungry", source=True)
    project.installation.kubectl("delete", "coprbuild", "hungry", "-n", NAMESPACE, "--timeout=60s")
    assert f"/{again['id']:08d}/" in again["source"]["srpm"]["url"], (
        "the SRPM is its own, whatever becomes of the first"
    )
