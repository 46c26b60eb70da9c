/* SPDX-License-Identifier: MIT */

/* What the witness accepts as a request, what it learns, what it concludes from counts, and what it finds in a kernel's
 * description of itself. Counts come from a device made of an array. */

#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "judge.h"
#include "layout.h"
#include "lessons.h"
#include "request.h"

#define MIB (UINT64_C(1) << 20)
#define BIG (2 * MIB)
#define START (UINT64_C(4) << 30)
#define N_PAGES 3000

/* ---- Requests -------------------------------------------------------------------------------------------------------- */

static WitnessRequest make(WitnessKind kind, uint64_t page_size, uint64_t start, uint64_t length) {
        WitnessRequest request = { .version = WITNESS_WIRE_VERSION, .kind = kind, .n_ranges = 1, .page_size = page_size };

        request.ranges[0] = (WitnessWireRange){ start, length };
        return request;
}

static void assert_accepted(const WitnessRequest *request) {
        const char *why = NULL;
        WitnessRequest read;

        g_assert_cmpint(request_check(request, sizeof(*request), &read, &why), ==, 0);
        g_assert_cmpmem(&read, sizeof(read), request, sizeof(*request));
}

static void assert_refused(const WitnessRequest *request, int error, const char *part) {
        WitnessRequest untouched, read;
        const char *why = NULL;

        memset(&read, 0xa5, sizeof(read));
        memset(&untouched, 0xa5, sizeof(untouched));
        g_assert_cmpint(request_check(request, sizeof(*request), &read, &why), ==, error);
        g_assert_nonnull(why);
        if (!strstr(why, part))
                g_error("'%s' does not say '%s'", why, part);
        g_assert_cmpmem(&read, sizeof(read), &untouched, sizeof(untouched));
}

static void test_accepted(void) {
        WitnessRequest request;

        request = make(WITNESS_KIND_ASK, 4096, 0, 4096);
        assert_accepted(&request);
        request = make(WITNESS_KIND_TEACH, BIG, START, WITNESS_WIRE_PAGES_MAX * BIG);
        assert_accepted(&request);
        request = make(WITNESS_KIND_ASK, UINT64_C(1) << 30, WITNESS_WIRE_ADDRESS_MAX - (UINT64_C(1) << 30),
                       UINT64_C(1) << 30);
        assert_accepted(&request);

        request.n_ranges = WITNESS_WIRE_RANGES_MAX;
        for (size_t i = 0; i < WITNESS_WIRE_RANGES_MAX; i++)
                request.ranges[i] = request.ranges[0];
        assert_accepted(&request);
}

static void test_sizes(void) {
        WitnessRequest request = make(WITNESS_KIND_ASK, BIG, START, BIG), read;
        char bytes[sizeof(request) + 1] = { 0 };
        const char *why;

        memcpy(bytes, &request, sizeof(request));
        for (size_t size = 0; size <= sizeof(bytes); size++) {
                why = NULL;
                g_assert_cmpint(request_check(bytes, size, &read, &why), ==, size == sizeof(request) ? 0 : -EPROTO);
                g_assert_cmpstr(why, ==, size == sizeof(request) ? NULL : "the request has the wrong size");
        }
}

