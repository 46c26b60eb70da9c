/* SPDX-License-Identifier: MIT */

/* The log: whole lines that nobody can forge, and never a caller that waits for whoever reads them. */

#include "log.h"

#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Standard error, replaced while a test looks at it. */
typedef struct Capture {
        int saved, file;
} Capture;

static Capture capture_start(int file) {
        Capture capture = { .saved = dup(STDERR_FILENO), .file = file };

        g_assert_cmpint(capture.saved, >=, 0);
        g_assert_cmpint(dup2(file, STDERR_FILENO), >=, 0);
        return capture;
}

static Capture capture_to_memory(void) {
        int file = memfd_create("log", MFD_CLOEXEC);

        g_assert_cmpint(file, >=, 0);
        return capture_start(file);
}

static void capture_stop(Capture *capture) {
        g_assert_cmpint(dup2(capture->saved, STDERR_FILENO), >=, 0);
        close(capture->saved);
        close(capture->file);
}

static char *capture_end(Capture *capture) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", capture->file);
        char *text;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        capture_stop(capture);
        return text;
}

static void test_direct(void) {
        const uid_t root = 0;
        const LogFields fields = {
                .event = "grant", .uid = &root, .unit = "a.service", .region = "dram", .allocation = "0123",
                .decision = "owner", .length = UINT64_MAX,
        };
        Capture capture = capture_to_memory();
        g_autofree char *text = NULL;

        log_warning("%s %d", "number", 5);
        log_record(LOG_INFO, &fields, "granted");
        log_debug("not this one");
        text = capture_end(&capture);
        g_assert_cmpstr(text, ==,
                        "warning: number 5\n"
                        "info: granted DAXBROKER_EVENT=grant DAXBROKER_UID=0 DAXBROKER_UNIT=a.service DAXBROKER_REGION=dram "
                        "DAXBROKER_ALLOCATION=0123 DAXBROKER_DECISION=owner DAXBROKER_LENGTH=18446744073709551615\n");
}

static void test_forgery(void) {
        const LogFields fields = { .event = "grant\nerr: all is lost", .unit = "a\r\x1b[2Jb" };
        Capture capture = capture_to_memory();
        g_autofree char *text = NULL;

        log_warning("first\nerr: second");
        log_record(LOG_INFO, &fields, "third\n\n");
        text = capture_end(&capture);
        g_assert_cmpstr(text, ==,
                        "warning: first err: second\n"
                        "info: third   DAXBROKER_EVENT=grant err: all is lost DAXBROKER_UNIT=a  [2Jb\n");
}

static void test_long_message(void) {
        g_autofree char *message = g_strnfill(100000, 'm'), *unit = g_strnfill(100000, 'u'), *text = NULL;
        const LogFields fields = { .unit = unit };
        Capture capture = capture_to_memory();

        log_record(LOG_INFO, &fields, "%s", message);
        text = capture_end(&capture);
        g_assert_true(g_str_has_suffix(text, "uuuu\n"));
        g_assert_true(strchr(text, '\n') == text + strlen(text) - 1);
}

static char *log_all(const char *level) {
        Capture capture = capture_to_memory();

        if (level)
                g_assert_true(g_setenv("DAXBROKER_LOG", level, TRUE));
        else
                g_unsetenv("DAXBROKER_LOG");
        g_assert_cmpint(log_start(), ==, 0);
        log_error("E");
        log_warning("W");
        log_notice("N");
        log_info("I");
        log_debug("D");
        log_stop();
        g_unsetenv("DAXBROKER_LOG");
        return capture_end(&capture);
}

static void test_levels(void) {
        static const struct {
                const char *level, *text;
        } cases[] = {
                { "err", "err: E\n" },
                { "warning", "err: E\nwarning: W\n" },
                { "notice", "err: E\nwarning: W\nnotice: N\n" },
                { "info", "err: E\nwarning: W\nnotice: N\ninfo: I\n" },
                { "debug", "err: E\nwarning: W\nnotice: N\ninfo: I\ndebug: D\n" },
                { "nonsense", "err: E\nwarning: W\nnotice: N\ninfo: I\n" },
                { NULL, "err: E\nwarning: W\nnotice: N\ninfo: I\n" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *text = log_all(cases[i].level);

                g_assert_cmpstr(text, ==, cases[i].text);
        }
}

/* After the end records go out directly; a stop more does no harm. */
static void test_stopped(void) {
        Capture capture = capture_to_memory();
        g_autofree char *text = NULL;

        log_stop();
        g_assert_cmpint(log_start(), ==, 0);
        log_info("queued");
        log_stop();
        log_stop();
        log_info("late");
        text = capture_end(&capture);
        g_assert_cmpstr(text, ==, "info: queued\ninfo: late\n");
}

static bool has_line(const Capture *capture, const char *line) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", capture->file);
        g_autofree char *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return strstr(text, line);
}

/* What was held back for more to come is written without any, and before what comes later. */
static void test_gathered(void) {
        Capture capture = capture_to_memory();
        g_autofree char *text = NULL;

        g_assert_cmpint(log_start(), ==, 0);
        for (unsigned i = 0; i < 3; i++) {
                g_autofree char *information = g_strdup_printf("info: %u\n", i);
                g_autofree char *warning = g_strdup_printf("warning: %u\n", i);

                log_info("%u", i);
                for (unsigned n = 0; !has_line(&capture, information); n++) {
                        g_assert_cmpuint(n, <, 10000);
                        g_usleep(1000);
                }
                log_info("again");
                log_warning("%u", i);
                for (unsigned n = 0; !has_line(&capture, warning); n++) {
                        g_assert_cmpuint(n, <, 10000);
                        g_usleep(1000);
                }
        }
        log_stop();
        text = capture_end(&capture);
        g_assert_cmpstr(text, ==,
                        "info: 0\ninfo: again\nwarning: 0\ninfo: 1\ninfo: again\nwarning: 1\n"
                        "info: 2\ninfo: again\nwarning: 2\n");
}

