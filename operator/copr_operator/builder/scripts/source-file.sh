# shellcheck shell=bash
# link and upload: an .src.rpm is taken as it is; of a .spec rpmbuild makes one, and downloads its sources.

make_srpm() {
    local found=("$IN_DIR"/source/*) source
    ((${#found[@]} == 1)) || die "$EXIT_SOURCE_FAILED" "expected one source file, got ${#found[@]}: ${found[*]##*/}"
    source=${found[0]}
    case $source in
        *.src.rpm) install -m 0644 -o "$BUILDER_ID" -- "$source" "$SRPMS/" ;;
        *.spec)
            need curl
            banner "Making the SRPM of ${source##*/}"
            install -m 0644 -o "$BUILDER_ID" -g "$BUILDER_ID" -- "$source" "$TOPDIR/SPECS/"
            srpm_of "$TOPDIR/SPECS/${source##*/}" "$TOPDIR/SOURCES"
            ;;
        *) die "$EXIT_SOURCE_FAILED" "${source##*/} is neither an .src.rpm nor a .spec" ;;
    esac
}