static void test_fields(void) {
        const WitnessRequest good = make(WITNESS_KIND_ASK, BIG, START, BIG);
        WitnessRequest request;

#define refuse(error, part, field, value)                                                                      \
        do {                                                                                                   \
                request = good;                                                                                \
                request.field = (value);                                                                       \
                assert_refused(&request, error, part);                                                         \
        } while (0)

        refuse(-EPROTO, "different versions", version, 0);
        refuse(-EPROTO, "different versions", version, WITNESS_WIRE_VERSION + 1);
        refuse(-EINVAL, "no known kind", kind, 0);
        refuse(-EINVAL, "no known kind", kind, 3);
        refuse(-EINVAL, "where nothing belongs", zero, 1);
        refuse(-EINVAL, "no range", n_ranges, 0);
        refuse(-EINVAL, "a range is empty", n_ranges, 2);
        refuse(-EINVAL, "too many ranges", n_ranges, WITNESS_WIRE_RANGES_MAX + 1);
        refuse(-EINVAL, "too many ranges", n_ranges, UINT32_MAX);
        refuse(-EINVAL, "beyond their number", ranges[1].start, 1);
        refuse(-EINVAL, "beyond their number", ranges[WITNESS_WIRE_RANGES_MAX - 1].length, 1);
        refuse(-EINVAL, "page size is none", page_size, 0);
        refuse(-EINVAL, "page size is none", page_size, 1);
        refuse(-EINVAL, "page size is none", page_size, 8192);
        refuse(-EINVAL, "page size is none", page_size, UINT64_MAX);
        refuse(-EINVAL, "a range is empty", ranges[0].length, 0);
        refuse(-EINVAL, "a range is empty", ranges[0].length, BIG + 4096);
        refuse(-EINVAL, "a range is empty", ranges[0].length, UINT64_MAX);
        refuse(-EINVAL, "a range is empty", ranges[0].length, -BIG);
        refuse(-EINVAL, "too many pages", ranges[0].length, (WITNESS_WIRE_PAGES_MAX + 1) * BIG);
        refuse(-EINVAL, "a range is empty", ranges[0].start, START + 4096);
        refuse(-EINVAL, "a range is empty", ranges[0].start, UINT64_MAX);
        refuse(-EINVAL, "a range is empty", ranges[0].start, -BIG);
        refuse(-EINVAL, "a range is empty", ranges[0].start, WITNESS_WIRE_ADDRESS_MAX);
}

/* ---- The judge ------------------------------------------------------------------------------------------------------- */

typedef struct Device {
        int references[N_PAGES];
        bool pinned[N_PAGES];
        bool gone, broken;
        unsigned n_looks, change_at; /* it is changed during that one of the looks */
} Device;

/* As the program in the kernel does. */
static int look(void *context, Look *look_) {
        Device *device = context;
        uint64_t index = (look_->first - (START >> 12)) >> look_->order;

        device->n_looks++;
        g_assert_cmpuint(look_->count, >, 0);
        g_assert_cmpuint(look_->count, <=, LOOK_PAGES_MAX);
        look_->outcome = LOOK_DONE;
        if (device->broken)
                return -EPERM;
        look_->outcome = LOOK_CHANGED;
        if (device->n_looks == device->change_at)
                return 0;
        look_->outcome = LOOK_UNREADABLE;
        if (device->gone)
                return 0;
        look_->outcome = LOOK_OUTSIDE;
        if (look_->first < START >> 12 || index + look_->count > N_PAGES)
                return 0;

        look_->references = device->references[index];
        look_->n_above = look_->n_below = look_->n_pinned = 0;
        for (uint64_t i = index; i < index + look_->count; i++) {
                look_->n_above += device->references[i] > look_->idle;
                look_->n_below += device->references[i] < look_->idle;
                look_->n_pinned += device->pinned[i];
        }
        look_->outcome = LOOK_DONE;
        return 0;
}

typedef struct Fixture {
        Device device;
        Judge judge;
} Fixture;

static void set_up(Fixture *f, gconstpointer data) {
        (void) data;
        for (size_t i = 0; i < N_PAGES; i++)
                f->device.references[i] = 1;
        judge_init(&f->judge, look, &f->device);
}

static WitnessReply say(Fixture *f, WitnessKind kind, uint64_t page_size, uint64_t first, uint64_t n) {
        WitnessRequest request = make(kind, page_size, START + first * page_size, n * page_size);
        WitnessReply reply;

        memset(&reply, 0xa5, sizeof(reply));
        judge_answer(&f->judge, &request, &reply);
        g_assert_cmpuint(reply.version, ==, WITNESS_WIRE_VERSION);
        g_assert_nonnull(memchr(reply.reason, '\0', sizeof(reply.reason)));
        g_assert_true((reply.verdict == WITNESS_WIRE_IDLE) == (*reply.reason == '\0'));
        return reply;
}

