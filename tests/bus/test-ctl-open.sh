#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Sharing memory, with open and set-mode, and ending it, with free.

# shellcheck source=tests/bus/ctl.sh
# shellcheck disable=SC2016,SC2317  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/ctl.sh"

test_open_as_mode_says() {
    run_as 0 alice alloc --size 1M --name shared --no-hold
    run_as 1 carol open shared -- true
    run_as 0 alice set-mode shared 0644
    run_as 0 carol open shared --read-only -- true
    run_as 1 carol open shared -- true
    run_as 0 carol show shared
    run_as 0 alice set-mode shared 0666
    run_as 0 carol open shared -- sh -c 'printf carol >&"$DAXBROKER_FD"'
    run_as 0 alice open shared -- sh -c 'head -c 5 "/proc/self/fd/$DAXBROKER_FD"'
    equals "$out" carol
    run_as 1 carol set-mode shared 0600
    run_as 1 carol free shared
    run_as 0 alice set-mode shared 0600
    run_as 1 carol open shared -- true
    run_as 1 alice set-mode shared 0777
    matches "$err" 'mode 0777 has bits beyond 0666'
    run_as 2 alice set-mode shared rw
    run_as 0 alice free shared
    run_as 1 alice open shared -- true
}

test_open_by_group() {
    run_as 0 alice alloc --size 1M --name ring --mode 0660 --group dax --no-hold
    run_as 0 alice show ring --json
    equals "$(json 'v["group_name"], v["mode"]' <<<"$out")" "('dax', '0660')"
    # nobody but alice is in it
    run_as 1 carol open ring -- true
    run_as 1 carol alloc --size 1M --name mine --mode 0660 --group dax --no-hold
    run_as 2 alice alloc --size 1M --name mine --mode 0660 --group no-such-group --no-hold
    run_as 0 alice free ring
}

test_open_read_only() {
    run_as 0 alice run --size 1M --name read -- sh -c 'printf before 1<>"/proc/self/fd/$DAXBROKER_FD"'
    run_as 0 alice open read --read-only -- "$python" -c 'import mmap, os
fd = int(os.environ["DAXBROKER_FD"])
def refused(function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except OSError:
        return True
assert mmap.mmap(fd, 6, prot=mmap.PROT_READ)[:] == b"before"
assert refused(mmap.mmap, fd, 6)
assert refused(os.pwrite, fd, b"x", 0)
assert refused(os.open, f"/proc/self/fd/{fd}", os.O_RDWR)
assert refused(os.ftruncate, fd, 0)
assert refused(os.fchmod, fd, 0o666)'
    run_as 0 alice free read
}

test_open_holds() {
    run_as 0 alice alloc --size 1M --name held --no-hold
    start opened become alice daxbrokerctl open held --json=short
    wait_for 100 test -s "$dir/opened"
    equals "$(json 'v["name"], v["length"]' <"$dir/opened")" "('held', 1048576)"
    run_as 0 alice show held --json
    equals "$(json 'v["in_use"]' <<<"$out")" True
    kill -INT "$job"
    finish 0 "$job"
    run_as 0 alice free held
}

test_root_may() {
    run_as 0 alice alloc --size 1M --name hers --no-hold
    run 0 daxbrokerctl open hers -- sh -c 'printf root 1<>"/proc/self/fd/$DAXBROKER_FD"'
    run 0 daxbrokerctl set-mode hers 0644
    run 0 daxbrokerctl free hers
    run 0 daxbrokerctl run --size 1M -- true
}

# Those that can be freed are, and the status says that not all could.
test_free_several() {
    run_as 0 alice alloc --size 1M --name one --no-hold
    run_as 0 alice alloc --size 1M --name two --no-hold
    run_as 1 alice free one nothing two
    matches "$err" "^daxbrokerctl: cannot free 'nothing': "
    equals "$(grep -c 'cannot free' <<<"$err")" 1
    run_as 0 alice list --json=short
    equals "$out" '[]'
    run_as 1 alice free one
}

# One without a name, by its id.
test_free_by_id() {
    hold --size 1M
    run_as 1 bob free "$(held object)"
    run_as 0 alice free "$(held object | sed 's,.*/,,')"
    equals "$(region_get dram Available)" "$(region_get dram Size)"
    kill "$job"
    finish 0 "$job"
}

# Freed while somebody has it mapped: SIGBUS.
test_free_while_in_use() {
    start run become alice daxbrokerctl run --size 1M --name doomed -- "$python" -c 'import mmap, os, time
memory = mmap.mmap(int(os.environ["DAXBROKER_FD"]), 1 << 20)
memory[0] = 1
print("mapped", flush=True)
while True:
    memory[0] += 0
    time.sleep(0.01)'
    wait_for 100 grep -q mapped "$dir/run"
    run_as 1 bob free doomed
    run_as 0 alice free doomed
    finish $((128 + 7)) "$job"
}

# Of what is no device, nothing is left to be taken; and what is not freed is not taken either.
test_free_by_force() {
    run_as 0 alice alloc --size 1M --name one --no-hold
    run_as 1 bob free --force one
    matches "$err" "^daxbrokerctl: cannot free 'one': "
    run_as 0 alice show one
    run_as 0 alice free --force one
    run_as 1 alice free --force --force one
    run_as 0 alice alloc --size 1M --name two --no-hold
    run 0 daxbrokerctl free --force --force two
    run_as 0 alice list --json=short
    equals "$out" '[]'
}

tap_main test_open_as_mode_says test_open_by_group test_open_read_only test_open_holds test_root_may test_free_several \
    test_free_by_id test_free_while_in_use test_free_by_force
