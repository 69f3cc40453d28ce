"""What the three kinds accept and refuse, as tables: the API server is asked in tests/integration, pydantic in tests/unit.

Each case changes one thing in a spec that is good. Messages are those of the API server, without the object's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LINK = {"type": "link", "link": {"url": "https://sources.example/hello-2.8-1.src.rpm"}}
UPLOAD = {"type": "upload", "upload": {"ref": "Xy_z-1/hello-2.8-1.src.rpm", "sha256": "0" * 64}}

GOOD: Mapping[str, dict[str, Any]] = {
    "CoprBuild": {"owner": "alice", "project": "demo", "source": LINK},
    "CoprProject": {"owner": "alice", "name": "demo", "chroots": [{"name": "fedora-43-x86_64"}]},
    "CoprChroot": {"name": "fedora-43-x86_64", "image": "images.example/fedora:43", "arch": "x86_64"},
}
"""The smallest good spec of each kind."""


@dataclass(frozen=True)
class Case:
    """`change` replaces members of the good spec; None takes one away."""

    kind: str
    title: str
    change: dict[str, Any]
    refused: str = ""
    """A part of the refusal; empty when it is accepted."""
    by_rule: bool = False
    """Refused by a CEL rule, a list's type or a map's keys: the API server's own, pydantic need not know them."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.title}"

    @property
    def spec(self) -> dict[str, Any]:
        merged = {**GOOD[self.kind], **self.change}
        return {name: value for name, value in merged.items() if value is not None}


def _build(title: str, refused: str = "", *, rule: bool = False, **change: Any) -> Case:
    return Case("CoprBuild", title, change, refused, rule)


def _project(title: str, refused: str = "", *, rule: bool = False, **change: Any) -> Case:
    return Case("CoprProject", title, change, refused, rule)


def _chroot(title: str, refused: str = "", *, rule: bool = False, **change: Any) -> Case:
    return Case("CoprChroot", title, change, refused, rule)


BAD_NAMES = (
    ".",
    "..",
    ".hidden",
    "-rf",
    "--help",
    "_x",
    "",
    " ",
    "a b",
    "a/b",
    "a\nb",
    "a\x00b",
    "a\x1bb",
    "a\x7f",
    "ä",
)
"""Names that would be another directory, an option of a program, several words, or unreadable."""


def _names(kind: str, field: str, *more: str) -> tuple[Case, ...]:
    """No name may be one of BAD_NAMES. The empty one is too short, the others don't match."""
    return tuple(
        Case(kind, f"{field} can't be {bad!r}", {field: bad}, f"spec.{field} in body should ")
        for bad in (*BAD_NAMES, *more)
    )


def _one_of(*known: str) -> str:
    return "supported values: " + ", ".join(f'"{value}"' for value in known)


LINK_URL = "spec.source.link.url"
_UNION = "source needs exactly one member, the one that type names"