#define assert_says(f, kind, page_size, first, n, verdict_, count_)                                            \
        do {                                                                                                   \
                WitnessReply reply_ = say(f, kind, page_size, first, n);                                       \
                g_assert_cmpuint(reply_.verdict, ==, verdict_);                                                \
                g_assert_cmpuint(reply_.count, ==, count_);                                                    \
        } while (0)
#define assert_ask(f, first, n, verdict, count) assert_says(f, WITNESS_KIND_ASK, BIG, first, n, verdict, count)
#define assert_teach(f, first, n, verdict, count) assert_says(f, WITNESS_KIND_TEACH, BIG, first, n, verdict, count)

static void test_learn(Fixture *f, gconstpointer data) {
        (void) data;
        assert_ask(f, 0, 10, WITNESS_WIRE_UNKNOWN, 0);
        assert_teach(f, 0, 10, WITNESS_WIRE_IDLE, 0);
        assert_ask(f, 0, 10, WITNESS_WIRE_IDLE, 0);
        assert_ask(f, 0, N_PAGES, WITNESS_WIRE_IDLE, 0);
        assert_says(f, WITNESS_KIND_ASK, 4096, 0, 10, WITNESS_WIRE_UNKNOWN, 0);
        assert_says(f, WITNESS_KIND_ASK, UINT64_C(1) << 30, 0, 1, WITNESS_WIRE_UNKNOWN, 0);
        g_assert_cmpint(f->judge.idle[PAGE_SIZE_2M], ==, 1);
        assert_says(f, WITNESS_KIND_TEACH, 4096, 0, 10, WITNESS_WIRE_IDLE, 0);
        assert_says(f, WITNESS_KIND_TEACH, UINT64_C(1) << 30, 1, 10, WITNESS_WIRE_IDLE, 0);
        g_assert_cmpint(f->judge.idle[PAGE_SIZE_4K], ==, 1);
        g_assert_cmpint(f->judge.idle[PAGE_SIZE_1G], ==, 1);
}

/* The last page that there is; and pages that have no reference at all when nobody has them. */
static void test_learn_little(Fixture *f, gconstpointer data) {
        (void) data;
        f->device.references[N_PAGES - 1] = 0;
        assert_teach(f, N_PAGES - 1, 1, WITNESS_WIRE_IDLE, 0);
        g_assert_cmpint(f->judge.idle[PAGE_SIZE_2M], ==, 0);
        assert_ask(f, 0, 10, WITNESS_WIRE_REFERENCED, 10);
}

/* What could not be looked at to its end is no lesson. */
static void test_learn_disturbed(Fixture *f, gconstpointer data) {
        (void) data;
        for (size_t i = 0; i < N_PAGES; i++)
                f->device.references[i] = 0;
        for (unsigned i = 1; i <= 4; i++) { /* one page, and then all in three parts */
                f->device.n_looks = 0;
                f->device.change_at = i;
                assert_teach(f, 0, N_PAGES, WITNESS_WIRE_UNKNOWN, 0);
                g_assert_cmpstr(say(f, WITNESS_KIND_ASK, BIG, 0, 1).reason, ==,
                                "nobody has shown yet what idle pages of this size look like");
        }
        assert_teach(f, 0, N_PAGES, WITNESS_WIRE_IDLE, 0);
}

