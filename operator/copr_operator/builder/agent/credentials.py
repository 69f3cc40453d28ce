"""The Secret of a private repository, as Kubernetes mounts it: of type basic-auth or ssh-auth.

Whoever may create a CoprBuild may name any Secret of its namespace and any URL. So a Secret says itself where it may
be used, as Tekton's do by annotation: its key `hosts` has host names, separated by spaces, commas or line breaks. One
without it is for other uses and is refused.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from copr_operator.builder.agent.errors import AgentError


@dataclass(frozen=True)
class Credentials:
    """What a repository's server is shown."""

    hosts: frozenset[str] = frozenset()
    """Lower case, without ports."""
    username: str = ""
    password: str = ""
    key: Path | None = None
    """Private key of ssh."""
    known_hosts: Path | None = None

    @property
    def basic(self) -> bool:
        return bool(self.username or self.password)


def credentials_for(url: str, directory: Path | None) -> Credentials:
    """Of the Secret in `directory`, else those in the URL itself, else none. CredentialsRefused when unusable."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if directory is None:
        # In a URL of ssh or svn+ssh a user is just a user.
        if parts.password is None:
            return Credentials()
        return _checked(Credentials(frozenset({host}), unquote(parts.username or ""), unquote(parts.password)))
    hosts = frozenset(re.split(r"[\s,]+", _read(directory, "hosts").lower())) - {""}
    if not hosts:
        raise _refused("the Secret that credentialsSecret names is not there, or has no key `hosts`")
    if host not in hosts:
        raise _refused(f"the Secret's key `hosts` does not name {host}")
    key, known_hosts = directory / "ssh-privatekey", directory / "known_hosts"
    found = Credentials(
        hosts,
        _read(directory, "username").strip("\r\n"),
        _read(directory, "password").strip("\r\n"),
        key if key.exists() else None,
        known_hosts if known_hosts.exists() else None,
    )
    over_ssh = parts.scheme in ("ssh", "svn+ssh")
    if over_ssh and found.key is None:
        raise _refused("the URL is of ssh, and the Secret has no key `ssh-privatekey` (type kubernetes.io/ssh-auth)")
    if not over_ssh and not found.basic:
        raise _refused("the Secret has neither `username` nor `password` (type kubernetes.io/basic-auth)")
    return _checked(found)


def _checked(credentials: Credentials) -> Credentials:
    """git's protocol for credentials is one of lines."""
    if any(character in credentials.username + credentials.password for character in "\r\n\0"):
        raise _refused("user name and password must be single lines")
    return credentials


def _read(directory: Path, name: str) -> str:
    try:
        return (directory / name).read_text()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise _refused(f"the Secret's key `{name}` is not text") from error


def _refused(message: str) -> AgentError:
    return AgentError("CredentialsRefused", message)
