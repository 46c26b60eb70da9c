/* SPDX-License-Identifier: MIT */

/* A log that survives: a line that was reported as written is there again after a kill, a crash or a power cut.
 *
 *         append-log NAME <lines     appends each line, and prints it once it is durable; if there is no log yet, one
 *                                    is made in region $DAXBROKER_REGION, which has to be a persistent one
 *         append-log NAME show       prints all that is there
 *
 * The memory is a row of entries: a word with length and checksum of a text, then the text. They begin at multiples of
 * eight bytes, and a word of zero ends the log. New memory is all zeros: an empty log, without any initialization.
 *
 * Of the stores between two calls of daxbroker_persist() any may survive and any not. So first comes the text, with a
 * zero behind it, while the log still ends before it. Once that is durable the word is stored, as a whole or not at all. */

#include <daxbroker.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD sizeof(uint64_t)

typedef struct Log {
        daxbroker_allocation *allocation;
        uint8_t *memory;
        size_t size, end;
} Log;

static uint32_t crc32(const uint8_t *bytes, size_t n) {
        uint32_t crc = UINT32_MAX;

        for (size_t bit = 0; bit < 8 * n; bit++) {
                crc ^= bit % 8 == 0 ? bytes[bit / 8] : 0;
                crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
        }
        return ~crc;
}

/* Bytes of an entry with so much text, which is not more than there is memory. */
static size_t entry_size(size_t length) {
        return WORD + (length + WORD - 1) / WORD * WORD;
}

/* Moves the end past the next entry. Returns the length of its text, 0 if there is none, and -EBADMSG if this is none:
 * no crash leaves that behind, so something else has written there or the medium has lost it. */
static ssize_t log_next(Log *log, uint8_t **ret_text) {
        size_t room = log->size - log->end, length; /* at least one word, as each entry leaves one for the zero */
        uint8_t *text = log->memory + log->end + WORD;
        uint64_t word;

        memcpy(&word, log->memory + log->end, WORD);
        length = (uint32_t) word;
        if (length == 0 || length > room || entry_size(length) > room - WORD || crc32(text, length) != word >> 32)
                return word == 0 ? 0 : -EBADMSG;

        log->end += entry_size(length);
        *ret_text = text;
        return (ssize_t) length;
}

/* Finds the end, and makes durable what is there: whoever has stored it may have been killed before he came to that. */
static ssize_t log_recover(Log *log, FILE *copy) {
        uint8_t *text;
        ssize_t n;

        while ((n = log_next(log, &text)) > 0)
                if (copy)
                        fwrite(text, 1, (size_t) n, copy);

        return n < 0 ? n : daxbroker_persist(log->allocation, log->memory, log->end + WORD);
}

static int log_append(Log *log, const char *text, size_t length) {
        size_t room = log->size - log->end;
        uint8_t *entry = log->memory + log->end;
        uint64_t word;
        int r;

        if (length == 0 || length > UINT32_MAX || length > room || entry_size(length) > room - WORD)
                return -ENOSPC;

        memcpy(entry + WORD, text, length);
        memset(entry + entry_size(length), 0, WORD); /* something longer may have been begun here before */
        r = daxbroker_persist(log->allocation, entry + WORD, entry_size(length));
        if (r < 0)
                return r;

        word = (uint64_t) crc32(entry + WORD, length) << 32 | length;
        __atomic_store_n((uint64_t *) (void *) entry, word, __ATOMIC_RELEASE);
        r = daxbroker_persist(log->allocation, entry, WORD);
        if (r >= 0)
                log->end += entry_size(length);
        return r;
}

/* Opens it, or makes it if it is not there. */
static int log_open(Log *log, const char *name, bool show) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        daxbroker_request *request;
        void *address;
        int r;

        r = daxbroker_open(NULL, name, show ? DAXBROKER_READ_ONLY : 0, &log->allocation);
        if (r == -ENOENT && !show && daxbroker_request_new(1 << 20, 4096, &request) >= 0) {
                daxbroker_request_set_name(request, name);
                daxbroker_request_set_persistent(request, true);
                daxbroker_request_set_region(request, getenv("DAXBROKER_REGION"));
                r = daxbroker_allocate(NULL, request, &log->allocation);
                daxbroker_request_free(request);
        }
        if (r >= 0)
                r = daxbroker_allocation_map(log->allocation, &address);
        if (r < 0)
                return r;

        log->memory = address;
        log->size = daxbroker_allocation_get_length(log->allocation) / WORD * WORD;
        /* Who appends is alone. A process that is killed leaves no lock behind. */
        return show ? 0 : fcntl(daxbroker_allocation_get_fd(log->allocation), F_SETLK, &lock) < 0 ? -errno : 0;
}

int main(int argc, char **argv) {
        bool show = argc == 3 && strcmp(argv[2], "show") == 0;
        char *line = NULL;
        Log log = { 0 };
        size_t room = 0;
        ssize_t n, r;

        if (argc != 2 && !show)
                return fprintf(stderr, "usage: append-log NAME [show]\n"), EXIT_FAILURE;

        r = log_open(&log, argv[1], show);
        if (r < 0)
                return fprintf(stderr, "append-log: %s: %s\n", strerror((int) -r), daxbroker_last_error()), EXIT_FAILURE;

        r = log_recover(&log, show ? stdout : NULL);
        while (r == 0 && !show && (n = getline(&line, &room, stdin)) > 0) {
                r = log_append(&log, line, (size_t) n);
                if (r == 0)
                        (void) (fwrite(line, 1, (size_t) n, stdout) && fflush(stdout));
        }
        if (r < 0)
                fprintf(stderr, "append-log: at byte %zu: %s\n", log.end, strerror((int) -r));

        free(line);
        daxbroker_allocation_close(log.allocation);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
