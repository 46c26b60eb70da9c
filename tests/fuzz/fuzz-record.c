/* SPDX-License-Identifier: MIT */

/* Records. What can be read is exactly what would be written. */

#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "name.h"
#include "record.h"

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
                check(strcmp(text, again) == 0);
                free(again);
        } else
                check(r == -E2BIG && strlen(text) > RECORD_SIZE_MAX);

        record_done(&record);
        free(text);
        return 0;
}
