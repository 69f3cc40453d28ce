"""What a CoprBuild's source accepts and refuses, beyond link and upload."""

from collections.abc import Mapping
from typing import Any

from tests.support.api_cases.case import BAD_REPO_URLS, LINK, REPO_URLS, UNREADABLE_HOSTS, Case, build, one_of, strings

_SMALLEST: Mapping[str, dict[str, Any]] = {
    "scm": {"cloneURL": "https://git.example/hello.git"},
    "distgit": {"package": "hello"},
    "pypi": {"name": "hello"},
    "rubygems": {"name": "hello"},
    "custom": {"script": "#!/bin/sh\nexit 0\n"},
}


def _from(type_: str, **change: Any) -> dict[str, Any]:
    """A build from the smallest source of this type, changed."""
    return {"source": {"type": type_, type_: {**_SMALLEST[type_], **change}}}


def _field(type_: str, field: str, too_long: str, *bad: str, shortest: int = 1) -> tuple[Case, ...]:
    return strings(
        build,
        f"{type_}'s {field}",
        lambda text: _from(type_, **{field: text}),
        too_long,
        *bad,
        shortest=shortest,
        at=f"source.{type_}.{field}",
    )


def _leaves(type_: str, field: str, *bad: str) -> tuple[Case, ...]:
    root = "working directory" if type_ == "custom" else "repository"
    return tuple(
        build(
            f"{type_}'s {field} is {path!r}",
            f"{field} must not leave the {root}: no '..' in it",
            rule=True,
            **_from(type_, **{field: path}),
        )
        for path in bad
    )


_REVISIONS = ("--upload-pack=touch /tmp/x", "-b", "a b", "a:b", "a\nb", "+refs/heads/*", "ü")

