"""How each source fails on the real node: whose fault it is, in which step, why, and the end of the log."""

from pathlib import Path
from typing import Any

from tests.e2e.source_builds import (
    CHROOT,
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

LONG_NAME = "n" * 101

FAILURES: dict[str, tuple[str, str, str, str]] = {
    # name: (class, step, reason, words of the message)
    "no-file": ("user", "fetch", "SourceDownloadFailed", "the server answered 404"),
    "nosrc": ("user", "fetch", "SourceRefused", "does not hold all its sources (nosrc)"),
    "moved-file": ("policy", "fetch", "AddressRefused", "10.96.0.1"),
    "no-remote": ("user", "source", "SourceFailed", "rpmbuild -bs failed"),
    "no-upload": ("user", "fetch", "UploadNotFound", "hello-1.0-1.src.rpm"),
    "wrong-upload": ("user", "fetch", "ChecksumMismatch", "announced was 0000"),
    "no-committish": ("user", "fetch", "CommittishNotFound", "some of the branches are"),
    "no-repository": ("user", "fetch", "CloneFailed", "not found"),
    "no-credentials": ("user", "fetch", "CloneFailed", "could not be cloned"),
    "no-secret": ("user", "fetch", "CredentialsRefused", "no key `hosts`"),
    "moved": ("policy", "fetch", "AddressRefused", "10.96.0.1"),
    "cluster": ("policy", "fetch", "AddressRefused", "not a public address"),
    "no-makefile": ("user", "source", "SourceFailed", "no .copr/Makefile"),
    "no-spec": ("user", "source", "NoSpec", "no file 'nope.spec'"),
    "two-srpms": ("user", "source", "SeveralSRPMs", "made 2 SRPMs: a-1-1.src.rpm b-1-1.src.rpm"),
    "no-tag": ("user", "source", "SourceFailed", "tito build failed"),
    "no-tito-branch": ("user", "fetch", "CommittishNotFound", "some of the branches are"),
    "no-tito-spec": ("user", "source", "SourceFailed", "tito build --test failed"),
    "no-tito-test": ("user", "fetch", "CloneFailed", "not found"),
    "no-rpkg": ("policy", "source", "ToolMissing", "the image has no 'rpkg'"),
    "no-gem2rpm": ("policy", "source", "ToolMissing", "the image has no 'gem2rpm'"),
    "no-revision": ("user", "fetch", "CommittishNotFound", "No such revision"),
    "no-svn": ("user", "fetch", "CloneFailed", "could not be exported"),
    "no-dav": ("user", "fetch", "CloneFailed", "could not be exported"),
    "wrong-hash": ("user", "fetch", "LookasideMismatch", "but `sources` says"),
    "no-package": ("user", "fetch", "CloneFailed", "not found"),
    "no-dist-git": ("user", "validation", "UnknownDistGit", "known are: fedora, centos, local"),
    "no-pypi": ("user", "source", "SourceFailed", "pyp2spec failed"),
    "no-version": ("user", "source", "SourceFailed", "pyp2spec failed"),
    "no-pypi-2": ("user", "source", "SourceFailed", "pyp2rpm failed"),
    "no-version-2": ("user", "source", "SourceFailed", "pyp2rpm failed"),
    "script-fails": ("user", "source", "ScriptFailed", "the last words\n[copr] ERROR: the script failed (exit code 3)"),
    "script-idle": ("user", "source", "NoSpec", "there is no .spec"),
    "script-doubts": ("user", "source", "SeveralSpecs", "2 specs, which of them? a.spec b.spec"),
    "script-needs": ("user", "source", "DependenciesUnresolved", "could not install: no-such-package"),
    "script-names": ("user", "collect", "PackageNameTooLong", "100"),
}


def failing(servers: Servers, builds: SourceBuilds, scratch: Path) -> dict[str, dict[str, Any]]:
    sent = builds.upload(make_srpm(scratch / "sent", spec("hello-wrong")))
    svn, dav = f"svn://{servers.address}:{SVN_PORT}", f"http://{servers.address}:{SVN_HTTP_PORT}"
    return {
        "no-file": link(f"{servers.files}/nothing.spec"),
        "nosrc": link(f"{servers.files}/hello-1.0-1.nosrc.rpm"),
        "moved-file": link(f"{servers.files}/moved.spec"),
        "no-remote": link(f"{servers.files}/no-remote.spec"),
        "no-upload": {"type": "upload", "upload": {"ref": "gone/hello-1.0-1.src.rpm"}},
        "wrong-upload": {"type": "upload", "upload": {**sent["upload"], "sha256": "0" * 64}},
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
        "no-tito-branch": scm(f"{servers.git}/hello-tito", "tito", committish="nope"),
        "no-tito-spec": scm(f"{servers.git}/empty", "tito_test"),
        "no-tito-test": scm(f"{servers.git}/nothing", "tito_test"),
        "no-rpkg": scm(f"{servers.git}/bare", "rpkg"),
        "no-gem2rpm": {"type": "rubygems", "rubygems": {"name": "rake"}},
        "no-revision": scm(f"{svn}/hello/trunk", committish="r99"),
        "no-svn": scm(f"{svn}/nothing/trunk"),
        "no-dav": scm(f"{dav}/nothing/trunk"),
        "wrong-hash": distgit("hello-wrong"),
        "no-package": distgit("nothing"),
        "no-dist-git": distgit("hello", "mine"),
        "no-pypi": pypi("no-such-package", "pyp2spec"),
        "no-version": pypi("hello-copr", "pyp2spec", version="9"),
        "no-pypi-2": pypi("no-such-package", "pyp2rpm"),
        "no-version-2": pypi("hello-copr", "pyp2rpm", version="9"),
        "script-fails": custom("#!/bin/sh\necho the last words\nexit 3\n"),
        "script-idle": custom("#!/bin/sh\ntrue\n"),
        "script-doubts": custom("#!/bin/sh\ntouch a.spec b.spec\n"),
        "script-needs": custom("#!/bin/sh\ntrue\n", chroot=CHROOT, builddeps=["no-such-package"]),
        "script-names": custom(heredoc(LONG_NAME)),
    }


def test_every_source_fails_with_a_class_a_step_a_reason_and_words(
    source_builds: SourceBuilds, source_servers: Servers, tmp_path: Path
) -> None:
    builds = failing(source_servers, source_builds, tmp_path)
    assert set(builds) == set(FAILURES)
    for name, source in builds.items():
        source_builds.start(name, source)
    failures = {name: status.get("failure", {}) for name, status in source_builds.ended(builds).items()}
    assert {name: (f.get("class"), f.get("step"), f.get("reason")) for name, f in failures.items()} == {
        name: expected[:3] for name, expected in FAILURES.items()
    }
    silent = {name: f["message"] for name, f in failures.items() if FAILURES[name][3] not in f["message"]}
    assert silent == {}
