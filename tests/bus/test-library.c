/* SPDX-License-Identifier: MIT */

/* What a program gets from the library, call by call: the two lines, the full interface, and each error with the sentence
 * that goes with it. */

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "library.h"
#include "names.h"
#include "provider.h"
#include "world.h"

#define CONFIGURATION                                                                                \
        "[Region dram]\n"                                                                            \
        "Size=256M\n"                                                                                \
        "[Region small]\n"                                                                           \
        "Provider=memfd\n"                                                                           \
        "Size=1M\n"                                                                                  \
        "[Region away]\n"                                                                            \
        "Provider=memfd\n"                                                                           \
        "Size=1M\n"                                                                                  \
        "NumaNode=999\n"

/* ---- The two lines ------------------------------------------------------------------------------------------------- */

static int64_t do_two_lines(UserCall *call) {
        static const size_t sizes[] = { 1, 4095, 4096, 4097, 3 * MIB + 1 };
        static const size_t alignments[] = { 1, 64, 4096, 64 * KIB, 2 * MIB, GIB };
        /* there is no such address in a small region of devices, which are aligned themselves and not just mapped so, and no
         * room for more namespaces */
        const size_t n_alignments = provider_is_nvdimm() ? 3 : G_N_ELEMENTS(alignments) - provider_is_device();
        void *pieces[G_N_ELEMENTS(sizes) * G_N_ELEMENTS(alignments)];

        (void) call;

        /* twice, to see that nobody finds what was there before */
        for (unsigned round = 0; round < 2; round++) {
                unsigned n = 0;

                for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
                        for (size_t j = 0; j < n_alignments; j++) {
                                void *p = daxbroker_alloc(sizes[i], alignments[j]);

                                if (!p)
                                        g_error("%zu/%zu: %s", sizes[i], alignments[j],
                                                daxbroker_last_error());
                                g_assert_cmpuint((uintptr_t) p % alignments[j], ==, 0);
                                g_assert_true(is_filled(p, 0, sizes[i]));
                                memset(p, (int) ++n, sizes[i]);
                                pieces[n - 1] = p;
                        }

                for (unsigned k = 0; k < n; k++)
                        g_assert_true(is_filled(pieces[k], (uint8_t) (k + 1),
                                                sizes[k / n_alignments]));
                for (unsigned k = 0; k < n; k++)
                        daxbroker_free(pieces[k]);
        }
        return 0;
}

static int64_t do_free_anything(UserCall *call) {
        char foreign;
        char *p = daxbroker_alloc(8192, 4096);

        (void) call;
        g_assert_nonnull(p);
        errno = 4711;
        daxbroker_free(NULL);
        daxbroker_free(&foreign);
        daxbroker_free(p + 4096);
        p[4096] = 1;
        daxbroker_free(p);
        g_assert_cmpint(errno, ==, 4711);
        g_assert_cmpint(signal_of_reading((uint8_t *) p), ==, SIGSEGV);
        daxbroker_free(p);
        return 0;
}

static void assert_no_memory(size_t size, size_t alignment, int number, const char *words) {
        errno = 0;
        g_assert_null(daxbroker_alloc(size, alignment));
        g_assert_cmpint(errno, ==, number);
        assert_says(daxbroker_last_error(), words);
}

static int64_t do_two_lines_refused(UserCall *call) {
        void *p;

        (void) call;
        g_assert_cmpstr(daxbroker_last_error(), ==, "");
        assert_no_memory(0, 4096, EINVAL, "size is 0");
        assert_no_memory(4096, 0, EINVAL, "alignment 0 is not a power of two");
        assert_no_memory(4096, 3, EINVAL, "alignment 3 is not a power of two");
        assert_no_memory(4096, 2 * GIB, EINVAL, "1 GiB");
        assert_no_memory(SIZE_MAX, 1, EINVAL, "2^63");
        assert_no_memory(SIZE_MAX / 2, 2 * MIB, EINVAL,
                         provider_is_nvdimm()         ? "rounded up to 16 MiB"
                         : provider_is_device()      ? "rounded up to 2 MiB"
                         : provider_has_huge_pages() ? "rounded up to pages of 2 MiB"
                                                     : "rounded up to pages of 4 KiB");
        assert_no_memory(257 * MIB, 1, ENOSPC, "256 MiB");

        /* a success changes nothing about it, as with errno */
        p = daxbroker_alloc(1, 1);
        g_assert_nonnull(p);
        assert_says(daxbroker_last_error(), "256 MiB");
        daxbroker_free(p);
        return 0;
}

