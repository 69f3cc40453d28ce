"""The scripts of the source step, run for real as a pod's wrapper runs them: one SRPM, or a reason."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from copr_operator.core.wire import (
    CustomSource,
    DistGitSource,
    PypiSource,
    RepoConfig,
    RubyGemsSource,
    ScmSource,
    StepSource,
    UploadSource,
    WrapperExit,
)
from tests.support.build_container import BuildContainer, Run
from tests.support.package_index import PackageIndex, package_index
from tests.support.scm_servers import commit, git
from tests.unit.builder.conftest import make_plan

SPEC = """Name: hello
Version: 1.0
Release: 1
Summary: Says hello
License: MIT
BuildArch: noarch
Source0: hello.txt
%description
Says hello.
%files
"""

Start = Callable[..., BuildContainer]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A prepared container for a source; `repository`: what fetch has cloned."""

    def make(
        source: StepSource, repository: Path | None = None, programs: dict[str, str] | None = None, **plan: Any
    ) -> BuildContainer:
        limits = {"timeout": 100}
        made = make_plan(step="source", chroot=None, source=source, enable_net=True, limits=limits, **plan)
        container = BuildContainer(tmp_path / "pod", made, programs or {})
        container.prepare()
        if repository is not None:
            subprocess.run(["cp", "-a", repository, container.home / "in/source/repository"], check=True)
        return container

    return make


def scm(method: str, **fields: Any) -> ScmSource:
    return ScmSource.model_validate(
        {"scm": "git", "clone_url": "https://git.example/hello.git", "method": method, **fields}
    )


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    repository = tmp_path / "hello"
    commit(repository, {"hello.spec": SPEC, "hello.txt": "hello\n"})
    return repository


def assert_failed(run: Run, code: WrapperExit, *words: str) -> None:
    assert run.code == code, run.log
    for word in words:
        assert word in run.log
    assert run.files == []


def assert_hello(run: Run, *files: str) -> None:
    assert run.code == 0, run.log
    assert run.files == list(files or ("hello-1.0-1.src.rpm", "hello.spec"))


# -- link and upload ---------------------------------------------------------------------------------------------------


def test_a_spec_becomes_an_srpm(start: Start) -> None:
    container = start(UploadSource(ref="r/hello.spec"))
    (container.home / "in/source/hello.spec").write_text(SPEC.replace("Source0: hello.txt\n", ""))
    assert_hello(container.run())


def test_a_spec_whose_source_can_not_be_had_is_the_sources_failure(start: Start) -> None:
    container = start(UploadSource(ref="r/hello.spec"))
    (container.home / "in/source/hello.spec").write_text(SPEC.replace("hello.txt", "http://127.0.0.1:1/hello.txt"))
    assert_failed(container.run(), WrapperExit.SOURCE_FAILED, "rpmbuild -bs failed")


def test_an_srpm_without_its_sources_is_refused_whatever_it_is_called(start: Start, tmp_path: Path) -> None:
    nosrc = tmp_path / "nosrc"
    (nosrc / "SPECS").mkdir(parents=True)
    (nosrc / "SPECS/hello.spec").write_text(SPEC.replace("Source0: hello.txt", "Source0: hello.txt\nNoSource: 0"))
    command = ["rpmbuild", "-bs", "--quiet", "--define", f"_topdir {nosrc}", "--define", f"_sourcedir {nosrc}"]
    (nosrc / "hello.txt").write_text("x")
    subprocess.run([*command, str(nosrc / "SPECS/hello.spec")], check=True)
    container = start(UploadSource(ref="r/hello-1.0-1.src.rpm"))
    (nosrc / "SRPMS/hello-1.0-1.nosrc.rpm").rename(container.home / "in/source/hello-1.0-1.src.rpm")
    assert_failed(container.run(), WrapperExit.SRPM_INVALID, "does not hold all its sources (nosrc)")


# -- make_srpm ---------------------------------------------------------------------------------------------------------

MAKEFILE = """srpm:
\tid -u; pwd
\tcp hello.txt $(dir $(outdir))SOURCES/
\trpmbuild -bs --define "_sourcedir $(dir $(outdir))SOURCES" --define "_srcrpmdir $(outdir)" $(spec)
"""


