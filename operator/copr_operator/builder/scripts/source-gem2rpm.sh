# shellcheck shell=bash
# gem2rpm downloads the gem, writes its spec and makes the SRPM.

make_srpm() {
    local status=0
    need gem2rpm
    work_directory
    printf -- '---\n:sources:\n- %s\n' "$GEM_SOURCE" >"$BUILDER_HOME/.gemrc"
    banner "Making the SRPM of the gem $PACKAGE with gem2rpm"
    logged "$BUILD_LOG" as_builder online gem2rpm "$PACKAGE" --srpm -C "$WORK" --fetch || status=$?
    if grep -q 'Empty tag: License' "$BUILD_LOG"; then
        die "$EXIT_NO_LICENSE" "the gem $PACKAGE names no license, which means that nobody has a right to use it;" \
            "see https://guides.rubygems.org/specification-reference/#license="
    fi
    ((status == 0)) || die "$EXIT_SOURCE_FAILED" "gem2rpm failed ($(explain_status "$status"))"
    take_srpms "$WORK"
}
