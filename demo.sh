#!/bin/bash
# SPDX-License-Identifier: MIT
#
#     ./demo.sh               shows what daxbroker does
#     ./demo.sh --shell       a shell as an ordinary user who may allocate (alice)
#     ./demo.sh --shell=root  the same as root; --shell=bob: as a user who may not
#
# All of it happens in a private world with a system bus, polkitd and users of its own (tests/world/world), of which
# nothing is left afterwards but the folder build-demo. Commands on standard input run in the shell, which ends with
# their status. Packages that are missing are installed first; for that, and to make the world, root or sudo is needed.

set -euo pipefail

source_dir=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
build_dir=$source_dir/build-demo
# Exists in the world only.
prefix=/run/daxbroker-world/usr

usage() {
    sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}"
}

# ---- Outside ---------------------------------------------------------------------------------------------------------

build() {
    umask 022
    if [ ! -e "$build_dir/build.ninja" ]; then
        meson setup "$build_dir" "$source_dir" --prefix "$prefix" --libdir lib --buildtype debugoptimized \
            -Dtests=false
    fi
    ninja -C "$build_dir"
}

# Standard input and output belong to the shell's commands and what they print.
enter() {
    local log status=0

    "$source_dir/tests/install-packages.sh" demo </dev/null >&2
    echo "Building in $build_dir" >&2
    log=$(mktemp)
    build </dev/null >"$log" 2>&1 || status=$?
    [ $status -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    [ $status -eq 0 ] || exit $status

    exec "$source_dir/tests/world/world" --policy "$source_dir/policy" --policy "$build_dir/policy" \
        --reach "$source_dir" -- "$source_dir/demo.sh" --inside "$@"
}

# ---- Inside the world, as root ---------------------------------------------------------------------------------------

start() {
    # shellcheck disable=SC2024  # the log is root's either way
    meson install -C "$build_dir" --no-rebuild --quiet </dev/null >"$DAXBROKER_WORLD/install.log" 2>&1 || {
        cat "$DAXBROKER_WORLD/install.log" >&2
        exit 1
    }
    export DAXBROKERD=$prefix/libexec/daxbrokerd
    export PATH=$prefix/bin:$build_dir/examples:$source_dir/examples:$DAXBROKER_WORLD_TOOLS:$PATH
    export LD_LIBRARY_PATH=$prefix/lib
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    export MANPATH=$prefix/share/man:
    cd "$DAXBROKER_WORLD/tmp"
    broker start
}

# One line for the reader, then the command, then what it says.
show() {
    local status=0 bold='' normal=''

    if [ -t 1 ]; then
        bold=$'\e[1m'
        normal=$'\e[0m'
    fi
    printf '\n%s# %s%s\n' "$bold" "$1" "$normal"
    shift
    printf '$ %s\n' "$*"
    "$@" 2>&1 || status=$?
    [ $status -eq 0 ] || printf '(exit status %d)\n' $status
}

show_all() {
    echo "A private system bus, the real polkitd and the broker are running; nothing of this machine takes part."
    show "The broker runs as a user of its own, without any capability:" \
        broker status
    show "Alice is in the group dax, which a rule lets allocate: 64 MiB aligned to 2 MiB, mapped, written, read, freed." \
        become alice alloc-64m
    show "Bob is not. The answer says why:" \
        become bob alloc-64m
    show "That can be asked beforehand, too:" \
        become bob daxbrokerctl check-policy --size 64M
    show "Where memory comes from:" \
        become alice daxbrokerctl regions
    show "Memory with a name, handed to a command, which here lists what there is:" \
        become alice daxbrokerctl run --size 128M --align 2M --name scratch -- daxbrokerctl list
    show "It stays until it is freed. A kill -9 of the broker loses nothing:" \
        broker kill
    show "It is still there:" \
        become alice daxbrokerctl show scratch
    show "All of it is plain D-Bus:" \
        become alice busctl --no-pager tree org.daxbroker1
    show "The object everything starts from:" \
        become alice busctl --no-pager introspect org.daxbroker1 /org/daxbroker1
    show "Gone:" \
        become alice daxbrokerctl free scratch
    show "What the administrator reads in the journal, each line with fields to search for:" \
        broker log
    printf '\nThat was all, and it is gone. Try it yourself with ./demo.sh --shell; README.md has the rest.\n'
}

shell() {
    local user=$1 run_as=()

    [ "$user" = root ] || run_as=(become "$user" env --chdir="$DAXBROKER_WORLD/home/$user")
    if [ ! -t 0 ]; then
        "${run_as[@]}" bash -s
        return
    fi

    cat <<END
This is a shell as $user in a private world. Try:

    alloc-64m                          an example; the others are hello, arena, share, event-loop, append-log, plain-dbus.py
    daxbrokerctl regions               and list, alloc, run, show, free, grant, monitor
    gcc x.c \$(pkg-config --cflags --libs daxbroker)
    busctl introspect org.daxbroker1 /org/daxbroker1
END
    if [ "$user" = root ]; then
        cat <<END
    broker stop                        and start, restart, reload, kill (it comes back), status, log
    become bob alloc-64m               something as another user: alice, bob, carol, daxbroker

Configuration goes to $DAXBROKER_WORLD/etc/daxbroker.conf, rules to /etc/polkit-1/rules.d; both are this world's.
END
    fi
    echo
    HISTFILE='' PS1="$user in the demo\$ " "${run_as[@]}" bash --noprofile --norc -i
}

inside() {
    local status=0

    start
    case $1 in
    show) show_all ;;
    *) shell "$1" || status=$? ;;
    esac
    return $status
}

case ${1:-} in
'') enter show ;;
--shell) enter alice ;;
--shell=root | --shell=alice | --shell=bob | --shell=carol) enter "${1#--shell=}" ;;
--inside) inside "$2" ;;
--help | -h) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