def test_make_srpm_runs_the_makefile_of_the_root_in_the_subdirectory_as_the_build_user(
    start: Start, tmp_path: Path
) -> None:
    repository = tmp_path / "hello"
    commit(repository, {".copr/Makefile": MAKEFILE, "rpm/hello.spec": SPEC, "rpm/hello.txt": "x\n"})
    run = start(scm("make_srpm", subdirectory="rpm", spec="rpm/hello.spec"), repository).run()
    assert_hello(run)
    assert "\n1000\n/builddir/repository/rpm\n" in run.log


def test_make_srpm_without_a_spec_gets_the_directory(start: Start, hello: Path) -> None:
    commit(hello, {".copr/Makefile": "srpm:\n\techo spec=$(spec) outdir=$(outdir)\n"})
    run = start(scm("make_srpm"), hello).run()
    assert_failed(run, WrapperExit.NO_SRPM, "spec=/builddir/repository outdir=/builddir/build/SRPMS")


@pytest.mark.parametrize(
    ("files", "source", "code", "words"),
    [
        ({}, {}, WrapperExit.SOURCE_FAILED, "no .copr/Makefile at its root"),
        ({".copr/Makefile": "srpm:\n\texit 7\n"}, {}, WrapperExit.SOURCE_FAILED, "make srpm failed (exit code 2)"),
        ({".copr/Makefile": "other:\n"}, {}, WrapperExit.SOURCE_FAILED, "No rule to make target 'srpm'"),
        ({".copr/Makefile": "srpm:\n\ttrue\n"}, {}, WrapperExit.NO_SRPM, "made no SRPM"),
        (
            {".copr/Makefile": "srpm:\n\ttouch $(outdir)/a-1-1.src.rpm $(outdir)/b-1-1.src.rpm\n"}, {},
            WrapperExit.SEVERAL_SRPMS, "made 2 SRPMs: a-1-1.src.rpm b-1-1.src.rpm",
        ),
        (
            {".copr/Makefile": "srpm:\n\techo x > $(outdir)/a-1-1.src.rpm\n"}, {},
            WrapperExit.SRPM_INVALID, "not a readable RPM",
        ),
        (
            {".copr/Makefile": "srpm:\n\tln -s /etc/passwd $(outdir)/a-1-1.src.rpm\n"}, {},
            WrapperExit.NO_SRPM, "no plain file",
        ),
        ({".copr/Makefile": "srpm:\n"}, {"spec": "nope.spec"}, WrapperExit.NO_SPEC, "no file 'nope.spec'"),
    ],
)  # fmt: skip
def test_make_srpm_fails_with_a_reason(
    start: Start, hello: Path, files: dict[str, str], source: dict[str, str], code: WrapperExit, words: str
) -> None:
    commit(hello, files)
    assert_failed(start(scm("make_srpm", **source), hello).run(), code, words)


def test_a_directory_that_leads_out_of_the_repository_is_refused(start: Start, hello: Path) -> None:
    (hello / "out").symlink_to("/etc")
    commit(hello, {".copr/Makefile": "srpm:\n\ttrue\n"})
    assert_failed(
        start(scm("make_srpm", subdirectory="out"), hello).run(), WrapperExit.SOURCE_FAILED, "leads out of its root"
    )


# -- tito --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def titos(tmp_path: Path) -> Path:
    """A repository that `tito init` and `tito tag` have been run in, and one commit after the tag."""
    repository = tmp_path / "hello"
    tito = {"[buildconfig]": "builder = tito.builder.Builder\ntagger = tito.tagger.VersionTagger\n"}
    props = "".join(f"{section}\n{text}" for section, text in tito.items())
    spec = SPEC.replace("hello.txt", "%{name}-%{version}.tar.gz")
    commit(repository, {"hello.spec": spec, ".tito/tito.props": props, ".tito/packages/hello": "1.0-1 ./\n"})
    git(repository, "tag", "-a", "-m", "hello 1.0-1", "hello-1.0-1")
    commit(repository, {"more.txt": "after the tag\n"})
    return repository


def test_tito_builds_the_latest_tag(start: Start, titos: Path) -> None:
    assert_hello(start(scm("tito"), titos).run())