static void test_unlike(Fixture *f, gconstpointer data) {
        (void) data;
        f->device.references[2500] = 2;
        assert_teach(f, 0, N_PAGES, WITNESS_WIRE_UNKNOWN, 0);
        g_assert_cmpstr(say(f, WITNESS_KIND_TEACH, BIG, 0, N_PAGES).reason, ==,
                        "the pages are not alike, and nothing is learnt from them");
        f->device.references[2500] = 0;
        assert_teach(f, 0, N_PAGES, WITNESS_WIRE_UNKNOWN, 0);
        f->device.references[2500] = 1;
        f->device.pinned[2500] = true;
        assert_teach(f, 0, N_PAGES, WITNESS_WIRE_UNKNOWN, 0);
        f->device.references[0] = -15;
        assert_teach(f, 0, 1, WITNESS_WIRE_UNKNOWN, 0);
        assert_ask(f, 0, 10, WITNESS_WIRE_UNKNOWN, 0);
}

static void test_two_lessons(Fixture *f, gconstpointer data) {
        (void) data;
        f->device.references[0] = 17;
        assert_teach(f, 0, 1, WITNESS_WIRE_IDLE, 0); /* it was lied to */
        assert_teach(f, 1, 1, WITNESS_WIRE_IDLE, 0); /* the lower one is right */
        assert_ask(f, 0, 1, WITNESS_WIRE_REFERENCED, 1);
        assert_teach(f, 0, 1, WITNESS_WIRE_REFERENCED, 1);
        assert_teach(f, 0, 2, WITNESS_WIRE_REFERENCED, 1);
        assert_ask(f, 1, 1, WITNESS_WIRE_IDLE, 0);
}

static void test_referenced(Fixture *f, gconstpointer data) {
        (void) data;
        assert_teach(f, 0, 1, WITNESS_WIRE_IDLE, 0);
        f->device.references[LOOK_PAGES_MAX - 1] = 2;
        f->device.references[LOOK_PAGES_MAX] = 1000;
        f->device.references[N_PAGES - 1] = 2;
        assert_ask(f, 0, N_PAGES, WITNESS_WIRE_REFERENCED, 3);
        assert_ask(f, 0, LOOK_PAGES_MAX - 1, WITNESS_WIRE_IDLE, 0);
        assert_ask(f, 0, LOOK_PAGES_MAX, WITNESS_WIRE_REFERENCED, 1);
        assert_ask(f, LOOK_PAGES_MAX + 1, N_PAGES - LOOK_PAGES_MAX - 2, WITNESS_WIRE_IDLE, 0);
        assert_ask(f, N_PAGES - 1, 1, WITNESS_WIRE_REFERENCED, 1);
        f->device.pinned[5] = true;
        assert_ask(f, 0, 10, WITNESS_WIRE_REFERENCED, 1);
}

static void test_below(Fixture *f, gconstpointer data) {
        (void) data;
        assert_teach(f, 0, 1, WITNESS_WIRE_IDLE, 0);
        f->device.references[7] = -15;
        assert_ask(f, 0, 10, WITNESS_WIRE_UNKNOWN, 0);
        f->device.references[8] = 2;
        assert_ask(f, 0, 10, WITNESS_WIRE_REFERENCED, 1);
}

static void test_cannot_look(Fixture *f, gconstpointer data) {
        (void) data;
        f->judge.blind = "it is dark";
        g_assert_cmpstr(say(f, WITNESS_KIND_ASK, BIG, 0, 1).reason, ==, "it is dark");
        f->judge.blind = NULL;

        assert_teach(f, 0, 1, WITNESS_WIRE_IDLE, 0);
        assert_ask(f, 0, N_PAGES + 1, WITNESS_WIRE_UNKNOWN, 0);
        f->device.gone = true;
        assert_ask(f, 0, 1, WITNESS_WIRE_UNKNOWN, 0);
        f->device.gone = false;
        f->device.broken = true;
        assert_ask(f, 0, 1, WITNESS_WIRE_UNKNOWN, 0);
        f->device.broken = false;
        assert_ask(f, 0, 1, WITNESS_WIRE_IDLE, 0);

        f->judge.blind = "it is dark";
        f->device.n_looks = 0;
        assert_ask(f, 0, 1, WITNESS_WIRE_UNKNOWN, 0);
        assert_teach(f, 0, 1, WITNESS_WIRE_UNKNOWN, 0);
        g_assert_cmpstr(say(f, WITNESS_KIND_ASK, BIG, 0, 1).reason, ==, "it is dark");
        g_assert_cmpuint(f->device.n_looks, ==, 0);
}

