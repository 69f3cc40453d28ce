"""Given a source of the API, what the build pod is told, where it runs and how Copr's API calls it."""

from typing import Any

import pytest

from copr_operator.api.project import ProjectChroot, ProjectSpec
from copr_operator.api.sources import SOURCE_TYPES, SourceSpec
from copr_operator.core import sources
from copr_operator.core.config import DIST_GITS, DistGit, SourceSettings
from copr_operator.core.wire import (
    CustomSource,
    DistGitSource,
    LinkSource,
    PypiSource,
    RubyGemsSource,
    ScmSource,
    StepSource,
    UploadSource,
)

OWN = DistGit("own", "https://git.example/{namespace}/{package}", "https://git.example/x/{hash}", "pkgs")
BROKEN = DistGit("broken", "https://[git.example/{package}", "https://git.example/{hash}")
SETTINGS = SourceSettings(dist_gits=(*DIST_GITS, OWN, BROKEN), pypi_url="https://index.example/pypi/")
GIT = "https://git.example/hello.git"


def source_of(type_: str, **fields: Any) -> SourceSpec:
    return SourceSpec.model_validate({"type": type_, type_: fields})


def in_pod(type_: str, **fields: Any) -> StepSource:
    return sources.step_source(source_of(type_, **fields), SETTINGS)


@pytest.mark.parametrize(
    ("url", "scm"),
    [
        ("https://git.example/hello.git", "git"),
        ("https://git.example/hello", "git"),
        ("git://git.example/hello", "git"),
        ("ssh://git@git.example/hello.git", "git"),
        ("svn://svn.example/hello", "svn"),
        ("svn+ssh://svn.example/hello", "svn"),
        ("https://svn.example/svn/hello", "svn"),
        ("https://svn.example/repos/svn", "svn"),
        ("https://svn.example/hello/trunk", "svn"),
        ("https://svn.example/hello/trunk/", "svn"),
        ("https://svn.example/hello/trunk?x=1", "svn"),
        ("https://svn.example/hello", "git"),
        ("https://git.example/svnserve/hello", "git"),
        ("https://git.example/hello-trunk", "git"),
        ("https://git.example/trunk/hello", "git"),
        ("https://git.example/hello?path=/svn/", "git"),
        ("https://[::1/svn/hello", "git"),
    ],
)
def test_the_type_of_a_repository_follows_from_its_url(url: str, scm: str) -> None:
    assert sources.detect_scm(url) == scm


