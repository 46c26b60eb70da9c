#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What is there already becomes something else: rename, resize, set-owner and adopt.

# shellcheck source=tests/bus/ctl.sh
# shellcheck disable=SC2016,SC2317,SC2001  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/ctl.sh"

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

test_resize() {
    run_as 0 alice alloc --size 1M --name fixed --no-hold
    run_as 1 alice resize fixed 2M
    matches "$err" "^daxbrokerctl: cannot resize 'fixed': memory of provider 'memfd' keeps the length"
    run_as 2 alice resize fixed 2X
    matches "$err" "'2X' is not a size"
    run_as 0 alice free fixed
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

tap_main test_rename test_resize test_resize_files test_adopt test_set_owner test_owner_is_gone
