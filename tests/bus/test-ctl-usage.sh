#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What all commands have in common: words, JSON, tables, help and completion; and what they say if nobody is there.

# shellcheck source=tests/bus/ctl.sh
# shellcheck disable=SC2016,SC2317,SC2001  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/ctl.sh"

test_json_is_valid() {
    local command mode

    run_as 0 alice alloc --size 1M --name json --no-hold
    for command in regions list 'show json' 'check-policy --size 1M'; do
        for mode in --json --json=pretty --json=short; do
            # shellcheck disable=SC2086  # words
            run_as 0 alice $command $mode
            "$python" -m json.tool <<<"$out" >/dev/null
            case $mode in
            *pretty) [ "$(wc -l <<<"$out")" -gt 1 ] ;;
            *) equals "$(wc -l <<<"$out")" 1 ;;
            esac
        done
        # shellcheck disable=SC2086
        run_as 0 alice $command --json=off
        differs "$out" '^[[{]'
    done
    run_as 2 alice list --json=xml
    run_as 0 alice free json
}

# On a terminal, colours; elsewhere never. Tables fit.
test_tables() {
    local name
    name=$(printf 'n%.0s' {1..63})

    run_as 0 alice alloc --size 1M --name "$name" --no-hold
    run 0 become alice env COLUMNS=72 daxbrokerctl list
    [ "$(wc -L <<<"$out")" -le 72 ]
    run_as 0 alice list
    matches "$out" "^$name "
    differs "$out" $'\e'
    if command -v script >/dev/null; then
        run 0 become alice env TERM=xterm script -qec 'stty cols 72; daxbrokerctl list' /dev/null
        matches "$out" $'\e\\['
        [ "$(sed $'s/\e\\[[0-9;]*m//g' <<<"$out" | tr -d '\r' | wc -L)" -le 72 ]
        run 0 become alice env TERM=xterm NO_COLOR=1 script -qec 'daxbrokerctl list' /dev/null
        differs "$out" $'\e\\['
    fi
    run_as 0 alice free "$name"
}

test_full_disk() {
    run 1 bash -c 'become alice daxbrokerctl regions >/dev/full'
    matches "$err" '^daxbrokerctl: cannot write: No space left'
}

test_usage() {
    local command

    run_as 0 bob --help
    matches "$out" '^Usage: daxbrokerctl COMMAND'
    run_as 0 bob --version
    matches "$out" '^daxbrokerctl [0-9]'
    for command in regions list show run alloc open free set-mode check-policy monitor reload; do
        run_as 0 bob "$command" --help
        matches "$out" "^Usage: daxbrokerctl $command"
    done
    run_as 2 bob
    run_as 2 bob nonsense
    run_as 2 bob regions more
    run_as 2 bob alloc
    run_as 2 bob alloc --size many
    run_as 2 bob run --size 1M
    run_as 2 bob show
    run_as 2 bob list --size 1M
    run_as 2 bob alloc --size 1M --no-hold
    matches "$err" "^daxbrokerctl: see 'daxbrokerctl alloc --help'$"
    equals "$out" ""
}

# Words after Tab: commands, options, and names of what is there.
complete() {
    become alice env PATH="$PATH" bash -c '. "$0"
COMP_WORDS=(daxbrokerctl "$@")
COMP_CWORD=$#
_daxbrokerctl
echo "${COMPREPLY[*]}"' "$DAXBROKER_COMPLETION" "$@"
}

test_completion() {
    run_as 0 alice alloc --size 1M --name tabbed --no-hold
    equals "$(complete mon)" monitor
    equals "$(complete free tab)" tabbed
    equals "$(complete alloc --region dr)" dram
    equals "$(complete run --pref)" "--prefer --prefault"
    equals "$(complete run --prefer la)" latency
    equals "$(complete free --fo)" --force
    equals "$(complete list --json = sh)" short
    run_as 0 alice free tabbed
}

# ---- Nobody there ----------------------------------------------------------------------------------------------------

test_no_service() {
    local arguments

    broker stop
    for arguments in regions list 'show x' 'alloc --size 1M' 'open x' 'free x' 'set-mode x 0600' \
            'rename x y' 'resize x 1M' 'set-owner x root' 'adopt x --owner root' \
            'check-policy --size 1M' reload "run --size 1M -- touch $dir/was-run"; do
        # shellcheck disable=SC2086
        run_as 3 alice $arguments
        matches "$err" '^daxbrokerctl: cannot .*: the daxbroker service is not running$'
        matches "$err" "^daxbrokerctl: see 'systemctl status daxbroker'$"
        equals "$out" ""
    done
    [ ! -e "$dir/was-run" ]

    # a monitor waits for it
    start events become alice daxbrokerctl monitor
    sleep 0.3
    broker start
    wait_for 100 grep -q ' reset$' "$dir/events"
    kill "$job"
    finish 143 "$job"
}

test_no_bus() {
    local arguments

    for arguments in regions list 'show x' 'alloc --size 1M' 'open x' 'free x' 'set-mode x 0600' \
            'rename x y' 'resize x 1M' 'set-owner x root' 'adopt x --owner root' \
            'check-policy --size 1M' reload monitor "run --size 1M -- touch $dir/was-run"; do
        # shellcheck disable=SC2086
        run 3 become alice env DAXBROKER_BUS=system DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere daxbrokerctl $arguments
        matches "$err" '^daxbrokerctl: cannot .*: cannot connect to the system bus: No such file'
        # shellcheck disable=SC2086
        run 3 become alice env DAXBROKER_BUS=unix:path=/nowhere daxbrokerctl $arguments
        matches "$err" '^daxbrokerctl: cannot .*: cannot connect to unix:path=/nowhere: No such file'
    done
    run 3 become alice env DAXBROKER_BUS=nonsense daxbrokerctl regions
    matches "$err" 'DAXBROKER_BUS says, which is neither direct nor system nor a D-Bus address'
    [ ! -e "$dir/was-run" ]
}

tap_main test_json_is_valid test_tables test_full_disk test_usage test_completion test_no_service test_no_bus
