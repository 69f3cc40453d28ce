#!/bin/bash
# Makes a base image the source image: rpmbuild -bs with downloads of remote sources, and the tools that specs and
# Makefiles of the source step call.
set -euo pipefail

readonly builder_name=builder builder_id=1000 builder_home=/builddir

install_with_dnf() { # PROGRAM
    "$1" -y --setopt=install_weak_deps=False --allowerasing install bash bzip2 ca-certificates coreutils curl diffutils \
        findutils gawk git-core grep gzip iproute make patch redhat-rpm-config rpm-build sed shadow-utils tar unzip \
        util-linux which xz
    "$1" clean all
}

install_with_zypper() {
    zypper --non-interactive refresh
    zypper --non-interactive install --no-recommends bash bzip2 ca-certificates coreutils curl diffutils findutils gawk \
        git-core grep gzip iproute2 make patch rpm-build sed shadow tar unzip util-linux which xz
    zypper clean --all
}

install_with_apt() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends bash bzip2 ca-certificates coreutils curl debianutils diffutils file \
        findutils gawk git grep gzip iproute2 make passwd patch rpm sed tar unzip util-linux xz-utils zstd
    apt-get clean
    rm -rf /var/lib/apt/lists/*
    mkdir -p /etc/rpm /var/lib/rpm
    printf '%%_dbpath /var/lib/rpm\n%%__transaction_dbus_announce %%{nil}\n' >/etc/rpm/macros.copr-source
    rpm --initdb
}

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
for program in rpm rpmbuild setpriv unshare ip install curl; do
    command -v "$program" >/dev/null || { printf 'the image lacks %s\n' "$program" >&2; exit 1; }
done
