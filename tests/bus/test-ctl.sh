#!/bin/bash
# SPDX-License-Identifier: MIT
#
# daxbrokerctl against a broker: each command as somebody who may (alice), as somebody who may not (bob), and as root.

# shellcheck source=tests/bus/tap.sh
# shellcheck disable=SC2016,SC2317,SC2001  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/tap.sh"

# run_as STATUS USER ARGUMENT…: daxbrokerctl as that user
run_as() {
    local status=$1 user=$2
    shift 2
    run "$status" become "$user" daxbrokerctl "$@"
}

# An interpreter whose standard library has mmap, and no wrapper of a user's own.
python=/usr/bin/python3

# Holds an allocation in the background until $job is interrupted; $held is its JSON.
hold() {
    start held become alice daxbrokerctl alloc --json=short "$@"
    wait_for 100 test -s "$dir/held" || fail "it does not tell what was got"
    held=$(<"$dir/held")
}

held() {
    json "v['$1']" <<<"$held"
}

# Makes something happen until a monitor that was just started tells of it.
is_heard_of() {
    wait_for 100 bash -c 'become alice daxbrokerctl run --size 4K -- true; test -s "$0"' "$1"
}

# has_event FILE EVENT OBJECT: in JSON lines
has_event() {
    grep -q "\"event\":\"$2\",\"object\":\"$3\"" "$1"
}

# ---- Looking around --------------------------------------------------------------------------------------------------

test_regions() {
    run_as 0 bob regions
    matches "$out" '^NAME +PROVIDER +SIZE +AVAILABLE +NODE +STATE$'
    matches "$out" '^dram +memfd +256M +256M +- +usable$'
    matches "$out" '^1 region listed\.$'
    run_as 0 bob regions --no-legend
    matches "$out" '^dram +memfd'
    differs "$out" 'NAME|listed'
}

test_regions_json() {
    run_as 0 bob regions --json=short
    equals "$(json 'len(v)' <<<"$out")" 1
    equals "$(json 'v[0]["name"], v[0]["state"], v[0]["reason"]' <<<"$out")" "('dram', 'usable', '')"
    equals "$(json 'v[0]["size"]' <<<"$out")" "$(region_get dram Size)"
    equals "$(json 'v[0]["available"]' <<<"$out")" "$(region_get dram Available)"
    equals "$(json 'v[0]["largest_available"]' <<<"$out")" "$(region_get dram LargestAvailable)"
    equals "$(json 'v[0]["granularity"]' <<<"$out")" "$(region_get dram Granularity)"
    equals "$(json 'v[0]["quarantined"], v[0]["cleaning"], v[0]["numa_node"], v[0]["target_node"]' <<<"$out")" \
        "(0, 0, None, None)"
    equals "$(json '{v[0][k] for k in ("read_bandwidth", "write_latency", "clean", "recycle")}' <<<"$out")" "{None}"
}

# What is ready ahead of requests, where there may be such a thing.
test_regions_warm() {
    configure "${configuration[@]}" '[Region dram]' 'Warm=4M'
    broker restart
    run_as 0 bob regions
    matches "$out" '^NAME +PROVIDER +SIZE +AVAILABLE +WARM +HITS +NODE +STATE$'
    matches "$out" '^dram +memfd +256M +256M +[0-9]+[BM] +- +- +usable$'
    run_as 0 alice run --size 2M --align 2M -- true
    run_as 0 alice run --size 8M -- true
    run_as 0 bob regions --json=short
    equals "$(json 'v[0]["warm"], v[0]["warm_length"], v[0]["warm_hits"] + v[0]["warm_misses"]' <<<"$out")" \
        "(4194304, 2097152, 2)"
    run_as 0 bob regions
    matches "$out" '^dram +memfd +256M +[0-9]+M +[0-9]+[BM] +(0|50)% +- +usable$'
    configure "${configuration[@]}"
    broker restart
}

# An unusable region is told about, and the reason with it.
test_regions_unusable() {
    configure "${configuration[@]}" '[Region far]' 'Provider=memfd' 'Size=1M' 'NumaNode=999'
    broker restart
    run_as 0 bob regions
    matches "$out" '^far +memfd .* unusable$'
    matches "$out" '^ +.*999'
    run_as 0 bob regions --json
    equals "$(json '[r["state"] for r in v if r["name"] == "far"], any(r["reason"] for r in v)' <<<"$out")" \
        "(['unusable'], True)"
    run_as 1 alice alloc --size 4K --region far
    matches "$err" "tells what is the matter with it"
    configure "${configuration[@]}"
    broker restart
}

