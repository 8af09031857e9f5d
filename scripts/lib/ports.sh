# TCP ports below the ephemeral range (32768 on Linux), so that no outgoing connection can sit on one while its server is
# down. An instance keeps its ports until `down`: other instances of this user see the reservation, other programs
# may still take one, which `up` notices and answers with another port.
# shellcheck shell=bash disable=SC2034,SC2154  # it shares the variables of scripts/services

readonly ports_first=20000 ports_last=32767
readonly port_reservations=/tmp/change-feed-services-$EUID

# ports_reserve COUNT: prints that many ports.
ports_reserve() {
    local count=$1 port
    local -a chosen=()
    (umask 077 && mkdir -p "$port_reservations")
    [[ -O $port_reservations ]] || die "$port_reservations belongs to another user: remove it"
    exec 8>"$port_reservations/lock"
    flock 8
    while ((${#chosen[@]} < count)); do
        port=$((ports_first + (RANDOM * 32768 + RANDOM) % (ports_last - ports_first + 1)))
        if port_listening "$port" || port_reserved "$port"; then continue; fi
        printf '%s\n' "$home" >"$port_reservations/$port"
        chosen+=("$port")
    done
    exec 8>&-
    printf '%s\n' "${chosen[*]}"
}

# ports_release PORT…: gives back those that are ours.
ports_release() {
    local port
    for port; do
        if [[ $(port_owner "$port") == "$home" ]]; then rm -f "$port_reservations/$port"; fi
    done
}

# A reservation counts as long as its instance exists.
port_reserved() {
    local owner
    owner=$(port_owner "$1")
    [[ -n $owner && -e $owner/instance ]]
}

port_owner() { cat "$port_reservations/$1" 2>/dev/null || true; }

# The kernel's tables know every listener; a connection attempt would disturb it. State 0A is LISTEN.
port_listening() {
    local port
    printf -v port '%04X' "$1"
    awk -v port="$port" '$4 == "0A" { split($2, address, ":"); if (address[2] == port) found = 1 } END { exit !found }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