def test_tito_test_builds_the_commit(start: Start, titos: Path) -> None:
    run = start(scm("tito_test"), titos).run()
    assert run.code == 0, run.log
    (srpm,) = [name for name in run.files if name.endswith(".src.rpm")]
    assert srpm.startswith("hello-1.0-1.git.1.")


def test_tito_fails_with_its_own_words_where_nothing_was_tagged(start: Start, hello: Path) -> None:
    assert_failed(start(scm("tito"), hello).run(), WrapperExit.SOURCE_FAILED, "tito build failed")


def test_tito_test_fails_with_its_own_words_where_there_is_no_spec(start: Start, hello: Path) -> None:
    (hello / "hello.spec").unlink()
    commit(hello, {})
    assert_failed(start(scm("tito_test"), hello).run(), WrapperExit.SOURCE_FAILED, "tito build --test failed")


# -- rpkg and gem2rpm: stand-ins that record their command line, for there is no such tool here ------------------------

RECORD = '#!/bin/sh\necho "ran: $0 $*" | sed "s,/usr/local/bin/,,"; id -u; pwd\n'


def test_rpkg_is_called_as_copr_calls_it(start: Start, hello: Path) -> None:
    record = RECORD + 'cat ~/.config/rpkg.conf\ncp hello.txt "$3/../SOURCES" && rpmbuild -bs hello.spec\n'
    run = start(
        scm("rpkg", clone_url="https://me:secret@git.example/rpms/hello.git"),
        hello,
        {"rpkg": record},
    ).run()
    assert (
        "ran: rpkg srpm --outdir /builddir/build/SRPMS --spec /builddir/repository\n1000\n/builddir/repository\n"
        in run.log
    )
    assert "preprocess_spec = True" in run.log
    assert "anon_clone_url = https://me@git.example/%(repo_path)s" in run.log
    assert_hello(run)


def test_rpkg_gets_the_spec_that_the_user_names(start: Start, hello: Path) -> None:
    commit(hello, {"dist/a.spec": SPEC})
    run = start(scm("rpkg", subdirectory="dist", spec="dist/a.spec"), hello, {"rpkg": RECORD + "exit 3\n"}).run()
    assert "--spec /builddir/repository/dist/a.spec\n1000\n/builddir/repository/dist\n" in run.log
    assert_failed(run, WrapperExit.SOURCE_FAILED, "rpkg failed (exit code 3)")


@pytest.mark.parametrize(
    ("source", "program"),
    [
        (scm("rpkg"), "rpkg"),
        (scm("tito"), "tito"),
        (RubyGemsSource(name="rake", gem_source="https://rubygems.org/"), "gem2rpm"),
    ],
)
def test_an_image_without_the_tool_says_which(start: Start, hello: Path, source: StepSource, program: str) -> None:
    assert_failed(start(source, hello, {program: ""}).run(), WrapperExit.TOOL_MISSING, f"the image has no '{program}'")


GEM = RubyGemsSource(name="rake", gem_source="https://rubygems.org/")


def test_gem2rpm_is_called_as_copr_calls_it(start: Start) -> None:
    run = start(GEM, programs={"gem2rpm": RECORD + "exit 4\n"}).run()
    assert "ran: gem2rpm rake --srpm -C /builddir/work --fetch\n1000\n/builddir/work\n" in run.log
    assert_failed(run, WrapperExit.SOURCE_FAILED, "gem2rpm failed (exit code 4)")


def test_gem2rpm_gets_a_gem_of_another_source_as_a_file(start: Start) -> None:
    source = RubyGemsSource(name="rake", gem_source="https://gems.example/")
    gem = RECORD + "touch rake-13.0.gem\n"
    run = start(source, programs={"gem2rpm": RECORD, "gem": gem}).run()
    assert "ran: gem fetch --clear-sources --source https://gems.example/ rake\n1000\n/builddir/work\n" in run.log
    assert "ran: gem2rpm /builddir/work/rake-13.0.gem --srpm -C /builddir/work\n" in run.log
    assert_failed(run, WrapperExit.NO_SRPM)


def test_a_gem_that_the_source_does_not_have_is_said(start: Start) -> None:
    source = RubyGemsSource(name="rake", gem_source="https://gems.example/")
    run = start(source, programs={"gem2rpm": RECORD, "gem": RECORD}).run()
    assert_failed(run, WrapperExit.SOURCE_FAILED, "the gem source has no gem 'rake'")