BUILDS: tuple[Case, ...] = (
    _build("the smallest"),
    _build("owner is a group", owner="@copr"),
    _build("owner is missing", "spec.owner: Required value", owner=None),
    _build("owner is too long", "spec.owner: Too long: may not be more than 100", owner="a" * 101),
    _build("owner is of the longest", owner="a" * 100),
    *_names("CoprBuild", "owner", "@", "@@x", "a+b"),
    _build("project has a plus", project="libstdc++"),
    _build("project is missing", "spec.project: Required value", project=None),
    _build("project is too long", "spec.project: Too long: may not be more than 100", project="a" * 101),
    *_names("CoprBuild", "project", "@x", "a:b"),
    _build("projectDirname is the project", projectDirname="demo"),
    _build("projectDirname is a pull request's", projectDirname="demo:pr:1"),
    _build("projectDirname is a custom one", projectDirname="demo:custom:a-b"),
    _build("projectDirname is another project", "spec.projectDirname must be the project's name, or start with it and a "
           "colon", rule=True, projectDirname="other"),
    _build("projectDirname only begins like the project", "spec.projectDirname must be", rule=True,
           projectDirname="demo2:pr:1"),
    _build("projectDirname ends in a colon", "spec.projectDirname in body should match", projectDirname="demo:"),
    _build("projectDirname has a path", "spec.projectDirname in body should match", projectDirname="demo:pr:../x"),
    _build("projectDirname is too long", "spec.projectDirname: Too long", projectDirname="demo:" + "a" * 200),
    _build("projectDirname is empty", "spec.projectDirname in body should be at least 1 chars", projectDirname=""),
    _build("source is missing", "spec.source: Required value", source=None),
    _build("source has no type", "spec.source.type: Required value", source={"link": LINK["link"]}),
    _build("source is of an unknown type", _one_of("link", "upload", "scm", "distgit", "pypi", "rubygems", "custom"),
           source={**LINK, "type": "ftp"}),
    _build("source is an upload", source=UPLOAD),
    _build("source has no member", _UNION, rule=True, source={"type": "link"}),
    _build("source has two members", _UNION, rule=True, source={**UPLOAD, **LINK}),
    _build("source has the other member", "source.type is 'upload', so source.upload must be given", rule=True,
           source={**LINK, "type": "upload"}),
    _build("source has the other member the other way round", "source.type is 'link', so source.link must be given",
           rule=True, source={**UPLOAD, "type": "link"}),
    _build("link has no url", "spec.source.link.url: Required value", source={"type": "link", "link": {}}),
    *(
        _build(f"link is {url!r}", f"{LINK_URL} in body should match", source={"type": "link", "link": {"url": url}})
        for url in ("file:///etc/passwd", "ftp://x.example/a", "https:///a", "http://a b/x", "http://x/a b", "-ohttp://x/",
                    "http://x/\u00a0", "http://x/\u2028", "http://x\\@y/", "http://x/\x7f", "HTTP://x/a", "http://x/ü")
    ),
    *(
        _build(f"link is {url!r}", source={"type": "link", "link": {"url": url}})
        for url in ("http://x", "https://user:secret@x.example:8443/a.spec?q=1#f", "http://[::1]:80/a.spec", "http://x?a")
    ),
    _build("link is too long", f"{LINK_URL}: Too long", source={"type": "link", "link": {"url": "http://x/" + "a" * 2048}}),
    _build("link is too short", f"{LINK_URL} in body should be at least 8 chars", source={"type": "link",
           "link": {"url": "http://"}}),
    _build("upload has no ref", "spec.source.upload.ref: Required value", source={"type": "upload", "upload": {}}),
    *(
        _build(f"upload's ref is {ref!r}", "spec.source.upload.ref in body should match",
               source={"type": "upload", "upload": {"ref": ref}})
        for ref in ("hello.src.rpm", "/hello.src.rpm", "a/../b", "a/.b", "a/-b", "a/b/c", "a/b\n", "../b")
    ),
    _build("upload's ref is empty", "spec.source.upload.ref in body should be at least 1 chars",
           source={"type": "upload", "upload": {"ref": ""}}),
    _build("upload's ref is too long", "spec.source.upload.ref: Too long",
           source={"type": "upload", "upload": {"ref": "a/" + "b" * 319}}),
    *(
        _build(f"upload's sha256 is {text[:9]!r}...", f"spec.source.upload.sha256{why}",
               source={"type": "upload", "upload": {"ref": "a/b", "sha256": text}})
        for text, why in (("0" * 63, " in body should be at least 64"), ("0" * 65, ": Too long"), ("A" * 64, " in body should match"))
    ),
    _build("chroots are names and patterns", chroots=["fedora-43-x86_64", "fedora-*-aarch64", "[de]*-1?-x86_64"]),
    _build("chroots are empty", "spec.chroots in body should have at least 1 items", chroots=[]),
    _build("chroots have one twice", 'spec.chroots[1]: Duplicate value: "a-1-x"', rule=True, chroots=["a-1-x", "a-1-x"]),
    _build("chroots are too many", "spec.chroots: Too many: 65: must have at most 64 items",
           chroots=[f"a-{n}-x" for n in range(65)]),
    _build("chroots are as many as can be", chroots=[f"a-{n}-x" for n in range(64)]),
    _build("a chroot is empty", "spec.chroots[0] in body should be at least 1 chars", chroots=[""]),
    _build("a chroot is too long", "spec.chroots[0]: Too long", chroots=["a" * 64]),
    _build("a chroot is like an option", "spec.chroots[0] in body should match", chroots=["--all"]),
    _build("excludeChroots may be empty", excludeChroots=[]),
    _build("excludeChroots have one twice", "spec.excludeChroots[1]: Duplicate value", rule=True, excludeChroots=["*", "*"]),
    _build("excludeChroots are too many", "spec.excludeChroots: Too many", excludeChroots=[f"a-{n}-x" for n in range(65)]),
    _build("an excluded chroot is empty", "spec.excludeChroots[0] in body should be at least 1", excludeChroots=[""]),
    _build("an excluded chroot is too long", "spec.excludeChroots[0]: Too long", excludeChroots=["a" * 64]),
    _build("an excluded chroot has a space", "spec.excludeChroots[0] in body should match", excludeChroots=["a b"]),
    _build("timeout is of the shortest", timeout=1),
    _build("timeout is of the longest", timeout=180000),
    _build("timeout is nothing", "spec.timeout in body should be greater than or equal to 1", timeout=0),
    _build("timeout is too long", "spec.timeout in body should be less than or equal to 180000", timeout=180001),
    _build("memoryLimitMB is too small", "spec.memoryLimitMB in body should be greater than or equal to 64", memoryLimitMB=63),
    _build("memoryLimitMB is too large", "spec.memoryLimitMB in body should be less than", memoryLimitMB=1048577),
    _build("enableNet is off", enableNet=False),
    _build("enableNet is a word", "spec.enableNet in body must be of type boolean", enableNet="perhaps"),
    _build("background is on", background=True),
    _build("afterBuild alone", afterBuild="other.build-1"),
    _build("withBuild alone", withBuild="other"),
    _build("afterBuild and withBuild", "spec.afterBuild and spec.withBuild can't be given together", rule=True,
           afterBuild="a", withBuild="b"),
    *(
        _build(f"{field} is {why}", f"spec.{field}{message}", **{field: name})
        for field in ("afterBuild", "withBuild")
        for name, why, message in (("", "empty", " in body should be at least 1"), ("a" * 254, "too long", ": Too long"),
                                   ("A_b", "no object's name", " in body should match"))
    ),
    _build("submitter is a service account", submitter="system:serviceaccount:ci:bot"),
    _build("submitter is empty", "spec.submitter in body should be at least 1 chars", submitter=""),
    _build("submitter is too long", "spec.submitter: Too long", submitter="a" * 101),
    *(
        _build(f"submitter is {bad!r}", "spec.submitter in body should match", submitter=bad)
        for bad in ("a b", "a\nb", "a\x00", "a\u00a0b", "a\u202eb")
    ),
    _build("queueTimeout is nothing", "spec.queueTimeout in body should be greater than or equal to 1", queueTimeout=0),
    _build("queueTimeout is too long", "spec.queueTimeout in body should be less than", queueTimeout=2592001),
    _build("results are kept", results="Retain"),
    _build("results are something else", _one_of("Delete", "Retain"), results="Keep"),
    _build("a canceled build can be created", cancel=True),
)  # fmt: skip

