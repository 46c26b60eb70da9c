#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The examples do what they say for somebody who may allocate, and fail with the reason for somebody who may not.

# shellcheck source=tests/bus/tap.sh
# shellcheck disable=SC2016,SC2317  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/tap.sh"

refusal="polkit does not allow org\.daxbroker1\.allocate to user $(id -u bob)"

test_hello() {
    run 0 become alice "$DAXBROKER_EXAMPLES/hello"
    matches "$out" '^hello from 0x[0-9a-f]+$'
    run 1 become bob "$DAXBROKER_EXAMPLES/hello"
    matches "$err" "^hello: no memory: $refusal"
}

test_hello_region() {
    run 0 become alice env DAXBROKER_REGION=dram "$DAXBROKER_EXAMPLES/hello"
    run 1 become alice env DAXBROKER_REGION=nowhere "$DAXBROKER_EXAMPLES/hello"
    matches "$err" "^hello: no memory: .*'?nowhere'?"
}

test_alloc_64m() {
    run 0 become alice "$DAXBROKER_EXAMPLES/alloc-64m"
    matches "$out" '^64 MiB at 0x[0-9a-f]*[02468ace]00000, in pages of [0-9]+ KiB: zeros at first, written and read back$'
    run 1 become bob "$DAXBROKER_EXAMPLES/alloc-64m"
    matches "$err" "^alloc-64m: got no memory: $refusal"
}

test_arena() {
    run 0 become alice "$DAXBROKER_EXAMPLES/arena"
    equals "$out" '64 MiB reserved, and taken in 32 pieces'
    run 1 become bob "$DAXBROKER_EXAMPLES/arena"
    matches "$err" "^arena: cannot reserve memory: $refusal"
    equals "$(become alice daxbrokerctl grants --no-legend)" ''
}

test_share() {
    run 0 become alice "$DAXBROKER_EXAMPLES/share"
    equals "$out" $'child: found "hello, child"\nparent: found "hello, parent"'
    run 1 become bob "$DAXBROKER_EXAMPLES/share"
    matches "$err" "^share: parent got no memory: $refusal"
}

test_event_loop() {
    run 0 become alice "$DAXBROKER_EXAMPLES/event-loop"
    equals "$(grep -Ec '^/org/daxbroker1/allocation/[0-9a-f]{16} is at 0x[0-9a-f]+$' <<<"$out")" 3
    matches "$out" '^tick$'
    run 1 become bob "$DAXBROKER_EXAMPLES/event-loop"
    equals "$(grep -c "^event-loop: got no memory: $refusal" <<<"$err")" 3
}

test_plain_dbus() {
    /usr/bin/python3 -c 'import dbus' 2>/dev/null || skip "Python has no module dbus (Debian: python3-dbus)"
    run 0 become alice /usr/bin/python3 "$DAXBROKER_EXAMPLES_SOURCE/plain-dbus.py"
    matches "$out" "^/org/daxbroker1/allocation/[0-9a-f]{16}: 1048576 bytes, now beginning with b'hello'$"
    run 1 become bob /usr/bin/python3 "$DAXBROKER_EXAMPLES_SOURCE/plain-dbus.py"
    matches "$err" "^org\.daxbroker1\.Error\.NotAuthorized: $refusal"
}

