/* SPDX-License-Identifier: MIT */

/* What can be done with an allocation: mapping, opening, ending, adopting, making its contents durable. */

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library.h"
#include "names.h"
#include "provider.h"
#include "world.h"

#define CONFIGURATION                                                                                \
        "[Region dram]\n"                                                                            \
        "Size=256M\n"

/* ---- Allocations --------------------------------------------------------------------------------------------------- */

static int64_t do_handle(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, 4 * MIB, NULL);
        int fd = daxbroker_allocation_get_fd(allocation),
            lease = daxbroker_allocation_get_lease_fd(allocation);
        struct stat status;
        uint64_t page_size;
        uint8_t *address;

        (void) call;
        g_assert_cmpuint(daxbroker_allocation_get_offset(allocation), ==, 0);
        g_assert_cmpuint(daxbroker_allocation_get_length(allocation), ==, provider_length(4 * MIB));
        assert_says(daxbroker_allocation_get_object(allocation), DAXBROKER_ALLOCATION_PATH "/");
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(fcntl(lease, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(fstat(fd, &status), ==, 0);
        if (!provider_is_device())
                g_assert_cmpint(status.st_size, ==, 4 * MIB);
        g_assert_cmpint(fstat(lease, &status), ==, 0);
        g_assert_true(S_ISFIFO(status.st_mode));

        g_assert_null(daxbroker_allocation_get_address(allocation));
        assert_fails(daxbroker_allocation_get_page_size(allocation, &page_size), ENODATA, "not mapped");
        address = allocation_address(allocation);
        g_assert_true(allocation_address(allocation) == address);
        g_assert_true(daxbroker_allocation_get_address(allocation) == address);

        memset(address, 1, 4 * MIB);
        assert_works(daxbroker_allocation_get_page_size(allocation, &page_size));
        g_assert_true(page_size == 4096 || page_size == 2 * MIB);

        daxbroker_allocation_close(allocation);
        g_assert_cmpint(signal_of_reading(address), ==, SIGSEGV);
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
        g_assert_cmpint(fcntl(lease, F_GETFD), ==, -1);
        g_assert_null(daxbroker_allocation_close(NULL));
        return 0;
}

static int64_t do_open(UserCall *call) {
        daxbroker_allocation *first = allocation_make(NULL, UNIT, "shared"), *second, *reader;
        uint8_t *a = allocation_address(first), *b, *c;

        (void) call;
        assert_works(daxbroker_open(NULL, "shared", 0, &second));
        assert_works(daxbroker_open(NULL, "shared", DAXBROKER_READ_ONLY | DAXBROKER_INTERACTIVE, &reader));
        b = allocation_address(second);
        c = allocation_address(reader);
        g_assert_true(a != b && b != c);
        g_assert_cmpuint((uintptr_t) b % GIB, ==, 0);
        g_assert_cmpuint((uintptr_t) c % GIB, ==, 0);
        g_assert_cmpuint(daxbroker_allocation_get_length(reader), ==, UNIT);

        a[1] = 1;
        b[2] = 2;
        g_assert_cmpint(a[2] + b[1], ==, 3);
        g_assert_cmpint(c[1] + c[2], ==, 3);

        /* not even when asked nicely */
        g_assert_cmpint(signal_of_writing(c), ==, SIGSEGV);
        g_assert_cmpint(mprotect(c, UNIT, PROT_READ | PROT_WRITE), ==, -1);
        g_assert_cmpint(fcntl(daxbroker_allocation_get_fd(reader), F_GETFL) & O_ACCMODE, ==, O_RDONLY);

        /* it stays when all have gone */
        daxbroker_allocation_close(first);
        daxbroker_allocation_close(second);
        daxbroker_allocation_close(reader);
        assert_works(daxbroker_open(NULL, "shared", 0, &first));
        a = allocation_address(first);
        g_assert_cmpint(a[1] + a[2], ==, 3);
        assert_works(daxbroker_end_allocation(NULL, "shared"));
        g_assert_cmpint(signal_of_reading(a), ==, signal_of_ended());
        daxbroker_allocation_close(first);

        assert_fails(daxbroker_open(NULL, "shared", 0, &first), ENOENT, "shared");
        assert_fails(daxbroker_open(NULL, "", 0, &first), EINVAL, "");
        assert_fails(daxbroker_open(NULL, NULL, 0, &first), EINVAL, "no name");
        assert_fails(daxbroker_open(NULL, "shared", 4, &first), EINVAL, "flag");
        return 0;
}

static int64_t do_make_guarded(UserCall *call) {
        (void) call;
        daxbroker_allocation_close(allocation_make(NULL, UNIT, "guarded"));
        return 0;
}

static int64_t do_let_others_read(UserCall *call) {
        (void) call;
        assert_works(daxbroker_set_mode(NULL, "guarded", 0644));
        assert_fails(daxbroker_set_mode(NULL, "guarded", 01000), EINVAL, "01000");
        assert_fails(daxbroker_set_mode(NULL, "nothing", 0600), ENOENT, "nothing");
        assert_fails(daxbroker_set_mode(NULL, NULL, 0600), EINVAL, "no allocation");
        return 0;
}

static int64_t do_intrude(UserCall *call) {
        daxbroker_allocation *allocation;
        daxbroker_info *info;
        daxbroker_list *list;

        (void) call;
        assert_fails(daxbroker_open(NULL, "guarded", 0, &allocation), ENOKEY, "password");
        assert_fails(daxbroker_open(NULL, "guarded", DAXBROKER_READ_ONLY, &allocation), ENOKEY, "password");
        assert_fails(daxbroker_end_allocation(NULL, "guarded"), ENOKEY, "password");
        assert_fails(daxbroker_set_mode(NULL, "guarded", 0666), ENOKEY, "password");
        g_assert_cmpint(daxbroker_get_allocation(NULL, "guarded", &info), <, 0);
        assert_works(daxbroker_list_allocations(NULL, &list));
        g_assert_cmpuint(daxbroker_list_get_size(list), ==, 0);
        daxbroker_list_free(list);
        return 0;
}

static int64_t do_look_at_what_may_be_read(UserCall *call) {
        daxbroker_allocation *allocation;
        daxbroker_list *list;
        daxbroker_info *info;

        (void) call;
        assert_works(daxbroker_open(NULL, "guarded", DAXBROKER_READ_ONLY, &allocation));
        g_assert_true(is_filled(allocation_address(allocation), 0, UNIT));
        daxbroker_allocation_close(allocation);
        assert_fails(daxbroker_open(NULL, "guarded", 0, &allocation), ENOKEY, "password");
        assert_fails(daxbroker_end_allocation(NULL, "guarded"), ENOKEY, "password");
        assert_works(daxbroker_get_allocation(NULL, "guarded", &info));
        g_assert_cmpuint(info_number(info, "Mode"), ==, 0644);
        daxbroker_info_free(info);
        assert_works(daxbroker_list_allocations(NULL, &list));
        g_assert_cmpuint(daxbroker_list_get_size(list), ==, 1);
        daxbroker_list_free(list);
        return 0;
}

static int64_t do_rule(UserCall *call) {
        daxbroker_allocation *allocation;

        (void) call;
        assert_works(daxbroker_open(NULL, "guarded", 0, &allocation));
        daxbroker_allocation_close(allocation);
        assert_works(daxbroker_set_mode(NULL, "guarded", 0600));
        assert_works(daxbroker_end_allocation(NULL, "guarded"));
        return 0;
}

static void test_strangers(Scene *scene, const void *unused) {
        (void) unused;
        as(scene->alice, do_make_guarded);
        as(scene->carol, do_intrude);
        as(scene->alice, do_let_others_read);
        as(scene->carol, do_look_at_what_may_be_read);
        as(scene->root, do_rule);
}

/* By name, by object, by the last part of it; a second time, there is nothing to end. */
static int64_t do_end(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, UNIT, NULL),
                             *other = allocation_make(NULL, UNIT, "named");
        g_autofree char *object = g_strdup(daxbroker_allocation_get_object(allocation));
        const char *id = strrchr(object, '/') + 1;
        uint8_t *address = allocation_address(allocation);
        daxbroker_info *info;

        (void) call;
        assert_works(daxbroker_get_allocation(NULL, object, &info));
        daxbroker_info_free(info);
        assert_works(daxbroker_get_allocation(NULL, id, &info));
        g_assert_cmpstr(info_text(info, "Name"), ==, "");
        daxbroker_info_free(info);

        assert_works(daxbroker_end_allocation(NULL, id));
        g_assert_cmpint(signal_of_reading(address), ==, signal_of_ended());
        if (provider_is_device()) {
                daxbroker_allocation *held = allocation;

                /* somebody has to let go of it */
                assert_fails(daxbroker_end_allocation(NULL, id), EBUSY, "ending already");
                allocation = NULL;
                daxbroker_allocation_close(held);
                g_assert_true(wait_until(20, daxbroker_end_allocation(NULL, id) == -ENOENT));
        }
        assert_fails(daxbroker_end_allocation(NULL, id), ENOENT, "");
        assert_fails(daxbroker_end_allocation(NULL, object), ENOENT, "");
        assert_fails(daxbroker_get_allocation(NULL, object, &info), ENOENT, "");
        assert_fails(daxbroker_get_allocation(NULL, id, &info), ENOENT, "");
        daxbroker_allocation_close(allocation);

        assert_works(daxbroker_end_allocation(NULL, "named"));
        assert_fails(daxbroker_end_allocation(NULL, "named"), ENOENT, "named");
        daxbroker_allocation_close(other);

        assert_fails(daxbroker_end_allocation(NULL, NULL), EINVAL, "no allocation");
        assert_fails(daxbroker_end_allocation(NULL, "/org/daxbroker1/region/dram"), ENOENT,
                     "not the object of an allocation");
        assert_fails(daxbroker_end_allocation(NULL, "/org/daxbroker1/allocation/"), ENOENT,
                     "not the object of an allocation");
        return 0;
}

