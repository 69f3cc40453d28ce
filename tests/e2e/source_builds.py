"""CoprBuilds of every source on the node cluster, and the servers that their sources come from, on this machine."""

import asyncio
import bz2
import gzip
import hashlib
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

from tests.support.installation import (
    INDEX_PORT,
    REPOSITORY,
    SOURCE_PORT,
    SVN_HTTP_PORT,
    SVN_PORT,
    Installation,
)
from tests.support.package_index import PackageIndex, package_index
from tests.support.scm_servers import SourceServer, commit, git, source_server
from tests.support.svn_servers import SvnServer, svn_http_server, svn_server

NAMESPACE = "sources"
CHROOT = "debian-12-x86_64"
TIGHT_CHROOT = "tight-1-x86_64"
"""A chroot whose builds may write 256 MiB."""
PROJECT, ROOTED_PROJECT, PYTHON_PROJECT = "hello", "rooted", "python"
"""Sources of the second one are made in the image of CHROOT (sourceChroot). Builds of the third one begin with macros
for Python, from the first one's repository, as Fedora's build roots have them."""
ENDED = ("succeeded", "failed", "canceled", "skipped")
DATA = "Hello, copr!\n"


def spec(name: str, source: str = "hello.txt", tags: str = "") -> str:
    """Builds everywhere: it installs one file."""
    return f"""Name: {name}
Version: 1.0
Release: 1%{{?dist}}
Summary: Says hello
License: MIT
{tags or "BuildArch: noarch"}
Source0: {source}
%description
Says hello.
%prep
%build
%install
install -D -m 0644 %{{SOURCE0}} %{{buildroot}}/usr/share/{name}/hello
%files
/usr/share/{name}/hello
"""