REPO = {"id": "base", "baseurl": "https://mirror.example/$releasever/$basearch/os/"}
_ENTRY = {"name": "fedora-43-x86_64"}
_REPO_URLS = ("http://x", "copr://@group/libstdc++", "copr://alice/demo:pr:1", "https://x/$chroot/$basearch/")
_BAD_REPO_URLS = ("file:///srv/repo", "copr://alice", "copr://alice/..", "copr://../x", "http://x/a b", "http://x/\na=b",
                  "http://x/\u00a0", "mirror.example/x")  # fmt: skip
_BAD_CHROOTS = ("srpm-builds", "fedora-43", "Fedora-43-x86_64", "-43-x86_64", "fedora-43-", "fedora-4/3-x86_64",
                "..-..-..", "fedora-43-x86_64\n", "fedora-43-x86 64")  # fmt: skip


def _strings(
    make: Any, field: str, wrap: Any, too_long: str, *bad: str, shortest: int = 1, at: str = ""
) -> tuple[Case, ...]:
    """The bounds and the pattern of one string. `wrap` puts it into the spec, `at` is its path."""
    path = f"spec.{at or field}"
    short = (
        [make(f"{field} is empty", f"{path} in body should be at least {shortest} chars", **wrap(""))]
        if shortest
        else []
    )
    return (
        *short,
        make(f"{field} is too long", f"{path}: Too long", **wrap(too_long)),
        *(make(f"{field} is {text!r}", f"{path} in body should match", **wrap(text)) for text in bad),
    )