enum { N_THREADS = 8, N_RECORDS = 400 };

static void *log_from_thread(void *argument) {
        for (unsigned i = 0; i < N_RECORDS; i++)
                log_info("thread %u record %u", GPOINTER_TO_UINT(argument), i);
        return NULL;
}

static void test_threads(void) {
        unsigned next[N_THREADS] = { 0 }, n = 0;
        Capture capture = capture_to_memory();
        GThread *threads[N_THREADS];
        g_autofree char *text = NULL;
        g_auto(GStrv) lines = NULL;

        g_assert_cmpint(log_start(), ==, 0);
        for (unsigned i = 0; i < N_THREADS; i++)
                threads[i] = g_thread_new("log", log_from_thread, GUINT_TO_POINTER(i));
        for (unsigned i = 0; i < N_THREADS; i++)
                g_thread_join(threads[i]);
        log_stop();
        text = capture_end(&capture);

        lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; **line; line++, n++) {
                unsigned thread, record;

                g_assert_cmpint(sscanf(*line, "info: thread %u record %u", &thread, &record), ==, 2);
                g_assert_cmpuint(thread, <, N_THREADS);
                g_assert_cmpuint(record, ==, next[thread]++); /* none lost, none swapped */
        }
        g_assert_cmpuint(n, ==, N_THREADS * N_RECORDS);
}

/* Standard error is a pipe that nobody reads. */
static int full_pipe(Capture *ret_capture) {
        static const char rubbish[4096];
        int ends[2];

        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        g_assert_cmpint(fcntl(ends[1], F_SETFL, O_NONBLOCK), ==, 0);
        while (write(ends[1], rubbish, sizeof(rubbish)) > 0)
                ;
        g_assert_cmpint(fcntl(ends[1], F_SETFL, 0), ==, 0);
        *ret_capture = capture_start(ends[1]);
        return ends[0];
}

typedef struct Reader {
        int fd;
        GString *text;
} Reader;

static void *read_all(void *userdata) {
        Reader *reader = userdata;
        char buffer[65536];
        ssize_t n;

        while ((n = read(reader->fd, buffer, sizeof(buffer))) > 0)
                for (ssize_t i = 0; i < n; i++)
                        if (buffer[i])
                                g_string_append_c(reader->text, buffer[i]);
        return NULL;
}

/* Nobody waits; what was too much is counted and said as soon as somebody reads. */
static void test_nobody_reads(void) {
        enum { N = 10000 };
        Capture capture;
        Reader reader = { .fd = full_pipe(&capture), .text = g_string_new(NULL) };
        gint64 start = g_get_monotonic_time();
        unsigned n_lines = 0, n_lost = 0;
        g_auto(GStrv) lines = NULL;
        GThread *thread;

        g_assert_cmpint(log_start(), ==, 0);
        for (unsigned i = 0; i < N; i++)
                log_info("record %u", i);
        g_assert_cmpint(g_get_monotonic_time() - start, <, 20 * G_USEC_PER_SEC);

        thread = g_thread_new("reader", read_all, &reader);
        log_stop();
        capture_stop(&capture);
        g_thread_join(thread);
        close(reader.fd);

        lines = g_strsplit(reader.text->str, "\n", -1);
        for (char **line = lines; **line; line++)
                if (g_str_has_prefix(*line, "warning: "))
                        n_lost += (unsigned) g_ascii_strtoull(strrchr(*line, ' '), NULL, 10);
                else
                        n_lines++;
        g_assert_cmpuint(n_lines, >, 1000);
        g_assert_cmpuint(n_lost, >, 1000);
        g_assert_cmpuint(n_lines + n_lost, ==, N);
        g_string_free(reader.text, TRUE);
}

/* Nobody ever reads: the end waits for a second and no longer. */
static void test_stop_stuck(void) {
        if (g_test_subprocess()) {
                gint64 start = g_get_monotonic_time();
                Capture capture;

                (void) full_pipe(&capture);
                g_assert_cmpint(log_start(), ==, 0);
                log_info("one");
                log_stop();
                _exit(g_get_monotonic_time() - start < 10 * G_USEC_PER_SEC ? EXIT_SUCCESS : EXIT_FAILURE);
        }

        g_test_trap_subprocess(NULL, 30 * G_USEC_PER_SEC, G_TEST_SUBPROCESS_DEFAULT);
        g_test_trap_assert_passed();
}

int main(int argc, char **argv) {
        g_unsetenv("JOURNAL_STREAM");
        g_unsetenv("DAXBROKER_LOG");
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/direct", test_direct);
        g_test_add_func("/log/forgery", test_forgery);
        g_test_add_func("/log/long-message", test_long_message);
        g_test_add_func("/log/levels", test_levels);
        g_test_add_func("/log/stopped", test_stopped);
        g_test_add_func("/log/gathered", test_gathered);
        g_test_add_func("/log/threads", test_threads);
        g_test_add_func("/log/nobody-reads", test_nobody_reads);
        g_test_add_func("/log/stop-stuck", test_stop_stuck);
        return g_test_run();
}
