/* SPDX-License-Identifier: MIT */

/* The example's log, on a model of persistent memory: what is persisted is durable, and of the other stores any may be
 * and any not, word by word. The power is cut at every call that persists, many times over, and what is left is opened
 * again: every line that was reported is there, in order, and nothing that was never written. The program is also
 * killed, which loses nothing and makes nothing durable. */

#include <daxbroker.h>
#include <errno.h>
#include <glib.h>
#include <stdint.h>
#include <string.h>

static int model_persist(daxbroker_allocation *allocation, const void *address, size_t length);
int append_log_main(int argc, char **argv);

#define daxbroker_persist model_persist
#define main append_log_main
#include "../../examples/append-log.c"
#undef main

#define SIZE 4096
#define WORDS (SIZE / sizeof(uint64_t))
/* At each call that persists. */
#define CUTS 20

static uint64_t memory[WORDS], medium[WORDS];

/* What was written: all of reported, and perhaps the one that is under way. */
static GPtrArray *reported;
static const char *pending;
static unsigned n_cuts, n_pending_found, persists_until_failure = UINT_MAX;

/* The log as it is in that image. */
static void assert_recovers(uint64_t *image) {
        Log log = { .memory = (uint8_t *) image, .size = SIZE };
        uint8_t *text;
        ssize_t n;

        for (unsigned i = 0; i < reported->len; i++) {
                const char *line = reported->pdata[i];

                n = log_next(&log, &text);
                g_assert_cmpint(n, ==, strlen(line));
                g_assert_cmpmem(text, (size_t) n, line, strlen(line));
        }

        n = log_next(&log, &text);
        if (n != 0) {
                g_assert_nonnull(pending);
                g_assert_cmpint(n, ==, strlen(pending));
                g_assert_cmpmem(text, (size_t) n, pending, strlen(pending));
                g_assert_cmpint(log_next(&log, &text), ==, 0);
                n_pending_found++;
        }
        n_cuts++;
}

static void cut_power(unsigned chance) {
        uint64_t image[WORDS];

        for (size_t i = 0; i < WORDS; i++)
                image[i] = (unsigned) g_random_int_range(0, 100) < chance ? memory[i] : medium[i];
        assert_recovers(image);
}

static int model_persist(daxbroker_allocation *allocation, const void *address, size_t length) {
        size_t at = (size_t) ((const uint8_t *) address - (const uint8_t *) memory);

        g_assert_null(allocation);
        g_assert_cmpuint(at, <=, SIZE);
        g_assert_cmpuint(length, <=, SIZE - at);
        for (unsigned i = 0; i < CUTS; i++)
                cut_power(i * 100 / (CUTS - 1));

        if (persists_until_failure-- == 0)
                return -EIO;

        /* A processor flushes whole lines, but nobody may rely on that. */
        memcpy((uint8_t *) medium + at, address, length);
        return 0;
}

/* Any length, and texts that look like entries: as somebody would write them who wants to be found. */
static char *make_line(void) {
        size_t n = (size_t) g_random_int_range(1, 200);
        char *line = g_malloc0(n + 64);

        for (size_t i = 0; i < n; i++)
                line[i] = (char) g_random_int_range(1, 256);

        if (n > 40 && g_random_boolean()) {
                const char *inner = "found you";
                uint64_t word = (uint64_t) crc32((const uint8_t *) inner, 9) << 32 | 9;
                size_t at = (size_t) g_random_int_range(0, 3) * 8;

                /* without a zero in it, as long as this is a string */
                for (unsigned i = 0; i < 4; i++)
                        memset(line + 8 * i, 'x', 8);
                memcpy(line + at, &word, 8);
                memcpy(line + at + 8, inner, 9);
                line[strlen(line)] = '\0';
        }
        return line;
}

/* Another run of the program, and what it finds, after the power was cut: so many percent of the stores have survived.
 * After a kill, all of them are there, but only what was persisted is durable, as before. */
static int start_again(Log *log, unsigned chance, bool killed) {
        for (size_t i = 0; i < WORDS && !killed; i++) {
                if ((unsigned) g_random_int_range(0, 100) >= chance)
                        memory[i] = medium[i];
                medium[i] = memory[i];
        }

        *log = (Log) { .memory = (uint8_t *) memory, .size = SIZE };
        return (int) log_recover(log, NULL);
}

static void start_empty(Log *log) {
        memset(memory, 0, SIZE);
        memset(medium, 0, SIZE);
        persists_until_failure = UINT_MAX;
        g_assert_cmpint(start_again(log, 0, false), ==, 0);
}

