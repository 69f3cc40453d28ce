"""`make demo`: a cluster, the operator on it, two packages of which the second needs the first, and dnf to show for it.

`python -m tests.demo urls` prints the addresses instead.
"""

import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from tests.cluster import api as clusters
from tests.demo.progress import ENDED, progress, state_of
from tests.support.installation import CHROOTS, REPOSITORY, Installation, InstallError, install
from tests.support.sources import serve_sources

HERE = Path(__file__).parent
NAMESPACE = "demo"
PACKAGES = ("hello-lib", "hello-app")
LIMIT = 600.0


def make_sources(directory: Path, url: str) -> None:
    """The tarballs and specs of both packages, as a web server has them."""
    directory.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        spec = (HERE / package / f"{package}.spec").read_text().replace("@SOURCE_URL@", url)
        spec = spec.replace("Source0:        %{name}", f"Source0:        {url}/%{{name}}")
        (directory / f"{package}.spec").write_text(spec)
        with tarfile.open(directory / f"{package}-1.0.tar.gz", "w:gz") as archive:
            for file in sorted((HERE / package).iterdir()):
                if file.suffix == ".spec":
                    continue
                entry = tarfile.TarInfo(f"{package}-1.0/{file.name}")
                data = file.read_bytes()
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))


def build_object(package: str, url: str, after: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "owner": "alice",
        "project": "demo",
        "source": {"type": "link", "link": {"url": f"{url}/{package}.spec"}},
        "timeout": 300,
    }
    if after is not None:
        spec["afterBuild"] = after
    return {
        "apiVersion": "copr-operator.dev/v1alpha1",
        "kind": "CoprBuild",
        "metadata": {"name": package, "namespace": NAMESPACE},
        "spec": spec,
    }


def follow(installation: Installation) -> bool:
    """Shows the builds until all have ended; whether all succeeded."""
    deadline = time.monotonic() + LIMIT
    with progress() as show:
        while time.monotonic() < deadline:
            builds = installation.get("coprbuilds", "-n", NAMESPACE)["items"]
            show(builds)
            if len(builds) == len(PACKAGES) and {state_of(build) for build in builds} <= ENDED:
                break
            time.sleep(0.5)
    for build in builds:
        if failure := build.get("status", {}).get("failure"):
            print(f"{failure['reason']}: {failure['message']}\nlog: {failure.get('logURL', '-')}")
    return all(state_of(build) == "succeeded" for build in builds)


def install_with_dnf(installation: Installation, chroot: str) -> str:
    """`dnf repoquery` and `dnf install` of the result in a fresh root: a new container of the chroot's image."""
    images = {c["spec"]["name"]: c["spec"]["image"] for c in installation.get("coprchroots", "-A")["items"]}
    repository = f"http://copr-backend.copr-operator.svc:8080/results/alice/demo/{chroot}/"
    script = (
        f"mkdir -p /etc/yum.repos.d && printf '[demo]\\nname=demo\\nbaseurl={repository}\\ngpgcheck=0\\n' "
        "> /etc/yum.repos.d/demo.repo\n"
        "echo '$ dnf repoquery'\ndnf -q repoquery --repo demo || exit 1\n"
        "echo '$ dnf install hello-app && hello copr'\n"
        "dnf -q -y install hello-app > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }\nhello copr\n"
    )
    pod = f"dnf-{CHROOTS[chroot]}"
    container = {"name": "dnf", "image": images[chroot], "command": ["/bin/bash", "-c", script]}
    installation.kubectl("delete", "pod", pod, "-n", NAMESPACE, "--ignore-not-found")
    installation.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": NAMESPACE},
         "spec": {"restartPolicy": "Never", "containers": [container]}},
    )  # fmt: skip
    phase = ""
    deadline = time.monotonic() + 120
    while phase not in ("Succeeded", "Failed") and time.monotonic() < deadline:
        time.sleep(1)
        phase = installation.get("pod", pod, "-n", NAMESPACE)["status"].get("phase", "")
    said = installation.kubectl("logs", pod, "-n", NAMESPACE)
    if phase != "Succeeded":
        raise InstallError(f"dnf could not install the result in {chroot}:\n{said}")
    return said


def demo() -> int:
    started = time.monotonic()
    installation = install(lambda text: print(f"* {text}", flush=True))
    print(f"* the operator is installed ({time.monotonic() - started:.0f} s); building {' and then '.join(PACKAGES)}")
    with serve_sources(REPOSITORY / "build/demo-sources", installation.cluster.node_address or "127.0.0.1") as sources:
        make_sources(sources.directory, sources.url)
        submit(installation, sources.url)
        if not follow(installation):
            print("the demo failed: see above, and `make -s kubeconfig`")
            return 1
    for chroot in CHROOTS:
        print(f"* in a fresh {chroot}\n{install_with_dnf(installation, chroot)}", end="")
    print(f"* results: {installation.results_url}/results/alice/demo/")
    print("* look around: kubectl --kubeconfig $(make -s kubeconfig) get coprbuilds -n demo; end it all: make down")
    return 0


def submit(installation: Installation, url: str) -> None:
    """An empty project (builds of an earlier demo are deleted), and both builds at once: the second waits."""
    installation.build_namespace(NAMESPACE)
    installation.kubectl("delete", "coprbuilds", "--all", "-n", NAMESPACE, "--timeout=120s")
    chroots = [{"name": chroot} for chroot in CHROOTS]
    installation.apply(
        {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprProject",
         "metadata": {"name": "demo", "namespace": NAMESPACE},
         "spec": {"owner": "alice", "name": "demo", "chroots": chroots}},
        build_object("hello-lib", url, None),
        build_object("hello-app", url, "hello-lib"),
    )  # fmt: skip


def main() -> int:
    try:
        if sys.argv[1:] == ["urls"]:
            print(f"backend {Installation(clusters.cluster(clusters.NODE)).results_url}")
            return 0
        return demo()
    except (InstallError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