SOURCES: tuple[Case, ...] = (
    *(build(f"{type_} is the smallest", **_from(type_)) for type_ in _SMALLEST),
    *(
        build(
            f"{type_} has no {field}", f"spec.source.{type_}.{field}: Required value", source={"type": type_, type_: {}}
        )
        for type_, smallest in _SMALLEST.items()
        for field in smallest
    ),
    *(
        build(
            f"source is of type {type_} without it",
            f"source.type is '{type_}', so source.{type_} must be given",
            rule=True,
            source={**LINK, "type": type_},
        )
        for type_ in _SMALLEST
    ),
    build(
        "scm is of all fields",
        **_from(
            "scm",
            type="svn",
            cloneURL="svn+ssh://me@svn.example:2222/svn/hello/trunk",
            committish="r12",
            subdirectory="a b/c",
            spec="dist/hello.spec",
            method="tito_test",
            credentialsSecret="key",
        ),
    ),
    *(
        build(f"scm's cloneURL is {url!r}", **_from("scm", cloneURL=url))
        for url in (
            "https://user:secret@x.example:8443/a",
            "ssh://git@x.example/a.git",
            "git://x.example/a",
            "svn://[::1]/a",
            "ssh://git@[::1]:22/a",
            "https://x",
            "https://x.example/a@b:c",
        )
    ),
    *_field(
        "scm",
        "cloneURL",
        "https://x/" + "a" * 2048,
        "ext::sh -c true",
        "file:///srv/a",
        "git@x.example:a.git",
        "/srv/a.git",
        "ssh://-oProxyCommand=x/a",
        "ssh://git@-oProxyCommand=x/a",
        "ssh://-l@x.example/a",
        "https:///a.git",
        "https://x/a b",
        shortest=8,
    ),
    *(
        build(
            f"scm's host is {host!r}",
            "cloneURL needs a host: brackets are for an IPv6 address, and a port is a number",
            rule=True,
            **_from("scm", cloneURL=f"https://me:secret@{host}/a"),
        )
        for host in UNREADABLE_HOSTS
    ),
    build("scm's type is unknown", one_of("git", "svn"), **_from("scm", type="hg")),
    build("scm's method is unknown", one_of("rpkg", "tito", "tito_test", "make_srpm"), **_from("scm", method="make")),
    *(
        build(f"scm's committish is {name!r}", **_from("scm", committish=name))
        for name in ("main", "v1.0^{}", "refs/pull/12/head", "HEAD~1", "feature/a+b", "0" * 40)
    ),
    *_field("scm", "committish", "a" * 257, *_REVISIONS),
    *_field("scm", "subdirectory", "a" * 513, "-a", "a\nb", "a;b", "$(a)"),
    *_leaves("scm", "subdirectory", "..", "../a", "a/../../b", "a/.."),
    *_field("scm", "spec", "a" * 512 + ".spec", "-a.spec", "a.specs", "a\n.spec", shortest=6),
    *_leaves("scm", "spec", "../a.spec", "a/../../b.spec"),
    *_field("scm", "credentialsSecret", "a" * 254, "A_b", "a/b"),
    build(
        "distgit is of all fields",
        **_from("distgit", package="libstdc++", instance="centos", namespace="forks/me/rpms", committish="c10s"),
    ),
    *_field("distgit", "package", "a" * 101, "-a", "../a", "a/b", ".a"),
    *_field("distgit", "instance", "a" * 64, "-a", "A", "a/b"),
    *_field("distgit", "namespace", "a" * 201, "-a", "../a", "a//b", "/a", "a/../b", "a/-b"),
    *_field("distgit", "committish", "a" * 257, *_REVISIONS),
    build(
        "pypi is of all fields",
        **_from(
            "pypi",
            name="zope.interface",
            version="1!2.0rc1+local",
            pythonVersions=["3", "3.9"],
            specGenerator="pyp2rpm",
            specTemplate="epel7",
        ),
    ),
    *_field("pypi", "name", "a" * 129, "-a", "a-", "a b", "../a"),
    *_field("pypi", "version", "a" * 65, "-1", "1 2", "1;2"),
    build(
        "pypi's pythonVersions are too many",
        "spec.source.pypi.pythonVersions: Too many",
        **_from("pypi", pythonVersions=["3"] * 9),
    ),
    *strings(
        build,
        "one of pypi's pythonVersions",
        lambda text: _from("pypi", pythonVersions=[text]),
        "3" * 7,
        "-3",
        "3.9.1",
        "py3",
        at="source.pypi.pythonVersions[0]",
    ),
    build(
        "pypi's pythonVersions are numbers",
        "spec.source.pypi.pythonVersions[0] in body must be of type string",
        **_from("pypi", pythonVersions=[3]),
    ),
    build("pypi's specGenerator is unknown", one_of("pyp2spec", "pyp2rpm"), **_from("pypi", specGenerator="x")),
    build(
        "pypi's specTemplate is unknown", one_of("fedora", "epel7", "mageia", "pld"), **_from("pypi", specTemplate="x")
    ),
    *_field("rubygems", "name", "a" * 129, "-a", "a b", "a/b", ".a"),
    build(
        "custom is of all fields",
        **_from(
            "custom",
            chroot="fedora-43-x86_64",
            builddeps=["git", "gcc-c++ >= 14"],
            resultdir="out/a",
            repos=list(REPO_URLS),
            hookPayload={"ref": "r4nd/hook_payload", "sha256": "a" * 64},
        ),
    ),
    *_field("custom", "script", "a" * 4097, "a\x00b"),
    *_field("custom", "chroot", "a-1-" + "x" * 60, "rawhide", shortest=5),
    build(
        "custom's builddeps are too many",
        "spec.source.custom.builddeps: Too many",
        **_from("custom", builddeps=["a"] * 65),
    ),
    *strings(
        build,
        "one of custom's builddeps",
        lambda text: _from("custom", builddeps=[text]),
        "a" * 257,
        "--nogpgcheck",
        "a\nb",
        at="source.custom.builddeps[0]",
    ),
    *_field("custom", "resultdir", "a" * 513, "-a", "a\nb", "$(a)"),
    *_leaves("custom", "resultdir", "..", "a/../../b"),
    build(
        "custom's repos are too many",
        "spec.source.custom.repos: Too many",
        **_from("custom", repos=["http://x.example/"] * 33),
    ),
    *strings(
        build,
        "one of custom's repos",
        lambda text: _from("custom", repos=[text]),
        "http://x/" + "a" * 2048,
        *BAD_REPO_URLS,
        shortest=8,
        at="source.custom.repos[0]",
    ),
)