/* ---- Lessons that are kept ------------------------------------------------------------------------------------------- */

static void test_lessons(Fixture *f, gconstpointer data) {
        g_autofree char *folder = g_dir_make_tmp("daxbroker-lessons-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(folder, "idle", NULL);
        int fd = -1;
        Judge other;

        (void) data;
        g_assert_cmpint(lessons_open("/no/such/folder", &fd), ==, -ENOENT);
        g_assert_cmpint(lessons_open(folder, &fd), ==, 0);
        lessons_read(fd, &f->judge); /* nothing there */
        g_assert_cmpint(f->judge.idle[PAGE_SIZE_2M], ==, IDLE_UNKNOWN);
        assert_teach(f, 0, 1, WITNESS_WIRE_IDLE, 0);
        g_assert_cmpint(lessons_write(fd, &f->judge), ==, 0);

        judge_init(&other, look, &f->device);
        lessons_read(fd, &other);
        g_assert_cmpint(other.idle[PAGE_SIZE_2M], ==, 1);
        g_assert_cmpint(other.idle[PAGE_SIZE_4K], ==, IDLE_UNKNOWN);

        g_assert_cmpint(ftruncate(fd, 10), ==, 0);
        judge_init(&other, look, &f->device);
        lessons_read(fd, &other);
        g_assert_cmpint(other.idle[PAGE_SIZE_2M], ==, IDLE_UNKNOWN);
        g_assert_cmpint(pwrite(fd, "\1\0\0\0\0\0\0\0abcdefghABCDEFGHabcdefgh", 32, 0), ==, 32);
        lessons_read(fd, &other);
        g_assert_cmpint(other.idle[PAGE_SIZE_2M], ==, IDLE_UNKNOWN);

        g_assert_cmpint(close(fd), ==, 0);
        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(rmdir(folder), ==, 0);
}

/* Of a file that may hold anything, what makes sense is believed. */
static void test_lessons_in_part(Fixture *f, gconstpointer data) {
        const int64_t good[] = { 1, 0, INT32_MAX, 17 }, later[] = { 2, 1, 1, 1 };
        const int64_t strange[] = { 1, -2, INT64_C(1) + INT32_MAX, INT64_MIN };
        FILE *file = tmpfile();
        int fd = fileno(file);

        (void) data;
        g_assert_cmpint(pwrite(fd, later, sizeof(later), 0), ==, sizeof(later));
        lessons_read(fd, &f->judge);
        g_assert_cmpint(pwrite(fd, strange, sizeof(strange), 0), ==, sizeof(strange));
        lessons_read(fd, &f->judge);
        for (size_t i = 0; i < N_PAGE_SIZES; i++)
                g_assert_cmpint(f->judge.idle[i], ==, IDLE_UNKNOWN);
        g_assert_cmpint(pwrite(fd, good, sizeof(good), 0), ==, sizeof(good));
        lessons_read(fd, &f->judge);
        g_assert_cmpmem(f->judge.idle, sizeof(f->judge.idle), good + 1, sizeof(good) - sizeof(good[0]));
        g_assert_cmpint(fclose(file), ==, 0);
}

static void test_lessons_file(Fixture *f, gconstpointer data) {
        g_autofree char *folder = g_dir_make_tmp("daxbroker-lessons-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(folder, "idle", NULL);
        struct rlimit before, little;
        char slashes[252];
        struct stat st;
        mode_t mask;
        int fd = -1, r;

        (void) data;
        mask = umask(0);
        g_assert_cmpint(lessons_open(folder, &fd), ==, 0);
        umask(mask);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
        g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);

        /* a full disk looks like this */
        g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
        little = (struct rlimit){ 10, before.rlim_max };
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &little), ==, 0);
        r = lessons_write(fd, &f->judge);
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
        g_assert_cmpint(r, ==, -ENOSPC);
        g_assert_cmpint(close(fd), ==, 0);
        g_assert_cmpint(lessons_write(-EBADF, &f->judge), ==, -EBADF);

        /* with "/idle" and the zero at the end these are 256 bytes, and then one more */
        memset(slashes, '/', sizeof(slashes));
        memcpy(slashes, folder, strlen(folder));
        slashes[250] = '\0';
        g_assert_cmpint(lessons_open(slashes, &fd), ==, 0);
        g_assert_cmpint(close(fd), ==, 0);
        fd = -1;
        slashes[250] = '/';
        slashes[251] = '\0';
        g_assert_cmpint(lessons_open(slashes, &fd), ==, -ENAMETOOLONG);

        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(symlink("elsewhere", path), ==, 0);
        g_assert_cmpint(lessons_open(folder, &fd), ==, -ELOOP);
        g_assert_cmpint(fd, ==, -1);
        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(rmdir(folder), ==, 0);
}