def _entry(**settings: Any) -> dict[str, Any]:
    return {"chroots": [{**_ENTRY, **settings}]}


PROJECTS: tuple[Case, ...] = (
    _project("the smallest"),
    _project("owner is missing", "spec.owner: Required value", owner=None),
    _project("owner is too long", "spec.owner: Too long", owner="a" * 101),
    *_names("CoprProject", "owner", "@"),
    _project("name is missing", "spec.name: Required value", name=None),
    _project("name is too long", "spec.name: Too long", name="a" * 101),
    *_names("CoprProject", "name", "demo:pr:1", "@x"),
    _project("description has lines", description="One.\n\nTwo: ü."),
    _project("description is too long", "spec.description: Too long", description="a" * 4097),
    _project("chroots are missing", "spec.chroots: Required value", chroots=None),
    _project("chroots are empty", "spec.chroots in body should have at least 1 items", chroots=[]),
    _project("chroots are too many", "spec.chroots: Too many", chroots=[{"name": f"a-{n}-x"} for n in range(65)]),
    _project("chroots have one twice", 'spec.chroots[1]: Duplicate value: {"name":"fedora-43-x86_64"}', rule=True,
             chroots=[_ENTRY, _ENTRY]),
    _project("a chroot has no name", "spec.chroots[0].name: Required value", chroots=[{}]),
    *_strings(_project, "a chroot's name", lambda text: {"chroots": [{"name": text}]}, "a-1-" + "x" * 60, *_BAD_CHROOTS,
              shortest=5, at="chroots[0].name"),
    _project("a chroot has settings", **_entry(additionalRepos=list(_REPO_URLS), additionalPackages=["gcc-c++", "/usr/bin/x",
             "pkgconfig(zlib) >= 1.2", "@development-tools"], withOpts=["docs", "a.b+c"], withoutOpts=["tests"])),
    *(
        case
        for field, place in (("additionalRepos", "chroots[0].additionalRepos"), ("additionalRepos", "additionalRepos"))
        for wrap in [(lambda values, inner=place != "additionalRepos": _entry(additionalRepos=values) if inner
                      else {"additionalRepos": values})]
        for case in (
            _project(f"{place} are too many", f"spec.{place}: Too many", **wrap(["http://x.example/"] * 33)),
            *_strings(_project, f"one of {place}", lambda text, wrap=wrap: wrap([text]), "http://x/" + "a" * 2048,
                      *_BAD_REPO_URLS, shortest=8, at=f"{place}[0]"),
        )
    ),
    _project("additionalRepos of all kinds", additionalRepos=list(_REPO_URLS)),
    _project("additionalPackages are too many", "spec.chroots[0].additionalPackages: Too many",
             **_entry(additionalPackages=["a"] * 65)),
    *_strings(_project, "an additional package", lambda text: _entry(additionalPackages=[text]), "a" * 257, "--nogpgcheck",
              "-y", " a", "a\nb", "a\x00b", "*", at="chroots[0].additionalPackages[0]"),
    *(
        case
        for field in ("withOpts", "withoutOpts")
        for case in (
            _project(f"{field} are too many", f"spec.chroots[0].{field}: Too many", **_entry(**{field: ["a"] * 33})),
            *_strings(_project, f"one of {field}", lambda text, field=field: _entry(**{field: [text]}), "a" * 65, "-x",
                      "a b", "a;b", "$(a)", at=f"chroots[0].{field}[0]"),
        )
    ),
    _project("enableNet is on", enableNet=True),
    _project("timeout is nothing", "spec.timeout in body should be greater than or equal to 1", timeout=0),
    _project("timeout is too long", "spec.timeout in body should be less than or equal to 180000", timeout=180001),
    _project("sourceChroot is one", sourceChroot="fedora-43-x86_64"),
    *_strings(_project, "sourceChroot", lambda text: {"sourceChroot": text}, "a-1-" + "x" * 60, "rawhide", shortest=5),
    _project("permissions of two users", permissions=[{"user": "bob", "builder": "approved"}, {"user": "eve", "admin": "request"}]),
    _project("permissions have a user twice", "spec.permissions[1]: Duplicate value", rule=True,
             permissions=[{"user": "bob"}, {"user": "bob"}]),
    _project("a permission is unknown", _one_of("nothing", "request", "approved"), permissions=[{"user": "bob", "admin": "x"}]),
    *_strings(_project, "a permission's user", lambda text: {"permissions": [{"user": text}]}, "a" * 101, "@group", "a b",
              at="permissions[0].user"),
    _project("api settings are kept", api={"homepage": "https://x.example/", "repoPriority": 9, "unlistedOnHp": True}),
    _project("api.repoPriority is too large", "spec.api.repoPriority in body should be less than", api={"repoPriority": 100}),
    _project("api.contact has lines", "spec.api.contact in body should match", api={"contact": "a\nb"}),
    _project("a chroot has api settings", **_entry(api={"additionalModules": ["!x:1"], "isolation": "simple"})),
    _project("a chroot's api.isolation is unknown", "Unsupported value", **_entry(api={"isolation": "x"})),
)  # fmt: skip