# What it takes is the socket: without it there is nobody to ask.
test_in_a_container() {
    local folders=${DAXBROKER_EXAMPLES%/examples}

    run 2 "$DAXBROKER_EXAMPLES_SOURCE/in-a-container.sh"
    matches "$err" '^usage: in-a-container\.sh PROGRAM'
    command -v bwrap >/dev/null || skip "bubblewrap is not installed"
    become alice bwrap --unshare-all --ro-bind / / true 2>/dev/null || skip "users cannot make namespaces here"
    run 0 become alice env CONTAINER_FOLDERS="$folders" \
        "$DAXBROKER_EXAMPLES_SOURCE/in-a-container.sh" "$DAXBROKER_EXAMPLES/hello"
    matches "$out" '^hello from 0x[0-9a-f]+$'
    run 1 become bob env CONTAINER_FOLDERS="$folders" \
        "$DAXBROKER_EXAMPLES_SOURCE/in-a-container.sh" "$DAXBROKER_EXAMPLES/hello"
    matches "$err" "^hello: no memory: $refusal"
    run 1 become alice env CONTAINER_FOLDERS="$folders" DAXBROKER_BUS=system \
        "$DAXBROKER_EXAMPLES_SOURCE/in-a-container.sh" "$DAXBROKER_EXAMPLES/hello"
    matches "$err" 'cannot connect to the system bus'
}

# ---- A log that survives -----------------------------------------------------------------------------------------------

# append STATUS LINES: alice appends a file's lines to the log; what was reported as written is in $dir/reported
append() {
    run "$1" become alice sh -c 'exec "$0" log <"$1" >"$2"' "$DAXBROKER_EXAMPLES/append-log" "$2" "$dir/reported"
}

show() {
    run 0 become alice sh -c 'exec "$0" log show >"$1"' "$DAXBROKER_EXAMPLES/append-log" "$dir/shown"
}

# make_lines N: of many lengths
make_lines() {
    awk -v n="$1" 'BEGIN { srand(n); for (i = 1; i <= n; i++) printf "%d %*s\n", i, int(rand() * 60), "x" }'
}

# An ordinary region keeps nothing when the power goes, so it has no logs to give, but what it has does for one.
test_append_log() {
    run 1 become alice env DAXBROKER_REGION=dram "$DAXBROKER_EXAMPLES/append-log" log
    matches "$err" '^append-log: .*persist'
    run 1 become bob "$DAXBROKER_EXAMPLES/append-log" log
    matches "$err" '^append-log: '
    run 1 become alice "$DAXBROKER_EXAMPLES/append-log" log show
    matches "$err" '^append-log: No such file or directory: '

    run 0 become alice daxbrokerctl run --name log --size 64K -- true
    show
    [ ! -s "$dir/shown" ]
    make_lines 100 >"$dir/lines"
    append 0 "$dir/lines"
    cmp "$dir/reported" "$dir/lines"
    printf 'without an end' >"$dir/more"
    append 0 "$dir/more"
    show
    cat "$dir/lines" "$dir/more" | cmp - "$dir/shown"

    # all that fits
    make_lines 10000 >"$dir/lines"
    append 1 "$dir/lines"
    matches "$err" '^append-log: at byte 65[0-9]{3}: No space left on device$'
    [ "$(wc -l <"$dir/reported")" -gt 900 ]
    cat "$dir/shown" "$dir/reported" >"$dir/all"
    show
    cmp "$dir/all" "$dir/shown"

    # somebody else's byte in the second line
    run 0 become alice daxbrokerctl open log -- \
        sh -c 'printf X | dd bs=1 seek=81 conv=notrunc >&"$DAXBROKER_FD"'
    run 1 become alice "$DAXBROKER_EXAMPLES/append-log" log show
    matches "$err" '^append-log: at byte [0-9]+: Bad message$'
    append 1 "$dir/more"
    [ ! -s "$dir/reported" ]
    run 0 become alice daxbrokerctl free log
}

test_append_log_alone() {
    run 0 become alice daxbrokerctl run --name log --size 64K -- true
    mkfifo -m 666 "$dir/input"
    start writer become alice sh -c 'exec "$0" log <"$1"' "$DAXBROKER_EXAMPLES/append-log" "$dir/input"
    exec 3>"$dir/input"
    echo first >&3
    wait_for 100 grep -q first "$dir/writer"
    append 1 /dev/null
    matches "$err" '^append-log: (Resource temporarily unavailable|Permission denied)'
    show
    equals "$(<"$dir/shown")" first
    exec 3>&-
    finish 0 "$job"
    append 0 /dev/null
    run 0 become alice daxbrokerctl free log
}

