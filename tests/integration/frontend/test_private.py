"""Private projects: those who may see one see all of it, and for everybody else nothing of it is there."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from copr_operator.builder.agent.render import repositories
from copr_operator.core import names
from copr_operator.core.wire import RepoConfig, Ticket
from copr_operator.kube import paths
from tests.integration.frontend.conftest import Whole
from tests.integration.frontend.test_cli import URL
from tests.integration.frontend.test_fuzz import routes
from tests.support.delivery import account_token
from tests.support.frontend import Person, Site
from tests.support.world import eventually

CHROOT = "debian-13-x86_64"
SECRET = {"ownername": "alice", "projectname": "secret"}

READS = (
    "/api_3/build/{id}", "/api_3/build/source-chroot/{id}", "/api_3/build/source-build-config/{id}",
    "/api_3/build/built-packages/{id}", "/api_3/build/list?ownername=alice&projectname={project}",
    "/api_3/build-chroot?build_id={id}&chrootname=" + CHROOT, "/api_3/build-chroot/{id}/" + CHROOT,
    "/api_3/build-chroot/list?build_id={id}", "/api_3/build-chroot/list/{id}",
    "/api_3/build-chroot/build-config?build_id={id}&chrootname=" + CHROOT,
    "/api_3/build-chroot/build-config/{id}/" + CHROOT,
    "/api_3/build-chroot/built-packages?build_id={id}&chrootname=" + CHROOT,
    "/api_3/project?ownername=alice&projectname={project}", "/api_3/project/list?ownername=alice",
    "/api_3/project/list", "/api_3/project/search?query={project}",
    "/api_3/project-chroot?ownername=alice&projectname={project}&chrootname=" + CHROOT,
    "/api_3/project-chroot/build-config?ownername=alice&projectname={project}&chrootname=" + CHROOT,
    "/api_3/package?ownername=alice&projectname={project}&packagename=hello",
    "/api_3/package/list?ownername=alice&projectname={project}",
    "/api_3/monitor?ownername=alice&projectname={project}", "/api_3/rpmrepo/alice/{project}/debian-13",
    "/coprs/alice/{project}/repo/debian-13", "/coprs/alice/{project}/repo/debian-13/x.repo", "/coprs/alice/{project}",
    "/coprs/build/{id}", "/backend/get-build-task/{id}-" + CHROOT,
)  # fmt: skip
"""Everything that can be read of a project without a token."""
OF_NO_PROJECT = {
    "/api_3", "/api_3/docs", "/api_3/auth-check", "/api_3/mock-chroots/list", "/api", "/results",
    "/results/{path:path}", "/healthz", "/readyz", "/metrics",
}  # fmt: skip
WITH_TOKEN = {"/api_3/project/permissions/get/{ownername}/{projectname}",
              "/api_3/project/permissions/can_build_in/{who}/{ownername}/{projectname}"}  # fmt: skip
OF_GROUPS = {"/coprs/g/{group}/{dirname}", "/coprs/g/{group}/{dirname}/repo/{release}",
             "/coprs/g/{group}/{dirname}/repo/{release}/{file}"}  # fmt: skip
WRITES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("POST", "/build/check-before-build", SECRET), ("POST", "/build/create/url", {**SECRET, "pkgs": URL}),
    ("POST", "/build/create/rubygems", {**SECRET, "gem_name": "x"}), ("PUT", "/build/cancel/{id}", None),
    ("DELETE", "/build/delete/{id}", None), ("PUT", "/project/edit/alice/secret", {}),
    ("POST", "/project/fork/alice/secret", {"name": "mine", "ownername": "bob"}),
    ("DELETE", "/project/delete/alice/secret", {"verify": True}), ("PUT", "/project/regenerate-repos/alice/secret", {}),
    ("GET", "/project/permissions/get/alice/secret", None),
    ("PUT", "/project/permissions/set/alice/secret", {"bob": {"admin": "approved"}}),
    ("PUT", "/project/permissions/request/alice/secret", {"builder": True}),
    ("GET", "/project/permissions/can_build_in/alice/alice/secret", None),
    ("PUT", f"/project-chroot/edit/alice/secret/{CHROOT}", {}),
    ("POST", "/package/add/alice/secret/x/rubygems", {"gem_name": "x"}),
    ("POST", "/package/edit/alice/secret/hello/rubygems", {"gem_name": "x"}),
    ("POST", "/package/build", {**SECRET, "package_name": "hello"}),
    ("PUT", "/package/reset", {**SECRET, "package_name": "hello"}),
    ("DELETE", "/package/delete", {**SECRET, "package_name": "hello"}), ("POST", "/webhook/generate/alice/secret", {}),
)  # fmt: skip


async def secret(whole: Whole) -> int:
    """alice/secret, which is private, with a build that has succeeded; its id."""
    site, alice = whole.site, whole.site.people["alice"]
    body = {"name": "secret", "chroots": [CHROOT], "private": True}
    made = await site.api("POST", "/project/add/alice", alice, json=body)
    assert (made.status_code, made.json()["private"]) == (200, True), made.text
    answer = await site.api("POST", "/build/create/url", alice, json={**SECRET, "pkgs": URL})
    number: int = answer.json()["items"][0]["id"]

    async def succeeded() -> bool:
        seen = await site.api("GET", f"/build/{number}", alice)
        return bool(seen.json()["state"] == "succeeded")

    await eventually(succeeded, lambda: f"the private build does not succeed: {whole.pods.errors}")
    return number


def told(answer: httpx.Response, *names: str) -> tuple[int, str]:
    """Status and body, whatever they were asked for."""
    text = answer.text
    for name in names:
        text = text.replace(name, "?")
    return answer.status_code, text


async def read(site: Site, path: str, who: Person | None) -> httpx.Response:
    return await site.http.get(path, auth=who.auth if who else None)


async def test_every_read_is_for_those_who_may_see_the_project(whole: Whole) -> None:
    site, number = whole.site, await secret(whole)
    bob, root = await site.person("bob"), await site.person("root", admin=True)
    eve = Person("eve", "a" * 20, "guess", site.url, site.directory, site.copr_cli)
    for template in READS:
        path = template.format(id=number, project="secret")
        missing = template.format(id=999999, project="nothing")
        for stranger in (None, bob, eve):
            hidden, absent = await read(site, path, stranger), await read(site, missing, stranger)
            assert told(hidden, str(number), "secret") == told(absent, "999999", "nothing"), (path, stranger)
        for friend in (site.people["alice"], root):
            shown = await read(site, path, friend)
            assert shown.status_code < 400, (path, shown.text)
            assert told(shown, str(number), "secret") != told(absent, "999999", "nothing"), path


async def test_no_endpoint_is_forgotten(site: Site) -> None:
    """A new way to read something has to be in one of the tables above."""
    listed = {path.partition("?")[0].replace("/alice/", "/{ownername}/").replace("{project}", "{projectname}")
              .replace(CHROOT, "{chrootname}") for path in READS}  # fmt: skip
    aliases = {"{task}": "{id}-{chrootname}", "{owner}": "{ownername}", "{dirname}": "{projectname}",
               "{build_id}": "{id}", "{release}": "debian-13", "{file}": "x.repo"}  # fmt: skip
    for route in routes(site):
        if "GET" in (route.methods or ()) and route.path not in OF_NO_PROJECT | WITH_TOKEN | OF_GROUPS:
            path = route.path
            for name, alias in aliases.items():
                path = path.replace(name, alias)
            assert path in listed, route.path


async def test_who_may_not_see_a_project_can_not_tell_it_from_none_by_changing_it(whole: Whole) -> None:
    site, number = whole.site, await secret(whole)
    bob = await site.person("bob")
    for method, path, body in WRITES:
        answers = []
        for project, build in (("secret", number), ("nothing", 999999)):
            sent = None if body is None else {**body, **({"projectname": project} if "projectname" in body else {})}
            asked = path.format(id=build).replace("secret", project)
            answers.append(told(await site.api(method, asked, bob, json=sent), project, str(build)))
        assert answers[0] == answers[1], path
        assert answers[0][0] == 404, path
    deleted = await site.api("DELETE", "/build/delete/list", bob, json={"builds": [number]})
    assert deleted.json()["error"] == f"Build(s) {number} don't exist.\n"
    assert (await site.api("GET", f"/build/{number}", site.people["alice"])).json()["state"] == "succeeded"


async def test_builders_admins_and_members_of_the_group_see_it(whole: Whole) -> None:
    site, number = whole.site, await secret(whole)
    alice, bob = site.people["alice"], await site.person("bob")
    for right in ({"builder": "request"}, {"builder": "approved"}, {"builder": "nothing", "admin": "approved"}):
        await site.api("PUT", "/project/permissions/set/alice/secret", alice, json={"bob": right})
        expected = 200 if "approved" in right.values() else 404
        assert (await site.api("GET", f"/build/{number}", bob)).status_code == expected, right
    carol = await site.person("carol", "ops")
    body = {"name": "ours", "chroots": [CHROOT], "private": True}
    assert (await site.api("POST", "/project/add/@ops", carol, json=body)).status_code == 200
    for path in ("/coprs/g/ops/ours/repo/debian-13", "/api_3/project?ownername=@ops&projectname=ours"):
        assert [(await read(site, path, who)).status_code for who in (carol, bob, None)] == [200, 404, 404]
    assert (await read(site, "/coprs/g/ops/ours", carol)).status_code == 302


async def test_a_project_becomes_private_and_public_again(whole: Whole) -> None:
    site, alice = whole.site, whole.site.people["alice"]
    number = await secret(whole)
    results = f"{whole.backend.url}/results/alice/secret/{CHROOT}/repodata/repomd.xml"
    assert (await site.http.get(results)).status_code == 404
    for private in (False, True):
        edited = await site.api("PUT", "/project/edit/alice/secret", alice, json={"private": private})
        assert (edited.status_code, edited.json().get("private", False)) == (200, private), edited.text
        expected = 404 if private else 200
        assert (await site.api("GET", f"/build/{number}")).status_code == expected

        async def served(expected: int = expected) -> bool:
            return (await site.http.get(results)).status_code == expected

        await eventually(served, lambda: "the store does not follow")


async def test_builds_whose_project_is_gone_are_for_administrators(whole: Whole) -> None:
    """It may have been private: nobody can say any more whose they are."""
    site, number = whole.site, await secret(whole)
    (project,) = (await site.world.kube.get(paths.copr("coprprojects", site.world.namespace)))["items"]
    await site.world.delete("coprprojects", project["metadata"]["name"])

    async def gone() -> bool:
        return (await site.api("GET", f"/build/{number}", site.people["alice"])).status_code == 404

    await eventually(gone, lambda: "a build without its project is shown")
    assert (await site.api("GET", f"/build/{number}", await site.person("root", admin=True))).status_code == 200


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copr's client (by way of requests) and wget find ~/.netrc."""
    directory = tmp_path / "home"
    directory.mkdir()
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv("WGETRC", str(directory / ".wgetrc"))
    (directory / ".wgetrc").write_text("auth_no_challenge = on\n")
    return directory


