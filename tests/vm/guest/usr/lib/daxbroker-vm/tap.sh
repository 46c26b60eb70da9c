# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For cases in bash: source this, call check and skip, and end with finish. Results are lines of TAP on the output that
# the case began with; what a failed check has printed follows as comments.

# Counts on where the last case has stopped.
tap_file=/run/vm-tap
tap_count=0
tap_failed=0
if [ -e $tap_file ]; then
    read -r tap_count tap_failed <$tap_file
fi
tap_failed_before=$tap_failed

# result ok|"not ok" WHAT
result() {
    tap_count=$((tap_count + 1))
    [ "$1" = ok ] || tap_failed=$((tap_failed + 1))
    printf '%s %d - %s\n' "$1" $tap_count "${VM_CASE:+$VM_CASE: }$2"
    echo $tap_count $tap_failed >$tap_file
}

# check WHAT COMMAND…: passes if the command succeeds
check() {
    local what=$1 output status=0
    shift

    output=$("$@" 2>&1) || status=$?
    if [ $status -eq 0 ]; then
        result ok "$what"
    else
        result "not ok" "$what"
        printf '# status %d of: %s\n' $status "$*"
        [ -z "$output" ] || printf '%s\n' "$output" | sed 's/^/# /'
    fi
}

# skip WHAT WHY
skip() {
    result ok "$1 # SKIP $2"
}

finish() {
    exit $((tap_failed > tap_failed_before))
}

# Like check, these print what is wrong.

# fails_with STATUS TEXT COMMAND…: the command ends with that status and says that
fails_with() {
    local expected=$1 text=$2 output status=0
    shift 2

    output=$("$@" 2>&1) || status=$?
    printf '%s\n' "$output"
    [ $status -eq "$expected" ] && [[ $output == *"$text"* ]]
}

# is TEXT COMMAND…: the command prints that
is() {
    local expected=$1 found
    shift

    found=$("$@")
    [ "$found" = "$expected" ] || {
        printf "expected '%s'\nfound    '%s'\n" "$expected" "$found"
        return 1
    }
}

# within SECONDS COMMAND…: the command succeeds at last
within() {
    local end=$((SECONDS + $1)) output
    shift

    until output=$("$@" 2>&1); do
        if [ $SECONDS -ge $end ]; then
            printf '%s\n' "$output"
            return 1
        fi
        sleep 0.1
    done
}
