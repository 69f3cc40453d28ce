"""Packages through the unmodified copr-cli: defined, changed, built by name, brought by builds, deleted."""

import json
from typing import Any

from copr_operator.core.names import API_VERSION
from copr_operator.kube import paths
from tests.integration.frontend.test_cli import URL, demo, ids, untouched
from tests.support.copr_cli import Ended
from tests.support.frontend import Site


def shown(done: Ended) -> dict[str, object]:
    assert done.code == 0, done
    found: dict[str, object] = json.loads(done.out)
    return found


async def test_a_package_is_defined_changed_and_built_by_its_name(site: Site) -> None:
    alice = await demo(site)
    site.world.kubelet.behaviour = untouched
    added = await alice.cli("add-package-scm", "demo", "--name", "hello", "--clone-url", "https://git.example/hello.git",
                            "--method", "tito", "--subdir", "rpm", "--webhook-rebuild", "on", "--timeout", "77",
                            "--max-builds", "5")  # fmt: skip
    assert (added.code, added.out) == (0, "Create or edit operation was successful.\n"), added
    again = await alice.cli("add-package-pypi", "demo", "--name", "hello", "--packagename", "x")
    assert (again.code, "Package hello already exists in copr alice/demo." in again.err) == (1, True), again
    await alice.ask(lambda copr: copr.package_proxy.edit("alice", "demo", "hello", "scm", {"committish": "v2"}))
    package = shown(await alice.cli("get-package", "demo", "--name", "hello"))
    assert (package["source_type"], package["auto_rebuild"]) == ("scm", True)
    assert package["source_dict"] == {
        "type": "git", "clone_url": "https://git.example/hello.git", "committish": "v2", "subdirectory": "rpm",
        "spec": "",
        "source_build_method": "tito",
    }  # fmt: skip
    (build,) = ids(await alice.cli("build-package", "demo", "--name", "hello", "--nowait"))
    answer = (await site.api("GET", f"/build/{build}")).json()
    assert answer["chroots"] == ["debian-12-x86_64", "debian-13-x86_64"]
    assert answer["source_package"]["name"] == "hello"
    spec = await site.spec_of(build)
    assert (spec["timeout"], spec["packageName"], spec["source"]["scm"]["committish"]) == (77, "hello", "v2")
    edited = await alice.cli("edit-package-pypi", "demo", "--name", "hello", "--packagename", "hello")
    assert (edited.code, edited.out) == (0, "Create or edit operation was successful.\n"), edited
    assert shown(await alice.cli("get-package", "demo", "--name", "hello"))["source_type"] == "pypi"
    project = await site.services.reader.find_project("alice", "demo")
    assert project is not None
    obj = site.services.cache.packages_of(project)[0]
    assert (obj.spec.max_builds, obj.spec.auto_rebuild) == (5, True)


async def test_an_edit_through_the_api_keeps_what_it_does_not_name(site: Site) -> None:
    """Also what the API has no fields for, and lists whose entries have spaces in them."""
    alice = await demo(site)
    where = paths.copr("coprpackages", site.world.namespace)
    scm = {"cloneURL": "https://git.example/a.git", "credentialsSecret": "mine", "committish": "v1"}
    script = {"script": "#!/bin/sh\ntrue", "builddeps": ["foo >= 1.2", "bar"], "repos": ["https://repo.example/x"]}
    labels = {"labels": {"team": "a"}, "annotations": {"note": "b"}, "finalizers": ["example.org/mine"]}
    for name, source in {"a": {"type": "scm", "scm": scm}, "b": {"type": "custom", "custom": script}}.items():
        spec = {"owner": "alice", "project": "demo", "name": name, "autoRebuild": True, "source": source}
        meta = {"name": name, **labels}
        await site.world.kube.create(where, {"apiVersion": API_VERSION, "kind": "CoprPackage", "metadata": meta,
                                             "spec": spec})  # fmt: skip

    async def edit(name: str, kind: str, **fields: object) -> dict[str, Any]:
        await alice.ask(lambda copr: copr.package_proxy.edit("alice", "demo", name, kind, fields))
        obj = await site.world.kube.get(f"{where}/{name}")
        assert {key: obj["metadata"].get(key) for key in labels} == labels
        found: dict[str, Any] = obj["spec"]
        return found

    try:
        before = (await site.world.kube.get(f"{where}/b"))["spec"]
        assert await edit("b", "custom", max_builds=3) == {**before, "maxBuilds": 3}
        changed = (await edit("b", "custom", resultdir="out"))["source"]["custom"]
        assert changed == {**before["source"]["custom"], "resultdir": "out"}
        moved = await edit("a", "scm", committish="v2")
        assert (moved["source"]["scm"]["committish"], moved["source"]["scm"]["credentialsSecret"]) == ("v2", "mine")
        other = await edit("a", "scm", clone_url="https://elsewhere.example/a.git")
        assert "credentialsSecret" not in other["source"]["scm"], "they are for the URL that they were given for"
        gem = await edit("a", "rubygems", gem_name="rake")
        assert (gem["source"], gem["autoRebuild"]) == ({"type": "rubygems", "rubygems": {"name": "rake"}}, True)
        await alice.ask(lambda copr: copr.package_proxy.reset("alice", "demo", "a"))
        reset = await site.world.kube.get(f"{where}/a")
        assert ("source" in reset["spec"], reset["metadata"]["labels"]) == (False, {"team": "a"})
    finally:
        for name in ("a", "b"):
            await site.world.kube.patch(f"{where}/{name}", {"metadata": {"finalizers": None}})


