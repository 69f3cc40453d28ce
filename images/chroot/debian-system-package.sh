#!/bin/bash
# Tells the RPM database what Debian's packages already put into this root.
#
# rpmbuild checks BuildRequires against the RPM database and dnf resolves against it; both see an empty system on
# Debian. One package without files, registered with --justdb, provides what is really there:
#   * each installed package's name with its upstream version, and the name RPM distributions use for the same software;
#   * the paths of the installed programs;
#   * sonames and symbol versions, as rpm's own generator reads them from the installed libraries;
#   * pkgconfig(...) of the installed .pc files, by rpm's own generator too.
# It is made from the installed system, so it can't promise what the image does not have.
set -euo pipefail

readonly name=debian-system
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# shellcheck source=/dev/null
release=$(. /etc/os-release && printf '%s' "$VERSION_ID")

# Debian package -> what Fedora and openSUSE call the same software. Written only for packages that are installed.
declare -A same_as=(
    [g++]=gcc-c++ [iproute2]=iproute [libc6]=glibc [libc6-dev]=glibc-devel [linux-libc-dev]=kernel-headers
    [passwd]=shadow-utils [pkgconf]=pkgconf-pkg-config [rpm]=rpm-build [xz-utils]=xz [debianutils]=which
)

# Debian's version `[epoch:]upstream[-revision]` -> RPM's version. Epochs are dropped: Debian's have nothing to do with
# those that specs compare with. RPM allows no `-` in a version.
rpm_version() {
    local version=${1#*:}
    version=${version%-*}
    printf '%s' "${version//-/.}"
}

packages() {
    local package version status
    while IFS=$'\t' read -r package version status; do
        [[ $status == ii* ]] || continue
        version=$(rpm_version "$version")
        printf 'Provides: %s = %s\n' "$package" "$version"
        # The loader's promise to read GNU hash tables (glibc 2.5 and newer); glibc's own package states it by hand too.
        [[ $package != libc6 ]] || printf 'Provides: rtld(GNU_HASH)\n'
        if [[ -n ${same_as[$package]:-} ]]; then
            printf 'Provides: %s = %s\n' "${same_as[$package]}" "$version"
        fi
    done < <(dpkg-query --show --showformat '${Package}\t${Version}\t${db:Status-Abbrev}\n')
}

programs() {
    local directory file
    for directory in /bin /sbin /usr/bin /usr/sbin; do
        for file in "$directory"/*; do
            # rpm takes paths with letters, digits and a few signs as file provides; nothing asks for others ("[").
            if [[ -x $file && -f $file && $file =~ ^[A-Za-z0-9/._+-]+$ ]]; then
                printf 'Provides: %s\n' "$file"
            fi
        done
    done
}

generated() { # by rpm's dependency generators, from the files themselves
    {
        find /lib /usr/lib /lib64 -xdev \( -name '*.so' -o -name '*.so.*' \) -type f
        find /usr/lib /usr/share -xdev -name '*.pc' -type f
    } 2>/dev/null | /usr/lib/rpm/rpmdeps --provides | sed 's/^/Provides: /'
}

{
    printf 'Name: %s\nVersion: %s\nRelease: 1\n' "$name" "$release"
    printf 'Summary: What the packages of Debian provide\nLicense: CC0-1.0\nBuildArch: noarch\n'
    # dnf reads $releasever from whoever provides this.
    printf 'Provides: system-release = %s\nProvides: system-release(releasever) = %s\n' "$release" "$release"
    { packages; programs; generated; } | LC_ALL=C sort -u
    printf '%%description\nNo files: stands for the packages that dpkg installed.\n%%files\n'
} >"$work/$name.spec"

rpmbuild --quiet --define "_topdir $work" --define '_dbpath /var/lib/rpm' -bb "$work/$name.spec"
rpm --define '_dbpath /var/lib/rpm' --install --justdb --nodeps "$work/RPMS/noarch/$name-$release-1.noarch.rpm"
