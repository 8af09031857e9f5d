# Server processes that outlive the script: started apart from it, recorded in a file, and ended only if the process
# with the recorded id is still the one that was started (an id is reused after a crash or a restart of the machine).
# shellcheck shell=bash disable=SC2034,SC2154  # it shares the variables of scripts/services

readonly process_gone_poll_s=0.05

# process_spawn PID_FILE LOG COMMAND…: starts COMMAND in a session of its own and records it.
process_spawn() {
    local pid_file=$1 log=$2 pid
    shift 2
    # No terminal, no pipe and no lock of ours may be held open by a server. Background jobs of a script lead no process
    # group, so that setsid becomes the command instead of forking, and $! is the server itself.
    setsid "$@" </dev/null >>"$log" 2>&1 9>&- 8>&- &
    pid=$!
    printf '%s %s %s\n' "$pid" "$(process_start_time "$pid" || true)" "$(process_boot)" >"$pid_file"
}

# The recorded process id, running or not.
process_id() {
    local pid
    read -r pid _ <"$1"
    printf '%s' "$pid"
}

# Is the process recorded in this file still running?
process_alive() {
    local pid started boot now
    [[ -s $1 ]] || return 1
    read -r pid started boot <"$1"
    now=$(process_start_time "$pid") && [[ $now == "$started" && $(process_boot) == "$boot" ]]
}

process_signal() {
    local pid_file=$1 signal=$2
    process_alive "$pid_file" || return 0
    kill -s "$signal" "$(process_id "$pid_file")" 2>/dev/null || true
}

# process_wait_gone PID_FILE SECONDS: fails if it is still there after that time.
process_wait_gone() {
    local pid_file=$1 deadline=$((SECONDS + $2))
    while process_alive "$pid_file"; do
        ((SECONDS < deadline)) || return 1
        sleep "$process_gone_poll_s"
    done
}

# Start time of a living process in clock ticks since boot (field 22 of /proc/PID/stat, see proc(5)). A zombie counts
# as gone, because a container without an init never reaps it.
process_start_time() {
    local stat
    local -a fields
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || return 1
    printf '%s' "${fields[19]}"
}

process_boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || printf 'unknown'; }
