"""Cloning a git repository, submodules included, for code that must not have its credentials.

As Copr clones: the last 500 commits of every branch, all of them when that is not enough or not offered. git's hooks,
templates, and every configuration but ours are off, and so are all protocols but http, https, git and ssh.
"""

import os
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from copr_operator.builder.agent.credentials import Credentials
from copr_operator.builder.agent.egress import EgressProxy
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import SOURCE_CA_VARIABLE, say
from copr_operator.builder.agent.ssh import ssh_command, write_connector
from copr_operator.builder.agent.tools import Ended, Toolbox

PROTOCOLS = "http:https:git:ssh"
DEPTH = "--depth=500"
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_PLAIN_NAME = re.compile(r"[^\s~^:?*\[\\{}]+")

# Answers for the hosts of the Secret only: a redirect or a submodule may ask for any other.
_HELPER = """#!/bin/sh
[ "$1" = get ] || exit 0
while IFS='=' read -r key value; do
    case $key in protocol) protocol=$value ;; host) host=${value%%:*} ;; esac
done
host=$(printf %s "$host" | tr A-Z a-z)
case $protocol in @PROTOCOLS@) ;; *) exit 0 ;; esac
case $host in @HOSTS@) cat @ANSWER@ ;; esac
"""


class GitClone:
    """One clone, in `target`. `private`: a directory that only this container sees."""

    def __init__(
        self, url: str, target: Path, private: Path, proxy: EgressProxy, credentials: Credentials, limit: int
    ) -> None:
        self._url = url
        self._clean_url = _without_userinfo(url) if credentials.basic else url
        self._target = target
        target.mkdir()
        environment = _environment(private, _configure(url, private, proxy, credentials))
        environment["TMPDIR"] = str(target.parent)
        environment["GIT_SSH_COMMAND"] = ssh_command(private, private / "connect", credentials)
        hidden = tuple(secret for secret in (credentials.password,) if secret)
        self._tools = Toolbox(target, limit, environment, hidden, lambda: bool(proxy.refusals))
        self._proxy = proxy

    async def fetch(self, committish: str | None) -> str:
        """Clones and checks out; the commit. AgentError with CloneFailed, CommittishNotFound or AddressRefused."""
        await self._clone()
        on_branch = await self._default_branch()
        if committish is not None and committish != "HEAD":
            await self._check_out(committish)
        elif not on_branch:
            await self._detached_head()
        await self._submodules()
        ended = await self._git("rev-parse", "HEAD", quiet=True)
        return ended.last

    async def _git(self, *arguments: str, quiet: bool = False) -> Ended:
        # What asks the server bears to be asked again.
        patient = arguments[0] in ("fetch", "submodule") or arguments[:2] == ("remote", "set-head")
        run = self._tools.run_patiently if patient else self._tools.run
        return await run("git", *arguments, quiet=quiet)

    async def _must(self, *arguments: str) -> None:
        ended = await self._git(*arguments)
        if ended.code != 0:
            raise self._failure(ended)

    def _failure(self, ended: Ended, what: str = "the repository could not be cloned") -> AgentError:
        if self._proxy.refusals:
            return AgentError("AddressRefused", self._proxy.refusals[-1])
        return AgentError("CloneFailed", f"{what}: {ended.last}")

    async def _clone(self) -> None:
        """Not `git clone`: it would remove the directory, and its URL may not stay in the configuration."""
        await self._must("init", "--quiet", "--template=", ".")
        await self._must("remote", "add", "origin", self._clean_url)
        await self._must_fetch()

    async def _must_fetch(self, *refs: str) -> None:
        ended = await self._git("fetch", "--no-recurse-submodules", DEPTH, "origin", *refs)
        if ended.code != 0 and not self._proxy.refusals and "shallow" in " ".join(ended.lines):
            say("the server offers no shallow clone; cloning everything")
            ended = await self._git("fetch", "--no-recurse-submodules", "origin", *refs)
        if ended.code != 0:
            raise self._failure(ended)

    async def _default_branch(self) -> bool:
        """Checks out the branch that the server's HEAD names; False when it names none."""
        if (await self._git("remote", "set-head", "origin", "--auto")).code != 0:
            return False
        head = await self._git("symbolic-ref", "--short", "refs/remotes/origin/HEAD", quiet=True)
        branch = head.last.removeprefix("origin/")
        await self._must("checkout", "--quiet", "--force", "-B", branch, "--track", f"origin/{branch}")
        return True

    async def _detached_head(self) -> None:
        """As `git clone` does of a server whose HEAD is a commit."""
        await self._must_fetch("+HEAD:refs/copr/head")
        await self._detach("refs/copr/head")

    async def _check_out(self, committish: str) -> None:
        if committish.startswith("-"):
            raise AgentError("CommittishNotFound", f"{committish!r} is an option, not a revision")
        if committish.startswith("refs/"):
            ended = await self._git(
                "fetch", "--no-recurse-submodules", DEPTH, "origin", f"+{committish}:refs/copr/wanted"
            )
            if ended.code == 0:
                return await self._detach("refs/copr/wanted")
            raise await self._not_found(committish)
        for find in (self._nothing, self._ask_for, self._everything):
            if not await find(committish):
                continue
            branch = ("show-ref", "--verify", "--quiet", f"refs/remotes/origin/{committish}")
            if (await self._git(*branch, quiet=True)).code == 0:
                return await self._must(
                    "checkout", "--quiet", "--force", "-B", committish, "--track", f"origin/{committish}"
                )
            for name in (f"refs/tags/{committish}", committish):
                if await self._is_commit(name):
                    return await self._detach(name)
        raise await self._not_found(committish)

    async def _nothing(self, _: str) -> bool:
        return True

    async def _ask_for(self, committish: str) -> bool:
        """A tag or a commit that the last commits of the branches do not reach."""
        wanted = []
        if _PLAIN_NAME.fullmatch(committish):
            wanted.append(f"+refs/tags/{committish}:refs/tags/{committish}")
        if _COMMIT.fullmatch(committish):
            wanted.append(committish)
        found = False
        for ref in wanted:
            ended = await self._git("fetch", "--quiet", "--no-recurse-submodules", DEPTH, "origin", ref, quiet=True)
            found = found or ended.code == 0
        return found

    async def _everything(self, _: str) -> bool:
        if not (self._target / ".git" / "shallow").exists():
            return False
        say("not among the last commits; fetching everything")
        return (await self._git("fetch", "--no-recurse-submodules", "--unshallow", "--tags", "origin")).code == 0

    async def _is_commit(self, name: str) -> bool:
        arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return (await self._git(*arguments, quiet=True)).code == 0

    async def _detach(self, name: str) -> None:
        ended = await self._git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", quiet=True
        )
        await self._must("checkout", "--quiet", "--force", "--detach", ended.last)

    async def _not_found(self, committish: str) -> AgentError:
        if self._proxy.refusals:
            return AgentError("AddressRefused", self._proxy.refusals[-1])
        ended = await self._git(
            "for-each-ref", "--count=10", "--format=%(refname:lstrip=3)", "refs/remotes", quiet=True
        )
        some = ", ".join(line for line in ended.lines if line != "HEAD")
        return AgentError(
            "CommittishNotFound", f"there is no {committish!r}; some of the branches are: {some or 'none'}"
        )

    async def _submodules(self) -> None:
        if not (self._target / ".gitmodules").is_file():
            return
        ended = await self._git("submodule", "update", "--init", "--recursive", "--force", "--jobs=1")
        if ended.code != 0:
            raise self._failure(ended, "the submodules could not be fetched")


