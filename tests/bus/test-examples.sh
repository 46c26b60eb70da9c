#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The examples do what they say for somebody who may allocate, and fail with the reason for somebody who may not.

# shellcheck source=tests/bus/tap.sh
# shellcheck disable=SC2317  # the tests are called by name
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

# Each of them, when nobody is there to ask, says so and fails.
test_no_service() {
    local example

    broker stop
    for example in hello alloc-64m share event-loop; do
        run 1 become alice "$DAXBROKER_EXAMPLES/$example"
        matches "$err" "^$example: .*the daxbroker service is not running"
    done
    broker start
}

# Neither bad accesses nor leaks, also on the way to an error. Sanitizers see to that elsewhere.
test_valgrind() {
    local example valgrind=(valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite)

    [ "$DAXBROKER_SANITIZE" = none ] || skip "valgrind cannot run programs that are built with sanitizers"
    needs valgrind valgrind
    for example in hello alloc-64m share event-loop; do
        run 0 become alice "${valgrind[@]}" "$DAXBROKER_EXAMPLES/$example"
        run 1 become bob "${valgrind[@]}" "$DAXBROKER_EXAMPLES/$example"
    done
}

tap_main test_hello test_hello_region test_alloc_64m test_share test_event_loop test_plain_dbus test_no_service \
    test_valgrind
