"""CoprChroot."""

from tests.support.api_cases.case import BAD_CHROOTS, BAD_REPO_URLS, REPO_URLS, Case, chroot, one_of, strings

_REPO = {"id": "base", "baseurl": "https://mirror.example/$releasever/$basearch/os/"}
_QUANTITIES = ("cpuRequest", "cpuLimit", "memoryRequest", "storageRequest", "storageLimit")

CHROOTS: tuple[Case, ...] = (
    chroot("the smallest"),
    chroot("name is missing", "spec.name: Required value", name=None),
    *(
        chroot(f"name is {name!r}", name=name)
        for name in ("epel-10-s390x", "opensuse-leap-15.6-x86_64", "rhel+epel-9-aarch64")
    ),
    *strings(chroot, "name", lambda text: {"name": text}, "a-1-" + "x" * 60, *BAD_CHROOTS, shortest=5),
    chroot("image is missing", "spec.image: Required value", image=None),
    chroot("image has a digest", image=f"images.example:5000/a/b_c@sha256:{'0' * 64}"),
    *strings(chroot, "image", lambda text: {"image": text}, "a" * 513, "-a", "a b", "a\nb", "http://ü"),
    chroot("arch is missing", "spec.arch: Required value", arch=None),
    *strings(chroot, "arch", lambda text: {"arch": text}, "a" * 17, "X86", "../a", "a-b"),
    chroot("enabled is off", enabled=False),
    chroot(
        "repos of all kinds",
        repos=[{**_REPO, "id": f"r{n}", "baseurl": url, "priority": 999} for n, url in enumerate(REPO_URLS)],
    ),
    chroot("repos are too many", "spec.repos: Too many", repos=[{**_REPO, "id": f"r{n}"} for n in range(33)]),
    chroot("repos have one twice", 'spec.repos[1]: Duplicate value: {"id":"base"}', rule=True, repos=[_REPO, _REPO]),
    chroot("a repo has no id", "spec.repos[0].id: Required value", repos=[{"baseurl": _REPO["baseurl"]}]),
    *strings(
        chroot,
        "a repo's id",
        lambda text: {"repos": [{**_REPO, "id": text}]},
        "a" * 65,
        "a]b",
        "a b",
        "-a",
        at="repos[0].id",
    ),
    chroot("a repo has no baseurl", "spec.repos[0].baseurl: Required value", repos=[{"id": "a"}]),
    *strings(
        chroot,
        "a repo's baseurl",
        lambda text: {"repos": [{**_REPO, "baseurl": text}]},
        "http://x/" + "a" * 2048,
        *BAD_REPO_URLS,
        shortest=8,
        at="repos[0].baseurl",
    ),
    chroot(
        "a repo's priority is nothing",
        "spec.repos[0].priority in body should be greater than or equal to 1",
        repos=[{**_REPO, "priority": 0}],
    ),
    chroot(
        "a repo's priority is too low",
        "spec.repos[0].priority in body should be less than or equal to 999",
        repos=[{**_REPO, "priority": 1000}],
    ),
    chroot("dist is none at all", dist=""),
    *strings(chroot, "dist", lambda text: {"dist": text}, "." * 33, ".fc 43", ".fc%43", ".fc-43", shortest=0),
    *strings(chroot, "releaseVer", lambda text: {"releaseVer": text}, "1" * 33, "-1", "4 3", "../43"),
    chroot("macros", macros={"_with_x": "1", "dist_name": "Fedora\tLinux %{?x}", "abc": "", "x" * 64: "ü"}),
    chroot(
        "macros are too many",
        "spec.macros: Too many: 65: must have at most 64 items",
        macros={f"abc{n}": "1" for n in range(65)},
    ),
    *(
        chroot(
            f"a macro is called {name[:9]!r}",
            "a macro's name has 3 to 64 letters, digits and underscores, without the %",
            rule=True,
            macros={name: "1"},
        )
        for name in ("", "ab", "%abc", "1abc", "a-bc", "abc(x)", "abc\n", "x" * 65)
    ),
    *(
        chroot(f"a macro is {body[:9]!r}", "spec.macros.abc" + why, macros={"abc": body})
        for body, why in (
            ("a" * 513, ": Too long"),
            ("a\nb", " in body should match"),
            ("a\x00", " in body should match"),
        )
    ),
    chroot("packages are too many", "spec.packages: Too many", packages=["a"] * 65),
    *strings(
        chroot,
        "a package",
        lambda text: {"packages": [text]},
        "a" * 257,
        "--nogpgcheck",
        "a\nb",
        "a\x00",
        at="packages[0]",
    ),
    chroot("networkProfile is sysadmin", networkProfile="sysadmin"),
    chroot("networkProfile is unknown", one_of("nested", "sysadmin", "sandbox"), networkProfile="host"),
    chroot("networkProfile is sandbox", networkProfile="sandbox", runtimeClassName="kata"),
    chroot(
        "networkProfile is sandbox without a sandbox",
        "spec.networkProfile is 'sandbox', so spec.runtimeClassName must be given",
        rule=True,
        networkProfile="sandbox",
    ),
    *strings(chroot, "runtimeClassName", lambda text: {"runtimeClassName": text}, "a" * 254, "A", "a-", "a_b"),
    chroot(
        "nodeSelector", nodeSelector={"copr.example/builder": "", "disk": "fast_1.0", f"{'a' * 253}/{'b' * 63}": "x"}
    ),
    chroot("nodeSelector is too large", "spec.nodeSelector: Too many", nodeSelector={f"a{n}": "" for n in range(33)}),
    *(
        chroot(
            f"nodeSelector's key is {key[:9]!r}",
            "a node selector's key must be a label key",
            rule=True,
            nodeSelector={key: "x"},
        )
        for key in ("", "a b", "-a", "a/b/c", "A.example/x", "x" * 64, "a" * 254 + "/x")
    ),
    *(
        chroot(f"nodeSelector's value is {value[:9]!r}", f"spec.nodeSelector.a{why}", nodeSelector={"a": value})
        for value, why in (("a" * 64, ": Too long"), ("a b", " in body should match"), ("-", " in body should match"))
    ),
    chroot(
        "resources of all kinds",
        resources={
            "cpuRequest": "0.5",
            "cpuLimit": "1500m",
            "memoryRequest": "1.5Gi",
            "storageRequest": "1k",
            "storageLimit": "2T",
        },
    ),
    chroot(
        "resources ask for more cpu than they may use",
        "resources.cpuRequest is more than resources.cpuLimit",
        rule=True,
        resources={"cpuRequest": "1500m", "cpuLimit": "1"},
    ),
    chroot(
        "resources ask for more storage than they may use",
        "resources.storageRequest is more than resources.storageLimit",
        rule=True,
        resources={"storageRequest": "2Gi", "storageLimit": "2G"},
    ),
    *(
        case
        for field in _QUANTITIES
        for case in strings(
            chroot,
            field,
            lambda text, field=field: {"resources": {field: text}},
            "1" * 33,
            "a lot",
            "-1",
            "1e3",
            at=f"resources.{field}",
        )
    ),
)
