"""The unmodified copr-cli as a process: what people type, what they read, exit codes (contract 1.5, 2.3, 8.1)."""

import pytest

from copr_operator.kube import paths
from tests.support.copr_cli import Ended
from tests.support.fake_kubelet import Status, fail_build
from tests.support.frontend import RESULTS, Person, Site

URL = "http://sources.example/hello-2.8-1.src.rpm"


def untouched(_pod: dict[str, object]) -> Status | None:
    """A pod that is never scheduled."""
    return None


def ids(done: Ended) -> list[int]:
    """What people and scripts read from `copr-cli build`."""
    assert done.code == 0, done
    line = next(line for line in done.out.splitlines() if line.startswith("Created builds: "))
    return [int(word) for word in line.removeprefix("Created builds: ").split()]


async def demo(site: Site, *options: str) -> Person:
    """alice, who has a project called demo."""
    alice = site.people["alice"]
    made = await alice.cli("create", "demo", "--chroot", "debian-12-x86_64", "--chroot", "debian-13-x86_64", *options)
    assert made.out == f"New project was successfully created: {site.url}/coprs/alice/demo/\n", made
    return alice


async def test_a_person_builds_from_an_url_and_watches_it(site: Site) -> None:
    alice = await demo(site)
    (build,) = ids(await alice.cli("build", "demo", URL, "--nowait", "--timeout", "1000", "--background"))
    await site.until_state(build, "succeeded")
    watched = await alice.cli("watch-build", str(build))
    assert (watched.code, watched.out.splitlines()[-1].split()[-1]) == (0, "succeeded"), watched
    assert (await alice.cli("status", str(build))).out == "succeeded\n"
    spec = await site.spec_of(build)
    assert (spec["timeout"], spec["background"], spec["submitter"]) == (1000, True, "alice")


async def test_several_builds_one_after_the_other_and_together(site: Site) -> None:
    alice = await demo(site)
    site.world.kubelet.behaviour = untouched
    first, second = ids(await alice.cli("build", "demo", URL, URL, "--nowait", "--chroot", "debian-13-*"))
    assert first != second
    (after,) = ids(await alice.cli("build", "demo", URL, "--nowait", "--after-build-id", str(first)))
    (beside,) = ids(await alice.cli("build", "demo", URL, "--nowait", "--with-build-id", str(after)))
    names = {number: site.services.cache.builds[number].name for number in (first, after)}
    assert (await site.spec_of(after))["afterBuild"] == names[first]
    assert (await site.spec_of(beside))["withBuild"] == names[after]
    assert (await site.spec_of(second))["chroots"] == ["debian-13-*"]


