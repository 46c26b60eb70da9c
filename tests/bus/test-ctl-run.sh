#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Commands with memory: run; and grant, with which they take it themselves, until release.

# shellcheck source=tests/bus/ctl.sh
# shellcheck disable=SC2016,SC2317  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/ctl.sh"

test_run_environment() {
    run_as 0 alice run --size 5000 -- sh -c 'echo "$DAXBROKER_FD $DAXBROKER_LEASE_FD $DAXBROKER_OFFSET $DAXBROKER_LENGTH"
        test -p "/proc/self/fd/$DAXBROKER_LEASE_FD" && test -w "/proc/self/fd/$DAXBROKER_FD"'
    matches "$out" '^[0-9]+ [0-9]+ 0 8192$'
    equals "$err" ""
    # nothing else comes on top of what is inherited anyway
    run 0 become alice sh -c 'ls /proc/self/fd | wc -l'
    run_as 0 alice run --size 1M -- sh -c "echo \$((\$(ls /proc/self/fd | wc -l) - $out))"
    equals "$out" 2
}

test_run_mmap() {
    run_as 0 alice run --size 4M --align 2M "$python" -c 'import mmap, os
fd, length = int(os.environ["DAXBROKER_FD"]), int(os.environ["DAXBROKER_LENGTH"])
memory = mmap.mmap(fd, length, offset=int(os.environ["DAXBROKER_OFFSET"]))
assert memory[:] == bytes(length)
memory[-5:] = b"hello"
again = mmap.mmap(fd, length)
assert again[-5:] == b"hello"
print(length)'
    equals "$out" 4194304
}

test_run_status() {
    local status

    for status in 0 1 2 77 126 255; do
        run_as "$status" alice run --size 4K -- sh -c "exit $status"
        equals "$err" ""
    done
    run_as $((128 + 9)) alice run --size 4K -- sh -c 'kill -KILL $$'
    run_as $((128 + 15)) alice run --size 4K -- sh -c 'kill -TERM $$'
    run_as 127 alice run --size 4K -- "$dir/nothing"
    matches "$err" "^daxbrokerctl: cannot run '.*/nothing': No such file"
    run_as 126 alice run --size 4K -- /etc/passwd
    matches "$err" "Permission denied"
}