def test_a_type_that_is_given_overrules_the_url() -> None:
    made = in_pod("scm", cloneURL="https://x.example/svn/hello", type="git")
    assert isinstance(made, ScmSource)
    assert made.scm == "git"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (("link", {"url": "https://x.example/a.spec"}), LinkSource(url="https://x.example/a.spec")),
        (("upload", {"ref": "r/a.spec", "sha256": "0" * 64}), UploadSource(ref="r/a.spec", sha256="0" * 64)),
        (("scm", {"cloneURL": GIT}), ScmSource(scm="git", clone_url=GIT, method="rpkg")),
        (
            ("scm", {"cloneURL": GIT, "committish": "v1", "subdirectory": "/dist/./rpm/", "spec": "../a.spec",
                     "method": "make_srpm", "credentialsSecret": "key"}),
            ScmSource(scm="git", clone_url=GIT, committish="v1", subdirectory="dist/rpm", spec="dist/a.spec",
                      method="make_srpm", credentials=True),
        ),
        (
            ("distgit", {"package": "libstdc++"}),
            DistGitSource(
                package="libstdc++", clone_url="https://src.fedoraproject.org/rpms/libstdc++.git",
                lookaside_url="https://src.fedoraproject.org/repo/pkgs/rpms/libstdc++/{filename}/{hashtype}/{hash}/{filename}",
            ),
        ),
        (
            ("distgit", {"package": "bash", "namespace": "forks/me/rpms", "committish": "f43"}),
            DistGitSource(
                package="bash", clone_url="https://src.fedoraproject.org/forks/me/rpms/bash.git", committish="f43",
                lookaside_url="https://src.fedoraproject.org/repo/pkgs/rpms/bash/{filename}/{hashtype}/{hash}/{filename}",
            ),
        ),
        (
            ("distgit", {"package": "hello", "instance": "own"}),
            DistGitSource(package="hello", clone_url="https://git.example/pkgs/hello", lookaside_url="https://git.example/x/{hash}"),
        ),
        (
            ("pypi", {"name": "six"}),
            PypiSource(name="six", python_versions=("3",), generator="pyp2spec", template="fedora",
                       index_url="https://index.example/pypi"),
        ),
        (
            ("pypi", {"name": "six", "version": "1.17", "pythonVersions": ["3.9", "3"], "specGenerator": "pyp2rpm",
                      "specTemplate": "epel7"}),
            PypiSource(name="six", version="1.17", python_versions=("3.9", "3"), generator="pyp2rpm", template="epel7",
                       index_url="https://index.example/pypi"),
        ),
        (("rubygems", {"name": "rake"}), RubyGemsSource(name="rake", gem_source="https://rubygems.org/")),
        (("custom", {"script": "#!/bin/sh"}), CustomSource(script="#!/bin/sh\n")),
        (("custom", {"script": "a\r\nb\n", "resultdir": "out//x"}), CustomSource(script="a\nb\n", resultdir="out/x")),
        (("custom", {"script": "a\n", "hookPayload": {"ref": "r/hook_payload", "sha256": "0" * 64}}),
         CustomSource(script="a\n", payload=UploadSource(ref="r/hook_payload", sha256="0" * 64))),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_source_is_told_to_the_pod(source: tuple[str, dict[str, Any]], expected: StepSource) -> None:
    assert in_pod(source[0], **source[1]) == expected


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        (("link", {"url": "https://[x/a.spec"}), "SourceRefused", "the link is no usable URL"),
        (("scm", {"cloneURL": "https://me:secret@[::1/a"}), "SourceRefused", "cloneURL is no usable URL: its host or"),
        (("scm", {"cloneURL": "https://a]b/x", "type": "git"}), "SourceRefused", "cloneURL"),
        (("scm", {"cloneURL": "svn://x:abc/a"}), "SourceRefused", "cloneURL"),
        (("scm", {"cloneURL": "https://x:99999/a"}), "SourceRefused", "cloneURL"),
        (("scm", {"cloneURL": "svn://a..b/x"}), "SourceRefused", "cloneURL"),
        (("scm", {"cloneURL": f"svn://{'a' * 64}.example/x"}), "SourceRefused", "cloneURL"),
        (("distgit", {"package": "x", "instance": "broken"}), "SourceRefused", "cloneURL of the dist-git broken"),
        (("scm", {"cloneURL": GIT, "subdirectory": "a/../../b"}), "SourceRefused", "subdirectory"),
        (("scm", {"cloneURL": GIT, "spec": "../a.spec"}), "SourceRefused", "spec"),
        (("scm", {"cloneURL": GIT, "subdirectory": "a", "spec": "../../a.spec"}), "SourceRefused", "spec"),
        (("custom", {"script": "x", "resultdir": "/.."}), "SourceRefused", "resultdir"),
        (("distgit", {"package": "x", "instance": "mine"}), "UnknownDistGit", "known are: fedora, centos, own, broken"),
    ],
)
def test_a_source_that_can_not_be_built_here_says_why(
    source: tuple[str, dict[str, Any]], reason: str, words: str
) -> None:
    with pytest.raises(sources.SourceError, match=words) as refused:
        in_pod(source[0], **source[1])
    assert refused.value.reason == reason
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        ({"type": "pypi", "pypi": {"name": "six"}}, SourceSettings(pypi_url="https://[x/pypi")),
        ({"type": "rubygems", "rubygems": {"name": "rake"}}, SourceSettings(gem_source="rubygems.org")),
    ],
)
def test_an_index_that_the_administrator_has_mistyped_is_told_to_the_user(
    source: dict[str, Any], settings: SourceSettings
) -> None:
    with pytest.raises(sources.SourceError, match="of this installation is no usable URL"):
        sources.step_source(SourceSpec.model_validate(source), settings)


