#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What is installed beside the programs: the unit is as locked in as promised, the polkit actions are those that the
# broker asks for, each open to the broker's user, and udev hands over what policy/README.md lists and no more.
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

rules=$build/policy/91-daxbroker.rules
unit=$build/policy/daxbroker.service

# What the rules do, without comments, one rule a line.
rules() {
    grep -v '^#' "$rules" | sed -e ':a; /\\$/N; s/\\\n *//; ta' | grep .
}

# jumps GOTO|LABEL
jumps() {
    rules | grep -o "$1=\"[^\"]*\"" | cut -d'"' -f2 | sort -u
}

# shellcheck disable=SC2016  # udev expands it
handed_over() {
    rules | sed 's/PROGRAM="[^"]*"//g' | grep -oE '\$sys\$devpath/[^ "'"'"']*' | sed 's,.*devpath/,,' | sort -u
}

# Of the unit: all values of a key, in one line.
values() {
    sed -n "s/^$1=//p" "$unit" | xargs
}

# same WHAT EXPECTED FOUND
same() {
    [ "$2" = "$3" ]
    result $? "$1"
    [ "$2" = "$3" ] || printf '%s\n' "expected $2" "found $3" | sed 's/^/# /'
}

echo "1..13"

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

if udevadm verify --help >/dev/null 2>&1; then
    problems=$(udevadm verify --resolve-names=never "$rules" 2>&1)
    result $? "udev understands the rules"
    printf '%s\n' "$problems" | sed 's/^/# /'
else
    skip "udev understands the rules" "there is no udevadm that can verify rules"
fi

same "each jump in the rules has somewhere to land" "$(jumps GOTO)" "$(jumps LABEL)"

same "udev hands over what carving takes, and no more" \
    "$(printf '%s\n' ../dax_region/{align,create,delete} {align,mapping,resource,size} {bind,unbind,new_id,remove_id} \
        'mapping[0-9]*/'{start,end,page_offset} {uuid,alt_name,holder_class} {mode,namespace} | sort)" "$(handed_over)"

! rules | grep -q kmem
result $? "nothing of the driver kmem is handed over"

user=$(values User)
others=$(rules | grep -oE 'OWNER="[^"]*"|chown -f [^ ]*' | grep -vxE "OWNER=\"$user\"|chown -f $user" | sort -u)
same "and it is handed to the user of the unit" "" "$others"

same "the unit has no capability" "/" "$(values CapabilityBoundingSet)/$(values AmbientCapabilities)"

same "it can open dax devices and no others" "closed char-dax rw" "$(values DevicePolicy) $(values DeviceAllow)"

same "it can write to the dax devices' part of /sys, and to regions that are directories" \
    "-/sys/devices/platform -/sys/devices/LNXSYSTM:00 -/sys/bus -/srv/daxbroker" "$(values ReadWritePaths | paste -sd ' ')"

same "soft-reserved memory starts as free space" "options dax_hmem region_idle=1" \
    "$(grep -v '^#' "$source/policy/daxbroker.modprobe")"
