#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What there is: regions, list and show; and monitor, which tells what becomes of it.

# shellcheck source=tests/bus/ctl.sh
# shellcheck disable=SC2016,SC2317  # variables are the command's; the tests are called by name
. "$(dirname "$(readlink -f "$0")")/ctl.sh"

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
    matches "$err" "^daxbrokerctl: 'daxbrokerctl list' shows the allocations that you may see, 'daxbrokerctl grants' "
}

# ---- Monitor ---------------------------------------------------------------------------------------------------------

# Makes something happen until a monitor that was just started tells of it.
is_heard_of() {
    wait_for 100 bash -c 'become alice daxbrokerctl run --size 4K -- true; test -s "$0"' "$1"
}

# has_event FILE EVENT OBJECT: in JSON lines
has_event() {
    grep -q "\"event\":\"$2\",\"object\":\"$3\"" "$1"
}

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

tap_main test_regions test_regions_json test_regions_warm test_regions_unusable test_list_empty test_list_and_show \
    test_monitor test_monitor_in_words test_monitor_without_reader
