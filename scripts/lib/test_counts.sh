# Reads what `cargo test -- --show-output` has printed. The harness prints twice `successes:`, first with the output of
# each test that passed, then with their names; then, if any failed, twice `failures:` in the same way; then the result.
# What a test has printed may look like all of that (some run cargo themselves), and must not be taken for it.
# shellcheck shell=bash

# A test that can't run here prints a line `SKIPPED: reason` and returns.

# shellcheck disable=SC2016  # awk's variables
readonly sections_of_results='
    /^successes:$/ && section == "passed output" { section = "passed names" }
    /^successes:$/ && section == "" { section = "passed output" }
    /^failures:$/ && section == "failed output" { section = "failed names" }
    /^failures:$/ && section !~ /^(passed output|failed names)$/ { section = "failed output" }
    /^test result: / && section !~ /output$/ { section = "" }
'

# count_tests LOG: prints how many passed, failed and were skipped. A test that says so is skipped, not passed. A binary
# that began and gave no result has crashed, which counts as a failure.
count_tests() {
    awk "$sections_of_results"'
        /^running [0-9]+ tests?$/ && section == "" { begun++ }
        /^test result: / && section == "" {
            ended++
            for (i = 1; i < NF; i++) {
                if ($(i + 1) == "passed;") passed += $i
                if ($(i + 1) == "failed;") failed += $i
                if ($(i + 1) == "ignored;") ignored += $i
            }
        }
        /^---- .* stdout ----$/ { said_so = 0 }
        /^SKIPPED: / && section == "passed output" && !said_so++ { skipped++ }
        END { print passed - skipped, failed + begun - ended, skipped + ignored }
    ' "$1"
}

# list_skipped_tests LOG: one line for each, with its reason.
list_skipped_tests() {
    awk "$sections_of_results"'
        /^---- .* stdout ----$/ { name = $2 }
        /^SKIPPED: / && section == "passed output" { print "skipped: " name ": " substr($0, 10) }
        /^test .* \.\.\. ignored/ && section == "" { print "skipped: " $2 ": ignored" }
    ' "$1"
}

without_output_of_passed_tests() {
    awk "$sections_of_results"'
        section !~ /^passed/ { print; fflush() }
    '
}
