"""What a CoprPackage accepts and refuses. Its source is that of a CoprBuild, and may be absent."""

from dataclasses import replace
from typing import Any

from tests.support.api_cases.builds import BUILDS
from tests.support.api_cases.case import Case, Update, names
from tests.support.api_cases.sources import SOURCES


def _package(title: str, refused: str = "", *, rule: bool = False, **change: Any) -> Case:
    return Case("CoprPackage", title, change, refused, rule)


_SOURCES = (
    case for case in (*BUILDS, *SOURCES) if set(case.change) == {"source"} and case.change["source"] is not None
)

PACKAGES: tuple[Case, ...] = (
    _package("the smallest"),
    *(
        Case("CoprPackage", f"{field} is missing", {field: None}, f"spec.{field}: Required value")
        for field in ("owner", "project", "name")
    ),
    *names("CoprPackage", "owner", "@", "@@x", "a+b"),
    *names("CoprPackage", "project", "@x", "a:b"),
    # A package may begin with an underscore or a plus.
    *(case for case in names("CoprPackage", "name", "@x", "a:b") if case.change["name"] != "_x"),
    *(Case("CoprPackage", f"name is {name!r}", {"name": name}) for name in ("gcc-c++", "_x", "+x", "a" * 100)),
    _package("name is too long", "spec.name: Too long", name="a" * 101),
    *(replace(case, kind="CoprPackage") for case in _SOURCES),
    _package("all settings", autoRebuild=True, buildOnChange=True, timeout=1, maxBuilds=0,
             chrootDenylist=["fedora-*", "a-1-x"]),
    _package("timeout is nothing", "spec.timeout in body should be greater than or equal to 1", timeout=0),
    _package("timeout is too long", "spec.timeout in body should be less than or equal to 180000", timeout=180001),
    _package("maxBuilds is too large", "spec.maxBuilds in body should be less than or equal to 100", maxBuilds=101),
    _package("chrootDenylist is too long", "spec.chrootDenylist: Too many", chrootDenylist=["a"] * 65),
    _package("a denied chroot is like an option", "spec.chrootDenylist[0] in body should match", chrootDenylist=["-a"]),
)  # fmt: skip

PACKAGE_UPDATES: tuple[Update, ...] = (
    *(
        Update("CoprPackage", f"{field} is changed", {}, {field: "other"}, f"spec.{field} can't be changed")
        for field in ("owner", "project", "name")
    ),
    Update("CoprPackage", "all else is changed", {"timeout": 1}, {"autoRebuild": True, "maxBuilds": 3}),
)
