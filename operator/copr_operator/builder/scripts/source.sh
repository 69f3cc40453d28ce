#!/bin/bash
# The source step: what fetch brought -> exactly one SRPM and its spec. The network is on: a spec's sources are URLs.
set -uo pipefail

# shellcheck source=lib.sh
. /copr/in/scripts/lib.sh
# shellcheck source=/dev/null
. "$IN_DIR/settings.sh"

readonly SRPMS=$TOPDIR/SRPMS

find_source() { # sets SOURCE
    local found
    shopt -s nullglob
    found=("$IN_DIR"/source/*)
    ((${#found[@]} == 1)) || die "$EXIT_SOURCE_FAILED" "expected one source file, got ${#found[@]}: ${found[*]##*/}"
    SOURCE=${found[0]}
}

# The name is made from the header: repositories want NAME-VERSION-RELEASE, whatever the download was called.
take_srpm() {
    local name
    banner "Checking ${SOURCE##*/}"
    name=$(as_builder offline rpm --query --package \
        --queryformat '%|SOURCERPM?{binary}:{%{NAME}-%{VERSION}-%{RELEASE}.%|NOSOURCE?{nosrc}:{src}|.rpm}|' "$SOURCE") ||
        die "$EXIT_SRPM_INVALID" "${SOURCE##*/} is not a readable RPM"
    [[ $name != binary ]] || die "$EXIT_SRPM_INVALID" "${SOURCE##*/} is a binary RPM, not a source RPM"
    [[ $name != *.nosrc.rpm ]] || die "$EXIT_SRPM_INVALID" "${SOURCE##*/} does not hold all its sources (nosrc)"
    [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._+~^-]*$ ]] || die "$EXIT_SRPM_INVALID" "the name in the header is not a file name"
    [[ $name == "${SOURCE##*/}" ]] || say "stored as $name, the name in its header"
    install -m 0644 -o "$BUILDER_ID" -- "$SOURCE" "$SRPMS/$name"
}

make_srpm() {
    local spec=$TOPDIR/SPECS/${SOURCE##*/}
    banner "Making the SRPM of ${SOURCE##*/}"
    install -m 0644 -o "$BUILDER_ID" -g "$BUILDER_ID" -- "$SOURCE" "$spec"
    logged "$OUT_DIR/build.log" as_builder online rpmbuild -bs --nodeps "$spec" ||
        die "$EXIT_SOURCE_FAILED" "rpmbuild -bs failed ($(explain_status $?))"
}

one_srpm() { # sets SRPM
    local found=("$SRPMS"/*.rpm)
    ((${#found[@]} > 0)) || die "$EXIT_NO_SRPM" 'the source step made no SRPM'
    ((${#found[@]} == 1)) || die "$EXIT_SEVERAL_SRPMS" "the source step made ${#found[@]} SRPMs: ${found[*]##*/}"
    SRPM=${found[0]}
    [[ -f $SRPM && ! -L $SRPM ]] || die "$EXIT_NO_SRPM" "${SRPM##*/} is no plain file"
}

# The spec as it is in the SRPM, unpacked but never parsed again.
extract_spec() { # sets SPEC
    local unpacked=$BUILDER_HOME/unpacked found
    install -d -o "$BUILDER_ID" -g "$BUILDER_ID" "$unpacked"
    as_builder offline rpm --define "_topdir $unpacked" --install "$SRPM" ||
        die "$EXIT_SRPM_INVALID" "${SRPM##*/} can not be unpacked"
    found=("$unpacked"/SPECS/*.spec)
    ((${#found[@]} == 1)) || die "$EXIT_SRPM_INVALID" "${SRPM##*/} must hold exactly one spec; found ${#found[@]}"
    SPEC=${found[0]}
}

need rpm rpmbuild setpriv install
cd "$TOPDIR" || exit "$EXIT_FAILED"
require_isolation
find_source
case $SOURCE in
    *.src.rpm) take_srpm ;;
    *.spec)
        need curl
        make_srpm
        ;;
    *) die "$EXIT_SOURCE_FAILED" "${SOURCE##*/} is neither an .src.rpm nor a .spec" ;;
esac
one_srpm
extract_spec
end_builder_processes
banner 'Results'
for file in "$SRPM" "$SPEC"; do
    [[ -f $file && ! -L $file ]] || die "$EXIT_SRPM_INVALID" "${file##*/} is no plain file"
    install -m 0644 -- "$file" "$RESULTS_DIR/" || die "$EXIT_FAILED" "could not copy ${file##*/}"
    say "${file##*/}"
done
