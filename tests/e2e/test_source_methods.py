"""Every source on the real node, from a CoprBuild to an RPM that dnf installs, and how each of them fails.

The servers are this machine's: git, a dist-git with its lookaside cache, svn, a package index. rpkg-util and gem2rpm
come with Fedora's packages only; the source image here says so (ToolMissing).
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.installation import INDEX_PORT, SOURCE_PORT, SVN_PORT, Installation, InstallError, install
from tests.support.package_index import PackageIndex, package_index
from tests.support.scm_servers import SourceServer, commit, git, source_server
from tests.support.svn_servers import SvnServer, svn_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

NAMESPACE = "sources"
CHROOT = "debian-12-x86_64"
ENDED = ("succeeded", "failed", "canceled", "skipped")
DATA = "Hello, copr!\n"


def spec(name: str, source: str = "hello.txt") -> str:
    """Builds everywhere: it installs one file."""
    return f"""Name: {name}
Version: 1.0
Release: 1
Summary: Says hello
License: MIT
BuildArch: noarch
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


@dataclass(frozen=True)
class Servers:
    sources: SourceServer
    svn: SvnServer
    index: PackageIndex
    address: str

    @property
    def git(self) -> str:
        return f"http://{self.address}:{SOURCE_PORT}/git"


@pytest.fixture(scope="module")
def installation() -> Installation:
    """The operator on the node cluster, with a project in a namespace of its own."""
    made = install()
    made.build_namespace(NAMESPACE)
    made.kubectl("delete", "coprbuilds", "--all", "-n", NAMESPACE, "--timeout=120s")
    made.apply(
        {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprProject",
         "metadata": {"name": "hello", "namespace": NAMESPACE},
         "spec": {"owner": "alice", "name": "hello", "chroots": [{"name": CHROOT}]}},
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def servers(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    address = installation.cluster.node_address or "127.0.0.1"
    root = tmp_path_factory.mktemp("servers")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> tuple[SourceServer, SvnServer]:
        sources = await stack.enter_async_context(source_server(root / "served", address, SOURCE_PORT))
        return sources, await stack.enter_async_context(svn_server(root / "svn", address, SVN_PORT))

    sources, svn = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    with package_index(address, INDEX_PORT) as index:
        ready = Servers(sources, svn, index, address)
        make_repositories(ready)
        yield ready
    asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


MAKEFILE = """srpm:
\trpmbuild -bs --define "_sourcedir $(CURDIR)" --define "_srcrpmdir $(outdir)" $(spec)
"""
TITO = {".tito/tito.props": "[buildconfig]\nbuilder = tito.builder.Builder\ntagger = tito.tagger.VersionTagger\n"}


def make_repositories(servers: Servers) -> None:
    root = servers.sources.root
    shared = commit(root / "shared", {"hello.txt": DATA})
    makefile = MAKEFILE.replace("$(CURDIR)", "$(CURDIR)/shared")
    commit(root / "make", {".copr/Makefile": makefile, "rpm/hello-make.spec": spec("hello-make")})
    modules = f'[submodule "shared"]\n\tpath = rpm/shared\n\turl = {servers.git}/shared\n'
    git(root / "make", "update-index", "--add", "--cacheinfo", f"160000,{shared},rpm/shared")
    (root / "make/.gitmodules").write_text(modules)
    git(root / "make", "add", ".gitmodules")
    git(root / "make", "commit", "--quiet", "-m", "submodule")
    git(root / "make", "branch", "release")
    commit(
        root / "private", {".copr/Makefile": MAKEFILE, "hello-private.spec": spec("hello-private"), "hello.txt": DATA}
    )
    commit(root / "two", {".copr/Makefile": "srpm:\n\ttouch $(outdir)/a-1-1.src.rpm $(outdir)/b-1-1.src.rpm\n"})
    commit(root / "bare", {"hello.spec": spec("hello")})
    for name in ("hello-tito", "hello-tito-test"):
        text = spec(name, "%{name}-%{version}.tar.gz").replace("%prep\n", "%prep\n%setup -q\n")
        text = text.replace("%{SOURCE0}", "hello.txt")
        commit(root / name, {**TITO, f".tito/packages/{name}": "1.0-1 ./\n", f"{name}.spec": text, "hello.txt": DATA})
        git(root / name, "tag", "-a", "-m", f"{name} 1.0-1", f"{name}-1.0-1")
        commit(root / name, {"more.txt": "after the tag\n"})
    digest = hashlib.sha512(DATA.encode()).hexdigest()
    for package, named in (("hello-dist", digest), ("hello-wrong", "0" * 128)):
        cached = root / f"cache/{package}/hello.txt/sha512/{named}/hello.txt"
        cached.parent.mkdir(parents=True)
        cached.write_text(DATA)
        auto = spec(package).replace("Release: 1", "Release: %autorelease") + "%changelog\n%autochangelog\n"
        commit(root / "rpms" / package, {f"{package}.spec": auto, "sources": f"SHA512 (hello.txt) = {named}\n"})
    servers.svn.repository("hello", {"trunk/.copr/Makefile": MAKEFILE, "trunk/hello-svn.spec": spec("hello-svn"),
                                     "trunk/hello.txt": DATA})  # fmt: skip
    servers.sources.redirects["/git/moved"] = "https://10.96.0.1/git"


def start(installation: Installation, name: str, source: dict[str, Any]) -> None:
    installation.kubectl("delete", "coprbuild", name, "-n", NAMESPACE, "--ignore-not-found", "--timeout=60s")
    installation.apply(
        {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprBuild",
         "metadata": {"name": name, "namespace": NAMESPACE},
         "spec": {"owner": "alice", "project": "hello", "source": source, "timeout": 300}},
    )  # fmt: skip


def ended(installation: Installation, names: set[str], limit: float = 900) -> dict[str, dict[str, Any]]:
    """Status of each build once all of them have ended."""
    deadline = time.monotonic() + limit
    while True:
        items = installation.get("coprbuilds", "-n", NAMESPACE)["items"]
        found = {item["metadata"]["name"]: item.get("status", {}) for item in items}
        states = {name: found.get(name, {}).get("state") for name in names}
        if all(state in ENDED for state in states.values()):
            return {name: found[name] for name in names}
        assert time.monotonic() < deadline, f"still not ended: {states}"
        time.sleep(1)


def scm(url: str, method: str = "make_srpm", **fields: Any) -> dict[str, Any]:
    """`fields` may have another cloneURL, too."""
    return {"type": "scm", "scm": {"cloneURL": url, "method": method, **fields}}


def custom(script: str, **fields: Any) -> dict[str, Any]:
    return {"type": "custom", "custom": {"script": script, **fields}}


def pypi(name: str, generator: str) -> dict[str, Any]:
    return {"type": "pypi", "pypi": {"name": name, "specGenerator": generator}}


def distgit(package: str, instance: str = "local") -> dict[str, Any]:
    return {"type": "distgit", "distgit": {"package": package, "instance": instance}}


def heredoc(name: str) -> str:
    return f"cat > {name}.spec <<'EOF'\n{spec(name)}EOF\necho 'Hello, copr!' > hello.txt\n"


PYTHON_SCRIPT = f"""#!/usr/bin/python3
import os
out = os.environ["COPR_RESULTDIR"]
os.makedirs(out)
open(out + "/hello-python.spec", "w").write({spec("hello-python")!r})
open(out + "/hello.txt", "w").write({DATA!r})
"""

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


def test_every_source_becomes_an_rpm_that_dnf_installs(installation: Installation, servers: Servers) -> None:
    secret = {"username": "alice", "password": "s3cret", "hosts": servers.address}
    installation.apply(
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth", "stringData": secret,
         "metadata": {"name": "git", "namespace": NAMESPACE}},
    )  # fmt: skip
    builds = {
        "hello-make": scm(f"{servers.git}/make", committish="release", subdirectory="rpm", spec="hello-make.spec"),
        "hello-private": scm(f"{servers.git}/private", spec="hello-private.spec", credentialsSecret="git"),
        "hello-svn": scm(f"svn://{servers.address}:{SVN_PORT}/hello/trunk", spec="hello-svn.spec"),
        "hello-tito": scm(f"{servers.git}/hello-tito", "tito"),
        "hello-tito-test": scm(f"{servers.git}/hello-tito-test", "tito_test"),
        "hello-dist": distgit("hello-dist"),
        "hello-bash": custom(f"#!/bin/bash\n{heredoc('hello-bash')}", chroot=CHROOT),
        "hello-python": custom(PYTHON_SCRIPT, resultdir="out"),
        "hello-spy": custom(SPY),
    }
    for name, source in builds.items():
        start(installation, name, source)
    statuses = ended(installation, set(builds))
    failures = {name: status["failure"] for name, status in statuses.items() if status["state"] != "succeeded"}
    assert failures == {}
    assert {status["source"]["package"]["name"] for status in statuses.values()} == set(builds)
    assert install_with_dnf(installation, sorted(builds)) == "Hello, copr!\n" * len(builds)


def install_with_dnf(installation: Installation, names: list[str]) -> str:
    """Installs the packages in a fresh container of the chroot's image; what their files say."""
    images = {c["spec"]["name"]: c["spec"]["image"] for c in installation.get("coprchroots", "-A")["items"]}
    repository = f"http://copr-backend.copr-operator.svc:8080/results/alice/hello/{CHROOT}/"
    script = (
        f"mkdir -p /etc/yum.repos.d && printf '[hello]\\nname=hello\\nbaseurl={repository}\\ngpgcheck=0\\n' "
        "> /etc/yum.repos.d/hello.repo\n"
        f"dnf -q -y install {' '.join(names)} > /tmp/log 2>&1 || {{ cat /tmp/log; exit 1; }}\n"
        f"cat {' '.join(f'/usr/share/{name}/hello' for name in names)}\n"
    )
    container = {"name": "dnf", "image": images[CHROOT], "command": ["/bin/bash", "-c", script]}
    installation.kubectl("delete", "pod", "dnf", "-n", NAMESPACE, "--ignore-not-found")
    installation.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dnf", "namespace": NAMESPACE},
         "spec": {"restartPolicy": "Never", "containers": [container]}},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while installation.get("pod", "dnf", "-n", NAMESPACE)["status"].get("phase") not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline, "dnf has not ended"
        time.sleep(1)
    return installation.kubectl("logs", "dnf", "-n", NAMESPACE)


