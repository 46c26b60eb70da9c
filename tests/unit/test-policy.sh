#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What is installed beside the programs: the unit is as locked in as promised, and the polkit actions are those that the
# broker asks for, each open to the broker's user.
#
#     test-policy.sh SOURCE-ROOT BUILD-ROOT

set -u
source=$1
build=$2
n=0

result() { # STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then echo "ok $n $2"; else echo "not ok $n $2"; fi
}

skip() { # NAME WHY
    n=$((n + 1))
    echo "ok $n $1 # SKIP $2"
}

actions_in_policy() {
    grep -o '<action id="[^"]*"' "$build/policy/org.daxbroker1.policy" | cut -d'"' -f2 | sort -u
}

actions_in_code() {
    grep -rhoE '"org\.daxbroker1\.[a-z-]+"' "$source"/broker/*.c | tr -d '"' | sort -u
}

echo "1..4"

# The threshold is in tenths.
if command -v systemd-analyze >/dev/null; then
    exposure=$(systemd-analyze security --no-pager --offline=true --threshold=9 "$build/policy/daxbroker.service" 2>&1)
    result $? "exposure of the unit is below 1.0"
    printf '%s\n' "$exposure" | tail -n 1 | sed 's/^/# /'
else
    skip "exposure of the unit is below 1.0" "systemd-analyze is not installed"
fi

differences=$(diff <(actions_in_policy) <(actions_in_code))
result $? "polkit knows the actions that the broker asks for, and no others"
printf '%s' "$differences" | sed 's/^/# /'

[ "$(actions_in_policy | wc -l)" -eq 6 ]
result $? "there are six actions"

owners=$(grep -c 'org.freedesktop.policykit.owner">unix-user:' "$build/policy/org.daxbroker1.policy")
[ "$owners" -eq 6 ]
result $? "the broker's user may ask for each with details"
