/* SPDX-License-Identifier: MIT */

/* Sizes as text: whatever can be read means the same when it was written and is read again. */

#include "fuzz.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "size.h"

static void check_size(uint64_t size) {
        char text[SIZE_TEXT_MAX], number[SIZE_TEXT_MAX], *unit;
        uint64_t again;

        (void) size_format(size, text);
        check(strlen(text) < SIZE_TEXT_MAX - 1);
        if (size == SIZE_INFINITE) {
                check(strcmp(text, "no limit") == 0);
                return;
        }

        /* "bytes" is for people alone */
        unit = strstr(text, " byte");
        if (unit)
                *unit = '\0';
        check(size_parse(text, &again) == 0);
        check(again == size);

        (void) snprintf(number, sizeof(number), "%" PRIu64, size);
        check(size_parse(number, &again) == 0);
        check(again == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = text_of(data, size);
        uint64_t whole = 0, value = 77, part = 77;
        int r;

        for (size_t i = 0; i < size; i++)
                whole = whole * 257 + data[i];

        r = size_parse(text, &value);
        if (r >= 0)
                check_size(value);
        else
                check((r == -EINVAL || r == -ERANGE) && value == 77);

        if (size_parse_part(text, whole, &part) >= 0) {
                if (strchr(text, '%'))
                        check(part <= whole);
                else
                        check(part == value);
        } else
                check(part == 77);

        check_size(whole);
        if (size_round_up(whole, 4096, &value) >= 0)
                check(value >= whole && value - whole < 4096 && value % 4096 == 0);
        else
                check(whole > UINT64_MAX - 4095);

        free(text);
        return 0;
}