/* What was under way has made it, or it never will. */
static void settle_pending(void) {
        Log log = { .memory = (uint8_t *) memory, .size = SIZE };
        uint8_t *text;
        unsigned n = 0;

        while (log_next(&log, &text) > 0)
                n++;
        g_assert_cmpuint(n - reported->len, <=, 1);
        if (n > reported->len)
                g_ptr_array_add(reported, g_strdup(pending));
        pending = NULL;
}

/* One log, until it is full; now and then the program is killed or the power cut in the middle of a line, or while it
 * starts again. */
static void fill(void) {
        Log log;
        int r = 0;

        reported = g_ptr_array_new_with_free_func(g_free);
        start_empty(&log);

        while (r != -ENOSPC) {
                g_autofree char *line = make_line();

                pending = line;
                persists_until_failure = g_random_int_range(0, 3) > 0 ? UINT_MAX : (unsigned) g_random_int_range(0, 2);
                r = log_append(&log, line, strlen(line));
                if (r == 0) {
                        g_ptr_array_add(reported, g_strdup(line));
                        pending = NULL;
                }
                while (r == -EIO) {
                        persists_until_failure = g_random_int_range(0, 3) > 0 ? UINT_MAX : 0;
                        r = start_again(&log, (unsigned) g_random_int_range(0, 101), g_random_boolean());
                        if (r == 0)
                                settle_pending();
                }
                g_assert_true(r == 0 || r == -ENOSPC);
        }

        pending = NULL;
        g_assert_cmpuint(reported->len, >, 5);
        cut_power(50);
        g_ptr_array_unref(reported);
}

static void test_power(void) {
        for (unsigned round = 0; round < 20; round++)
                fill();

        g_test_message("%u power cuts, %u of them left a line that had not been reported", n_cuts, n_pending_found);
        g_assert_cmpuint(n_pending_found, >, 0);
        g_assert_cmpuint(n_pending_found, <, n_cuts);
}

/* The last byte can be used, and one more cannot. */
static void test_full(void) {
        const size_t most = SIZE - 2 * WORD;
        g_autofree char *text = g_strnfill(SIZE, 'x');
        Log log;

        reported = g_ptr_array_new_with_free_func(g_free);
        start_empty(&log);
        g_assert_cmpint(log_append(&log, text, most + 1), ==, -ENOSPC);
        g_assert_cmpint(log_append(&log, text, SIZE_MAX), ==, -ENOSPC);
        g_assert_cmpint(log_append(&log, text, SIZE_MAX - 6), ==, -ENOSPC);
        g_assert_cmpint(log_append(&log, text, 0), ==, -ENOSPC);

        text[most] = '\0';
        pending = text;
        g_assert_cmpint(log_append(&log, text, most), ==, 0);
        g_ptr_array_add(reported, g_strdup(text));
        pending = NULL;
        cut_power(50);
        g_assert_cmpint(log_append(&log, text, 1), ==, -ENOSPC);
        g_assert_cmpint(start_again(&log, 0, false), ==, 0);
        g_assert_cmpint(log_append(&log, text, 1), ==, -ENOSPC);
        g_ptr_array_unref(reported);
}

/* What no crash leaves behind is not taken for the end, which would be overwritten. */
static void test_damage(void) {
        uint8_t *text;
        Log log;

        reported = g_ptr_array_new_with_free_func(g_free);
        start_empty(&log);
        pending = "one";
        g_assert_cmpint(log_append(&log, "one", 3), ==, 0);
        g_ptr_array_add(reported, g_strdup("one"));
        pending = "two";
        g_assert_cmpint(log_append(&log, "two", 3), ==, 0);

        for (unsigned bit = 0; bit < 3 * 8; bit++) {
                uint8_t *byte = (uint8_t *) memory + 3 * WORD + bit / 8;

                *byte ^= (uint8_t) (1 << bit % 8);
                log = (Log) { .memory = (uint8_t *) memory, .size = SIZE };
                g_assert_cmpint(log_next(&log, &text), ==, 3);
                g_assert_cmpint(log_next(&log, &text), ==, -EBADMSG);
                g_assert_cmpuint(log.end, ==, 2 * WORD);
                *byte ^= (uint8_t) (1 << bit % 8);
        }
        pending = NULL;
        g_ptr_array_unref(reported);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/append-log/power", test_power);
        g_test_add_func("/append-log/full", test_full);
        g_test_add_func("/append-log/damage", test_damage);
        return g_test_run();
}