static int64_t do_two_lines_unauthorized(UserCall *call) {
        g_autofree char *words = g_strdup_printf("polkit does not allow org.daxbroker1.allocate to user %d",
                                                 (int) getuid());

        (void) call;
        assert_no_memory(4096, 4096, EACCES, words);
        return 0;
}

static int64_t do_region_variable(UserCall *call) {
        void *p;

        (void) call;
        g_assert_cmpint(setenv("DAXBROKER_REGION", "small", 1), ==, 0);
        p = daxbroker_alloc(MIB, 1);
        g_assert_nonnull(p);
        assert_no_memory(4096, 1, ENOSPC, "small");
        daxbroker_free(p);

        g_assert_cmpint(setenv("DAXBROKER_REGION", "nowhere", 1), ==, 0);
        assert_no_memory(4096, 1, ENODEV, "nowhere");
        g_assert_cmpint(setenv("DAXBROKER_REGION", "away", 1), ==, 0);
        assert_no_memory(4096, 1, ENXIO, "999");
        g_assert_cmpint(setenv("DAXBROKER_REGION", "\xff", 1), ==, 0);
        assert_no_memory(4096, 1, EINVAL, "UTF-8");

        /* as if it were not there */
        g_assert_cmpint(setenv("DAXBROKER_REGION", "", 1), ==, 0);
        p = daxbroker_alloc(2 * MIB, 1);
        g_assert_nonnull(p);
        daxbroker_free(p);
        g_assert_cmpint(unsetenv("DAXBROKER_REGION"), ==, 0);
        return 0;
}

static void *last_error_of_thread(void *unused) {
        (void) unused;
        return g_strdup(daxbroker_last_error());
}

static int64_t do_errors_of_threads(UserCall *call) {
        g_autofree char *other = NULL;

        (void) call;
        assert_no_memory(0, 1, EINVAL, "size is 0");
        other = g_thread_join(g_thread_new(NULL, last_error_of_thread, NULL));
        g_assert_cmpstr(other, ==, "");
        assert_says(daxbroker_last_error(), "size is 0");
        return 0;
}

TEST_AS(alice, two_lines)
TEST_AS(alice, free_anything)
TEST_AS(alice, two_lines_refused)
TEST_AS(bob, two_lines_unauthorized)
TEST_AS(alice, region_variable)
TEST_AS(alice, errors_of_threads)

/* ---- Requests ------------------------------------------------------------------------------------------------------ */

/* Everything that was asked for is what the service then says. */
static int64_t do_options(UserCall *call) {
        daxbroker_request *request = request_make(100000, 64 * KIB, "options");
        daxbroker_allocation *allocation;
        daxbroker_info *info;

        (void) call;
        assert_works(daxbroker_request_set_region(request, provider_region("dram")));
        assert_works(daxbroker_request_set_mode(request, 0640));
        assert_works(daxbroker_request_set_group(request, getgid()));
        assert_works(daxbroker_request_set_page_size(request, provider_page_size()));
        assert_works(daxbroker_request_set_prefault(request, 1));
        assert_works(daxbroker_request_set_interactive(request, 1));
        assert_works(daxbroker_allocate(NULL, request, &allocation));

        assert_works(daxbroker_get_allocation(NULL, "options", &info));
        g_assert_cmpstr(daxbroker_info_get_object(info), ==, daxbroker_allocation_get_object(allocation));
        g_assert_cmpstr(info_text(info, "Name"), ==, "options");
        g_assert_cmpstr(info_text(info, "Region"), ==, provider_region("dram"));
        g_assert_cmpstr(info_text(info, "State"), ==, "live");
        g_assert_cmpstr(info_text(info, "Reason"), ==, "");
        g_assert_cmpuint(info_number(info, "Mode"), ==, 0640);
        g_assert_cmpuint(info_number(info, "Owner"), ==, getuid());
        g_assert_cmpuint(info_number(info, "Group"), ==, getgid());
        g_assert_cmpuint(info_number(info, "Length"), ==, provider_is_device() ? UNIT : 102400);
        g_assert_cmpuint(info_number(info, "Alignment"), ==, 64 * KIB);
        g_assert_cmpuint(info_number(info, "PageSize"), ==, provider_page_size());
        g_assert_cmpuint(info_number(info, "Offset"), ==, 0);
        g_assert_cmpuint(info_number(info, "Persistent"), ==, 0);
        g_assert_cmpuint(info_number(info, "InUse"), ==, 1);
        g_assert_cmpuint(info_number(info, "HolderPid"), ==, (uint64_t) getpid());
        (void) info_text(info, "HolderUnit");
        g_assert_cmpint(llabs((int64_t) info_number(info, "Created") - g_get_real_time()), <,
                        100 * G_USEC_PER_SEC);
        daxbroker_info_free(info);

        daxbroker_request_free(request);
        daxbroker_allocation_close(allocation);
        return 0;
}

