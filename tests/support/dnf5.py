"""A stand-in for dnf5, which no image here can have: it takes what dnf5 takes, where dnf5 takes it, and has real dnf
(or REAL_DNF) do it.

Options by dnf5 5.4.4: the global ones of doc/dnf5.8.rst (dnf5/main.cpp) and their compatibility aliases
(dnf5/config/usr/share/dnf5/aliases.d/compatibility.conf) are known before and after the command, the command's own
(doc/commands/install.8.rst, dnf5/commands/install/install.cpp) after it only. `--setopt` ends dnf5 when there is no
such option in doc/dnf5.conf.5.rst. What dnf5 can not parse ends it with 2, ARGPARSER_ERROR.
"""

DNF5 = r"""#!/usr/bin/python3
import os
import sys

GLOBAL = {
    "-y", "--assumeyes", "--assumeno", "--best", "--no-best", "--nobest", "-C", "--cacheonly", "-c", "--config",
    "--disable-plugin", "--disableplugin", "--disable-repo", "--disablerepo", "--enable-plugin", "--enableplugin",
    "--enable-repo", "--enablerepo", "-x", "--exclude", "--forcearch", "--installroot", "--no-docs", "--nodocs",
    "--no-gpgchecks", "--nogpgcheck", "--no-plugins", "--noplugins", "-q", "--quiet", "--refresh", "--releasever",
    "--repo", "--repofrompath", "--repoid", "--setopt", "--setvar", "--skip-file-locks", "--version",
}
COMMANDS = {
    "install": {
        "--allowerasing", "--allow-downgrade", "--no-allow-downgrade", "--downloadonly", "--from-repo", "--offline",
        "--skip-broken", "--skip-unavailable", "--store",
    },
    "remove": {"--no-autoremove"},
    "clean": set(),
    "makecache": set(),
}
# Of dnf5.conf(5), as far as anything here has used them.
SETTABLE = {
    "install_weak_deps", "keepcache", "localpkg_gpgcheck", "optional_metadata_types", "reposdir", "sslcacert",
}
# dnf5 reads files beyond those of primary.xml only when it is told to; dnf before 4.19 always does, with no option.
NEWER = {"optional_metadata_types"}


def refuse(words):
    print(words + ' Add "--help" for more information about the arguments.', file=sys.stderr)
    sys.exit(2)


command, passed = "dnf5", []
for word in sys.argv[1:]:
    name, _, value = word.partition("=")
    if word.startswith("-"):
        if name not in GLOBAL | COMMANDS.get(command, set()):
            refuse(f'Unknown argument "{word}" for command "{command}".')
        if name == "--setopt":
            option = value.partition("=")[0]
            if "." not in option and option not in SETTABLE:
                refuse(f'setopt: "{value}": no such option.')
            if option in NEWER:
                continue
    elif command == "dnf5":
        if word not in COMMANDS:
            refuse(f'Unknown argument "{word}" for command "{command}".')
        command = word
    passed.append(word)
if command == "dnf5":
    refuse("Missing command.")
print("dnf5:", *sys.argv[1:], flush=True)
os.execv(os.environ.get("REAL_DNF", "/usr/bin/dnf"), ["dnf", *passed])
"""
