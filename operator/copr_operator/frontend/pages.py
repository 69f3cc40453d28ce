"""The page of a build, which is where the link that `copr-cli` prints leads. Pure; every value is escaped."""

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from copr_operator.api.build import FailureStatus
from copr_operator.api.common import TERMINAL
from copr_operator.core import names
from copr_operator.core.observed import BuildView
from copr_operator.frontend import present

STYLE = (
    "body{font-family:sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.3em 1em .3em 0;vertical-align:top}"
    "pre{white-space:pre-wrap;background:#eee;padding:1em}"
)
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
REFRESH_SECONDS = 15


def build_page(build: BuildView, results_url: str) -> str:
    """State, reason, and for each step its state, log and results."""
    shown = present.build_json(build, results_url)
    package = " ".join(filter(None, (shown["source_package"]["name"], shown["source_package"]["version"])))
    title = f"Build {shown['id']}" + (f": {package}" if package else "")
    refresh = "" if present.finished(build) else f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
    project = f"{shown['ownername']}/{shown['project_dirname']}"
    facts = [
        ("State", _state(build, shown["state"])),
        ("Project", _link(f"{results_url}/results/{quote(project, safe='/@:')}/", project)),
        (
            "Submitted",
            escape(
                _moment(build.status.submitted_at) + (f" by {build.spec.submitter}" if build.spec.submitter else "")
            ),
        ),
        ("Started", escape(_moment(build.status.started_at))),
        ("Ended", escape(_moment(build.status.ended_at))),
        ("Source", escape(build.spec.source.type if build.spec.source else f"that of {build.spec.rerun_of}")),
    ]
    origin = build.spec.forked_from
    if origin is not None:
        facts.append(("Forked from", escape(f"build {origin.id} of {origin.owner}/{origin.project_dirname}")))
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>\n" for name, value in facts)
    failure = _failure(build.status.failure)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{refresh}<title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<table>\n{rows}</table>\n{failure}"
        f"<h2>Steps</h2>\n<table>\n<tr><th>Step</th><th>State</th><th></th><th></th><th></th></tr>\n"
        f"{''.join(_steps(build, results_url))}</table>\n</body></html>\n"
    )


def _state(build: BuildView, state: str) -> str:
    """With what an unfinished build waits for or does."""
    if present.finished(build):
        return f"<b>{escape(state)}</b>"
    now = next((c for c in build.status.conditions if c.type == "Succeeded"), None)
    why = f": {now.reason}: {now.message}" if now is not None else ""
    return f"<b>{escape(state)}</b>{escape(why)}"


def _failure(failure: FailureStatus | None) -> str:
    if failure is None:
        return ""
    where = f"step {failure.step}" + (f" in {failure.chroot}" if failure.chroot else "")
    log = f" {_link(failure.log_url, 'log')}" if failure.log_url else ""
    return f"<h2>{escape(failure.reason)}</h2>\n<p>{escape(where)}{log}</p>\n<pre>{escape(failure.message)}</pre>\n"


def _steps(build: BuildView, results_url: str) -> Iterable[str]:
    source = present.source_chroot_json(build, results_url)
    yield _step("source", source["state"], source["result_url"], None)
    for chroot in build.status.chroots:
        url = present.result_url(build, chroot, results_url)
        yield _step(chroot.name, present.chroot_state(build, chroot), url, chroot.failure)


def _step(name: str, state: str, url: str | None, failure: FailureStatus | None) -> str:
    links = ""
    if url is not None:
        directory = url.removesuffix("/")
        packed = ".gz" if state in TERMINAL or state == "forked" else ""
        log = _link(f"{directory}/{names.LIVE_LOG}{packed}", "log")
        links = f"<td>{log}</td><td>{_link(f'{directory}/', 'results')}</td>"
    why = f"<td>{escape(failure.reason)}</td>" if failure is not None else ""
    return f"<tr><td>{escape(name)}</td><td>{escape(state)}</td>{links or '<td></td><td></td>'}{why}</tr>\n"


def _moment(time: str | None) -> str:
    return f"{time[:19].replace('T', ' ')} UTC" if time else "-"


def _link(url: str, text: str) -> str:
    return f'<a href="{escape(url)}">{escape(text)}</a>'