static void assert_request_fails(daxbroker_request *request, int number, const char *words) {
        daxbroker_allocation *allocation = (void *) &allocation;

        assert_fails(daxbroker_allocate(NULL, request, &allocation), number, words);
        g_assert_true(allocation == (void *) &allocation); /* untouched */
        assert_fails(daxbroker_check(NULL, request, NULL), number, words);
        daxbroker_request_free(request);
}

static int64_t do_options_refused(UserCall *call) {
        g_autofree char *long_name = g_strnfill(DAXBROKER_NAME_MAX + 1, 'x');
        daxbroker_request *request;
        daxbroker_allocation *allocation;

        (void) call;
        assert_request_fails(request_make(1, 1, ""), EINVAL, "empty");
        assert_request_fails(request_make(1, 1, "a/b"), EINVAL, "characters");
        assert_request_fails(request_make(1, 1, long_name), EINVAL, "63");
        long_name[DAXBROKER_NAME_MAX] = '\0';
        daxbroker_allocation_close(allocation_make(NULL, 1, long_name));
        assert_works(daxbroker_end_allocation(NULL, long_name));

        request = request_make(1, 1, "x");
        daxbroker_request_set_mode(request, 0777);
        assert_request_fails(request, EINVAL, "0777");

        request = request_make(1, 1, "x");
        daxbroker_request_set_group(request, 0);
        assert_request_fails(request, EINVAL, "group");

        request = request_make(1, 1, NULL);
        daxbroker_request_set_numa_node(request, 999);
        assert_request_fails(request, EINVAL, provider_is_device() || provider_is_files() ? "lies on node" : "999");

        request = request_make(1, 1, NULL);
        daxbroker_request_set_page_size(request, 12345);
        assert_request_fails(request, EINVAL, "12345");

        request = request_make(1, 1, NULL);
        daxbroker_request_set_region(request, "nowhere");
        assert_request_fails(request, ENODEV, "nowhere");

        allocation = allocation_make(NULL, 1, "taken");
        assert_request_fails(request_make(1, 1, "taken"), EEXIST, "taken");
        daxbroker_allocation_close(allocation);
        assert_request_fails(request_make(1, 1, "taken"), EEXIST, "taken");

        assert_fails(daxbroker_allocate(NULL, NULL, &allocation), EINVAL, "no request");
        assert_fails(daxbroker_check(NULL, NULL, NULL), EINVAL, "no request");
        return 0;
}

/* What is set can be taken back. */
static int64_t do_request_again(UserCall *call) {
        daxbroker_request *request = request_make(1, 1, "once");
        daxbroker_allocation *one, *two;

        (void) call;
        daxbroker_request_set_region(request, "nowhere");
        daxbroker_request_set_region(request, NULL);
        assert_works(daxbroker_allocate(NULL, request, &one));
        daxbroker_request_set_name(request, NULL);
        assert_works(daxbroker_allocate(NULL, request, &two));
        g_assert_cmpstr(daxbroker_allocation_get_object(one), !=, daxbroker_allocation_get_object(two));
        g_assert_null(daxbroker_request_free(request));
        g_assert_null(daxbroker_allocation_close(one));
        g_assert_null(daxbroker_allocation_close(two));
        return 0;
}

static int64_t do_check(UserCall *call) {
        const uint64_t most = provider_largest(256 * MIB);
        daxbroker_request *request = request_make(most - 1, 1, NULL);
        uint64_t length = 0;

        (void) call;
        /* nothing is reserved */
        for (unsigned i = 0; i < 3; i++)
                assert_works(daxbroker_check(NULL, request, &length));
        g_assert_cmpuint(length, ==, most);
        assert_works(daxbroker_check(NULL, request, NULL));
        daxbroker_request_free(request);
        return 0;
}

