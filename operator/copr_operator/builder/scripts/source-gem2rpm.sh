# shellcheck shell=bash
# gem2rpm writes the spec of a gem and makes the SRPM. By itself it downloads from https://rubygems.org only.

readonly RUBYGEMS=https://rubygems.org

make_srpm() {
    local status=0 gem=$PACKAGE options=(--srpm -C "$WORK")
    need gem2rpm
    work_directory
    printf -- '---\n:sources:\n- %s\n' "$GEM_SOURCE" >"$BUILDER_HOME/.gemrc" # where it looks for the gem's URL
    if [[ ${GEM_SOURCE%/} == "$RUBYGEMS" ]]; then
        options+=(--fetch)
    else
        need gem
        say "the gem source is $GEM_SOURCE"
        tool 'gem fetch' gem fetch --clear-sources --source "$GEM_SOURCE" "$PACKAGE"
        gem=$(one_gem) || die "$EXIT_SOURCE_FAILED" "the gem source has no gem '$PACKAGE'"
    fi
    banner "Making the SRPM of the gem $PACKAGE with gem2rpm"
    logged "$BUILD_LOG" as_builder online gem2rpm "$gem" "${options[@]}" || status=$?
    if grep -q 'Empty tag: License' "$BUILD_LOG"; then
        die "$EXIT_NO_LICENSE" "the gem $PACKAGE names no license, which means that nobody has a right to use it;" \
            "see https://guides.rubygems.org/specification-reference/#license="
    fi
    ((status == 0)) || die "$EXIT_SOURCE_FAILED" "gem2rpm failed ($(explain_status "$status"))"
    take_srpms "$WORK"
}

one_gem() {
    local found=("$WORK"/*.gem)
    ((${#found[@]} == 1)) && printf '%s' "${found[0]}"
}
