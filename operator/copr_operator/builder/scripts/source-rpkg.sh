# shellcheck shell=bash
# rpkg-util 3: renders the spec's {{{ }}} templates, packs the sources. Configured as Copr's builders are.

make_srpm() {
    local scheme host
    need rpkg git
    copy_repository
    enter "$REPOSITORY" "$SUBDIRECTORY"
    name_spec
    scheme=${CLONE_URL%%://*}
    host=${CLONE_URL#*://}
    host=${host%%/*}
    install -d -o "$BUILDER_ID" -g "$BUILDER_ID" "$BUILDER_HOME/.config"
    printf '[rpkg]\npreprocess_spec = True\n\n[git]\nanon_clone_url = %s\n\n[lookaside]\ndownload_url = %s\n' \
        "$scheme://$host/%(repo_path)s" \
        "$scheme://$host/repo/pkgs/%(repo_path)s/%(filename)s/%(hashtype)s/%(hash)s/%(filename)s" \
        >"$BUILDER_HOME/.config/rpkg.conf"
    banner 'Making the SRPM with rpkg'
    tool rpkg rpkg srpm --outdir "$SRPMS" --spec "$SPEC"
}
