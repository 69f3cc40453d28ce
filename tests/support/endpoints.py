"""Every endpoint of the frontend, one row each: a request that is right, who may send it, and what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

URL = "http://sources.example/hello-2.8-1.src.rpm"
CHROOT = "debian-13-x86_64"
PROJECT = {"ownername": "alice", "projectname": "{project}"}
NAMED = {**PROJECT, "package_name": "{package}"}

Right = Literal["read", "login", "build", "edit", "secret"]
"""Who may: everybody; whoever has a token; who may build, or change, the project; who knows the webhook's secret."""


@dataclass(frozen=True)
class Endpoint:
    """`{project}`, `{pending}`, `{done}`, `{spare}`, `{package}`, `{number}` and `{secret}` stand for what is there: a
    project, its builds that wait and that have ended, a project and a package to be taken away, its webhook."""

    method: str
    path: str
    """As the route has it."""
    right: Right = "read"
    values: Mapping[str, str] = field(default_factory=dict)
    """For the path's parameters; those of projects, chroots and packages need not be given."""
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    files: bool = False
    """The body goes as a part of a form, beside a file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    who: str = "alice"
    """Whose request it is, where it is not everybody's."""
    status: int = 200
    stranger: int | None = None
    """Status for somebody with a token and without rights; None: what the right says."""
    absent: int | None = 404
    """Status when the project, build or package is not there; None: it rests on none."""


def _api(method: str, path: str, right: Right = "read", **more: Any) -> Endpoint:
    return Endpoint(method, f"/api_3{path}", right, **more)


def _create(kind: str, **fields: Any) -> Endpoint:
    return _api("POST", f"/build/create/{kind}", "build", body={**PROJECT, **fields})


_PING = {"X-GitHub-Event": "ping"}
_OF_PROJECT = "{ownername}/{projectname}"
_BUILD, _CHROOT_OF = {"build_id": "{pending}"}, {"build_id": "{pending}", "chrootname": CHROOT}

