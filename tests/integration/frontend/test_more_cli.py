"""Commands of copr-cli that need little: each does what it says."""

from tests.integration.frontend.test_cli import URL, demo, ids, untouched
from tests.support.frontend import Site


async def test_who_am_i_needs_no_request(site: Site) -> None:
    assert (await site.people["alice"].cli("whoami")).out == "alice\n"


async def test_repositories_are_regenerated_when_asked(site: Site) -> None:
    alice = await demo(site)
    done = await alice.cli("regenerate-repos", "demo")
    assert (done.code, "alice/demo" in done.out) == (0, True), done


async def test_a_new_token_takes_the_place_of_the_old_one(site: Site) -> None:
    alice = site.people["alice"]
    done = await alice.cli("new-api-token")
    assert done.code == 0, done
    renewed = alice.config.read_text()
    assert alice.token not in renewed
    assert (await site.api("GET", "/auth-check", alice)).status_code == 401
    assert (await alice.cli("create", "demo", "--chroot", "debian-13-x86_64")).code == 0


async def test_a_build_into_a_directory_is_listed_with_its_project(site: Site) -> None:
    alice = await demo(site)
    (build,) = ids(await alice.cli("build", "demo:custom:ci", URL, "--nowait"))
    found = await site.until_state(build, "succeeded")
    assert (found["project_dirname"], found["repo_url"].rpartition("/")[2]) == ("demo:custom:ci", "demo")
    chroot = (await site.api("GET", f"/build-chroot/{build}/debian-13-x86_64")).json()
    assert chroot["result_url"].endswith(f"/alice/demo:custom:ci/debian-13-x86_64/{build:08d}-hello/")
    config = (await site.api("GET", f"/build-chroot/build-config?build_id={build}&chrootname=debian-13-x86_64")).json()
    assert [repo["id"] for repo in config["repos"]] == ["copr_base", "copr_coprdir"]
    directories = (await site.api("GET", "/rpmrepo/alice/demo/debian-13/")).json()["directories"]
    assert sorted(directories) == ["demo", "demo:custom:ci"]


async def test_uploading_a_finished_rpm_is_not_there_as_in_copr(site: Site) -> None:
    alice = await demo(site)
    rpm = site.directory / "hello-2.8-1.x86_64.rpm"
    rpm.write_bytes(b"x")
    done = await alice.cli("uploadrpm", "demo", str(rpm), "--nowait")
    assert (done.code, "Such API endpoint doesn't exist" in done.err) == (1, True), done


async def test_groups_own_projects(site: Site) -> None:
    carol = await site.person("carol", "ops")
    made = await carol.cli("create", "@ops/tools", "--chroot", "debian-13-x86_64")
    assert made.out == f"New project was successfully created: {site.url}/coprs/g/ops/tools/\n", made
    site.world.kubelet.behaviour = untouched
    (build,) = ids(await carol.cli("build", "@ops/tools", URL, "--nowait"))
    assert (await site.api("GET", f"/build/{build}")).json()["ownername"] == "@ops"
    refused = await site.people["alice"].cli("build", "@ops/tools", URL, "--nowait")
    assert (refused.code, "User 'alice' is not allowed to build in '@ops/tools'" in refused.err) == (7, True), refused
    text = (await site.http.get("/coprs/g/ops/tools/repo/debian-13/")).text
    assert text.startswith("[copr:localhost:group_ops:tools]\n")


async def test_an_administrator_may_do_everything_everywhere(site: Site) -> None:
    await demo(site)
    root = await site.person("root", admin=True)
    site.world.kubelet.behaviour = untouched
    (build,) = ids(await root.cli("build", "alice/demo", URL, "--nowait"))
    assert (await root.cli("cancel", str(build))).out == "canceled\n"
    assert (await root.cli("delete-build", str(build))).code == 0
    body = {"name": "kept", "chroots": ["debian-13-x86_64"], "persistent": True}
    assert (await site.api("POST", "/project/add/alice", root, json=body)).json()["persistent"] is True
    protected = await site.people["alice"].cli("delete", "kept")
    assert "This project is protected against deletion." in protected.err, protected
