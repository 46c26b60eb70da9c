/* SPDX-License-Identifier: MIT */

/* Notes about idle devices, and lines of sysfs. What can be read of a note is exactly what would be written. */

#include "fuzz.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "dax-attribute.h"
#include "seed-note.h"

static void check_note(const char *text) {
        SeedNote note;
        char *again;
        int r;

        r = seed_note_parse(text, &note);
        if (r < 0) {
                check(r == -EBADMSG);
                return;
        }

        check(note.creating || note.before.n == 0);
        r = seed_note_format(&note, &again);
        if (r >= 0) {
                check(strcmp(text, again) == 0);
                free(again);
        } else
                check(r == -E2BIG && strlen(text) > SEED_NOTE_SIZE_MAX);
        seed_note_done(&note);
}

/* A line has one meaning at most, and a meaning one line of each kind. */
static void check_line(const char *text) {
        char again[64];
        uint64_t value;
        unsigned region, number;
        dev_t node;

        if (dax_number_parse(text, &value) >= 0) {
                (void) snprintf(again, sizeof(again), text[0] == '0' && text[1] == 'x' ? "0x%" PRIx64 : "%" PRIu64, value);
                check(strcmp(text, again) == 0);
        }
        if (dax_name_parse(text, &region, &number) >= 0) {
                check(region <= INT_MAX && number <= INT_MAX);
                check((size_t) snprintf(again, sizeof(again), "dax%u.%u", region, number) < DAX_NAME_MAX);
                check(strcmp(text, again) == 0);
        }
        if (dax_node_parse(text, &node) >= 0) {
                (void) snprintf(again, sizeof(again), "%u:%u", major(node), minor(node));
                check(strcmp(text, again) == 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = text_of(data, size);

        check_note(text);
        check_line(text);
        free(text);
        return 0;
}