test_list_empty() {
    run_as 0 alice list
    matches "$out" '^0 allocations listed\.$'
    run_as 0 alice list --json=short
    equals "$out" '[]'
}

test_list_and_show() {
    local id way

    run_as 0 alice alloc --size 5000 --align 64K --name looked-at --mode 0640 --no-hold --json
    id=$(json 'v["object"].rsplit("/")[-1]' <<<"$out")

    run_as 0 alice list
    matches "$out" '^looked-at +dram +alice +0640 +8K +64K +live +[0-9-]+ [0-9:]+ '
    run_as 0 alice list --json
    equals "$(json 'v[0]["name"], v[0]["id"], v[0]["length"], v[0]["in_use"]' <<<"$out")" \
        "('looked-at', '$id', 8192, False)"
    equals "$(json 'v[0]["device"], v[0]["ranges"], v[0]["cleaned"]' <<<"$out")" "(None, [], None)"

    for way in looked-at "$id" "/org/daxbroker1/allocation/$id"; do
        run_as 0 alice show "$way"
        matches "$out" '^ *Name: +looked-at$'
        matches "$out" '^ *Owner: +alice$'
        matches "$out" '^ *Mode: +0640$'
        matches "$out" '^ *In use: +no$'
        run_as 0 alice show "$way" --json=short
        equals "$(json 'v["name"], v["owner"], v["owner_name"], v["mode"], v["alignment"], v["state"]' <<<"$out")" \
            "('looked-at', $(id -u alice), 'alice', '0640', 65536, 'live')"
    done

    # Bob sees nothing of it, root does.
    run_as 0 bob list --json=short
    equals "$out" '[]'
    run_as 1 bob show looked-at
    run_as 1 bob show "$id"
    run 0 daxbrokerctl list
    matches "$out" '^looked-at '

    run_as 0 alice free looked-at
    run_as 1 alice show looked-at
    matches "$err" "^daxbrokerctl: cannot show 'looked-at': .*"
    run_as 1 alice show "$id"
    matches "$err" "shows the allocations that you may see"
}

# ---- Getting memory --------------------------------------------------------------------------------------------------

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
    matches "$err" "^daxbrokerctl: 'daxbrokerctl regions' shows what is available$"
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

test_quota() {
    configure "${configuration[@]}" '[Quota user:alice]' 'MaxBytes=2M' 'MaxAllocations=2'
    run 0 daxbrokerctl reload
    hold --size 1M
    run_as 1 alice alloc --size 2M
    matches "$err" '2 ?Mi?B?.*1 ?Mi?B?'
    matches "$err" "^daxbrokerctl: 'daxbrokerctl list' shows what you hold"
    kill "$job"
    finish 0 "$job"
    configure "${configuration[@]}"
    run 0 daxbrokerctl reload
}

# ---- Commands with memory --------------------------------------------------------------------------------------------

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
    equals "$(json 'len(v), v[0]["object"]' <<<"$out")" "(1, '$grant')"
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

# ---- Sharing ---------------------------------------------------------------------------------------------------------

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

test_rename() {
    run_as 0 alice alloc --size 1M --name before --no-hold
    run_as 1 bob rename before mine
    matches "$err" "^daxbrokerctl: cannot rename 'before': "
    run_as 1 alice rename before 'two words'
    run_as 0 alice rename before after
    run_as 1 alice show before
    run_as 0 alice alloc --size 1M --name before --no-hold
    run_as 1 alice rename after before
    matches "$err" "there is an allocation named 'before'"
    run_as 0 alice free before after
}

test_resize() {
    run_as 0 alice alloc --size 1M --name fixed --no-hold
    run_as 1 alice resize fixed 2M
    matches "$err" "^daxbrokerctl: cannot resize 'fixed': memory of provider 'memfd' keeps the length"
    run_as 2 alice resize fixed 2X
    matches "$err" "'2X' is not a size"
    run_as 0 alice free fixed
}

# with_files FUNCTION: with a region "files", of which is told where it is
with_files() {
    local files=$DAXBROKER_WORLD/files-of-ctl

    "$python" -c 'import os, sys; os.close(os.open(sys.argv[1], os.O_CREAT)); os.setxattr(sys.argv[1], "user.a", b"")' \
        "$dir/file" 2>/dev/null || skip "the file system of the test has no attributes"
    install -d -m 700 -o daxbroker -g daxbroker "$files"
    configure "${configuration[@]}" '[Region files]' Provider=fsdax "Path=$files" Sync=none Size=64M
    broker restart
    "$1" "$files"
    configure "${configuration[@]}"
    broker restart
    rmdir "$files"
}

