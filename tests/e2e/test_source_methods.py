"""Every source on the real node, from a CoprBuild to an RPM that dnf installs.

rpkg-util and gem2rpm come with Fedora's packages only; the source image here says so (ToolMissing).
"""

import hashlib
from pathlib import Path
from typing import Any

from tests.e2e.source_builds import (
    CHROOT,
    DATA,
    NAMESPACE,
    PROJECT,
    PYTHON_PROJECT,
    ROOTED_PROJECT,
    Servers,
    SourceBuilds,
    custom,
    distgit,
    heredoc,
    link,
    make_srpm,
    pypi,
    scm,
    spec,
)
from tests.support.installation import SVN_HTTP_PORT, SVN_PORT

PYTHON_SCRIPT = f"""#!/usr/bin/python3
import os
out = os.environ["COPR_RESULTDIR"]
os.makedirs(out)
open(out + "/hello-python.spec", "w").write({spec("hello-python")!r})
open(out + "/hello.txt", "w").write({DATA!r})
"""
NOARCH_EPOCH = "BuildArch: noarch\nEpoch: 2"
DEPENDENT_SCRIPT = f"""#!/bin/bash -e
test "$COPR_OWNER/$COPR_PROJECT" = alice/{PROJECT}
test -z "$(find . -mindepth 1)"
grep copr /usr/share/hello-bash/hello
{heredoc("hello-deps")}"""


def sources(servers: Servers, builds: SourceBuilds, scratch: Path) -> dict[str, dict[str, Any]]:
    """One for each source and method, by the name of its package."""
    packed = make_srpm(scratch / "packed", spec("hello-packed"))
    packed.rename(servers.sources.root / packed.name)
    repository = f"{builds.installation.results_url}/results/alice/{PROJECT}/{CHROOT}/"
    return {
        "hello-link": link(f"{servers.files}/hello-link.spec"),
        "hello-packed": link(f"{servers.files}/{packed.name}"),
        "hello-sent": builds.upload(make_srpm(scratch / "sent", spec("hello-sent"))),
        "hello-make": scm(f"{servers.git}/make", committish="release", subdirectory="rpm", spec="hello-make.spec"),
        "hello-rooted": scm(f"{servers.git}/rooted", spec="hello-rooted.spec", committish="v1"),
        "hello-private": scm(f"{servers.git}/private", spec="hello-private.spec", credentialsSecret="git"),
        "hello-svn": scm(f"svn://{servers.address}:{SVN_PORT}/hello/trunk", spec="hello-svn.spec"),
        "hello-dav": scm(f"http://{servers.address}:{SVN_HTTP_PORT}/hello/trunk", spec="hello-dav.spec"),
        "hello-tito": scm(f"{servers.git}/hello-tito", "tito"),
        "hello-tito-test": scm(f"{servers.git}/hello-tito-test", "tito_test"),
        "hello-dist": distgit("hello-dist"),
        "hello-bash": custom(f"#!/bin/bash\n{heredoc('hello-bash', NOARCH_EPOCH)}", chroot=CHROOT),
        "hello-python": custom(PYTHON_SCRIPT, resultdir="out"),
        "hello-deps": custom(DEPENDENT_SCRIPT, chroot=CHROOT, builddeps=["hello-bash >= 2:1"], repos=[repository]),
        "python-stack": link(f"{servers.files}/python-stack.spec"),
        "python-hello-copr": pypi("hello-copr", "pyp2spec"),
        "python-bonjour": pypi("bonjour", "pyp2rpm"),
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "hello-rooted": {"project": ROOTED_PROJECT},
    "hello-deps": {"afterBuild": "hello-bash"},
    "python-hello-copr": {"project": PYTHON_PROJECT, "afterBuild": "python-stack"},
    "python-bonjour": {"project": PYTHON_PROJECT, "afterBuild": "python-stack"},
}
"""Who waits for whose packages, and who is made in the image of a chroot."""


def test_every_source_becomes_an_rpm_that_dnf_installs(
    source_builds: SourceBuilds, source_servers: Servers, tmp_path: Path
) -> None:
    secret = {"username": "alice", "password": "s3cret", "hosts": source_servers.address}
    source_builds.installation.apply(
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth", "stringData": secret,
         "metadata": {"name": "git", "namespace": NAMESPACE}},
    )  # fmt: skip
    wanted = sources(source_servers, source_builds, tmp_path)
    for name, source in wanted.items():
        source_builds.start(name, source, **OPTIONS.get(name, {}))
    statuses = source_builds.ended(wanted)
    failures = {name: status["failure"] for name, status in statuses.items() if status["state"] != "succeeded"}
    assert failures == {}
    assert {name: status["source"]["package"]["name"] for name, status in statuses.items()} == {n: n for n in wanted}
    versions = {name: status["source"]["package"]["version"] for name, status in statuses.items()}
    assert (versions["hello-link"], versions["hello-bash"]) == ("1.0-1", "2:1.0-1")
    assert versions["hello-tito-test"].startswith("1.0-1.git.1.")
    for name in ("hello-link", "hello-packed"):
        file = source_servers.sources.root / Path(wanted[name]["link"]["url"]).name
        assert statuses[name]["source"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    hellos = sorted(name for name in wanted if name.startswith("hello-"))
    assert install_with_dnf(source_builds, hellos) == DATA * (len(hellos) + 2)


def install_with_dnf(builds: SourceBuilds, names: list[str]) -> str:
    """Installs the packages in a fresh container of the chroot's image; what their files and modules say."""
    results = "http://copr-backend.copr-operator.svc:8080/results/alice"
    repositories = "".join(
        f"[{project}]\nname={project}\nbaseurl={results}/{project}/{CHROOT}/\ngpgcheck=0\n"
        for project in (PROJECT, ROOTED_PROJECT, PYTHON_PROJECT)
    )
    packages = [*names, "python3-hello-copr", "python3-bonjour"]
    script = (
        f"mkdir -p /etc/yum.repos.d && cat > /etc/yum.repos.d/hello.repo <<'EOF'\n{repositories}EOF\n"
        f"dnf -q -y install {' '.join(packages)} > /tmp/log 2>&1 || {{ cat /tmp/log; exit 1; }}\n"
        f"cat {' '.join(f'/usr/share/{name}/hello' for name in names)}\n"
        "cd / && python3 -c 'import bonjour as one, hello_copr as two; print(one.WORDS); print(two.WORDS)'\n"
    )
    return builds.run_pod("dnf", script)


def test_the_generated_build_requirements_of_a_python_package_were_installed_round_by_round(
    source_builds: SourceBuilds,
) -> None:
    """Of the build above: %generate_buildrequires names setuptools once python3-devel and its macros are there."""
    status = source_builds.ended(["python-hello-copr"])["python-hello-copr"]
    log = source_builds.log(status, f"{CHROOT}/{status['id']:08d}-python-hello-copr")
    asked = [line for line in log.splitlines() if line.startswith("[copr] installing: ")]
    assert asked == [
        "[copr] installing: python-srpm-macros",
        "[copr] installing: python3-devel",
        "[copr] installing: python3-devel",
        "[copr] installing: python3dist(setuptools) >= 40.8",
    ]


def test_a_build_whose_chroots_are_all_ruled_out_by_its_srpm_is_skipped(source_builds: SourceBuilds) -> None:
    source_builds.start("hello-arm", custom(heredoc("hello-arm", "ExclusiveArch: aarch64")))
    status = source_builds.ended(["hello-arm"])["hello-arm"]
    assert status["state"] == "skipped"
    assert [chroot["state"] for chroot in status["chroots"]] == ["skipped"]
