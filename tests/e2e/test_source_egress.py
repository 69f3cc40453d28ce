"""What a user's script can connect to from the real node, with and without the policy of manifests/tenant enforced."""

from tests.e2e.source_builds import Servers, SourceBuilds, custom, heredoc
from tests.support.installation import SOURCE_PORT
from tests.support.policy_enforcer import enforced

PLACES = {
    "api-server": ("kubernetes.default.svc", 443),
    "frontend": ("copr-frontend.copr-operator.svc", 8080),
    "backend": ("copr-backend.copr-operator.svc", 8080),
    "source": ("SOURCE", SOURCE_PORT),
    "another-port-of-the-source": ("SOURCE", 30080),
}


def script(name: str, address: str) -> str:
    """Says which of the places it could connect to, and makes a package."""
    probes = "".join(
        f"timeout 5 bash -c 'exec 3<>/dev/tcp/{host.replace('SOURCE', address)}/{port}' && echo 'PROBE {place}'\n"
        for place, (host, port) in PLACES.items()
    )
    return f"#!/bin/bash\n{probes}{heredoc(name)}"


def reached(builds: SourceBuilds, name: str, address: str) -> set[str]:
    builds.start(name, custom(script(name, address)))
    status = builds.ended([name])[name]
    assert status["state"] == "succeeded", status.get("failure")
    log = builds.log(status, f"srpm-builds/{status['id']:08d}")
    return {line.removeprefix("PROBE ") for line in log.splitlines() if line.startswith("PROBE ")}


def test_a_script_reaches_what_the_policy_allows_and_nothing_else_of_the_cluster(
    source_builds: SourceBuilds, source_servers: Servers
) -> None:
    """Its build is stored and built all the same: the pod's own way to the backend and the DNS are allowed."""
    address = source_servers.address
    assert reached(source_builds, "without-policy", address) == set(PLACES)
    with enforced(source_builds.installation, allowed=[f"{address}:{SOURCE_PORT}"]):
        assert reached(source_builds, "with-policy", address) == {"backend", "source"}