_QUANTITIES = ("cpuRequest", "cpuLimit", "memoryRequest", "storageRequest", "storageLimit")

CHROOTS: tuple[Case, ...] = (
    _chroot("the smallest"),
    _chroot("name is missing", "spec.name: Required value", name=None),
    *(_chroot(f"name is {name!r}", name=name) for name in ("epel-10-s390x", "opensuse-leap-15.6-x86_64", "rhel+epel-9-aarch64")),
    *_strings(_chroot, "name", lambda text: {"name": text}, "a-1-" + "x" * 60, *_BAD_CHROOTS, shortest=5),
    _chroot("image is missing", "spec.image: Required value", image=None),
    _chroot("image has a digest", image=f"images.example:5000/a/b_c@sha256:{'0' * 64}"),
    *_strings(_chroot, "image", lambda text: {"image": text}, "a" * 513, "-a", "a b", "a\nb", "http://ü"),
    _chroot("arch is missing", "spec.arch: Required value", arch=None),
    *_strings(_chroot, "arch", lambda text: {"arch": text}, "a" * 17, "X86", "../a", "a-b"),
    _chroot("enabled is off", enabled=False),
    _chroot("repos of all kinds", repos=[{**REPO, "id": f"r{n}", "baseurl": url, "priority": 999} for n, url in
            enumerate(_REPO_URLS)]),
    _chroot("repos are too many", "spec.repos: Too many", repos=[{**REPO, "id": f"r{n}"} for n in range(33)]),
    _chroot("repos have one twice", 'spec.repos[1]: Duplicate value: {"id":"base"}', rule=True, repos=[REPO, REPO]),
    _chroot("a repo has no id", "spec.repos[0].id: Required value", repos=[{"baseurl": REPO["baseurl"]}]),
    *_strings(_chroot, "a repo's id", lambda text: {"repos": [{**REPO, "id": text}]}, "a" * 65, "a]b", "a b", "-a",
              at="repos[0].id"),
    _chroot("a repo has no baseurl", "spec.repos[0].baseurl: Required value", repos=[{"id": "a"}]),
    *_strings(_chroot, "a repo's baseurl", lambda text: {"repos": [{**REPO, "baseurl": text}]}, "http://x/" + "a" * 2048,
              *_BAD_REPO_URLS, shortest=8, at="repos[0].baseurl"),
    _chroot("a repo's priority is nothing", "spec.repos[0].priority in body should be greater than or equal to 1",
            repos=[{**REPO, "priority": 0}]),
    _chroot("a repo's priority is too low", "spec.repos[0].priority in body should be less than or equal to 999",
            repos=[{**REPO, "priority": 1000}]),
    _chroot("dist is none at all", dist=""),
    *_strings(_chroot, "dist", lambda text: {"dist": text}, "." * 33, ".fc 43", ".fc%43", ".fc-43", shortest=0),
    *_strings(_chroot, "releaseVer", lambda text: {"releaseVer": text}, "1" * 33, "-1", "4 3", "../43"),
    _chroot("macros", macros={"_with_x": "1", "dist_name": "Fedora\tLinux %{?x}", "abc": "", "x" * 64: "ü"}),
    _chroot("macros are too many", "spec.macros: Too many: 65: must have at most 64 items",
            macros={f"abc{n}": "1" for n in range(65)}),
    *(
        _chroot(f"a macro is called {name[:9]!r}", "a macro's name has 3 to 64 letters, digits and underscores, without the %",
                rule=True, macros={name: "1"})
        for name in ("", "ab", "%abc", "1abc", "a-bc", "abc(x)", "abc\n", "x" * 65)
    ),
    *(
        _chroot(f"a macro is {body[:9]!r}", "spec.macros.abc" + why, macros={"abc": body})
        for body, why in (("a" * 513, ": Too long"), ("a\nb", " in body should match"), ("a\x00", " in body should match"))
    ),
    _chroot("packages are too many", "spec.packages: Too many", packages=["a"] * 65),
    *_strings(_chroot, "a package", lambda text: {"packages": [text]}, "a" * 257, "--nogpgcheck", "a\nb", "a\x00",
              at="packages[0]"),
    _chroot("networkProfile is sysadmin", networkProfile="sysadmin"),
    _chroot("networkProfile is unknown", _one_of("nested", "sysadmin", "sandbox"), networkProfile="host"),
    _chroot("networkProfile is sandbox", networkProfile="sandbox", runtimeClassName="kata"),
    _chroot("networkProfile is sandbox without a sandbox",
            "spec.networkProfile is 'sandbox', so spec.runtimeClassName must be given", rule=True, networkProfile="sandbox"),
    *_strings(_chroot, "runtimeClassName", lambda text: {"runtimeClassName": text}, "a" * 254, "A", "a-", "a_b"),
    _chroot("nodeSelector", nodeSelector={"copr.example/builder": "", "disk": "fast_1.0", f"{'a' * 253}/{'b' * 63}": "x"}),
    _chroot("nodeSelector is too large", "spec.nodeSelector: Too many", nodeSelector={f"a{n}": "" for n in range(33)}),
    *(
        _chroot(f"nodeSelector's key is {key[:9]!r}", "a node selector's key must be a label key", rule=True,
                nodeSelector={key: "x"})
        for key in ("", "a b", "-a", "a/b/c", "A.example/x", "x" * 64, "a" * 254 + "/x")
    ),
    *(
        _chroot(f"nodeSelector's value is {value[:9]!r}", f"spec.nodeSelector.a{why}", nodeSelector={"a": value})
        for value, why in (("a" * 64, ": Too long"), ("a b", " in body should match"), ("-", " in body should match"))
    ),
    _chroot("resources of all kinds", resources={"cpuRequest": "0.5", "cpuLimit": "1500m", "memoryRequest": "1.5Gi",
            "storageRequest": "1k", "storageLimit": "2T"}),
    _chroot("resources ask for more cpu than they may use", "resources.cpuRequest is more than resources.cpuLimit", rule=True,
            resources={"cpuRequest": "1500m", "cpuLimit": "1"}),
    _chroot("resources ask for more storage than they may use", "resources.storageRequest is more than resources.storageLimit",
            rule=True, resources={"storageRequest": "2Gi", "storageLimit": "2G"}),
    *(
        case
        for field in _QUANTITIES
        for case in _strings(_chroot, field, lambda text, field=field: {"resources": {field: text}}, "1" * 33, "a lot", "-1",
                             "1e3", at=f"resources.{field}")
    ),
)  # fmt: skip

