#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What programs see of the library: its symbols, its header in every language it is made for, and what is installed.

# shellcheck source=tests/bus/tap.sh
# shellcheck disable=SC2317  # the tests are called by name
. "$(dirname "$(readlink -f "$0")")/tap.sh"

sources=$DAXBROKER_SOURCE/client-lib
header=$sources/daxbroker.h
# A library with sanitizers needs programs with them.
sanitize=()
[ "$DAXBROKER_SANITIZE" = none ] || sanitize=("-fsanitize=$DAXBROKER_SANITIZE")
read -ra cc <<<"$DAXBROKER_CC"

exported() {
    nm -D --defined-only "$DAXBROKER_LIBRARY" | awk '$2 != "A" { print $3 }' | sort
}

test_exported_as_listed() {
    exported | sed 's/@.*//' >"$dir/exported"
    sed -n '/^global:/,/^local:/s/^ *\(daxbroker_[a-z0-9_]*\);$/\1/p' "$sources/libdaxbroker.sym" | sort >"$dir/listed"
    [ "$(wc -l <"$dir/listed")" -gt 50 ]
    diff "$dir/listed" "$dir/exported"
}

test_exported_as_declared() {
    # comments away, then whatever is followed by a parenthesis and is no type
    sed 's,/\*.*\*/,,; /\/\*/,/\*\//d' "$header" | grep -o 'daxbroker_[a-z0-9_]*(' | tr -d '(' | sort -u >"$dir/declared"
    exported | sed 's/@.*//' >"$dir/exported"
    diff "$dir/declared" "$dir/exported"
}

test_versioned() {
    exported >"$dir/exported"
    equals "$(grep -cv '@@LIBDAXBROKER_0$' "$dir/exported")" 0
    matches "$(readelf -d "$DAXBROKER_LIBRARY")" 'SONAME.*\[libdaxbroker\.so\.0\]'
}

# It never prints and never ends the program. (fprintf() it uses, on streams of memory.)
test_silent() {
    run 0 nm -D --undefined-only "$DAXBROKER_LIBRARY"
    matches "$out" ' U sd_bus_open_system'
    differs "$out" ' U (stdout|stderr|(__)?v?printf(_chk)?|puts|putchar|perror|psignal|v?syslog|v?errx?|v?warnx?)(@|$)'
    differs "$out" ' U (_?exit|quick_exit|abort|__assert_fail)(@|$)'
}

test_header_c() {
    local compiler standard n=0

    # twice, before everything else, with nothing that it does not bring along
    printf '#include <daxbroker.h>\n#include <daxbroker.h>\nuint64_t flags = DAXBROKER_READ_ONLY;\n' >"$dir/x.c"
    for compiler in gcc clang; do
        command -v "$compiler" >/dev/null || continue
        for standard in c99 c11 c17 gnu17; do
            run 0 "$compiler" -std="$standard" -pedantic -Wall -Wextra -Wstrict-prototypes -Werror \
                -I"$sources" -c "$dir/x.c" -o "$dir/x.o"
            equals "$err" ""
            n=$((n + 1))
        done
    done
    [ "$n" -gt 0 ] || skip "neither gcc nor clang is installed"
}

test_header_cxx() {
    local compiler standard n=0

    printf '#include <daxbroker.h>\n#include <daxbroker.h>\nvoid *f() { return daxbroker_alloc(1, 1); }\n' >"$dir/x.cc"
    for compiler in g++ clang++; do
        command -v "$compiler" >/dev/null || continue
        for standard in c++11 c++17 c++20; do
            run 0 "$compiler" -std="$standard" -pedantic -Wall -Wextra -Werror -I"$sources" -c "$dir/x.cc" -o "$dir/x.o"
            equals "$err" ""
            # with C's linkage
            matches "$(nm "$dir/x.o")" ' U daxbroker_alloc$'
            n=$((n + 1))
        done
    done
    [ "$n" -gt 0 ] || skip "neither g++ nor clang++ is installed (Debian: g++)"
}

# ---- As installed ----------------------------------------------------------------------------------------------------

install_tree() {
    needs meson meson
    needs pkg-config pkgconf
    [ -d "$DAXBROKER_WORLD/tmp/tree" ] ||
        run 0 meson install -C "$DAXBROKER_BUILD" --no-rebuild --quiet --destdir "$DAXBROKER_WORLD/tmp/tree"
    tree=$DAXBROKER_WORLD/tmp/tree
    library=$(find "$tree" -name libdaxbroker.so)
    export PKG_CONFIG_PATH=${library%/*}/pkgconfig PKG_CONFIG_SYSROOT_DIR=$tree
}

test_installed() {
    install_tree
    equals "$(readlink "$library")" libdaxbroker.so.0
    [ -e "$library.0" ]
    [ "$(find "$tree" -name daxbroker.h | wc -l)" -eq 1 ]
    cmp "$(find "$tree" -name daxbroker.h)" "$header"
    [ -x "$(find "$tree" -path '*/bin/daxbrokerctl')" ]
    # nothing of the tests, and nothing internal
    equals "$(find "$tree" -name '*.a' -o -name 'test-*' -o -name '*internal*')" ""
}

test_pkg_config() {
    install_tree
    run 0 pkg-config --modversion daxbroker
    matches "$(daxbrokerctl --version)" "^daxbrokerctl ${out//./\\.}$"
    run 0 pkg-config --cflags --libs daxbroker
    matches "$out" '(^| )-ldaxbroker( |$)'
    # what it is made of is its own business
    differs "$out" '-l(systemd|pmem2)'
}

# hello.c, as its first lines tell to compile it, by the compiler that the library is from.
test_program() {
    local flags

    install_tree
    read -ra flags <<<"$(pkg-config --cflags --libs daxbroker)"
    run 0 "${cc[@]}" "${sanitize[@]}" "$DAXBROKER_EXAMPLES_SOURCE/hello.c" -o "$dir/hello" "${flags[@]}"
    equals "$err" ""
    run 0 become alice env LD_LIBRARY_PATH="${library%/*}" "$dir/hello"
    matches "$out" '^hello from 0x'
    matches "$(LD_LIBRARY_PATH=${library%/*} ldd "$dir/hello")" "libdaxbroker\.so\.0 => $tree/"
}

test_program_cxx() {
    local cxx flags

    case ${cc[-1]##*/} in
    clang*) cxx=clang++ ;;
    *) cxx=g++ ;;
    esac
    needs "$cxx" g++
    install_tree
    read -ra flags <<<"$(pkg-config --cflags --libs daxbroker)"
    cat >"$dir/program.cc" <<'END'
#include <daxbroker.h>
#include <memory>

struct Free {
        void operator()(void *memory) { daxbroker_free(memory); }
};

int main() {
        std::unique_ptr<char, Free> memory(static_cast<char *>(daxbroker_alloc(4096, 4096)));
        return memory && *memory == 0 ? 0 : 1;
}
END
    run 0 "$cxx" "${sanitize[@]}" "$dir/program.cc" -o "$dir/program" "${flags[@]}"
    run 0 become alice env LD_LIBRARY_PATH="${library%/*}" "$dir/program"
    run 1 become bob env LD_LIBRARY_PATH="${library%/*}" "$dir/program"
}

tap_main test_exported_as_listed test_exported_as_declared test_versioned test_silent test_header_c test_header_cxx \
    test_installed test_pkg_config test_program test_program_cxx
