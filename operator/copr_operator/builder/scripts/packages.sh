# shellcheck shell=bash
# Installing packages as root of the pod, with what the image has for it. Sourced by steps that do.

readonly ROOT_LOG=$OUT_DIR/root.log
readonly REQUIREMENTS_PACKAGE=copr-build-requirements

choose_package_manager() { # sets DNF and INSTALL, and gives it the repositories
    # 0, not False: microdnf takes no other word.
    local options=(-y --setopt=install_weak_deps=0 --setopt=keepcache=0)
    [[ -n $RELEASE_VER ]] && options+=("--releasever=$RELEASE_VER")
    # --allowerasing: container bases come with coreutils-single, curl-minimal and the like, which give way. It belongs
    # to `install`: dnf5 refuses it before the command. microdnf has none.
    INSTALL=(install --allowerasing)
    if command -v dnf5 >/dev/null; then
        DNF=(dnf5 "${options[@]}")
    elif command -v dnf >/dev/null; then
        DNF=(dnf "${options[@]}")
    elif command -v microdnf >/dev/null; then
        DNF=(microdnf "${options[@]}")
        INSTALL=(install)
    else
        die "$EXIT_NO_PACKAGE_MANAGER" 'the image of this chroot has none of dnf5, dnf and microdnf'
    fi
    # The administrator's CA bundle: librepo looks at no variable. microdnf knows it as an option of repositories only.
    if [[ -n ${SSL_CERT_FILE:-} && ${DNF[0]} == microdnf ]]; then
        DNF+=("--setopt=*.sslcacert=$SSL_CERT_FILE")
    elif [[ -n ${SSL_CERT_FILE:-} ]]; then
        DNF+=("--setopt=sslcacert=$SSL_CERT_FILE")
    fi
    say "installing packages with ${DNF[0]}"
    add_repositories
}

package_manager() { # OPTION-OR-ARGUMENT...: from /, where nothing is the user's
    (cd / && exec "${DNF[@]}" "$@")
}

install_packages() { # PACKAGE...: whatever dnf can install; one argument each, however many words it has
    printf '[copr] installing: %s\n' "$@"
    logged "$ROOT_LOG" package_manager "${INSTALL[@]}" "$@"
}

# is_capability REQUIREMENT: false for what `install` takes for an option, a group, a file, a URL or a pattern, and for what
# no line of a spec can hold. Of a package's own requirements only capabilities may get there: a package from anywhere else
# than the repositories, say from among the user's sources, would run its scriptlets as root, with network. `builddep`,
# which mock uses, is not in every image; and it would have root read the user's SRPM.
is_capability() {
    local LC_ALL=C requirement=${1,,} name scheme='^[a-z][a-z0-9+.-]*:'
    name=${requirement%%[[:space:]]*}
    [[ $requirement == [a-z0-9_/\(]* ]] || return 1
    # Python's urlparse, which dnf asks, knows a scheme without slashes, and skips control characters.
    [[ $requirement != *[[:cntrl:]]* && $requirement != *://* && ! $requirement =~ $scheme ]] || return 1
    # dnf looks at the end of the whole argument: of `name = 1.rpm` too.
    [[ $requirement != *.rpm && $name != *.rpm ]] || return 1
    [[ $requirement != *[*?\\]* ]]
}

# requirements_package DIRECTORY REQUIREMENT...: makes an empty package in it that requires them. A package's dependencies
# mean what rpmbuild means by BuildRequires, where an argument of `install` may be a pattern, and of `(a and b)` dnf would
# install one. Nothing of the user's is expanded: `%` is doubled.
requirements_package() {
    local directory=$1 spec=$1/$REQUIREMENTS_PACKAGE.spec
    shift
    {
        printf 'Name: %s\nVersion: 1\nRelease: 1\nSummary: Build requirements\nLicense: CC0-1.0\nBuildArch: noarch\n' \
            "$REQUIREMENTS_PACKAGE"
        printf 'Requires: %s\n' "${@//%/%%}"
        printf '%%description\nIs removed as soon as what it requires is installed.\n%%files\n'
    } >"$spec"
    rpmbuild -bb --quiet --define "_topdir $directory" --define "_tmppath $directory" --define "_rpmdir $directory" \
        --define '_build_name_fmt %%{NAME}.rpm' --define '__spec_install_post %{nil}' "$spec"
}

install_one_by_one() { # REQUIREMENT...: with microdnf, which installs no local file
    local requirement literal=()
    for requirement; do
        # `install` reads patterns, and would never find python3dist(x[extra]); it does not in rich ones, (a or b).
        [[ $requirement == \(* ]] || requirement=${requirement//\[/[[]}
        literal+=("$requirement")
    done
    logged "$ROOT_LOG" package_manager "${INSTALL[@]}" "${literal[@]}"
}

install_capabilities() { # REQUIREMENT...: of the user's package, from the repositories only
    local directory=$ROOT_DIR/requirements options=(--setopt=localpkg_gpgcheck=0)
    printf '[copr] installing: %s\n' "$@"
    if [[ ${DNF[0]} == microdnf ]]; then
        install_one_by_one "$@"
        return
    fi
    rm -rf -- "$directory"
    mkdir -p "$directory"
    logged "$ROOT_LOG" requirements_package "$directory" "$@" || return
    # dnf5, and dnf since 4.19, read what files packages have beyond */bin and /etc only when they are told to.
    [[ " $*" != *[\ \(]/* ]] || options+=(--setopt=optional_metadata_types=filelists)
    logged "$ROOT_LOG" package_manager "${options[@]}" "${INSTALL[@]}" "$directory/$REQUIREMENTS_PACKAGE.rpm" || return
    # The build is not to see it, nor the next round's `install`, which would take it for installed.
    logged "$ROOT_LOG" rpm --erase "$REQUIREMENTS_PACKAGE"
}

# The repositories of the plan. Where the chroot has its own they take the place of the image's, which a closed network
# may not even reach.
add_repositories() {
    local directory=/etc/yum.repos.d
    if ((!IMAGE_REPOS)); then
        directory=$ROOT_DIR/repos.d
        DNF+=("--setopt=reposdir=$directory")
    fi
    mkdir -p "$directory"
    # Root's only: it may hold what opens a private project.
    install -m 0600 "$IN_DIR/copr.repo" "$directory/copr.repo"
}

install_extra_packages() {
    local packages
    mapfile -t packages <"$IN_DIR/packages"
    ((${#packages[@]})) || return 0
    banner 'Installing the packages that the chroot, the project and the source ask for'
    install_packages "${packages[@]}" || die "$EXIT_DEPENDENCIES" "could not install: ${packages[*]}"
}