static int64_t do_check_unauthorized(UserCall *call) {
        daxbroker_request *request = request_make(1, 1, NULL);
        uint64_t length = 4711;

        (void) call;
        assert_fails(daxbroker_check(NULL, request, &length), EACCES, "polkit does not allow");
        g_assert_cmpuint(length, ==, 4711);
        daxbroker_request_free(request);
        return 0;
}

TEST_AS(alice, options)
TEST_AS(alice, options_refused)
TEST_AS(alice, request_again)
TEST_AS(alice, check)
TEST_AS(bob, check_unauthorized)

/* ---- What is there ------------------------------------------------------------------------------------------------- */

static int64_t do_lists(UserCall *call) {
        daxbroker_allocation *one = allocation_make(NULL, 1, NULL), *two = allocation_make(NULL, 1, "two");
        g_autofree char *region = provider_text(DAXBROKER_REGION_PATH "/dram");
        const daxbroker_info *info;
        daxbroker_list *list;
        const char *text;
        uint64_t number;
        int64_t integer;
        unsigned named = 0;

        (void) call;
        assert_works(daxbroker_list_allocations(NULL, &list));
        g_assert_cmpuint(daxbroker_list_get_size(list), ==, 2);
        for (size_t i = 0; i < 2; i++)
                named += g_str_equal(info_text(daxbroker_list_get(list, i), "Name"), "two");
        g_assert_cmpuint(named, ==, 1);
        g_assert_null(daxbroker_list_get(list, 2));
        g_assert_null(daxbroker_list_get(list, SIZE_MAX));
        g_assert_null(daxbroker_list_free(list));

        assert_works(daxbroker_list_regions(NULL, &list));
        g_assert_cmpuint(daxbroker_list_get_size(list), ==, provider_regions(3));
        for (size_t i = 0; i < daxbroker_list_get_size(list); i++) {
                info = daxbroker_list_get(list, i);
                if (!g_str_equal(info_text(info, "Name"), provider_region("dram")))
                        continue;
                g_assert_cmpstr(daxbroker_info_get_object(info), ==, region);
                g_assert_cmpuint(info_number(info, "Size"), ==, 256 * MIB);
                g_assert_cmpuint(info_number(info, "Available"), ==, 256 * MIB - 2 * provider_taken(1));
                g_assert_cmpstr(info_text(info, "Alignments"), ==,
                                provider_is_nvdimm()   ? "2097152"
                                : provider_is_device() ? "2097152 1073741824"
                                                       : "4096 2097152 1073741824");
                g_assert_cmpuint(info_number(info, "Persistent"), ==, provider_is_medium());

                /* a negative number, a string, nothing */
                assert_works(daxbroker_info_get_int64(info, "NumaNode", &integer));
                if (integer == -1) {
                        g_assert_false(provider_is_device());
                        assert_fails(daxbroker_info_get_uint64(info, "NumaNode", &number), EINVAL, "NumaNode");
                }
                assert_works(daxbroker_info_get_int64(info, "Size", &integer));
                g_assert_cmpint(integer, ==, 256 * MIB);
                assert_fails(daxbroker_info_get_string(info, "Size", &text), EINVAL, "Size");
                assert_fails(daxbroker_info_get_int64(info, "Name", &integer), EINVAL, "Name");
                assert_fails(daxbroker_info_get_uint64(info, "Name", &number), EINVAL, "Name");
                assert_fails(daxbroker_info_get_string(info, "Colour", &text), ENOENT, "Colour");
        }
        daxbroker_list_free(list);

        daxbroker_allocation_close(one);
        daxbroker_allocation_close(two);
        g_assert_null(daxbroker_list_free(NULL));
        g_assert_null(daxbroker_info_free(NULL));
        g_assert_null(daxbroker_request_free(NULL));
        g_assert_null(daxbroker_client_free(NULL));
        return 0;
}

static int64_t do_version(UserCall *call) {
        g_autofree char *version = NULL;

        (void) call;
        assert_works(daxbroker_get_version(NULL, &version));
        g_assert_cmpstr(version, ==, PACKAGE_VERSION);
        return 0;
}

static int64_t do_reload_refused(UserCall *call) {
        (void) call;
        assert_fails(daxbroker_reload(NULL), ENOKEY, "org.daxbroker1.manage");
        return 0;
}