/* ---- The kernel's description of itself ------------------------------------------------------------------------------ */

static void test_layout(void) {
        struct btf *btf = btf__load_vmlinux_btf();
        const char *why = "nothing";
        Layout layout;
        int r;

        if (!btf) {
                g_test_skip("this kernel does not describe its types");
                return;
        }

        r = layout_find(btf, &layout, &why);
        btf__free(btf);
        if (r < 0) {
                g_test_skip(why); /* a kernel without memory of devices, or a later one */
                return;
        }
        g_assert_cmpuint(layout.page_size, ==, 64);
        g_assert_cmpuint(layout.page_references % 4, ==, 0);
        g_assert_cmpuint(layout.page_map % 8, ==, 0);
        g_assert_cmpuint(layout.map_type, !=, layout.map_n_ranges);
        g_assert_cmpuint(layout.type_generic, >, 0);
        g_assert_true(layout.page_pins == 0 || layout.page_pins >= layout.page_size);
}

/* Members are found in whatever they are wrapped in, if their size is right. */
static void test_layout_made_up(void) {
        struct btf *btf = btf__new_empty();
        int word, wide, pair, inner, wrapped, map;
        const char *why = NULL;
        Layout layout;

        g_assert_nonnull(btf);
        g_assert_cmpint(layout_find(btf, &layout, &why), ==, -ENOENT);
        g_assert_nonnull(why);

        word = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
        wide = btf__add_int(btf, "long", 8, 0);
        pair = btf__add_struct(btf, "range", 16);
        btf__add_field(btf, "start", wide, 0, 0);
        btf__add_field(btf, "end", wide, 64, 0);
        inner = btf__add_struct(btf, NULL, 16);
        btf__add_field(btf, "pgmap", wide, 64, 0);
        wrapped = btf__add_union(btf, NULL, 16);
        btf__add_field(btf, "lru", wide, 0, 0);
        btf__add_field(btf, NULL, inner, 0, 0);
        btf__add_struct(btf, "page", 32);
        btf__add_field(btf, "flags", wide, 0, 0);
        btf__add_field(btf, NULL, wrapped, 64, 0);
        btf__add_field(btf, "_refcount", word, 192, 0);
        g_assert_cmpint(layout_find(btf, &layout, &why), ==, -ENOENT);

        btf__add_enum(btf, "memory_type", 4);
        btf__add_enum_value(btf, "MEMORY_DEVICE_PRIVATE", 1);
        btf__add_enum_value(btf, "MEMORY_DEVICE_GENERIC", 7);
        map = btf__add_struct(btf, "dev_pagemap", 64);
        btf__add_field(btf, "type", word, 32, 0);
        btf__add_field(btf, "nr_range", word, 64, 0);
        btf__add_field(btf, "range", pair, 128, 0);
        g_assert_cmpint(map, >, 0);
        g_assert_cmpint(layout_find(btf, &layout, &why), ==, -ENOENT); /* no vmemmap_shift */
        btf__add_field(btf, "vmemmap_shift", wide, 256, 0);

        g_assert_cmpint(layout_find(btf, &layout, &why), ==, 0);
        g_assert_cmpuint(layout.page_size, ==, 32);
        g_assert_cmpuint(layout.page_map, ==, 16);
        g_assert_cmpuint(layout.page_references, ==, 24);
        g_assert_cmpuint(layout.page_pins, ==, 0);
        g_assert_cmpuint(layout.map_type, ==, 4);
        g_assert_cmpuint(layout.map_n_ranges, ==, 8);
        g_assert_cmpuint(layout.map_ranges, ==, 16);
        g_assert_cmpuint(layout.map_order, ==, 32);
        g_assert_cmpuint(layout.type_generic, ==, 7);
        btf__free(btf);
}

