"""`make demo`: a cluster, the operator on it, two packages of which the second needs the first, and dnf to show for it.

`python -m tests.demo urls` prints the addresses instead.
"""

import http.server
import io
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.installation import CHROOTS, Installation, InstallError, install

HERE = Path(__file__).parent
NAMESPACE = "demo"
PACKAGES = ("hello-lib", "hello-app")
LIMIT = 600.0
ENDED = frozenset({"succeeded", "failed", "canceled", "skipped"})


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


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the library's)
        """Says nothing."""


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
    """Prints each change of state until both builds have ended; whether both succeeded."""
    shown: dict[str, str] = {}
    started = time.monotonic()
    while time.monotonic() - started < LIMIT:
        items = installation.get("coprbuilds", "-n", NAMESPACE)["items"]
        for item in items:
            status = item.get("status", {})
            chroots = " ".join(f"{c['name']}={c['state']}" for c in status.get("chroots", []))
            reason = next((c["reason"] for c in status.get("conditions", []) if c["type"] == "Succeeded"), "")
            line = f"{item['metadata']['name']}: {status.get('state', 'new')} ({reason}) {chroots}"
            if shown.get(item["metadata"]["name"]) != line:
                shown[item["metadata"]["name"]] = line
                print(f"  {time.monotonic() - started:5.1f} s  {line}", flush=True)
        states = [item.get("status", {}).get("state") for item in items]
        if len(states) == len(PACKAGES) and all(state in ENDED for state in states):
            for item in items:
                if failure := item["status"].get("failure"):
                    print(f"{failure['reason']}: {failure['message']}\nlog: {failure.get('logURL', '-')}")
            return all(state == "succeeded" for state in states)
        time.sleep(1)
    return False


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
    address = installation.cluster.node_address or "127.0.0.1"
    sources = Path(__file__).resolve().parents[2] / "build" / "demo-sources"
    server = http.server.ThreadingHTTPServer((address, 0), partial(Quiet, directory=str(sources)))
    url = f"http://{address}:{server.server_address[1]}"
    make_sources(sources, url)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"* the operator is installed ({time.monotonic() - started:.0f} s); building {' and then '.join(PACKAGES)}")
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
    if not follow(installation):
        print("the demo failed: see above, and `make -s kubeconfig`")
        return 1
    for chroot in CHROOTS:
        print(f"* in a fresh {chroot}\n{install_with_dnf(installation, chroot)}", end="")
    print(f"* results: {installation.results_url}/results/alice/demo/")
    print("* look around: kubectl --kubeconfig $(make -s kubeconfig) get coprbuilds -n demo; end it all: make down")
    return 0


def main() -> int:
    try:
        if sys.argv[1:] == ["urls"]:
            from tests.cluster import api as clusters

            print(f"backend {Installation(clusters.cluster(clusters.NODE)).results_url}")
            return 0
        return demo()
    except (InstallError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
