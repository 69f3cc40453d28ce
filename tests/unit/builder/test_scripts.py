"""The shell scripts say the same numbers and paths as the Python side; they can't import them."""

import re
import shutil
import subprocess
from importlib.resources import files
from typing import get_args

import pytest

from copr_operator.builder.agent.collect import OTHER_LOGS
from copr_operator.builder.agent.render import BUILDER_TOPDIR, settings
from copr_operator.core import names
from copr_operator.core.wire import (
    WRAPPER_REASONS,
    CustomSource,
    DistGitSource,
    LinkSource,
    PypiSource,
    RubyGemsSource,
    ScmSource,
    StepSource,
    UploadSource,
    WrapperExit,
)
from tests.unit.builder.conftest import make_plan

SCRIPTS = {
    script.name: script.read_text()
    for script in files("copr_operator.builder").joinpath("scripts").iterdir()
    if script.name.endswith(".sh")
}
EVERYTHING = "\n".join(SCRIPTS.values())


def test_the_exit_codes_are_those_of_the_contract() -> None:
    written = {name: int(code) for name, code in re.findall(r"\bEXIT_([A-Z_]+)=(\d+)", SCRIPTS["lib.sh"])}
    assert written == {code.name: code.value for code in WrapperExit if code is not WrapperExit.OK}


def test_the_wrapper_passes_on_every_exit_code_that_has_a_reason() -> None:
    # main.sh takes a step's code from the lowest to the highest one of these for an end it knows.
    assert sorted(WRAPPER_REASONS) == list(range(WrapperExit.SRPM_INVALID, WrapperExit.NO_LICENSE + 1))
    assert (
        f"CODE < EXIT_{WrapperExit.SRPM_INVALID.name} || CODE > EXIT_{WrapperExit.NO_LICENSE.name}"
        in SCRIPTS["main.sh"]
    )


@pytest.mark.parametrize("path", [names.IN_DIR, names.OUT_DIR, names.END_FIFO, names.LIVE_LOG, *OTHER_LOGS])
def test_the_paths_are_those_of_the_contract(path: str) -> None:
    assert path in EVERYTHING


def test_the_build_directory_is_the_macros_topdir() -> None:
    home = re.search(r"readonly BUILDER_HOME=(\S+)", SCRIPTS["lib.sh"])
    assert home is not None
    assert f"{home[1]}/build" == BUILDER_TOPDIR
    assert "readonly TOPDIR=$BUILDER_HOME/build" in SCRIPTS["lib.sh"]


METHODS = ScmSource.model_fields["method"].annotation
GENERATORS = PypiSource.model_fields["generator"].annotation
SOURCES: tuple[StepSource, ...] = (
    LinkSource(url="https://x.example/a.spec"),
    UploadSource(ref="r/a.spec"),
    *(ScmSource(scm="git", clone_url="https://x.example/a", method=method) for method in get_args(METHODS)),
    DistGitSource(package="a", clone_url="https://x.example/a", lookaside_url="https://x.example/"),
    *(PypiSource(name="a", generator=tool, template="fedora", index_url="https://x") for tool in get_args(GENERATORS)),
    RubyGemsSource(name="a", gem_source="https://x.example/"),
    CustomSource(script="true"),
)


@pytest.mark.parametrize("source", [None, *SOURCES], ids=lambda source: getattr(source, "type", "rpm"))
def test_every_setting_is_used_and_every_method_has_a_script(source: StepSource | None) -> None:
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", settings(make_plan(source=source)), re.MULTILINE))
    for name in values:
        assert re.search(rf"\b{name}\b", EVERYTHING), name
    assert {"source.sh", "rpm.sh"} <= set(SCRIPTS)
    if source is not None:
        assert "make_srpm()" in SCRIPTS[f"source-{values['METHOD']}.sh"]


def test_every_script_of_a_method_is_some_sources() -> None:
    texts = "".join(settings(make_plan(source=source)) for source in SOURCES)
    methods = re.findall(r"^METHOD=(\S+)$", texts, re.MULTILINE)
    assert {name for name in SCRIPTS if name.startswith("source-")} == {f"source-{method}.sh" for method in methods}


def test_a_password_of_a_url_is_not_for_the_scripts() -> None:
    source = ScmSource(scm="git", clone_url="https://me:s3cret@x.example:8443/a?b", method="rpkg")
    assert "CLONE_URL='https://me@x.example:8443/a?b'" in settings(make_plan(source=source))


CAPABILITIES = (
    "gcc", "gcc-c++ >= 1:4.0", "libstdc++.so.6(GLIBCXX_3.4)(64bit)", "perl(Foo::Bar)", "mvn(org.apache:parent:pom:)",
    "npm(@scope/name)", "font(:lang=en)", "python3dist(requests[security]) >= 2", "/usr/bin/x", "rpm", "rpm-build",
    "pkgconfig(x) < 3~rc1^git", "(a or b)", "((a >= 1 with a < 2) if b else /usr/bin/c)", "golang(github.com/a/b.v1)",
)  # fmt: skip
OTHERS = (
    "/sources/evil-1-1.noarch.rpm", "evil-1-1.noarch.rpm", "./evil.rpm", "evil.RPM", "evil.rpm >= 1", "x = 1.rpm",
    "https://x.example/evil", "HTTPS://x.example/evil", "file:///evil", "file:/evil", "http:x", "ftp:x", "ht\ttp:x",
    "\x01http:x", "(x)://y", "@buildsys", "@^everything", "-x", "--setopt=reposdir=/sources", "--installroot=/x",
    "foo*", "/usr/bin/fo?", "*", ".", "./x", "", " x", "=1", "x\\y", "x\\",
)  # fmt: skip


@pytest.mark.parametrize(
    ("requirement", "wanted"), [*((text, True) for text in CAPABILITIES), *((text, False) for text in OTHERS)]
)
def test_only_capabilities_of_a_users_package_get_to_the_package_manager(requirement: str, wanted: bool) -> None:
    # A forged header may hold what rpmbuild would refuse in a spec.
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    script = f'OUT_DIR=/\n{SCRIPTS["packages.sh"]}\nis_capability "$0"'
    assert (subprocess.run([bash, "-c", script, requirement], check=False).returncode == 0) is wanted


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_is_valid_bash(name: str) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    done = subprocess.run([bash, "-n"], input=SCRIPTS[name], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_shellcheck_has_no_complaint(name: str) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("no shellcheck on this machine")
    # SC2034: what lib.sh defines is used by the others; SC1091: they are sourced from the pod's paths.
    done = subprocess.run(
        [shellcheck, "--exclude=SC2034,SC1091", "--shell=bash", "-"],
        input=SCRIPTS[name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