# Killed again and again: what was reported is there, and at most one line besides.
kill_writers() {
    local round

    make_lines 100000 >"$dir/lines"
    show
    cp "$dir/shown" "$dir/all"
    for ((round = 0; round < 10; round++)); do
        start writer become alice sh -c 'echo $$ >"$0/pid"; exec "$1" log <"$0/lines" >"$0/reported"' \
            "$dir" "$DAXBROKER_EXAMPLES/append-log"
        wait_for 100 test -s "$dir/reported"
        sleep "0.0$((RANDOM % 10))"
        kill -KILL "$(<"$dir/pid")" || true
        wait "$job" || true

        cat "$dir/reported" >>"$dir/all"
        show
        cmp -n "$(stat -c %s "$dir/all")" "$dir/all" "$dir/shown"
        [ "$(wc -l <"$dir/shown")" -le $(($(wc -l <"$dir/all") + 1)) ]
        cp "$dir/shown" "$dir/all"
        rm "$dir/reported"
    done
    [ "$(wc -l <"$dir/all")" -gt 10 ]
}

test_append_log_kill() {
    run 0 become alice daxbrokerctl run --name log --size 32M -- true
    kill_writers
    broker restart
    show
    cmp "$dir/all" "$dir/shown"
    run 0 become alice daxbrokerctl free log
}

is_usable() {
    [ "$(region_get "$1" State)" = '"usable"' ]
}

# Sets up a region that lasts, named files, and lets alice use it.
lasting_region() {
    local place=$dir/files rules=/etc/polkit-1/rules.d/10-lasting.rules

    mkdir -m 700 "$place"
    chown daxbroker: "$place"
    configure "${configuration[@]}" '[Region files]' Provider=fsdax "Path=$place" Sync=none
    broker restart
    wait_for 50 is_usable files || skip "no directory here can be a region: $(region_get files Reason)"
    echo 'polkit.addRule(function (action, subject) {
        if (action.id == "org.daxbroker1.allocate-persistent" && subject.user == "alice")
            return polkit.Result.YES;
    });' >"$rules"
    wait_for 100 become alice daxbrokerctl check-policy --region files --size 1M --name x --persistent
}

