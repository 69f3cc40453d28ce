"""Many requests that nobody means, always the same ones: each is answered, and none with 500."""

import json
import random
import string
from typing import Any
from urllib.parse import quote

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from copr_operator.frontend.app import make_app
from copr_operator.frontend.http import WithoutSlashes
from tests.integration.frontend.test_cli import untouched
from tests.support.frontend import Person, Site

REQUESTS = 1500
FIELDS = (
    "ownername", "projectname", "project_dirname", "chroots", "exclude_chroots", "timeout", "background",
    "enable_net", "bootstrap", "isolation", "after_build_id", "with_build_id", "packit_forge_project", "pkgs",
    "clone_url", "committish", "subdirectory", "spec", "scm_type", "source_build_method", "package_name",
    "distgit", "namespace", "pypi_package_name", "python_versions", "spec_template", "gem_name", "script",
    "chroot", "builddeps", "resultdir", "repos", "builds", "name", "description", "homepage", "contact",
    "additional_repos", "delete_after_days", "repo_priority", "verify", "confirm",
    "packit_forge_projects_allowed", "additional_packages", "additional_modules", "with_opts", "reset_fields",
    "builder", "admin", "alice", "webhook_rebuild", "max_builds", "chroot_denylist", "storage", "persistent",
)  # fmt: skip
QUERY = (*FIELDS[:3], "limit", "offset", "order", "order_type", "packagename", "status", "build_id", "chrootname")
MORE = ("query", "additional_fields[]", "arch", "with_latest_build")
RIGHT = (
    "alice",
    "demo",
    "debian-13-x86_64",
    "debian-*",
    "http://sources.example/x.spec",
    "demo:pr:1",
    "approved",
    "1",
    "true",
)
ODD = (
    "",
    " ",
    "x",
    "..",
    "../../etc",
    "a/b",
    "-x",
    "@",
    "@g",
    "-1",
    "0",
    "9" * 20,
    "None",
    "NaN",
    "*",
    "[",
    "[!",
    "{0}",
    "%s",
)
WORSE = (
    "\x00",
    "\n",
    "a\r\nb: c",
    "\ud800",
    "ü",
    "\u202e",
    "%2e%2e",
    "x" * 300,
    "x" * 5000,
    "http://[",
    "copr://",
    "file:///x",
)
WORDS: tuple[str, ...] = (*RIGHT, *ODD, *WORSE)
KINDS = ("application/json", "text/plain", "x", "multipart/form-data; boundary=x")


class Dice:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (not for secrets)

    def word(self) -> str:
        if self._random.random() < 0.2:
            return "".join(self._random.choices(string.printable, k=self._random.randrange(12)))
        return str(self._random.choice(WORDS))

    def value(self, depth: int = 0) -> Any:
        kind = self._random.randrange(9 if depth < 2 else 6)
        if kind < 3:
            return self.word()
        if kind < 6:
            return self._random.choice((None, True, False, 0, 1, -1, 2**70, 1.5, 3.10, float("inf")))
        if kind < 8:
            return [self.value(depth + 1) for _ in range(self._random.randrange(4))]
        return {self.word(): self.value(depth + 1) for _ in range(self._random.randrange(3))}

    def body(self) -> Any:
        if self._random.random() < 0.1:
            return self.value()
        base = {"ownername": "alice", "projectname": "demo"} if self._random.random() < 0.8 else {}
        return {**base, **{self._random.choice(FIELDS): self.value() for _ in range(self._random.randrange(6))}}

    def path(self, route: Route) -> str:
        """The route's path with something in place of each parameter, right ones among them."""
        path = route.path.replace(":path}", "}")
        for name in ("ownername", "owner"):
            path = path.replace(f"{{{name}}}", "alice" if self._random.random() < 0.7 else self._part())
        for name in ("projectname", "dirname"):
            path = path.replace(f"{{{name}}}", "demo" if self._random.random() < 0.7 else self._part())
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + self._part() + rest.partition("}")[2]
        return path

    def _part(self) -> str:
        return quote(self.word().encode(errors="replace"), safe="") or "x"

    def query(self) -> dict[str, str]:
        right = {"ownername": "alice", "projectname": "demo"} if self._random.random() < 0.7 else {}
        return {
            **{self._random.choice((*QUERY, *MORE)): self._plain() for _ in range(self._random.randrange(4))},
            **right,
        }

    def _plain(self) -> str:
        return self.word().encode(errors="replace").decode()

    def choice(self, *options: Any) -> Any:
        return self._random.choice(options)


def routes(site: Site) -> list[Route]:
    app = make_app(site.services)
    assert isinstance(app, WithoutSlashes)
    inner = app._app
    assert isinstance(inner, Starlette)
    return [route for route in inner.routes if isinstance(route, Route)]


async def test_no_request_is_answered_with_500(site: Site) -> None:
    alice = site.people["alice"]
    site.world.kubelet.behaviour = untouched
    body = {"name": "demo", "chroots": ["debian-12-x86_64", "debian-13-x86_64"]}
    assert (await site.api("POST", "/project/add/alice", alice, json=body)).status_code == 200
    dice, all_routes, seen, bad = Dice(20), routes(site), set(), []
    for _ in range(REQUESTS):
        route = dice.choice(*[r for r in all_routes if "/project/delete/" not in r.path])
        method = dice.choice(*sorted(route.methods or ()))
        answer = await send(site, dice, method, dice.path(route), dice.choice(alice, alice, None))
        seen.add((route.path, answer.status_code < 400))
        wrong = answer.status_code >= 500
        if method != "HEAD" and answer.status_code >= 400 and "api_3" in route.path:
            wrong = wrong or set(answer.json()) - {"output"} != {"error"}
        if wrong:
            bad.append(f"{answer.request.method} {answer.request.url} {answer.request.content!r}: {answer.text}")
    assert not bad, "\n".join(bad[:5])
    assert {path for path, _ in seen} >= {r.path for r in all_routes if "/project/delete/" not in r.path}
    assert sum(good for _, good in seen) > 12, "requests that are right must be among them"


async def send(site: Site, dice: Dice, method: str, path: str, who: Person | None) -> httpx.Response:
    options: dict[str, Any] = {"params": dice.query(), "auth": who.auth if who else None}
    if method in ("POST", "PUT", "DELETE"):
        kind = dice.choice("json", "json", "json", "form", "multipart", "raw")
        if kind == "json":
            options["content"] = json.dumps(dice.body()).encode()
            options["headers"] = {"Content-Type": "application/json"}
        elif kind == "form":
            options["data"] = {dice.choice(*FIELDS): dice._plain() for _ in range(4)}
        elif kind == "multipart":
            options["files"] = {"pkgs": (dice._plain(), b"data"), "json": ("json", json.dumps(dice.body()).encode())}
        else:
            options["content"] = dice._plain().encode()
            options["headers"] = {"Content-Type": dice.choice(*KINDS)}
    return await site.http.request(method, path, **options)
