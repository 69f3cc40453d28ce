#!/bin/bash
# The source step: what fetch brought -> exactly one SRPM and its spec. The network is on: sources are URLs, and tools
# and scripts download what they like. All of them run as the build user; source-METHOD.sh says how.
set -uo pipefail

# shellcheck source=lib.sh
. /copr/in/scripts/lib.sh
# shellcheck source=/dev/null
. "$IN_DIR/settings.sh"
# shellcheck source=packages.sh
. "$IN_DIR/scripts/packages.sh"

readonly SRPMS=$TOPDIR/SRPMS
readonly BUILD_LOG=$OUT_DIR/build.log
readonly REPOSITORY=$BUILDER_HOME/repository
readonly WORK=$BUILDER_HOME/work # where tools run that leave files about

# Copies what was cloned: tools write into their repositories, and own what they work on.
copy_repository() {
    if ! cp -a -- "$IN_DIR/source/repository" "$REPOSITORY" || ! chown -R -h "$BUILDER_ID:$BUILDER_ID" "$REPOSITORY"; then
        die "$EXIT_FAILED" 'the repository could not be copied'
    fi
}

# enter ROOT PATH: into a directory below ROOT, wherever links lead
enter() {
    local path
    path=$(realpath -e -- "$1/$2" 2>/dev/null)
    [[ -d $path ]] || die "$EXIT_SOURCE_FAILED" "there is no directory '$2'"
    [[ $path == "$1" || $path == "$1"/* ]] || die "$EXIT_SOURCE_FAILED" "the directory '$2' leads out of its root"
    cd -- "$path" || die "$EXIT_SOURCE_FAILED" "the directory '$2' can not be entered"
}

work_directory() {
    install -d -o "$BUILDER_ID" -g "$BUILDER_ID" "$WORK" && cd "$WORK" || exit "$EXIT_FAILED"
}

# one_spec DIRECTORY: sets SPEC
one_spec() {
    local found=("$1"/*.spec)
    ((${#found[@]} > 0)) || die "$EXIT_NO_SPEC" "there is no .spec; there is: $(listing "$1")"
    ((${#found[@]} == 1)) || die "$EXIT_SEVERAL_SPECS" "there are ${#found[@]} specs, which of them? ${found[*]##*/}"
    SPEC=${found[0]}
    [[ -f $SPEC ]] || die "$EXIT_NO_SPEC" "${SPEC##*/} is no file"
}

listing() { # DIRECTORY: some of its files, for people
    local files=("$1"/*)
    files=("${files[@]##*/}")
    printf '%s' "${files[*]:0:20}"
    ((${#files[@]} <= 20)) || printf ' and %d more' $((${#files[@]} - 20))
}

# name_spec: sets SPEC to the one that the user named, or to the directory for tools that look themselves
name_spec() {
    [[ -z $SPEC_PATH || -f $REPOSITORY/$SPEC_PATH ]] ||
        die "$EXIT_NO_SPEC" "the repository has no file '$SPEC_PATH'; in '$SUBDIRECTORY' are: $(listing "$PWD")"
    SPEC=$(realpath -m -- "$REPOSITORY/${SPEC_PATH:-$SUBDIRECTORY}")
}

# tool NAME COMMAND...: runs it as the build user; its failure is the source's
tool() {
    local name=$1 status=0
    shift
    logged "$BUILD_LOG" as_builder online "$@" || status=$?
    ((status == 0)) || die "$EXIT_SOURCE_FAILED" "$name failed ($(explain_status "$status"))"
}

# srpm_of SPEC SOURCES: rpmbuild -bs
srpm_of() {
    tool 'rpmbuild -bs' rpmbuild -bs --nodeps --define "_sourcedir $2" --define "_srcrpmdir $SRPMS" "$1"
}

# install_packages_of_source: what the chroot and the source ask for; nothing where there is nothing
install_packages_of_source() {
    [[ -s $IN_DIR/packages ]] || return 0
    : >"$ROOT_LOG"
    choose_package_manager
    install_extra_packages
}

# take_srpms DIRECTORY: what a tool has made there. Copied as the build user, who can't read what is not its own.
take_srpms() {
    local file
    for file in "$1"/*.src.rpm "$1"/*.nosrc.rpm; do
        as_builder offline cp -- "$file" "$SRPMS/" || die "$EXIT_SRPM_INVALID" "${file##*/} can not be read"
    done
}

one_srpm() { # sets SRPM
    local found=("$SRPMS"/*.src.rpm) incomplete=("$SRPMS"/*.nosrc.rpm)
    if ((${#found[@]} == 0 && ${#incomplete[@]} > 0)); then
        die "$EXIT_SRPM_INVALID" "${incomplete[0]##*/} does not hold all its sources (nosrc)"
    fi
    ((${#found[@]} > 0)) || die "$EXIT_NO_SRPM" "the source step made no SRPM; it left: $(listing "$SRPMS")"
    ((${#found[@]} == 1)) || die "$EXIT_SEVERAL_SRPMS" "the source step made ${#found[@]} SRPMs: ${found[*]##*/}"
    SRPM=${found[0]}
    [[ -f $SRPM && ! -L $SRPM ]] || die "$EXIT_NO_SRPM" "${SRPM##*/} is no plain file"
}

# The name is made from the header: repositories want NAME-VERSION-RELEASE, whatever the file was called.
name_srpm() { # sets NAME (the package's) and FILE
    local header valid='^[A-Za-z0-9][A-Za-z0-9._+~^-]*$'
    header=$(rpm_unconfigured offline --query --package --queryformat \
        '%|SOURCERPM?{binary}:{%{NAME} %{NAME}-%{VERSION}-%{RELEASE}.%|NOSOURCE?{nosrc}:{src}|.rpm}|' "$SRPM") ||
        die "$EXIT_SRPM_INVALID" "${SRPM##*/} is not a readable RPM"
    [[ $header != binary ]] || die "$EXIT_SRPM_INVALID" "${SRPM##*/} is a binary RPM, not a source RPM"
    read -r NAME FILE <<<"$header"
    [[ $FILE != *.nosrc.rpm ]] || die "$EXIT_SRPM_INVALID" "${SRPM##*/} does not hold all its sources (nosrc)"
    [[ $FILE =~ $valid ]] || die "$EXIT_SRPM_INVALID" "the name in the header is not a file name"
    [[ $FILE == "${SRPM##*/}" ]] || say "stored as $FILE, the name in its header"
}

# The spec as it is in the SRPM, unpacked but never parsed again.
extract_spec() { # sets SPEC
    local unpacked=$ROOT_DIR/unpacked found
    install -d -o "$BUILDER_ID" -g "$BUILDER_ID" "$unpacked"
    rpm_unconfigured offline --define "_topdir $unpacked" --install "$SRPM" ||
        die "$EXIT_SRPM_INVALID" "${SRPM##*/} can not be unpacked"
    found=("$unpacked"/SPECS/*.spec)
    ((${#found[@]} == 1)) || die "$EXIT_SRPM_INVALID" "${SRPM##*/} must hold exactly one spec; found ${#found[@]}"
    SPEC=${found[0]}
}

[[ -f $IN_DIR/scripts/source-$METHOD.sh ]] || die "$EXIT_FAILED" "there is no source method '$METHOD'"
# shellcheck source=/dev/null
. "$IN_DIR/scripts/source-$METHOD.sh"

need rpm rpmbuild setpriv install realpath
: >"$BUILD_LOG"
cd "$TOPDIR" || exit "$EXIT_FAILED"
require_isolation
shopt -s nullglob
install_packages_of_source
make_srpm
end_builder_processes
cd "$TOPDIR" || exit "$EXIT_FAILED"
banner 'Checking the SRPM'
one_srpm
name_srpm
extract_spec
banner 'Results'
# The spec by the package's name, as Copr's layout has it: its own may be no name for a file of a repository.
store_result "$SRPM" "$FILE" || die "$EXIT_SRPM_INVALID" "${SRPM##*/} is no plain file"
store_result "$SPEC" "$NAME.spec" || die "$EXIT_SRPM_INVALID" "${SPEC##*/} is no plain file"