@pytest.mark.parametrize("url", ["https://[::1/x.git", "https://a]b/x", "svn://x:abc/a"])
def test_a_source_that_can_not_be_built_is_shown_all_the_same(url: str) -> None:
    _, shown = sources.api_source(source_of("scm", cloneURL=url), SETTINGS)
    assert shown["clone_url"] == url


CUSTOM = {"script": "#!/bin/sh"}


@pytest.mark.parametrize(
    ("source", "source_chroot", "expected"),
    [
        (("custom", {**CUSTOM, "chroot": "debian-13-x86_64"}), "debian-12-x86_64", "debian-13-x86_64"),
        (("custom", CUSTOM), "debian-12-x86_64", "debian-12-x86_64"),
        (("custom", CUSTOM), None, None),
        (("scm", {"cloneURL": GIT, "method": "make_srpm"}), "debian-12-x86_64", "debian-12-x86_64"),
        (("scm", {"cloneURL": GIT}), None, None),
    ],
)
def test_the_image_is_the_scripts_chroots_or_the_projects_source_chroots(
    source: tuple[str, dict[str, Any]], source_chroot: str | None, expected: str | None
) -> None:
    project = ProjectSpec(
        owner="alice", name="demo", chroots=[ProjectChroot(name="fedora-43-x86_64")], source_chroot=source_chroot
    )
    assert sources.image_chroot(source_of(source[0], **source[1]), project) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (("link", {"url": "https://x.example/a.spec"}), {"url": "https://x.example/a.spec"}),
        (("upload", {"ref": "r/a.spec"}), {"url": None, "pkg": "a.spec", "tmp": "r"}),
        (
            ("scm", {"cloneURL": "https://x.example/svn/a", "spec": "a.spec"}),
            {"type": "svn", "clone_url": "https://x.example/svn/a", "committish": "", "subdirectory": "",
             "spec": "a.spec", "srpm_build_method": "rpkg"},
        ),
        (
            ("distgit", {"package": "hello", "instance": "own", "committish": "f43"}),
            {"clone_url": "https://git.example/pkgs/hello", "distgit": "own", "committish": "f43"},
        ),
        (("distgit", {"package": "hello", "instance": "gone"}), {"clone_url": "", "distgit": "gone"}),
        (
            ("pypi", {"name": "six", "pythonVersions": ["3", "2"]}),
            {"pypi_package_name": "six", "pypi_package_version": "", "spec_generator": "pyp2spec", "spec_template": "",
             "python_versions": ["3", "2"]},
        ),
        (("rubygems", {"name": "rake"}), {"gem_name": "rake"}),
        (
            ("custom", {"script": "x\r\n", "chroot": "fedora-43-x86_64", "builddeps": ["git", "make"],
                        "resultdir": "out", "repos": ["https://a.example", "copr://a/b"]}),
            {"script": "x\n", "chroot": "fedora-43-x86_64", "builddeps": "git make", "resultdir": "out",
             "repos": "https://a.example copr://a/b"},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_source_has_the_keys_of_coprs_api(source: tuple[str, dict[str, Any]], expected: dict[str, Any]) -> None:
    assert sources.api_source(source_of(source[0], **source[1]), SETTINGS) == (source[0], expected)


def test_no_source_type_is_forgotten() -> None:
    smallest: dict[str, dict[str, Any]] = {
        "link": {"url": "https://x.example/a.spec"}, "upload": {"ref": "r/a.spec"}, "scm": {"cloneURL": GIT},
        "distgit": {"package": "a"}, "pypi": {"name": "a"}, "rubygems": {"name": "a"}, "custom": CUSTOM,
    }  # fmt: skip
    assert tuple(smallest) == SOURCE_TYPES
    for type_, fields in smallest.items():
        assert in_pod(type_, **fields).type == type_
        assert sources.api_source(source_of(type_, **fields), SETTINGS)[0] == type_
