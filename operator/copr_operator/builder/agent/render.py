"""A StepPlan as the text files that the untrusted scripts read. Pure: the same plan gives the same bytes.

Every value may be hostile (owners, options and repositories are the users'): each format has one quoting function, and
none of them can fail, so that a strange value can at worst have no effect.
"""

import re
import shlex
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from copr_operator.core.wire import (
    CustomSource,
    DistGitSource,
    LinkSource,
    PypiSource,
    RepoConfig,
    RubyGemsSource,
    ScmSource,
    StepPlan,
    StepSource,
    Ticket,
    UploadSource,
)

CURL_PROTOCOLS = "-all,+https,+http,+ftps"
"""What a spec's Source URLs may use: curl would also read local files and speak a dozen other protocols."""
BUILDER_TOPDIR = "/builddir/build"
"""%_topdir; TOPDIR of scripts/lib.sh."""

_REPO_ID_UNSAFE = re.compile(r"[^A-Za-z0-9_.:-]")
_MACRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def render(plan: StepPlan) -> dict[str, str]:
    """File name below /copr/in -> content."""
    return {
        "settings.sh": settings(plan),
        "macros": macros(plan),
        "copr.repo": repositories(plan.repos),
        "packages": lines(plan.extra_packages),
    }


def settings(plan: StepPlan) -> str:
    """Shell assignments; sourced by the scripts."""
    values: dict[str, str | int | tuple[str, ...]] = {
        "STEP": plan.step,
        "BUILD_ID": plan.build_id,
        "CHROOT": plan.chroot or "",
        "TIMEOUT": plan.limits.timeout,
        "ENABLE_NET": int(plan.enable_net),
        "NETWORK_PROFILE": plan.network_profile,
        "RELEASE_VER": plan.release_ver or "",
        "IMAGE_REPOS": int(image_repos(plan)),
        "WITH_OPTS": plan.with_opts,
        "WITHOUT_OPTS": plan.without_opts,
    }
    if plan.source is not None:
        values |= source_settings(plan, plan.source)
    return "".join(f"{name}={_shell(value)}\n" for name, value in values.items())


def image_repos(plan: StepPlan) -> bool:
    """Whether the image's own repositories are used: those of the chroot, which come first in a plan, replace them."""
    return not plan.repos or plan.repos[0].id in ("copr_base", "additional_1")


def source_settings(plan: StepPlan, source: StepSource) -> dict[str, str | int | tuple[str, ...]]:
    """What source.sh and the script of the method (source-METHOD.sh) need. Paths are relative to the repository."""
    match source:
        case LinkSource() | UploadSource():
            return {"METHOD": "file"}
        case ScmSource():
            return {
                "METHOD": source.method,
                "SUBDIRECTORY": source.subdirectory,
                "SPEC_PATH": source.spec or "",
                "CLONE_URL": without_password(source.clone_url),
            }
        case DistGitSource():
            return {"METHOD": "distgit"}
        case PypiSource():
            return {
                "METHOD": source.generator,
                "PACKAGE": source.name,
                "PACKAGE_VERSION": source.version or "",
                "PYTHON_VERSIONS": source.python_versions,
                "SPEC_TEMPLATE": source.template,
                "INDEX_URL": source.index_url,
                "COPR_OWNER": plan.owner,
            }
        case RubyGemsSource():
            return {"METHOD": "gem2rpm", "PACKAGE": source.name, "GEM_SOURCE": source.gem_source}
        case CustomSource():
            return {
                "METHOD": "custom",
                "RESULTDIR": source.resultdir,
                "COPR_OWNER": plan.owner,
                "COPR_PROJECT": plan.project,
                "COPR_PACKAGE": plan.package or "",
            }


def without_password(url: str) -> str:
    """The URL for untrusted eyes: a password in it belongs to the clone."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""  # no clone comes of it
    user, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}").geturl()


def macros(plan: StepPlan) -> str:
    """`~/.rpmmacros` of the build user: Copr's own macros last, so that a chroot's can't replace them by accident."""
    values = {name: body for name, body in plan.macros.items() if _MACRO_NAME.fullmatch(name)}
    values |= {
        "_topdir": BUILDER_TOPDIR,
        "copr_username": _macro_text(plan.owner),
        "copr_projectname": _macro_text(plan.project),
        "vendor": _macro_text(f"{plan.vendor} - {_who(plan.owner)}"),
        "buildtag": f".copr{plan.build_id}",
        # Else rpmbuild asks the DNS for the pod's name, which takes long without network and says nothing useful.
        "_buildhost": "copr-operator",
    }
    if plan.step == "source":
        # One SRPM serves every chroot, so it carries no dist tag; its remote sources are downloaded here and only here.
        values |= {
            "dist": "%{nil}",
            "_disable_source_fetch": "0",
            "__urlhelper_localopts": f"--proto {CURL_PROTOCOLS} --proto-redir {CURL_PROTOCOLS} --connect-timeout 60",
        }
    elif plan.dist is not None:
        values["dist"] = _macro_text(plan.dist)
    return "".join(f"%{name} {_macro_body(body)}\n" for name, body in values.items())


def repositories(repos: Iterable[RepoConfig], ticket: Ticket | None = None) -> str:
    """A .repo file with Copr's options for every repository, in the order given. The ticket is for private ones."""
    return "\n".join(_repository(repo, ticket if repo.private else None) for repo in repos)


def lines(values: Iterable[str]) -> str:
    """One value a line: a value's own line breaks become spaces, and values of nothing but space are left out."""
    texts = (" ".join(value.split()) for value in values)
    return "".join(f"{text}\n" for text in texts if text)


def _shell(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"({' '.join(shlex.quote(item) for item in value)})"
    return shlex.quote(str(value))


def _who(owner: str) -> str:
    return f"group {owner}" if owner.startswith("@") else f"user {owner}"


def _macro_text(text: str) -> str:
    """Text that rpm must not expand."""
    return text.replace("%", "%%")


def _macro_body(body: str) -> str:
    """One line; neither empty (rpm refuses that) nor continued on the next line."""
    line = " ".join(body.split())
    return f"{line}%{{nil}}" if not line or line.endswith("\\") else line


def _repository(repo: RepoConfig, ticket: Ticket | None) -> str:
    repo_id = _REPO_ID_UNSAFE.sub("_", repo.id)
    options: dict[str, str | int] = {
        "name": repo_id,
        # Percent-encoding of what no URL may hold keeps line breaks out; `%` and dnf's `$` stay as they are.
        "baseurl": quote(repo.baseurl, safe="!#$%&'()*+,/:;=?@[]~{}"),
        "gpgcheck": 0,
        "enabled": 1,
        "skip_if_unavailable": 0,
        "metadata_expire": 0,
        "cost": 1,
        "best": 1,
    }
    if repo.priority is not None:
        options["priority"] = repo.priority
    if ticket is not None:
        options |= {"username": ticket.username, "password": ticket.password}
    if repo.ca_file is not None:
        options["sslcacert"] = repo.ca_file
    return f"[{repo_id}]\n" + "".join(f"{name}={value}\n" for name, value in options.items())
