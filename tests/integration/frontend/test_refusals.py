"""What is refused, and how: a table of requests with the statuses and texts of the contract; hostile bodies; races."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from copr_operator.kube import paths
from tests.support.fake_kubelet import Status
from tests.support.frontend import Person, Site
from tests.support.world import eventually
from tests.unit.backend import rpms

URL = "http://sources.example/hello-2.8-1.src.rpm"
PROJECT = {"ownername": "alice", "projectname": "demo"}
LOGIN = "Login invalid/expired."
BIG = 1024**2


def untouched(_pod: dict[str, Any]) -> Status | None:
    """A pod that is never scheduled."""
    return None


async def prepare(site: Site) -> int:
    """alice/demo with a build that stays pending; its id."""
    alice = site.people["alice"]
    site.world.kubelet.behaviour = untouched
    body = {"name": "demo", "chroots": ["debian-12-x86_64", "debian-13-x86_64"]}
    assert (await site.api("POST", "/project/add/alice", alice, json=body)).status_code == 200
    answer = await site.api("POST", "/build/create/url", alice, json={**PROJECT, "pkgs": URL})
    number: int = answer.json()["items"][0]["id"]
    await site.world.until(lambda build: build["status"].get("chroots"), site.services.cache.builds[number].name)
    return number


@dataclass(frozen=True)
class Refusal:
    """`{id}` in the path is that of the pending build. `text` is a part of the error."""

    method: str
    path: str
    status: int
    text: str
    body: Any = None
    who: str | None = "alice"
    headers: dict[str, str] | None = None


def _create(kind: str, text: str, status: int = 400, who: str | None = "alice", **values: Any) -> Refusal:
    return Refusal("POST", f"/build/create/{kind}", status, text, {**PROJECT, **values}, who)


def _url(text: str, status: int = 400, who: str | None = "alice", **values: Any) -> Refusal:
    return _create("url", text, status, who, **{"pkgs": URL, **values})


def _choice(field: str, value: str) -> str:
    return f"Bad request parameters: {{'{field}': [\"'{value}' is not a valid choice for this field.\"]}}"


REFUSALS = (
    # reading
    Refusal("GET", "/nothing", 404, "Such API endpoint doesn't exist"),
    Refusal("GET", "/build/x", 404, "Such API endpoint doesn't exist"),
    Refusal("GET", "/build/999999", 404, "Build 999999 does not exist."),
    Refusal("GET", "/build/0", 404, "Build 0 does not exist."),
    Refusal("GET", "/build/999999999999999999999", 404, "Such API endpoint doesn't exist"),
    Refusal("PATCH", "/build/{id}", 405, "The method PATCH is not allowed"),
    Refusal("GET", "/build/list?ownername=alice", 400, "Missing argument projectname"),
    Refusal("GET", "/build/list?ownername=alice&projectname=other", 404, "Project alice/other does not exist."),
    Refusal("GET", "/build/list?ownername=alice&projectname=demo&limit=x", 400, "limit must be a number"),
    Refusal("GET", "/build/list?ownername=alice&projectname=demo&offset=-1", 400, "offset must be a number"),
    Refusal("GET", "/build/list?ownername=alice&projectname=demo&order=x", 400, "Cannot order by x"),
    Refusal("GET", "/build/list?ownername=alice&projectname=demo&order_type=x", 400, "order_type must be ASC or DESC"),
    Refusal("GET", "/build/list?ownername=..&projectname=..%2F..", 404, "Project ../../.. does not exist."),
    Refusal("GET", "/build-chroot?build_id=x&chrootname=y", 400, "build_id must be a number"),
    Refusal("GET", "/build-chroot?build_id={id}&chrootname=y", 404, "Build {id} was not submitted to y chroot."),
    Refusal("GET", "/project?ownername=alice", 400, "Missing argument projectname"),
    Refusal("GET", "/project-chroot?ownername=alice&projectname=demo&chrootname=x", 404, "Chroot x does not exist"),
    Refusal("GET", "/monitor?ownername=alice&projectname=demo&additional_fields[]=x", 400, "Wrong additional_fields"),
    Refusal("GET", "/monitor?ownername=alice&projectname=demo&project_dirname=demo:pr:9", 404, "Dirname 'demo:pr:9'"),
    # logging in
    Refusal("GET", "/auth-check", 401, LOGIN, who=None),
    Refusal("GET", "/auth-check", 401, LOGIN, who=None, headers={"Authorization": "Basic"}),
    Refusal("GET", "/auth-check", 401, LOGIN, who=None, headers={"Authorization": "Basic /w=="}),
    Refusal("GET", "/auth-check", 401, LOGIN, who=None, headers={"Authorization": "Bearer x"}),
    Refusal("GET", "/auth-check", 401, LOGIN, who=None,
            headers={"Authorization": "Basic " + base64.b64encode(b"../../x:y").decode()}),
    Refusal("PUT", "/build/cancel/{id}", 401, LOGIN, who=None),
    Refusal("DELETE", "/build/delete/{id}", 401, LOGIN, who=None),
    _url(LOGIN, 401, None),
    # rights
    _url("User bob is not allowed to build in the copr: alice/demo", 403, "bob"),
    Refusal("POST", "/build/check-before-build", 403, "User 'bob' is not allowed to build in 'alice/demo'", PROJECT,
            "bob"),
    Refusal("PUT", "/build/cancel/{id}", 403, "You are not allowed to cancel this build.", who="bob"),
    Refusal("DELETE", "/build/delete/{id}", 403, "User 'bob' doesn't have permissions to delete build {id}", who="bob"),
    Refusal("DELETE", "/build/delete/list", 400, "You don't have permissions to delete build(s) {id}.\n",
            {"builds": ["{id}"]}, "bob"),
    Refusal("POST", "/project/add/alice", 403, "You can't create projects for alice.", {"name": "x"}, "bob"),
    Refusal("POST", "/project/add/@group", 403, "You are not a member of the group @group.", {"name": "x"}),
    Refusal("PUT", "/project/edit/alice/demo", 403, "Only owners and admins may update their projects.", {}, "bob"),
    Refusal("DELETE", "/project/delete/alice/demo", 403, "Only owners may delete their projects.",
            {"verify": True}, "bob"),
    Refusal("GET", "/project/permissions/get/alice/demo", 403, "(missing admin rights)", who="bob"),
    Refusal("PUT", "/project/permissions/set/alice/demo", 403, "only owners and admins", {"bob": {"admin": "approved"}},
            "bob"),
    Refusal("PUT", "/project-chroot/edit/alice/demo/debian-12-x86_64", 403, "Only owners and admins", {}, "bob"),
    # states
    Refusal("DELETE", "/build/delete/{id}", 400, "User 'alice' can not delete build {id}"),
    Refusal("DELETE", "/build/delete/list", 400, "Build(s) {id} are still running.\nBuild(s) 77 don't exist.\n",
            {"builds": ["{id}", 77]}),
    Refusal("DELETE", "/project/delete/alice/demo", 400, "Build(s) {id} are still running.", {"verify": True}),
    Refusal("DELETE", "/project/delete/alice/demo", 400, "verify: This field is required.", {}),
    Refusal("PUT", "/project/edit/alice/demo", 409, "Can't drop chroot from project",
            {"chroots": ["debian-12-x86_64"]}),
    Refusal("GET", "/project/permissions/get/alice/demo", 404, "No permissions set on alice/demo project"),
    # builds
    _url("'projectname': ['This field is required.']", projectname=None),
    _url("Project alice/other does not exist.", 404, projectname="other"),
    _url("'pkgs': ['URLs to packages are required']", pkgs=None),
    _url("URLs must start with http", pkgs="ftp://sources.example/x.src.rpm"),
    _url("URLs must start with http", pkgs="http://[::1/x.src.rpm"),
    _url("URLs must end with .src.rpm or .spec", pkgs="http://sources.example/x.rpm"),
    _url("URLs must end with", pkgs=[URL, "http://sources.example/x.nosrc.rpm"]),
    _url("String should match pattern", pkgs="http://a\\b/x.spec"),
    _url(_choice("chroots", "debian-99-x86_64"), chroots=["debian-99-x86_64"]),
    _url(_choice("chroots", "../x"), chroots=["../x"]),
    _url(_choice("exclude_chroots", "x"), exclude_chroots="x"),
    _url("No chroot is left to build in.", exclude_chroots=["*"]),
    _url("'timeout': ['Not a valid integer value.']", timeout="soon"),
    _url("'timeout': ['Not a valid integer value.']", timeout={"a": 1}),
    _url("'timeout': ['Number must be between 0 and 180000.']", timeout=180001),
    _url("'bootstrap': ['Not a valid choice.']", bootstrap="x"),
    _url("'isolation': ['Not a valid choice.']", isolation="x"),
    _url("Only one batch option can be specified", after_build_id=1, with_build_id="1"),
    _url("'after_build_id': ['Build 77 not found']", after_build_id=77),
    _url("Copr dirname must start with 'demo:' prefix", project_dirname="other"),
    _url("Please use directory format demo:custom:", project_dirname="demo:pr:x"),
    _url("Please use directory format demo:custom:", project_dirname="demo:custom:../../x"),
    _url("can't build in this Copr via Packit.", 403, packit_forge_project="forge.example/x/y"),
    _create("scm", "'clone_url': ['This field is required.']"),
    _create("scm", "'clone_url': ['Invalid URL.'", clone_url="git@host:x"),
    _create("scm", "'clone_url': ['Invalid URL.'", clone_url="https://[::1/x.git"),
    _create("scm", "RPM spec file must end with .spec", clone_url="https://x/y", spec="x"),
    _create("scm", "The path must not leave its root", clone_url="https://x/y", subdirectory="a/../../b"),
    _create("scm", "'srpm_build_method': ['Not a valid choice.']", clone_url="https://x/y", source_build_method="x"),
    _create("scm", "'committish': [", clone_url="https://x/y", committish="--upload-pack=x"),
    _create("distgit", "Please enter a valid package name", package_name="a b"),
    _create("distgit", "'distgit': ['Not a valid choice.']", package_name="a", distgit="nowhere"),
    _create("pypi", "'pypi_package_name': ['This field is required.']"),
    _create("pypi", "'spec_generator': ['Not a valid choice.']", pypi_package_name="a", spec_generator="x"),
    _create("pypi", "is not a version of Python", pypi_package_name="a", python_versions=["three"]),
    _create("rubygems", "'gem_name': ['This field is required.']", gem_name=" "),
    _create("custom", "'script': ['This field is required.']", script=" "),
    _create("custom", "Maximum script size is 4kB", script="x" * 4096),
    _create("custom", "is not a valid choice for this field.", script="x", chroot="fedora-latest-x86_64"),
    _create("custom", "The path must not leave its root", script="x", resultdir="../.."),
    _create("rpm-upload", "Such API endpoint doesn't exist", 404),
    # projects
    Refusal("POST", "/project/add/alice", 400, "name: This field is required.", {}),
    Refusal("POST", "/project/add/alice", 400, "name: Project's name can not be just number.", {"name": "12"}),
    Refusal("POST", "/project/add/alice", 400, "name: Name must contain only letters", {"name": "../x"}),
    Refusal("POST", "/project/add/alice", 400, "chroots: At least one chroot must be selected", {"name": "x"}),
    Refusal("POST", "/project/add/alice", 400, "name: You already have a project named 'demo'.", {"name": "demo"}),
    Refusal("POST", "/project/add/alice", 403, "Non-admin user cannot create persistent",
            {"name": "x", "persistent": True}),
    Refusal("POST", "/project/add/alice", 400, "additional_repos: ",
            {"name": "x", "chroots": ["debian-12-x86_64"], "additional_repos": "file:///etc"}),
    Refusal("POST", "/project/add/alice", 400, "storage: Only backend is supported here.",
            {"name": "x", "chroots": ["debian-12-x86_64"], "storage": "pulp"}),
    Refusal("PUT", "/project/permissions/set/alice/demo", 400, "invalid 'admin' permission state 'x'",
            {"bob": {"admin": "x"}}),
    Refusal("PUT", "/project/permissions/request/alice/demo", 400, "expected True or False", {"builder": "x"}, "bob"),
    Refusal("PUT", "/project-chroot/edit/alice/demo/debian-12-x86_64", 400, "Trying to reset an invalid attribute: x\n",
            {"reset_fields": "x"}),
    # packages
    Refusal("GET", "/package?ownername=alice&projectname=demo&packagename=x", 404, "No package with name x"),
    Refusal("POST", "/package/add/alice/demo/x/rubygems", 403, "You are not allowed to add or edit packages",
            {"gem_name": "x"}, "bob"),
    Refusal("POST", "/package/add/alice/demo/x/None", 400, "Unsupported package source type None", {}),
    Refusal("POST", "/package/add/alice/demo/x/rubygems", 400, "gem_name: This field is required.", {}),
    Refusal("POST", "/package/add/alice/demo/-x/rubygems", 400, "name: String should match", {"gem_name": "x"}),
    Refusal("POST", "/package/edit/alice/demo/x/rubygems", 404, "Package x does not exists in copr alice/demo.", {}),
    Refusal("POST", "/package/build", 404, "No package with name x in copr demo", {**PROJECT, "package_name": "x"}),
    Refusal("PUT", "/package/reset", 404, "No package with name x in copr demo", {**PROJECT, "package_name": "x"}),
    Refusal("DELETE", "/package/delete", 404, "No package with name  in copr demo", PROJECT),
    # bodies
    Refusal("POST", "/build/create/url", 400, "The request is not valid JSON.", b"{"),
    Refusal("POST", "/build/create/url", 400, "The request must be a JSON object.", b"[]"),
    Refusal("POST", "/build/create/url", 413, "The request is larger than", b" " * (BIG + 1)),
    Refusal("POST", "/build/create/url", 415, "Unsupported media type text/plain", b"x",
            headers={"Content-Type": "text/plain"}),
    Refusal("POST", "/build/create/url", 400, "multipart/form-data without a boundary", b"x",
            headers={"Content-Type": "multipart/form-data"}),
    Refusal("POST", "/build/create/url", 400, "the body ends before its last boundary", b"--x\r\n",
            headers={"Content-Type": "multipart/form-data; boundary=x"}),
    Refusal("DELETE", "/build/delete/list", 400, "builds must be a list", {}),
    Refusal("DELETE", "/build/delete/list", 400, "builds must be a list", {"builds": ["x"]}),
    Refusal("DELETE", "/build/delete/list", 400, "builds must be a list", {"builds": [True]}),
)  # fmt: skip


async def test_every_refusal_has_its_status_and_its_text_and_changes_nothing(site: Site) -> None:
    build = await prepare(site)
    await site.person("bob")
    before = (await site.spec_of(build), len(site.services.cache.builds))
    wrong = []
    for case in REFUSALS:
        answer = await ask(site, case, build)
        text = case.text.replace("{id}", str(build))
        error = answer.json().get("error", "") if answer.status_code < 600 else ""
        if (answer.status_code, text in error) != (case.status, True):
            wrong.append(f"{case.method} {case.path} {case.body}: {answer.status_code} {answer.text}")
        if answer.status_code == 401:
            assert answer.json()["output"] == "notok"
    assert not wrong, "\n".join(wrong)
    assert (await site.spec_of(build), len(site.services.cache.builds)) == before


async def ask(site: Site, case: Refusal, build: int) -> httpx.Response:
    who = site.people[case.who] if case.who is not None else None
    options: dict[str, Any] = {"headers": {"Content-Type": "application/json", **(case.headers or {})}}
    if isinstance(case.body, bytes):
        options["content"] = case.body
    elif case.body is not None:
        body = {name: _with_id(value, build) for name, value in case.body.items()}
        options["json"] = body
    return await site.api(case.method, case.path.replace("{id}", str(build)), who, **options)


def _with_id(value: Any, build: int) -> Any:
    if isinstance(value, list):
        return [build if item == "{id}" else item for item in value]
    return value


async def test_slashes_methods_and_forms_are_taken_as_copr_takes_them(site: Site) -> None:
    alice, build = site.people["alice"], await prepare(site)
    assert (await site.api("GET", "/")).json() == {"version": 3}
    for path in (f"/build/{build}", f"/build/{build}/", f"/build/{build}?build_id=7&x=y"):
        assert (await site.api("GET", path)).json()["id"] == build
    created = await site.api("POST", "/build/create/url/", alice, data={**PROJECT, "pkgs": URL, "timeout": "99"})
    assert (created.status_code, created.json()["meta"]) == (
        200, {"limit": None, "offset": None, "order": None, "order_type": None},
    )  # fmt: skip
    number = created.json()["items"][0]["id"]
    assert (await site.spec_of(number))["timeout"] == 99
    parts = {name: (None, value) for name, value in {**PROJECT, "pkgs": URL}.items()}
    assert (await site.api("POST", "/build/create/url", alice, files=parts)).status_code == 200
    canceled = await site.api("POST", f"/build/cancel/{number}", alice)
    assert canceled.headers["Warning"] == "This method is deprecated: Use PUT method instead of POST"
    everything = await site.api("GET", "/build/list", params=PROJECT)
    assert everything.json()["meta"] == {"limit": None, "offset": 0, "order": "id", "order_type": "ASC"}
    page = await site.api("GET", "/build/list", params={**PROJECT, "limit": 0, "offset": 99})
    assert page.json() == {"items": [], "meta": {"limit": None, "offset": 99, "order": "id", "order_type": "ASC"}}
    assert (await site.api("GET", "/build-chroot/list?build_id=999999")).json()["items"] == []


async def test_a_login_with_many_wrong_tokens_is_shut_out_for_a_while(site: Site) -> None:
    alice = site.people["alice"]
    guesses = [(alice.login, f"guess-{number}") for number in range(25)]
    statuses = [(await site.http.get("/api_3/auth-check", auth=guess)).status_code for guess in guesses]
    assert statuses == [401] * 20 + [429] * 5
    bob = await site.person("bob")
    assert (await site.api("GET", "/auth-check", bob)).json()["name"] == "bob"


async def test_expired_tokens_are_refused(site: Site) -> None:
    carol = await site.person("carol", days=0)
    assert (await site.api("GET", "/auth-check", carol)).status_code == 401


async def test_an_upload_that_is_slow_cut_or_too_large_leaves_nothing(site: Site, tmp_path: Path) -> None:
    """The pretended backend counts what reaches it."""
    alice = site.people["alice"]
    await prepare(site)
    (spool := tmp_path / "spool").mkdir()
    site.services.limits = type(site.services.limits)(body=BIG, file=1000, silence=0.3, spool=spool)
    head = b'--b\r\nContent-Disposition: form-data; name="pkgs"; filename="x.src.rpm"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    async def body(*pieces: bytes, wait: float = 0) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        await asyncio.sleep(wait)

    async def send(*pieces: bytes, wait: float = 0) -> httpx.Response:
        content = body(head, *pieces, wait=wait)
        return await site.api("POST", "/build/create/upload", alice, content=content, headers=headers)

    assert (await send(b"data", wait=1)).status_code == 408
    assert (await send(b"x" * 1001, b"\r\n--b--")).status_code == 413
    assert (await send(b"cut\r\n--b")).json()["error"].startswith("Not a multipart body")
    await hang_up(site, alice, head)
    asked = [line for line in site.world.backend.asked if "/uploads" in line]
    assert asked == []
    assert len((await site.world.kube.get(paths.copr("coprbuilds", site.world.namespace)))["items"]) == 1
    assert not list(spool.iterdir())


async def hang_up(site: Site, who: Person, body: bytes) -> None:
    """Announces more than is sent, and closes the connection; returns when the frontend has done with it."""
    _, writer = await asyncio.open_connection(*site.url.removeprefix("http://").split(":"))
    login = base64.b64encode(":".join(who.auth).encode()).decode()
    head = (f"POST /api_3/build/create/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 900\r\n\r\n")  # fmt: skip
    writer.write(head.encode() + body)
    await writer.drain()
    uploads = site.services.metrics.uploads

    async def under_way(wanted: bool) -> bool:
        return bool(next(iter(uploads.collect())).samples[0].value) is wanted

    await eventually(lambda: under_way(True), lambda: "the upload does not begin")
    writer.close()
    await eventually(lambda: under_way(False), lambda: "the upload does not end")


async def test_uploads_with_bad_names_or_without_a_file_are_refused(site: Site) -> None:
    alice = site.people["alice"]
    await prepare(site)
    data = rpms.rpm("hello", "2.8", "1", "src")
    fields = ("json", b'{"ownername": "alice", "projectname": "demo"}', "application/json")
    texts = {}
    for name in ("hello.rpm", "-x.src.rpm", "a b.src.rpm", "x.nosrc.rpm", ""):
        answer = await site.api("POST", "/build/create/upload", alice, files={"pkgs": (name, data), "json": fields})
        texts[name] = (answer.status_code, answer.json()["error"])
    assert {status for status, _ in texts.values()} == {400}, texts
    assert not [line for line in site.world.backend.asked if "/uploads" in line]


async def test_a_request_that_is_sent_again_with_its_key_makes_no_second_build(site: Site) -> None:
    alice = site.people["alice"]
    await prepare(site)
    body = {**PROJECT, "pkgs": [URL, "http://sources.example/other.spec"]}
    headers = {"Idempotency-Key": "one"}
    answers = await asyncio.gather(
        *(site.api("POST", "/build/create/url", alice, json=body, headers=headers) for _ in range(4))
    )
    found = {tuple(build["id"] for build in answer.json()["items"]) for answer in answers}
    assert len(found) == 1, found
    scm = {**PROJECT, "clone_url": "https://git.example/hello.git"}
    first, second = [await site.api("POST", "/build/create/scm", alice, json=scm, headers={"Idempotency-Key": "two"})
                     for _ in range(2)]  # fmt: skip
    assert first.json()["id"] == second.json()["id"]
    gem = {"gem_name": "rails"}
    assert (await site.api("POST", "/package/add/alice/demo/rails/rubygems", alice, json=gem)).status_code == 200
    named = {**PROJECT, "package_name": "rails"}
    key = {"Idempotency-Key": "three"}
    built = [await site.api("POST", "/package/build", alice, json=named, headers=key) for _ in range(2)]
    assert built[0].json()["id"] == built[1].json()["id"]
    other = await site.api("POST", "/build/create/url", alice, json={**PROJECT, "pkgs": URL + "?x"}, headers=headers)
    assert (other.status_code, other.json()["error"]) == (409, "This Idempotency-Key was used for another build.")


async def test_only_one_of_two_who_create_a_project_at_once_succeeds(site: Site) -> None:
    alice = site.people["alice"]
    body = {"name": "race", "chroots": ["debian-13-x86_64"]}
    answers = await asyncio.gather(*(site.api("POST", "/project/add/alice", alice, json=body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 5, [a.text for a in answers]
    objects = (await site.world.kube.get(paths.copr("coprprojects", site.world.namespace)))["items"]
    assert [obj["spec"]["name"] for obj in objects if "deletionTimestamp" not in obj["metadata"]] == ["race"]
    again = await site.api("POST", "/project/add/alice?exist_ok=True", alice, json=body)
    assert (again.status_code, again.json()["name"]) == (200, "race")
