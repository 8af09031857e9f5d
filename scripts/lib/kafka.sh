# One Apache Kafka broker, or a cluster of three, each also a controller (KRaft). The settings are those that make a
# machine of two cores bearable; what they cost is speed of a cold start, never an acknowledged record.
# shellcheck shell=bash disable=SC2034,SC2154  # it shares the variables of scripts/services

readonly kafka_ready_limit_s=180 kafka_end_limit_s=20

# kafka_create: the folders of all brokers, formatted for the same cluster.
kafka_create() {
    local id failed=no
    local -a formatting=()
    for ((id = 1; id <= brokers; id++)); do
        rm -rf "$home/kafka-$id"
        mkdir -p "$home/kafka-$id"
        kafka_write_settings "$id"
        kafka_java 128 -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format --cluster-id "$kafka_cluster" \
            --config "$home/kafka-$id/server.properties" </dev/null >"$home/kafka-$id/format.log" 2>&1 8>&- 9>&- &
        formatting+=($!)
    done
    for id in "${!formatting[@]}"; do
        wait "${formatting[$id]}" || {
            failed=yes
            tail -n 15 "$home/kafka-$((id + 1))/format.log" >&2
        }
    done
    [[ $failed == no ]] || die "formatting Kafka's folders failed: see above"
}

# kafka_write_settings ID: at every start, since the ports may have changed.
kafka_write_settings() {
    local id=$1 replicas=$((brokers)) in_sync=$((brokers > 1 ? 2 : 1)) voters='' other
    for ((other = 1; other <= brokers; other++)); do
        voters+=${voters:+,}$other@127.0.0.1:${controller_ports[other - 1]}
    done
    cat >"$home/kafka-$id/server.properties" <<SETTINGS
node.id=$id
process.roles=broker,controller
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:${kafka_ports[id - 1]},CONTROLLER://127.0.0.1:${controller_ports[id - 1]}
advertised.listeners=PLAINTEXT://127.0.0.1:${kafka_ports[id - 1]}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$home/kafka-$id/data

auto.create.topics.enable=false
unclean.leader.election.enable=false
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replicas
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync

# Few partitions and threads, a small cleaner buffer: quick starts and little memory.
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3
share.coordinator.state.topic.num.partitions=3
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=4194304

# Tests wait for these: a group's first assignment, a dead broker's partitions, a dead producer's transaction.
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=$(kafka_session_ms)
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
SETTINGS
}

# How long a broker may be silent before its partitions go to others. One that is alone has no others, and a loaded machine
# may keep it from its heartbeat for seconds: its partitions would have no leader, and Kafka 4.3 forgets what is committed
# in that moment (KAFKA-20734). After `kill`, `start` waits for that time first.
kafka_session_ms() {
    if ((brokers == 1)) && [[ $kafka_minor == 4.3 ]]; then printf 20000; else printf 3000; fi
}

# kafka_spawn ID: starts the broker and returns at once.
kafka_spawn() {
    local id=$1 log
    local -a command
    log=$(kafka_log "$id")
    kafka_write_settings "$id"
    # What an earlier start wrote must not be taken for this one's readiness.
    if [[ -e $log ]]; then stat -c %s "$log" >"$home/kafka-$id/log-seen"; else printf 0 >"$home/kafka-$id/log-seen"; fi
    kafka_java_command command "$((brokers > 1 ? 256 : 512))" "-Dlog4j2.configurationFile=$library/log4j2.properties" \
        kafka.Kafka "$home/kafka-$id/server.properties"
    # A partition keeps several files open.
    (ulimit -Sn "$(ulimit -Hn)" && process_spawn "$(server_pid_file "kafka-$id")" "$log" "${command[@]}")
}

# kafka_wait_ready ID: until the broker serves clients. Fails with port_taken if another program sits on a port of it.
kafka_wait_ready() {
    local id=$1 log seen deadline=$((SECONDS + kafka_ready_limit_s))
    log=$(kafka_log "$id")
    seen=$(<"$home/kafka-$id/log-seen")
    # Without a majority of controllers no broker is ever ready.
    if ! kafka_has_majority; then
        say "kafka-$id waits for a majority of the brokers"
        return
    fi
    until log_since "$log" "$seen" | grep -q 'Kafka Server started' && port_listening "${kafka_ports[id - 1]}"; do
        if ! process_alive "$(server_pid_file "kafka-$id")"; then
            if log_since "$log" "$seen" | grep -q 'Address already in use'; then return "$port_taken"; fi
            warn "kafka-$id ended at its start. The end of $log:"
            tail -n 15 "$log" >&2
            return 1
        fi
        ((SECONDS < deadline)) || {
            warn "kafka-$id is not ready after $kafka_ready_limit_s s: see $log"
            return 1
        }
        sleep 0.1
    done
}

kafka_has_majority() {
    local id running=0
    for ((id = 1; id <= brokers; id++)); do
        if process_alive "$(server_pid_file "kafka-$id")"; then running=$((running + 1)); fi
    done
    ((running * 2 > brokers))
}

kafka_signal_end() {
    case $2 in
    orderly) process_signal "$(server_pid_file "kafka-$1")" TERM ;;
    crash) process_signal "$(server_pid_file "kafka-$1")" KILL ;;
    esac
}

# A broker that can no longer reach a majority can't hand over its partitions: it would wait for minutes.
kafka_wait_end() {
    local pid_file
    pid_file=$(server_pid_file "kafka-$1")
    process_wait_gone "$pid_file" "$kafka_end_limit_s" && return
    warn "kafka-$1 did not end within $kafka_end_limit_s s: killed"
    process_signal "$pid_file" KILL
    process_wait_gone "$pid_file" "$kafka_end_limit_s" || die "kafka-$1 (process $(process_id "$pid_file")) does not end"
}

kafka_log() { printf '%s' "$home/kafka-$1/server.log"; }

# kafka_java_command ARRAY HEAP_MB ARGUMENT…: fills the array.
kafka_java_command() {
    local -n into=$1
    # shellcheck disable=SC2034  # a reference to the caller's array
    into=(java "-Xmx$2m" -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true
        -cp "$(kafka_jars)/*" "${@:3}")
}

kafka_java() {
    local -a java_command
    kafka_java_command java_command "$@"
    "${java_command[@]}"
}