static int64_t do_reload(UserCall *call) {
        daxbroker_list *list;

        (void) call;
        assert_works(daxbroker_reload(NULL));
        assert_works(daxbroker_list_regions(NULL, &list));
        g_assert_cmpuint(info_number(daxbroker_list_get(list, 0), "Size"), ==, 512 * MIB);
        daxbroker_list_free(list);
        return 0;
}

static void test_reload_by_root(Scene *scene, const void *unused) {
        (void) unused;
        skip_on_files("region dram, which comes first, is not the one that they are in");
        skip_on_devices("a dax region has the size it has");
        broker_configure(scene->broker, "[Region dram]\nSize=512M\n");
        as(scene->root, do_reload);
        broker_configure(scene->broker, CONFIGURATION);
        broker_reload(scene->broker);
}

TEST_AS(alice, lists)
TEST_AS(alice, version)
TEST_AS(alice, reload_refused)

/* ---- Grants ---- */

static uint64_t grant_number(const daxbroker_grant *grant, const char *property) {
        daxbroker_info *info;
        uint64_t number;

        assert_works(daxbroker_get_grant(NULL, daxbroker_grant_get_object(grant), &info));
        g_assert_cmpstr(daxbroker_info_get_object(info), ==, daxbroker_grant_get_object(grant));
        g_assert_cmpstr(info_text(info, "Region"), ==, provider_region("dram"));
        number = info_number(info, property);
        daxbroker_info_free(info);
        return number;
}

static size_t count_grants(void) {
        daxbroker_list *list;
        size_t n;

        assert_works(daxbroker_list_grants(NULL, &list));
        n = daxbroker_list_get_size(list);
        for (size_t i = 0; i < n; i++)
                g_assert_cmpuint(info_number(daxbroker_list_get(list, i), "Owner"), ==, getuid());
        daxbroker_list_free(list);
        return n;
}

