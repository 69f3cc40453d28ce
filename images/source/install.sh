#!/bin/bash
# Makes a base image the source image: rpmbuild -bs with downloads of remote sources, and the tools that specs and
# Makefiles of the source step call.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
readonly here builder_name=builder builder_id=1000 builder_home=/builddir

# What Copr's own builders make SRPMs with. gem2rpm is rubygem-gem2rpm in Fedora; EPEL lacks some, so they may be missing.
readonly dnf_tools=(rpkg-util tito pyp2spec pyp2rpm rubygem-gem2rpm rubygems rpmautospec fedora-license-data)

install_with_dnf() { # PROGRAM
    "$1" -y --setopt=install_weak_deps=False install --allowerasing bash bzip2 ca-certificates coreutils curl diffutils \
        findutils gawk git-core grep gzip iproute make patch python3 redhat-rpm-config rpm-build sed shadow-utils tar \
        unzip util-linux which xz
    local tool
    for tool in "${dnf_tools[@]}"; do
        "$1" -y --setopt=install_weak_deps=False install "$tool" || missing+=("$tool")
    done
    "$1" clean all
}

install_with_zypper() {
    zypper --non-interactive refresh
    zypper --non-interactive install --no-recommends bash bzip2 ca-certificates coreutils curl diffutils findutils gawk \
        git-core grep gzip iproute2 make patch python3 python3-rpm rpm-build sed shadow tar unzip util-linux which xz
    zypper clean --all
    install_with_pip
}

# Debian has no package of these tools; PyPI does. rpkg-util and gem2rpm are on neither.
install_with_apt() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends bash bzip2 ca-certificates coreutils curl debianutils diffutils file \
        findutils gawk git grep gzip iproute2 make passwd patch python3 python3-pip python3-rpm python3-venv rpm ruby \
        sed tar unzip util-linux xz-utils zstd
    mkdir -p /etc/rpm /var/lib/rpm
    printf '%%_dbpath /var/lib/rpm\n%%__transaction_dbus_announce %%{nil}\n' >/etc/rpm/macros.copr-source
    install -m 0644 "$here/macros.copr-source" /etc/rpm/macros.copr-source-fedora
    rpm --initdb
    install_with_pip
    apt-get purge -y --auto-remove python3-pip python3-venv
    apt-get clean
    rm -rf /var/lib/apt/lists/*
    missing+=(rpkg-util rubygem-gem2rpm)
}

# Into a directory of their own, with the system's Python and its rpm module.
install_with_pip() {
    local venv=/opt/copr-source program
    python3 -m venv --system-site-packages --without-pip "$venv"
    python3 -m pip --python "$venv/bin/python3" install --no-cache-dir --require-hashes --requirement "$here/requirements.txt"
    "$venv/bin/python3" -c 'import pyp2rpm.bin, pyp2spec.pyp2spec, rpmautospec.cli, tito.cli'
    for program in tito pyp2spec pyp2rpm rpmautospec; do
        ln -s "$venv/bin/$program" "/usr/local/bin/$program"
    done
}

missing=()
if command -v dnf5 >/dev/null; then
    install_with_dnf dnf5
elif command -v dnf >/dev/null; then
    install_with_dnf dnf
elif command -v zypper >/dev/null; then
    install_with_zypper
elif command -v apt-get >/dev/null; then
    install_with_apt
else
    printf 'the base image has none of dnf5, dnf, zypper and apt-get\n' >&2
    exit 1
fi
if ! getent passwd "$builder_id" >/dev/null; then
    groupadd --gid "$builder_id" "$builder_name"
    useradd --uid "$builder_id" --gid "$builder_id" --home-dir "$builder_home" --no-create-home --shell /bin/bash \
        "$builder_name"
fi
install -d -o "$builder_id" -g "$builder_id" -m 0755 "$builder_home"
((${#missing[@]} == 0)) || printf 'not in this image, so their sources fail with ToolMissing: %s\n' "${missing[*]}" >&2
for program in rpm rpmbuild setpriv unshare ip install curl git make python3; do
    command -v "$program" >/dev/null || { printf 'the image lacks %s\n' "$program" >&2; exit 1; }
done
