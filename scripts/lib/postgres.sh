# One PostgreSQL server. It refuses to run as root: root lends its data to an unprivileged user of the machine.
# shellcheck shell=bash disable=SC2034,SC2154  # it shares the variables of scripts/services

# sun_path holds 107 bytes and a terminator (unix(7)); the socket is named .s.PGSQL.PORT.
readonly postgres_socket_folder_max_bytes=$((107 - 15))
readonly postgres_ready_limit_s=60 postgres_end_limit_s=20

# postgres_user: who runs the server, empty for ourselves.
postgres_user() {
    local user
    ((EUID == 0)) || return 0
    for user in postgres nobody; do
        if id -u "$user" >/dev/null 2>&1; then
            printf '%s' "$user"
            return
        fi
    done
    die "PostgreSQL does not run as root, and this machine has no user postgres or nobody to run it; run this as another user"
}

# Fills the array `as_postgres` with what goes before a command to run it as that user.
postgres_prepare_user() {
    local user
    user=$(postgres_user)
    as_postgres=()
    [[ -z $user ]] ||
        as_postgres=(setpriv "--reuid=$(id -u "$user")" "--regid=$(id -g "$user")" --clear-groups --)
}

# postgres_create: data folder, roles and databases. Everything of the server is in $postgres_folder.
postgres_create() {
    local bin log=$home/postgres-create.log
    bin=$(postgres_bin)
    rm -rf "$postgres_folder/data"
    printf '%s\n' "$admin_password" >"$postgres_folder/password"
    postgres_own "$postgres_folder" "$postgres_folder/password"
    # From the root folder: the user may not be allowed into ours.
    (cd / && "${as_postgres[@]}" "$bin/initdb" --pgdata="$postgres_folder/data" --username=postgres \
        --pwfile="$postgres_folder/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync) \
        >"$log" 2>&1 8>&- 9>&- || postgres_fail "initdb failed" "$log"
    rm -f "$postgres_folder/password"
    postgres_settings >>"$postgres_folder/data/postgresql.conf"
    # The single-user mode needs no client program. A statement ends at the end of its line.
    (cd / && "${as_postgres[@]}" "$bin/postgres" --single -D "$postgres_folder/data" postgres) \
        >>"$log" 2>&1 8>&- 9>&- <<SQL || postgres_fail "creating the role failed" "$log"
CREATE ROLE store LOGIN CREATEDB PASSWORD '$store_password'
CREATE DATABASE store OWNER store
SQL
    if grep -q 'ERROR:' "$log"; then postgres_fail "creating the role failed" "$log"; fi
    : >"$postgres_folder/created"
}

postgres_settings() {
    cat <<'SETTINGS'

# scripts/services: many tests at once, each with slots and pools of its own. Durability is PostgreSQL's default.
listen_addresses = '127.0.0.1'
max_connections = 300
wal_level = logical
max_replication_slots = 100
max_wal_senders = 100
max_worker_processes = 40
max_logical_replication_workers = 24
log_line_prefix = '%m [%p] %q%u@%d '
SETTINGS
}

# Fails with port_taken if another program sits on the port.
postgres_start() {
    local log=$home/postgres.log bin seen=0
    local data=$postgres_folder/data
    bin=$(postgres_bin)
    mkdir -p "$postgres_socket"
    postgres_own "$postgres_socket"
    postgres_drop_stale_locks
    if [[ -e $log ]]; then seen=$(stat -c %s "$log"); fi
    # The path of the socket is quoted as a list element, which may hold spaces and commas.
    (cd / && process_spawn "$(server_pid_file postgres)" "$log" env LC_ALL=C "${as_postgres[@]}" "$bin/postgres" -D "$data" \
        -c port="$postgres_port" -c unix_socket_directories="\"$postgres_socket\"")
    postgres_wait_ready "$log" "$seen"
}

# The server writes the status that its own pg_ctl waits for into line 8 of its lock file.
postgres_wait_ready() {
    local log=$1 seen=$2 deadline=$((SECONDS + postgres_ready_limit_s)) status
    local lock=$postgres_folder/data/postmaster.pid
    until
        status=$(sed -n '1p;8p' "$lock" 2>/dev/null | tr -s ' \n' ' ') &&
            [[ $status == "$(process_id "$(server_pid_file postgres)") ready " ]] && port_listening "$postgres_port"
    do
        if ! process_alive "$(server_pid_file postgres)"; then
            if log_since "$log" "$seen" | grep -q 'could not bind'; then return "$port_taken"; fi
            warn "PostgreSQL ended at its start. The end of $log:"
            tail -n 15 "$log" >&2
            return 1
        fi
        ((SECONDS < deadline)) || {
            warn "PostgreSQL is not ready after $postgres_ready_limit_s s: see $log"
            return 1
        }
        sleep 0.05
    done
}

# Lock files survive kill -9 and a power cut, and the process id in them may be a zombie's or another program's by now:
# the server would refuse to start. They are removed when no process works in the data folder any more. After kill -9 of the
# server alone, its children may still be ending.
postgres_drop_stale_locks() {
    local deadline=$((SECONDS + postgres_end_limit_s))
    while postgres_data_in_use; do
        ((SECONDS < deadline)) || die "another PostgreSQL server uses $postgres_folder/data; end it first"
        sleep 0.1
    done
    rm -f "$postgres_folder/data/postmaster.pid" "$postgres_socket/.s.PGSQL.$postgres_port"{,.lock}
}

# Other users' processes can't be read, so readlink's output matters and not its exit code.
postgres_data_in_use() { grep -qxF "$postgres_folder/data" < <(readlink /proc/[0-9]*/cwd 2>/dev/null); }

# postgres_signal_end orderly|crash: SIGINT is the fast shutdown, SIGQUIT the immediate one (recovery at the next start).
postgres_signal_end() {
    case $1 in
    orderly) process_signal "$(server_pid_file postgres)" INT ;;
    crash) process_signal "$(server_pid_file postgres)" QUIT ;;
    esac
}

