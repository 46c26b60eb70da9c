/* SPDX-License-Identifier: MIT */

/* Requests and their options: every reason to refuse one, and the limits between that and acceptance. */

#include "request.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "name.h"
#include "size.h"

#define LONGEST "123456789-123456789-123456789-123456789-123456789-123456789-123"

G_STATIC_ASSERT(sizeof(LONGEST) - 1 == DAXBROKER_NAME_MAX);

static const gid_t groups[] = { 100, 4711, 0 };

static Request plain(void) {
        return (Request) { .size = 1, .alignment = 1 };
}

static Request named(const char *name) {
        return (Request) { .size = 1, .alignment = 1, .name = name };
}

static void assert_valid(Request request) {
        Failure failure = { 0 };

        g_assert_cmpint(request_validate(&request, groups, G_N_ELEMENTS(groups), &failure), ==, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NONE);
}

static void assert_refused(Request request, Refusal refusal, const char *words) {
        Failure failure = { 0 };

        g_assert_cmpint(request_validate(&request, groups, G_N_ELEMENTS(groups), &failure), ==,
                        -refusal_to_errno(refusal));
        g_assert_cmpint(failure.refusal, ==, refusal);
        if (!strstr(failure.text, words))
                g_error("\"%s\" does not say \"%s\"", failure.text, words);
}

static void test_size(void) {
        Request request = plain();

        assert_valid(request);
        request.size = INT64_MAX;
        assert_valid(request);

        request.size = 0;
        assert_refused(request, REFUSAL_BadSize, "at least 1 byte");
        request.size = UINT64_C(1) << 63;
        assert_refused(request, REFUSAL_BadSize, "9223372036854775808");
        request.size = UINT64_MAX;
        assert_refused(request, REFUSAL_BadSize, "18446744073709551615");
}

static void test_alignment(void) {
        Request request = plain();

        for (uint64_t alignment = 1; alignment <= GIB; alignment *= 2) {
                request.alignment = alignment;
                assert_valid(request);
                if (alignment > 2) {
                        request.alignment = alignment - 1;
                        assert_refused(request, REFUSAL_BadAlignment, "power of two");
                }
        }

        request.alignment = 0;
        assert_refused(request, REFUSAL_BadAlignment, "1 GiB");
        request.alignment = 2 * GIB;
        assert_refused(request, REFUSAL_BadAlignment, "1 GiB");
        request.alignment = UINT64_C(1) << 63;
        assert_refused(request, REFUSAL_BadAlignment, "9223372036854775808");
        request.alignment = UINT64_MAX;
        assert_refused(request, REFUSAL_BadAlignment, "18446744073709551615");
}

static void test_page_size(void) {
        Request request = plain();

        request.page_size = 3; /* not said */
        assert_valid(request);

        request.page_size_set = true;
        assert_refused(request, REFUSAL_BadOption, "page-size");
        request.page_size = 0;
        assert_refused(request, REFUSAL_BadOption, "page-size");
        request.page_size = 4096;
        assert_valid(request);
}

static void test_names(void) {
        static const char *const good[] = { "a", "Z", "0", ".", "..", "-", "_", "-rf", ".hidden", "a.b_c-d", LONGEST };
        static const char *const bad[] = { "a b", "a/b", "/", "a:b", "a\n", "\x7f", "a%s", "\xc3\xa4", "a\xff", "*", "~" };
        Failure failure;

        for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
                assert_valid(named(good[i]));
                g_assert_true(name_is_valid(good[i]));
                g_assert_cmpint(name_validate(good[i], &failure), ==, 0);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                assert_refused(named(bad[i]), REFUSAL_BadName, "A-Z a-z 0-9 . _ -");
                g_assert_false(name_is_valid(bad[i]));
        }

        assert_refused(named(""), REFUSAL_BadName, "empty");
        assert_refused(named(LONGEST "4"), REFUSAL_BadName, "64 bytes, 63 are allowed");
        g_assert_false(name_is_valid(LONGEST "4"));
        g_assert_false(name_is_valid(""));
}

/* Each byte, so that no table of character classes and no locale can differ. */
static void test_name_bytes(void) {
        for (unsigned byte = 1; byte < 256; byte++) {
                char name[] = { 'a', (char) byte, '\0' };
                bool allowed = byte < 128 && (g_ascii_isalnum((char) byte) || strchr("._-", (int) byte));

                g_assert_cmpint(name_is_valid(name), ==, allowed);
        }
}