with_files_resize() {
    run 0 daxbrokerctl alloc --size 1M --region files --persistent --name data --no-hold
    run 0 daxbrokerctl resize data 1.5M
    matches "$out" '^ *Length: +1\.5M \(1572864 bytes\)$'
    run 0 daxbrokerctl resize data 5000
    matches "$out" '^ *Length: +8K \(8192 bytes\)$'
    run 1 daxbrokerctl resize data 65M
    matches "$err" "region 'files' (has|holds) "
    run 0 daxbrokerctl show data --json
    equals "$(json 'v["length"], v["persistent"], v["owner_name"]' <<<"$out")" "(8192, True, 'root')"
    # the same once more is the same
    run 0 daxbrokerctl alloc --size 8K --region files --persistent --name data --no-hold
    run 1 daxbrokerctl alloc --size 12K --region files --persistent --name data --no-hold
    matches "$err" "your allocation named 'data' has length 8 KiB \(not 12 KiB\)"
    run 0 daxbrokerctl free data
}

test_resize_files() {
    with_files with_files_resize
}

with_files_adopt() {
    local files=$1 id

    run 0 daxbrokerctl alloc --size 1M --region files --persistent --name data --no-hold --json
    id=$(json 'v["object"].rsplit("/")[-1]' <<<"$out")
    broker stop
    "$python" -c 'import os, sys; os.removexattr(sys.argv[1], "user.daxbroker.record")' "$files/$id"
    broker start
    run 0 daxbrokerctl list
    matches "$out" "^$id +files +- +0000 +1M .* orphan "
    run 0 daxbrokerctl show "$id" --json
    equals "$(json 'v["owner"], v["owner_name"], v["state"]' <<<"$out")" "(None, None, 'orphan')"
    run 1 daxbrokerctl adopt "$id" --owner bob
    matches "$err" "^daxbrokerctl: cannot adopt '$id': .*needs a name"
    run 2 daxbrokerctl adopt "$id"
    run_as 1 alice adopt "$id" --owner alice --name mine
    run 0 daxbrokerctl adopt "$id" --owner bob --name found
    run_as 0 bob show found
    matches "$out" '^ *Owner: +bob$'
    run_as 0 bob open found -- true
    run_as 0 bob free found
}

test_adopt() {
    with_files with_files_adopt
}

test_set_owner() {
    run_as 0 alice alloc --size 1M --name given --no-hold
    run_as 1 alice set-owner given bob
    matches "$err" "^daxbrokerctl: cannot change the owner of 'given': "
    run 2 daxbrokerctl set-owner given nobody-here
    matches "$err" "there is no user 'nobody-here'"
    run 2 daxbrokerctl set-owner given 4294967295
    run 0 daxbrokerctl set-owner given bob
    run_as 0 bob list
    matches "$out" '^given +dram +bob +0600 '
    run_as 1 alice show given

    # by number, also of a user that there is not
    run 0 daxbrokerctl set-owner given "$(id -u alice)"
    run_as 0 alice show given
    matches "$out" '^ *Owner: +alice$'
    run 0 daxbrokerctl set-owner given 4999
    run 0 daxbrokerctl list
    matches "$out" '^given +dram +4999 \(gone\) '
    run 0 daxbrokerctl show given --json
    equals "$(json 'v["owner"], v["owner_name"]' <<<"$out")" "(4999, None)"

    # that is somebody's, so it is not to be adopted
    run 1 daxbrokerctl adopt given --owner alice
    matches "$err" "'given' is live and somebody's"
    run 1 daxbrokerctl adopt nothing --owner alice
    run 0 daxbrokerctl free given
}

