"""What untrusted code can reach from inside a real build pod, as it reports itself."""

import re

from tests.e2e.conftest import Builds
from tests.support.sources import SourceServer


def test_a_build_has_no_network_but_loopback_and_no_way_back_into_the_pods(builds: Builds) -> None:
    assert builds.ended("offline")["state"] == "succeeded"
    assert builds.probes("offline") == [
        "connect: closed", "nsenter: refused", "nsenter-as-root: refused", "loopback: hello",
    ]  # fmt: skip


def test_the_same_build_has_network_when_enable_net_is_set(builds: Builds) -> None:
    assert builds.ended("online")["state"] == "succeeded"
    assert builds.probes("online")[0] == "connect: open"


def test_a_macro_that_runs_a_command_runs_in_build_pods_only(builds: Builds, sources: SourceServer) -> None:
    build = builds.ended("macro")
    assert build["state"] == "succeeded"
    marks = [path.split("/")[2:] for path in sources.requests if path.startswith("/mark/")]
    assert marks, "the macro never ran where it could say so"
    for host, user, secrets, first_process in marks:
        assert re.fullmatch(r"cb-[0-9a-f]+-src-1-[a-z0-9]+", host), marks
        assert (user, secrets) == ("1000", "0")
        # Of the three containers of that pod, the untrusted one.
        assert first_process == "_bin_bash__copr_in_scripts_main.sh_"


def test_the_untrusted_container_sees_neither_token_nor_plan(builds: Builds) -> None:
    assert builds.ended("curious")["state"] == "succeeded"
    assert builds.probes("curious") == ["done"]
