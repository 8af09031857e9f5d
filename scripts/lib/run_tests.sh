# Runs test programs, one after the other unless told otherwise: tests that hold a transaction open on the shared server let
# every new slot wait, also those of another program.
# shellcheck shell=bash

readonly test_programs_at_once=${TEST_PROGRAMS_AT_ONCE:-1}
# More than the processors: most tests wait for servers.
readonly tests_at_once=${RUST_TEST_THREADS:-4}
# They take longest, so they start first.
readonly slowest_tests='^(main|crash|store|storefront|kafka_jvm)$'

running_tests=()

# run_tests WHICH OPTION… [-- NAME…]: builds the tests of `cargo test OPTION…` once, runs those programs whose names match the
# regular expression WHICH, and for the expression `.*` the documentation's tests too; with NAMEs only tests whose names contain
# one of them. Everything goes into the log, one program after the other, and without the output of passed tests to the terminal.
run_tests() {
    local which=$1 output program answer=0
    local -a options=()
    shift
    while (($#)) && [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    output=$(mktemp -d target/tests-XXXXXX)
    cargo test --no-run "${options[@]}" 7>&- 2>&1 | tee "$output/build" || {
        rm -rf "$output"
        return 1
    }
    while read -r program; do
        wait_for_tests "$((test_programs_at_once - 1))" || answer=1
        # A process group of its own, which `end_running_tests` can end whole.
        set -m
        run_test_program "$output" "$program" "${options[@]}" -- --show-output "${@:2}" &
        set +m
        running_tests+=("$!")
    done < <(test_programs "$which" <"$output/build")
    wait_for_tests 0 || answer=1
    rm -rf "$output"
    return "$answer"
}

# test_programs WHICH: reads what `cargo test --no-run` has printed, and prints the options of `cargo test` for each program.
test_programs() {
    local names
    names=$(sed -n 's/^ *Executable tests\/.* (.*\/\(.*\)-[0-9a-f]*)$/\1/p' | sort -u | grep -E "^($1)\$" || true)
    {
        grep -E "$slowest_tests" <<<"$names" || true
        if [[ $1 == '.*' ]]; then printf '%s\n' doc 'lib --bins'; fi
        grep -vE "$slowest_tests|^$" <<<"$names" || true
    } | sed -E '/^(doc|lib --bins)$/!s/^/test /; s/^/--/'
}

# wait_for_tests COUNT: waits until no more than COUNT programs run; fails if one that has ended failed.
wait_for_tests() {
    local answer=0 ended program still
    while ((${#running_tests[@]} > $1)); do
        wait -n -p ended "${running_tests[@]}" || answer=1
        still=()
        for program in "${running_tests[@]}"; do [[ $program == "$ended" ]] || still+=("$program"); done
        running_tests=("${still[@]}")
    done
    return "$answer"
}

# run_test_program OUTPUT PROGRAM ARGUMENT…: writes to the log only when the program has ended, so that outputs do not mix.
run_test_program() {
    local started=$SECONDS output=$1 program=$2 answer=ok file
    shift 2
    file=$output/${program// /}
    # shellcheck disable=SC2086  # words are meant
    RUST_TEST_THREADS=$tests_at_once cargo test --no-fail-fast $program "$@" >"$file" 2>&1 7>&- </dev/null || answer=FAILED
    exec 8>>"$log"
    flock 8
    cat "$file" >&8
    without_output_of_passed_tests <"$file"
    echo "== cargo test $program: $answer, $((SECONDS - started)) s"
    [[ $answer == ok ]]
}

end_running_tests() {
    local program
    for program in "${running_tests[@]}"; do kill -- "-$program" 2>/dev/null || true; done
}
