# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For tests that are shell scripts, to be sourced by them: each test is a function, tap_main runs them all, and reports.
#
# They run as root in a world (tests/world/world) whose broker is started with 256 MiB in region dram. A test fails with
# the first command that does, and when memory is still taken after it. Each has $dir, a folder of its own that everybody
# may write to. Programs that a test starts in the background are ended with it.

if [ -z "${DAXBROKER_WORLD:-}" ]; then
    echo "1..0 # SKIP has to be started through tests/world/world"
    exit 0
fi

export PATH=${DAXBROKERCTL%/*}:$DAXBROKER_WORLD_TOOLS:$PATH
export LC_ALL=C.UTF-8
unset COLUMNS NO_COLOR
cd /

configuration=('[Region dram]' 'Size=256M')

# configure LINE…: in place of what was there; read at the next start or reload
configure() {
    printf '%s\n' "$@" >"$DAXBROKER_WORLD/etc/daxbroker.conf"
}

# run STATUS COMMAND…: it has to end with that status; $out and $err are what it printed
run() {
    local wanted=$1 status=0
    shift

    timeout --kill-after=5 60 "$@" </dev/null >"$dir/.out" 2>"$dir/.err" || status=$?
    out=$(<"$dir/.out") err=$(<"$dir/.err")
    [ $status -eq "$wanted" ] ||
        fail "exit status $status instead of $wanted: $*" "standard output: $out" "standard error: $err"
}

# start NAME COMMAND…: in the background, as $job; its output goes to $dir/NAME. Shells have what they put there ignore
# the keyboard's signals, which is undone.
start() {
    local name=$1
    shift

    # now, lest somebody takes the output of an earlier one for this one's
    : >"$dir/$name"
    env --default-signal=INT,QUIT "$@" </dev/null >>"$dir/$name" 2>&1 &
    # shellcheck disable=SC2034  # for the test
    job=$!
}

# finish STATUS JOB: waits for its end
finish() {
    local status=0

    wait_for 300 has_ended "$2" || fail "it does not end: $(tr '\0' ' ' <"/proc/$2/cmdline")"
    wait "$2" || status=$?
    [ $status -eq "$1" ] || fail "exit status $status instead of $1" "$(cat "$dir"/* 2>/dev/null)"
}

has_ended() {
    local state

    state=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) || return 0
    [ -z "$state" ] || [[ $state == [ZX]* ]]
}

# wait_for N COMMAND…: until it succeeds, for at most N tenths of a second
wait_for() {
    local i n=$1
    shift

    for ((i = 0; i < n; i++)); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    return 1
}

# matches TEXT REGEX: some line of it does
matches() {
    grep -Eq -e "$2" <<<"$1" || fail "nothing matches '$2':" "$1"
}

differs() {
    ! grep -Eq -e "$2" <<<"$1" || fail "'$2' is there:" "$1"
}

equals() {
    [ "$1" = "$2" ] || fail "'$1' is not '$2'"
}

fail() {
    printf '%s\n' "$@" >&2
    return 1
}

skip() {
    echo "$1" >"$dir/.skip"
    exit 77
}

# needs PROGRAM PACKAGE
needs() {
    command -v "$1" >/dev/null || skip "$1 is not installed (Debian: $2)"
}

# json PYTHON <JSON: prints the expression's value, of which v is the JSON
json() {
    /usr/bin/python3 -c 'import json, sys
v = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$1"
}

# region_get NAME PROPERTY
region_get() {
    busctl get-property org.daxbroker1 "/org/daxbroker1/region/$1" org.daxbroker1.Region "$2" | cut -d' ' -f2
}

is_all_free() {
    [ "$(region_get dram Available)" = "$(region_get dram Size)" ]
}

end_jobs() {
    local pid

    for pid in $(jobs -p); do
        kill -KILL "$pid" 2>/dev/null
    done
    wait
}

# After a test that failed: the next one finds everything as it should be.
tidy_up() {
    local id

    configure "${configuration[@]}"
    broker start
    daxbrokerctl reload
    for id in $(daxbrokerctl list --json | json '" ".join(a["id"] for a in v)'); do
        daxbrokerctl free "$id"
    done
}

tap_run() {
    local name=${1#test_} status

    dir=$DAXBROKER_WORLD/tmp/$name
    mkdir -m 1777 "$dir"
    (
        trap 'echo "$test: line $LINENO: $BASH_COMMAND" >&2' ERR
        trap end_jobs EXIT
        test=$1
        set -eE
        "$1"
    ) >"$dir/.log" 2>&1
    status=$?

    if [ $status -eq 0 ] && ! wait_for 100 is_all_free; then
        daxbrokerctl list >>"$dir/.log" 2>&1
        echo "memory is still taken" >>"$dir/.log"
        status=1
    fi

    number=$((number + 1))
    if [ $status -eq 0 ]; then
        echo "ok $number - $name"
    elif [ $status -eq 77 ] && [ -s "$dir/.skip" ]; then
        echo "ok $number - $name # SKIP $(<"$dir/.skip")"
    else
        echo "not ok $number - $name"
        sed 's/^/# /' "$dir/.log"
        tidy_up >/dev/null 2>&1
        failed=$((failed + 1))
    fi
}

# It has to end well, and what sanitizers have to say is in its log.
test_broker_ends_well() {
    broker stop
    matches "$(broker log)" 'supervise: the broker ended with 0$'
    differs "$(broker log)" 'ended with -?[1-9]|AddressSanitizer|LeakSanitizer|runtime error:'
    broker start
}

# tap_main TEST…
tap_main() {
    local test number=0 failed=0

    configure "${configuration[@]}"
    broker start || exit 99

    echo "1..$(($# + 1))"
    for test in "$@" test_broker_ends_well; do
        tap_run "$test"
    done
    [ $failed -eq 0 ] || for test in broker polkitd bus; do
        sed "s/^/# $test: /" "$DAXBROKER_WORLD/$test.log"
    done
    broker stop
    exit $((failed > 0))
}
