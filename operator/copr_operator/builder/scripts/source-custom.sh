# shellcheck shell=bash
# A user's script. It leaves a spec with its sources, or an SRPM, in the result directory.

make_srpm() {
    local status=0 srpms variables=(COPR_OWNER="$COPR_OWNER" COPR_PROJECT="$COPR_PROJECT" COPR_PACKAGE="$COPR_PACKAGE")
    work_directory
    variables+=(COPR_RESULTDIR="$(realpath -m -- "$WORK/$RESULTDIR")")
    install -m 0755 -- "$IN_DIR/script" "$BUILDER_HOME/script"
    if [[ -f $IN_DIR/hook_payload ]]; then
        install -m 0644 -- "$IN_DIR/hook_payload" "$WORK/hook_payload"
    fi
    banner 'Running the script'
    # By a shell, which runs a script without an interpreter line itself.
    # shellcheck disable=SC2016 # expanded by the inner shell
    logged "$BUILD_LOG" as_builder online env "${variables[@]}" /bin/bash -c '"$0"; exit' "$BUILDER_HOME/script" || status=$?
    ((status == 0)) || die "$EXIT_SCRIPT_FAILED" "the script failed ($(explain_status "$status"))"
    enter "$WORK" "$RESULTDIR"
    srpms=(./*.src.rpm)
    if ((${#srpms[@]} > 0)); then
        take_srpms "$PWD"
        return
    fi
    one_spec "$PWD"
    banner "Making the SRPM of ${SPEC##*/}"
    srpm_of "$SPEC" "$PWD"
}
