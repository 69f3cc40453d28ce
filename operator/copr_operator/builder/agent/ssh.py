"""How git and svn call ssh: with the Secret's key only, through the egress proxy, and without a configuration."""

import shlex
import sys
from pathlib import Path

from copr_operator.builder.agent.credentials import Credentials
from copr_operator.builder.agent.egress import EgressProxy


def write_connector(directory: Path, proxy: EgressProxy) -> Path:
    """A program that takes HOST PORT and is a connection to them; git:// and ssh want one without arguments."""
    path = directory / "connect"
    command = shlex.join([sys.executable, "-I", "-m", "copr_operator.builder.agent.connect", f"127.0.0.1:{proxy.port}"])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o700)
    return path


def ssh_command(directory: Path, connector: Path, credentials: Credentials, port: int | None = None) -> str:
    """For GIT_SSH_COMMAND and SVN_SSH. Without `known_hosts` in the Secret the host's first key is believed.

    `port`: for svn, which does not tell ssh the one in its URL; git does.
    """
    known = credentials.known_hosts
    options = {
        "ProxyCommand": f"{shlex.quote(str(connector))} %h %p",
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": str(credentials.key) if credentials.key is not None else "none",
        "UserKnownHostsFile": str(known if known is not None else directory / "known_hosts"),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes" if known is not None else "accept-new",
        "ForwardAgent": "no",
        "PermitLocalCommand": "no",
    }
    if port is not None:
        options["Port"] = str(port)
    return shlex.join(["ssh", "-F", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())])