_SMALLEST: Mapping[str, dict[str, Any]] = {
    "scm": {"cloneURL": "https://git.example/hello.git"},
    "distgit": {"package": "hello"},
    "pypi": {"name": "hello"},
    "rubygems": {"name": "hello"},
    "custom": {"script": "#!/bin/sh\nexit 0\n"},
}


def _from(type_: str, **change: Any) -> dict[str, Any]:
    """A build from the smallest source of this type, changed."""
    return {"source": {"type": type_, type_: {**_SMALLEST[type_], **change}}}


def _field(type_: str, field: str, too_long: str, *bad: str, shortest: int = 1) -> tuple[Case, ...]:
    return _strings(
        _build,
        f"{type_}'s {field}",
        lambda text: _from(type_, **{field: text}),
        too_long,
        *bad,
        shortest=shortest,
        at=f"source.{type_}.{field}",
    )


def _leaves(type_: str, field: str, *bad: str) -> tuple[Case, ...]:
    return tuple(
        _build(f"{type_}'s {field} is {path!r}", f"{field} must not leave", rule=True, **_from(type_, **{field: path}))
        for path in bad
    )


_REVISIONS = ("--upload-pack=touch /tmp/x", "-b", "a b", "a:b", "a\nb", "+refs/heads/*", "ü")

