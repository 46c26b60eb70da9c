#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Getting memory with alloc, or being refused it; check-policy, which says beforehand; and reload, after which the answer
# may be another.

# shellcheck source=tests/bus/ctl.sh
# shellcheck disable=SC2016,SC2317  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/ctl.sh"

test_alloc_holds_until_interrupted() {
    local signal path

    for signal in INT TERM HUP; do
        hold --size 1M --align 64K
        equals "$(held length)" 1048576
        equals "$(held alignment)" 65536
        equals "$(held name)" None

        # Where it says, there it is, for the same user and nobody else.
        path=$(held memory)
        run 0 become alice "$python" -c 'import mmap, sys
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 1 << 20)
    assert memory[:] == bytes(1 << 20)
    memory[4711] = 42' "$path"
        equals "$(become alice od -An -tu1 -j4711 -N1 "$path" | tr -d ' ')" 42
        run 1 become bob test -e "$path"

        run_as 0 alice list --json
        equals "$(json 'len(v), v[0]["object"], v[0]["in_use"]' <<<"$out")" "(1, '$(held object)', True)"

        kill -s "$signal" "$job"
        finish 0 "$job"
        wait_for 100 is_all_free
    done
}

test_alloc_in_words() {
    start words become alice daxbrokerctl alloc --size 64MiB --align 2M --prefault
    wait_for 200 grep -q 'Held until interrupted' "$dir/words"
    matches "$(<"$dir/words")" '^ *Object: +/org/daxbroker1/allocation/[0-9a-f]{16}$'
    matches "$(<"$dir/words")" '^ *Length: +64M \(67108864 bytes\)$'
    matches "$(<"$dir/words")" "^ *Memory: +/proc/$job/fd/[0-9]+$"
    kill "$job"
    finish 0 "$job"
}

# Nothing of it is left when the holder is killed.
test_alloc_killed() {
    hold --size 1M
    kill -KILL "$job"
    finish 137 "$job"
    wait_for 100 is_all_free
}

test_alloc_named_stays() {
    hold --size 1M --name stays
    equals "$(held name)" stays
    kill "$job"
    finish 0 "$job"
    run_as 0 alice show stays
    run_as 1 alice alloc --size 1M --name stays --no-hold
    matches "$err" "cannot allocate memory: .*stays"
    matches "$err" "^daxbrokerctl: open it with 'daxbrokerctl open', or choose another name$"
    run_as 0 alice free stays
    run_as 0 alice alloc --size 1M --name stays --no-hold
    run_as 0 alice free stays
}

# Each refusal: status 1, the service's sentence, and what to do next.
test_refusals() {
    run_as 1 bob alloc --size 1M
    matches "$err" "^daxbrokerctl: cannot allocate memory: polkit does not allow org\.daxbroker1\.allocate to user "
    matches "$err" "^daxbrokerctl: ask an administrator"
    equals "$out" ""
    run_as 1 bob run --size 1M -- touch "$dir/was-run"
    [ ! -e "$dir/was-run" ]
    run_as 1 alice alloc --size 257M
    matches "$err" "256 ?Mi?B?.*257 ?Mi?B?|257 ?Mi?B?.*256 ?Mi?B?"
    matches "$err" "^daxbrokerctl: 'daxbrokerctl regions' shows what is available, 'daxbrokerctl grants' "
    run_as 1 alice alloc --size 7E
    run_as 1 alice alloc --size 0
    run_as 1 alice alloc --size 1M --align 3
    run_as 1 alice alloc --size 1M --align 2G
    matches "$err" '1 ?G|1073741824'
    run_as 1 alice alloc --size 1M --region nowhere
    matches "$err" "^daxbrokerctl: 'daxbrokerctl regions' lists the regions$"
    run_as 1 alice alloc --size 1M --name 'no/good' --no-hold
    run_as 1 alice alloc --size 1M --name "$(printf 'x%.0s' {1..64})" --no-hold
    run_as 1 alice alloc --size 1M --name n --mode 0640 --group 0 --no-hold
    run_as 1 alice alloc --size 1M --numa-node 999
    run_as 1 alice alloc --size 1M --page-size 12345
    run_as 1 alice alloc --size 1M --persistent
    run_as 1 alice open nothing
    matches "$err" "^daxbrokerctl: cannot open 'nothing': "
    run_as 1 alice free nothing
    run_as 1 alice set-mode nothing 0600
    run_as 0 alice list --json
    equals "$(json v <<<"$out")" '[]'
}

