"""The command line: `python -m tests.cluster`."""

import argparse
import sys
from pathlib import Path

from tests.cluster import api, cleanup, images, local, providers, toolbox
from tests.cluster import layout as layouts
from tests.cluster.errors import ClusterError
from tests.cluster.layout import NODE, PROFILES
from tests.cluster.providers import Provider


def main(arguments: list[str] | None = None) -> int:
    """Run one command; what a developer has to know goes to stderr, what a script captures to stdout."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `down` removes what was started", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="A real local Kubernetes for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "up": "start a profile, or say that it runs",
        "down": "end a profile and remove all that it made",
        "status": "a line per part; exit code 0 only if all are healthy",
        "kubeconfig": "print the path of the kubeconfig",
        "build-tools": "build the programs of a profile",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--profile", choices=PROFILES, default=NODE)
        if name == "down":
            command.add_argument("--all", action="store_true", help="both profiles")
    load = commands.add_parser("load", help="import image archives into the node")
    load.add_argument("archives", nargs="+", type=Path, metavar="IMAGE_TAR")
    tool = commands.add_parser("tool", help="print the path of a pinned program, built if needed")
    tool.add_argument("name", choices=sorted(toolbox.TOOLS))
    return parser


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "up":
            api.up(options.profile)
        case "down":
            for profile in PROFILES if options.all else [options.profile]:
                api.down(profile)
            if options.all:  # buildah leaves its storage mounted
                cleanup.unmount_below(images.storage())
        case "status":
            return _status(options.profile)
        case "kubeconfig":
            print(api.cluster(options.profile).kubeconfig)
        case "build-tools":
            local.prepare(options.profile, report=toolbox.to_stderr)
        case "load":
            api.load(options.archives)
        case "tool":
            print(toolbox.tool(options.name))
    return 0


def _status(profile: str) -> int:
    layout = layouts.layout_of(profile)
    provider = providers.choose(layout)
    if provider is not Provider.LOCAL:
        print(f"{profile}: a cluster from {provider.value}: {api.cluster(profile).server}")
        return 0
    lines = local.status(layout)
    for line in lines:
        print(f"{line.name:24} {line.pid or '-':>8}  {line.detail}")
    return 0 if all(line.healthy for line in lines) else 1
