#!/bin/bash
# SPDX-License-Identifier: MIT
#
#     ./test.sh
#
# Installs what is missing, builds three times (gcc with sanitizers, gcc and clang as for a release; a warning is an
# error in each), runs all suites on the first, and on the others the suite "unit" and a little more. The last line
# counts single tests: "N passed, N failed, N skipped". The exit status is 0 only if everything was built, something
# passed and nothing failed.
#
# The suite "bus" needs root; sudo is used where there is no root, and without either those tests are skipped.

set -uo pipefail
umask 022

# Tests send signals; who started us, such as nohup or a shell's background job, may have had some ignored.
if [ -z "${DAXBROKER_TEST_SIGNALS-}" ]; then
    export DAXBROKER_TEST_SIGNALS=default
    exec env --default-signal=HUP,INT,QUIT,TERM,PIPE "${BASH_SOURCE[0]}" "$@"
fi

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" || exit 1

# Memory errors and undefined behaviour must not end in a log line.
export ASAN_OPTIONS=strict_string_checks=1:check_initialization_order=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export UBSAN_OPTIONS=print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}

logs=()
trouble=()

# How many tests may run at once: one for each processor, as long as there is memory for as many virtual machines.
at_once() {
    local processors gigabytes
    processors=$(nproc)
    gigabytes=$(awk '/^MemTotal:/ { print int($2 / 1024 / 1024) }' /proc/meminfo)
    [ "$((gigabytes / 6))" -ge "$processors" ] || processors=$((gigabytes / 6))
    echo $((processors > 0 ? processors : 1))
}

as_root=()
if [ "$(id -u)" -ne 0 ] && command -v sudo >/dev/null && sudo true; then
    as_root=(sudo -E --)
fi

# build NAME COMPILER OPTION…
build() {
    local name=$1 compiler=$2
    shift 2

    echo "== Building build-$name"
    # What an earlier run was told may differ.
    if [ -e "build-$name/build.ninja" ]; then
        meson configure "build-$name" --werror "$@"
    else
        CC=$compiler meson setup "build-$name" --werror "$@"
    fi && ninja -C "build-$name"
}

# run NAME LOG ARGUMENT…: failures are counted later, from the log
run() {
    local name=$1 log=$2
    shift 2

    echo "== Testing build-$name"
    rm -f "build-$name/meson-logs/$log.json"
    "${as_root[@]}" meson test -C "build-$name" --no-rebuild --print-errorlogs --num-processes "$(at_once)" \
        --logbase "$log" "$@"
    # Nothing in the tree may become root's.
    [ ${#as_root[@]} -eq 0 ] || "${as_root[@]}" chown -R "$(id -u):$(id -g)" "build-$name/meson-logs"
    logs+=("build-$name/meson-logs/$log.json")
}

# test_build NAME COMPILER SUITE OPTION…; the suite may be "all"
test_build() {
    local name=$1 compiler=$2 suite=()
    [ "$3" = all ] || suite=(--suite "$3")
    shift 3

    if ! build "$name" "$compiler" "$@"; then
        trouble+=("build-$name does not build")
        return 1
    fi
    run "$name" testlog "${suite[@]}"
}

tests/install-packages.sh test || trouble+=("packages are missing")

test_build test gcc all \
    --buildtype debug -Db_sanitize=address,undefined -Dc_args=-fno-sanitize-recover=undefined
# What sanitizers hide: valgrind's view of the examples, how much memory the broker really uses, and forks among threads.
test_build test-gcc gcc unit --buildtype release &&
    run test-gcc testlog-release smoke many examples library-process library-process-direct
test_build test-clang clang unit --buildtype release

echo "== Results"
tests/count-results "${logs[@]}" -- "${trouble[@]}"
