"""Builds that can't succeed, in real pods: each says whose fault it is, why, and where its log is."""

import re
import time

from tests.e2e.conftest import CHROOT, NAMESPACE, Builds
from tests.e2e.packages import BARE_CHROOT


def test_a_failing_build_section_is_the_users_failure_and_its_status_holds_the_end_of_the_log(builds: Builds) -> None:
    failure = builds.failure("fails")
    assert (failure["class"], failure["reason"], failure["step"]) == ("user", "BuildFailed", "build")
    assert failure["chroot"] == CHROOT
    assert "error: the flux capacitor is missing" in failure["message"]
    assert "Bad exit status" in failure["message"]
    assert "error: the flux capacitor is missing" in builds.read(failure["logURL"])


def test_the_conditions_and_an_event_tell_of_the_failure_too(builds: Builds) -> None:
    builds.ended("fails")
    build = builds.installation.get("coprbuild", "fails", "-n", NAMESPACE)
    conditions = {c["type"]: (c["status"], c["reason"]) for c in build["status"]["conditions"]}
    assert conditions == {
        "Succeeded": ("False", "BuildFailed"), "Ready": ("False", "BuildFailed"), "Stalled": ("True", "BuildFailed"),
    }  # fmt: skip
    selector = f"involvedObject.uid={build['metadata']['uid']},reason=BuildFailed"
    deadline = time.monotonic() + 30  # it is posted after the status
    while not (events := builds.installation.get("events", "-n", NAMESPACE, "--field-selector", selector)["items"]):
        assert time.monotonic() < deadline, "no Event tells of the failure"
        time.sleep(0.5)
    assert [event["type"] for event in events] == ["Warning"]


def test_a_build_over_its_memory_limit_is_told_so(builds: Builds) -> None:
    failure = builds.failure("greedy")
    assert (failure["class"], failure["reason"], failure["step"]) == ("user", "OOMKilled", "build")
    assert "memory limit" in failure["message"]
    assert "=== Building greedy.spec" in builds.read(failure["logURL"])


def test_a_build_past_its_timeout_is_interrupted(builds: Builds) -> None:
    failure = builds.failure("endless")
    assert (failure["class"], failure["reason"], failure["step"]) == ("user", "Timeout", "build")
    log = builds.read(failure["logURL"])
    signals = [line for line in log.splitlines() if "Copr timeout" in line or line.startswith("got ")]
    assert signals == ["[copr] !! Copr timeout => sending INT", "got INT"]


def test_what_ignores_the_signals_is_killed(builds: Builds) -> None:
    failure = builds.failure("stuck")
    assert (failure["class"], failure["reason"], failure["step"]) == ("user", "Timeout", "build")
    log = builds.read(failure["logURL"])
    assert "=== Installing the build requirements" in log
    assert re.findall(r"!! Copr timeout => sending (\w+)", log) == ["INT", "TERM", "KILL"]


def test_a_requirement_that_nothing_provides_is_named(builds: Builds) -> None:
    failure = builds.failure("needy")
    assert (failure["class"], failure["reason"], failure["step"]) == ("user", "DependenciesUnresolved", "build")
    assert "unobtainium-devel >= 3.1" in failure["message"]
    assert "unobtainium-devel" in builds.read(failure["logURL"])


def test_an_image_without_a_package_manager_is_the_administrators_to_mend(builds: Builds) -> None:
    failure = builds.failure("homeless")
    assert (failure["class"], failure["reason"], failure["chroot"]) == ("policy", "NoPackageManager", BARE_CHROOT)
    assert "none of dnf5, dnf and microdnf" in failure["message"]


def test_no_attempt_is_spent_on_retrying_what_the_user_must_mend(builds: Builds) -> None:
    for name in ("fails", "greedy", "endless", "needy", "homeless"):
        assert [chroot["attempt"] for chroot in builds.ended(name)["chroots"]] == [1]