postgres_wait_end() {
    local pid_file
    pid_file=$(server_pid_file postgres)
    process_wait_gone "$pid_file" "$postgres_end_limit_s" && return
    warn "PostgreSQL did not end within $postgres_end_limit_s s: immediate shutdown"
    process_signal "$pid_file" QUIT
    process_wait_gone "$pid_file" "$postgres_end_limit_s" || die "PostgreSQL (process $(process_id "$pid_file")) does not end"
}

# Chooses where data and socket live: in the instance's folder, unless the server's user can't reach it or the path is
# too long for a socket. What lies in a folder for temporary files goes with `down`.
postgres_place() {
    local user
    postgres_folder=$home/postgres
    mkdir -p "$postgres_folder"
    postgres_own "$postgres_folder"
    if ! "${as_postgres[@]}" test -w "$postgres_folder"; then
        user=$(postgres_user)
        rmdir "$postgres_folder"
        make_temporary_folder postgres_folder
        postgres_own "$postgres_folder"
        "${as_postgres[@]}" test -w "$postgres_folder" || die "the user $user, who runs PostgreSQL for root, reaches neither $home nor $postgres_folder"
        say "the user $user, who runs PostgreSQL for root, can't reach $home: the data is in $postgres_folder and goes with \`down\`"
    fi
    postgres_socket=$postgres_folder/socket
    if (($(printf %s "$postgres_socket" | wc -c) > postgres_socket_folder_max_bytes)); then
        make_temporary_folder postgres_socket
    fi
}

# The programs, copied next to the data if the server's user can't reach the downloads.
postgres_bin() {
    local shared
    shared=$(postgres_server_folder "$postgres_major")
    if "${as_postgres[@]}" test -x "$shared/bin/postgres"; then
        printf '%s' "$shared/bin"
    else
        [[ -d $postgres_folder/server ]] || cp -r "$shared" "$postgres_folder/server"
        printf '%s' "$postgres_folder/server/bin"
    fi
}

postgres_own() {
    local user
    user=$(postgres_user)
    [[ -z $user ]] || chown "$user:$(id -g "$user")" "$@"
    chmod go= "$@"
}

postgres_fail() {
    tail -n 15 "$2" >&2
    die "$1: see above and $2"
}
