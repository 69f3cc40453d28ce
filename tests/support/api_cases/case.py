"""A case of the tables: one thing changed in a spec that is good."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LINK = {"type": "link", "link": {"url": "https://sources.example/hello-2.8-1.src.rpm"}}
UPLOAD = {"type": "upload", "upload": {"ref": "Xy_z-1/hello-2.8-1.src.rpm", "sha256": "0" * 64}}

GOOD: Mapping[str, dict[str, Any]] = {
    "CoprBuild": {"owner": "alice", "project": "demo", "source": LINK},
    "CoprProject": {"owner": "alice", "name": "demo", "chroots": [{"name": "fedora-43-x86_64"}]},
    "CoprChroot": {"name": "fedora-43-x86_64", "image": "images.example/fedora:43", "arch": "x86_64"},
    "CoprPackage": {"owner": "alice", "project": "demo", "name": "hello"},
}
"""The smallest good spec of each kind."""


def changed(kind: str, change: dict[str, Any]) -> dict[str, Any]:
    """The good spec with members replaced; None takes one away."""
    return {name: value for name, value in {**GOOD[kind], **change}.items() if value is not None}


@dataclass(frozen=True)
class Case:
    """`change` replaces members of the good spec; None takes one away."""

    kind: str
    title: str
    change: dict[str, Any]
    refused: str = ""
    """A part of the refusal; empty when it is accepted."""
    by_rule: bool = False
    """Refused by a CEL rule, a list's type or a map's keys: the API server's own, pydantic need not know them."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.title}"

    @property
    def spec(self) -> dict[str, Any]:
        return changed(self.kind, self.change)


@dataclass(frozen=True)
class Update:
    """An object of the good spec with `before` in it is changed to the good spec with `after` in it (see `changed`)."""

    kind: str
    title: str
    before: dict[str, Any]
    after: dict[str, Any]
    refused: str = ""
    """A part of the refusal; empty when it is accepted."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.title}"


def build(title: str, refused: str = "", *, rule: bool = False, **change: Any) -> Case:
    return Case("CoprBuild", title, change, refused, rule)


def project(title: str, refused: str = "", *, rule: bool = False, **change: Any) -> Case:
    return Case("CoprProject", title, change, refused, rule)


def chroot(title: str, refused: str = "", *, rule: bool = False, **change: Any) -> Case:
    return Case("CoprChroot", title, change, refused, rule)


BAD_NAMES = (
    ".",
    "..",
    ".hidden",
    "-rf",
    "--help",
    "_x",
    "",
    " ",
    "a b",
    "a/b",
    "a\nb",
    "a\x00b",
    "a\x1bb",
    "a\x7f",
    "ä",
)
"""Names that would be another directory, an option of a program, several words, or unreadable."""


def names(kind: str, field: str, *more: str) -> tuple[Case, ...]:
    """No name may be one of BAD_NAMES. The empty one is too short, the others don't match."""
    return tuple(
        Case(kind, f"{field} can't be {bad!r}", {field: bad}, f"spec.{field} in body should ")
        for bad in (*BAD_NAMES, *more)
    )


def one_of(*known: str) -> str:
    return "supported values: " + ", ".join(f'"{value}"' for value in known)


UNREADABLE_HOSTS = ("[::1", "[abc", "a]b", "a[b", "[::1]x", "x:abc", "x:999999", "[xyz]", "[]")
"""What stands for a host and port in URLs that the patterns admit and nobody can read."""
REPO_URLS = (
    "http://x",
    "http://x?priority=5",
    "copr://@group/libstdc++",
    "copr://alice/demo:pr:1",
    "copr://alice/demo?priority=5",
    "https://x/$chroot/$basearch/",
    "https://x/$distname/?priority=5",
)
BAD_REPO_URLS = (
    "file:///srv/repo",
    "copr://alice",
    "copr://alice/..",
    "copr://../x",
    "copr://alice/demo?a b",
    "http://x/a b",
    "http://x/\na=b",
    "http://x/\u00a0",
    "mirror.example/x",
)
BAD_CHROOTS = (
    "srpm-builds",
    "fedora-43",
    "Fedora-43-x86_64",
    "-43-x86_64",
    "fedora-43-",
    "fedora-4/3-x86_64",
    "..-..-..",
    "fedora-43-x86_64\n",
    "fedora-43-x86 64",
)


def strings(
    make: Any, field: str, wrap: Any, too_long: str, *bad: str, shortest: int = 1, at: str = ""
) -> tuple[Case, ...]:
    """The bounds and the pattern of one string. `wrap` puts it into the spec, `at` is its path."""
    path = f"spec.{at or field}"
    short = (
        [make(f"{field} is empty", f"{path} in body should be at least {shortest} chars", **wrap(""))]
        if shortest
        else []
    )
    return (
        *short,
        make(f"{field} is too long", f"{path}: Too long", **wrap(too_long)),
        *(make(f"{field} is {text!r}", f"{path} in body should match", **wrap(text)) for text in bad),
    )
