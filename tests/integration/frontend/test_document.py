"""Every line of the user's document of the build endpoints (copr_api_v3_builds.txt), shown on the running system.

The document names endpoints, under each of them sections, and in them lines. `shown` has a line's key in the request or
in the answer and what it must bring; a line that nothing shows fails the test as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.integration.frontend.conftest import Whole
from tests.support.fake_kubelet import Status
from tests.support.frontend import Person, Site
from tests.unit.backend import rpms

DOCUMENT = Path(__file__).with_name("copr_api_v3_builds.txt")
SECTIONS = ("Path Parameters", "Query Parameters", "Request Body", "Request Body (multipart/form-data)", "Response")
STATES = ("importing", "pending", "starting", "running", "succeeded", "failed", "canceled", "skipped")
URL = "http://sources.example/hello-2.8-1.src.rpm"
ALL = ["debian-12-x86_64", "debian-13-x86_64"]


def lines() -> list[tuple[str, str]]:
    """(endpoint, line) for each line that promises something. An endpoint's name stands before its first section."""
    found, endpoint, rows = [], "", DOCUMENT.read_text().splitlines()
    for position, row in enumerate(rows):
        if position + 1 < len(rows) and rows[position + 1] in SECTIONS[:-1]:
            endpoint = row
        elif row not in SECTIONS:
            found.append((endpoint, row))
    return found