def _without_userinfo(url: str) -> str:
    """The URL that is left in the repository for user code to see: who may clone is told to git by the helper."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _environment(private: Path, configuration: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", SOURCE_CA_VARIABLE) if name in os.environ}
    return kept | {
        "HOME": str(private),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(configuration),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": PROTOCOLS,
    }


def _configure(url: str, private: Path, proxy: EgressProxy, credentials: Credentials) -> Path:
    """Writes git's only configuration, and the programs it names."""
    connector = write_connector(private, proxy)
    values = {
        "http.proxy": proxy.url,
        "core.gitProxy": str(connector),
        "core.hooksPath": "/dev/null",
        "core.fsmonitor": "false",
        "core.protectHFS": "true",
        "core.protectNTFS": "true",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "pack.threads": "1",
        "core.packedGitLimit": "128m",
        "http.lowSpeedLimit": "1",
        "http.lowSpeedTime": "60",
        "advice.detachedHead": "false",
        "init.defaultBranch": "copr-operator",
        "user.name": "copr-operator",
        "user.email": "copr-operator@localhost",
    }
    if credentials.basic:
        values["credential.helper"] = str(_write_helper(url, private, credentials))
    lines = []
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        lines.append(f'[{section}]\n\t{key} = "{value}"\n')
    if SOURCE_CA_VARIABLE in os.environ:
        lines.append(f'[http]\n\tsslCAInfo = "{os.environ[SOURCE_CA_VARIABLE]}"\n')
    path = private / "gitconfig"
    path.write_text("".join(lines))
    return path


def _write_helper(url: str, private: Path, credentials: Credentials) -> Path:
    """A password goes over plain http only if the user's own URL is one."""
    answer = private / "credential-answer"
    answer.write_text(f"username={credentials.username}\npassword={credentials.password}\n")
    protocols = "http|https" if urlsplit(url).scheme == "http" else "https"
    hosts = "|".join(shlex.quote(host) for host in sorted(credentials.hosts))
    text = _HELPER.replace("@PROTOCOLS@", protocols).replace("@HOSTS@", hosts)
    helper = private / "credential"
    helper.write_text(text.replace("@ANSWER@", shlex.quote(str(answer))))
    helper.chmod(0o700)
    return helper