@pytest.mark.parametrize("generator", ["pyp2spec", "pyp2rpm"])
def test_a_package_of_an_index_becomes_an_srpm(installation: Installation, servers: Servers, generator: str) -> None:
    """The SRPM only: its spec needs Fedora's macros for Python, which no chroot here has."""
    name = f"pypi-{generator}"
    start(installation, name, pypi("hello-copr", generator))
    source = ended(installation, {name})[name]["source"]
    assert source["state"] == "succeeded"
    assert source["package"] == {"name": "python-hello-copr", "version": "1.0-1"}


FAILURES: dict[str, tuple[str, str, str]] = {
    # name: (class, reason, words of the message)
    "no-committish": ("user", "CommittishNotFound", "some of the branches are"),
    "no-repository": ("user", "CloneFailed", "not found"),
    "no-credentials": ("user", "CloneFailed", "could not be cloned"),
    "no-secret": ("user", "CredentialsRefused", "no key `hosts`"),
    "moved": ("policy", "AddressRefused", "10.96.0.1"),
    "cluster": ("policy", "AddressRefused", "not a public address"),
    "no-makefile": ("user", "SourceFailed", "no .copr/Makefile"),
    "no-spec": ("user", "NoSpec", "no file 'nope.spec'"),
    "two-srpms": ("user", "SeveralSRPMs", "made 2 SRPMs"),
    "no-tag": ("user", "SourceFailed", "tito build failed"),
    "no-rpkg": ("policy", "ToolMissing", "the image has no 'rpkg'"),
    "no-gem2rpm": ("policy", "ToolMissing", "the image has no 'gem2rpm'"),
    "no-revision": ("user", "CommittishNotFound", "No such revision"),
    "no-svn": ("user", "CloneFailed", "could not be exported"),
    "wrong-hash": ("user", "LookasideMismatch", "but `sources` says"),
    "no-dist-git": ("user", "UnknownDistGit", "known are: fedora, centos, local"),
    "no-pypi": ("user", "SourceFailed", "pyp2spec failed"),
    "no-pypi-2": ("user", "SourceFailed", "pyp2rpm failed"),
    "script-fails": ("user", "ScriptFailed", "exit code 3"),
    "script-idle": ("user", "NoSpec", "there is no .spec"),
    "script-links": ("user", "SRPMInvalid", "can not be read"),
}


