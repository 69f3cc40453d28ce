"""What the untrusted scripts read, byte for byte, and what hostile values can't do to it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from copr_operator.api.chroot import ChrootRepo, ChrootSpec
from copr_operator.builder.agent.render import image_repos, lines, macros, render, repositories, settings
from copr_operator.core import names
from copr_operator.core.stepplan import step_plan
from copr_operator.core.wire import RepoConfig, StepPlan
from tests.support import builders

PlanOf = Callable[..., StepPlan]


def test_the_files_of_an_rpm_step(plan_of: PlanOf) -> None:
    plan = plan_of(
        repos=[RepoConfig(id="copr_base", baseurl="http://b/results/alice/demo/fedora-43-x86_64/")],
        dist=".fc43",
        release_ver="43",
        extra_packages=["gcc", "base >= 0.9"],
        with_opts=["docs"],
        without_opts=["tests", "x y"],
    )
    assert render(plan) == {
        "settings.sh": (
            "STEP=rpm\nBUILD_ID=42\nCHROOT=fedora-43-x86_64\nTIMEOUT=60\nENABLE_NET=0\nNETWORK_PROFILE=nested\n"
            "RELEASE_VER=43\nIMAGE_REPOS=1\nWITH_OPTS=(docs)\nWITHOUT_OPTS=(tests 'x y')\n"
        ),
        "macros": (
            "%_topdir /builddir/build\n%copr_username alice\n%copr_projectname demo\n"
            "%vendor Fedora Project COPR - user alice\n%buildtag .copr42\n%_buildhost copr-operator\n%dist .fc43\n"
        ),
        "copr.repo": (
            "[copr_base]\nname=copr_base\nbaseurl=http://b/results/alice/demo/fedora-43-x86_64/\ngpgcheck=0\nenabled=1\n"
            "skip_if_unavailable=0\nmetadata_expire=0\ncost=1\nbest=1\n"
        ),
        "packages": "gcc\nbase >= 0.9\n",
    }


def test_a_source_step_has_no_dist_tag_and_downloads_by_web_protocols_only(plan_of: PlanOf) -> None:
    text = macros(plan_of(step="source", chroot=None, dist=".fc43"))
    assert "%dist %{nil}\n" in text
    assert "%_disable_source_fetch 0\n" in text
    assert "%__urlhelper_localopts --proto -all,+https,+http,+ftps --proto-redir -all,+https,+http,+ftps" in text


def test_an_rpm_step_never_downloads_sources(plan_of: PlanOf) -> None:
    assert "_disable_source_fetch" not in macros(plan_of())


def test_a_group_is_called_a_group_in_the_vendor(plan_of: PlanOf) -> None:
    assert "%vendor Fedora Project COPR - group @kde\n" in macros(plan_of(owner="@kde"))


def test_without_a_dist_of_the_chroot_the_image_keeps_its_own(plan_of: PlanOf) -> None:
    assert "%dist" not in macros(plan_of(dist=None))


def test_a_chroot_can_add_macros_but_not_replace_those_of_copr(plan_of: PlanOf) -> None:
    text = macros(plan_of(macros={"_smp_mflags": "-j2", "vendor": "Somebody", "bad name": "x", "empty": ""}))
    assert "%_smp_mflags -j2\n" in text
    assert "%empty %{nil}\n" in text
    assert "bad name" not in text
    assert text.count("%vendor ") == 1
    assert "Somebody" not in text


@pytest.mark.parametrize("owner", ["%(touch /pwned)", "a\n%dist evil", "back\\"])
def test_an_owner_can_not_write_macros(plan_of: PlanOf, owner: str) -> None:
    text = macros(plan_of(owner=owner))
    assert "%(touch" not in text.replace("%%", "")
    assert [line.split()[0] for line in text.splitlines()] == [
        "%_topdir", "%copr_username", "%copr_projectname", "%vendor", "%buildtag", "%_buildhost",
    ]  # fmt: skip
    assert not any(line.endswith("\\") for line in text.splitlines())


HOSTILE = "x'; touch pwned; $(touch pwned) `touch pwned` \"\n)\ntouch pwned\n"


def test_settings_hold_hostile_values_as_values(plan_of: PlanOf, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    text = settings(plan_of(chroot=HOSTILE, with_opts=[HOSTILE, "b"], release_ver=HOSTILE))
    script = text + 'printf "%s\\0" "$CHROOT" "${#WITH_OPTS[@]}" "${WITH_OPTS[0]}" "$RELEASE_VER"'
    done = subprocess.run([bash, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == [HOSTILE, "2", HOSTILE, HOSTILE]
    assert list(tmp_path.iterdir()) == []


def test_a_repository_can_not_add_lines_of_its_own() -> None:
    text = repositories([RepoConfig(id="a]\nb", baseurl="http://x/\ngpgcheck=1\n[evil]\nbaseurl=file:///", priority=5)])
    assert text.splitlines()[0] == "[a__b]"
    assert text.count("baseurl=") == 2  # the second is within the first's URL
    assert [line for line in text.splitlines() if line.startswith(("[", "baseurl"))] == [
        "[a__b]",
        "baseurl=http://x/%0Agpgcheck=1%0A[evil]%0Abaseurl=file:///",
    ]
    assert text.endswith("priority=5\n")


def test_variables_and_escapes_of_a_base_url_stay_for_dnf() -> None:
    text = repositories([RepoConfig(id="a", baseurl="https://x/$releasever/$basearch/a%2Bb/")])
    assert "baseurl=https://x/$releasever/$basearch/a%2Bb/\n" in text


def test_a_repository_with_a_ca_bundle_of_its_own_names_it() -> None:
    text = repositories([RepoConfig(id="a", baseurl="https://a", ca_file="/ca.crt"), RepoConfig(id="b", baseurl="b")])
    assert [line for line in text.splitlines() if line.startswith(("[", "ssl"))] == ["[a]", "sslcacert=/ca.crt", "[b]"]


@pytest.mark.parametrize(
    ("ids", "used"),
    [((), 1), (("copr_base",), 1), (("additional_1",), 1), (("base", "copr_base"), 0), (("base", "additional_1"), 0)],
)
def test_the_images_repositories_are_used_where_the_chroot_has_none(
    plan_of: PlanOf, ids: tuple[str, ...], used: int
) -> None:
    repos = [RepoConfig(id=repo_id, baseurl="https://x/") for repo_id in ids]
    assert f"IMAGE_REPOS={used}\n" in settings(plan_of(repos=repos))


@pytest.mark.parametrize("step", [names.SOURCE_STEP, builders.D13])
@pytest.mark.parametrize("own", [(), ("base",)])
def test_whether_a_chroot_has_repositories_is_told_by_the_first_of_a_plan(step: str, own: tuple[str, ...]) -> None:
    chroot = ChrootSpec(
        name=builders.D13, image="x", arch="x86_64", repos=[ChrootRepo(id=name, baseurl="https://x/") for name in own]
    )
    source = {"type": "custom", "custom": {"script": "x", "chroot": chroot.name, "repos": ["https://y/"]}}
    build = builders.build(builders.imported(), source=source)
    project = builders.project(builders.D13, additional_repos=["https://z/"])
    observed = builders.observed(build, project=project, chroots={chroot.name: chroot})
    plan = step_plan(observed, step, 1, builders.CONFIG)
    assert len(plan.repos) > len(own)
    assert image_repos(plan) is not bool(own)


def test_repositories_keep_their_order() -> None:
    text = repositories([RepoConfig(id="b", baseurl="http://b"), RepoConfig(id="a", baseurl="http://a")])
    assert text.index("[b]") < text.index("[a]")


def test_a_value_of_several_lines_is_one_line() -> None:
    assert lines(["a\nb", " ", "c >= 1"]) == "a b\nc >= 1\n"