/* What is no device is taken from its holders at once, and needs no force; nor may just anybody use it. */
static int64_t do_revoke(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, UNIT, "forced");

        (void) call;
        assert_fails(daxbroker_revoke_allocation(NULL, "forced", 0), ENOKEY, "password");
        assert_fails(daxbroker_revoke_allocation(NULL, "forced", DAXBROKER_DESPITE_REFERENCES), ENOKEY, "password");
        assert_fails(daxbroker_revoke_allocation(NULL, "forced", 2), EINVAL, "flag");
        assert_works(daxbroker_end_allocation(NULL, "forced"));
        assert_fails(daxbroker_revoke_allocation(NULL, "forced", 0), ENOENT, "forced");
        daxbroker_allocation_close(allocation);
        return 0;
}

TEST_AS(alice, revoke)

/* A name that looks like an id is a name first. */
static int64_t do_name_like_id(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, UNIT, NULL), *named;
        const char *id = strrchr(daxbroker_allocation_get_object(allocation), '/') + 1;

        (void) call;
        named = allocation_make(NULL, UNIT, id);
        assert_works(daxbroker_end_allocation(NULL, id));
        g_assert_cmpint(signal_of_reading(allocation_address(allocation)), ==, 0);
        g_assert_cmpint(fcntl(daxbroker_allocation_get_fd(named), F_GETFD), >=, 0);
        assert_works(daxbroker_end_allocation(NULL, id));
        g_assert_cmpint(signal_of_reading(daxbroker_allocation_get_address(allocation)), ==, signal_of_ended());
        daxbroker_allocation_close(allocation);
        daxbroker_allocation_close(named);
        return 0;
}