static void test_only_with_a_name(void) {
        Request request = plain();

        request.mode_set = true;
        assert_refused(request, REFUSAL_BadOption, "by name");
        request = plain();
        request.group_set = true;
        request.group = 100;
        assert_refused(request, REFUSAL_BadOption, "by name");
        request = plain();
        request.persistent = true;
        assert_refused(request, REFUSAL_BadOption, "persistent");
        request = plain();
        request.reserve = true;
        assert_refused(request, REFUSAL_BadOption, "reserve");

        request = named("x");
        request.persistent = true;
        assert_valid(request);
        request.reserve = true;
        assert_refused(request, REFUSAL_BadOption, "persistent and reserve");
        request.persistent = false;
        assert_valid(request);
}

static void test_group(void) {
        Request request = named("x");
        Failure failure = { 0 };

        request.group_set = true;
        for (size_t i = 0; i < G_N_ELEMENTS(groups); i++) {
                request.group = groups[i];
                assert_valid(request);
        }
        request.group = 101;
        assert_refused(request, REFUSAL_BadOption, "101");
        request.group = DAXBROKER_NO_GROUP;
        assert_refused(request, REFUSAL_BadOption, "4294967295");

        request.group = 100;
        g_assert_cmpint(request_validate(&request, NULL, 0, &failure), ==, -EINVAL);
        request.group_set = false; /* not said */
        g_assert_cmpint(request_validate(&request, NULL, 0, &failure), ==, 0);
}

static void test_modes(void) {
        Failure failure;

        for (uint32_t mode = 0; mode <= 07777; mode++) {
                bool strange = mode & ~UINT32_C(0666);
                bool writes_blindly = false;
                bool good;

                for (unsigned shift = 0; shift <= 6; shift += 3)
                        writes_blindly |= ((mode >> shift) & 06) == 02;

                good = !strange && !writes_blindly;
                g_assert_cmpint(mode_validate(mode, 100, &failure) == 0, ==, good);
                good = good && !((mode >> 3) & 06 & ~mode); /* the group may do more than everybody */
                g_assert_cmpint(mode_validate(mode, DAXBROKER_NO_GROUP, &failure) == 0, ==, good);
        }

        g_assert_cmpint(mode_validate(UINT32_MAX, 100, &failure), ==, -EINVAL);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_BadMode);
        g_assert_cmpint(mode_validate(0100600, 100, &failure), ==, -EINVAL);
}

static void test_mode_of_request(void) {
        Request request = named("x");

        request.mode = 0777; /* not said */
        assert_valid(request);

        request.mode_set = true;
        assert_refused(request, REFUSAL_BadMode, "0666");
        request.mode = 0200;
        assert_refused(request, REFUSAL_BadMode, "without reading");
        request.mode = 0640;
        assert_refused(request, REFUSAL_BadMode, "option group");
        request.group = 100; /* still not said */
        assert_refused(request, REFUSAL_BadMode, "option group");
        request.group_set = true;
        assert_valid(request);
        request.mode = 0200; /* a group that is right does not make it right */
        assert_refused(request, REFUSAL_BadMode, "without reading");
        request.mode = REQUEST_MODE_DEFAULT;
        assert_valid(request);
}

/* A region is named, or chosen. */
static void test_prefer(void) {
        Request request = plain();

        request.prefer = PREFER_CAPACITY;
        assert_valid(request);
        request.numa_node_set = true;
        assert_valid(request);
        request.region = "dram";
        assert_refused(request, REFUSAL_BadOption, "options region and prefer");
        request.prefer = PREFER_NOTHING;
        assert_valid(request);
}

/* The first thing that is wrong is the one that is told. */
static void test_order(void) {
        Request request = { .name = "", .mode_set = true, .mode = 0777 };

        assert_refused(request, REFUSAL_BadSize, "");
        request.size = 1;
        assert_refused(request, REFUSAL_BadAlignment, "");
        request.alignment = 1;
        assert_refused(request, REFUSAL_BadName, "");
        request.name = "x";
        assert_refused(request, REFUSAL_BadMode, "");
        request.mode = 0600;
        assert_valid(request);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/request/size", test_size);
        g_test_add_func("/request/alignment", test_alignment);
        g_test_add_func("/request/page-size", test_page_size);
        g_test_add_func("/request/names", test_names);
        g_test_add_func("/request/name-bytes", test_name_bytes);
        g_test_add_func("/request/only-with-a-name", test_only_with_a_name);
        g_test_add_func("/request/group", test_group);
        g_test_add_func("/request/modes", test_modes);
        g_test_add_func("/request/mode-of-request", test_mode_of_request);
        g_test_add_func("/request/prefer", test_prefer);
        g_test_add_func("/request/order", test_order);
        return g_test_run();
}
