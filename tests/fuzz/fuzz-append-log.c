/* SPDX-License-Identifier: MIT */

/* The example's log, on memory with anything in it: what is found lies within the memory, and where the log has an end, a
 * line can be appended and is found again. */

#include "fuzz.h"

#include <daxbroker.h>
#include <stdlib.h>
#include <string.h>

static int fuzz_persist(daxbroker_allocation *allocation, const void *address, size_t length);
int append_log_main(int argc, char **argv);

#define daxbroker_persist fuzz_persist
#define main append_log_main
#include "../../examples/append-log.c"
#undef main

static const uint8_t *memory;
static size_t memory_size;

static int fuzz_persist(daxbroker_allocation *allocation, const void *address, size_t length) {
        size_t at = (size_t) ((const uint8_t *) address - memory);

        check(!allocation && at <= memory_size && length <= memory_size - at);
        return 0;
}

/* Returns how many there are, or -1. */
static int count(Log *log, uint8_t **ret_last, size_t *ret_length) {
        uint8_t *text;
        int n = 0;
        ssize_t r;

        while ((r = log_next(log, &text)) > 0) {
                check(text > log->memory && text + r + WORD <= log->memory + log->size);
                check(log->end % WORD == 0 && log->end <= log->size - WORD);
                *ret_last = text;
                *ret_length = (size_t) r;
                n++;
        }
        check(r == 0 || r == -EBADMSG);
        return r == 0 ? n : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char line[] = "one more line";
        uint8_t *copy, *last = NULL;
        size_t length = 0;
        int n, r;

        if (size < WORD)
                return 0;

        memory_size = size / WORD * WORD;
        copy = malloc(memory_size);
        check(copy);
        memcpy(copy, data, memory_size);
        memory = copy;

        Log log = { .memory = copy, .size = memory_size };
        n = count(&log, &last, &length);
        Log again = { .memory = copy, .size = memory_size };
        check(log_recover(&again, NULL) == (n < 0 ? -EBADMSG : 0) && again.end == log.end);

        if (n >= 0) {
                r = log_append(&log, line, sizeof(line));
                check(r == 0 || r == -ENOSPC);
                again.end = 0;
                check(count(&again, &last, &length) == n + (r == 0));
                check(r < 0 || (length == sizeof(line) && memcmp(last, line, length) == 0));
        }

        free(copy);
        return 0;
}