@pytest.mark.parametrize("code", [0, 1])
def test_a_gem_without_a_license_is_refused_with_the_reason(start: Start, code: int) -> None:
    program = f"#!/bin/sh\necho 'error: line 6: Empty tag: License:' >&2\nexit {code}\n"
    assert_failed(start(GEM, programs={"gem2rpm": program}).run(), WrapperExit.NO_LICENSE, "names no license")


# -- custom ------------------------------------------------------------------------------------------------------------


def custom(start: Start, script: str, *, payload: str | None = None, **fields: Any) -> Run:
    container = start(CustomSource(script=script, **fields))
    if payload is not None:
        (container.home / "in/hook_payload").write_text(payload)
    path = container.home / "in/script"
    path.write_text(script)
    path.chmod(0o755)
    return container.run()


HEREDOC = f"cat > hello.spec <<'EOF'\n{SPEC}EOF\necho hello > hello.txt\n"


def test_a_script_leaves_a_spec_and_its_sources(start: Start) -> None:
    run = custom(start, f"#!/bin/bash\nenv | grep ^COPR_ | sort; id -u; pwd\n{HEREDOC}")
    assert_hello(run)
    assert (
        "COPR_OWNER=alice\nCOPR_PACKAGE=\nCOPR_PROJECT=demo\nCOPR_RESULTDIR=/builddir/work\n1000\n/builddir/work\n"
        in run.log
    )


def test_a_script_reads_what_called_its_webhook(start: Start) -> None:
    script = f'#!/bin/bash -e\nread -r called <hook_payload; echo "called with $called by $(id -u)"\n{HEREDOC}'
    run = custom(start, script, payload='{"ref": "main"}\n')
    assert_hello(run)
    assert 'called with {"ref": "main"} by 1000\n' in run.log
    assert "Permission denied" not in run.log


def test_a_script_may_be_in_any_language_and_leave_an_srpm_in_its_resultdir(start: Start) -> None:
    script = (
        "#!/usr/bin/python3\nimport os, subprocess\nout = os.environ['COPR_RESULTDIR']\nos.makedirs(out)\n"
        f"open('hello.spec', 'w').write({SPEC!r})\nopen('hello.txt', 'w').write('x')\n"
        "options = ['--define', '_sourcedir .', '--define', f'_srcrpmdir {out}']\n"
        "subprocess.run(['rpmbuild', '-bs', *options, 'hello.spec'], check=True)\n"
    )
    assert_hello(custom(start, script, resultdir="out/srpm"))


def test_the_build_user_is_called_what_the_image_calls_it(start: Start) -> None:
    assert_hello(custom(start, f'#!/bin/bash -e\n[ "$USER $LOGNAME" = "$(id -un) $(id -un)" ]\n{HEREDOC}'))


def test_a_script_without_an_interpreter_is_run_by_a_shell(start: Start) -> None:
    assert_hello(custom(start, HEREDOC))


@pytest.mark.parametrize(
    ("script", "fields", "code", "words"),
    [
        ("#!/bin/sh\nexit 3\n", {}, WrapperExit.SCRIPT_FAILED, "the script failed (exit code 3)"),
        ("#!/bin/sh\nkill -9 $$\n", {}, WrapperExit.SCRIPT_FAILED, "killed by signal 9"),
        ("#!/no/such/program\n", {}, WrapperExit.SCRIPT_FAILED, "file not found"),
        ("#!/bin/sh\ntouch a b\n", {}, WrapperExit.NO_SPEC, "there is no .spec; there is: a b"),
        ("#!/bin/sh\ntouch a.spec b.spec\n", {}, WrapperExit.SEVERAL_SPECS, "2 specs, which of them? a.spec b.spec"),
        ("#!/bin/sh\ntrue\n", {"resultdir": "out"}, WrapperExit.SOURCE_FAILED, "there is no directory 'out'"),
        ("#!/bin/sh\nln -s /etc out\n", {"resultdir": "out"}, WrapperExit.SOURCE_FAILED, "leads out of its root"),
        ("#!/bin/sh\nln -s /etc/shadow a.spec\n", {}, WrapperExit.SOURCE_FAILED, "rpmbuild -bs failed"),
        ("#!/bin/sh\nln -s /etc/shadow a.src.rpm\n", {}, WrapperExit.SRPM_INVALID, "a.src.rpm can not be read"),
        ("#!/bin/sh\ntouch a.src.rpm b.src.rpm\n", {}, WrapperExit.SEVERAL_SRPMS, "2 SRPMs"),
        ("#!/bin/sh\necho x > /copr/in/settings.sh\n", {}, WrapperExit.SCRIPT_FAILED, "exit code"),
    ],
)  # fmt: skip
def test_a_script_fails_with_a_reason(
    start: Start, script: str, fields: dict[str, str], code: WrapperExit, words: str
) -> None:
    assert_failed(custom(start, script, **fields), code, words)