test_run_passes_signals_on() {
    local signal

    for signal in INT TERM HUP QUIT; do
        : >"$dir/ready" && chmod 666 "$dir/ready"
        # in a group of its own, where the terminal's signals do not reach the command by themselves
        start run become alice daxbrokerctl run --size 4K -- "$python" -c '
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
open(sys.argv[1], "w").write("ready")
got = signal.sigwaitinfo({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
sys.exit(100 + got.si_signo)' "$dir/ready"
        wait_for 100 test -s "$dir/ready"
        kill -s "$signal" "$job"
        finish $((100 + $(kill -l "$signal"))) "$job"
    done
}

# When daxbrokerctl is killed, the command goes on with its memory; when the command ends, what it left behind does.
test_run_lives_with_its_holders() {
    start run become alice daxbrokerctl run --size 1M -- sh -c 'sleep 600 & echo $!; exit 0'
    wait_for 100 has_ended "$job"
    finish 0 "$job"
    equals "$(region_get dram Available)" $((255 << 20))
    kill "$(<"$dir/run")"
    wait_for 100 is_all_free

    start run become alice daxbrokerctl run --size 1M -- sh -c 'echo $$; exec sleep 600'
    wait_for 100 test -s "$dir/run"
    kill -KILL "$job"
    finish 137 "$job"
    equals "$(region_get dram Available)" $((255 << 20))
    kill "$(<"$dir/run")"
    wait_for 100 is_all_free
}

test_run_named() {
    run_as 0 alice run --size 1M --name kept -- sh -c 'printf hello 1<>"/proc/self/fd/$DAXBROKER_FD"'
    run_as 0 alice open kept -- sh -c 'head -c 5 "/proc/self/fd/$DAXBROKER_FD"'
    equals "$out" hello
    run_as 0 alice free kept
}

# A service that comes back does not disturb who holds or uses memory.
test_restart_while_in_use() {
    start run become alice daxbrokerctl run --size 1M -- sh -c 'cd "$0" && : >started
        while [ ! -e go-on ]; do sleep 0.1; done
        printf x 1<>"/proc/self/fd/$DAXBROKER_FD" && exit 5' "$dir"
    wait_for 100 test -e "$dir/started"
    broker restart
    : >"$dir/go-on"
    finish 5 "$job"
}

# ---- Grants ----------------------------------------------------------------------------------------------------------

test_grant_holds() {
    local grant

    start held become alice daxbrokerctl grant --json=short --size 64M --align 2M
    wait_for 100 test -s "$dir/held"
    held=$(<"$dir/held")
    grant=$(held object)
    matches "$grant" '^/org/daxbroker1/grant/[0-9a-f]{16}$'
    equals "$(held size)" 67108864
    run_as 0 alice regions
    matches "$out" '^NAME +PROVIDER +SIZE +AVAILABLE +GRANTED +NODE +STATE$'
    matches "$out" '^dram +memfd +256M +192M +64M +- +usable$'
    run_as 0 alice grants
    matches "$out" '^ID +REGION +OWNER +SIZE +AVAILABLE +CREATED +HOLDER$'
    matches "$out" "^${grant##*/} +dram +alice +64M +64M "
    matches "$out" '^1 grant listed\.$'
    run_as 0 alice grants --json=pretty
    equals "$(json 'len(v), v[0]["object"], v[0]["persistent"]' <<<"$out")" "(1, '$grant', False)"
    run_as 0 bob grants --json=short
    equals "$(json 'len(v)' <<<"$out")" 0

    # by its object, and by its id
    run_as 0 alice run --size 60M --grant "$grant" -- daxbrokerctl grants --json=short
    equals "$(json 'v[0]["size"], v[0]["available"], v[0]["largest_available"], v[0]["region"]' <<<"$out")" \
        "(67108864, 4194304, 4194304, 'dram')"
    run_as 0 alice alloc --size 1M --name piece --no-hold --grant "${grant##*/}"
    run_as 0 alice show piece
    matches "$out" "^ *Grant: +$grant$"
    run_as 0 alice list --json=short
    equals "$(json 'v[0]["grant"]' <<<"$out")" "$grant"
    run_as 1 alice alloc --size 64M --grant "$grant"
    matches "$err" 'the grant has 63 MiB left of 64 MiB, 64 MiB were asked for'
    run_as 1 bob alloc --size 1M --grant "$grant"
    run_as 0 alice check-policy --size 1M --grant "$grant"

    kill "$job"
    finish 0 "$job"
    run_as 1 alice alloc --size 1M --grant "$grant"
    matches "$err" 'there is no grant'
    run_as 0 alice list --json=short
    equals "$(json 'v[0]["grant"]' <<<"$out")" None
    run_as 0 alice free piece
}

test_grant_runs() {
    run_as 3 alice grant --size 16M -- sh -c 'daxbrokerctl run --size 16M --grant "$DAXBROKER_GRANT" -- sh -c "exit 3"'
    run_as 1 alice grant --size 16M -- sh -c 'daxbrokerctl run --size 17M --grant "$DAXBROKER_GRANT" -- true'
    run_as 127 alice grant --size 16M -- no-such-command
    run_as 1 bob grant --size 16M -- touch "$dir/was-run"
    matches "$err" '^daxbrokerctl: cannot reserve memory: polkit does not allow org\.daxbroker1\.allocate to user '
    [ ! -e "$dir/was-run" ]
    run_as 1 alice grant --size 257M -- touch "$dir/was-run"
    [ ! -e "$dir/was-run" ]
    run_as 1 alice grant --size 1M --persistent -- touch "$dir/was-run"
    matches "$err" 'is ordinary memory and forgets'
    run_as 2 alice grant --size 1M --name something
    matches "$err" "'grant' does not take --name"
    wait_for 100 is_all_free
}

test_release() {
    start held become alice daxbrokerctl grant --json=short --size 64M
    wait_for 100 test -s "$dir/held"
    held=$(<"$dir/held")
    run_as 1 bob release "$(held object)"
    run_as 0 root release "$(held object)"
    run_as 1 alice release "$(held object)"
    matches "$err" "^daxbrokerctl: cannot release '/org/daxbroker1/grant/[0-9a-f]*': there is no such grant"
    run_as 1 alice release nonsense
    matches "$err" "'nonsense' is not the object of a grant"
    kill "$job"
    finish 0 "$job"
}

tap_main test_run_environment test_run_mmap test_run_status test_run_passes_signals_on test_run_lives_with_its_holders \
    test_run_named test_restart_while_in_use test_grant_holds test_grant_runs test_release
