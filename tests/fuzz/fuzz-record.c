/* SPDX-License-Identifier: MIT */

/* Records. What can be read is exactly what would be written, if it is of the version that is written today. */

#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "name.h"
#include "record.h"

/* Of an earlier version: written as of today, it says the same. */
static void check_again(const char *text) {
        const char *problem = NULL;
        Record record;
        char *again;

        check(record_parse(text, &record, &problem) == 0);
        check(!record.grant);
        check(record_format(&record, &again) == 0);
        check(strcmp(text, again) == 0);
        free(again);
        record_done(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = text_of(data, size), *again;
        const char *problem = NULL;
        Record record;
        int r;

        r = record_parse(text, &record, &problem);
        if (r < 0) {
                check(r == -EBADMSG);
                check(problem && *problem);
                free(text);
                return 0;
        }

        check(record.region && name_is_valid(record.region));
        check(!record.name || name_is_valid(record.name));
        check(record.length > 0 && record.offset + record.length <= INT64_MAX);

        r = record_format(&record, &again);
        if (r >= 0) {
                if (strncmp(text, "daxbroker-record=3\n", 19) != 0)
                        check_again(again);
                else
                        check(strcmp(text, again) == 0);
                free(again);
        } else
                check(r == -E2BIG);

        record_done(&record);
        free(text);
        return 0;
}