@dataclass
class Shown:
    """What has been shown so far."""

    site: Site
    who: Person
    lines: set[tuple[str, str]] = field(default_factory=set)

    def line(self, endpoint: str, start: str, true: object, seen: object = None) -> None:
        """The one line of `endpoint` that begins with `start` holds, as `true` says; `seen` explains a failure."""
        matching = [row for at, row in lines() if at == endpoint and row.startswith(start)]
        assert matching, f"the document has no line {start!r} under {endpoint!r}"
        assert true, f"{endpoint}: {matching[0]}: {seen!r}"
        self.lines |= {(endpoint, row) for row in matching}

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.site.api("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def create(self, kind: str, **values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The build of a create endpoint, and the spec of its CoprBuild."""
        body = {"ownername": "alice", "projectname": "demo", **values}
        answer = await self.site.api("POST", f"/build/create/{kind}", self.who, json=body)
        assert answer.status_code == 200, answer.text
        build: dict[str, Any] = answer.json()
        return build, await self.site.spec_of(build["id"])


def untouched(_pod: dict[str, Any]) -> Status | None:
    """Pods that are never scheduled: what is shown with them is only what was asked for."""
    return None


async def test_every_line_of_the_document_holds(whole: Whole) -> None:
    alice = whole.site.people["alice"]
    body = {"name": "demo", "chroots": ALL}
    assert (await whole.site.api("POST", "/project/add/alice", alice, json=body)).status_code == 200
    shown = Shown(whole.site, alice)
    build = await create_from_url(shown)
    await whole.site.until_state(build, "succeeded")
    await get_build(shown, whole, build)
    await list_builds(shown, build)
    await source_of(shown, whole, build)
    await built_packages(shown, build)
    whole.site.world.kubelet.behaviour = untouched
    await upload(shown)
    for prove in (scm, distgit, pypi, rubygems, custom):
        await prove(shown)
    await cancel(shown)
    await delete(shown, build)
    assert set(lines()) - shown.lines == set()


async def create_from_url(shown: Shown) -> int:
    """The id of a build in all chroots of the project."""
    title = "Create Build from URL"
    plain = {"ownername": "alice", "projectname": "demo", "pkgs": URL}
    answer = await shown.site.api("POST", "/build/create/url", shown.who, json=plain)
    shown.line(title, "Array of created build objects", [b["state"] for b in answer.json()["items"]] == ["pending"])
    build: int = answer.json()["items"][0]["id"]
    spec = await shown.site.spec_of(build)
    shown.line(title, "Project owner name", spec["owner"] == "alice")
    shown.line(title, "Project name", spec["project"] == "demo")
    wanted = [URL, "http://sources.example/other.spec"]
    two = {**plain, "pkgs": "\n".join(wanted), "chroots": [ALL[0]], "background": True,
           "timeout": 1234, "enable_net": True}  # fmt: skip
    items = (await shown.site.api("POST", "/build/create/url", shown.who, json=two)).json()["items"]
    specs = [await shown.site.spec_of(item["id"]) for item in items]
    urls = [s["source"]["link"]["url"] for s in specs]
    shown.line(title, "SRPM URL(s), one per line", urls == wanted, urls)
    shown.line(title, "List of chroot names", "chroots" not in spec and all(s["chroots"] == [ALL[0]] for s in specs))
    shown.line(title, "Run as background build", not spec["background"] and all(s["background"] for s in specs))
    shown.line(title, "Build timeout in seconds", spec["timeout"] == 18000 and specs[0]["timeout"] == 1234)
    shown.line(title, "Enable network access", "enableNet" not in spec and all(s["enableNet"] for s in specs))
    return build


async def get_build(shown: Shown, whole: Whole, build: int) -> None:
    title = "Get Build"
    seen = await shown.get(f"/build/{build}")
    obj = await whole.site.world.build(whole.site.services.cache.builds[build].name)
    status, results = obj["status"], f"{whole.backend.url}/results/alice/demo"
    srpm = f"{results}/srpm-builds/{build:08d}/hello-2.8-1.src.rpm"
    shown.line(title, "Build ID", seen["id"] == status["id"] == build)
    shown.line(title, "Build state", seen["state"] == status["state"] == "succeeded" and seen["state"] in STATES)
    shown.line(title, "Project name", seen["projectname"] == "demo" and seen["project_dirname"] == "demo")
    shown.line(title, "Project owner name", seen["ownername"] == "alice")
    shown.line(title, "Repository URL", seen["repo_url"] == results, seen["repo_url"])
    package = {"name": "hello", "version": "2.8-1", "url": srpm}
    shown.line(title, "Source package information", seen["source_package"] == package, seen["source_package"])
    for words, key, member in (
        ("submitted", "submitted_on", "submittedAt"),
        ("started", "started_on", "startedAt"),
        ("ended", "ended_on", "endedAt"),
    ):
        expected = int(datetime.fromisoformat(status[member]).timestamp())
        shown.line(title, f"Unix timestamp when build {words}" if words != "submitted" else
                   "Unix timestamp when build was submitted", seen[key] == expected, seen)  # fmt: skip
    shown.line(title, "Username of build submitter", seen["submitter"] == "alice")
    shown.line(title, "List of chroot names", seen["chroots"] == ALL, seen["chroots"])
    shown.line(title, "Whether this is a background build", seen["is_background"] is False)


async def list_builds(shown: Shown, build: int) -> None:
    title, project = "List Builds", {"ownername": "alice", "projectname": "demo"}
    everything = await shown.get("/build/list", **project)
    ids = [item["id"] for item in everything["items"]]
    shown.line(title, "Project owner name", (await missing(shown, ownername="nobody", projectname="demo")) == 404)
    shown.line(title, "Project name", (await missing(shown, ownername="alice", projectname="other")) == 404)
    same = everything["items"][ids.index(build)] == await shown.get(f"/build/{build}")
    shown.line(title, "Array of build objects", same and ids == sorted(ids, reverse=True), ids)
    named = await shown.get("/build/list", **project, packagename="hello")
    unnamed = await shown.get("/build/list", **project, packagename="other")
    shown.line(title, "Filter by package name", build in [b["id"] for b in named["items"]] and not unnamed["items"])
    done = await shown.get("/build/list", **project, status="succeeded")
    failed = await shown.get("/build/list", **project, status="failed")
    shown.line(title, "Filter by build status", build in [b["id"] for b in done["items"]] and not failed["items"])
    page = await shown.get("/build/list", **project, limit=1, offset=1)
    shown.line(title, "Number of items per page", len(page["items"]) == 1)
    shown.line(title, "Number of items to skip", page["items"][0]["id"] == ids[1])
    meta = {"limit": 1, "offset": 1, "order": "id", "order_type": "ASC"}
    shown.line(title, "Pagination metadata", page["meta"] == meta, page["meta"])


async def missing(shown: Shown, **query: str) -> int:
    return (await shown.site.api("GET", "/build/list", params=query)).status_code


async def source_of(shown: Shown, whole: Whole, build: int) -> None:
    seen = await shown.get(f"/build/source-chroot/{build}")
    url = f"{whole.backend.url}/results/alice/demo/srpm-builds/{build:08d}"
    shown.line("Get Source Chroot", "Build ID", (await status(shown, "/build/source-chroot/999999")) == 404)
    shown.line("Get Source Chroot", "Source build state", seen["state"] == "succeeded")
    shown.line("Get Source Chroot", "URL to source build results", seen["result_url"] == url, seen)
    await source_type(shown, build, "link")
    title, config = "Get Source Build Config", await shown.get(f"/build/source-build-config/{build}")
    shown.line(title, "Build ID", (await status(shown, "/build/source-build-config/999999")) == 404)
    shown.line(title, "Source-specific configuration", config["source_dict"] == {"url": URL})
    shown.line(title, "Memory limit in MB", config["memory_limit"] == 2048)
    shown.line(title, "Build timeout in seconds", config["timeout"] == 18000)
    shown.line(title, "Whether this is a background build", config["is_background"] is False)


async def status(shown: Shown, path: str) -> int:
    return (await shown.site.api("GET", path)).status_code


async def built_packages(shown: Shown, build: int) -> None:
    title = "Get Built Packages"
    packages = [
        {"name": "hello", "epoch": None, "version": "2.8", "release": "1", "arch": a} for a in ("src", "x86_64")
    ]
    seen = await shown.get(f"/build/built-packages/{build}")
    shown.line(title, "Build ID", (await status(shown, "/build/built-packages/999999")) == 404)
    shown.line(title, "Returns a dictionary", seen == {chroot: {"packages": packages} for chroot in ALL}, seen)


async def upload(shown: Shown) -> None:
    title, data = "Create Build from Upload", rpms.rpm("hello", "2.8", "1", "src")
    fields = b'{"ownername": "alice", "projectname": "demo", "chroots": ["debian-12-x86_64"]}'
    files = {"pkgs": ("hello-2.8-1.src.rpm", data, "application/x-rpm"), "json": ("json", fields, "application/json")}
    answer = await shown.site.api("POST", "/build/create/upload", shown.who, files=files)
    build = answer.json()
    spec = await shown.site.spec_of(build["id"])
    shown.line(title, "Project owner name", spec["owner"] == "alice")
    shown.line(title, "Project name", spec["project"] == "demo")
    shown.line(title, "SRPM file to upload", spec["source"]["upload"]["ref"].endswith("/hello-2.8-1.src.rpm"))
    shown.line(title, "List of chroot names", spec["chroots"] == ["debian-12-x86_64"])
    shown.line(title, "Returns the created build", answer.status_code == 200 and build["state"] == "pending", build)
    await source_type(shown, build["id"], "upload")


async def source_type(shown: Shown, build: int, kind: str) -> dict[str, Any]:
    """The line about source types holds when it has held for each of them."""
    config: dict[str, Any] = await shown.get(f"/build/source-build-config/{build}")
    shown.line("Get Source Build Config", "Source type", config["source_type"] == kind, config)
    return config["source_dict"]  # type: ignore[no-any-return]


async def options(
    shown: Shown, title: str, kind: str, table: Mapping[str, tuple[str, Any, str, Any]], **base: Any
) -> dict[str, Any]:
    """Shows each line of `table`: its start, the request's key and value, the member of the source and its value.

    Returns the source of a build with nothing but `base`.
    """
    member = {"scm": "scm", "distgit": "distgit"}.get(kind, kind)
    build, spec = await shown.create(kind, **base)
    shown.line(title, "Returns the created build object", build["state"] == "pending" and build["id"] > 0, build)
    shown.line(title, "Project owner name", (build["ownername"], spec["owner"]) == ("alice", "alice"))
    shown.line(title, "Project name", (build["projectname"], spec["project"]) == ("demo", "demo"))
    await source_type(shown, build["id"], kind)
    for start, (key, value, name, expected) in table.items():
        _, other = await shown.create(kind, **{**base, key: value})
        shown.line(title, start, other["source"][member].get(name) == expected, other)
    if title != "Create Build from Custom Method":  # which has no such line
        _, some = await shown.create(kind, **base, chroots=[ALL[1]])
        shown.line(title, "List of chroot names", some["chroots"] == [ALL[1]] and "chroots" not in spec)
    source: dict[str, Any] = spec["source"][member]
    return source


async def scm(shown: Shown) -> None:
    title, url = "Create Build from SCM", "https://git.example/hello.git"
    table = {
        "SCM repository URL": (
            "clone_url",
            "https://git.example/other.git",
            "cloneURL",
            "https://git.example/other.git",
        ),
        "Branch, tag, or commit": ("committish", "v2.8", "committish", "v2.8"),
        "Subdirectory": ("subdirectory", "packaging", "subdirectory", "packaging"),
        "Path to .spec file": ("spec", "rpm/hello.spec", "spec", "rpm/hello.spec"),
    }
    source = await options(shown, title, "scm", table, clone_url=url)
    shown.line(title, "Branch, tag, or commit", "committish" not in source)
    detected = []
    for clone_url, wanted in ((url, None), ("https://svn.example/svn/hello/trunk", None), (url, "svn"), (url, "git")):
        build, _ = await shown.create("scm", clone_url=clone_url, scm_type=wanted)
        detected.append((await source_type(shown, build["id"], "scm"))["type"])
    shown.line(title, "SCM type", detected == ["git", "svn", "svn", "git"], detected)
    for method in ("rpkg", "tito", "tito_test", "make_srpm"):
        for key in ("source_build_method", "srpm_build_method"):
            _, spec = await shown.create("scm", clone_url=url, **{key: method})
            shown.line(title, "SRPM build method", spec["source"]["scm"]["method"] == method, spec)


async def distgit(shown: Shown) -> None:
    table = {
        "Package name in DistGit": ("package_name", "gcc-c++", "package", "gcc-c++"),
        "DistGit instance": ("distgit", "centos", "instance", "centos"),
        "DistGit namespace": ("namespace", "rpms", "namespace", "rpms"),
        "Branch or tag name": ("committish", "f43", "committish", "f43"),
    }
    source = await options(shown, "Create Build from DistGit", "distgit", table, package_name="hello")
    assert source == {"package": "hello", "instance": "fedora"}


async def pypi(shown: Shown) -> None:
    title = "Create Build from PyPI"
    table = {
        "Package name on PyPI": ("pypi_package_name", "requests", "name", "requests"),
        "Specific version": ("pypi_package_version", "1.0", "version", "1.0"),
        "Spec generator tool": ("spec_generator", "pyp2rpm", "specGenerator", "pyp2rpm"),
        "Custom spec template": ("spec_template", "epel7", "specTemplate", "epel7"),
    }
    source = await options(shown, title, "pypi", table, pypi_package_name="hello")
    shown.line(title, "Specific version", "version" not in source)
    for given, stored in ((["3", "3.9"], ["3", "3.9"]), ([3, 2], ["3", "2"]), (3.9, ["3.9"]), ("3", ["3"])):
        _, spec = await shown.create("pypi", pypi_package_name="hello", python_versions=given)
        shown.line(title, "Python versions", spec["source"]["pypi"]["pythonVersions"] == stored, spec)


async def rubygems(shown: Shown) -> None:
    table = {"Gem name on RubyGems.org": ("gem_name", "rails", "name", "rails")}
    await options(shown, "Create Build from RubyGems", "rubygems", table, gem_name="hello")


async def custom(shown: Shown) -> None:
    script = "#!/bin/sh\r\necho hello"
    repos = ["https://repo.example/$releasever", "copr://alice/demo"]
    table = {
        "Custom build script": ("script", script, "script", "#!/bin/sh\necho hello\n"),
        "Chroot name for SRPM build": ("chroot", ALL[1], "chroot", ALL[1]),
        "Build dependencies": ("builddeps", "gcc make", "builddeps", ["gcc", "make"]),
        "Directory containing build results": ("resultdir", "out", "resultdir", "out"),
        "Additional repository URLs": ("repos", repos, "repos", repos),
    }
    await options(shown, "Create Build from Custom Method", "custom", table, script=script)


async def cancel(shown: Shown) -> None:
    title, (build, _) = "Cancel Build", await shown.create("rubygems", gem_name="hello")
    answer = await shown.site.api("PUT", f"/build/cancel/{build['id']}", shown.who)
    seen = answer.json()
    shown.line(title, "Build ID", seen["id"] == build["id"])
    shown.line(title, "Returns the canceled build", (answer.status_code, seen["state"]) == (200, "canceled"), seen)


async def delete(shown: Shown, build: int) -> None:
    title = "Delete Build"
    before = await shown.get(f"/build/{build}")
    answer = await shown.site.api("DELETE", f"/build/delete/{build}", shown.who)
    shown.line(title, "Returns the deleted build", (answer.status_code, answer.json()) == (200, before), answer.text)
    shown.line(title, "Build ID", (await status(shown, f"/build/{build}")) == 404)
    title, ids = "Delete Multiple Builds", []
    for _ in range(2):
        other, _ = await shown.create("rubygems", gem_name="hello")
        await shown.site.api("PUT", f"/build/cancel/{other['id']}", shown.who)
        ids.append(other["id"])
    answer = await shown.site.api("DELETE", "/build/delete/list", shown.who, json={"builds": ids})
    shown.line(title, "Array of deleted build IDs", answer.json() == {"builds": ids}, answer.text)
    gone = [await status(shown, f"/build/{number}") for number in ids]
    shown.line(title, "Array of build IDs to delete", gone == [404, 404], gone)