def test_every_source_fails_with_a_class_a_reason_and_words(installation: Installation, servers: Servers) -> None:
    builds = {
        "no-committish": scm(f"{servers.git}/make", committish="nope"),
        "no-repository": scm(f"{servers.git}/nothing"),
        "no-credentials": scm(f"{servers.git}/private"),
        "no-secret": scm(f"{servers.git}/private", credentialsSecret="no-such-secret"),
        "moved": scm(f"{servers.git}/moved"),
        "cluster": scm("https://kubernetes.default.svc/x"),
        "no-makefile": scm(f"{servers.git}/bare"),
        "no-spec": scm(f"{servers.git}/make", spec="nope.spec"),
        "two-srpms": scm(f"{servers.git}/two"),
        "no-tag": scm(f"{servers.git}/bare", "tito"),
        "no-rpkg": scm(f"{servers.git}/bare", "rpkg"),
        "no-gem2rpm": {"type": "rubygems", "rubygems": {"name": "rake"}},
        "no-revision": scm(f"svn://{servers.address}:{SVN_PORT}/hello/trunk", committish="r99"),
        "no-svn": scm(f"svn://{servers.address}:{SVN_PORT}/nothing/trunk"),
        "wrong-hash": distgit("hello-wrong"),
        "no-dist-git": distgit("hello", "mine"),
        "no-pypi": pypi("no-such-package", "pyp2spec"),
        "no-pypi-2": pypi("no-such-package", "pyp2rpm"),
        "script-fails": custom("#!/bin/sh\nexit 3\n"),
        "script-idle": custom("#!/bin/sh\ntrue\n"),
        "script-links": custom("#!/bin/sh\nln -s /etc/shadow a.src.rpm\n"),
    }
    assert set(builds) == set(FAILURES)
    for name, source in builds.items():
        start(installation, name, source)
    failures = {name: status.get("failure", {}) for name, status in ended(installation, set(builds)).items()}
    assert {name: (f.get("class"), f.get("reason")) for name, f in failures.items()} == {
        name: (cls, reason) for name, (cls, reason, _) in FAILURES.items()
    }
    silent = {name: f["message"] for name, f in failures.items() if FAILURES[name][2] not in f["message"]}
    assert silent == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cloneURL", "ext::sh -c id"),
        ("cloneURL", "file:///etc"),
        ("cloneURL", "ssh://-oProxyCommand=id/x"),
        ("committish", "--upload-pack=touch /tmp/x"),
        ("subdirectory", "a/../../b"),
        ("spec", "../../etc/x.spec"),
    ],
)
def test_a_hostile_source_is_refused_by_the_api_server(installation: Installation, field: str, value: str) -> None:
    with pytest.raises(InstallError, match=rf"spec\.source\.scm\.{field}"):
        start(installation, "hostile", scm(**{"url": "https://git.example/x", field: value}))