# The uid is somebody else's today.
test_owner_is_gone() {
    local users=$DAXBROKER_WORLD/etc/passwd saved
    saved=$(<"$users")

    run_as 0 alice alloc --size 1M --name left --no-hold
    sed 's/^alice:/mallory:/' <<<"$saved" >"$users"
    run 1 become mallory daxbrokerctl free left
    matches "$err" "uid [0-9]+ was user 'alice' when this became his, and is user 'mallory' today"
    run 0 daxbrokerctl list
    matches "$out" '^left +dram +[0-9]+ \(gone\) '
    run 0 daxbrokerctl set-owner left mallory
    run 0 become mallory daxbrokerctl open left -- true
    printf '%s\n' "$saved" >"$users"
    run_as 1 alice open left -- true
    run 0 daxbrokerctl free left
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

# One without a name, by its id.
test_free_by_id() {
    hold --size 1M
    run_as 1 bob free "$(held object)"
    run_as 0 alice free "$(held object | sed 's,.*/,,')"
    equals "$(region_get dram Available)" "$(region_get dram Size)"
    kill "$job"
    finish 0 "$job"
}

test_root_may() {
    run_as 0 alice alloc --size 1M --name hers --no-hold
    run 0 daxbrokerctl open hers -- sh -c 'printf root 1<>"/proc/self/fd/$DAXBROKER_FD"'
    run 0 daxbrokerctl set-mode hers 0644
    run 0 daxbrokerctl free hers
    run 0 daxbrokerctl run --size 1M -- true
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

# ---- Monitor ---------------------------------------------------------------------------------------------------------

test_monitor() {
    local object

    # whoever is connected directly hears of his own
    start events become alice daxbrokerctl monitor --json=short
    is_heard_of "$dir/events"

    run_as 0 alice alloc --size 1M --name seen --no-hold --json=short
    object=$(json 'v["object"]' <<<"$out")
    wait_for 100 has_event "$dir/events" added "$object"
    run_as 0 alice set-mode seen 0644
    wait_for 100 grep -q "\"changed\",\"object\":\"$object\",\"properties\":\[\"Mode\"\]" "$dir/events"
    run_as 0 alice free seen
    wait_for 100 has_event "$dir/events" removed "$object"
    wait_for 100 grep -q '"changed","object":"/org/daxbroker1/region/dram","properties":\[.*"Available"' "$dir/events"

    broker restart
    wait_for 100 has_event "$dir/events" reset ''
    run_as 0 alice alloc --size 1M --name again --no-hold --json=short
    object=$(json 'v["object"]' <<<"$out")
    wait_for 100 has_event "$dir/events" added "$object"
    run_as 0 alice free again

    # each line is an object of its own
    "$python" -c 'import json, sys
for line in sys.stdin:
    assert set(json.loads(line)) == {"time", "event", "object", "properties"}, line' <"$dir/events"
    kill -INT "$job"
    finish 130 "$job"
}

test_monitor_in_words() {
    start words become alice daxbrokerctl monitor
    is_heard_of "$dir/words"
    wait_for 100 grep -Eq '^[0-9:.]+ removed /org/daxbroker1/allocation/[0-9a-f]{16}$' "$dir/words"
    wait_for 100 grep -Eq '^[0-9:.]+ changed /org/daxbroker1/region/dram Available' "$dir/words"
    kill -TERM "$job"
    finish 143 "$job"
}

# Nobody reads it any more.
test_monitor_without_reader() {
    local i

    start head bash -c 'become alice daxbrokerctl monitor | head -n 1'
    is_heard_of "$dir/head"
    # it notices with the next thing it has to say
    for ((i = 0; i < 100; i++)); do
        ! has_ended "$job" || break
        run_as 0 alice run --size 4K -- true
    done
    finish 0 "$job"
}

# ---- Output ----------------------------------------------------------------------------------------------------------

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
    [ ! -e "$dir/was-run" ]
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

tap_main test_regions test_regions_json test_regions_warm test_regions_unusable test_list_empty test_list_and_show \
    test_alloc_holds_until_interrupted test_alloc_in_words test_alloc_killed test_alloc_named_stays \
    test_refusals test_quota test_run_environment test_run_mmap test_run_status test_run_passes_signals_on \
    test_run_lives_with_its_holders test_run_named test_free_while_in_use test_open_as_mode_says \
    test_open_by_group test_open_read_only test_open_holds test_free_several test_free_by_force test_rename test_resize \
    test_resize_files test_adopt test_set_owner test_owner_is_gone test_prefer \
    test_free_by_id test_root_may test_grant_holds test_grant_runs test_release \
    test_check_policy test_check_policy_of_others test_check_policy_leaves_nothing test_reload test_monitor \
    test_monitor_in_words test_monitor_without_reader test_json_is_valid test_tables test_full_disk test_usage \
    test_completion test_no_service test_no_bus test_restart_while_in_use