# The log makes itself, and is there again when all that the broker knows has gone with the machine.
test_append_log_lasts() {
    lasting_region
    make_lines 100 >"$dir/lines"
    export DAXBROKER_REGION=files
    append 0 "$dir/lines"
    unset DAXBROKER_REGION
    cmp "$dir/reported" "$dir/lines"
    run 0 become alice daxbrokerctl free log

    run 0 become alice daxbrokerctl run --name log --persistent --region files --size 32M -- true
    append 0 "$dir/lines"
    rm "$dir/reported"
    kill_writers
    broker stop
    rm -rf /run/daxbroker/*
    broker start
    wait_for 50 is_usable files
    show
    cmp "$dir/all" "$dir/shown"
    run 1 become bob "$DAXBROKER_EXAMPLES/append-log" log show
    matches "$err" '^append-log: .*(password|not allow)'
    run 0 become alice daxbrokerctl free log
    [ -z "$(ls -A "$dir/files")" ]
}

# ---- A pool of libpmemobj ----------------------------------------------------------------------------------------------

test_object_pool() {
    local pool=$DAXBROKER_EXAMPLES/object-pool round count=3 last

    [ -x "$pool" ] || skip "the example is not built (Debian: libpmemobj-dev, libpmempool-dev)"
    run 1 become alice "$pool"
    matches "$err" '^object-pool: there is no DAXBROKER_FD'
    run 1 become alice daxbrokerctl run --size 4M -- "$pool"
    matches "$err" '^object-pool: no pool: '

    run 0 become alice daxbrokerctl run --name pool --size 16M -- "$pool" 3
    equals "$out" $'found 0 transfers\nmade transfer 1\nmade transfer 2\nmade transfer 3'
    broker restart

    # killed in the middle of whatever it does
    for ((round = 0; round < 5; round++)); do
        start transfers become alice daxbrokerctl open pool -- \
            sh -c 'echo $$ >"$0/pid"; exec "$1" 1000000000' "$dir" "$pool"
        wait_for 100 grep -q made "$dir/transfers"
        sleep "0.0$((RANDOM % 10))"
        kill -KILL "$(<"$dir/pid")"
        wait "$job" || true
        matches "$(head -n 1 "$dir/transfers")" "^found ($count|$((count + 1))) transfers$"
        last=$(sed -n 's/^made transfer \([0-9]*\)$/\1/p' "$dir/transfers" | tail -n 1)
        [ "$last" -gt "$count" ]
        count=$last
    done

    run 0 become alice daxbrokerctl open pool -- "$pool" 0
    matches "$out" "^found ($count|$((count + 1))) transfers$"
    run 0 become alice daxbrokerctl free pool
}

# Nobody can open it again, so here it takes more than a path.
test_object_pool_lasts() {
    local pool=$DAXBROKER_EXAMPLES/object-pool

    [ -x "$pool" ] || skip "the example is not built (Debian: libpmemobj-dev, libpmempool-dev)"
    lasting_region
    run 0 become alice daxbrokerctl run --name pool --persistent --region files --size 16M -- "$pool" 3
    run 2 become alice daxbrokerctl open pool -- sh -c 'exec 9<"/proc/self/fd/$DAXBROKER_FD"'
    matches "$err" 'Permission denied'
    broker stop
    rm -rf /run/daxbroker/*
    broker start
    wait_for 50 is_usable files
    run 0 become alice daxbrokerctl open pool -- "$pool" 1
    equals "$out" $'found 3 transfers\nmade transfer 4'
    run 0 become alice daxbrokerctl free pool
}

# Each of them, when nobody is there to ask, says so and fails.
test_no_service() {
    local example

    broker stop
    for example in hello alloc-64m arena share event-loop; do
        run 1 become alice "$DAXBROKER_EXAMPLES/$example"
        matches "$err" "^$example: .*the daxbroker service is not running"
    done
    run 1 become alice "$DAXBROKER_EXAMPLES/append-log" log
    matches "$err" "^append-log: .*the daxbroker service is not running"
    broker start
}

# Neither bad accesses nor leaks, also on the way to an error. Sanitizers see to that elsewhere.
test_valgrind() {
    local example valgrind=(valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite)

    [ "$DAXBROKER_SANITIZE" = none ] || skip "valgrind cannot run programs that are built with sanitizers"
    needs valgrind valgrind
    for example in hello alloc-64m arena share event-loop; do
        run 0 become alice "${valgrind[@]}" "$DAXBROKER_EXAMPLES/$example"
        run 1 become bob "${valgrind[@]}" "$DAXBROKER_EXAMPLES/$example"
    done
    run 0 become alice daxbrokerctl run --name log --size 64K -- true
    make_lines 100 >"$dir/lines"
    run 0 become alice sh -c 'exec "$@" <"$0"' "$dir/lines" "${valgrind[@]}" "$DAXBROKER_EXAMPLES/append-log" log
    equals "$out" "$(<"$dir/lines")"
    run 0 become alice "${valgrind[@]}" "$DAXBROKER_EXAMPLES/append-log" log show
    equals "$out" "$(<"$dir/lines")"
    run 1 become bob "${valgrind[@]}" "$DAXBROKER_EXAMPLES/append-log" log
    run 0 become alice daxbrokerctl free log
}

tap_main test_hello test_hello_region test_alloc_64m test_arena test_share test_event_loop test_plain_dbus \
    test_in_a_container test_append_log test_append_log_alone test_append_log_kill test_append_log_lasts \
    test_object_pool test_object_pool_lasts test_no_service test_valgrind
