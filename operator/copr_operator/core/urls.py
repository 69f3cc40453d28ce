"""URLs as users write them: whether they can be read, and what a repository's stands for. Pure; nothing here raises."""

import re
from urllib.parse import urlsplit

_PRIORITY = re.compile(r"priority=(.*)")


def problem(url: str) -> str:
    """Why its host can't be had from it; empty when it can. The schema's patterns let more through than is a URL.

    Without the parser's own words: they may be a part of a password.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")  # as the resolver does, which bears no empty part and none of more than 63 letters
    except ValueError:
        return "its host or port can't be understood"
    return "" if host else "it has no host"


def expand_repo(url: str, chroot: str, results_url: str) -> tuple[str, int | None]:
    """Base URL and priority of a repository, as Copr's repos.py makes them of what its user wrote.

    `copr://owner/project` is another project of this installation; $chroot and $distname are Copr's own variables.
    `priority=N` is for dnf and no part of the URL. A priority that is no number is left out.
    """
    base, _, query = url.partition("?")
    parameters = query.split("&") if query else []
    said = [found[1] for parameter in parameters if (found := _PRIORITY.fullmatch(parameter)) is not None]
    kept = "&".join(parameter for parameter in parameters if not _PRIORITY.fullmatch(parameter))
    priority = int(said[0]) if said and re.fullmatch(r"[0-9]{1,9}", said[0]) else None
    if base.startswith("copr://"):
        base, kept = f"{results_url}/results/{base.removeprefix('copr://')}/$chroot/", ""
    expanded = f"{base}?{kept}" if kept else base
    distname = chroot.rpartition("-")[0].rpartition("-")[0]
    return expanded.replace("$chroot", chroot).replace("$distname", distname), priority