def test_builddeps_are_installed_before_the_script_runs_one_argument_each(start: Start) -> None:
    dnf = (
        '#!/bin/sh\nfor word; do echo "<$word>"; done; id -u\n'
        "cat /etc/yum.repos.d/copr.repo; touch /usr/bin/installed-tool\n"
    )
    container = start(
        CustomSource(script="x"),
        programs={"dnf": dnf, "dnf5": "", "microdnf": ""},
        extra_packages=("git", "gcc-c++ >= 14"),
        repos=(RepoConfig(id="additional_1", baseurl="https://repo.example/"),),
    )
    (container.home / "in/script").write_text(f"#!/bin/sh -e\ntest -e /usr/bin/installed-tool\n{HEREDOC}")
    (container.home / "in/script").chmod(0o755)
    run = container.run()
    assert_hello(run)
    assert "<install>\n<git>\n<gcc-c++ >= 14>\n0\n[additional_1]\n" in run.log
    assert "baseurl=https://repo.example/" in run.log


def test_builddeps_that_can_not_be_installed_are_named(start: Start) -> None:
    programs = {"dnf": "#!/bin/sh\necho No match; exit 1\n"}
    run = start(CustomSource(script="x"), programs=programs, extra_packages=("no-such-package",)).run()
    assert_failed(run, WrapperExit.DEPENDENCIES, "could not install: no-such-package")


def test_nothing_of_a_script_outlives_it(start: Start) -> None:
    marker = f"left-behind-{os.getpid()}"
    run = custom(start, f"#!/bin/bash\n(exec -a {marker} setsid sleep 300) & disown\n{HEREDOC}")
    assert_hello(run)
    assert subprocess.run(["pgrep", "-f", marker], capture_output=True, check=False).returncode == 1


def test_a_script_is_ended_by_the_timeout(start: Start) -> None:
    container = start(CustomSource(script="x"))
    (container.home / "in/script").write_text("#!/bin/sh\nsleep 300\n")
    (container.home / "in/script").chmod(0o755)
    settings = container.home / "in/settings.sh"
    settings.write_text(settings.read_text().replace("TIMEOUT=100", "TIMEOUT=1"))
    assert_failed(container.run(), WrapperExit.TIMEOUT, "!! Copr timeout => sending INT")


# -- distgit: what fetch has brought is there, verified ----------------------------------------------------------------

DIST_GIT = DistGitSource(package="hello", clone_url="https://x.example/hello", lookaside_url="https://x.example/")


def test_a_dist_git_becomes_an_srpm(start: Start, hello: Path) -> None:
    assert_hello(start(DIST_GIT, hello).run())


def test_rpmautospec_counts_the_commits_and_writes_the_changelog(start: Start, hello: Path) -> None:
    commit(
        hello,
        {"hello.spec": SPEC.replace("Release: 1", "Release: %autorelease") + "%changelog\n%autochangelog\n"},
        "two",
    )
    commit(hello, {"hello.txt": "more\n"}, "Say more")
    run = start(DIST_GIT, hello).run()
    assert_hello(run, "hello-1.0-3.src.rpm", "hello.spec")
    command = ["rpm", "-qp", "--changelog", str(run.results / "hello-1.0-3.src.rpm")]
    assert "- Say more" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("files", "programs", "code", "words"),
    [
        ({"second.spec": SPEC}, {}, WrapperExit.SEVERAL_SPECS, "2 specs, which of them? hello.spec second.spec"),
        ({"hello.spec": "Name: hello\n"}, {}, WrapperExit.SOURCE_FAILED, "rpmbuild -bs failed"),
        (
            {"hello.spec": SPEC.replace("Release: 1", "Release: %{autorelease}")}, {"rpmautospec": ""},
            WrapperExit.TOOL_MISSING, "the image has no 'rpmautospec'",
        ),
    ],
)  # fmt: skip
def test_a_dist_git_fails_with_a_reason(
    start: Start, hello: Path, files: dict[str, str], programs: dict[str, str], code: WrapperExit, words: str
) -> None:
    commit(hello, files)
    assert_failed(start(DIST_GIT, hello, programs).run(), code, words)


