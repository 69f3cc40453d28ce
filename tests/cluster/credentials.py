"""Certificates by openssl and random bearer tokens: who may speak to the API server, and how it is recognised.

The API server listens where pods of hostile builds can reach it, so no credential is guessable or world-readable.
"""

import base64
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.errors import ClusterError
from tests.cluster.layout import Layout

ADMIN = "admin"
IDENTITIES: Mapping[str, tuple[str, str]] = {
    ADMIN: ("copr-cluster-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": ("system:node:localhost", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("copr-cluster:coredns", ""),
}
"""Part -> user and group. RBAC's built-in bindings know the system: users."""


@dataclass(frozen=True)
class Credentials:
    """The paths of everything that `generate` writes."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The certificate that every client trusts."""
        return self.folder / "ca.crt"

    @property
    def serving(self) -> tuple[Path, Path]:
        """Certificate and key of every TLS listener of this profile."""
        return self.folder / "serving.crt", self.folder / "serving.key"

    @property
    def kubelet_client(self) -> tuple[Path, Path]:
        """Certificate and key by which the kubelet knows the API server (logs, exec, port-forward)."""
        return self.folder / "kubelet-client.crt", self.folder / "kubelet-client.key"

    @property
    def service_accounts(self) -> tuple[Path, Path]:
        """Public and private key of service account tokens."""
        return self.folder / "service-accounts.pub", self.folder / "service-accounts.key"

    @property
    def token_file(self) -> Path:
        """The API server's list of static tokens."""
        return self.folder / "tokens.csv"

    @property
    def admin_token_file(self) -> Path:
        """The administrator's token alone."""
        return self.folder / "admin.token"

    def kubeconfig(self, part: str) -> Path:
        """Return the kubeconfig of a part."""
        return self.folder / f"{part}.kubeconfig"


def generate(layout: Layout, *, server: str, addresses: list[str]) -> Credentials:
    """Make everything anew: credentials of a cluster that is gone must not open the next one."""
    layout.certs.mkdir(parents=True, exist_ok=True)
    layout.certs.chmod(0o700)
    made = Credentials(layout.certs)
    ca_key = made.folder / "ca.key"
    _openssl("req", "-x509", *_new_key(ca_key), "-days=3650", "-subj=/CN=copr-operator-cluster", f"-out={made.ca}")
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += ["kubernetes.default.svc.cluster.local"]
    alternatives = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)])
    _signed(made, ca_key, made.serving, "/CN=kube-apiserver", f"subjectAltName={alternatives}")
    _signed(
        made, ca_key, made.kubelet_client, "/O=system:masters/CN=kube-apiserver-client", "extendedKeyUsage=clientAuth"
    )
    public, private = made.service_accounts
    _openssl("genpkey", "-algorithm=RSA", f"-out={private}")
    _openssl("pkey", f"-in={private}", "-pubout", f"-out={public}")

    tokens = {part: secrets.token_urlsafe(32) for part in IDENTITIES}
    lines = [f'{tokens[part]},{user},{user},"{group}"' for part, (user, group) in IDENTITIES.items()]
    _write_private(made.token_file, "\n".join(lines) + "\n")
    _write_private(made.admin_token_file, tokens[ADMIN])
    for part in IDENTITIES:
        _write_private(made.kubeconfig(part), _kubeconfig(made.ca, server, tokens[part]))
    _write_private(layout.kubeconfig, _kubeconfig(made.ca, server, tokens[ADMIN]))
    return made


def _new_key(path: Path) -> list[str]:
    return ["-newkey=ec", "-pkeyopt=ec_paramgen_curve:prime256v1", "-nodes", f"-keyout={path}"]


def _signed(made: Credentials, ca_key: Path, pair: tuple[Path, Path], subject: str, extension: str) -> None:
    certificate, key = pair
    # Serving and client use in one step, without a request file in between.
    authority = [f"-CA={made.ca}", f"-CAkey={ca_key}"]
    _openssl(
        *("req", "-x509", *_new_key(key), "-days=3650", f"-subj={subject}", f"-out={certificate}", *authority),
        *("-addext=basicConstraints=critical,CA:FALSE", f"-addext={extension}"),
    )


def _openssl(command: str, *arguments: str) -> None:
    # openssl takes an option and its value as two words.
    words = [word for argument in arguments for word in _split(argument)]
    done = subprocess.run(["openssl", command, *words], capture_output=True, text=True, umask=0o077)
    if done.returncode != 0:
        raise ClusterError(f"openssl {command} failed:\n{done.stderr.strip()[-1500:]}")


def _split(argument: str) -> list[str]:
    name, equals, value = argument.partition("=")
    return [name, value] if equals else [name]


def _kubeconfig(ca: Path, server: str, token: str) -> str:
    name = "copr-operator-cluster"
    authority = base64.b64encode(ca.read_bytes()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
