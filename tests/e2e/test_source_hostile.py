"""Hostile sources on the real node: refused before anything runs, or contained in a pod that ends."""

from typing import Any

import pytest

from tests.e2e.source_builds import (
    CHROOT,
    TIGHT_CHROOT,
    Servers,
    SourceBuilds,
    custom,
    heredoc,
    link,
    scm,
)
from tests.support.installation import InstallError

URL = "https://git.example/x"


@pytest.mark.parametrize(
    ("source", "field"),
    [
        (scm("ext::sh -c id"), "scm.cloneURL"),
        (scm("file:///etc"), "scm.cloneURL"),
        (scm("ssh://-oProxyCommand=id/x"), "scm.cloneURL"),
        (scm(URL, committish="--upload-pack=touch /tmp/x"), "scm.committish"),
        (scm(URL, subdirectory="a/../../b"), "scm.subdirectory"),
        (scm(URL, spec="../../etc/x.spec"), "scm.spec"),
        (link("file:///etc/hello.spec"), "link.url"),
        (custom("true", resultdir="../etc"), "custom.resultdir"),
        ({"type": "upload", "upload": {"ref": "../../etc/hello.spec"}}, "upload.ref"),
    ],
)
def test_a_hostile_source_is_refused_by_the_api_server(
    source_builds: SourceBuilds, source: dict[str, Any], field: str
) -> None:
    with pytest.raises(InstallError, match=rf"spec\.source\.{field}"):
        source_builds.start("hostile", source)


# Makes its package only where there is nothing to find: no token, no plan, no volume of the trusted containers, no
# root, no API server that knows it. (A NetworkPolicy would not even let it connect.)
SPY = f"""#!/bin/bash
nothing() {{
    if "$@" >/tmp/found 2>&1; then
        echo "this should not work: $*"
        cat /tmp/found
        exit 9
    fi
}}
nothing test "$(id -u)" = 0
nothing ls /var/run/secrets
nothing ls /copr/credentials
nothing ls /copr/private
nothing bash -c 'env | grep -iE "token|secret|plan"'
nothing cat /proc/1/environ
nothing grep -rE '^(token|password)' /copr/in
nothing touch /copr/in/settings.sh
nothing touch /copr/ctl/more
nothing curl --fail --silent --insecure --max-time 5 https://kubernetes.default.svc/api
(setsid sleep 1000 &) </dev/null >/dev/null 2>&1
{heredoc("hello-spy")}"""


def test_a_script_finds_no_secret_and_ends_with_its_container(source_builds: SourceBuilds) -> None:
    source_builds.start("hello-spy", custom(SPY))
    status = source_builds.ended(["hello-spy"])["hello-spy"]
    assert status["state"] == "succeeded", status.get("failure")


def unpack(url: str) -> str:
    """Lines of a script that unpack an archive from there, and then wait to be ended."""
    return f"curl --silent --fail --output bomb {url}\ntar --extract --bzip2 --file bomb\nsleep 240\n"


def test_what_unpacks_to_more_than_a_pod_may_write_ends_with_its_pod_and_harms_nobody_else(
    source_builds: SourceBuilds, source_servers: Servers
) -> None:
    """A bomb as the source of a linked spec, unpacked by %prep, and one that a script unpacks."""
    bomb = f"{source_servers.files}/bomb.tar.bz2"
    assert (source_servers.sources.root / "bomb.tar.bz2").stat().st_size < 64 * 1024
    source_builds.start("bomb", link(f"{source_servers.files}/bomb.spec"), chroots=[TIGHT_CHROOT])
    source_builds.start("bomb-script", custom(f"#!/bin/sh -e\n{unpack(bomb)}", chroot=TIGHT_CHROOT))
    source_builds.start("bystander", custom(heredoc("bystander"), chroot=CHROOT))
    statuses = source_builds.ended(["bomb", "bomb-script", "bystander"], limit=300)
    failures = {name: status.get("failure", {}) for name, status in statuses.items()}
    assert {name: (f.get("class"), f.get("step"), f.get("reason")) for name, f in failures.items()} == {
        "bomb": ("user", "build", "StorageLimit"),
        "bomb-script": ("user", "source", "StorageLimit"),
        "bystander": (None, None, None),
    }
    # of the container, or of all in the pod: whichever the kubelet sees first
    assert all("limit" in failures[name]["message"] for name in ("bomb", "bomb-script"))
    (node,) = source_builds.installation.get("nodes")["items"]
    conditions = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
    assert (conditions["Ready"], conditions["DiskPressure"]) == ("True", "False")


def test_a_result_that_is_a_link_is_not_followed(source_builds: SourceBuilds) -> None:
    source_builds.start("script-links", custom("#!/bin/sh\nln -s /etc/shadow a.src.rpm\n"))
    failure = source_builds.ended(["script-links"])["script-links"]["failure"]
    assert (failure["class"], failure["reason"]) == ("user", "SRPMInvalid")
    assert "can not be read" in failure["message"]
