"""How the API server is reached and who we are there: in a pod by its ServiceAccount, elsewhere by a kubeconfig.

What needs more than one file (a program or a provider that gives credentials) is left to the `kubernetes` package. It
is imported for that alone: it has a module for every kind there is, and costs each process half a second and 18 MiB.
The operator's image, whose pods have ServiceAccounts, is without it.
"""

import base64
import binascii
import os
import re
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFE = 60.0
"""Seconds before a token's file is read again: the kubelet renews it."""

Token = Callable[[], Awaitable[str | None]]


class AccessError(Exception):
    """A kubeconfig that can't be used."""


async def _nobody() -> str | None:
    return None


@dataclass(frozen=True)
class Access:
    """One API server, as one user."""

    server: str
    """URL without a slash at the end."""
    ca: str | None = None
    """CA certificates, PEM; None: those of the system."""
    verify: bool = True
    certificate: str | None = None
    """Client certificate with its chain, PEM."""
    key: str | None = None
    token: Token = _nobody
    """Asked for each request: the bearer token as it is now."""
    proxy: str | None = None
    tls_server_name: str | None = None

    def ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            with tempfile.NamedTemporaryFile() as pem:  # OpenSSL reads them from a file only
                pem.write(f"{self.certificate}\n{self.key or ''}".encode())
                pem.flush()
                context.load_cert_chain(pem.name)
        return context


async def find_access(kubeconfig: str | None = None, context: str | None = None) -> Access:
    """In a pod its ServiceAccount's, unless a kubeconfig is named; else that of `kubeconfig` (default: $KUBECONFIG or
    the user's own). Raises AccessError and OSError."""
    if kubeconfig is None and (SERVICE_ACCOUNT / "token").exists():
        return in_pod(os.environ, SERVICE_ACCOUNT)
    path = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if os.pathsep in path:  # several files, merged
        return await _by_library(path, context)
    return from_kubeconfig(Path(path).expanduser(), context) or await _by_library(path, context)


def in_pod(environment: Mapping[str, str], directory: Path) -> Access:
    """`directory` holds what the kubelet mounts for a ServiceAccount: `token` and `ca.crt`."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(server, ca=_pem((directory / "ca.crt").read_bytes()), token=_from_file(directory / "token"))


def _from_file(path: Path) -> Token:
    token, until = "", 0.0

    async def current() -> str:
        nonlocal token, until
        if time.monotonic() >= until:
            token, until = path.read_text().strip(), time.monotonic() + TOKEN_LIFE
        return token

    return current


def from_kubeconfig(path: Path, context: str | None = None) -> Access | None:
    """None when the user's credentials come from a program or a provider. Raises AccessError."""
    try:
        config = yaml.safe_load(path.read_text()) or {}
        current = _named(config, "contexts", context or config.get("current-context") or "")["context"]
        cluster = _named(config, "clusters", current["cluster"])["cluster"]
        user = _named(config, "users", current["user"]).get("user") or {}
        if "exec" in user or "auth-provider" in user or "username" in user:
            return None
        return Access(
            server=cluster["server"].rstrip("/"),
            ca=_data(cluster, "certificate-authority", path),
            verify=not cluster.get("insecure-skip-tls-verify", False),
            certificate=_data(user, "client-certificate", path),
            key=_data(user, "client-key", path),
            token=_token(user, path),
            proxy=cluster.get("proxy-url"),
            tls_server_name=cluster.get("tls-server-name"),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise AccessError(f"kubeconfig {path}: {error or type(error).__name__}") from error


def _named(config: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    for entry in config.get(kind) or ():
        if entry["name"] == name:
            found: Mapping[str, Any] = entry
            return found
    raise KeyError(f"{kind} has no {name!r}")


def _data(holder: Mapping[str, Any], name: str, kubeconfig: Path) -> str | None:
    """What is given in place, or in a file whose path is relative to the kubeconfig."""
    if f"{name}-data" in holder:
        return _pem(base64.b64decode(holder[f"{name}-data"]))
    return _pem((kubeconfig.parent / holder[name]).read_bytes()) if name in holder else None


def _pem(data: bytes) -> str:
    """The PEM blocks alone: what people write around them, Python's ssl and kopf do not take."""
    return b"\n".join(re.findall(rb"-----BEGIN [^-]+-----.+?-----END [^-]+-----", data, re.DOTALL)).decode("ascii")


def _token(user: Mapping[str, Any], kubeconfig: Path) -> Token:
    if "tokenFile" in user:
        return _from_file(kubeconfig.parent / user["tokenFile"])

    async def fixed() -> str | None:
        return user.get("token")

    return fixed


_NO_LIBRARY = (
    "its credentials come from a program or a provider, or it is several files: that takes the Python package "
    "`kubernetes`, which is not installed here (the operator's image is without it). Use one file with a token or a "
    "client certificate, or copr-operator from a Python environment that has the package: pip install kubernetes"
)


async def _by_library(path: str, context: str | None) -> Access:
    try:
        from kubernetes.aio import config
        from kubernetes.aio.client.configuration import Configuration
    except ModuleNotFoundError as error:
        raise AccessError(f"kubeconfig {path}: {_NO_LIBRARY}") from error

    found = Configuration()
    try:
        await config.load_kube_config(
            config_file=path, context=context, client_configuration=found, persist_config=False
        )  # fmt: skip
    except config.ConfigException as error:
        raise AccessError(f"kubeconfig {path}: {error}") from error

    async def token() -> str | None:
        settings = await found.auth_settings()
        return settings["BearerToken"]["value"].split()[-1] if "BearerToken" in settings else None

    def read(file: str | None) -> str | None:
        return _pem(Path(file).read_bytes()) if file else None

    return Access(
        server=found.host,
        ca=read(found.ssl_ca_cert),
        verify=found.verify_ssl,
        certificate=read(found.cert_file),
        key=read(found.key_file),
        token=token,
        proxy=found.proxy,
        tls_server_name=found.tls_server_name,
    )
