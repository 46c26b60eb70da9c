# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For the tests of daxbrokerctl against a broker, to be sourced by them: each command as somebody who may (alice), as
# somebody who may not (bob), and as root.

# shellcheck source=tests/bus/tap.sh
. "${BASH_SOURCE[0]%/*}/tap.sh"

# An interpreter whose standard library has mmap, and no wrapper of a user's own.
# shellcheck disable=SC2034  # for the tests
python=/usr/bin/python3

# run_as STATUS USER ARGUMENT…: daxbrokerctl as that user
run_as() {
    local status=$1 user=$2
    shift 2
    run "$status" become "$user" daxbrokerctl "$@"
}

# Holds an allocation in the background until $job is interrupted; $held is its JSON.
hold() {
    start held become alice daxbrokerctl alloc --json=short "$@"
    wait_for 100 test -s "$dir/held" || fail "it does not tell what was got"
    held=$(<"$dir/held")
}

held() {
    json "v['$1']" <<<"$held"
}
