"""Requests -> specs, as tables."""

from typing import Any

import pytest

from copr_operator.api.project import ProjectSpec
from copr_operator.frontend import build_forms, project_forms, source_forms
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.fields import Fields

D12, D13 = "debian-12-x86_64", "debian-13-x86_64"
PROJECT = ProjectSpec.model_validate({"owner": "alice", "name": "demo", "chroots": [{"name": D12}, {"name": D13}]})
BASE = {"owner": "alice", "project": "demo"}


@pytest.mark.parametrize(
    ("request_", "spec"),
    [
        ({}, {}),
        ({"chroots": [], "exclude_chroots": [], "progress_callback": None, "memory_reqs": 1, "unknown": {}}, {}),
        ({"chroots": None, "timeout": None, "background": None, "enable_net": None, "bootstrap": None}, {}),
        ({"chroots": [D12]}, {"chroots": [D12]}),
        ({"chroots": f"{D13} {D12}"}, {"chroots": [D13, D12]}),
        ({"chroots": [D12, D12]}, {"chroots": [D12]}),
        (
            {"chroots": ["debian-*"], "exclude_chroots": "*-12-*"},
            {"chroots": ["debian-*"], "excludeChroots": ["*-12-*"]},
        ),
        ({"timeout": "1000"}, {"timeout": 1000}),
        ({"timeout": 0}, {"timeout": 18000}),
        ({"background": True, "enable_net": "false"}, {"background": True, "enableNet": False}),
        ({"project_dirname": "demo"}, {}),
        ({"project_dirname": "demo:pr:12"}, {"projectDirname": "demo:pr:12"}),
        ({"project_dirname": "demo:custom:a-b:c"}, {"projectDirname": "demo:custom:a-b:c"}),
        ({"bootstrap": "unchanged", "isolation": "nspawn"}, {}),
    ],
)
def test_options_of_builds(request_: dict[str, Any], spec: dict[str, Any]) -> None:
    fields = Fields(request_)
    options = build_forms.options(fields, PROJECT)
    fields.check()
    assert options.spec == {**BASE, **spec}


def test_batch_options_are_numbers_also_as_strings() -> None:
    assert build_forms.options(Fields({"after_build_id": "7"}), PROJECT).after_build_id == 7
    assert build_forms.options(Fields({"with_build_id": 8}), PROJECT).with_build_id == 8


def test_forge_projects_are_kept_as_packit_names_them() -> None:
    fields = Fields({"packit_forge_projects_allowed": ["https://forge.example/a/b?x=y", "forge.example/c/*"]})
    project = project_forms.edited_project(fields, PROJECT, ())
    assert project.api_settings.packit_forge_projects_allowed == ["forge.example/a/b", "forge.example/c/*"]


@pytest.mark.parametrize(("forge", "allowed"), [("forge.example/a/b", True), ("forge.example/c/b", False)])
def test_packit_builds_for_those_whom_the_owner_allows(forge: str, allowed: bool) -> None:
    settings = {"packitForgeProjectsAllowed": ["forge.example/a/*"]}
    project = ProjectSpec.model_validate({**project_forms.dump(PROJECT), "api": settings})
    if allowed:
        build_forms.check_packit(Fields({"packit_forge_project": forge}), project)
    else:
        with pytest.raises(CoprError, match="can't build in this Copr via Packit"):
            build_forms.check_packit(Fields({"packit_forge_project": forge}), project)


@pytest.mark.parametrize(
    ("kind", "request_", "member"),
    [
        ("scm", {"clone_url": "https://x/y.git", "committish": "", "spec": "", "scm_type": None}, {"cloneURL": "https://x/y.git"}),
        ("scm", {"clone_url": "svn://x/y", "scm_type": "svn", "srpm_build_method": "tito"},
         {"cloneURL": "svn://x/y", "type": "svn", "method": "tito"}),
        ("pypi", {"pypi_package_name": "x", "python_versions": [3, "3", 3.9], "spec_template": ""},
         {"name": "x", "pythonVersions": ["3", "3", "3.9"]}),
        ("pypi", {"pypi_package_name": "x", "python_versions": "3 3.9"}, {"name": "x", "pythonVersions": ["3", "3.9"]}),
        ("rubygems", {"gem_name": "x"}, {"name": "x"}),
    ],
)  # fmt: skip
def test_sources(kind: str, request_: dict[str, Any], member: dict[str, Any]) -> None:
    fields = Fields(request_)
    read = {"scm": source_forms.scm, "pypi": source_forms.pypi, "rubygems": source_forms.rubygems}[kind]
    assert read(fields) == [{"type": kind, kind: member}]
    fields.check()


def test_the_default_dist_git_comes_first() -> None:
    (source,) = source_forms.distgit(Fields({"package_name": "x"}), ["here", "there"])
    assert source["distgit"] == {"package": "x", "instance": "here"}


@pytest.mark.parametrize(
    ("script", "stored"), [("a", "a\n"), ("a\r\nb\r\n", "a\nb\n"), ("  a\n\n", "  a\n")],
)  # fmt: skip
def test_scripts_get_unix_line_ends_and_keep_their_blanks(script: str, stored: str) -> None:
    (source,) = source_forms.custom(Fields({"script": script, "builddeps": ["a", "b"], "repos": "https://x/y"}), [])
    assert source["custom"] == {"script": stored, "builddeps": ["a", "b"], "repos": ["https://x/y"]}


