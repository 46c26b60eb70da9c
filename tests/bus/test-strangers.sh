#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Programs that know nothing of daxbroker, on its memory. They take a path, /proc/self/fd/N, and open it themselves.

# shellcheck source=tests/bus/tap.sh
# shellcheck disable=SC2016,SC2317  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/tap.sh"

python=/usr/bin/python3

# with STATUS SCRIPT: alice's shell runs it on 64 MiB; $1 is the memory's path, $2 its length
with() {
    on "$1" "$2" run --size 64M --align 2M
}

# The same on memory with a name, where it stays for the next one.
with_named() {
    if daxbrokerctl show named >/dev/null 2>&1; then
        on "$1" "$2" open named
    else
        on "$1" "$2" run --size 64M --align 2M --name named
    fi
}

# on STATUS SCRIPT ARGUMENT…: the arguments are daxbrokerctl's
on() {
    local status=$1 script=$2
    shift 2

    run "$status" become alice daxbrokerctl "$@" -- sh -c 'cd "$0" && script=$1
set -- "/proc/self/fd/$DAXBROKER_FD" "$DAXBROKER_LENGTH" && eval "$script"' "$dir" "$script"
}

# ---- fio: a checksum in every block ----------------------------------------------------------------------------------

fio='fio --name=verify --ioengine=mmap --filename="$1" --size="$2" --bs=4k --verify=crc32c --verify_fatal=1
    --verify_state_save=0'

test_fio() {
    needs fio fio
    with 0 "${fio//$'\n'/} --rw=randwrite --do_verify=1"
    matches "$out" 'issued rwts: total=16384,16384,0,0 short=0'
}

# What one process has written another one finds, also after the broker was restarted; and it would notice if not.
test_fio_finds_it_again() {
    needs fio fio
    with_named 0 "${fio//$'\n'/} --rw=randwrite --do_verify=0"
    broker restart
    with_named 0 "${fio//$'\n'/} --rw=randwrite --verify_only"
    with_named 0 'printf x | dd of="$1" bs=1 seek=1000000 conv=notrunc'
    with_named 1 "${fio//$'\n'/} --rw=randwrite --verify_only"
    matches "$err" 'verify failed'
    run 0 become alice daxbrokerctl free named
}

# ---- pmempool: a persistent object pool ------------------------------------------------------------------------------

test_pmempool() {
    needs pmempool pmdk-tools
    with_named 0 'pmempool create --layout=strangers obj "$1"'
    broker restart
    with_named 0 'pmempool check -v "$1"'
    matches "$out" 'consistent$'
    with_named 0 'pmempool info "$1"'
    matches "$out" '^Layout +: strangers$'
    # it insists on empty memory, as on any file
    with_named 1 'pmempool create --layout=strangers obj "$1"'
    matches "$err" 'Non-empty file'
    run 0 become alice daxbrokerctl free named
}

# ---- Python ----------------------------------------------------------------------------------------------------------

test_python_mmap() {
    [ -x "$python" ] || skip "$python is not installed (Debian: python3)"
    with 0 "exec $python"' -c "
import mmap, os, sys
path, length = sys.argv[1], int(sys.argv[2])
with open(path, \"r+b\") as file, mmap.mmap(file.fileno(), 0) as memory:
    assert len(memory) == length
    assert memory[:] == bytes(length)
    memory[-6:] = b\"python\"
    memory.flush()
    with open(path, \"rb\") as again:
        again.seek(-6, os.SEEK_END)
        print(again.read())
" "$1" "$2"'
    equals "$out" "b'python'"
}

# ---- QEMU: a machine's memory ----------------------------------------------------------------------------------------

qemu='qemu-system-x86_64 -accel tcg -nodefaults -display none
    -object memory-backend-file,id=ram,mem-path="$1",size="$2",share=on'

test_qemu_backend() {
    needs qemu-system-x86_64 qemu-system-x86
    with 0 'printf "%s\n" "{\"execute\":\"qmp_capabilities\"}" "{\"execute\":\"query-memdev\"}" "{\"execute\":\"quit\"}" |
        '"${qemu//$'\n'/} -machine none -S -qmp stdio"
    matches "$out" '"share": true.*"size": 67108864|"size": 67108864.*"share": true'
}

# 16-bit code that a BIOS loads and runs: it puts "guest" at 0x70000 and leaves through a debugging device.
boot_sector() {
    "$python" -c 'import sys
code = bytes.fromhex("b80070" "8ed8" "31ff")                           # mov ax, 0x7000; mov ds, ax; xor di, di
for letter in b"guest":
    code += bytes.fromhex("c605%02x" "47" % letter)                    # mov byte [di], letter; inc di
code += bytes.fromhex("ba0405" "b010" "ee" "f4" "ebfd")                # mov dx, 0x504; mov al, 0x10; out dx, al; hlt
sys.stdout.buffer.write(code.ljust(510, b"\0") + b"\x55\xaa")'
}

test_qemu_guest() {
    needs qemu-system-x86_64 qemu-system-x86
    boot_sector >"$dir/boot"
    # the device has QEMU leave with twice the number plus one
    with 0 "status=0; ${qemu//$'\n'/}"' -machine pc,memory-backend=ram -m 64M -no-reboot \
        -device isa-debug-exit,iobase=0x504,iosize=4 -drive file=boot,format=raw,if=ide,snapshot=on || status=$?
        echo "status $status"; dd if="$1" bs=1 skip=$((0x70000)) count=5 2>/dev/null'
    matches "$out" '^status 33$'
    matches "$out" '^guest$'
}

tap_main test_fio test_fio_finds_it_again test_pmempool test_python_mmap test_qemu_backend test_qemu_guest
