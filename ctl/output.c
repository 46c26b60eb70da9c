/* SPDX-License-Identifier: MIT */

/* What goes to standard output. JSON is made with jansson: objects are put together with json_pack(),
 * which returns NULL if any part of them is NULL, so that running out of memory need only be looked at
 * here, at the end. */

#include "output.h"
#include "moment.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *output_string(const char *text) {
        char *valid = text_to_utf8(text);
        json_t *value = valid ? json_string(valid) : NULL;

        free(valid);
        return value;
}

/* Integers of jansson are signed. The few numbers beyond, which stand for "no limit" rather than for a
 * size that anybody has, become reals: nearly right, where anything else would be a number of another
 * sign or not a number. */
json_t *output_number(uint64_t number) {
        return number <= INT64_MAX ? json_integer((json_int_t) number) : json_real((double) number);
}

json_t *output_moment(uint64_t usec) {
        char text[MOMENT_TEXT_MAX];

        moment_format_iso(usec, text);
        return strcmp(text, "-") == 0 ? json_null() : json_string(text);
}

char *output_dump(const json_t *value, JsonMode mode) {
        return json_dumps(value, JSON_ENCODE_ANY | (mode == JSON_PRETTY ? JSON_INDENT(8) : JSON_COMPACT));
}

static Status out_of_memory(void) {
        complain("out of memory");
        return STATUS_REFUSED;
}

Status output_json(const json_t *value, JsonMode mode) {
        char *text = value ? output_dump(value, mode) : NULL;

        if (!text)
                return out_of_memory();

        puts(text);
        free(text);
        return STATUS_OK;
}

Status output_table(const Table *table, const Options *options) {
        Terminal terminal = terminal_look();
        int r;

        r = table_print(table, &terminal, !(options->given & OPTION_NO_LEGEND), stdout);
        if (r < 0)
                return out_of_memory();
        return STATUS_OK;
}
