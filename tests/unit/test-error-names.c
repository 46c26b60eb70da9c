/* SPDX-License-Identifier: MIT */

/* The error table, both ways, and the sentences that go with refusals. */

#include "error-names.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "failure.h"

static void test_complete(void) {
        for (Refusal refusal = REFUSAL_NONE + 1; refusal < _REFUSAL_MAX; refusal++) {
                const char *name = refusal_to_bus_name(refusal);

                g_assert_nonnull(name);
                g_assert_true(g_str_has_prefix(name, DAXBROKER_ERROR_PREFIX));
                g_assert_true(sd_bus_interface_name_is_valid(name)); /* error names have the same rules */
                g_assert_cmpint(refusal_to_errno(refusal), >, 0);
                g_assert_cmpint(refusal_to_errno(refusal), <, 134); /* EHWPOISON + 1: one the kernel knows */
                g_assert_cmpstr(refusal_to_meaning(refusal), !=, NULL);
                g_assert_cmpstr(refusal_to_meaning(refusal), !=, "");
        }
}

static void test_both_ways(void) {
        for (Refusal refusal = REFUSAL_NONE + 1; refusal < _REFUSAL_MAX; refusal++) {
                const char *name = refusal_to_bus_name(refusal);

                g_assert_cmpint(refusal_from_bus_name(name), ==, refusal);
                for (Refusal other = refusal + 1; other < _REFUSAL_MAX; other++) {
                        g_assert_cmpstr(refusal_to_bus_name(other), !=, name);
                        g_assert_cmpstr(refusal_to_meaning(other), !=, refusal_to_meaning(refusal));
                }
        }
}

static void test_strangers(void) {
        static const Refusal none[] = { REFUSAL_NONE, _REFUSAL_MAX, _REFUSAL_MAX + 1, (Refusal) -1, (Refusal) INT_MAX };
        static const char *const names[] = {
                NULL, "", "NoSpace", "org.daxbroker1.Error", "org.daxbroker1.Error.", "org.daxbroker1.Error.Novelty",
                "org.daxbroker1.Error.NoSpac", "org.daxbroker1.Error.NoSpaces", "org.daxbroker1.error.NoSpace",
                "org.freedesktop.DBus.Error.NoMemory",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(none); i++) {
                g_assert_null(refusal_to_bus_name(none[i]));
                g_assert_null(refusal_to_meaning(none[i]));
                g_assert_cmpint(refusal_to_errno(none[i]), ==, 0);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                g_assert_cmpint(refusal_from_bus_name(names[i]), ==, REFUSAL_NONE);
}

/* C callers tell these apart by errno; programs have been written against it. */
static void test_errnos(void) {
        g_assert_cmpint(refusal_to_errno(refusal_from_bus_name("org.daxbroker1.Error.NoSpace")), ==, ENOSPC);
        g_assert_cmpint(refusal_to_errno(refusal_from_bus_name("org.daxbroker1.Error.QuotaExceeded")), ==, EDQUOT);
        g_assert_cmpint(refusal_to_errno(refusal_from_bus_name("org.daxbroker1.Error.NotAuthorized")), ==, EACCES);
        g_assert_cmpint(refusal_to_errno(refusal_from_bus_name("org.daxbroker1.Error.NameExists")), ==, EEXIST);
        g_assert_cmpint(refusal_to_errno(refusal_from_bus_name("org.daxbroker1.Error.NoSuchAllocation")), ==, ENOENT);
        g_assert_cmpint(refusal_to_errno(refusal_from_bus_name("org.daxbroker1.Error.BadSize")), ==, EINVAL);
}

static void test_failure(void) {
        Failure failure = { 0 };

        g_assert_cmpint(failure_set(&failure, REFUSAL_NoSpace, "%d of %s", 5, "those"), ==, -ENOSPC);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        g_assert_cmpstr(failure.text, ==, "5 of those");

        /* The last one counts. */
        g_assert_cmpint(failure_set(&failure, REFUSAL_BadName, "x"), ==, -EINVAL);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_BadName);
        g_assert_cmpstr(failure.text, ==, "x");
}

static void test_failure_errno(void) {
        static const int ours[] = { EMFILE, ENFILE, ENOMEM, ENOSPC, EDQUOT, EAGAIN };
        Failure failure = { 0 };

        for (size_t i = 0; i < G_N_ELEMENTS(ours); i++) {
                g_assert_cmpint(failure_set_errno(&failure, -ours[i], "cannot do it"), ==, -ours[i]);
                g_assert_cmpint(failure.refusal, ==, REFUSAL_NoResources);
        }

        g_assert_cmpint(failure_set_errno(&failure, -EIO, "cannot read %s", "this"), ==, -EIO);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_Failed);
        g_assert_cmpstr(failure.text, ==, "cannot read this: Input/output error");
}

static void test_failure_length(void) {
        g_autofree char *text = g_strnfill(3 * FAILURE_TEXT_MAX, 'x');
        Failure failure = { 0 };

        for (size_t size = FAILURE_TEXT_MAX - 30; size < FAILURE_TEXT_MAX + 2; size++) {
                failure_set(&failure, REFUSAL_Failed, "%.*s", (int) size, text);
                g_assert_cmpuint(strlen(failure.text), ==, MIN(size, FAILURE_TEXT_MAX - 1));
                failure_set_errno(&failure, -EIO, "%.*s", (int) size, text);
                g_assert_cmpuint(strlen(failure.text), ==,
                                 MIN(size + strlen(": Input/output error"), FAILURE_TEXT_MAX - 1));
        }
}

/* The bus takes nothing but UTF-8, and a refusal may quote what a client said, cut anywhere. */
static void test_failure_quotes(void) {
        static const char *const said[] = {
                        "\xc3\xa4\xc3\xb6", "\xe2\x82\xac\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff\xfe", "\x80",
                        "a\nb\x1b[31m\x7f"};
        Failure failure = { 0 };

        for (size_t i = 0; i < G_N_ELEMENTS(said); i++)
                for (int cut = 1; cut <= (int) strlen(said[i]); cut++) {
                        failure_set(&failure, REFUSAL_BadOption, "option %.*s is unknown", cut, said[i]);
                        g_assert_true(g_utf8_validate(failure.text, -1, NULL));
                        g_assert_true(g_str_has_prefix(failure.text, "option "));
                        g_assert_true(g_str_has_suffix(failure.text, " is unknown"));
                        for (const char *c = failure.text; *c; c++)
                                g_assert_false(g_ascii_iscntrl(*c));

                        failure_set_errno(&failure, -EIO, "%.*s", cut, said[i]);
                        g_assert_true(g_utf8_validate(failure.text, -1, NULL));
                }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/error-names/complete", test_complete);
        g_test_add_func("/error-names/both-ways", test_both_ways);
        g_test_add_func("/error-names/strangers", test_strangers);
        g_test_add_func("/error-names/errnos", test_errnos);
        g_test_add_func("/failure/text", test_failure);
        g_test_add_func("/failure/errno", test_failure_errno);
        g_test_add_func("/failure/length", test_failure_length);
        g_test_add_func("/failure/quotes", test_failure_quotes);
        return g_test_run();
}