async def test_copr_cli_reads_a_private_project_with_a_netrc(home: Path, whole: Whole, tmp_path: Path) -> None:
    """Its reads carry no token of ~/.config/copr."""
    site, number = whole.site, await secret(whole)
    alice = site.people["alice"]
    refused = await alice.cli("status", str(number))
    assert (refused.code, f"Build {number} does not exist." in refused.err) == (1, True), refused
    netrc = home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login {alice.login} password {alice.token}\n")
    netrc.chmod(0o600)
    assert (await alice.cli("status", str(number))).out == "succeeded\n"
    assert (await alice.cli("watch-build", str(number))).code == 0
    assert str(number) in (await alice.cli("list-builds", "secret")).out
    target = tmp_path / "downloaded"
    downloaded = await alice.cli("download-build", str(number), "--dest", str(target))
    assert downloaded.code == 0, downloaded
    assert (target / CHROOT / "hello-2.8-1.x86_64.rpm").exists(), downloaded


async def found_by_dnf(directory: Path, repo: str) -> list[str]:
    directory.mkdir()
    (directory / "copr.repo").write_text(repo)
    command = ["dnf", "-q", "--noplugins", "--releasever=13", "--forcearch=x86_64", f"--setopt=reposdir={directory}",
               f"--setopt=cachedir={directory}/cache", "repoquery", "--qf", "%{name}.%{arch}"]  # fmt: skip
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/nonexistent"}
    )
    return sorted(done.stdout.split())