static int64_t do_grant(UserCall *call) {
        daxbroker_request *whole = request_make(16 * MIB - 1, 1, NULL), *piece = request_make(4 * MIB, 1, NULL);
        daxbroker_allocation *pieces[4], *more;
        daxbroker_grant *grant;
        unsigned fds;

        (void) call;
        daxbroker_allocation_close(allocation_make(NULL, MIB, NULL)); /* so that there is a connection */
        fds = count_own_fds();
        assert_works(daxbroker_request_set_region(whole, provider_region("dram")));
        if (!provider_is_files()) /* the device of which may have no node */
                assert_works(daxbroker_request_set_numa_node(whole, 0));
        assert_works(daxbroker_reserve(NULL, whole, &grant));
        g_assert_true(g_str_has_prefix(daxbroker_grant_get_object(grant), "/org/daxbroker1/grant/"));
        g_assert_cmpuint(daxbroker_grant_get_size(grant), ==, 16 * MIB);
        g_assert_cmpint(fcntl(daxbroker_grant_get_lease_fd(grant), F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpuint(count_grants(), ==, 1);

        /* by its object, or its last part */
        assert_works(daxbroker_request_set_grant(piece, daxbroker_grant_get_object(grant)));
        for (unsigned i = 0; i < 4; i++) {
                if (i == 2)
                        assert_works(daxbroker_request_set_grant(piece,
                                                                 strrchr(daxbroker_grant_get_object(grant), '/') + 1));
                assert_works(daxbroker_allocate(NULL, piece, &pieces[i]));
                memset(allocation_address(pieces[i]), 1, 4 * MIB);
        }
        g_assert_cmpuint(grant_number(grant, "Available"), ==, 0);
        assert_fails(daxbroker_allocate(NULL, piece, &more), ENOSPC, "the grant has 0 bytes left of 16 MiB");
        assert_fails(daxbroker_check(NULL, piece, NULL), ENOSPC, "the grant has 0 bytes left of 16 MiB");
        assert_works(daxbroker_request_set_grant(piece, NULL));
        assert_works(daxbroker_check(NULL, piece, NULL));

        for (unsigned i = 1; i < 4; i++)
                daxbroker_allocation_close(pieces[i]);
        g_assert_true(wait_until(20, grant_number(grant, "Available") == 12 * MIB));
        g_assert_null(daxbroker_grant_close(grant));
        g_assert_true(wait_until(20, count_grants() == 0));
        g_assert_true(is_filled(allocation_address(pieces[0]), 1, 4 * MIB));
        daxbroker_allocation_close(pieces[0]);
        g_assert_null(daxbroker_grant_close(NULL));
        daxbroker_request_free(whole);
        daxbroker_request_free(piece);
        g_assert_cmpuint(count_own_fds(), ==, fds);
        return 0;
}

static int64_t do_grant_refused(UserCall *call) {
        static const char *const nothing[] = { "", "/", "/org/daxbroker1/allocation/0123456789abcdef", "0123456789abcdeg",
                                               "/org/daxbroker1/grant/", "/org/daxbroker1/grant/a-b" };
        daxbroker_request *request = request_make(MIB, 1, NULL);
        daxbroker_allocation *allocation;
        daxbroker_grant *grant;
        daxbroker_info *info;

        (void) call;
        assert_fails(daxbroker_reserve(NULL, NULL, &grant), EINVAL, "there is no request");
        assert_works(daxbroker_request_set_name(request, "name"));
        assert_fails(daxbroker_reserve(NULL, request, &grant), EINVAL, "a grant has a size");
        assert_works(daxbroker_request_set_name(request, NULL));
        assert_works(daxbroker_request_set_prefault(request, 1));
        assert_fails(daxbroker_reserve(NULL, request, &grant), EINVAL, "a grant has a size");
        assert_works(daxbroker_request_set_prefault(request, 0));
        assert_works(daxbroker_request_set_region(request, "nowhere"));
        assert_fails(daxbroker_reserve(NULL, request, &grant), ENODEV, "nowhere");
        assert_works(daxbroker_request_set_region(request, "small"));
        assert_works(daxbroker_reserve(NULL, request, &grant));
        assert_works(daxbroker_release_grant(NULL, daxbroker_grant_get_object(grant)));
        assert_fails(daxbroker_release_grant(NULL, daxbroker_grant_get_object(grant)), ENOENT, "there is no such grant");
        assert_fails(daxbroker_get_grant(NULL, daxbroker_grant_get_object(grant), &info), ENOENT, "there is no such grant");
        daxbroker_grant_close(grant);

        for (size_t i = 0; i < G_N_ELEMENTS(nothing); i++) {
                if (i < 4)
                        assert_fails(daxbroker_request_set_grant(request, nothing[i]), ENOENT, "not the object of a grant");
                assert_fails(daxbroker_release_grant(NULL, nothing[i]), ENOENT, "");
                assert_fails(daxbroker_get_grant(NULL, nothing[i], &info), ENOENT, "");
        }
        assert_fails(daxbroker_get_grant(NULL, NULL, &info), ENOENT, "not the object of a grant");
        assert_works(daxbroker_request_set_grant(request, "0123456789abcdef"));
        assert_fails(daxbroker_allocate(NULL, request, &allocation), ENOENT, "there is no grant");
        assert_fails(daxbroker_reserve(NULL, request, &grant), EINVAL, "a grant has a size");
        daxbroker_request_free(request);
        return 0;
}

static int64_t do_grant_unauthorized(UserCall *call) {
        daxbroker_request *request = request_make(MIB, 1, NULL);
        daxbroker_grant *grant;

        (void) call;
        assert_fails(daxbroker_reserve(NULL, request, &grant), EACCES, "polkit does not allow org.daxbroker1.allocate");
        daxbroker_request_free(request);
        return 0;
}

static void test_grant(Scene *scene, const void *unused) {
        (void) unused;
        skip_on_nvdimm("nothing is promised of it");
        as(scene->alice, do_grant);
}

TEST_AS(alice, grant_refused)
TEST_AS(bob, grant_unauthorized)

#define add(path, function) scene_add("/library/" path, CONFIGURATION, function)

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        add("two-lines", test_two_lines);
        add("two-lines/free-anything", test_free_anything);
        add("two-lines/refused", test_two_lines_refused);
        add("two-lines/unauthorized", test_two_lines_unauthorized);
        add("two-lines/region", test_region_variable);
        add("two-lines/threads-errors", test_errors_of_threads);
        add("request/options", test_options);
        add("request/options-refused", test_options_refused);
        add("request/again", test_request_again);
        add("request/check", test_check);
        add("request/check-unauthorized", test_check_unauthorized);
        add("grant/taken", test_grant);
        add("grant/refused", test_grant_refused);
        add("grant/unauthorized", test_grant_unauthorized);
        add("there/lists", test_lists);
        add("there/version", test_version);
        add("there/reload-refused", test_reload_refused);
        add("there/reload", test_reload_by_root);
        return g_test_run();
}
