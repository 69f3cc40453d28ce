#!/bin/bash
# The wrapper: PID 1 and root of the untrusted container. Runs one step (source.sh or rpm.sh), keeps its timeout, ends
# it, and says how it ended. What runs below it is hostile: nothing it does may keep this script from its end.
# Contract with the trusted containers: docs/wire.md.
set -u

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
readonly SCRIPTS=/copr/in/scripts
readonly END_FIFO=/copr/ctl/end

TERMINATED=0
trap 'TERMINATED=1' TERM
trap : PIPE # a handler, not '': ignoring it would be inherited by every program of the build

# First act. Blocks until `collect` has the other end open, so that neither can miss the other.
until { exec {END_FD}>"$END_FIFO"; } 2>/dev/null; do
    if ((TERMINATED)) || [[ ! -p $END_FIFO ]]; then
        printf '[copr] ended before the start\n'
        exit 143
    fi
done
printf 'started\n' >&"$END_FD"

# shellcheck source=lib.sh
. "$SCRIPTS/lib.sh"
# shellcheck source=/dev/null
. "$IN_DIR/settings.sh"

readonly LIVE_LOG=$OUT_DIR/builder-live.log
readonly STOP_STEP=10 # seconds between INT, TERM and KILL

chmod 0755 "$OUT_DIR"
umask 022
mkdir -p "$RESULTS_DIR"
: >"$LIVE_LOG"

# All output goes through one `tee`. Messages of this script reach log and stdout even after the tee is gone.
exec {STDOUT_FD}>&1
exec {LOG_FD}> >(exec tee -a -- "$LIVE_LOG" >&"$STDOUT_FD" {STDOUT_FD}>&- {END_FD}>&-)
LOG_TEE=$!
say() {
    if kill -0 "$LOG_TEE" 2>/dev/null && printf '[copr] %s\n' "$*" >&"$LOG_FD"; then
        return
    fi
    printf '[copr] %s\n' "$*" >>"$LIVE_LOG"
    printf '[copr] %s\n' "$*" >&"$STDOUT_FD"
}

# Makes the build user known by name (rpm writes owner names into SRPMs) and gives it its directories.
prepare_builder() {
    local line found=0 ids
    while IFS= read -r line || [[ -n $line ]]; do
        IFS=: read -r -a ids <<<"$line"
        [[ ${ids[2]:-} == "$BUILDER_ID" ]] && found=1
    done </etc/passwd
    if ((!found)); then
        printf 'builder:x:%d:%d::%s:/bin/bash\n' "$BUILDER_ID" "$BUILDER_ID" "$BUILDER_HOME" >>/etc/passwd
        printf 'builder:x:%d:\n' "$BUILDER_ID" >>/etc/group
    fi
    install -d -m 0755 "$ROOT_DIR" "$EMPTY_HOME"
    install -d -o "$BUILDER_ID" -g "$BUILDER_ID" -m 0755 "$BUILDER_HOME" "$TOPDIR" \
        "$TOPDIR"/{BUILD,BUILDROOT,RPMS,SOURCES,SPECS,SRPMS}
    # The build user's own macros, as Copr writes them.
    install -m 0644 "$IN_DIR/macros" "$BUILDER_HOME/.rpmmacros"
}

# Sets PERSONALITY: what runs the step of a 32-bit x86 chroot. Its nodes are x86_64, and rpm, dnf and configure scripts take
# the machine from uname.
choose_personality() {
    PERSONALITY=()
    case ${CHROOT##*-} in
        i[3-6]86)
            if setarch linux32 true; then
                PERSONALITY=(setarch linux32)
            else
                say "WARNING: '$CHROOT' is 32-bit, and uname can not be made to say so: this may build for $(uname -m)"
            fi
            ;;
    esac
}

# Own process group, default SIGINT: both come with job control, and a background process has neither without it.
start_step() {
    set -m
    (
        trap - TERM PIPE
        exec >&"$LOG_FD" 2>&1 </dev/null {LOG_FD}>&- {END_FD}>&- {STDOUT_FD}>&-
        exec ${PERSONALITY[@]+"${PERSONALITY[@]}"} /bin/bash "$SCRIPTS/$STEP.sh"
    ) &
    STEP_PID=$!
    set +m
}

# wait_step SECONDS: false when the step still runs then, or when this container is told to end
wait_step() {
    local deadline=$((SECONDS + $1))
    while kill -0 "$STEP_PID" 2>/dev/null; do
        ((SECONDS < deadline && !TERMINATED)) || return 1
        nap 0.2
    done
}

signal_step() { kill "-$1" -- "-$STEP_PID" 2>/dev/null; }

# wait_group SECONDS: false when any process of the step's group is left then, be it that the step itself is gone, or
# when this container is told to end
wait_group() {
    local deadline=$((SECONDS + $1))
    while signal_step 0; do
        ((SECONDS < deadline && !TERMINATED)) || return 1
        nap 0.2
    done
}

# After this nothing but this script runs in the container. Killing all from PID 1 needs no new process and reaches
# everything; before it the build user's processes are killed on their own, so that the log's tee can end in peace.
end_everything() {
    signal_step KILL
    end_builder_processes
    exec {LOG_FD}>&-
    wait_gone "$LOG_TEE" 3
    kill -KILL -- -1 2>/dev/null
}

report_oom() { # the kernel's own count for this container, cgroup v2 or v1
    local key value
    while read -r key value; do
        if [[ $key == oom_kill ]] && ((value > 0)); then
            say "the kernel killed $value process(es) of this build because it used more memory than it may"
        fi
    done < <(cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null)
}

# Ends the step within STOP_STEP seconds: what a canceled pod has before collect needs the rest of its grace time.
cancel_step() {
    say 'canceled: ending the step'
    TERMINATED=0
    signal_step TERM
    wait_group $((STOP_STEP / 2)) || signal_step KILL
    CODE=$EXIT_TERMINATED
}

time_out_step() {
    say "!! Copr timeout => sending INT"
    signal_step INT
    if ! wait_group "$STOP_STEP"; then
        say "!! Copr timeout => sending TERM"
        signal_step TERM
        if ! wait_group "$STOP_STEP"; then
            say "!! Copr timeout => sending KILL"
            signal_step KILL
        fi
    fi
    CODE=$EXIT_TIMEOUT
}

supervise() { # sets CODE
    if ! wait_step "$TIMEOUT"; then
        if ((TERMINATED)); then cancel_step; else time_out_step; fi
        return
    fi
    wait "$STEP_PID" 2>/dev/null
    CODE=$?
    # A step that was killed, or ended in a way it does not know, failed; its code must not look like a cancel.
    if ((CODE != 0 && (CODE < EXIT_SRPM_INVALID || CODE > EXIT_NO_LICENSE))); then
        say "the step ended abnormally ($(explain_status "$CODE"))"
        CODE=$EXIT_FAILED
    fi
}

say "build $BUILD_ID, step $STEP${CHROOT:+, chroot $CHROOT}, timeout ${TIMEOUT}s"
CODE=$EXIT_FAILED
if prepare_builder >&"$LOG_FD" 2>&1; then
    choose_personality
    start_step
    supervise
    report_oom
else
    say 'ERROR: the build root could not be prepared'
fi
say "step $STEP ended after ${SECONDS}s with code $CODE"
end_everything
printf '%d\n' "$CODE" >"$OUT_DIR/exit-code"
exit "$CODE"
