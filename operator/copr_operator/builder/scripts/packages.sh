# shellcheck shell=bash
# Installing packages as root of the pod, with what the image has for it. Sourced by steps that do.

readonly ROOT_LOG=$OUT_DIR/root.log

choose_package_manager() { # sets DNF
    local options=(-y --setopt=install_weak_deps=False --setopt=keepcache=False)
    [[ -n $RELEASE_VER ]] && options+=("--releasever=$RELEASE_VER")
    # The administrator's CA bundle: librepo looks at no variable.
    [[ -n ${SSL_CERT_FILE:-} ]] && options+=("--setopt=sslcacert=$SSL_CERT_FILE")
    if command -v dnf5 >/dev/null; then
        DNF=(dnf5 "${options[@]}" --allowerasing)
    elif command -v dnf >/dev/null; then
        DNF=(dnf "${options[@]}" --allowerasing)
    elif command -v microdnf >/dev/null; then
        DNF=(microdnf "${options[@]}")
    else
        die "$EXIT_NO_PACKAGE_MANAGER" 'the image of this chroot has none of dnf5, dnf and microdnf'
    fi
    # --allowerasing: container bases come with coreutils-single, curl-minimal and the like, which give way.
    say "installing packages with ${DNF[0]}"
}

install_packages() { # PACKAGE...: whatever dnf can install; one argument each, however many words it has
    printf '[copr] installing: %s\n' "$@"
    logged "$ROOT_LOG" "${DNF[@]}" install "$@"
}

# is_capability REQUIREMENT: false for what `install` takes for an option, a group, a file, a URL or a pattern. Of a
# package's own requirements only capabilities may get there: a package from anywhere else than the repositories, say
# from among the user's sources, would run its scriptlets as root, with network. `builddep`, which mock uses, is not in
# every image; and it would have root read the user's SRPM.
is_capability() {
    local LC_ALL=C requirement=${1,,} name scheme='^[a-z][a-z0-9+.-]*:'
    name=${requirement%%[[:space:]]*}
    [[ $requirement == [a-z0-9_/\(]* ]] || return 1
    # Python's urlparse, which dnf asks, knows a scheme without slashes, and skips control characters.
    [[ $requirement != *[[:cntrl:]]* && $requirement != *://* && ! $requirement =~ $scheme ]] || return 1
    # dnf looks at the end of the whole argument: of `name = 1.rpm` too.
    [[ $requirement != *.rpm && $name != *.rpm ]] || return 1
    [[ $requirement != *[*?]* ]]
}

install_capabilities() { # REQUIREMENT...: of the user's package, from the repositories only
    local requirement literal=() options=()
    # Should a file get there after all: not without a signature that the image trusts.
    [[ ${DNF[0]} == microdnf ]] || options=(--setopt=localpkg_gpgcheck=True)
    for requirement; do
        # `install` reads patterns, and would never find python3dist(x[extra]); it does not in rich ones, (a or b).
        [[ $requirement == \(* ]] || requirement=${requirement//\[/[[]}
        literal+=("$requirement")
    done
    printf '[copr] installing: %s\n' "$@"
    logged "$ROOT_LOG" "${DNF[@]}" ${options[@]+"${options[@]}"} install "${literal[@]}"
}

add_repositories() {
    mkdir -p /etc/yum.repos.d
    # Root's only: it may hold what opens a private project.
    install -m 0600 "$IN_DIR/copr.repo" /etc/yum.repos.d/copr.repo
}

install_extra_packages() {
    local packages
    mapfile -t packages <"$IN_DIR/packages"
    ((${#packages[@]})) || return 0
    banner 'Installing the packages that the chroot, the project and the source ask for'
    install_packages "${packages[@]}" || die "$EXIT_DEPENDENCIES" "could not install: ${packages[*]}"
}
