# An instance: one PostgreSQL and one Kafka with their ports, passwords and data, in one folder. The file `instance` in
# that folder is what makes it exist; every command but `up` finds there what `up` has chosen.
# shellcheck shell=bash disable=SC2034,SC2154  # it shares the variables of scripts/services

readonly port_taken=98 start_attempts=5
readonly instance_variables=(postgres_major kafka_minor brokers postgres_port admin_password store_password kafka_cluster kafka_ports
    controller_ports postgres_folder postgres_socket temporary_folders)

# One command at a time changes an instance.
instance_lock() {
    mkdir -p "$home"
    exec 9>"$home/lock"
    flock 9
}

instance_load() {
    [[ -e $home/instance ]] || return 1
    # shellcheck source=/dev/null
    source "$home/instance"
    postgres_prepare_user
    # Data in a folder for temporary files may be gone after a restart of the machine.
    [[ -d $postgres_folder ]]
}

instance_save() {
    local part
    part=$(umask 077 && mktemp "$home/instance-XXXXXX")
    declare -p "${instance_variables[@]}" | sed 's/^declare -- /declare -g /; s/^declare -a /declare -ga /' >"$part"
    mv -T "$part" "$home/instance"
}

# instance_up POSTGRES_MAJOR KAFKA_MINOR BROKERS: empty means as it is, or the default.
instance_up() {
    if instance_load; then
        if [[ ${1:-$postgres_major} != "$postgres_major" || ${2:-$kafka_minor} != "$kafka_minor" || ${3:-$brokers} != "$brokers" ]]; then
            die "this instance has PostgreSQL $postgres_major, Kafka $kafka_minor and $brokers broker(s): run \`down --delete\` first, or choose another SERVICES_HOME"
        fi
        if instance_is_up; then
            say "already up"
            instance_status
            return
        fi
        downloads_complete "$postgres_major"
    else
        instance_wipe
        postgres_major=${1:-18} kafka_minor=${2:-4.3} brokers=${3:-1}
        downloads_complete "$postgres_major"
        instance_plan
    fi
    instance_create_missing
    instance_start_all
    instance_status
}

# Everything that is chosen once.
instance_plan() {
    temporary_folders=()
    admin_password=$(random_hex 16) store_password=$(random_hex 16)
    kafka_cluster=$(random_hex 11)
    postgres_prepare_user
    postgres_place
    # From here on the instance exists, so that its ports stay reserved and `down` finds what is started.
    postgres_port=0 kafka_ports=() controller_ports=()
    instance_save
    postgres_choose_port
    kafka_choose_ports
}

postgres_choose_port() {
    postgres_port=$(ports_reserve 1)
    instance_save
}

kafka_choose_ports() {
    local -a ports
    read -ra ports <<<"$(ports_reserve $((2 * brokers)))"
    kafka_ports=("${ports[@]:0:brokers}") controller_ports=("${ports[@]:brokers}")
    instance_save
}

instance_create_missing() {
    local creating_postgres='' creating_kafka=''
    if [[ ! -e $postgres_folder/created ]]; then
        postgres_create &
        creating_postgres=$!
    fi
    if [[ ! -e $home/kafka-created ]]; then
        kafka_create &
        creating_kafka=$!
    fi
    if [[ -n $creating_postgres ]]; then wait "$creating_postgres" || exit; fi
    if [[ -n $creating_kafka ]]; then wait "$creating_kafka" || exit; fi
    : >"$home/kafka-created"
}

# Starts what is not running, all at once; a port that another program has taken meanwhile is exchanged.
instance_start_all() {
    local attempt
    for ((attempt = 1; attempt <= start_attempts; attempt++)); do
        local postgres_answer=0 kafka_answer=0 postgres_job
        postgres_start_unless_running &
        postgres_job=$!
        kafka_start_unless_running || kafka_answer=$?
        wait "$postgres_job" || postgres_answer=$?
        ((postgres_answer || kafka_answer)) || return 0
        if ((postgres_answer == port_taken)); then
            ports_release "$postgres_port"
            postgres_choose_port
        elif ((postgres_answer)); then
            die "PostgreSQL did not start; \`scripts/services down\` ends what did"
        fi
        if ((kafka_answer == port_taken)); then
            servers_end crash "$(servers_matching kafka)"
            ports_release "${kafka_ports[@]}" "${controller_ports[@]}"
            kafka_choose_ports
        elif ((kafka_answer)); then
            die "Kafka did not start; \`scripts/services down\` ends what did"
        fi
    done
    die "found no free ports in $start_attempts attempts"
}

postgres_start_unless_running() { process_alive "$(server_pid_file postgres)" || postgres_start; }

