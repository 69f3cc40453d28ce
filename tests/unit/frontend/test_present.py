"""CoprBuilds and CoprProjects -> what the API shows."""

import base64
import json
from typing import Any

import pytest

from copr_operator.api.project import ProjectSpec
from copr_operator.core.config import SourceSettings
from copr_operator.core.observed import ProjectView
from copr_operator.core.views import build_view
from copr_operator.frontend import present, present_project, repofile
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.monitor import monitor
from copr_operator.frontend.records import BuildRecord, build_record
from tests.support.builders import T0

RESULTS = "https://results.example"
FRONTEND = "https://copr.example"
D12, D13 = "debian-12-x86_64", "debian-13-x86_64"
TIME, EPOCH = "2026-01-01T12:00:00Z", 1767268800


def build(number: int = 42, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A CoprBuild; `status` replaces members of the status of one that was just accepted."""
    source = {"type": "link", "link": {"url": "https://x.example/hello-2.8-1.src.rpm"}}
    accepted = {
        "id": number, "state": "pending", "submittedAt": TIME, "source": {"state": "pending"},
        "chroots": [{"name": D12, "state": "pending"}, {"name": D13, "state": "pending"}],
    }  # fmt: skip
    return {
        "metadata": {"name": f"b{number}", "namespace": "ns", "uid": f"uid-{number}", "resourceVersion": "5",
                     "creationTimestamp": TIME, "managedFields": [{"x": "y" * 1000}]},
        "spec": {"owner": "alice", "project": "demo", "source": source, "submitter": "bob", **spec},
        "status": {**accepted, **(status or {})},
    }  # fmt: skip


SUCCEEDED: dict[str, Any] = {
    "state": "succeeded",
    "startedAt": TIME,
    "endedAt": TIME,
    "repoURL": f"{RESULTS}/results/alice/demo",
    "source": {
        "state": "succeeded", "startedAt": TIME, "endedAt": TIME, "package": {"name": "hello", "version": "2.8-1"},
        "srpm": {"url": f"{RESULTS}/hello.src.rpm", "sha256": "0" * 64},
    },
    "chroots": [
        {"name": D12, "state": "succeeded", "startedAt": TIME, "endedAt": TIME, "packages": 4},
        {"name": D13, "state": "skipped", "endedAt": TIME},
    ],
}  # fmt: skip


def shown(obj: dict[str, Any]) -> dict[str, Any]:
    return present.build_json(build_view(obj), RESULTS)


def test_a_build_that_was_just_accepted() -> None:
    assert shown(build()) == {
        "id": 42, "state": "pending", "ownername": "alice", "projectname": "demo", "project_dirname": "demo",
        "repo_url": f"{RESULTS}/results/alice/demo",
        "source_package": {"name": None, "version": None, "url": "https://x.example/hello-2.8-1.src.rpm"},
        "submitted_on": EPOCH, "started_on": None, "ended_on": None, "submitter": "bob", "chroots": [],
        "is_background": False,
    }  # fmt: skip


def test_a_build_that_succeeded() -> None:
    seen = shown(build(status=SUCCEEDED, background=True))
    package = {"name": "hello", "version": "2.8-1", "url": f"{RESULTS}/hello.src.rpm"}
    assert (seen["state"], seen["source_package"], seen["chroots"]) == ("succeeded", package, [D12, D13])
    assert (seen["started_on"], seen["ended_on"], seen["is_background"]) == (EPOCH, EPOCH, True)


def test_chroots_that_were_asked_for_are_shown_at_once() -> None:
    chroots = [{"name": D12, "state": "pending"}]
    assert shown(build(status={"chroots": chroots}, chroots=["debian-12-*"]))["chroots"] == [D12]
    assert shown(build(status={"chroots": chroots}, excludeChroots=[D13]))["chroots"] == [D12]


def test_the_repository_of_a_directory_is_the_projects() -> None:
    seen = shown(build(projectDirname="demo:pr:1"))
    assert (seen["project_dirname"], seen["repo_url"]) == ("demo:pr:1", f"{RESULTS}/results/alice/demo")


@pytest.mark.parametrize(
    ("state", "cancel", "seen"),
    [("pending", False, "pending"), ("running", True, "canceled"), ("importing", False, "importing"),
     ("succeeded", True, "succeeded"), ("failed", True, "failed"), ("canceled", True, "canceled")],
)  # fmt: skip
def test_the_wish_to_cancel_shows_at_once_but_changes_no_end(state: str, cancel: bool, seen: str) -> None:
    assert shown(build(status={"state": state}, cancel=cancel))["state"] == seen


@pytest.mark.parametrize(
    ("source", "chroot", "cancel", "seen"),
    [
        ("running", "pending", False, "waiting"),
        ("succeeded", "pending", False, "pending"),
        ("succeeded", "running", False, "running"),
        ("running", "pending", True, "canceled"),
        ("succeeded", "succeeded", True, "succeeded"),
    ],
)
def test_a_chroot_waits_for_the_srpm(source: str, chroot: str, cancel: bool, seen: str) -> None:
    status = {"source": {"state": source}, "chroots": [{"name": D12, "state": chroot}]}
    view = build_view(build(status=status, cancel=cancel))
    assert present.build_chroot_json(view, view.status.chroots[0], RESULTS) == {
        "name": D12, "state": seen, "started_on": None, "ended_on": None, "result_url": None,
    }  # fmt: skip


def test_result_urls_are_copr_s() -> None:
    view = build_view(build(status=SUCCEEDED, projectDirname="demo:pr:1"))
    base = f"{RESULTS}/results/alice/demo:pr:1"
    urls = [present.result_url(view, chroot, RESULTS) for chroot in view.status.chroots]
    assert urls == [f"{base}/{D12}/00000042-hello/", None]
    assert present.source_chroot_json(view, RESULTS) == {
        "state": "succeeded", "result_url": f"{base}/srpm-builds/00000042",
    }  # fmt: skip
    assert present.source_chroot_json(build_view(build()), RESULTS) == {"state": "pending", "result_url": None}


@pytest.mark.parametrize(
    ("source", "config"),
    [
        ({"type": "upload", "upload": {"ref": "key/x.spec"}}, {"url": None, "pkg": "x.spec", "tmp": "key"}),
        ({"type": "scm", "scm": {"cloneURL": "https://x/svn/y"}},
         {"type": "svn", "clone_url": "https://x/svn/y", "committish": "", "subdirectory": "", "spec": "",
          "srpm_build_method": "rpkg"}),
        ({"type": "distgit", "distgit": {"package": "x", "committish": "f43"}},
         {"clone_url": "https://src.fedoraproject.org/rpms/x.git", "distgit": "fedora", "committish": "f43"}),
        ({"type": "pypi", "pypi": {"name": "x", "pythonVersions": ["3.9"]}},
         {"pypi_package_name": "x", "pypi_package_version": "", "spec_generator": "pyp2spec", "spec_template": "",
          "python_versions": ["3.9"]}),
        ({"type": "rubygems", "rubygems": {"name": "x"}}, {"gem_name": "x"}),
        ({"type": "custom", "custom": {"script": "x\n", "builddeps": ["a", "b"]}},
         {"script": "x\n", "chroot": "", "builddeps": "a b", "resultdir": "", "repos": ""}),
    ],
    ids=lambda value: value.get("type", "") if isinstance(value, dict) else "",
)  # fmt: skip
def test_sources_are_shown_in_copr_s_words(source: dict[str, Any], config: dict[str, Any]) -> None:
    view = build_view(build(source=source, timeout=7))
    seen = present.source_build_config_json(view, view.spec.source, SourceSettings())
    assert seen == {"source_type": source["type"], "source_dict": config, "memory_limit": 2048, "timeout": 7,
                    "is_background": False}  # fmt: skip


def test_a_rerun_of_a_build_that_is_gone_shows_the_srpm_it_was_built_from() -> None:
    view = build_view(build(status=SUCCEEDED, source=None, rerunOf="b41"))
    seen = present.source_build_config_json(view, None, SourceSettings())
    assert (seen["source_type"], seen["source_dict"]) == ("link", {"url": f"{RESULTS}/hello.src.rpm"})


def test_a_record_is_small_and_has_the_whole_build_in_it() -> None:
    obj = build(status=SUCCEEDED)
    found = record(obj)
    assert found.view == build_view(obj)
    assert json.loads(found.json) == shown(obj)
    assert len(found.packed) + len(found.json) < 1500
    assert build_record({**obj, "status": {}}, RESULTS) is None


def record(obj: dict[str, Any]) -> BuildRecord:
    found = build_record(obj, RESULTS)
    assert found is not None
    return found


def test_monitor_takes_the_newest_build_of_each_chroot() -> None:
    def one(number: int, *chroots: str, state: str, package: str = "hello", **spec: Any) -> BuildRecord:
        source = {**SUCCEEDED["source"], "package": {"name": package, "version": f"{number}-1"}}
        entries = [{"name": name, "state": state} for name in chroots]
        return record(build(number, {**SUCCEEDED, "state": state, "source": source, "chroots": entries}, **spec))

    builds = [
        one(1, D12, D13, state="succeeded"),
        one(2, D13, state="failed"),
        one(3, D13, state="running", package="a"),
        one(4, D12, state="failed", projectDirname="demo:pr:1"),
        record(build(5)),
    ]
    seen = monitor(builds, "demo", (D12, D13), {"url_build", "url_build_log"}, RESULTS, FRONTEND)
    assert [package["name"] for package in seen] == ["a", "hello"]
    assert {chroot: (entry["build_id"], entry["state"], entry["status"], entry["pkg_version"])
            for chroot, entry in seen[1]["chroots"].items()} == {
        D12: (1, "succeeded", 1, "1-1"), D13: (2, "failed", 0, "2-1"),
    }  # fmt: skip
    assert seen[0]["chroots"][D13] == {
        "state": "running", "status": 3, "build_id": 3, "pkg_version": "3-1", "url_build": f"{FRONTEND}/coprs/build/3",
        "url_build_log": f"{RESULTS}/results/alice/demo/{D13}/00000003-a/builder-live.log",
    }  # fmt: skip
    assert seen[1]["chroots"][D12]["url_build_log"].endswith("/00000001-hello/builder-live.log.gz")
    (left,) = monitor(builds, "demo", (D12,), set(), RESULTS, FRONTEND)
    assert (left["name"], list(left["chroots"])) == ("hello", [D12]), "the project has no other chroot any more"


def test_what_was_taken_over_is_forked() -> None:
    entries = [
        {"name": D12, "state": "succeeded", "startedAt": TIME, "endedAt": TIME},
        {"name": D13, "state": "skipped"},
    ]
    origin = {"owner": "bob", "projectDirname": "demo", "id": 7}
    found = record(build(8, {**SUCCEEDED, "chroots": entries}, forkedFrom=origin))
    assert (found.state, found.finished) == ("forked", True)
    assert found.chroots == ((D12, "forked"), (D13, "skipped"))
    (package,) = monitor([found], "demo", (D12, D13), set(), RESULTS, FRONTEND)
    assert package["chroots"][D12]["status"] == 8
    waiting = record(build(9, forkedFrom=origin))
    assert (waiting.state, waiting.finished) == ("pending", False)


def project(*chroots: str, owner: str = "alice", **spec: Any) -> ProjectView:
    wanted = {"owner": owner, "name": "demo", "chroots": [{"name": name} for name in chroots], **spec}
    values = {"name": "p", "namespace": "ns", "uid": "u", "generation": 1, "resource_version": "1", "created": T0}
    return ProjectView(**values, spec=ProjectSpec.model_validate(wanted), status=_no_status())  # type: ignore[arg-type]


def _no_status() -> Any:
    from copr_operator.api.project import ProjectStatus

    return ProjectStatus()


def test_a_project_shows_every_key_of_copr_s() -> None:
    seen = present_project.project_json(project(D12, description="x"), RESULTS)
    assert set(seen) == {
        "id", "name", "ownername", "full_name", "description", "instructions", "homepage", "contact", "devel_mode",
        "persistent", "unlisted_on_hp", "auto_prune", "chroot_repos", "additional_repos", "enable_net", "bootstrap",
        "isolation", "module_hotfixes", "appstream", "packit_forge_projects_allowed", "follow_fedora_branching",
        "repo_priority", "storage",
    }  # fmt: skip
    assert seen["chroot_repos"] == {D12: f"{RESULTS}/results/alice/demo/{D12}/"}
    assert (seen["full_name"], seen["description"], seen["storage"]) == ("alice/demo", "x", "backend")
    assert isinstance(seen["id"], int)


def test_the_repo_file_is_what_dnf_expects() -> None:
    text = repofile.repo_file(project("fedora-43-x86_64"), "demo", "fedora-43", None, RESULTS, FRONTEND)
    assert text == (
        "[copr:copr.example:alice:demo]\nname=Copr repo for demo owned by alice\n"
        f"baseurl={RESULTS}/results/alice/demo/fedora-$releasever-$basearch/\n"
        "type=rpm-md\nskip_if_unavailable=True\ngpgcheck=0\nrepo_gpgcheck=0\nenabled=1\nenabled_metadata=1\n"
    )


@pytest.mark.parametrize(
    ("chroot", "release", "baseurl"),
    [
        ("fedora-rawhide-x86_64", "fedora-rawhide", "fedora-rawhide-$basearch"),
        ("epel-9-x86_64", "epel-9", "epel-9-$basearch"),
        ("opensuse-leap-15.6-x86_64", "opensuse-leap-15.6", "opensuse-leap-$releasever-$basearch"),
        ("debian-13-x86_64", "debian-13-x86_64", "debian-13-$basearch"),
    ],
)
def test_only_distributions_whose_releases_dnf_numbers_have_releasever(chroot: str, release: str, baseurl: str) -> None:
    text = repofile.repo_file(project(chroot), "demo:pr:1", release, None, RESULTS, FRONTEND)
    assert f"baseurl={RESULTS}/results/alice/demo:pr:1/{baseurl}/\n" in text


def test_repositories_are_shown_as_builds_use_them() -> None:
    seen = project(D12, additional_repos=["copr://bob/x?priority=5", "https://x.example/$distname/?priority=7"])
    config = present_project.chroot_build_config(seen, seen.spec.chroots[0], RESULTS)
    assert [(repo["baseurl"], repo["priority"]) for repo in config["repos"]] == [
        (f"{RESULTS}/results/alice/demo/{D12}/", None),
        (f"{RESULTS}/results/bob/x/{D12}/", 5),
        ("https://x.example/debian/", 7),
    ]


def test_a_priority_of_a_runtime_dependency_is_no_part_of_its_name_or_url() -> None:
    needed = {"runtimeDependencies": ["copr://@g/b?priority=5", "https://x.example/y?priority=7"]}
    seen = project("fedora-43-x86_64", api=needed)
    found = repofile.repo_file(seen, "demo", "fedora-43", "x86_64", RESULTS, FRONTEND)
    assert f"baseurl={RESULTS}/results/@g/b/fedora-$releasever-$basearch/\n" in found
    assert "baseurl=https://x.example/y\n" in found
    first, _ = repofile.rpmrepo(seen, [], RESULTS, FRONTEND)["dependencies"]
    assert first["data"] == {"owner": "@g", "projectname": "b"}


def test_groups_settings_and_runtime_dependencies_are_in_the_repo_file() -> None:
    api = {
        "moduleHotfixes": True,
        "repoPriority": 5,
        "runtimeDependencies": ["copr://@g/b", "https://x.example/$chroot"],
    }
    found = repofile.repo_file(
        project("fedora-43-x86_64", owner="@copr", api=api), "demo", "fedora-43", "x86_64", RESULTS, FRONTEND
    )
    assert "[copr:copr.example:group_copr:demo]" in found
    assert "module_hotfixes=1\npriority=5\n" in found
    assert f"[coprdep:copr.example:group_g:b]\nname=Copr copr.example/@copr/demo runtime dependency #1 - @g/b\n" \
           f"baseurl={RESULTS}/results/@g/b/fedora-$releasever-$basearch/" in found  # fmt: skip
    assert "[coprdep:https_x_example_chroot]" in found
    assert "baseurl=https://x.example/fedora-43-x86_64\n" in found


@pytest.mark.parametrize(("release", "arch"), [("fedora-4", None), ("fedora-43", "aarch64"), ("x", None)])
def test_dnf_is_told_which_chroots_there_are(release: str, arch: str | None) -> None:
    with pytest.raises(CoprError) as caught:
        repofile.repo_file(project("fedora-43-x86_64"), "demo", release, arch, RESULTS, FRONTEND)
    data = json.loads(base64.b64decode(caught.value.headers["Copr-Error-Data"]))
    assert (caught.value.status, data) == (404, {"available chroots": ["fedora-43-x86_64"]})


@pytest.mark.parametrize("dirname", ["demo:\n[evil]", "demo:..", "demo:a b", ""])
def test_no_directory_name_can_add_lines_to_the_repo_file(dirname: str) -> None:
    with pytest.raises(CoprError):
        repofile.repo_file(project(D13), dirname, "debian-13", None, RESULTS, FRONTEND)


def test_dnf5_gets_the_same_as_json() -> None:
    seen = repofile.rpmrepo(
        project("fedora-43-x86_64", "fedora-43-aarch64", "epel-9-x86_64"), ["demo:pr:1"], RESULTS, FRONTEND
    )
    assert seen["results_url"] == f"{RESULTS}/results"
    assert seen["repos"] == {
        "fedora-43": {"arch": {"x86_64": {"opts": {}}, "aarch64": {"opts": {}}}},
        "epel-9": {"arch": {"x86_64": {"opts": {}}}},
    }
    assert seen["directories"] == {"demo": {}, "demo:pr:1": {}}
