"""CoprBuild."""

from tests.support.api_cases.case import LINK, UNREADABLE_HOSTS, UPLOAD, Case, build, names, one_of

LINK_URL = "spec.source.link.url"
_ONE_OF_TWO = "spec needs exactly one of source and rerunOf"
_UNION = "source needs exactly one member, the one that type names"

BUILDS: tuple[Case, ...] = (
    build("the smallest"),
    build("owner is a group", owner="@copr"),
    build("owner is missing", "spec.owner: Required value", owner=None),
    build("owner is too long", "spec.owner: Too long: may not be more than 100", owner="a" * 101),
    build("owner is of the longest", owner="a" * 100),
    *names("CoprBuild", "owner", "@", "@@x", "a+b"),
    build("project has a plus", project="libstdc++"),
    build("project is missing", "spec.project: Required value", project=None),
    build("project is too long", "spec.project: Too long: may not be more than 100", project="a" * 101),
    *names("CoprBuild", "project", "@x", "a:b"),
    build("projectDirname is the project", projectDirname="demo"),
    build("projectDirname is a pull request's", projectDirname="demo:pr:1"),
    build("projectDirname is a custom one", projectDirname="demo:custom:a-b"),
    build(
        "projectDirname is another project",
        "spec.projectDirname must be the project's name, or start with it and a colon",
        rule=True,
        projectDirname="other",
    ),
    build(
        "projectDirname only begins like the project",
        "spec.projectDirname must be",
        rule=True,
        projectDirname="demo2:pr:1",
    ),
    build("projectDirname ends in a colon", "spec.projectDirname in body should match", projectDirname="demo:"),
    build("projectDirname has a path", "spec.projectDirname in body should match", projectDirname="demo:pr:../x"),
    build("projectDirname is too long", "spec.projectDirname: Too long", projectDirname="demo:" + "a" * 200),
    build("projectDirname is empty", "spec.projectDirname in body should be at least 1 chars", projectDirname=""),
    build("source is missing", _ONE_OF_TWO, rule=True, source=None),
    build("a rerun has no source", source=None, rerunOf="other.build-1"),
    build("source and rerunOf", _ONE_OF_TWO, rule=True, rerunOf="other"),
    build("source has no type", "spec.source.type: Required value", source={"link": LINK["link"]}),
    build(
        "source is of an unknown type",
        one_of("link", "upload", "scm", "distgit", "pypi", "rubygems", "custom"),
        source={**LINK, "type": "ftp"},
    ),
    build("source is an upload", source=UPLOAD),
    build("source has no member", _UNION, rule=True, source={"type": "link"}),
    build("source has two members", _UNION, rule=True, source={**UPLOAD, **LINK}),
    build(
        "source has the other member",
        "source.type is 'upload', so source.upload must be given",
        rule=True,
        source={**LINK, "type": "upload"},
    ),
    build(
        "source has the other member the other way round",
        "source.type is 'link', so source.link must be given",
        rule=True,
        source={**UPLOAD, "type": "link"},
    ),
    build("link has no url", "spec.source.link.url: Required value", source={"type": "link", "link": {}}),
    *(
        build(f"link is {url!r}", f"{LINK_URL} in body should match", source={"type": "link", "link": {"url": url}})
        for url in (
            "file:///etc/passwd",
            "ftp://x.example/a",
            "https:///a",
            "http://a b/x",
            "http://x/a b",
            "-ohttp://x/",
            "http://x/\u00a0",
            "http://x/\u2028",
            "http://x\\@y/",
            "http://x/\x7f",
            "HTTP://x/a",
            "http://x/ü",
        )
    ),
    *(
        build(f"link is {url!r}", source={"type": "link", "link": {"url": url}})
        for url in (
            "http://x",
            "https://user:secret@x.example:8443/a.spec?q=1#f",
            "http://[::1]:80/a.spec",
            "http://x?a",
        )
    ),
    *(
        build(
            f"link's host is {host!r}",
            "url needs a host: brackets are for an IPv6 address, and a port is a number",
            rule=True,
            source={"type": "link", "link": {"url": f"https://{host}/a.spec"}},
        )
        for host in UNREADABLE_HOSTS
    ),
    build(
        "link is too long", f"{LINK_URL}: Too long", source={"type": "link", "link": {"url": "http://x/" + "a" * 2048}}
    ),
    build(
        "link is too short",
        f"{LINK_URL} in body should be at least 8 chars",
        source={"type": "link", "link": {"url": "http://"}},
    ),
    build("upload has no ref", "spec.source.upload.ref: Required value", source={"type": "upload", "upload": {}}),
    *(
        build(
            f"upload's ref is {ref!r}",
            "spec.source.upload.ref in body should match",
            source={"type": "upload", "upload": {"ref": ref}},
        )
        for ref in ("hello.src.rpm", "/hello.src.rpm", "a/../b", "a/.b", "a/-b", "a/b/c", "a/b\n", "../b")
    ),
    build(
        "upload's ref is empty",
        "spec.source.upload.ref in body should be at least 1 chars",
        source={"type": "upload", "upload": {"ref": ""}},
    ),
    build(
        "upload's ref is too long",
        "spec.source.upload.ref: Too long",
        source={"type": "upload", "upload": {"ref": "a/" + "b" * 319}},
    ),
    *(
        build(
            f"upload's sha256 is {len(text)} times {text[0]!r}",
            f"spec.source.upload.sha256{why}",
            source={"type": "upload", "upload": {"ref": "a/b", "sha256": text}},
        )
        for text, why in (
            ("0" * 63, " in body should be at least 64"),
            ("0" * 65, ": Too long"),
            ("A" * 64, " in body should match"),
        )
    ),
    build("chroots are names and patterns", chroots=["fedora-43-x86_64", "fedora-*-aarch64", "[de]*-1?-x86_64"]),
    build("chroots are empty", "spec.chroots in body should have at least 1 items", chroots=[]),
    build("chroots have one twice", 'spec.chroots[1]: Duplicate value: "a-1-x"', rule=True, chroots=["a-1-x", "a-1-x"]),
    build(
        "chroots are too many",
        "spec.chroots: Too many: 65: must have at most 64 items",
        chroots=[f"a-{n}-x" for n in range(65)],
    ),
    build("chroots are as many as can be", chroots=[f"a-{n}-x" for n in range(64)]),
    build("a chroot is empty", "spec.chroots[0] in body should be at least 1 chars", chroots=[""]),
    build("a chroot is too long", "spec.chroots[0]: Too long", chroots=["a" * 64]),
    build("a chroot is like an option", "spec.chroots[0] in body should match", chroots=["--all"]),
    build("excludeChroots may be empty", excludeChroots=[]),
    build(
        "excludeChroots have one twice", "spec.excludeChroots[1]: Duplicate value", rule=True, excludeChroots=["*", "*"]
    ),
    build(
        "excludeChroots are too many", "spec.excludeChroots: Too many", excludeChroots=[f"a-{n}-x" for n in range(65)]
    ),
    build("an excluded chroot is empty", "spec.excludeChroots[0] in body should be at least 1", excludeChroots=[""]),
    build("an excluded chroot is too long", "spec.excludeChroots[0]: Too long", excludeChroots=["a" * 64]),
    build("an excluded chroot has a space", "spec.excludeChroots[0] in body should match", excludeChroots=["a b"]),
    build("timeout is of the shortest", timeout=1),
    build("timeout is of the longest", timeout=180000),
    build("timeout is nothing", "spec.timeout in body should be greater than or equal to 1", timeout=0),
    build("timeout is too long", "spec.timeout in body should be less than or equal to 180000", timeout=180001),
    build(
        "memoryLimitMB is too small",
        "spec.memoryLimitMB in body should be greater than or equal to 64",
        memoryLimitMB=63,
    ),
    build("memoryLimitMB is too large", "spec.memoryLimitMB in body should be less than", memoryLimitMB=1048577),
    build("enableNet is off", enableNet=False),
    build("enableNet is a word", "spec.enableNet in body must be of type boolean", enableNet="perhaps"),
    build("background is on", background=True),
    build("forkedFrom names a build", forkedFrom={"owner": "@copr", "projectDirname": "demo:pr:1", "id": 1}),
    build(
        "forkedFrom has no id", "spec.forkedFrom.id: Required value", forkedFrom={"owner": "a", "projectDirname": "b"}
    ),
    build(
        "forkedFrom has a path",
        "spec.forkedFrom.projectDirname in body should match",
        forkedFrom={"owner": "a", "projectDirname": "../b", "id": 1},
    ),
    build(
        "forkedFrom names no build",
        "spec.forkedFrom.id in body should be greater than or equal to 1",
        forkedFrom={"owner": "a", "projectDirname": "b", "id": 0},
    ),
    build("afterBuild alone", afterBuild="other.build-1"),
    build("withBuild alone", withBuild="other"),
    build(
        "afterBuild and withBuild",
        "spec.afterBuild and spec.withBuild can't be given together",
        rule=True,
        afterBuild="a",
        withBuild="b",
    ),
    *(
        Case("CoprBuild", f"{field} is {why}", {field: name}, f"spec.{field}{message}")
        for field in ("afterBuild", "withBuild", "rerunOf")
        for name, why, message in (
            ("", "empty", " in body should be at least 1"),
            ("a" * 254, "too long", ": Too long"),
            ("A_b", "no object's name", " in body should match"),
        )
    ),
    build("submitter is a service account", submitter="system:serviceaccount:ci:bot"),
    build("submitter is empty", "spec.submitter in body should be at least 1 chars", submitter=""),
    build("submitter is too long", "spec.submitter: Too long", submitter="a" * 101),
    *(
        build(f"submitter is {bad!r}", "spec.submitter in body should match", submitter=bad)
        for bad in ("a b", "a\nb", "a\x00", "a\u00a0b", "a\u202eb")
    ),
    build("queueTimeout is nothing", "spec.queueTimeout in body should be greater than or equal to 1", queueTimeout=0),
    build("queueTimeout is too long", "spec.queueTimeout in body should be less than", queueTimeout=2592001),
    build("results are kept", results="Retain"),
    build("results are something else", one_of("Delete", "Retain"), results="Keep"),
    build("a canceled build can be created", cancel=True),
)