SOURCES: tuple[Case, ...] = (
    *(_build(f"{type_} is the smallest", **_from(type_)) for type_ in _SMALLEST),
    *(
        _build(
            f"{type_} has no {field}", f"spec.source.{type_}.{field}: Required value", source={"type": type_, type_: {}}
        )
        for type_, smallest in _SMALLEST.items()
        for field in smallest
    ),
    *(
        _build(
            f"source is of type {type_} without it",
            f"source.type is '{type_}', so source.{type_} must be given",
            rule=True,
            source={**LINK, "type": type_},
        )
        for type_ in _SMALLEST
    ),
    _build(
        "scm is of all fields",
        **_from(
            "scm",
            type="svn",
            cloneURL="svn+ssh://me@svn.example:2222/svn/hello/trunk",
            committish="r12",
            subdirectory="a b/c",
            spec="dist/hello.spec",
            method="tito_test",
            credentialsSecret="key",
        ),
    ),
    *(
        _build(f"scm's cloneURL is {url!r}", **_from("scm", cloneURL=url))
        for url in (
            "https://user:secret@x.example:8443/a",
            "ssh://git@x.example/a.git",
            "git://x.example/a",
            "svn://[::1]/a",
        )
    ),
    *_field(
        "scm",
        "cloneURL",
        "https://x/" + "a" * 2048,
        "ext::sh -c true",
        "file:///srv/a",
        "git@x.example:a.git",
        "/srv/a.git",
        "ssh://-oProxyCommand=x/a",
        "ssh://git@-oProxyCommand=x/a",
        "ssh://-l@x.example/a",
        "https:///a.git",
        "https://x/a b",
        shortest=8,
    ),
    _build("scm's type is unknown", _one_of("git", "svn"), **_from("scm", type="hg")),
    _build("scm's method is unknown", _one_of("rpkg", "tito", "tito_test", "make_srpm"), **_from("scm", method="make")),
    *(
        _build(f"scm's committish is {name!r}", **_from("scm", committish=name))
        for name in ("main", "v1.0^{}", "refs/pull/12/head", "HEAD~1", "feature/a+b", "0" * 40)
    ),
    *_field("scm", "committish", "a" * 257, *_REVISIONS),
    *_field("scm", "subdirectory", "a" * 513, "-a", "a\nb", "a;b", "$(a)"),
    *_leaves("scm", "subdirectory", "..", "../a", "a/../../b", "a/.."),
    *_field("scm", "spec", "a" * 512 + ".spec", "-a.spec", "a.specs", "a\n.spec", shortest=6),
    *_leaves("scm", "spec", "../a.spec", "a/../../b.spec"),
    *_field("scm", "credentialsSecret", "a" * 254, "A_b", "a/b"),
    _build(
        "distgit is of all fields",
        **_from("distgit", package="libstdc++", instance="centos", namespace="forks/me/rpms", committish="c10s"),
    ),
    *_field("distgit", "package", "a" * 101, "-a", "../a", "a/b", ".a"),
    *_field("distgit", "instance", "a" * 64, "-a", "A", "a/b"),
    *_field("distgit", "namespace", "a" * 201, "-a", "../a", "a//b", "/a", "a/../b", "a/-b"),
    *_field("distgit", "committish", "a" * 257, *_REVISIONS),
    _build(
        "pypi is of all fields",
        **_from(
            "pypi",
            name="zope.interface",
            version="1!2.0rc1+local",
            pythonVersions=["3", "3.9"],
            specGenerator="pyp2rpm",
            specTemplate="epel7",
        ),
    ),
    *_field("pypi", "name", "a" * 129, "-a", "a-", "a b", "../a"),
    *_field("pypi", "version", "a" * 65, "-1", "1 2", "1;2"),
    _build(
        "pypi's pythonVersions are too many",
        "spec.source.pypi.pythonVersions: Too many",
        **_from("pypi", pythonVersions=["3"] * 9),
    ),
    *_strings(
        _build,
        "one of pypi's pythonVersions",
        lambda text: _from("pypi", pythonVersions=[text]),
        "3" * 7,
        "-3",
        "3.9.1",
        "py3",
        at="source.pypi.pythonVersions[0]",
    ),
    _build(
        "pypi's pythonVersions are numbers",
        "spec.source.pypi.pythonVersions[0] in body must be of type string",
        **_from("pypi", pythonVersions=[3]),
    ),
    _build("pypi's specGenerator is unknown", _one_of("pyp2spec", "pyp2rpm"), **_from("pypi", specGenerator="x")),
    _build(
        "pypi's specTemplate is unknown", _one_of("fedora", "epel7", "mageia", "pld"), **_from("pypi", specTemplate="x")
    ),
    *_field("rubygems", "name", "a" * 129, "-a", "a b", "a/b", ".a"),
    _build(
        "custom is of all fields",
        **_from(
            "custom",
            chroot="fedora-43-x86_64",
            builddeps=["git", "gcc-c++ >= 14"],
            resultdir="out/a",
            repos=list(_REPO_URLS),
        ),
    ),
    *_field("custom", "script", "a" * 4097, "a\x00b"),
    *_field("custom", "chroot", "a-1-" + "x" * 60, "rawhide", shortest=5),
    _build(
        "custom's builddeps are too many",
        "spec.source.custom.builddeps: Too many",
        **_from("custom", builddeps=["a"] * 65),
    ),
    *_strings(
        _build,
        "one of custom's builddeps",
        lambda text: _from("custom", builddeps=[text]),
        "a" * 257,
        "--nogpgcheck",
        "a\nb",
        at="source.custom.builddeps[0]",
    ),
    *_field("custom", "resultdir", "a" * 513, "-a", "a\nb", "$(a)"),
    *_leaves("custom", "resultdir", "..", "a/../../b"),
    _build(
        "custom's repos are too many",
        "spec.source.custom.repos: Too many",
        **_from("custom", repos=["http://x.example/"] * 33),
    ),
    *_strings(
        _build,
        "one of custom's repos",
        lambda text: _from("custom", repos=[text]),
        "http://x/" + "a" * 2048,
        *_BAD_REPO_URLS,
        shortest=8,
        at="source.custom.repos[0]",
    ),
)

CASES: tuple[Case, ...] = (*BUILDS, *PROJECTS, *CHROOTS, *SOURCES)