class SourceBuilds:
    """Builds in the projects of NAMESPACE, many at a time."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def prepare(self) -> None:
        """An empty namespace with the projects, and the tight chroot."""
        made = self.installation
        made.build_namespace(NAMESPACE)
        made.kubectl("delete", "coprbuilds", "--all", "-n", NAMESPACE, "--timeout=120s")
        (debian,) = [c for c in made.get("coprchroots", "-A")["items"] if c["spec"]["name"] == CHROOT]
        tight = {"name": TIGHT_CHROOT, "image": debian["spec"]["image"], "arch": "x86_64",
                 "resources": {"storageRequest": "64Mi", "storageLimit": "256Mi"}}  # fmt: skip
        chroots = [{"name": CHROOT}, {"name": TIGHT_CHROOT}]
        projects: dict[str, dict[str, Any]] = {
            PROJECT: {"chroots": chroots},
            ROOTED_PROJECT: {"chroots": chroots, "sourceChroot": CHROOT},
            PYTHON_PROJECT: {
                "chroots": [{"name": CHROOT, "additionalPackages": ["python-srpm-macros"]}],
                "additionalRepos": [f"copr://alice/{PROJECT}"],
            },
        }
        made.apply(
            {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprChroot",
             "metadata": {"name": "tight", "namespace": debian["metadata"]["namespace"]}, "spec": tight},
            *(
                {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprProject",
                 "metadata": {"name": name, "namespace": NAMESPACE},
                 "spec": {"owner": "alice", "name": name, **spec}}
                for name, spec in projects.items()
            ),
        )  # fmt: skip

    def start(self, name: str, source: dict[str, Any], **options: Any) -> None:
        """`options`: members of the CoprBuild's spec."""
        self.installation.kubectl("delete", "coprbuild", name, "-n", NAMESPACE, "--ignore-not-found", "--timeout=60s")
        spec = {"owner": "alice", "project": PROJECT, "chroots": [CHROOT], "source": source, "timeout": 300, **options}
        self.installation.apply(
            {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprBuild",
             "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec},
        )  # fmt: skip

    def ended(self, names: Iterable[str], limit: float = 900) -> dict[str, dict[str, Any]]:
        """Status of each build once all of them have ended. `limit` in seconds."""
        deadline = time.monotonic() + limit
        while True:
            items = self.installation.get("coprbuilds", "-n", NAMESPACE)["items"]
            found = {item["metadata"]["name"]: item.get("status", {}) for item in items}
            states = {name: found.get(name, {}).get("state") for name in names}
            if all(state in ENDED for state in states.values()):
                return {name: found[name] for name in states}
            assert time.monotonic() < deadline, f"still not ended: {states}"
            time.sleep(1)

    def upload(self, file: Path) -> dict[str, Any]:
        """Sends a file as a user does; the source that `copr-operator upload` prints."""
        made = self.installation
        command = [sys.executable, "-m", "copr_operator", "upload", str(file), "-n", NAMESPACE]
        command += ["--backend-url", made.results_url, "--kubeconfig", str(made.cluster.kubeconfig)]
        sent = subprocess.run(command, cwd=REPOSITORY / "operator", capture_output=True, text=True, check=False)
        assert sent.returncode == 0, sent.stderr
        source: dict[str, Any] = yaml.safe_load(sent.stdout)["source"]
        return source

    def log(self, status: dict[str, Any], step: str) -> str:
        """The live log that the store keeps of a step, named by its folder below the project's."""
        url = f"{status['repoURL']}/{step}/builder-live.log.gz"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return gzip.decompress(answer.read()).decode(errors="replace")

    def run_pod(self, name: str, script: str, limit: float = 120) -> str:
        """Output of a script in a new container of the chroot's image. `limit` in seconds."""
        made = self.installation
        images = {c["spec"]["name"]: c["spec"]["image"] for c in made.get("coprchroots", "-A")["items"]}
        container = {"name": name, "image": images[CHROOT], "command": ["/bin/bash", "-c", script]}
        made.kubectl("delete", "pod", name, "-n", NAMESPACE, "--ignore-not-found")
        made.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE},
             "spec": {"restartPolicy": "Never", "containers": [container]}},
        )  # fmt: skip
        deadline = time.monotonic() + limit
        while made.get("pod", name, "-n", NAMESPACE)["status"].get("phase") not in ("Succeeded", "Failed"):
            assert time.monotonic() < deadline, f"the pod {name} has not ended"
            time.sleep(1)
        return made.kubectl("logs", name, "-n", NAMESPACE)


# -- sources -----------------------------------------------------------------------------------------------------------


def link(url: str) -> dict[str, Any]:
    return {"type": "link", "link": {"url": url}}


def scm(url: str, method: str = "make_srpm", **fields: Any) -> dict[str, Any]:
    """`fields` may have another cloneURL, too."""
    return {"type": "scm", "scm": {"cloneURL": url, "method": method, **fields}}


def custom(script: str, **fields: Any) -> dict[str, Any]:
    return {"type": "custom", "custom": {"script": script, **fields}}


def pypi(name: str, generator: str, **fields: Any) -> dict[str, Any]:
    return {"type": "pypi", "pypi": {"name": name, "specGenerator": generator, **fields}}


def distgit(package: str, instance: str = "local") -> dict[str, Any]:
    return {"type": "distgit", "distgit": {"package": package, "instance": instance}}


def heredoc(name: str, tags: str = "") -> str:
    """Lines of a shell script that leave a spec and its source."""
    return f"cat > {name}.spec <<'EOF'\n{spec(name, tags=tags)}EOF\necho 'Hello, copr!' > hello.txt\n"


# -- their servers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Servers:
    sources: SourceServer
    svn: SvnServer
    svn_http: SvnServer
    index: PackageIndex
    address: str

    @property
    def git(self) -> str:
        return f"{self.sources.url}/git"

    @property
    def files(self) -> str:
        return f"{self.sources.url}/files"


