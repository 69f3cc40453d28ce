# shellcheck shell=bash
# pyp2rpm writes the spec and makes the SRPM. The first Python version is the base, the others are built too.

# shellcheck source=pypi-index.sh
. "$IN_DIR/scripts/pypi-index.sh"

make_srpm() {
    local version flag=-b command=(pyp2rpm "$PACKAGE" -t "$SPEC_TEMPLATE" --srpm -d "$WORK")
    need pyp2rpm
    work_directory
    use_index
    command -v rpmdev-packager >/dev/null || name_packager
    for version in "${PYTHON_VERSIONS[@]}"; do
        command+=("$flag" "$version")
        flag=-p
    done
    [[ -z $PACKAGE_VERSION ]] || command+=(-v "$PACKAGE_VERSION")
    banner "Making the SRPM of $PACKAGE with pyp2rpm"
    tool pyp2rpm env "${INDEX_ENV[@]}" "${command[@]}"
    take_srpms "$WORK"
}

# pyp2rpm asks it (of rpmdevtools) who writes the changelog; where it is missing the entry has neither date nor author.
name_packager() {
    printf '#!/bin/sh\necho %q\n' "$COPR_OWNER <$COPR_OWNER@localhost>" >/usr/local/bin/rpmdev-packager
    chmod 0755 /usr/local/bin/rpmdev-packager
}