def test_the_latest_fedora_is_the_one_with_the_highest_number() -> None:
    active = ["fedora-9-x86_64", "fedora-43-x86_64", "fedora-44-aarch64", "fedora-rawhide-x86_64", "epel-99-x86_64"]
    (source,) = source_forms.custom(Fields({"script": "x", "chroot": "fedora-latest-x86_64"}), active)
    assert source["custom"]["chroot"] == "fedora-43-x86_64"


# -- projects -----------------------------------------------------------------------------------------------------


def edited(old: ProjectSpec, **values: Any) -> ProjectSpec:
    return project_forms.edited_project(project_forms.fields_of(values), old, [D12, D13])


def test_a_new_project_has_what_was_given_and_the_defaults_of_copr_s_form() -> None:
    values = {"chroots": [D13], "description": None, "bootstrap": "default", "additional_repos": ["https://x/y"]}
    spec = project_forms.new_project(project_forms.fields_of(values), "alice", "demo", [D12, D13])
    assert project_forms.dump(spec) == {
        "owner": "alice",
        "name": "demo",
        "chroots": [{"name": D13}],
        "additionalRepos": ["https://x/y"],
        "api": {"appstream": False},
    }


def test_a_priority_may_be_lower_than_that_of_repositories_without_one() -> None:
    assert edited(PROJECT, repo_priority="150").api_settings.repo_priority == 150
    for priority in (0, 2**31):
        with pytest.raises(CoprError, match="repo_priority: Number must be between 1 and 2147483647"):
            edited(PROJECT, repo_priority=priority)


SETTINGS = {
    "description": "x", "instructions": "y", "homepage": "https://x.example/", "contact": "a@b.example",
    "unlisted_on_hp": True, "enable_net": True, "auto_prune": False, "bootstrap": "on", "bootstrap_image": "x:1",
    "isolation": "simple", "follow_fedora_branching": False, "devel_mode": True, "delete_after_days": 9,
    "multilib": True, "module_hotfixes": True, "fedora_review": True, "appstream": False, "repo_priority": 5,
    "runtime_dependencies": ["copr://a/b"], "packit_forge_projects_allowed": ["x/*"], "repos": ["https://x/y"],
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_survives_the_edits_of_others(name: str) -> None:
    once = edited(PROJECT, **{name: SETTINGS[name]})
    assert once != PROJECT
    rest = {other: value for other, value in SETTINGS.items() if other != name}
    assert edited(edited(once, **rest), **dict.fromkeys(SETTINGS)) == edited(PROJECT, **SETTINGS)


def test_an_edit_without_chroots_leaves_them_and_one_with_them_keeps_their_settings() -> None:
    fields = project_forms.fields_of({"additional_packages": "gcc"})
    held = project_forms.edited_chroot(fields, PROJECT, D12, comps=False)
    assert edited(held, description="x").chroots == held.chroots
    assert edited(held, chroots=[D12]).chroots == held.chroots[:1]
    assert [c.name for c in edited(held, chroots=[D13, D12]).chroots] == [D13, D12]


def test_a_chroot_that_was_disabled_may_stay_but_not_come() -> None:
    values = {"chroots": [D12, D13]}
    kept = project_forms.edited_project(project_forms.fields_of(values), PROJECT, [D13])
    assert kept.chroots == PROJECT.chroots
    with pytest.raises(CoprError, match="is not a valid choice"):
        project_forms.new_project(project_forms.fields_of(values), "alice", "x", [D13])


def test_never_to_be_deleted_is_minus_one_as_in_copr() -> None:
    days = edited(PROJECT, delete_after_days=9)
    assert edited(days, delete_after_days="-1").api_settings.delete_after_days is None


def test_chroot_settings_are_changed_and_reset() -> None:
    values = {
        "additional_packages": ["gcc", "make"],
        "additional_repos": "https://x/y",
        "with_opts": "a b",
        "without_opts": [],
        "additional_modules": "a:1,!b:2",
        "isolation": "simple",
        "bootstrap": "on",
    }
    changed = project_forms.edited_chroot(project_forms.fields_of(values), PROJECT, D12, comps=False)
    chroot = changed.chroots[0]
    assert (chroot.additional_packages, chroot.additional_repos) == (["gcc", "make"], ["https://x/y"])
    assert (chroot.with_opts, chroot.api_settings.additional_modules) == (["a", "b"], ["a:1", "!b:2"])
    reset = {"reset_fields": ["additional_packages", "isolation", "bootstrap"], "with_opts": ""}
    again = project_forms.edited_chroot(project_forms.fields_of(reset), changed, D12, comps=False).chroots[0]
    assert (again.additional_packages, again.with_opts, again.api_settings.isolation) == ([], [], "unchanged")
    assert again.additional_repos == ["https://x/y"]
    assert changed.chroots[1] == PROJECT.chroots[1]


def test_permissions_are_set_asked_for_and_taken_back() -> None:
    asked, users = project_forms.requested_permissions({"builder": True}, "bob", PROJECT)
    assert (users, [(e.user, e.builder, e.admin) for e in asked.permissions]) == (
        ["bob"],
        [("bob", "request", "nothing")],
    )
    given, users = project_forms.changed_permissions({"bob": {"builder": "approved"}}, asked)
    assert (users, given.permissions[0].builder) == (["bob"], "approved")
    assert project_forms.changed_permissions({"bob": {"builder": "approved"}}, given) == (given, [])
    with pytest.raises(CoprError, match="You already are 'builder'"):
        project_forms.requested_permissions({"builder": True}, "bob", given)
    taken, _ = project_forms.changed_permissions({"bob": {"builder": "nothing"}}, given)
    assert taken.permissions == []
