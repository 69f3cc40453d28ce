# shellcheck shell=bash
# pyp2spec writes the spec of a package of the index.

# shellcheck source=pypi-index.sh
. "$IN_DIR/scripts/pypi-index.sh"

readonly FEDORA_LICENSES=/usr/share/fedora-license-data/licenses/fedora-licenses.json

make_srpm() {
    local command=(pyp2spec "$PACKAGE")
    need pyp2spec python3
    work_directory
    use_index
    if [[ -f $FEDORA_LICENSES ]]; then
        command+=(--fedora-compliant)
    else
        say "the image has no list of Fedora's licenses (fedora-license-data), so the license is not checked against it"
    fi
    command+=(--automode)
    [[ -z $PACKAGE_VERSION ]] || command+=(-v "$PACKAGE_VERSION")
    banner "Writing the spec of $PACKAGE with pyp2spec"
    tool pyp2spec env "${INDEX_ENV[@]}" "${command[@]}"
    one_spec "$WORK"
    download_sdist "$WORK"
    banner "Making the SRPM of ${SPEC##*/}"
    srpm_of "$SPEC" "$WORK"
}