# From the region that suits best; both are plain memory, so that it is the one with room.
test_prefer() {
    run_as 0 alice run --size 4K --contiguous --prefer bandwidth -- true
    run_as 0 alice check-policy --size 256M --prefer capacity
    run_as 1 alice run --size 4K --prefer speed -- true
    matches "$err" "bandwidth, latency or capacity"
    run_as 1 alice run --size 4K --prefer latency --region dram -- true
    matches "$err" "options region and prefer"
}

test_quota() {
    configure "${configuration[@]}" '[Quota user:alice]' 'MaxBytes=2M' 'MaxAllocations=2'
    run 0 daxbrokerctl reload
    hold --size 1M
    run_as 1 alice alloc --size 2M
    matches "$err" '2 ?Mi?B?.*1 ?Mi?B?'
    matches "$err" "^daxbrokerctl: 'daxbrokerctl list' and 'daxbrokerctl grants' show what you hold"
    kill "$job"
    finish 0 "$job"
    configure "${configuration[@]}"
    run 0 daxbrokerctl reload
}

# ---- Policy ----------------------------------------------------------------------------------------------------------

test_check_policy() {
    run_as 0 alice check-policy --size 5000
    equals "$out" 'yes: 8K (8192 bytes)'
    run_as 1 bob check-policy --size 5000
    matches "$out" "^no: polkit does not allow org\.daxbroker1\.allocate to user $(id -u bob)"
    equals "$err" ""
    run_as 1 alice check-policy --size 257M
    matches "$out" '^no: .*256 ?Mi?B?'
    run_as 1 alice check-policy --size 1M --align 3
    matches "$out" '^no: '
    run_as 1 alice check-policy --size 1M --region nowhere
    matches "$out" '^no: .*nowhere'
    run_as 0 alice check-policy --size 1M --name fine --mode 0640 --group dax --prefault
    run_as 0 alice alloc --size 1M --name taken --no-hold
    run_as 1 alice check-policy --size 1M --name taken
    matches "$out" '^no: .*taken'
    run_as 0 alice free taken
}

test_check_policy_of_others() {
    run 0 daxbrokerctl check-policy --size 1M
    run 0 daxbrokerctl check-policy --size 1M --user alice
    equals "$out" 'yes: 1M (1048576 bytes)'
    run 0 daxbrokerctl check-policy --size 1M --user "$(id -u alice)"
    run 1 daxbrokerctl check-policy --size 1M --user bob
    matches "$out" "^no: polkit does not allow org\.daxbroker1\.allocate to user $(id -u bob)"
    run 1 daxbrokerctl check-policy --size 1M --user bob --json=short
    equals "$(json 'v["allowed"], v["user"], v["error"], v["length"]' <<<"$out")" "(False, 'bob', 'EACCES', 0)"
    run 0 daxbrokerctl check-policy --size 1M --user alice --json=short
    equals "$(json 'v["allowed"], v["user"], v["error"], v["length"]' <<<"$out")" "(True, 'alice', None, 1048576)"
    run 2 daxbrokerctl check-policy --size 1M --user nobody-of-this-name
    run_as 1 bob check-policy --size 1M --user alice
    matches "$err" 'root'
}

# It asks nobody, and reserves nothing.
test_check_policy_leaves_nothing() {
    run_as 0 alice check-policy --size 256M
    run_as 0 alice check-policy --size 256M
    run_as 0 alice list --json=short
    equals "$out" '[]'
}

test_reload() {
    run_as 1 alice reload
    matches "$err" '^daxbrokerctl: cannot make the service reload its configuration: '
    configure '[Region dram]' 'Size=128M'
    run 0 daxbrokerctl reload
    run_as 0 bob regions
    matches "$out" '^dram +memfd +128M +128M '
    configure "${configuration[@]}"
    run 0 daxbrokerctl reload
    run_as 0 bob regions
    matches "$out" '^dram +memfd +256M +256M '
}

tap_main test_alloc_holds_until_interrupted test_alloc_in_words test_alloc_killed test_alloc_named_stays test_refusals \
    test_prefer test_quota test_check_policy test_check_policy_of_others test_check_policy_leaves_nothing test_reload
