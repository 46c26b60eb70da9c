#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Installs what is missing: install-packages.sh demo|test|bench
#
# Says what it installs, and uses sudo where it is not root. Does nothing, and needs nobody, when all is there. Where there
# is no apt it says what to look for and leaves the rest to the build, which names what it misses.

set -euo pipefail

# To build and to run. meson asks dpkg-dev where libraries belong, and guesses wrong without it.
build=(
    gcc libc6-dev dpkg-dev meson ninja-build pkgconf scdoc
    libsystemd-dev libseccomp-dev libpmem2-dev libnuma-dev libinih-dev libjansson-dev uthash-dev
    libbpf-dev
)
run=(
    dbus polkitd systemd util-linux python3-dbus
)
# What only tests need: another compiler and another bus, the fixture's library, programs of strangers to try memory
# with, and a machine that is made from packages.
more=(
    g++ clang valgrind libglib2.0-dev
    dbus-broker libxml2-utils strace
    fio pmdk-tools libpmemobj-dev libpmempool-dev
    qemu-system-x86 mmdebstrap cpio kmod xz-utils zstd
)

# The buses that are compared, the fixture's library again, and what draws.
bench=(
    libglib2.0-dev dbus-broker gnuplot-nox
)

case ${1:-} in
demo) wanted=("${build[@]}" "${run[@]}") ;;
test) wanted=("${build[@]}" "${run[@]}" "${more[@]}") ;;
bench) wanted=("${build[@]}" "${run[@]}" "${bench[@]}") ;;
*)
    echo "usage: install-packages.sh demo|test|bench" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian. Needed, by the names they have there: ${wanted[*]}" >&2
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "These packages are missing, and installing them needs root: ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi

echo "Installing: ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q)
# Not from our input: it may be commands for a shell.
"${apt[@]}" update </dev/null >/dev/null || echo "apt-get update failed; trying with what it knew before" >&2
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null
