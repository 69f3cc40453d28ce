# shellcheck shell=bash
# What main.sh and the steps share. Runs in images of any distribution: bash 4.4 and newer, coreutils, util-linux, rpm.

# Exit codes: WrapperExit of core/wire.py.
readonly EXIT_FAILED=1 EXIT_SRPM_INVALID=20 EXIT_DEPENDENCIES=21 EXIT_BUILD_FAILED=22 EXIT_TIMEOUT=23
readonly EXIT_NO_PACKAGE_MANAGER=24 EXIT_NO_NETWORK_ISOLATION=25 EXIT_NO_SRPM=26 EXIT_SEVERAL_SRPMS=27
readonly EXIT_SOURCE_FAILED=28 EXIT_TOOL_MISSING=29 EXIT_NO_SPEC=30 EXIT_SEVERAL_SPECS=31 EXIT_SCRIPT_FAILED=32
readonly EXIT_NO_LICENSE=33 EXIT_TERMINATED=143

readonly IN_DIR=/copr/in OUT_DIR=/copr/out
readonly RESULTS_DIR=$OUT_DIR/results
readonly BUILDER_ID=1000            # everything of the user's that need not be root runs as this user
readonly BUILDER_HOME=/builddir
readonly TOPDIR=$BUILDER_HOME/build # %_topdir
# Only root writes here. What root does after the user's code has run it does here, or as the build user: below /builddir
# any name may be a link to somewhere else.
readonly ROOT_DIR=/copr/root
readonly EMPTY_HOME=$ROOT_DIR/home
readonly MAX_PROCESSES=8192         # RLIMIT_NPROC of the build user: pod specs have no limit for processes

say() { printf '[copr] %s\n' "$*"; }

banner() { printf '\n[copr] === %s (%(%H:%M:%S)T UTC) ===\n' "$*" -1; }

die() { # EXIT_CODE MESSAGE...
    local code=$1
    shift
    say "ERROR: $*"
    exit "$code"
}

need() { # PROGRAM...: ends the step when the image lacks one
    local program
    for program; do
        command -v "$program" >/dev/null || die "$EXIT_TOOL_MISSING" "the image has no '$program', which this step needs"
    done
}

nap() { # SECONDS: a sleep that starts no process, so that it works under a fork bomb too
    # `read` of a pipe that nobody writes to; opened once, read-write, so that it neither blocks nor ends.
    [[ -n ${NAP_FD:-} ]] || exec {NAP_FD}<> <(:)
    read -r -t "$1" -u "$NAP_FD" || true
}

wait_gone() { # PID SECONDS: true when the process is gone in time
    local deadline=$((SECONDS + $2))
    while kill -0 "$1" 2>/dev/null; do
        ((SECONDS < deadline)) || return 1
        nap 0.1
    done
}

builder_name() { # the build user's name; images may have one of its number already
    local name rest ids
    while IFS=: read -r name rest; do
        IFS=: read -r -a ids <<<"$rest"
        [[ ${ids[1]:-} != "$BUILDER_ID" ]] || break
        name=builder
    done </etc/passwd
    printf '%s' "${name:-builder}"
}

# The environment of everything that runs as the build user: nothing of the pod's, except proxies where it has network.
builder_environment() { # sets BUILDER_ENV
    local user
    user=$(builder_name)
    BUILDER_ENV=(HOME="$BUILDER_HOME" USER="$user" LOGNAME="$user" SHELL=/bin/bash TERM=dumb LANG=C.UTF-8 TZ=UTC
        PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin)
    [[ ${1:-} == online ]] || return 0
    local name
    for name in http_proxy https_proxy ftp_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY \
        SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE GIT_SSL_CAINFO; do
        [[ -n ${!name:-} ]] && BUILDER_ENV+=("$name=${!name}")
    done
    return 0
}

limit_processes() {
    local hard
    hard=$(ulimit -Hu)
    if [[ $hard == unlimited ]] || ((hard > MAX_PROCESSES)); then
        ulimit -u "$MAX_PROCESSES"
    fi
}

# no_new_privs: no setuid program of the image makes the build user root, who could reach the wrapper.
readonly AS_BUILDER=(setpriv --reuid "$BUILDER_ID" --regid "$BUILDER_ID" --clear-groups --no-new-privs
    --inh-caps=-all --ambient-caps=-all)

