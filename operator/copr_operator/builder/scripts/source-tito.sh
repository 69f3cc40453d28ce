# shellcheck shell=bash
# tito: the package as it was last tagged. A committish or a spec of the source does not choose the version.

make_srpm() {
    need tito git
    copy_repository
    enter "$REPOSITORY" "$SUBDIRECTORY"
    banner 'Making the SRPM with tito, of the latest tag'
    tool 'tito build' tito build --srpm --output "$SRPMS"
}