/* A hold stays what it is when what it is a hold of becomes something else; it can be told to follow. */
static int64_t do_remap(UserCall *call) {
        int memory = memfd_create("remap", MFD_CLOEXEC), device = open("/dev/null", O_RDWR | O_CLOEXEC);
        void *address, *again;
        daxbroker_allocation *allocation;

        (void) call;
        g_assert_cmpint(ftruncate(memory, 2 * MIB), ==, 0);
        assert_works(daxbroker_adopt_fds(memory, -1, MIB, MIB, &allocation));
        /* without a mapping it makes one */
        assert_works(daxbroker_allocation_remap(allocation, 0, &address));
        g_assert_true(address == daxbroker_allocation_get_address(allocation));
        g_assert_cmpuint((uintptr_t) address % GIB, ==, 0);
        memset(address, 1, MIB);

        /* longer */
        g_assert_cmpint(ftruncate(memory, 9 * MIB), ==, 0);
        g_assert_cmpuint(daxbroker_allocation_get_length(allocation), ==, MIB);
        assert_fails(daxbroker_allocation_remap(allocation, 9 * MIB, &again), ERANGE, "8388608");
        assert_works(daxbroker_allocation_remap(allocation, 0, &address));
        g_assert_cmpuint(daxbroker_allocation_get_length(allocation), ==, 8 * MIB);
        g_assert_cmpuint((uintptr_t) address % GIB, ==, 0);
        g_assert_true(is_filled(address, 1, MIB));
        g_assert_true(is_filled((uint8_t *) address + MIB, 0, 7 * MIB));
        ((uint8_t *) address)[8 * MIB - 1] = 5;

        /* so much that it has to move: nothing else may be overwritten */
        again = mmap((uint8_t *) address + 8 * MIB, MIB, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        g_assert_true(again != MAP_FAILED);
        memset(again, 9, MIB);
        g_assert_cmpint(ftruncate(memory, 17 * MIB), ==, 0);
        assert_works(daxbroker_allocation_remap(allocation, 16 * MIB, &address));
        g_assert_cmpuint((uintptr_t) address % GIB, ==, 0);
        g_assert_cmpint(((uint8_t *) address)[8 * MIB - 1], ==, 5);
        g_assert_cmpint(signal_of_reading((uint8_t *) address + 16 * MIB - 1), ==, 0);
        g_assert_true(is_filled(again, 9, MIB));
        munmap(again, MIB);

        /* shorter */
        g_assert_cmpint(ftruncate(memory, 3 * MIB), ==, 0);
        g_assert_cmpint(signal_of_reading((uint8_t *) address + 2 * MIB), ==, SIGBUS);
        assert_works(daxbroker_allocation_remap(allocation, 0, &address));
        g_assert_cmpuint(daxbroker_allocation_get_length(allocation), ==, 2 * MIB);
        g_assert_true(is_filled(address, 1, MIB));
        g_assert_cmpint(signal_of_reading((uint8_t *) address + 2 * MIB), ==, SIGSEGV);

        /* over */
        g_assert_cmpint(ftruncate(memory, 0), ==, 0);
        assert_fails(daxbroker_allocation_remap(allocation, 0, &again), ERANGE, "0 bytes");
        daxbroker_allocation_close(allocation);

        assert_works(daxbroker_adopt_fds(device, -1, 0, MIB, &allocation));
        assert_fails(daxbroker_allocation_remap(allocation, 0, &again), EOPNOTSUPP, "device");
        daxbroker_allocation_close(allocation);
        return 0;
}

static int64_t do_change(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, MIB, "data");
        const char *object = daxbroker_allocation_get_object(allocation);
        uint64_t length = 77;
        daxbroker_info *info;

        (void) call;
        assert_works(daxbroker_rename(NULL, "data", "other"));
        assert_fails(daxbroker_rename(NULL, "data", "third"), ENOENT, "data");
        assert_fails(daxbroker_rename(NULL, "other", "a/b"), EINVAL, "characters");
        assert_fails(daxbroker_rename(NULL, "other", NULL), EINVAL, "name");
        assert_works(daxbroker_rename(NULL, object, "third"));
        assert_works(daxbroker_get_allocation(NULL, "third", &info));
        g_assert_cmpstr(daxbroker_info_get_object(info), ==, object);
        g_assert_cmpstr(info_text(info, "Name"), ==, "third");
        g_assert_cmpstr(info_text(info, "OwnerName"), ==, "root");
        daxbroker_info_free(info);

        assert_fails(daxbroker_resize(NULL, "nothing", 2 * MIB, &length), ENOENT, "nothing");
        g_assert_cmpuint(length, ==, 77);
        if (provider_is_files()) {
                assert_works(daxbroker_resize(NULL, "third", 2 * MIB, &length));
                g_assert_cmpuint(length, ==, 2 * MIB);
                assert_works(daxbroker_resize(NULL, "third", MIB, NULL));
        } else {
                assert_fails(daxbroker_resize(NULL, "third", 2 * MIB, &length), EOPNOTSUPP, provider_name());
                assert_fails(daxbroker_resize(NULL, "third", 2 * MIB, NULL), EOPNOTSUPP, provider_name());
                g_assert_cmpuint(length, ==, 77);
        }

        assert_works(daxbroker_set_owner(NULL, "third", world_get_uid("bob"), NULL));
        assert_works(daxbroker_set_owner(NULL, "third", world_get_uid("alice"), "fourth"));
        assert_fails(daxbroker_set_owner(NULL, "third", 0, NULL), ENOENT, "third");
        assert_fails(daxbroker_set_owner(NULL, "fourth", (uid_t) -1, NULL), EINVAL, "4294967295");
        assert_works(daxbroker_get_allocation(NULL, object, &info));
        g_assert_cmpuint(info_number(info, "Owner"), ==, world_get_uid("alice"));
        g_assert_cmpstr(info_text(info, "OwnerName"), ==, "alice");
        daxbroker_info_free(info);
        assert_works(daxbroker_end_allocation(NULL, "fourth"));
        daxbroker_allocation_close(allocation);
        return 0;
}