ENDPOINTS = (
    # builds
    _api("GET", "/build/{id}"), _api("GET", "/build/list", query=PROJECT), _api("GET", "/build/source-chroot/{id}"),
    _api("GET", "/build/source-build-config/{id}"), _api("GET", "/build/built-packages/{id}"),
    _api("PUT", "/build/cancel/{id}", "build", values={"id": "{fresh}"}),
    _api("DELETE", "/build/delete/{id}", "edit", values={"id": "{done}"}),
    _api("DELETE", "/build/delete/list", "edit", body={"builds": ["{done}"]}, stranger=400, absent=400),
    _api("POST", "/build/check-before-build", "build", body=PROJECT),
    _create("url", pkgs=URL), _api("POST", "/build/create/upload", "build", body=PROJECT, files=True),
    _create("scm", clone_url="https://git.example/x.git"), _create("distgit", package_name="hello"),
    _create("pypi", pypi_package_name="hello"), _create("rubygems", gem_name="hello"), _create("custom", script="true"),
    _api("GET", "/build-chroot", query=_CHROOT_OF), _api("GET", "/build-chroot/{build_id}/{chrootname}"),
    _api("GET", "/build-chroot/list", query=_BUILD, absent=200),
    _api("GET", "/build-chroot/list/{build_id}", absent=200),
    _api("GET", "/build-chroot/build-config", query=_CHROOT_OF),
    _api("GET", "/build-chroot/build-config/{build_id}/{chrootname}"),
    _api("GET", "/build-chroot/built-packages", query=_CHROOT_OF),
    # projects
    _api("GET", "/project", query=PROJECT), _api("GET", "/project/list", absent=None),
    _api("GET", "/project/search", query={"query": "demo"}, absent=None),
    _api("POST", "/project/add/{ownername}", "edit", body={"name": "{new}", "chroots": [CHROOT]}, absent=None),
    _api("PUT", f"/project/edit/{_OF_PROJECT}", "edit", body={"description": "x"}),
    _api("POST", f"/project/fork/{_OF_PROJECT}", "login", body={"name": "{new}"}),
    _api("DELETE", f"/project/delete/{_OF_PROJECT}", "edit", values={"projectname": "{spare}"}, body={"verify": True}),
    _api("PUT", f"/project/regenerate-repos/{_OF_PROJECT}", "edit"),
    _api("GET", f"/project/permissions/get/{_OF_PROJECT}", "edit"),
    _api("PUT", f"/project/permissions/set/{_OF_PROJECT}", "edit", body={"carol": {"builder": "approved"}}),
    _api("PUT", f"/project/permissions/request/{_OF_PROJECT}", "login", body={"builder": False}, who="bob"),
    _api("GET", f"/project/permissions/can_build_in/{{who}}/{_OF_PROJECT}", "login", values={"who": "carol"}),
    _api("GET", "/project-chroot", query={**PROJECT, "chrootname": CHROOT}),
    _api("GET", "/project-chroot/build-config", query={**PROJECT, "chrootname": CHROOT}),
    _api("PUT", f"/project-chroot/edit/{_OF_PROJECT}/{{chrootname}}", "edit", body={"additional_packages": "make"}),
    _api("GET", "/mock-chroots/list", absent=None),
    # packages
    _api("GET", "/package", query={**PROJECT, "packagename": "{package}"}), _api("GET", "/package/list", query=PROJECT),
    _api("POST", f"/package/add/{_OF_PROJECT}/{{package_name}}/{{source_type}}", "edit",
         values={"package_name": "{new}", "source_type": "rubygems"}, body={"gem_name": "x"}),
    _api("POST", f"/package/edit/{_OF_PROJECT}/{{package_name}}", "edit", body={"gem_name": "y"}),
    _api("POST", f"/package/edit/{_OF_PROJECT}/{{package_name}}/{{source_type}}", "edit",
         values={"source_type": "rubygems"}, body={"gem_name": "y"}),
    _api("PUT", "/package/reset", "edit", body=NAMED), _api("POST", "/package/build", "build", body=NAMED),
    _api("DELETE", "/package/delete", "edit", body=NAMED),
    _api("GET", "/monitor", query=PROJECT),
    _api("POST", f"/webhook/generate/{_OF_PROJECT}", "edit", values={"projectname": "{spare}"}),
    # the rest of the API
    Endpoint("GET", "/api_3", absent=None), _api("GET", "/docs", absent=None),
    _api("GET", "/auth-check", "login", absent=None), _api("POST", "/api-token", "login", absent=None),
    _api("GET", "/rpmrepo/{owner}/{dirname}/{release}", values={"release": "debian-13"}),
    # beside it
    Endpoint("GET", "/coprs/{owner}/{dirname}/repo/{release}", values={"release": "debian-13"}),
    Endpoint("GET", "/coprs/{owner}/{dirname}/repo/{release}/{file}",
             values={"release": "debian-13", "file": "x.repo"}),
    Endpoint("GET", "/coprs/g/{group}/{dirname}/repo/{release}",
             values={"group": "ops", "dirname": "{groups}", "release": "debian-13"}),
    Endpoint("GET", "/coprs/g/{group}/{dirname}/repo/{release}/{file}",
             values={"group": "ops", "dirname": "{groups}", "release": "debian-13", "file": "x.repo"}),
    Endpoint("GET", "/coprs/build/{id}"), Endpoint("GET", "/coprs/{owner}/{dirname}", status=302),
    Endpoint("GET", "/coprs/g/{group}/{dirname}", values={"group": "ops", "dirname": "{groups}"}, status=302),
    Endpoint("GET", "/backend/get-build-task/{task}", values={"task": "{task}"}),
    Endpoint("GET", "/api", absent=None), Endpoint("GET", "/results", status=302, absent=None),
    Endpoint("GET", "/results/{path:path}", values={"path:path": "x"}, status=302, absent=None),
    Endpoint("GET", "/healthz", absent=None), Endpoint("GET", "/readyz", absent=None),
    Endpoint("GET", "/metrics", absent=None),
    Endpoint("POST", "/webhooks/{forge}/{id}/{secret}", "secret", values={"forge": "github", "id": "{number}"},
             body={}, headers=_PING, absent=403),
    Endpoint("POST", "/webhooks/{forge}/{id}/{secret}/{package}", "secret",
             values={"forge": "github", "id": "{number}", "package": "{package}"}, body={}, headers=_PING, absent=403),
    Endpoint("POST", "/webhooks/custom/{id}/{secret}/{package}", "secret",
             values={"id": "{number}", "package": "{package}"}, body={}),
    Endpoint("POST", "/webhooks/custom-dir/{owner}/{dirname}/{secret}/{package}", "secret",
             values={"package": "{package}"}, body={}),
)  # fmt: skip

ALSO = {("POST", row.path): row for row in ENDPOINTS if row.method in ("PUT", "DELETE")} | {
    ("PUT", row.path): row for row in ENDPOINTS if "/project/fork/" in row.path
}
"""Older methods that work too, by method and path."""
