"""What may be changed of an object that exists, and what not."""

from typing import Any

from tests.support.api_cases.case import UPLOAD, Update

_FIXED: dict[str, tuple[Any, Any]] = {
    "projectDirname": ("demo:pr:1", "demo"),
    "chroots": (["a-1-x"], ["a-1-x", "b-1-x"]),
    "excludeChroots": (["a-1-x"], []),
    "timeout": (100, 101),
    "memoryLimitMB": (64, 65),
    "enableNet": (True, False),
    "background": (True, False),
    "afterBuild": ("a", "b"),
    "withBuild": ("a", "b"),
    "submitter": ("alice", "bob"),
    "queueTimeout": (100, 101),
    "packageName": ("hello", "other"),
    "forkedFrom": (
        {"owner": "bob", "projectDirname": "demo", "id": 1},
        {"owner": "bob", "projectDirname": "demo", "id": 2},
    ),
}
"""Two values of each field of a CoprBuild that need not be given. Of those with a default neither is it alone."""


def _build(title: str, before: dict[str, Any], after: dict[str, Any], refused: str = "") -> Update:
    return Update("CoprBuild", title, before, after, refused)


def _rerun(of: str) -> dict[str, Any]:
    return {"source": None, "rerunOf": of}


def _fixed(field: str) -> str:
    return f"spec.{field} can't be changed: create another CoprBuild"


UPDATES: tuple[Update, ...] = (
    _build("rerunOf is set later", {}, {"rerunOf": "a"}, _fixed("rerunOf")),
    _build("rerunOf is changed", _rerun("a"), _rerun("b"), _fixed("rerunOf")),
    _build("rerunOf becomes a source", _rerun("a"), {}, _fixed("rerunOf")),
    _build("rerunOf stays", _rerun("a"), {**_rerun("a"), "results": "Retain"}),
    _build("owner is changed", {}, {"owner": "bob"}, _fixed("owner")),
    _build("project is changed", {}, {"project": "other"}, _fixed("project")),
    _build("source is changed", {}, {"source": UPLOAD}, _fixed("source")),
    _build(
        "something in the source is changed",
        {"source": UPLOAD},
        {"source": {"type": "upload", "upload": {"ref": "Xy_z-1/hello-2.8-1.src.rpm"}}},
        _fixed("source"),
    ),
    *(
        update
        for field, (one, other) in _FIXED.items()
        for update in (
            _build(f"{field} is set later", {}, {field: one}, _fixed(field)),
            _build(f"{field} is unset", {field: one}, {}, _fixed(field)),
            _build(f"{field} is changed", {field: one}, {field: other}, _fixed(field)),
            _build(f"{field} stays", {field: one}, {field: one, "results": "Retain"}),
        )
    ),
    _build("a default is spelled out", {}, {"timeout": 18000, "memoryLimitMB": 2048, "background": False}),
    _build("it is canceled", {}, {"cancel": True}),
    _build("its cancel is taken back", {"cancel": True}, {"cancel": False}, "spec.cancel can't be taken back"),
    _build("its cancel is left out", {"cancel": True}, {}, "spec.cancel can't be taken back"),
    _build("results are to be kept after all", {}, {"results": "Retain"}),
    _build("results are not to be kept any more", {"results": "Retain"}, {"results": "Delete"}),
    Update("CoprProject", "owner is changed", {}, {"owner": "bob"}, "spec.owner can't be changed"),
    Update("CoprProject", "name is changed", {}, {"name": "other"}, "spec.name can't be changed"),
    Update(
        "CoprProject", "a chroot comes", {}, {"chroots": [{"name": "fedora-43-x86_64"}, {"name": "fedora-44-x86_64"}]}
    ),
    Update("CoprProject", "its chroot is exchanged", {}, {"chroots": [{"name": "fedora-44-x86_64"}]}),
    Update("CoprProject", "all else is changed", {"timeout": 1}, {"enableNet": True, "description": "New."}),
    Update("CoprChroot", "name is changed", {}, {"name": "fedora-44-x86_64"}, "spec.name can't be changed"),
    Update(
        "CoprChroot", "it is disabled and of another image", {}, {"enabled": False, "image": "images.example/new:43"}
    ),
)
