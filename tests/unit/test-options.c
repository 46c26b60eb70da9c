/* SPDX-License-Identifier: MIT */

/* The arguments of Allocate and Open, as messages say them. */

#include "options-bus.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static sd_bus *bus; /* nobody is at its other end: messages need one to be made */

static sd_bus_message *message_new(void) {
        sd_bus_message *m;

        g_assert_cmpint(sd_bus_message_new_method_call(bus, &m, "org.example", "/", "org.example", "Call"), >=, 0);
        return m;
}

static sd_bus_message *seal(sd_bus_message *m) {
        g_assert_cmpint(sd_bus_message_seal(m, 1, 0), >=, 0);
        return m;
}

/* What Allocate(4711, 8, {…}) is, with one or two options. */
#define allocate(...)                                                                                          \
        ({                                                                                                     \
                sd_bus_message *_m = message_new();                                                            \
                                                                                                               \
                g_assert_cmpint(sd_bus_message_append(_m, "tta{sv}", UINT64_C(4711), UINT64_C(8), __VA_ARGS__), >=, 0); \
                seal(_m);                                                                                      \
        })

static Request request_of(sd_bus_message *m) {
        Failure failure = { 0 };
        Request request;

        memset(&request, 0xa5, sizeof(request));
        g_assert_cmpint(request_read(m, &request, &failure), ==, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NONE);
        g_assert_cmpuint(request.size, ==, 4711);
        g_assert_cmpuint(request.alignment, ==, 8);
        return request;
}

static void assert_says(const Failure *failure, const char *words) {
        g_assert_cmpint(failure->refusal, ==, REFUSAL_BadOption);
        g_assert_true(g_utf8_validate(failure->text, -1, NULL));
        if (!strstr(failure->text, words))
                g_error("\"%s\" does not say \"%s\"", failure->text, words);
}

/* Refused, in words, and nothing is written to the result. Takes the message. */
static void assert_refused(sd_bus_message *m, const char *words) {
        Failure failure = { 0 };
        Request request;

        memset(&request, 0xa5, sizeof(request));
        g_assert_cmpint(request_read(m, &request, &failure), ==, -EINVAL);
        assert_says(&failure, words);
        for (size_t i = 0; i < sizeof(request); i++)
                g_assert_cmpuint(((unsigned char *) &request)[i], ==, 0xa5);
        sd_bus_message_unref(m);
}

static void test_none(void) {
        sd_bus_message *m = allocate(0);
        Request request = request_of(m);

        g_assert_null(request.region);
        g_assert_null(request.name);
        g_assert_false(request.mode_set || request.group_set || request.numa_node_set || request.page_size_set);
        g_assert_false(request.persistent || request.prefault || request.contiguous || request.reserve);
        g_assert_cmpint(request.prefer, ==, PREFER_NOTHING);
        sd_bus_message_unref(m);
}

static void test_all(void) {
        sd_bus_message *m = allocate(10, "contiguous", "b", 1, "prefer", "s", "latency", "persistent", "b", 1, "prefault",
                                     "b", 1, "page-size", "t", UINT64_MAX, "numa-node", "u", 3, "group", "u", UINT32_MAX,
                                     "mode", "u", 0640, "name", "s", "a name", "region", "s", "");
        Request request = request_of(m);

        g_assert_cmpstr(request.region, ==, "");
        g_assert_cmpstr(request.name, ==, "a name");
        g_assert_cmpuint(request.mode, ==, 0640);
        g_assert_cmpuint(request.group, ==, UINT32_MAX);
        g_assert_cmpuint(request.numa_node, ==, 3);
        g_assert_cmpuint(request.page_size, ==, UINT64_MAX);
        g_assert_true(request.mode_set && request.group_set && request.numa_node_set && request.page_size_set);
        g_assert_true(request.persistent && request.prefault && request.contiguous);
        g_assert_cmpint(request.prefer, ==, PREFER_LATENCY);
        sd_bus_message_unref(m);
}

/* Saying no is the same as saying nothing; saying 0 is not. */
static void test_zeros(void) {
        sd_bus_message *m =
                        allocate(4, "persistent", "b", 0, "prefault", "b", 0, "mode", "u", 0, "page-size", "t", UINT64_C(0));
        Request request = request_of(m);

        g_assert_false(request.persistent || request.prefault);
        g_assert_true(request.mode_set && request.page_size_set);
        g_assert_false(request.group_set || request.numa_node_set);
        sd_bus_message_unref(m);
}

static void test_prefer(void) {
        static const struct {
                const char *word;
                Preference preference;
        } known[] = {
                { "bandwidth", PREFER_BANDWIDTH }, { "latency", PREFER_LATENCY }, { "capacity", PREFER_CAPACITY },
        };
        static const char *const unknown[] = { "", "Latency", "latency ", "bandwidth,latency", "nothing" };

        for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
                sd_bus_message *m = allocate(1, "prefer", "s", known[i].word);

                g_assert_cmpint(request_of(m).prefer, ==, known[i].preference);
                sd_bus_message_unref(m);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++)
                assert_refused(allocate(1, "prefer", "s", unknown[i]), "prefer is bandwidth, latency or capacity, and not");
}

