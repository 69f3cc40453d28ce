# shellcheck shell=bash
# make: the target srpm of .copr/Makefile at the repository's root, run in the subdirectory, leaves SRPMs in outdir.

make_srpm() {
    local makefile=$REPOSITORY/.copr/Makefile
    command -v make >/dev/null || install_make
    copy_repository
    [[ -f $makefile ]] || die "$EXIT_SOURCE_FAILED" 'the repository has no .copr/Makefile at its root'
    enter "$REPOSITORY" "$SUBDIRECTORY"
    name_spec
    banner 'Making the SRPM with make srpm'
    tool 'make srpm' make -f "$makefile" srpm outdir="$SRPMS" spec="$SPEC"
}

# mock has it in every root where Copr runs this.
install_make() {
    : >>"$ROOT_LOG"
    choose_package_manager
    install_packages make || die "$EXIT_TOOL_MISSING" "the image has no 'make', and it could not be installed"
}