@pytest.mark.parametrize(
    ("command", "source"),
    [
        (("buildpypi", "demo", "--packagename", "requests", "--packageversion", "1.0", "--pythonversions", "3"),
         {"type": "pypi", "pypi": {"name": "requests", "version": "1.0", "pythonVersions": ["3"],
                                   "specGenerator": "pyp2spec"}}),
        (("buildgem", "demo", "--gem", "rails"), {"type": "rubygems", "rubygems": {"name": "rails"}}),
        (("buildscm", "demo", "--clone-url", "https://git.example/hello.git", "--commit", "v1", "--subdir", "rpm",
          "--method", "tito"),
         {"type": "scm", "scm": {"type": "git", "cloneURL": "https://git.example/hello.git", "committish": "v1",
                                 "subdirectory": "rpm", "method": "tito"}}),
        (("build-distgit", "demo", "--name", "hello", "--commit", "f43"),
         {"type": "distgit", "distgit": {"package": "hello", "instance": "fedora", "committish": "f43"}}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
async def test_every_other_source(site: Site, command: tuple[str, ...], source: dict[str, object]) -> None:
    alice = await demo(site)
    site.world.kubelet.behaviour = untouched
    (build,) = ids(await alice.cli(*command, "--nowait"))
    assert (await site.spec_of(build))["source"] == source


async def test_a_script_becomes_a_custom_source(site: Site) -> None:
    alice = await demo(site)
    site.world.kubelet.behaviour = untouched
    script = site.directory / "script.sh"
    script.write_text("#!/bin/sh\necho hello\n")
    command = ("buildcustom", "demo", "--script", str(script), "--script-builddeps", "gcc make", "--nowait",
               "--script-chroot", "debian-13-x86_64")  # fmt: skip
    (build,) = ids(await alice.cli(*command))
    assert (await site.spec_of(build))["source"]["custom"] == {
        "script": "#!/bin/sh\necho hello\n", "builddeps": ["gcc", "make"], "chroot": "debian-13-x86_64",
    }  # fmt: skip


async def test_failed_and_canceled_builds_end_a_watch_with_4(site: Site) -> None:
    alice = await demo(site)
    site.world.kubelet.behaviour = fail_build
    (failed,) = ids(await alice.cli("build", "demo", URL, "--nowait"))
    await site.until_state(failed, "failed")
    watched = await alice.cli("watch-build", str(failed))
    assert (watched.code, watched.err) == (4, f"\nBuild error: Build(s) {failed} failed.\n"), watched
    site.world.kubelet.behaviour = untouched
    (going,) = ids(await alice.cli("build", "demo", URL, "--nowait"))
    canceled = await alice.cli("cancel", str(going))
    assert (canceled.code, canceled.out) == (0, "canceled\n"), canceled
    again = await alice.cli("cancel", str(going))
    assert (again.code, again.err) == (1, f"\nSomething went wrong:\nError: Cannot cancel build {going}\n"), again
    assert (await alice.cli("watch-build", str(going))).code == 4


async def test_builds_are_listed_over_several_pages_and_deleted(site: Site) -> None:
    alice = await demo(site)
    site.world.kubelet.behaviour = untouched
    built = sorted(ids(await alice.cli("build", "demo", *[URL] * 7, "--nowait")))
    listed = await alice.cli("list-builds", "demo", "--output-format", "text-row")
    assert [int(line.split()[0]) for line in listed.out.splitlines()] == built[::-1], listed
    paged = await alice.ask(lambda copr: _all_pages(copr, limit=3))
    assert paged == built[::-1]
    for number in built[:2]:
        await alice.cli("cancel", str(number))
    deleted = await alice.cli("delete-build", *map(str, built[:2]))
    assert deleted.code == 0, deleted
    running = await alice.cli("delete-build", str(built[2]), "999999")
    assert running.code == 1
    assert f"Build(s) {built[2]} are still running." in running.err, running
    assert "Build(s) 999999 don't exist." in running.err, running
    assert (await alice.cli("status", str(built[0]))).code == 1


def _all_pages(copr: object, limit: int) -> list[int]:
    """As copr-cli pages: until a page is empty."""
    from copr.v3.pagination import next_page

    proxy = copr.build_proxy  # type: ignore[attr-defined]
    page = proxy.get_list("alice", "demo", pagination={"limit": limit})
    found: list[int] = []
    while page:
        found += [build.id for build in page]
        page = next_page(page)
    return found


async def test_a_project_is_shown_changed_listed_and_deleted(site: Site) -> None:
    alice = await demo(site, "--description", "A demo", "--instructions", "None.", "--repo", "copr://alice/other",
                       "--enable-net", "on")  # fmt: skip
    shown = await alice.cli("get", "demo")
    for text in ("Name: demo", "Description: A demo", f"x86_64: {RESULTS}/results/alice/demo/debian-12-x86_64/",
                 "Additional repo: copr://alice/other"):  # fmt: skip
        assert text in shown.out, shown
    again = await alice.cli("create", "demo", "--chroot", "debian-12-x86_64")
    assert (again.code, again.err) == (
        1, "\nSomething went wrong:\nError: name: You already have a project named 'demo'.\n",
    ), again  # fmt: skip
    unknown = await alice.cli("create", "other", "--chroot", "debian-99-x86_64")
    assert "chroots: 'debian-99-x86_64' is not a valid choice for this field." in unknown.err, unknown
    changed = await alice.cli("modify", "demo", "--description", "Another", "--enable-net", "off", "--chroot",
                              "debian-13-x86_64", "--repo-priority", "9")  # fmt: skip
    assert changed.code == 0, changed
    project = await alice.ask(lambda copr: copr.project_proxy.get("alice", "demo"))
    assert (project.description, project.enable_net, list(project.chroot_repos), project.repo_priority) == (
        "Another", False, ["debian-13-x86_64"], 9,
    )  # fmt: skip
    assert project.instructions == "None."
    listed = await alice.cli("list")
    assert "Name: demo" in listed.out, listed
    await alice.ask(lambda copr: copr.package_proxy.add("alice", "demo", "rails", "rubygems", {"gem_name": "rails"}))
    page = await site.http.get("/coprs/alice/demo/")
    assert (page.status_code, page.headers["Location"]) == (302, f"{RESULTS}/results/alice/demo/")
    deleted = await alice.cli("delete", "demo")
    assert (deleted.code, deleted.out) == (0, "Project demo has been deleted.\n"), deleted
    assert (await alice.cli("get", "demo")).code == 1
    left = [
        await site.world.kube.get(paths.copr(plural, site.world.namespace)) for plural in ("coprbuilds", "coprpackages")
    ]
    assert [obj["items"] for obj in left] == [[], []]


async def test_chroots_are_listed_shown_and_changed(site: Site) -> None:
    alice = await demo(site)
    listed = await alice.cli("list-chroots")
    assert listed.out.split() == ["debian-12-x86_64", "debian-13-x86_64"], listed
    name = "demo/debian-13-x86_64"
    changed = await alice.cli("edit-chroot", name, "--packages", "gcc make", "--repos", "https://repo.example/x",
                              "--rpmbuild-with", "docs", "--isolation", "simple")  # fmt: skip
    assert changed.code == 0, changed
    shown = await alice.ask(lambda copr: copr.project_chroot_proxy.get("alice", "demo", "debian-13-x86_64"))
    assert (shown.additional_packages, shown.additional_repos) == (["gcc", "make"], ["https://repo.example/x"])
    assert (shown.with_opts, shown.isolation) == (["docs"], "simple")
    assert (await alice.cli("edit-chroot", name, "--reset", "additional_packages")).code == 0
    shown = await alice.ask(lambda copr: copr.project_chroot_proxy.get("alice", "demo", "debian-13-x86_64"))
    assert (shown.additional_packages, shown.with_opts) == ([], ["docs"])
    mock = await alice.cli("mock-config", "demo", "debian-13-x86_64")
    assert (mock.code, f"{RESULTS}/results/alice/demo/debian-13-x86_64/" in mock.out) == (0, True), mock
    unknown = await alice.cli("get-chroot", "demo/debian-99-x86_64")
    assert "Chroot debian-99-x86_64 does not exist in alice/demo." in unknown.err, unknown


async def test_permissions_let_others_build(site: Site) -> None:
    alice, bob = await demo(site), await site.person("bob")
    refused = await bob.cli("build", "alice/demo", URL, "--nowait")
    assert (refused.code, "User 'bob' is not allowed to build in 'alice/demo'" in refused.err) == (7, True), refused
    assert (await bob.cli("request-permissions", "alice/demo", "--builder")).code == 0
    listed = await alice.cli("list-permissions", "demo")
    assert "bob" in listed.out, listed
    assert (await alice.cli("edit-permissions", "demo", "--builder", "bob")).code == 0
    site.world.kubelet.behaviour = untouched
    (build,) = ids(await bob.cli("build", "alice/demo", URL, "--nowait"))
    assert (await site.spec_of(build))["submitter"] == "bob"
    assert (await bob.cli("cancel", str(build))).out == "canceled\n"
    forbidden = await bob.cli("delete-build", str(build))
    assert f"You don't have permissions to delete build(s) {build}." in forbidden.err, forbidden


async def test_monitor_shows_the_newest_build_of_each_package_in_each_chroot(site: Site) -> None:
    alice = await demo(site)
    for _ in range(2):
        (build,) = ids(await alice.cli("build", "demo", URL, "--nowait"))
        await site.until_state(build, "succeeded")
    shown = await alice.cli("monitor", "demo", "--output-format", "text-row", "--fields",
                            "name,chroot,build_id,state,pkg_version")  # fmt: skip
    assert shown.out.splitlines() == [
        f"hello\tdebian-{number}-x86_64\t{build}\tsucceeded\t2.8-1" for number in (12, 13)
    ], shown


async def test_wrong_logins_are_told_so(site: Site) -> None:
    await demo(site)
    eve = Person("eve", "a" * 20, "wrong", site.url, site.directory, site.copr_cli)
    eve.config.write_text(
        f"[copr-cli]\nlogin = {eve.login}\nusername = eve\ntoken = wrong\ncopr_url = {site.url}\nencrypted = false\n"
    )
    refused = await eve.cli("build", "alice/demo", URL, "--nowait")
    assert (refused.code, "Login invalid/expired. Please visit" in refused.err) == (1, True), refused
    assert (await eve.cli("get", "alice/demo")).code == 0, "reading needs no login"