# kafka_start_unless_running [ID…]: these brokers, or all.
kafka_start_unless_running() {
    local id answer=0 this
    local -a started=()
    (($#)) || set -- $(seq "$brokers")
    for id; do
        process_alive "$(server_pid_file "kafka-$id")" && continue
        kafka_spawn "$id"
        started+=("$id")
    done
    for id in "${started[@]}"; do
        this=0
        kafka_wait_ready "$id" || this=$?
        ((this == 0)) || answer=$this
    done
    return "$answer"
}

# Servers are named postgres, kafka-1, kafka-2, kafka-3; `kafka` is all brokers.
servers_matching() {
    local -a all=(postgres) found=()
    local id server
    for ((id = 1; id <= brokers; id++)); do all+=("kafka-$id"); done
    for server in "${all[@]}"; do
        if [[ $1 == all || $1 == "$server" || $1 == "${server%-*}" ]]; then found+=("$server"); fi
    done
    printf '%s' "${found[*]}"
}

server_pid_file() { printf '%s' "$home/$1.pid"; }

servers_start() {
    local server answer=0
    local -a ids=()
    for server; do
        case $server in
        postgres) postgres_start_unless_running || answer=$? ;;
        kafka-*) ids+=("${server#kafka-}") ;;
        esac
    done
    if ((${#ids[@]})); then kafka_start_unless_running "${ids[@]}" || answer=$?; fi
    if ((answer == port_taken)); then warn "another program sits on its port; \`up\` would choose another one"; fi
    return "$answer"
}

# servers_end orderly|crash SERVER…: signals all of them first, then waits for all.
servers_end() {
    local how=$1 server
    local -a chosen
    shift
    read -ra chosen <<<"$*"
    for server in "${chosen[@]}"; do
        case $server in
        postgres) postgres_signal_end "$how" ;;
        kafka-*) kafka_signal_end "${server#kafka-}" "$how" ;;
        esac
    done
    for server in "${chosen[@]}"; do
        case $server in
        postgres) postgres_wait_end ;;
        kafka-*) kafka_wait_end "${server#kafka-}" ;;
        esac
    done
}

# instance_down DELETE
instance_down() {
    if ! instance_load; then
        instance_wipe
        say "nothing to end in $home"
        return
    fi
    servers_end orderly "$(servers_matching all)"
    if [[ $1 == yes ]]; then
        instance_wipe
        say "down, and the data removed"
    elif [[ $postgres_folder != "$home"/* ]]; then
        # An instance is removed as a whole: a topic must not outlive the tables that its records describe.
        instance_wipe
        say "down, and the data removed, which was in a folder for temporary files"
    else
        say "down; the data stays in $home"
    fi
}

# Removes what an instance consists of, whole or in part, and nothing else that lies in its folder.
instance_wipe() {
    local -a temporary=()
    if [[ -e $home/instance ]]; then
        # shellcheck source=/dev/null
        source "$home/instance"
        temporary=("${temporary_folders[@]}")
        ports_release "$postgres_port" "${kafka_ports[@]}" "${controller_ports[@]}"
    fi
    rm -rf "${temporary[@]}" "$home"/{postgres,kafka-?} "$home"/{postgres,kafka-?}.pid "$home"/instance* \
        "$home"/kafka-created "$home"/postgres.log "$home"/postgres-create.log
}

instance_is_up() {
    local server
    for server in $(servers_matching all); do process_alive "$(server_pid_file "$server")" || return 1; done
}

instance_status() {
    local server
    for server in $(servers_matching all); do server_status "$server"; done
}

server_status() {
    local state=down pid_file what
    pid_file=$(server_pid_file "$1")
    if process_alive "$pid_file"; then state="up, process $(process_id "$pid_file")"; fi
    case $1 in
    postgres) what="PostgreSQL $(postgres_release "$postgres_major") on 127.0.0.1:$postgres_port and in $postgres_socket" ;;
    kafka-*) what="Kafka $(kafka_release) on 127.0.0.1:${kafka_ports[${1#kafka-} - 1]}" ;;
    esac
    say "$1: $what: $state"
}

# Exports for a shell. SERVICES_EXPORTED lets a later `up` in the same shell know its own work from servers of yours.
instance_env() {
    local DATABASE_URL ADMIN_DATABASE_URL KAFKA_BROKERS KAFKA_VERSION='' PG_BIN PG_SOCKET_DIR SERVICES_EXPORTED
    DATABASE_URL=postgres://store:$store_password@127.0.0.1:$postgres_port/store
    ADMIN_DATABASE_URL=postgres://postgres:$admin_password@127.0.0.1:$postgres_port/postgres
    KAFKA_BROKERS=''
    ((!brokers)) || KAFKA_BROKERS=$(printf '127.0.0.1:%s,' "${kafka_ports[@]}")
    KAFKA_BROKERS=${KAFKA_BROKERS%,}
    ((!brokers)) || KAFKA_VERSION=$(kafka_release)
    PG_BIN=$(postgres_client "$postgres_major")
    PG_SOCKET_DIR=$postgres_socket
    SERVICES_EXPORTED="$DATABASE_URL $KAFKA_BROKERS"
    print_exports DATABASE_URL KAFKA_BROKERS KAFKA_VERSION ADMIN_DATABASE_URL PG_BIN PG_SOCKET_DIR SERVICES_EXPORTED
}

# Whether the environment names servers that are not an instance's.
given_from_outside() {
    [[ -z $own_instance_wanted && -n ${DATABASE_URL-} && -n ${KAFKA_BROKERS-} ]] &&
        [[ ${SERVICES_EXPORTED-} != "$DATABASE_URL $KAFKA_BROKERS" ]]
}

print_exports() {
    local name
    for name; do
        if [[ -n ${!name-} ]]; then printf 'export %s=%q\n' "$name" "${!name}"; fi
    done
}

# make_temporary_folder VARIABLE: a folder that `down` removes; its path is short.
make_temporary_folder() {
    local -n path=$1
    path=$(mktemp -d /tmp/services-XXXXXX)
    temporary_folders+=("$path")
}

random_hex() { od -An -v -N "$1" -t x1 /dev/urandom | tr -d ' \n'; }

# log_since LOG BYTES: what was written after that many bytes.
log_since() { tail -c "+$(($2 + 1))" "$1" 2>/dev/null || true; }
