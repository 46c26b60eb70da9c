#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Memory for a container that has nothing of the machine's but its programs and one socket: no bus, no network, no
# processes, no folders.
#
#     in-a-container.sh PROGRAM [ARGUMENT]…
#
# What the program needs that is not below /usr is listed in CONTAINER_FOLDERS. With podman the same is
# --volume /run/daxbroker/bus:/run/daxbroker/bus.

set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: in-a-container.sh PROGRAM [ARGUMENT]..." >&2
    exit 2
fi

options=(--ro-bind /usr /usr --proc /proc --dev /dev --tmpfs /run --bind /run/daxbroker/bus /run/daxbroker/bus)
for folder in /bin /lib /lib64 /sbin; do
    if [ -L "$folder" ]; then
        options+=(--symlink "$(readlink "$folder")" "$folder")
    elif [ -d "$folder" ]; then
        options+=(--ro-bind "$folder" "$folder")
    fi
done

# where the program is, and what it is linked with
for folder in ${CONTAINER_FOLDERS:-}; do
    options+=(--ro-bind "$folder" "$folder")
done

exec bwrap --unshare-all --die-with-parent "${options[@]}" -- "$@"