@contextmanager
def serve(root: Path, address: str) -> Iterator[Servers]:
    """All servers with all that they serve, in a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = AsyncExitStack()
    running = stack.enter_async_context(_running(root, address))
    try:
        with package_index(address, INDEX_PORT) as index:
            sources, svn, svn_http = asyncio.run_coroutine_threadsafe(running, loop).result(30)
            servers = Servers(sources, svn, svn_http, index, address)
            _fill(servers)
            yield servers
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def _running(root: Path, address: str) -> AsyncIterator[tuple[SourceServer, SvnServer, SvnServer]]:
    async with (
        source_server(root / "served", address, SOURCE_PORT) as sources,
        svn_server(root / "svn", address, SVN_PORT) as svn,
        svn_http_server(address, SVN_HTTP_PORT) as svn_http,
    ):
        yield sources, svn, svn_http


MAKEFILE = """srpm:
\trpmbuild -bs --define "_sourcedir $(CURDIR)" --define "_srcrpmdir $(outdir)" $(spec)
"""
TITO = {".tito/tito.props": "[buildconfig]\nbuilder = tito.builder.Builder\ntagger = tito.tagger.VersionTagger\n"}
PATCH = """--- hello.txt
+++ hello.txt
@@ -1 +1 @@
-Hello, cpr!
+Hello, copr!
"""


def _fill(servers: Servers) -> None:
    root = servers.sources.root
    _fill_make(servers, root)
    for name in ("hello-tito", "hello-tito-test"):
        text = spec(name, "%{name}-%{version}.tar.gz").replace("%prep\n", "%prep\n%setup -q\n")
        text = text.replace("%{SOURCE0}", "hello.txt")
        commit(root / name, {**TITO, f".tito/packages/{name}": "1.0-1 ./\n", f"{name}.spec": text, "hello.txt": DATA})
        git(root / name, "tag", "-a", "-m", f"{name} 1.0-1", f"{name}-1.0-1")
        commit(root / name, {"more.txt": "after the tag\n"})
    commit(root / "empty", {"README": "nothing to build\n"})
    _fill_dist_git(root)
    for svn, name in ((servers.svn, "hello-svn"), (servers.svn_http, "hello-dav")):
        svn.repository("hello", {"trunk/.copr/Makefile": MAKEFILE, f"trunk/{name}.spec": spec(name),
                                 "trunk/hello.txt": DATA})  # fmt: skip
    _fill_files(servers, root)
    servers.sources.redirects |= {"/git/moved": "https://10.96.0.1/git", "/files/moved.spec": "http://10.96.0.1/api"}


def _fill_make(servers: Servers, root: Path) -> None:
    shared = commit(root / "shared", {"hello.txt": DATA})
    makefile = MAKEFILE.replace("$(CURDIR)", "$(CURDIR)/shared")
    commit(root / "make", {".copr/Makefile": makefile, "rpm/hello-make.spec": spec("hello-make")})
    modules = f'[submodule "shared"]\n\tpath = rpm/shared\n\turl = {servers.git}/shared\n'
    git(root / "make", "update-index", "--add", "--cacheinfo", f"160000,{shared},rpm/shared")
    (root / "make/.gitmodules").write_text(modules)
    git(root / "make", "add", ".gitmodules")
    git(root / "make", "commit", "--quiet", "-m", "submodule")
    git(root / "make", "branch", "release")
    # Only the image of the chroot has dnf.
    rooted = MAKEFILE.replace("srpm:\n", "srpm:\n\tcommand -v dnf\n")
    commit(root / "rooted", {".copr/Makefile": rooted, "hello-rooted.spec": spec("hello-rooted"), "hello.txt": DATA})
    git(root / "rooted", "tag", "v1")
    commit(root / "rooted", {".copr/Makefile": "srpm:\n\tfalse\n"})
    # Code of the repository finds nothing of the Secret that it was cloned with.
    blind = "srpm:\n\t! ls /copr/credentials\n\t! ls /copr/private\n\t! grep -rs s3cret /copr/in /builddir\n"
    private = {"hello-private.spec": spec("hello-private"), "hello.txt": DATA}
    commit(root / "private", {".copr/Makefile": MAKEFILE.replace("srpm:\n", blind), **private})
    commit(root / "two", {".copr/Makefile": "srpm:\n\ttouch $(outdir)/a-1-1.src.rpm $(outdir)/b-1-1.src.rpm\n"})
    commit(root / "bare", {"hello.spec": spec("hello")})


def _fill_dist_git(root: Path) -> None:
    digest = hashlib.sha512(DATA.encode()).hexdigest()
    for package, named in (("hello-dist", digest), ("hello-wrong", "0" * 128)):
        cached = root / f"cache/{package}/hello.txt/sha512/{named}/hello.txt"
        cached.parent.mkdir(parents=True)
        cached.write_text(DATA)
        auto = spec(package).replace("Release: 1%{?dist}", "Release: %autorelease") + "%changelog\n%autochangelog\n"
        commit(root / "rpms" / package, {f"{package}.spec": auto, "sources": f"SHA512 (hello.txt) = {named}\n"})


def _fill_files(servers: Servers, root: Path) -> None:
    (root / "hello.txt").write_text(DATA)
    (root / "cpr.txt").write_text(DATA.replace("copr", "cpr"))
    (root / "hello.patch").write_text(PATCH)
    patched = spec("hello-link", f"{servers.files}/cpr.txt").replace(
        "%description\n", f"Patch0: {servers.files}/hello.patch\n%description\n"
    )
    unpacked = patched.replace("%prep\n", "%prep\n%setup -c -T\ncp %{SOURCE0} hello.txt\n%patch0 -p0\n")
    (root / "hello-link.spec").write_text(unpacked.replace("0644 %{SOURCE0}", "0644 hello.txt"))
    (root / "no-remote.spec").write_text(spec("no-remote", f"{servers.files}/nothing.txt"))
    (root / "bomb.tar.bz2").write_bytes(bomb())
    bombed = spec("bomb", f"{servers.files}/bomb.tar.bz2").replace("%build\n", "%setup -q -c\n%build\nsleep 240\n")
    (root / "bomb.spec").write_text(bombed)
    stack = distribution("setuptools")
    with tarfile.open(root / f"setuptools-{stack.version}.tar.gz", "w:gz") as archive:
        for file in stack.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.add(Path(str(file.locate())), str(file))
    for path in (Path(__file__).parent / "python-stack").iterdir():
        if path.is_file():
            text = path.read_text().replace("@VERSION@", stack.version).replace("@URL@", servers.files)
            (root / path.name).write_text(text)


BOMB_SIZE = 1536 * 1024**2
"""Bytes that the bomb unpacks to: six times what TIGHT_CHROOT allows, and no danger for this machine."""


def bomb() -> bytes:
    """A tar archive of one file of zeros, of some KiB."""
    entry = tarfile.TarInfo("zeros")
    entry.size = BOMB_SIZE
    chunk = 64 * 1024**2
    # bzip2 streams one after the other are one stream: the many zeros are compressed once.
    zeros = bz2.compress(bytes(chunk))
    return bz2.compress(entry.tobuf()) + zeros * (BOMB_SIZE // chunk) + bz2.compress(bytes(tarfile.RECORDSIZE))


def make_srpm(directory: Path, text: str) -> Path:
    """The source RPM of a spec, made on this machine."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hello.txt").write_text(DATA)
    (directory / "hello.spec").write_text(text)
    options = {"_sourcedir": directory, "_srcrpmdir": directory / "made", "_dbpath": directory / "db"}
    defines = [word for name, value in options.items() for word in ("--define", f"{name} {value}")]
    subprocess.run(["rpmbuild", "-bs", *defines, directory / "hello.spec"], check=True, capture_output=True)
    (made,) = (directory / "made").glob("*.src.rpm")
    return made
