"""Exporting a Subversion repository at one revision, as a git repository of one commit.

Copr runs `git svn clone`, so that rpkg and tito, which work on git repositories, can be used. They get here what they
can use of it: one commit with the date and the author of the revision. The history and git-svn's notes are left out.
"""

import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from copr_operator.builder.agent.credentials import Credentials
from copr_operator.builder.agent.egress import EgressProxy, RefusedError
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import SOURCE_CA_VARIABLE, say
from copr_operator.builder.agent.ssh import ssh_command, write_connector
from copr_operator.builder.agent.tools import Ended, Toolbox

_REVISION = re.compile(r"r?([0-9]{1,10})|HEAD")
_NO_SUCH_REVISION = ("E160006", "E195012", "E205000")


@dataclass(frozen=True)
class Revision:
    number: str
    author: str
    date: str


class SvnExport:
    """One export, into `target`. `private`: a directory that only this container sees."""

    def __init__(
        self, url: str, target: Path, private: Path, proxy: EgressProxy, credentials: Credentials, limit: int
    ) -> None:
        self._url = url
        self._target = target
        self._proxy = proxy
        self._credentials = credentials
        target.mkdir()
        connector = write_connector(private, proxy)
        self._private = private
        _configure(private / "subversion", proxy)
        environment = {name: os.environ[name] for name in ("PATH",) if name in os.environ} | {
            "HOME": str(private),
            "TMPDIR": str(target.parent),
            "LC_ALL": "C.UTF-8",
            "SVN_SSH": ssh_command(private, connector, credentials, urlsplit(url).port),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        hidden = tuple(secret for secret in (credentials.password,) if secret)
        self._tools = Toolbox(target, limit, environment, hidden, lambda: bool(proxy.refusals))

    async def fetch(self, committish: str | None) -> str:
        """Exports; the revision. AgentError with CloneFailed, CommittishNotFound or AddressRefused."""
        match = _REVISION.fullmatch(committish or "HEAD")
        if match is None:
            message = f"{committish!r} is no revision; a branch or tag of Subversion is a part of the URL"
            raise AgentError("CommittishNotFound", message)
        url = await self._address()
        revision = await self._info(url, match[1] or "HEAD")
        await self._must("export", "--quiet", "--force", "--ignore-externals", f"--revision={revision.number}",
                         f"{url}@{revision.number}", ".")  # fmt: skip
        await self._commit(revision)
        return f"r{revision.number}"

    async def _address(self) -> str:
        """svn:// has no proxies: its host is judged and replaced by its address here."""
        parts = urlsplit(self._url)
        clean = parts._replace(netloc=parts.netloc.rpartition("@")[2]) if self._credentials.basic else parts
        if parts.scheme == "svn+ssh" and parts.port is not None:
            clean = clean._replace(netloc=clean.netloc.rpartition(":")[0])
        if parts.scheme != "svn":
            return clean.geturl()
        try:
            address = (await self._proxy.addresses(parts.hostname or "", parts.port or 3690))[0]
        except RefusedError as error:
            raise AgentError("AddressRefused", str(error)) from error
        except (OSError, UnicodeError) as error:  # the latter of what can't be a name in the DNS
            raise AgentError("CloneFailed", f"{parts.hostname}: {error}") from error
        host = f"[{address}]" if ":" in address else address
        return clean._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()

    async def _svn(self, *arguments: str) -> Ended:
        options = [
            "--non-interactive",
            "--no-auth-cache",
            f"--config-dir={self._private / 'subversion'}",
        ]
        stdin = None
        if self._credentials.basic:
            options += [f"--username={self._credentials.username}", "--password-from-stdin"]
            stdin = self._credentials.password
        return await self._tools.run_patiently(
            "svn", arguments[0], *options, *arguments[1:], stdin=stdin, quiet=arguments[0] == "info"
        )

    async def _must(self, *arguments: str) -> Ended:
        ended = await self._svn(*arguments)
        if ended.code == 0:
            return ended
        for line in ended.lines if arguments[0] == "info" else ():
            say(line)
        if self._proxy.refusals:
            raise AgentError("AddressRefused", self._proxy.refusals[-1])
        reason = "CommittishNotFound" if any(code in ended.last for code in _NO_SUCH_REVISION) else "CloneFailed"
        raise AgentError(reason, f"the repository could not be exported: {ended.last}")

    async def _info(self, url: str, revision: str) -> Revision:
        ended = await self._must("info", "--xml", f"--revision={revision}", f"{url}@{revision}")
        try:
            entry = ElementTree.fromstring("\n".join(ended.lines)).find("entry")  # noqa: S314 (svn's own output)
            assert entry is not None  # noqa: S101
            commit = entry.find("commit")
            author = commit.findtext("author") if commit is not None else None
            date = commit.findtext("date") if commit is not None else None
            return Revision(entry.attrib["revision"], author or "nobody", date or "1970-01-01T00:00:00Z")
        except (ElementTree.ParseError, AssertionError, KeyError) as error:
            raise AgentError("CloneFailed", f"svn info can't be understood: {ended.last}") from error

    async def _commit(self, revision: Revision) -> None:
        author = re.sub(r"[<>\n\0]", "", revision.author)
        options = (f"user.name={author}", f"user.email={author}@localhost", "core.hooksPath=/dev/null",
                   "init.defaultBranch=trunk", "gc.auto=0")  # fmt: skip
        git = ["git", *(word for option in options for word in ("-c", option))]
        # A repository that was checked in would bring its own configuration, and that names programs.
        for path in [path for path in self._target.rglob("*") if path.name.lower() == ".git"]:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        seconds = revision.date.partition(".")[0].rstrip("Z") + "+00:00"
        dated = Toolbox(
            self._target,
            self._tools.limit,
            {**self._tools.environment, "GIT_AUTHOR_DATE": seconds, "GIT_COMMITTER_DATE": seconds},
        )
        commands = (
            ("init", "--quiet", "--template=", "."),
            ("add", "--all", "--force", "."),
            (
                "commit",
                "--quiet",
                "--allow-empty",
                "--no-verify",
                "--message",
                f"r{revision.number} of {_shown(self._url)}",
            ),
        )
        for command in commands:
            ended = await dated.run(*git, *command)
            if ended.code != 0:
                raise AgentError("CloneFailed", f"the export could not be made a git repository: {ended.last}")


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _configure(directory: Path, proxy: EgressProxy) -> None:
    directory.mkdir()
    servers = {
        "http-proxy-host": "127.0.0.1",
        "http-proxy-port": str(proxy.port),
        "http-timeout": "60",
        "store-passwords": "no",
        "store-plaintext-passwords": "no",
    }
    if SOURCE_CA_VARIABLE in os.environ:
        servers["ssl-authority-files"] = os.environ[SOURCE_CA_VARIABLE]
    lines = "".join(f"{name} = {value}\n" for name, value in servers.items())
    (directory / "servers").write_text(f"[global]\n{lines}")
    (directory / "config").write_text(
        "[auth]\npassword-stores =\nstore-auth-creds = no\n[miscellany]\nuse-commit-times = no\n"
    )
