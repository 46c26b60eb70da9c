#!/bin/bash
# SPDX-License-Identifier: MIT
#
#     ./bench.sh                      measures everything; takes some minutes
#     ./bench.sh --quick              a look, in half a minute
#     ./bench.sh --only 'broker/*/2M' some rows; --list has their names
#     ./bench.sh --guest              what needs dax memory, in an emulated machine
#     ./bench.sh --compare OLD.json   also says what got worse; the exit status is 1 then
#     ./bench.sh --help               the other options
#
# Installs what is missing, builds as for a release, and measures in private worlds with buses, polkitd and a broker
# (tests/world/world). A table goes to the terminal, results.json and plots to the folder bench-results. What the rows mean
# is in docs/performance.md. Needs root, or sudo.

set -euo pipefail
umask 022

source_dir=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
build_dir=$source_dir/build-bench
results=$source_dir/bench-results

case " $* " in
*' --help '* | *' -h '* | *' --list '* | *' --with '*) exec "$source_dir/tests/bench/conduct" "$@" ;;
esac

{
    "$source_dir/tests/install-packages.sh" bench </dev/null
    case " $* " in *' --guest '*) "$source_dir/tests/install-packages.sh" test </dev/null ;; esac
    [ -e "$build_dir/build.ninja" ] || meson setup "$build_dir" "$source_dir" --buildtype release -Ddocs=false
    ninja -C "$build_dir" broker/daxbrokerd tests/bench/bench-{client,floor,clean}
} >&2

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo --)
fi
mkdir -p "$results"
status=0
"${as_root[@]}" "$source_dir/tests/bench/conduct" --build "$build_dir" --output "$results" "$@" || status=$?
[ ${#as_root[@]} -eq 0 ] || sudo chown -R "$(id -u):$(id -g)" "$results"
exit $status