async def test_a_deny_list_keeps_a_package_out_of_chroots(site: Site) -> None:
    alice = await demo(site)
    site.world.kubelet.behaviour = untouched
    await alice.ask(
        lambda copr: copr.package_proxy.add(
            "alice", "demo", "rails", "rubygems", {"gem_name": "rails", "chroot_denylist": "debian-12-*, fedora-*"}
        )
    )
    (build,) = ids(await alice.cli("build-package", "demo", "--name", "rails", "--nowait"))
    assert (await site.spec_of(build))["chroots"] == ["debian-13-x86_64"]
    (named,) = ids(await alice.cli("build-package", "demo", "--name", "rails", "--nowait", "-r", "debian-12-x86_64"))
    assert (await site.spec_of(named))["chroots"] == ["debian-12-x86_64"]


async def test_a_build_brings_its_package_which_can_be_reset_and_deleted(site: Site) -> None:
    alice = await demo(site)
    (build,) = ids(await alice.cli("build", "demo", URL, "--nowait"))
    await site.until_state(build, "succeeded")
    assert (await alice.cli("list-package-names", "demo")).out == "hello\n"
    command = ("get-package", "demo", "--name", "hello", "--with-latest-build", "--with-latest-succeeded-build",
               "--with-all-builds")  # fmt: skip
    package = shown(await alice.cli(*command))
    assert (package["source_type"], package["source_dict"]) == ("link", {"url": URL})
    assert [entry["id"] for entry in package["builds"]] == [build]  # type: ignore[attr-defined]
    assert (
        package["latest_build"]
        == package["latest_succeeded_build"]
        == (await site.api("GET", f"/build/{build}")).json()
    )
    (again,) = ids(await alice.cli("build-package", "demo", "--name", "hello", "--nowait"))
    assert (await site.spec_of(again))["source"] == {"type": "link", "link": {"url": URL}}
    await site.until_state(again, "succeeded")
    assert (await alice.cli("reset-package", "demo", "--name", "hello")).code == 0
    assert shown(await alice.cli("get-package", "demo", "--name", "hello"))["source_type"] == "unset"
    unset = await alice.cli("build-package", "demo", "--name", "hello", "--nowait")
    assert "Unset default source for package hello" in unset.err, unset
    deleted = await alice.cli("delete-package", "demo", "--name", "hello")
    assert (deleted.code, deleted.out) == (0, "Package hello was successfully deleted.\n"), deleted
    assert (await alice.cli("list-package-names", "demo")).out == ""
    assert (await site.api("GET", f"/build/{build}")).status_code == 404


async def test_a_fork_has_the_settings_and_the_packages_of_the_project(site: Site) -> None:
    alice, bob = await demo(site, "--description", "A demo"), await site.person("bob", "ops")
    await alice.ask(lambda copr: copr.package_proxy.add("alice", "demo", "rails", "rubygems", {"gem_name": "rails"}))
    await alice.cli("edit-permissions", "demo", "--builder", "carol")
    forked = await bob.cli("fork", "alice/demo", "mine")
    assert (forked.code, forked.out.splitlines()[0]) == (0, "Forking project alice/demo for you into bob/mine."), forked
    project = await bob.ask(lambda copr: copr.project_proxy.get("bob", "mine"))
    assert (project.description, sorted(project.chroot_repos)) == ("A demo", ["debian-12-x86_64", "debian-13-x86_64"])
    assert (await bob.cli("list-package-names", "mine")).out == "rails\n"
    assert "No permissions set on bob/mine project" in (await bob.cli("list-permissions", "mine")).err
    again = await bob.cli("fork", "alice/demo", "mine")
    assert "Please use --confirm if you really want to do this" in again.err, again
    assert (await bob.cli("fork", "alice/demo", "mine", "--confirm")).code == 0
    assert (await bob.cli("fork", "alice/demo", "@ops/mine")).code == 0
    foreign = await bob.cli("fork", "alice/demo", "@others/mine")
    assert (foreign.code, "There is no such group: @others" in foreign.err) == (1, True), foreign
