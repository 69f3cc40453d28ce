# shellcheck shell=bash
# tito --test: the commit that is checked out.

make_srpm() {
    need tito git
    copy_repository
    enter "$REPOSITORY" "$SUBDIRECTORY"
    banner 'Making the SRPM with tito, of the commit'
    tool 'tito build --test' tito build --test --srpm --output "$SRPMS"
}
