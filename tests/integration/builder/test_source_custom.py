"""The source step of a custom source: a script of the user."""

import os
import subprocess
from typing import Any

import pytest

from copr_operator.core.wire import CustomSource, RepoConfig, WrapperExit
from tests.support.build_container import Run
from tests.support.source_step import SPEC, Start, assert_failed, assert_hello


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
    assert "<install>\n<--allowerasing>\n<git>\n<gcc-c++ >= 14>\n0\n[additional_1]\n" in run.log
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


PLANTED = r"""#!/bin/bash
{ echo "planted code ran as $(id -u): $0"; } >>/copr/out/build.log
rm -f /usr/local/sbin/cat /usr/local/sbin/setpriv
exec /usr/bin/${0##*/} "$@"
"""


@pytest.mark.parametrize("name", ["unpacked", "build", "build/SRPMS"])
def test_a_script_can_not_make_root_open_the_systems_directories(start: Start, name: str) -> None:
    # What root makes, or gives to the build user, after the script has run must not be where a link leads. The macros
    # would use that while root looks at the SRPM.
    script = f"""#!/bin/bash
{HEREDOC}
cat >/builddir/planted <<'EOF'
{PLANTED}EOF
chmod 755 /builddir/planted
cat /builddir/.rpmmacros >/builddir/macros
echo '%_dbpath %(cd /usr/local/sbin; cp /builddir/planted cat; cp cat setpriv)/var/lib/rpm' >>/builddir/macros
mv -f /builddir/macros /builddir/.rpmmacros
mv /builddir/{name} /builddir/moved
ln -s /usr/local/sbin /builddir/{name}
"""
    container = start(CustomSource(script=script))
    (container.home / "in/script").write_text(script)
    (container.home / "in/script").chmod(0o755)
    container.run()
    assert "planted code ran" not in (container.home / "out/build.log").read_text()


def test_macros_that_a_script_leaves_are_not_read_when_its_srpm_is_looked_at(start: Start) -> None:
    making = "rpmbuild -bs --define '_sourcedir .' --define '_srcrpmdir .' hello.spec"
    told = "%_dbpath %(tr '[:cntrl:]' ' ' </proc/$PPID/cmdline | sed 's/^/macros read by /' >&2)/var/lib/rpm"
    script = f"""#!/bin/bash
{HEREDOC}
{making}
cat /builddir/.rpmmacros >macros
cat >>macros <<'EOF'
{told}
EOF
mv -f macros /builddir/.rpmmacros
rpm --eval %_dbpath
"""
    run = custom(start, script)
    assert_hello(run)
    assert "macros read by rpm --eval" in run.log
    assert run.log.count("macros read by") == 1


@pytest.mark.parametrize("spec", ["hello@2.spec", "my hello.spec", "_hello.spec", "hello.spec"])
def test_a_spec_of_any_name_is_stored_by_the_name_of_its_package(start: Start, spec: str) -> None:
    assert_hello(custom(start, f"{HEREDOC}mv hello.spec '{spec}' || true\n"))


def test_a_script_is_ended_by_the_timeout(start: Start) -> None:
    container = start(CustomSource(script="x"))
    (container.home / "in/script").write_text("#!/bin/sh\nsleep 300\n")
    (container.home / "in/script").chmod(0o755)
    settings = container.home / "in/settings.sh"
    settings.write_text(settings.read_text().replace("TIMEOUT=100", "TIMEOUT=1"))
    assert_failed(container.run(), WrapperExit.TIMEOUT, "!! Copr timeout => sending INT")
