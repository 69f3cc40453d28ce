"""What an edit of a package's source makes of the old one."""

from typing import Any

import pytest

from copr_operator.api.sources import SourceSpec
from copr_operator.frontend import source_forms
from copr_operator.frontend.errors import CoprError, form_error
from copr_operator.frontend.fields import Fields
from copr_operator.frontend.packages import edited_source

URL = "https://git.example/a.git"
SCM = {"type": "scm", "scm": {"cloneURL": URL, "credentialsSecret": "mine", "spec": "a.spec", "method": "tito"}}
CUSTOM = {
    "type": "custom",
    "custom": {"script": "#!/bin/sh", "chroot": "debian-12-x86_64", "builddeps": ["foo >= 1.2", "b"], "repos": []},
}


def edit(old: dict[str, Any], **given: Any) -> dict[str, Any]:
    fields = Fields(given, form_error)
    (new,) = source_forms.scm(fields) if old["type"] == "scm" else source_forms.custom(fields, [])
    fields.forgive_absent()
    fields.check()
    return dict(edited_source(SourceSpec.model_validate(old), new, given))


@pytest.mark.parametrize("old", [SCM, CUSTOM], ids=["scm", "custom"])
def test_what_is_not_given_stays_as_it_is(old: dict[str, Any]) -> None:
    """Also what the form would refuse today, like a chroot that is disabled since."""
    assert edit(old) == old


def test_what_is_given_is_changed_and_what_is_given_empty_goes() -> None:
    assert edit(SCM, committish="v2", spec="")["scm"] == {
        "cloneURL": URL, "credentialsSecret": "mine", "method": "tito", "committish": "v2",
    }  # fmt: skip
    assert edit(CUSTOM, builddeps="x y")["custom"]["builddeps"] == ["x", "y"]
    assert "builddeps" not in edit(CUSTOM, builddeps="")["custom"]


@pytest.mark.parametrize(("url", "kept"), [(URL, True), (f"{URL}/", False), ("https://x.example/a.git", False)])
def test_credentials_stay_with_their_url(url: str, kept: bool) -> None:
    assert ("credentialsSecret" in edit(SCM, clone_url=url)["scm"]) == kept


def test_a_source_of_another_type_keeps_nothing() -> None:
    new = {"type": "rubygems", "rubygems": {"name": "rake"}}
    assert edited_source(SourceSpec.model_validate(SCM), new, {"gem_name"}) == new
    assert edited_source(None, new, {"gem_name"}) == new


def test_what_is_given_wrong_is_refused() -> None:
    for given in ({"clone_url": ""}, {"clone_url": "nonsense"}, {"srpm_build_method": "x"}):
        with pytest.raises(CoprError):
            edit(SCM, **given)


def test_the_name_in_a_dist_git_stays_although_requests_name_the_package() -> None:
    old = {"type": "distgit", "distgit": {"package": "other", "instance": "gone", "committish": "f43"}}
    fields = Fields({"package_name": "hello", "committish": "f44"})
    (new,) = source_forms.distgit(fields, ["fedora"])
    changed = edited_source(SourceSpec.model_validate(old), new, {"package_name", "committish"})
    assert changed["distgit"] == {"package": "other", "instance": "gone", "committish": "f44"}
