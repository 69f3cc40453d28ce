#!/bin/bash
# Makes a base image a build root: rpmbuild, a dnf, util-linux, iproute2 and the packages every build may take for
# granted (the distribution's own minimal build group, as mock's chroot_setup_cmd names it).
set -euo pipefail

# Build user. The name is fixed so that logs read alike everywhere; the number is the one the operator's scripts use.
readonly builder_name=builder builder_id=1000 builder_home=/builddir

# What a spec may use without BuildRequires: Fedora's and EPEL's @buildsys-build groups less what differs by name.
readonly common=(bash bzip2 coreutils cpio diffutils findutils gawk grep gzip patch sed tar unzip util-linux which xz)

read -r -a extra <<<"${PACKAGES:-}"

install_with_dnf() { # PROGRAM
    local program=$1
    # coreutils-single and curl-minimal of container bases give way to the full packages.
    "$program" -y --setopt=install_weak_deps=False install --allowerasing \
        "${common[@]}" info make redhat-rpm-config rpm-build shadow-utils iproute curl ca-certificates "${extra[@]}"
    # EPEL builds on what its base keeps in a repository that is off by default; epel-release brings this switch.
    if command -v crb >/dev/null; then
        "$program" -y install dnf-plugins-core
        crb enable
    fi
    "$program" clean all
}

install_with_microdnf() {
    microdnf -y --setopt=install_weak_deps=0 install \
        "${common[@]}" make redhat-rpm-config rpm-build shadow-utils iproute ca-certificates "${extra[@]}"
    microdnf clean all
}

install_with_zypper() {
    zypper --non-interactive refresh
    zypper --non-interactive install --no-recommends \
        "${common[@]}" gcc make glibc-devel rpm-build shadow iproute2 curl ca-certificates dnf "${extra[@]}"
    zypper clean --all
    # zypper's repositories are no repositories of dnf: hand them over, or nothing could be installed in a build.
    mkdir -p /etc/yum.repos.d
    local file
    for file in /etc/zypp/repos.d/*.repo; do
        [[ -e $file ]] && cp --no-clobber -- "$file" /etc/yum.repos.d/
    done
}

install_with_apt() {
    local here
    here=$(dirname -- "${BASH_SOURCE[0]}")
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends \
        bash bzip2 ca-certificates coreutils cpio curl debianutils debugedit diffutils dnf elfutils file findutils gawk gcc grep \
        gzip iproute2 \
        libc6-dev make passwd patch pkgconf rpm sed tar unzip util-linux xz-utils zstd "${extra[@]}"
    apt-get clean
    rm -rf /var/lib/apt/lists/*
    # Debian keeps the RPM database in root's home directory, where only root's own tools look for it.
    mkdir -p /etc/rpm /var/lib/rpm
    printf '%%_dbpath /var/lib/rpm\n' >/etc/rpm/macros.copr-chroot
    # Debian's linker and loader look in the multiarch directory only, not in /usr/lib64.
    printf '%%_libdir %%{_prefix}/lib/%s\n' "$(gcc -print-multiarch)" >>/etc/rpm/macros.copr-chroot
    # There is no D-Bus in a build pod that rpm could tell about its transactions.
    printf '%%__transaction_dbus_announce %%{nil}\n' >>/etc/rpm/macros.copr-chroot
    # Debian's `local` plugin of dnf fails where its own repository is missing.
    mkdir -p /etc/dnf
    printf '[main]\nplugins=0\ninstall_weak_deps=0\nlogdir=/var/log\n' >/etc/dnf/dnf.conf
    bash "$here/debian-system-package.sh"
}

add_builder() {
    if ! getent passwd "$builder_id" >/dev/null; then
        getent group "$builder_id" >/dev/null || groupadd --gid "$builder_id" "$builder_name"
        useradd --uid "$builder_id" --gid "$builder_id" --home-dir "$builder_home" --no-create-home \
            --shell /bin/bash "$builder_name"
    fi
    install -d -o "$builder_id" -g "$builder_id" -m 0755 "$builder_home"
}

check() { # The operator's scripts use these; a missing one must show here and not in the first build.
    local program
    for program in rpm rpmbuild rpm2cpio setpriv unshare ip install tee; do
        command -v "$program" >/dev/null || { printf 'the image lacks %s\n' "$program" >&2; exit 1; }
    done
    command -v dnf5 || command -v dnf || command -v microdnf
}

if command -v dnf5 >/dev/null; then
    install_with_dnf dnf5
elif command -v dnf >/dev/null; then
    install_with_dnf dnf
elif command -v microdnf >/dev/null; then
    install_with_microdnf
elif command -v zypper >/dev/null; then
    install_with_zypper
elif command -v apt-get >/dev/null; then
    install_with_apt
else
    printf 'the base image has none of dnf5, dnf, microdnf, zypper and apt-get\n' >&2
    exit 1
fi
add_builder
check
