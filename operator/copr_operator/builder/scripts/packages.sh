# shellcheck shell=bash
# Installing packages as root of the pod, with what the image has for it. Sourced by steps that do.

readonly ROOT_LOG=$OUT_DIR/root.log

choose_package_manager() { # sets DNF
    local options=(-y --setopt=install_weak_deps=False --setopt=keepcache=False)
    [[ -n $RELEASE_VER ]] && options+=("--releasever=$RELEASE_VER")
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

install_packages() { # REQUIREMENT...: one argument each, however many words it has
    printf '[copr] installing: %s\n' "$@"
    logged "$ROOT_LOG" "${DNF[@]}" install "$@"
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