async def test_dnf_reads_it_with_username_and_password(whole: Whole, tmp_path: Path) -> None:
    site, alice = whole.site, whole.site.people["alice"]
    await secret(whole)
    repo = (await read(site, "/coprs/alice/secret/repo/debian-13/x.repo", alice)).text
    assert await found_by_dnf(tmp_path / "without", repo) == []
    signed = f"{repo}username={alice.login}\npassword={alice.token}\n"
    assert await found_by_dnf(tmp_path / "with", signed) == ["hello.src", "hello.x86_64"]
    bob = await site.person("bob")
    foreign = f"{repo}username={bob.login}\npassword={bob.token}\n"
    assert await found_by_dnf(tmp_path / "foreign", foreign) == []


async def test_the_pods_of_a_private_project_install_from_it(whole: Whole, tmp_path: Path) -> None:
    site, number = whole.site, await secret(whole)
    world = site.world
    world.kubelet.behaviour = lambda pod: None
    answer = await site.api("POST", "/build/create/url", site.people["alice"], json={**SECRET, "pkgs": URL})
    assert answer.json()["items"][0]["id"] > number

    async def pods() -> bool:
        return any(pod["status"].get("phase", "Pending") == "Pending" for pod in await world.pods())

    await eventually(pods, lambda: "no pod comes")
    pod = next(pod for pod in await world.pods() if pod["status"].get("phase", "Pending") == "Pending")
    token = await account_token(world.kube, world.namespace, "default", names.TOKEN_AUDIENCE, pod)
    headers = {"Authorization": f"Bearer {token}"}
    ticket = Ticket.model_validate_json(
        (await site.http.get(f"{whole.backend.url}/agent/v1/ticket", headers=headers)).text
    )
    own = RepoConfig(id="copr_base", baseurl=f"{whole.backend.url}/results/alice/secret/{CHROOT}/", private=True)
    assert await found_by_dnf(tmp_path / "pod", repositories([own], ticket)) == ["hello.src", "hello.x86_64"]
