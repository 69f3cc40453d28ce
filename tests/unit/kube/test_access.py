"""How the API server is reached: what a pod's mount and a kubeconfig say, and what is left to the library."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from copr_operator.cli import main
from copr_operator.kube import access
from copr_operator.kube.access import AccessError, find_access, from_kubeconfig, in_pod

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
INLINE = base64.b64encode(f"# made by hand, für Tests\n{PEM}\n".encode()).decode()


def write(path: Path, cluster: Mapping[str, Any], user: Mapping[str, Any], **changes: Any) -> Path:
    context = {"name": "one", "context": {"cluster": "c", "user": "u"}}
    config = {
        "current-context": "one", "contexts": [context],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}], **changes,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))
    return path


class TestInAPod:
    @pytest.fixture
    def mount(self, tmp_path: Path) -> Path:
        (tmp_path / "token").write_text("first\n")
        (tmp_path / "ca.crt").write_text(PEM)
        return tmp_path

    @pytest.mark.parametrize(
        ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
    )
    def test_the_service_is_the_server(self, mount: Path, host: str, server: str) -> None:
        found = in_pod({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}, mount)
        assert (found.server, found.ca, found.verify) == (server, PEM, True)

    async def test_a_token_that_was_renewed_is_read_again(self, mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = in_pod({"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"}, mount)
        assert await found.token() == "first"
        (mount / "token").write_text("second\n")
        assert await found.token() == "first", "the file is read for each request"
        later = time.monotonic() + access.TOKEN_LIFE + 1
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert await found.token() == "second"

    async def test_a_kubeconfig_that_is_named_counts_all_the_same(
        self, mount: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(access, "SERVICE_ACCOUNT", mount)
        path = write(mount / "config", {}, {"token": "t"})
        assert (await find_access(str(path))).server == "https://api.example:6443"


class TestKubeconfig:
    async def test_what_is_given_in_place(self, tmp_path: Path) -> None:
        cluster = {"certificate-authority-data": INLINE, "tls-server-name": "name", "proxy-url": "http://proxy:1"}
        user = {"client-certificate-data": INLINE, "client-key-data": INLINE, "token": "secret"}
        found = from_kubeconfig(write(tmp_path / "config", cluster, user))
        assert found is not None
        assert (found.server, await found.token()) == ("https://api.example:6443", "secret")
        assert (found.ca, found.certificate, found.key) == (PEM, PEM, PEM)
        assert (found.verify, found.proxy, found.tls_server_name) == (True, "http://proxy:1", "name")

    async def test_what_is_in_files_beside_it(self, tmp_path: Path) -> None:
        for name, text in (("ca.pem", PEM), ("me.pem", PEM), ("me.key", PEM), ("token", "from a file\n")):
            (tmp_path / name).write_text(text)
        user = {"client-certificate": "me.pem", "client-key": "me.key", "tokenFile": "token"}
        found = from_kubeconfig(write(tmp_path / "config", {"certificate-authority": "ca.pem"}, user))
        assert found is not None
        assert (found.ca, found.certificate, found.key, await found.token()) == (PEM, PEM, PEM, "from a file")

    async def test_a_context_that_is_named_counts(self, tmp_path: Path) -> None:
        other = {"name": "two", "context": {"cluster": "d", "user": "u"}}
        path = write(tmp_path / "config", {}, {})
        config = yaml.safe_load(path.read_text())
        config["contexts"].append(other)
        config["clusters"].append(
            {"name": "d", "cluster": {"server": "http://other", "insecure-skip-tls-verify": True}}
        )
        path.write_text(yaml.safe_dump(config))
        found = from_kubeconfig(path, "two")
        assert found is not None
        assert (found.server, found.verify, await found.token()) == ("http://other", False, None)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("current-context: nowhere", "contexts has no 'nowhere'"),
            ("{", "kubeconfig"),
            ("[]", "kubeconfig"),
            (None, "No such file"),
        ],
    )
    def test_one_that_can_not_be_used_says_why(self, tmp_path: Path, text: str | None, says: str) -> None:
        path = tmp_path / "config"
        if text is not None:
            path.write_text(text)
        with pytest.raises(AccessError, match=says):
            from_kubeconfig(path)

    @pytest.mark.parametrize("separator", ["", os.pathsep])
    def test_without_the_library_the_user_is_told_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
    ) -> None:
        """As in the operator's image, by a user who mounts a kubeconfig into it."""
        monkeypatch.setitem(sys.modules, "kubernetes", None)
        path = write(tmp_path / "config", {}, {"exec": {"command": "login"}})
        arguments = ["token", "create", "alice", "--kubeconfig", f"{path}{separator}"]
        done = CliRunner().invoke(main, arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: kubeconfig {path}{separator}: its credentials come from a program")
        assert "one file with a token or a client certificate" in done.stderr
        assert "pip install kubernetes" in done.stderr

    async def test_a_program_that_gives_the_credentials_is_run(self, tmp_path: Path) -> None:
        program = tmp_path / "login"
        version = "client.authentication.k8s.io/v1"
        credential = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": "x"}}
        program.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
        program.chmod(0o755)
        user = {"exec": {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}}
        path = write(tmp_path / "config", {}, user)
        assert from_kubeconfig(path) is None
        found = await find_access(str(path))
        assert (found.server.rstrip("/"), await found.token()) == ("https://api.example:6443", "x")


def test_the_kubernetes_package_is_not_imported_where_files_are_enough() -> None:
    code = "import sys, copr_operator.kube.client; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ)).returncode == 0