static void test_unknown(void) {
        g_autofree char *long_name = g_strnfill(100000, 'x'), *cut = g_strdup_printf("%063d\xc3\xa4", 0);

        assert_refused(allocate(1, "colour", "s", "red"), "option colour is unknown; there are: region, name, mode");
        assert_refused(allocate(1, "Name", "s", "x"), "option Name is unknown");
        assert_refused(allocate(1, "name ", "s", "x"), "option name  is unknown");
        assert_refused(allocate(1, "", "s", "x"), "is unknown");
        assert_refused(allocate(1, "read-only", "b", 1), "read-only is unknown"); /* that is Open's */
        assert_refused(allocate(1, long_name, "s", "x"), "is unknown; there are: region");
        assert_refused(allocate(1, cut, "s", "x"), "is unknown; there are: region");
        assert_refused(allocate(2, "name", "s", "x", "colour", "s", "red"), "colour");
}

static void test_twice(void) {
        static const char *const strings[] = { "region", "name", "prefer" };
        static const char *const numbers[] = { "mode", "group", "numa-node" };
        static const char *const truths[] = { "prefault", "persistent", "contiguous", "reserve" };

        for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
                assert_refused(allocate(2, strings[i], "s", "x", strings[i], "s", "x"), "is given twice");
        for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
                assert_refused(allocate(2, numbers[i], "u", 1, numbers[i], "u", 1), "is given twice");
        for (size_t i = 0; i < G_N_ELEMENTS(truths); i++)
                assert_refused(allocate(2, truths[i], "b", 1, truths[i], "b", 0), "is given twice");
        assert_refused(allocate(2, "page-size", "t", UINT64_C(1), "page-size", "t", UINT64_C(1)), "is given twice");
        assert_refused(allocate(3, "name", "s", "x", "mode", "u", 0600, "name", "s", "y"), "option name is given twice");
}

static void test_types(void) {
        assert_refused(allocate(1, "name", "u", 5), "option name is a string (s), the call has it as u");
        assert_refused(allocate(1, "name", "o", "/"), "string (s), the call has it as o");
        assert_refused(allocate(1, "name", "ay", 0), "string (s), the call has it as ay");
        assert_refused(allocate(1, "mode", "t", UINT64_C(0600)), "32-bit number (u), the call has it as t");
        assert_refused(allocate(1, "mode", "i", 0600), "32-bit number (u), the call has it as i");
        assert_refused(allocate(1, "page-size", "u", 4096), "64-bit number (t), the call has it as u");
        assert_refused(allocate(1, "prefault", "u", 1), "boolean (b), the call has it as u");
        assert_refused(allocate(1, "prefault", "v", "b", 1), "boolean (b), the call has it as v");
        assert_refused(allocate(1, "prefault", "(su)", "x", 1), "boolean (b), the call has it as (su)");
}

/* The bus passes on whatever its sender calls arguments. */
static void test_other_arguments(void) {
        sd_bus_message *m;

        assert_refused(seal(message_new()), "cannot be read");
        m = message_new();
        g_assert_cmpint(sd_bus_message_append(m, "uua{sv}", 1, 1, 0), >=, 0);
        assert_refused(seal(m), "cannot be read");
        m = message_new();
        g_assert_cmpint(sd_bus_message_append(m, "tt", UINT64_C(1), UINT64_C(1)), >=, 0);
        assert_refused(seal(m), "cannot be read");
        m = message_new();
        g_assert_cmpint(sd_bus_message_append(m, "tta{ss}", UINT64_C(1), UINT64_C(1), 1, "name", "x"), >=, 0);
        assert_refused(seal(m), "cannot be read");
        m = message_new();
        g_assert_cmpint(sd_bus_message_append(m, "tta{uv}", UINT64_C(1), UINT64_C(1), 1, 5, "s", "x"), >=, 0);
        assert_refused(seal(m), "cannot be read");
}

static int open_of(bool *ret, Failure *failure, const char *name, const char *type, int value) {
        sd_bus_message *m = message_new();
        int r;

        if (name)
                g_assert_cmpint(sd_bus_message_append(m, "a{sv}", 1, name, type, value), >=, 0);
        else
                g_assert_cmpint(sd_bus_message_append(m, "a{sv}", 0), >=, 0);
        r = open_options_read(seal(m), ret, failure);
        sd_bus_message_unref(m);
        return r;
}

