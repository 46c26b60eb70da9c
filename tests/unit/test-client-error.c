/* SPDX-License-Identifier: MIT */

/* The client library's errors: what they mean, what becomes of the call, and the sentence of each thread. */

#include "call.h"
#include "daxbroker.h"
#include "error-names.h"
#include "error.h"
#include "util.h"

#include <glib.h>
#include <string.h>

static void test_refusals(void) {
        for (Refusal refusal = REFUSAL_NONE + 1; refusal < _REFUSAL_MAX; refusal++) {
                const char *name = refusal_to_bus_name(refusal);
                const sd_bus_error silent = SD_BUS_ERROR_MAKE_CONST(name, "");
                const sd_bus_error error = SD_BUS_ERROR_MAKE_CONST(name, "a reason");

                g_assert_cmpint(error_set_bus(&error, -EIO), ==, -refusal_to_errno(refusal));
                g_assert_cmpstr(daxbroker_last_error(), ==, "a reason");
                g_assert_cmpint(error_set_bus(&silent, -EIO), ==, -refusal_to_errno(refusal));
                g_assert_cmpstr(daxbroker_last_error(), ==, refusal_to_meaning(refusal));
                g_assert_true(error_is_refusal(name));
                g_assert_cmpint(error_fate(name, 0), ==,
                                refusal == REFUSAL_ShuttingDown ? FATE_UNDELIVERED : FATE_ANSWERED);
        }

        /* One that a newer service may have. */
        g_assert_true(error_is_refusal("org.daxbroker1.Error.Novelty"));
        g_assert_cmpint(error_number("org.daxbroker1.Error.Novelty", 0), ==, -EIO);
        g_assert_false(error_is_refusal("org.daxbroker1.Errors"));
        g_assert_false(error_is_refusal(NULL));
}

static void test_bus_errors(void) {
        static const struct {
                const char *name;
                int local, number;
                Fate fate;
        } cases[] = {
                { SD_BUS_ERROR_SERVICE_UNKNOWN, 0, -EHOSTDOWN, FATE_UNDELIVERED },
                { SD_BUS_ERROR_NAME_HAS_NO_OWNER, 0, -EHOSTDOWN, FATE_UNDELIVERED },
                { SD_BUS_ERROR_NO_SERVER, -ENOENT, -EHOSTDOWN, FATE_UNDELIVERED },
                { SD_BUS_ERROR_NO_REPLY, 0, -EHOSTDOWN, FATE_LOST },
                { SD_BUS_ERROR_DISCONNECTED, 0, -EHOSTDOWN, FATE_LOST },
                { SD_BUS_ERROR_TIMEOUT, 0, -ETIMEDOUT, FATE_ANSWERED },
                { SD_BUS_ERROR_ACCESS_DENIED, 0, -EACCES, FATE_ANSWERED },
                { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, 0, -ENOKEY, FATE_ANSWERED },
                { SD_BUS_ERROR_UNKNOWN_OBJECT, 0, -ENOENT, FATE_ANSWERED },
                { "org.freedesktop.DBus.Error.Spawn.ChildExited", 0, -EHOSTDOWN, FATE_ANSWERED },
                { "org.example.Whatever", 0, -EIO, FATE_ANSWERED },
                { NULL, -ECONNRESET, -EHOSTDOWN, FATE_LOST },
                { NULL, -ENOTCONN, -EHOSTDOWN, FATE_LOST },
                { NULL, -ENOMEM, -ENOMEM, FATE_ANSWERED },
                { NULL, -EBADMSG, -EIO, FATE_ANSWERED },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_assert_cmpint(error_number(cases[i].name, cases[i].local), ==, cases[i].number);
                g_assert_cmpint(error_fate(cases[i].name, cases[i].local), ==, cases[i].fate);
        }
}

static void test_repeating(void) {
        Call harmless = { 0 }, once = { .once = true };

        /* An answer is an answer. */
        g_assert_false(call_is_repeatable(&harmless, FATE_ANSWERED, 0, true));

        /* Nobody there: only worth waiting for if somebody was. */
        g_assert_true(call_is_repeatable(&harmless, FATE_UNDELIVERED, 0, true));
        g_assert_true(call_is_repeatable(&once, FATE_UNDELIVERED, 0, true));
        g_assert_false(call_is_repeatable(&harmless, FATE_UNDELIVERED, 0, false));
        g_assert_true(call_is_repeatable(&once, FATE_UNDELIVERED, -EAGAIN, false));

        /* Perhaps acted on. */
        g_assert_true(call_is_repeatable(&harmless, FATE_LOST, 0, false));
        g_assert_false(call_is_repeatable(&once, FATE_LOST, 0, true));
}

static void test_times(void) {
        uint64_t last = 0;

        for (unsigned attempt = 0; attempt < 100; attempt++) {
                uint64_t pause = call_pause(attempt);

                g_assert_cmpuint(pause, >=, last);
                g_assert_cmpuint(pause, <=, USEC_PER_SEC / 4);
                last = pause;
        }

        g_assert_cmpuint(call_timeout(&(Call) { 0 }), ==, 25 * USEC_PER_SEC);
        g_assert_cmpuint(call_timeout(&(Call) { .interactive = true }), >=, 300 * USEC_PER_SEC);
        g_assert_cmpuint(call_timeout(&(Call) { .slow = true }), >=, 300 * USEC_PER_SEC);
}

static void *fail_elsewhere(void *arguments) {
        (void) arguments;

        g_assert_cmpstr(daxbroker_last_error(), ==, "");
        g_assert_cmpint(error_set(-EINVAL, "theirs"), ==, -EINVAL);
        g_assert_cmpstr(daxbroker_last_error(), ==, "theirs");
        return NULL;
}

static void test_sentences(void) {
        g_autofree char *long_one = g_strnfill(5000, 'x');

        g_assert_cmpint(error_set(-ENOSPC, "%s", long_one), ==, -ENOSPC);
        g_assert_cmpuint(strlen(daxbroker_last_error()), ==, 1023);

        g_assert_cmpint(error_set(-EINVAL, "ours"), ==, -EINVAL);
        g_thread_join(g_thread_new("other", fail_elsewhere, NULL));
        g_assert_cmpstr(daxbroker_last_error(), ==, "ours");

        g_assert_cmpint(error_set_errno(-EMFILE, "what"), ==, -EMFILE);
        g_assert_cmpstr(daxbroker_last_error(), ==, "what: Too many open files");
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/client/error/refusals", test_refusals);
        g_test_add_func("/client/error/bus-errors", test_bus_errors);
        g_test_add_func("/client/error/repeating", test_repeating);
        g_test_add_func("/client/error/times", test_times);
        g_test_add_func("/client/error/sentences", test_sentences);
        return g_test_run();
}