static int64_t do_change_refused(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, MIB, "data");

        (void) call;
        assert_fails(daxbroker_set_owner(NULL, "data", world_get_uid("bob"), NULL), ENOKEY, "manage");
        assert_works(daxbroker_end_allocation(NULL, "data"));
        daxbroker_allocation_close(allocation);
        return 0;
}

TEST_AS(alice, handle)
TEST_AS(alice, remap)
TEST_AS(root, change)
TEST_AS(alice, change_refused)
TEST_AS(alice, open)
TEST_AS(alice, end)
TEST_AS(alice, name_like_id)

/* ---- Adoption ------------------------------------------------------------------------------------------------------ */

static int64_t do_adopt_fds(UserCall *call) {
        const uint64_t page = provider_page_size();
        daxbroker_allocation *allocation = allocation_make(NULL, 2 * UNIT, NULL), *adopted, *part;
        uint8_t *address = allocation_address(allocation), *again;
        int memory = dup(daxbroker_allocation_get_fd(allocation)),
            lease = dup(daxbroker_allocation_get_lease_fd(allocation));
        int more = dup(memory);

        (void) call;
        address[page + 615] = 42;
        assert_fails(daxbroker_adopt_fds(-1, lease, 0, 0, &adopted), EBADF, "memory");
        assert_fails(daxbroker_adopt_fds(memory, 4711, 0, 0, &adopted), EBADF, "lease");
        assert_fails(daxbroker_adopt_fds(memory, -2, 0, 0, &adopted), EBADF, "lease");
        assert_fails(daxbroker_adopt_fds(memory, memory, 0, 0, &adopted), EINVAL, "same");
        assert_fails(daxbroker_adopt_fds(memory, lease, 2 * UNIT, 0, &adopted), EINVAL, "length");
        if (!provider_is_device()) /* whose descriptor does not say how large it is */
                assert_fails(daxbroker_adopt_fds(memory, lease, 0, 2 * UNIT + 1, &adopted), EINVAL, "beyond");
        assert_fails(daxbroker_adopt_fds(memory, lease, UINT64_MAX, 2, &adopted), EINVAL, "beyond");
        assert_fails(daxbroker_adopt_fds(lease, memory, 0, 0, &adopted), EINVAL, "length");
        /* they are still ours */
        g_assert_cmpint(fcntl(memory, F_GETFD), ==, 0);
        g_assert_cmpint(fcntl(lease, F_GETFD), ==, 0);

        if (provider_is_device())
                assert_fails(daxbroker_adopt_fds(memory, lease, 0, 0, &adopted), EINVAL, "length");
        assert_works(daxbroker_adopt_fds(memory, lease, 0, provider_is_device() ? 2 * UNIT : 0, &adopted));
        g_assert_cmpint(fcntl(memory, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(fcntl(lease, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpuint(daxbroker_allocation_get_length(adopted), ==, 2 * UNIT);
        g_assert_cmpstr(daxbroker_allocation_get_object(adopted), ==, "");

        assert_works(daxbroker_adopt_fds(more, -1, page, page, &part));
        g_assert_cmpint(daxbroker_allocation_get_lease_fd(part), ==, -1);
        g_assert_cmpuint(daxbroker_allocation_get_offset(part), ==, page);

        /* the lease that was adopted keeps it alive */
        daxbroker_allocation_close(allocation);
        again = allocation_address(adopted);
        g_assert_cmpuint((uintptr_t) again % GIB, ==, 0);
        g_assert_cmpint(again[page + 615], ==, 42);
        again = allocation_address(part);
        g_assert_cmpint(again[615], ==, 42);
        daxbroker_allocation_close(part);
        daxbroker_allocation_close(adopted);
        return 0;
}

static void set_variables(const char *memory, const char *lease, const char *offset, const char *length) {
        const char *const names[] = { "DAXBROKER_FD", "DAXBROKER_LEASE_FD", "DAXBROKER_OFFSET",
                                      "DAXBROKER_LENGTH" };
        const char *const values[] = { memory, lease, offset, length };

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                g_assert_cmpint(values[i] ? setenv(names[i], values[i], 1) : unsetenv(names[i]), ==, 0);
}

static int64_t do_adopt_environment(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, UNIT, NULL), *adopted;
        int fd = dup(daxbroker_allocation_get_fd(allocation)),
            other = dup(daxbroker_allocation_get_lease_fd(allocation));
        g_autofree char *memory = g_strdup_printf("%d", fd), *lease = g_strdup_printf("%d", other);
        g_autofree char *own = g_strdup_printf("%d", daxbroker_allocation_get_fd(allocation));
        static const char *const bad[] = { "", " 6", "6 ", "+6", "-1", "0x6", "6x", "99999999999",
                                           "18446744073709551616" };
        g_autofree char *length = g_strdup_printf("%" G_GUINT64_FORMAT, UNIT);

        (void) call;
        set_variables(NULL, lease, "0", length);
        assert_fails(daxbroker_adopt_environment(&adopted), ENXIO, "no DAXBROKER_FD");
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                set_variables(bad[i], lease, "0", length);
                assert_fails(daxbroker_adopt_environment(&adopted), EINVAL, "DAXBROKER_FD");
                set_variables(memory, bad[i], "0", length);
                assert_fails(daxbroker_adopt_environment(&adopted), EINVAL, "DAXBROKER_LEASE_FD");
        }
        set_variables(memory, lease, "x", length);
        assert_fails(daxbroker_adopt_environment(&adopted), EINVAL, "DAXBROKER_OFFSET");
        set_variables(memory, lease, "0", "2M");
        assert_fails(daxbroker_adopt_environment(&adopted), EINVAL, "DAXBROKER_LENGTH");
        if (!provider_is_device()) {
                set_variables(memory, lease, "0", "2097153");
                assert_fails(daxbroker_adopt_environment(&adopted), EINVAL, "beyond");
        }

        /* numbers that are not about us: closed, or somebody else's by now */
        set_variables("4711", lease, "0", length);
        assert_fails(daxbroker_adopt_environment(&adopted), ENXIO, "not passed");
        set_variables(own, lease, "0", length);
        assert_fails(daxbroker_adopt_environment(&adopted), ENXIO, "not passed");

        set_variables(memory, lease, "0", length);
        assert_works(daxbroker_adopt_environment(&adopted));
        g_assert_cmpint(daxbroker_allocation_get_fd(adopted), ==, fd);
        g_assert_cmpint(daxbroker_allocation_get_lease_fd(adopted), ==, other);
        daxbroker_allocation_close(allocation);
        g_assert_true(is_filled(allocation_address(adopted), 0, UNIT));

        /* once and no more */
        assert_fails(daxbroker_adopt_environment(&allocation), ENXIO, "taken already");
        daxbroker_allocation_close(adopted);
        assert_fails(daxbroker_adopt_environment(&allocation), ENXIO, "not passed");
        set_variables(NULL, NULL, NULL, NULL);
        return 0;
}

TEST_AS(alice, adopt_fds)
TEST_AS(alice, adopt_environment)

/* ---- Persistence --------------------------------------------------------------------------------------------------- */

static void persist_all(daxbroker_allocation *allocation, uint8_t *address, uint64_t length) {
        memset(address, 1, length);
        assert_works(daxbroker_persist(allocation, address, length));
        assert_works(daxbroker_persist(allocation, address + 1, length - 1));
        assert_works(daxbroker_persist(allocation, address + 4095, 2));
        assert_works(daxbroker_persist(allocation, address + length, 0));
        assert_works(daxbroker_persist(allocation, address, 0));
        assert_works(daxbroker_flush(allocation, address + 64, 1));
        assert_works(daxbroker_drain(allocation));
        assert_works(daxbroker_deep_flush(allocation, address, length));
        g_assert_true(is_filled(address, 1, length));
}

static int64_t do_persist(UserCall *call) {
        static const struct {
                const char *forced;
                uint64_t smallest, largest;
        } cases[] = {
                { NULL, 4096, 4096 }, { "PAGE", 4096, 4096 }, { "CACHE_LINE", 16, 256 }, { "BYTE", 1, 1 },
        };

        (void) call;
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                daxbroker_allocation *allocation;
                /* it is always cache lines of a device, and of a file that is mapped without a page cache */
                bool lines = provider_is_device() || (!cases[i].forced && provider_has_dax_files());
                uint64_t granularity, length;
                uint8_t *address;

                if (cases[i].forced)
                        g_assert_cmpint(setenv("PMEM2_FORCE_GRANULARITY", cases[i].forced, 1), ==, 0);
                allocation = allocation_make(NULL, 64 * KIB, NULL);
                length = daxbroker_allocation_get_length(allocation);
                assert_fails(daxbroker_get_store_granularity(allocation, &granularity), ENODATA,
                             "not mapped");
                assert_fails(daxbroker_drain(allocation), ENODATA, "not mapped");
                assert_fails(daxbroker_persist(allocation, &granularity, 1), EINVAL, "not mapped");

                address = allocation_address(allocation);
                assert_works(daxbroker_get_store_granularity(allocation, &granularity));
                g_assert_cmpuint(granularity, >=, lines ? 16 : cases[i].smallest);
                g_assert_cmpuint(granularity, <=, lines ? 256 : cases[i].largest);
                persist_all(allocation, address, length);

                assert_fails(daxbroker_persist(allocation, address - 1, 1), EINVAL, "range");
                assert_fails(daxbroker_persist(allocation, address, length + 1), EINVAL, "range");
                assert_fails(daxbroker_flush(allocation, address + length, 1), EINVAL, "range");
                assert_fails(daxbroker_deep_flush(allocation, address + 1, SIZE_MAX), EINVAL, "range");
                assert_fails(daxbroker_persist(allocation, NULL, 1), EINVAL, "range");
                daxbroker_allocation_close(allocation);
        }
        g_assert_cmpint(unsetenv("PMEM2_FORCE_GRANULARITY"), ==, 0);
        return 0;
}

TEST_AS(alice, persist)

#define add(path, function) scene_add("/library-memory/" path, CONFIGURATION, function)

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        add("handle", test_handle);
        add("open", test_open);
        add("remap", test_remap);
        add("change", test_change);
        add("change-refused", test_change_refused);
        add("strangers", test_strangers);
        add("end", test_end);
        add("revoke", test_revoke);
        add("name-like-id", test_name_like_id);
        add("adopt/fds", test_adopt_fds);
        add("adopt/environment", test_adopt_environment);
        add("persist", test_persist);
        return g_test_run();
}