def test_a_dist_git_without_a_spec_says_what_it_has(start: Start, tmp_path: Path) -> None:
    commit(tmp_path / "empty", {"README": "x"})
    assert_failed(start(DIST_GIT, tmp_path / "empty").run(), WrapperExit.NO_SPEC, "there is no .spec; there is: README")


# -- pypi: the real tools against an index of the test ----------------------------------------------------------------


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with package_index() as running:
        yield running


def pypi(index: PackageIndex, generator: str, **fields: Any) -> PypiSource:
    known = {"name": "hello-copr", "generator": generator, "template": "fedora", "python_versions": ("3",)}
    return PypiSource.model_validate({**known, "index_url": f"{index.url}/pypi", **fields})


def test_pyp2spec_writes_the_spec_of_the_latest_version(start: Start, index: PackageIndex) -> None:
    run = start(pypi(index, "pyp2spec")).run()
    assert_hello(run, "python-hello-copr-1.0-1.src.rpm", "python-hello-copr.spec")
    listed = subprocess.run(
        ["rpm", "-qpl", str(run.results / run.files[0])], capture_output=True, text=True, check=True
    )
    assert "hello_copr-1.0.tar.gz" in listed.stdout


def test_pyp2rpm_makes_the_srpm(start: Start, index: PackageIndex) -> None:
    run = start(pypi(index, "pyp2rpm", version="1.0")).run()
    assert_hello(run, "python-hello-copr-1.0-1.src.rpm", "python-hello-copr.spec")


@pytest.mark.parametrize("generator", ["pyp2spec", "pyp2rpm"])
@pytest.mark.parametrize("fields", [{"name": "no-such-package"}, {"version": "9"}])
def test_a_package_that_the_index_does_not_have_fails_with_the_tools_words(
    start: Start, index: PackageIndex, generator: str, fields: dict[str, str]
) -> None:
    assert_failed(start(pypi(index, generator, **fields)).run(), WrapperExit.SOURCE_FAILED, f"{generator} failed")


def test_a_source_that_is_not_what_the_index_says_is_refused(start: Start, index: PackageIndex) -> None:
    index.files["hello_copr-1.0.tar.gz"] = b"something else"
    assert_failed(start(pypi(index, "pyp2spec")).run(), WrapperExit.SOURCE_FAILED, "does not have the sha256")


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({}, "hello-copr -t fedora --srpm -d /builddir/work -b 3"),
        (
            {"python_versions": ("3.9", "3", "2"), "template": "epel7", "version": "1.0"},
            "hello-copr -t epel7 --srpm -d /builddir/work -b 3.9 -p 3 -p 2 -v 1.0",
        ),
    ],
)
def test_pyp2rpm_is_called_as_copr_calls_it(
    start: Start, index: PackageIndex, fields: dict[str, Any], arguments: str
) -> None:
    run = start(pypi(index, "pyp2rpm", **fields), programs={"pyp2rpm": RECORD}).run()
    assert f"ran: pyp2rpm {arguments}\n1000\n" in run.log
    assert_failed(run, WrapperExit.NO_SRPM)


def test_pyp2spec_is_called_as_copr_calls_it_where_the_image_knows_fedoras_licenses(
    start: Start, index: PackageIndex
) -> None:
    container = start(pypi(index, "pyp2spec", version="1.0"), programs={"pyp2spec": RECORD})
    container.files["/usr/share/fedora-license-data/licenses/fedora-licenses.json"] = "{}"
    run = container.run()
    assert "ran: pyp2spec hello-copr --fedora-compliant --automode -v 1.0\n1000\n/builddir/work\n" in run.log
    assert_failed(run, WrapperExit.NO_SPEC)
