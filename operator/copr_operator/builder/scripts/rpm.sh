#!/bin/bash
# The rpm step: SRPM -> RPMs. Root of the pod installs packages (with network); every rpm and rpmbuild that reads the
# user's package runs as the build user, without network unless the build has enableNet.
set -uo pipefail

# shellcheck source=lib.sh
. /copr/in/scripts/lib.sh
# shellcheck source=/dev/null
. "$IN_DIR/settings.sh"
# shellcheck source=packages.sh
. "$IN_DIR/scripts/packages.sh"

readonly BUILD_LOG=$OUT_DIR/build.log
readonly MISSING_BUILD_REQUIRES=11 # rpmbuild's exit code
readonly MAX_ROUNDS=20             # of asking for requirements; each must ask for something new
readonly PRIVATE_SRPMS=$ROOT_DIR/srpms

NETWORK=offline
((ENABLE_NET)) && NETWORK=online

unpack_srpm() { # sets SPEC and NAME
    local srpms=("$IN_DIR"/srpm/*.src.rpm) specs
    banner "Unpacking ${srpms[0]##*/}"
    [[ ${#srpms[@]} == 1 && -f ${srpms[0]} ]] || die "$EXIT_SRPM_INVALID" 'no SRPM was brought into the pod'
    as_builder "$NETWORK" rpm --install "${srpms[0]}" || die "$EXIT_SRPM_INVALID" 'the SRPM could not be installed'
    specs=("$TOPDIR"/SPECS/*.spec)
    [[ ${#specs[@]} == 1 && -f ${specs[0]} ]] ||
        die "$EXIT_SRPM_INVALID" "the SRPM must hold exactly one spec; found: ${specs[*]##*/}"
    SPEC=${specs[0]}
    # The source step has named the SRPM NAME-VERSION-RELEASE.
    NAME=${srpms[0]##*/}
    NAME=${NAME%-*-*}
}

rpmbuild_as_builder() { # rpmbuild's arguments; always with the build's own --with and --without
    local option options=()
    for option in ${WITH_OPTS[@]+"${WITH_OPTS[@]}"}; do options+=(--with "$option"); done
    for option in ${WITHOUT_OPTS[@]+"${WITHOUT_OPTS[@]}"}; do options+=(--without "$option"); done
    as_builder "$NETWORK" rpmbuild ${options[@]+"${options[@]}"} "$@"
}

# read_requirements FILE.rpm: sets REQUIREMENTS, without rpm's own features. The user may have written any header.
read_requirements() {
    local line lines
    REQUIREMENTS=()
    mapfile -t lines < <(rpm_unconfigured "$NETWORK" --query --package --requires "$1" | LC_ALL=C sort -u)
    for line in ${lines[@]+"${lines[@]}"}; do
        [[ $line != rpmlib\(* ]] || continue
        is_capability "$line" || die "$EXIT_DEPENDENCIES" "the build requirement '$line' is not what a package of the" \
            'repositories provides: a name, a file or another capability, but no RPM by path or URL, no group, no pattern'
        REQUIREMENTS+=("$line")
    done
}

# The requirements as this chroot sees them: an SRPM's header has those of the distribution it was made on, and a spec
# may ask for other packages here (%if 0%{?fedora}).
static_requirements() {
    local made
    rm -rf -- "$PRIVATE_SRPMS"
    install -d -o "$BUILDER_ID" -g "$BUILDER_ID" "$PRIVATE_SRPMS"
    logged "$ROOT_LOG" rpmbuild_as_builder -bs --nodeps --define "_srcrpmdir $PRIVATE_SRPMS" "$SPEC" ||
        die "$EXIT_BUILD_FAILED" 'the spec can not be read in this chroot; see above'
    made=("$PRIVATE_SRPMS"/*.src.rpm "$PRIVATE_SRPMS"/*.nosrc.rpm)
    [[ -f ${made[0]} ]] || made=("${made[@]:1}")
    read_requirements "${made[0]}"
}

rpm_has_dynamic_requirements() { # rpmbuild -br came with rpm 4.15
    local version major minor
    version=$(rpmbuild --version)
    IFS=. read -r major minor _ <<<"${version##* }"
    ((major > 4 || (major == 4 && minor >= 15)))
}

# One round of `rpmbuild -br`: true when everything is there; else REQUIREMENTS is what it asks for.
ask_requirements() {
    local status=0 asked
    "${AS_BUILDER[@]}" rm -f -- "$TOPDIR"/SRPMS/*.buildreqs.nosrc.rpm
    logged "$ROOT_LOG" rpmbuild_as_builder -br "$SPEC" || status=$?
    ((status == 0)) && return 0
    ((status == MISSING_BUILD_REQUIRES)) ||
        die "$EXIT_BUILD_FAILED" "rpmbuild could not find out the build requirements ($(explain_status "$status"))"
    asked=("$TOPDIR"/SRPMS/*.buildreqs.nosrc.rpm)
    if [[ -f ${asked[0]} ]]; then
        read_requirements "${asked[0]}"
    else
        static_requirements
    fi
    return 1
}

install_requirements() {
    ((${#REQUIREMENTS[@]})) || return 0
    install_capabilities "${REQUIREMENTS[@]}" ||
        die "$EXIT_DEPENDENCIES" "the build requirements can not be installed; asked for: $(joined "${REQUIREMENTS[@]}")"
}

install_build_requirements() {
    local previous='' asked round
    if ! rpm_has_dynamic_requirements; then
        banner 'Installing the build requirements'
        static_requirements
        install_requirements
        return
    fi
    for ((round = 1; round <= MAX_ROUNDS; round++)); do
        banner "Asking rpmbuild for the build requirements, round $round"
        ask_requirements && return 0
        asked=$(joined ${REQUIREMENTS[@]+"${REQUIREMENTS[@]}"})
        [[ -n $asked && $asked != "$previous" ]] ||
            die "$EXIT_DEPENDENCIES" "rpmbuild still misses build requirements after these were installed: $previous"
        previous=$asked
        banner "Installing the build requirements, round $round"
        install_requirements
    done
    die "$EXIT_DEPENDENCIES" "the build requirements are not complete after $MAX_ROUNDS rounds; last asked for: $previous"
}

joined() {
    local text
    printf -v text '%s, ' "$@"
    printf '%s' "${text%, }"
}

build() {
    local status=0
    banner "Building ${SPEC##*/}"
    "${AS_BUILDER[@]}" rm -f -- "$TOPDIR"/SRPMS/*
    logged "$BUILD_LOG" rpmbuild_as_builder -ba "$SPEC" || status=$?
    ((status == 0)) || die "$EXIT_BUILD_FAILED" "rpmbuild failed ($(explain_status "$status"))"
}

collect_results() {
    local file name
    banner 'Results'
    shopt -s globstar nullglob
    for file in "$TOPDIR"/RPMS/**/*.rpm "$TOPDIR"/SRPMS/*.rpm "$SPEC"; do
        [[ -f $file && ! -L $file ]] || continue # only plain files are results
        name=${file##*/}
        # By the package's name, as Copr's layout has it: its own may be no name for a file of a repository.
        [[ $file != "$SPEC" ]] || name=$NAME.spec
        store_result "$file" "$name" || die "$EXIT_FAILED" "could not copy ${file##*/}"
    done
}

need rpm rpmbuild setpriv install tee sort
: >"$ROOT_LOG"
: >"$BUILD_LOG"
choose_package_manager
if ((ENABLE_NET)); then
    say 'this build may use the network (enableNet)'
else
    require_isolation
fi
cd "$TOPDIR" || exit "$EXIT_FAILED"
install_extra_packages
unpack_srpm
install_build_requirements
build
collect_results