# Runs in a new user and network namespace, as its root: loopback up and a default route via loopback, as mock has it,
# then a user namespace below in which the caller is the build user again and has no capability left. The local route
# makes every address loopback's: what has no listener is refused at once, where mock's route alone swallows it, and
# tests that try the network (or the DNS) wait for their timeouts.
# shellcheck disable=SC2016 # expanded by the inner shell
readonly ENTER_OFFLINE='
    ip link set lo up && ip route add default dev lo && ip route add local default dev lo || exit 125
    ip -6 route add local default dev lo 2>/dev/null
    exec unshare --user --map-user="$0" --map-group="$0" -- "$@"'

# as_builder online|offline COMMAND...: as the build user, in $PWD, with or without the pod's network.
as_builder() {
    builder_environment "$1"
    local command=("${AS_BUILDER[@]}" env -i "${BUILDER_ENV[@]}")
    if [[ $1 != online ]]; then
        # The three network profiles differ in what lets `unshare` pass (a seccomp profile, SYS_ADMIN, a sandbox), not
        # here: the build user never has a capability in the pod's own namespaces, so it can't enter its network again.
        command+=(unshare --user --map-root-user --net -- /bin/bash -c "$ENTER_OFFLINE" "$BUILDER_ID")
    fi
    shift
    # A subshell: the process limit is the command's, not the wrapper's.
    (limit_processes && exec "${command[@]}" "$@")
}

# require_isolation: ends the step when processes can't be cut off from the network on this node. Never goes on without.
require_isolation() {
    local output
    need unshare ip setpriv
    if output=$(as_builder offline true 2>&1); then
        return 0
    fi
    say "$output"
    die "$EXIT_NO_NETWORK_ISOLATION" "this build must run without network (profile '$NETWORK_PROFILE'), but the node" \
        "refuses 'unshare --user --net' in this pod. Allow it: a seccomp profile (or none) that lets build pods call" \
        "unshare and clone with CLONE_NEWUSER and CLONE_NEWNET, user.max_user_namespaces > 1, and no AppArmor limit on" \
        "user namespaces; or use another network profile for this chroot, or enableNet for this build"
}

# Everything that runs as the build user is killed at once: kill(-1) of that user itself is atomic, which a loop over
# /proc is not against processes that fork.
end_builder_processes() {
    "${AS_BUILDER[@]}" /bin/bash -c 'kill -KILL -- -1' 2>/dev/null || true
}

# rpm_unconfigured online|offline ARGUMENT...: rpm as the build user, with an empty home: in its own the user's code may have
# left macros, which run commands. Nothing that it starts runs on.
rpm_unconfigured() {
    local network=$1 status=0
    shift
    as_builder "$network" env HOME="$EMPTY_HOME" rpm "$@" || status=$?
    end_builder_processes
    return "$status"
}

# store_result FILE NAME: a plain file, read as the build user, who may have put links in the way of what only root can read
store_result() {
    [[ -f $1 && ! -L $1 ]] || return
    "${AS_BUILDER[@]}" cat -- "$1" >"$RESULTS_DIR/$2" || { rm -f -- "$RESULTS_DIR/$2"; return 1; }
    say "$2"
}

# logged FILE COMMAND...: output to the live log and appended to FILE as well; then nothing of the build user's runs on.
logged() {
    local file=$1 status=0 copier copy
    shift
    # Opened here, not by the command's own redirection: of a program's, $! would not be known in this shell.
    # -i: an INT to the whole group must not cut off what the command says about it.
    exec {copy}> >(exec tee -i -a -- "$file")
    copier=$!
    "$@" >&"$copy" 2>&1 || status=$?
    exec {copy}>&-
    end_builder_processes
    # A daemon that a package's scriptlet left behind would hold the pipe open for ever.
    wait_gone "$copier" 5 || kill -KILL "$copier" 2>/dev/null
    return "$status"
}

explain_status() { # STATUS: how a command ended, for people
    if (($1 > 128)); then
        printf 'killed by signal %d' $(($1 - 128))
    else
        printf 'exit code %d' "$1"
    fi
}
