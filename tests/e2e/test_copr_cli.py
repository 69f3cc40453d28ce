"""The unmodified copr-cli against the operator on the real node: every command that people build with."""

import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from copr.v3 import Client
from copr.v3.pagination import next_page

from tests.demo.__main__ import make_sources
from tests.e2e.conftest import CHROOT, Builds
from tests.e2e.packages import Scenario
from tests.e2e.source_builds import Servers, heredoc
from tests.support.installation import NAMESPACE as OPERATOR_NAMESPACE
from tests.support.installation import REPOSITORY
from tests.support.sources import SourceServer

COPR_CLI = Path(sys.executable).with_name("copr-cli")


def run(*command: str | Path, fails: int = 0, env: dict[str, str] | None = None) -> str:
    """What the command says; it must end with the code `fails`."""
    done = subprocess.run(
        command, cwd=REPOSITORY / "operator", capture_output=True, text=True, check=False,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert done.returncode == fails, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


class Copr:
    """copr-cli with alice's configuration file."""

    def __init__(self, config: Path, **env: str) -> None:
        self.config = config
        self.env = env

    def __call__(self, *arguments: str | Path, fails: int = 0) -> str:
        return run(COPR_CLI, "--config", self.config, *arguments, fails=fails, env=self.env)

    def start(self, *arguments: str | Path) -> list[str]:
        """Ids of the builds that a command has created, as scripts read them."""
        said = self(*arguments, "--nowait")
        return said.partition("Created builds: ")[2].splitlines()[0].split()

    @property
    def login(self) -> tuple[str, str]:
        values = dict(line.split(" = ", 1) for line in self.config.read_text().splitlines() if " = " in line)
        return values["login"], values["token"]


@pytest.fixture(scope="module")
def copr(project: Builds, tmp_path_factory: pytest.TempPathFactory) -> Copr:
    """A ~/.config/copr with a token that was made for alice, and the namespace that her projects go to."""
    installation = project.installation
    installation.build_namespace("copr-alice")
    file = tmp_path_factory.mktemp("copr") / "config"
    file.write_text(
        run(
            sys.executable, "-m", "copr_operator", "token", "create", "alice", "--namespace", OPERATOR_NAMESPACE,
            "--url", installation.frontend_url, "--kubeconfig", str(installation.cluster.kubeconfig),
        )
    )  # fmt: skip
    return Copr(file)


@pytest.fixture
def name() -> str:
    """Of a project of the test's own."""
    return f"cli-{secrets.token_hex(4)}"


def test_copr_cli_makes_a_project_and_builds_an_srpm_whose_packages_can_be_downloaded(
    copr: Copr, srpm: Path, tmp_path: Path, name: str
) -> None:
    assert copr("whoami").strip() == "alice"
    assert CHROOT in copr("list-chroots")
    copr("create", name, "--chroot", CHROOT)
    said = copr("build", name, srpm)  # waits for the end
    assert "succeeded" in said
    build_id = said.partition("Created builds: ")[2].split()[0]
    assert copr("status", build_id).strip() == "succeeded"
    copr("download-build", build_id, "--dest", tmp_path)
    names = sorted(file.name for file in tmp_path.rglob("*.rpm"))
    assert names == ["sent-1.0-1.deb12.noarch.rpm", "sent-1.0-1.deb12.src.rpm"]
    assert (tmp_path / CHROOT / "builder-live.log.gz").exists()
    copr("delete-build", build_id)
    assert "does not exist" in copr("status", build_id, fails=1)
    copr("delete", name)
    assert name not in copr("list")


def test_every_way_to_build_and_every_command_about_builds(
    copr: Copr, sources: SourceServer, source_servers: Servers, tmp_path: Path, name: str
) -> None:
    servers = source_servers
    for package in ("one", "two"):
        (sources.directory / f"{package}.spec").write_text(Scenario(package).spec)
    script = tmp_path / "script.sh"
    script.write_text(f"#!/bin/bash\n{heredoc('hello-bash')}")
    copr("create", name, "--chroot", CHROOT, "--description", "A demo")
    good = copr.start("build", name, f"{sources.url}/one.spec", f"{sources.url}/two.spec", "--timeout", "300")
    good += copr.start("buildscm", name, "--clone-url", f"{servers.git}/hello-tito", "--method", "tito")
    good += copr.start("buildcustom", name, "--script", script, "--script-chroot", CHROOT)
    good += copr.start("build-distgit", name, "--name", "hello-dist", "--distgit", "local")
    copr("add-package-scm", name, "--name", "hello-make", "--clone-url", f"{servers.git}/make", "--commit", "release",
         "--subdir", "rpm", "--spec", "hello-make.spec", "--method", "make_srpm")  # fmt: skip
    good += copr.start("build-package", name, "--name", "hello-make")
    # No chroot here has Fedora's macros for Python, and the source image no gem2rpm.
    bad = copr.start("buildpypi", name, "--packagename", "hello-copr")
    bad += copr.start("buildgem", name, "--gem", "rake")
    (canceled,) = copr.start("build", name, f"{sources.url}/one.spec", "--after-build-id", good[-1])
    assert copr("cancel", canceled) == "canceled\n"
    assert f"Cannot cancel build {canceled}" in copr("cancel", canceled, fails=1)
    watched = copr("watch-build", *good)
    assert watched.count(" succeeded\n") == len(good), watched
    ended = copr("watch-build", *bad, canceled, fails=4)
    failed = ended.partition("Build error: ")[2]
    assert all(number in failed for number in (*bad, canceled)), ended
    assert [copr("status", number).strip() for number in (good[0], bad[0], canceled)] == [
        "succeeded", "failed", "canceled",
    ]  # fmt: skip
    everything = [*good, *bad, canceled][::-1]
    assert listed(copr, name) == everything
    assert pages(copr, name, 4) == everything
    rows = copr("monitor", name, "--output-format", "text-row", "--fields", "name,chroot,state").splitlines()
    assert f"hello-make\t{CHROOT}\tsucceeded" in rows
    assert f"hello-dist\t{CHROOT}\tsucceeded" in rows
    about_the_project(copr, name)
    copr("delete-build", *everything[:3])
    assert listed(copr, name) == everything[3:]
    assert copr("delete", name) == f"Project {name} has been deleted.\n"


def listed(copr: Copr, name: str) -> list[str]:
    """The first column of list-builds; what it says beside the rows is for people."""
    return [line.split()[0] for line in copr("list-builds", name).splitlines() if line[:1].isdigit()]


def pages(copr: Copr, name: str, limit: int) -> list[str]:
    """The ids of all builds by the Python client, so many at a time."""
    proxy = Client.create_from_config_file(str(copr.config)).build_proxy
    page = proxy.get_list("alice", name, pagination={"limit": limit})
    found: list[str] = []
    while page:
        assert len(page) <= limit
        found += [str(build.id) for build in page]
        page = next_page(page)
    return found


def about_the_project(copr: Copr, name: str) -> None:
    """get, list, modify, edit-chroot, permissions."""
    assert f"Name: {name}\n" in copr("list")
    copr("modify", name, "--description", "Another", "--enable-net", "on")
    assert "Description: Another" in copr("get", name)
    copr("edit-chroot", f"{name}/{CHROOT}", "--packages", "make")
    assert '"make"' in copr("get-chroot", f"{name}/{CHROOT}")
    copr("edit-permissions", name, "--builder", "bob")
    assert "bob" in copr("list-permissions", name)
    assert "You already have a project" in copr("create", name, "--chroot", CHROOT, fails=1)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_builds_of_a_private_project_use_its_repository_and_nobody_else_does(
    copr: Copr, project: Builds, sources: SourceServer, tmp_path: Path, name: str
) -> None:
    """hello-app needs hello-lib-devel, which is in the private repository only."""
    installation = project.installation
    make_sources(sources.directory, sources.url)
    login, token = copr.login
    (tmp_path / ".netrc").write_text(f"machine {installation.cluster.node_address} login {login} password {token}\n")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / ".wgetrc").write_text("auth_no_challenge = on\n")
    mine = Copr(copr.config, HOME=str(tmp_path), WGETRC=str(tmp_path / ".wgetrc"))
    namespace = "copr-alice"
    installation.apply(
        {"apiVersion": "copr-operator.dev/v1alpha1", "kind": "CoprProject",
         "metadata": {"name": name, "namespace": namespace},
         "spec": {"owner": "alice", "name": name, "private": True, "chroots": [{"name": CHROOT}]}},
    )  # fmt: skip
    installation.kubectl("wait", f"coprproject/{name}", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
    (library,) = mine.start("build", name, f"{sources.url}/hello-lib.spec")
    (app,) = mine.start("build", name, f"{sources.url}/hello-app.spec", "--after-build-id", library)
    assert mine("watch-build", library, app).count(" succeeded\n") == 2
    assert f"Build {app} does not exist." in copr("status", app, fails=1)
    repository = f"{installation.results_url}/results/alice/{name}/{CHROOT}/"
    assert [status_of(url) for url in (repository, f"{repository}repodata/repomd.xml")] == [404, 404]
    mine("download-build", app, "--dest", tmp_path / "downloaded")
    assert [file.name for file in (tmp_path / "downloaded").rglob("hello-app-1.0-1*.x86_64.rpm")] != []
    mine("delete", name)
