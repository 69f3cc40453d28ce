# shellcheck shell=bash
# A dist-git: fetch has brought the files of the lookaside cache, and has verified them. What is left of what
# dist-git-client does is %autorelease and %autochangelog, and rpmbuild.

make_srpm() {
    local expanded
    copy_repository
    cd "$REPOSITORY" || exit "$EXIT_FAILED"
    one_spec "$REPOSITORY"
    expanded=$TOPDIR/SPECS/${SPEC##*/}
    if "${AS_BUILDER[@]}" grep -qE '%(\{[?!]*)?auto(release|changelog)' "$SPEC"; then
        need rpmautospec git
        banner 'Expanding %autorelease and %autochangelog'
        tool rpmautospec rpmautospec process-distgit "$SPEC" "$expanded"
    else
        as_builder offline cp -- "$SPEC" "$expanded" || die "$EXIT_NO_SPEC" "${SPEC##*/} can not be read"
    fi
    banner "Making the SRPM of ${SPEC##*/}"
    srpm_of "$expanded" "$REPOSITORY"
}