static int find_symbol(const char *text, uint64_t *ret) {
        FILE *file = fmemopen((void *) (uintptr_t) text, strlen(text), "r");
        int r;

        g_assert_nonnull(file);
        r = symbol_find(file, "vmemmap_base", ret);
        g_assert_cmpint(fclose(file), ==, 0);
        return r;
}

static void test_symbol(void) {
        uint64_t address = 1;

        g_assert_cmpint(find_symbol("\n", &address), ==, -ENOENT);
        g_assert_cmpint(find_symbol("ffffffff82000000 D page_offset_base\nffffffff82000008 D vmemmap_base_2\n",
                                    &address),
                        ==, -ENOENT);
        g_assert_cmpint(find_symbol("garbage\n0000000000000000 D vmemmap_base\n", &address), ==, -EACCES);
        g_assert_cmpuint(address, ==, 1);
        g_assert_cmpint(find_symbol("x\nffffffff82000000 T x\t[y]\nffffffff82000008 D vmemmap_base\n", &address), ==, 0);
        g_assert_cmpuint(address, ==, UINT64_C(0xffffffff82000008));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/witness/request/accepted", test_accepted);
        g_test_add_func("/witness/request/sizes", test_sizes);
        g_test_add_func("/witness/request/fields", test_fields);
        g_test_add("/witness/judge/learn", Fixture, NULL, set_up, test_learn, NULL);
        g_test_add("/witness/judge/learn-little", Fixture, NULL, set_up, test_learn_little, NULL);
        g_test_add("/witness/judge/learn-disturbed", Fixture, NULL, set_up, test_learn_disturbed, NULL);
        g_test_add("/witness/judge/unlike", Fixture, NULL, set_up, test_unlike, NULL);
        g_test_add("/witness/judge/two-lessons", Fixture, NULL, set_up, test_two_lessons, NULL);
        g_test_add("/witness/judge/referenced", Fixture, NULL, set_up, test_referenced, NULL);
        g_test_add("/witness/judge/below", Fixture, NULL, set_up, test_below, NULL);
        g_test_add("/witness/judge/cannot-look", Fixture, NULL, set_up, test_cannot_look, NULL);
        g_test_add("/witness/lessons", Fixture, NULL, set_up, test_lessons, NULL);
        g_test_add("/witness/lessons/in-part", Fixture, NULL, set_up, test_lessons_in_part, NULL);
        g_test_add("/witness/lessons/file", Fixture, NULL, set_up, test_lessons_file, NULL);
        g_test_add_func("/witness/layout/kernel", test_layout);
        g_test_add_func("/witness/layout/made-up", test_layout_made_up);
        g_test_add_func("/witness/symbol", test_symbol);
        return g_test_run();
}
