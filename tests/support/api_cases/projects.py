"""CoprProject."""

from collections.abc import Callable
from typing import Any

from tests.support.api_cases.case import BAD_CHROOTS, BAD_REPO_URLS, REPO_URLS, Case, names, one_of, project, strings

_ENTRY = {"name": "fedora-43-x86_64"}


def _entry(**settings: Any) -> dict[str, Any]:
    return {"chroots": [{**_ENTRY, **settings}]}


def _repos(place: str, wrap: Callable[[list[str]], dict[str, Any]]) -> tuple[Case, ...]:
    """A list of URLs of repositories at `place`; `wrap` puts it into the spec."""
    return (
        project(f"{place} are too many", f"spec.{place}: Too many", **wrap(["http://x.example/"] * 33)),
        *strings(
            project,
            f"one of {place}",
            lambda text: wrap([text]),
            "http://x/" + "a" * 2048,
            *BAD_REPO_URLS,
            shortest=8,
            at=f"{place}[0]",
        ),
    )


PROJECTS: tuple[Case, ...] = (
    project("the smallest"),
    project("owner is missing", "spec.owner: Required value", owner=None),
    project("owner is too long", "spec.owner: Too long", owner="a" * 101),
    *names("CoprProject", "owner", "@"),
    project("name is missing", "spec.name: Required value", name=None),
    project("name is too long", "spec.name: Too long", name="a" * 101),
    *names("CoprProject", "name", "demo:pr:1", "@x"),
    project("description has lines", description="One.\n\nTwo: ü."),
    project("description is of the longest in letters of two bytes", description="ü" * 4096),
    project("description is too long", "spec.description: Too long", description="a" * 4097),
    project("chroots are missing", "spec.chroots: Required value", chroots=None),
    project("chroots are empty", "spec.chroots in body should have at least 1 items", chroots=[]),
    project("chroots are too many", "spec.chroots: Too many", chroots=[{"name": f"a-{n}-x"} for n in range(65)]),
    project(
        "chroots have one twice",
        'spec.chroots[1]: Duplicate value: {"name":"fedora-43-x86_64"}',
        rule=True,
        chroots=[_ENTRY, _ENTRY],
    ),
    project("a chroot has no name", "spec.chroots[0].name: Required value", chroots=[{}]),
    *strings(
        project,
        "a chroot's name",
        lambda text: {"chroots": [{"name": text}]},
        "a-1-" + "x" * 60,
        *BAD_CHROOTS,
        shortest=5,
        at="chroots[0].name",
    ),
    project(
        "a chroot has settings",
        **_entry(
            additionalRepos=list(REPO_URLS),
            additionalPackages=["gcc-c++", "/usr/bin/x", "pkgconfig(zlib) >= 1.2", "@development-tools"],
            withOpts=["docs", "a.b+c"],
            withoutOpts=["tests"],
        ),
    ),
    *_repos("chroots[0].additionalRepos", lambda values: _entry(additionalRepos=values)),
    *_repos("additionalRepos", lambda values: {"additionalRepos": values}),
    project("additionalRepos of all kinds", additionalRepos=list(REPO_URLS)),
    project(
        "additionalPackages are too many",
        "spec.chroots[0].additionalPackages: Too many",
        **_entry(additionalPackages=["a"] * 65),
    ),
    *strings(
        project,
        "an additional package",
        lambda text: _entry(additionalPackages=[text]),
        "a" * 257,
        "--nogpgcheck",
        "-y",
        " a",
        "a\nb",
        "a\x00b",
        "*",
        at="chroots[0].additionalPackages[0]",
    ),
    *(
        case
        for field in ("withOpts", "withoutOpts")
        for case in (
            project(f"{field} are too many", f"spec.chroots[0].{field}: Too many", **_entry(**{field: ["a"] * 33})),
            *strings(
                project,
                f"one of {field}",
                lambda text, field=field: _entry(**{field: [text]}),
                "a" * 65,
                "-x",
                "a b",
                "a;b",
                "$(a)",
                at=f"chroots[0].{field}[0]",
            ),
        )
    ),
    project("enableNet is on", enableNet=True),
    project("private", private=True),
    project("private is a word", "spec.private in body must be of type boolean", private="perhaps"),
    project("timeout is nothing", "spec.timeout in body should be greater than or equal to 1", timeout=0),
    project("timeout is too long", "spec.timeout in body should be less than or equal to 180000", timeout=180001),
    project("sourceChroot is one", sourceChroot="fedora-43-x86_64"),
    *strings(project, "sourceChroot", lambda text: {"sourceChroot": text}, "a-1-" + "x" * 60, "rawhide", shortest=5),
    project(
        "permissions of two users",
        permissions=[{"user": "bob", "builder": "approved"}, {"user": "eve", "admin": "request"}],
    ),
    project(
        "permissions have a user twice",
        'spec.permissions[1]: Duplicate value: {"user":"bob"}',
        rule=True,
        permissions=[{"user": "bob"}, {"user": "bob"}],
    ),
    project(
        "a permission is unknown",
        one_of("nothing", "request", "approved"),
        permissions=[{"user": "bob", "admin": "x"}],
    ),
    *strings(
        project,
        "a permission's user",
        lambda text: {"permissions": [{"user": text}]},
        "a" * 101,
        "@group",
        "a b",
        at="permissions[0].user",
    ),
    project("api settings are kept", api={"homepage": "https://x.example/", "repoPriority": 100, "unlistedOnHp": True}),
    project(
        "api.repoPriority is too large", "spec.api.repoPriority in body should be less", api={"repoPriority": 2**31}
    ),
    project("api.contact has lines", "spec.api.contact in body should match", api={"contact": "a\nb"}),
    project("a chroot has api settings", **_entry(api={"additionalModules": ["!x:1"], "isolation": "simple"})),
    project("a chroot's api.isolation is unknown", "Unsupported value", **_entry(api={"isolation": "x"})),
)