static void test_open(void) {
        Failure failure = { 0 };
        bool read_only = true;

        g_assert_cmpint(open_of(&read_only, &failure, NULL, NULL, 0), ==, 0);
        g_assert_false(read_only);
        g_assert_cmpint(open_of(&read_only, &failure, "read-only", "b", 1), ==, 0);
        g_assert_true(read_only);
        g_assert_cmpint(open_of(&read_only, &failure, "read-only", "u", 0), ==, -EINVAL);
        assert_says(&failure, "option read-only is a boolean");
        g_assert_cmpint(open_of(&read_only, &failure, "mode", "u", 0600), ==, -EINVAL);
        assert_says(&failure, "option mode is unknown; there are: read-only");
        g_assert_true(read_only);
}

static int revoke_of(bool *ret, Failure *failure, const char *name, const char *type, int value) {
        sd_bus_message *m = message_new();
        int r;

        g_assert_cmpint(sd_bus_message_append(m, "a{sv}", 1, name, type, value), >=, 0);
        r = revoke_options_read(seal(m), ret, failure);
        sd_bus_message_unref(m);
        return r;
}

static void test_revoke(void) {
        Failure failure = { 0 };
        bool despite = false;

        g_assert_cmpint(revoke_of(&despite, &failure, "despite-references", "b", 1), ==, 0);
        g_assert_true(despite);
        g_assert_cmpint(revoke_of(&despite, &failure, "despite-references", "u", 0), ==, -EINVAL);
        assert_says(&failure, "option despite-references is a boolean");
        g_assert_cmpint(revoke_of(&despite, &failure, "force", "b", 0), ==, -EINVAL);
        assert_says(&failure, "option force is unknown; there are: despite-references");
        g_assert_true(despite);
}

/* Of a page below "/p/", of 100 at most. */
static int page_of(PageOptions *ret, Failure *failure, const char *after, int64_t limit) {
        sd_bus_message *m = message_new();
        int r;

        g_assert_cmpint(sd_bus_message_open_container(m, 'a', "{sv}"), >=, 0);
        if (after)
                g_assert_cmpint(sd_bus_message_append(m, "{sv}", "after", "o", after), >=, 0);
        if (limit >= 0)
                g_assert_cmpint(sd_bus_message_append(m, "{sv}", "limit", "u", (uint32_t) limit), >=, 0);
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        r = page_options_read(seal(m), "/p/", 100, ret, failure);
        if (r >= 0) /* it goes with the message */
                ret->after = g_strdup(ret->after);
        sd_bus_message_unref(m);
        return r;
}

static void assert_page(const char *after, int64_t limit, const char *says_after, uint32_t says_limit) {
        Failure failure = { 0 };
        PageOptions page;

        g_assert_cmpint(page_of(&page, &failure, after, limit), ==, 0);
        g_assert_cmpstr(page.after, ==, says_after);
        g_assert_cmpuint(page.limit, ==, says_limit);
        g_free((char *) (uintptr_t) page.after);
}

static void assert_no_page(const char *after, int64_t limit, const char *words) {
        PageOptions page = { .after = "untouched", .limit = 4711 };
        Failure failure = { 0 };

        g_assert_cmpint(page_of(&page, &failure, after, limit), ==, -EINVAL);
        assert_says(&failure, words);
        g_assert_cmpstr(page.after, ==, "untouched");
        g_assert_cmpuint(page.limit, ==, 4711);
}

static void test_page(void) {
        assert_page(NULL, -1, "", 100);
        assert_page(NULL, 1, "", 1);
        assert_page("/p/x", 100, "x", 100);
        assert_page("/p/x/y", 101, "x/y", 100);
        assert_page("/p/x", UINT32_MAX, "x", 100);
        assert_no_page(NULL, 0, "limit");
        assert_no_page("/p", -1, "after");
        assert_no_page("/", 1, "after");
        assert_no_page("/q/x", 1, "/q/x is not below /p/");
}

int main(int argc, char **argv) {
        int ends[2], r;

        g_test_init(&argc, &argv, NULL);
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
        g_assert_cmpint(sd_bus_new(&bus), ==, 0);
        g_assert_cmpint(sd_bus_set_fd(bus, ends[0], ends[0]), ==, 0);
        g_assert_cmpint(sd_bus_start(bus), ==, 0);

        g_test_add_func("/options/none", test_none);
        g_test_add_func("/options/all", test_all);
        g_test_add_func("/options/zeros", test_zeros);
        g_test_add_func("/options/prefer", test_prefer);
        g_test_add_func("/options/page", test_page);
        g_test_add_func("/options/unknown", test_unknown);
        g_test_add_func("/options/twice", test_twice);
        g_test_add_func("/options/types", test_types);
        g_test_add_func("/options/other-arguments", test_other_arguments);
        g_test_add_func("/options/open", test_open);
        g_test_add_func("/options/revoke", test_revoke);
        r = g_test_run();

        sd_bus_close_unref(bus);
        close(ends[1]);
        return r;
}
