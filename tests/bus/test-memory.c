/* SPDX-License-Identifier: MIT */

/* The memory itself: which pages it is made of, when they are there, on which node, and what its descriptor can do. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "huge-pages.h"
#include "memory.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION                                                    \
        "[Region dram]\nSize=3G\n"                                       \
        "[Region here]\nProvider=memfd\nSize=64M\nNumaNode=0\n"          \
        "[Region all]\nProvider=memfd\nSize=100%\n"
#define NODE "/sys/devices/system/node/node"

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

/* ---- What the kernel says, in the user's process --------------------------------------------------------------- */

static int64_t do_get_mode(UserCall *call) {
        struct stat st;
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        g_assert_cmpint(fstat(memory, &st), ==, 0);
        return st.st_mode;
}

static int64_t do_execute(UserCall *call) {
        static char *const nothing[] = { NULL };
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        return syscall(SYS_execveat, memory, "", nothing, nothing, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int64_t do_change_mode(UserCall *call) {
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        return fchmod(memory, 0777) < 0 ? -errno : 0;
}

typedef struct Span {
        int slot;
        uint64_t length;
} Span;

static int64_t do_count_resident(UserCall *call) {
        const Span *span = call->data;
        size_t n = span->length / 4096;
        g_autofree unsigned char *resident = g_malloc(n);
        uint8_t *address;
        int64_t sum = 0;

        slot_borrow(span->slot, NULL, NULL, &address);
        g_assert_cmpint(mincore(address, span->length, resident), ==, 0);
        for (size_t i = 0; i < n; i++)
                sum += resident[i] & 1;
        return sum;
}

/* Whether a thread of the broker would take memory of its own from some node only. */
static bool broker_is_bound(Broker *broker) {
        g_autofree char *path = g_strdup_printf("/proc/%d/task", broker->pid);
        g_autoptr(GDir) threads = g_dir_open(path, 0, NULL);
        const char *thread;
        bool is_bound = false;

        while ((thread = g_dir_read_name(threads))) {
                g_autofree char *file = g_build_filename(path, thread, "numa_maps", NULL), *text = NULL;

                if (g_file_get_contents(file, &text, NULL, NULL))
                        is_bound = is_bound || strstr(text, " bind:");
        }
        return is_bound;
}

/* The line about the mapping in /proc/self/numa_maps. */
static int64_t do_get_numa_map(UserCall *call) {
        g_autofree char *text = NULL, *prefix = NULL;
        g_auto(GStrv) lines = NULL;
        uint8_t *address;

        slot_borrow(*(const int *) call->data, NULL, NULL, &address);
        if (!g_file_get_contents("/proc/self/numa_maps", &text, NULL, NULL))
                return -1;
        prefix = g_strdup_printf("%" PRIxPTR " ", (uintptr_t) address);
        lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line; line++)
                if (g_str_has_prefix(*line, prefix)) {
                        call->answer_size = strlen(*line) + 1;
                        memcpy(call->answer, *line, call->answer_size);
                }
        return 0;
}

static char *get_numa_map(User *user, int slot) {
        char *line = g_malloc0(USER_DATA_MAX);

        g_assert_cmpint(user_call(user, do_get_numa_map, &slot, sizeof(slot), line, USER_DATA_MAX), ==, 0);
        g_assert_cmpstr(line, !=, "");
        return line;
}

/* ---- Helpers --------------------------------------------------------------------------------------------------- */

/* Skips the test where there are none to be had. */
static bool have_huge_pages(unsigned n) {
        if (huge_pages_reserve(n))
                return true;

        huge_pages_restore();
        g_test_skip("this machine has no huge pages to spare");
        return false;
}

static bool have_no_huge_pages(void) {
        if (huge_pages_count_free() == 0)
                return true;

        g_test_skip("this machine has free huge pages, which are somebody's");
        return false;
}

static bool have_numa(void) {
        if (g_file_test(NODE "0", G_FILE_TEST_IS_DIR) &&
            g_file_test("/proc/self/numa_maps", G_FILE_TEST_EXISTS))
                return true;

        g_test_skip("this kernel knows nothing of nodes");
        return false;
}

static uint64_t page_size_of(Scene *scene, const Reply *reply) {
        return allocation_get(scene->alice, reply->object, "PageSize");
}

/* Zeros, all of it can be written, and nothing gets lost. */
static void assert_works(User *user, const Reply *reply) {
        g_assert_cmpint(user_map(user, reply->slot), ==, 0);
        g_assert_cmpint(user_is_filled(user, reply->slot, 0), ==, 1);
        g_assert_cmpint(user_fill(user, reply->slot, 0x5a), ==, 0);
        g_assert_cmpint(user_is_filled(user, reply->slot, 0x5a), ==, 1);
}

static Reply get_aligned(Scene *scene, uint64_t size, uint64_t alignment, const char *options) {
        Reply reply = user_allocate(scene->alice, size, alignment, options);

        reply_assert(reply, "");
        return reply;
}

/* ---- Huge pages ------------------------------------------------------------------------------------------------ */

static void test_huge(Scene *scene, gconstpointer unused) {
        static const uint64_t alignments[] = { 2 * MIB, 4 * MIB, GIB };
        uint64_t there;

        (void) unused;
        if (!have_huge_pages(8))
                return;
        there = huge_pages_count_free();
        for (size_t i = 0; i < G_N_ELEMENTS(alignments); i++) {
                Reply reply = get_aligned(scene, 5 * MIB, alignments[i], NULL);

                /* all of them at once, before anybody has touched any */
                g_assert_cmpuint(huge_pages_count_free(), ==, there - 3);
                g_assert_cmpuint(user_bytes_present(scene->alice, reply.slot), ==, 6 * MIB);
                g_assert_cmpuint(reply.length, ==, 6 * MIB);
                g_assert_cmpuint(page_size_of(scene, &reply), ==, 2 * MIB);
                assert_works(scene->alice, &reply);
                if (g_file_test("/proc/self/numa_maps", G_FILE_TEST_EXISTS)) {
                        g_autofree char *line = get_numa_map(scene->alice, reply.slot);

                        assert_says(line, "kernelpagesize_kB=2048");
                }
                scene_clear(scene);
                g_assert_true(wait_until(10, huge_pages_count_free() == there));
        }

        /* below that alignment they are not for him */
        (void) get_aligned(scene, 4 * MIB, MIB, NULL);
        g_assert_cmpuint(huge_pages_count_free(), ==, there);
        huge_pages_restore();
}

/* Where there are not enough it is ordinary memory, all of it. */
static void test_huge_fallback(Scene *scene, gconstpointer unused) {
        uint64_t there;
        Reply reply;

        (void) unused;
        if (!have_huge_pages(4))
                return;
        there = huge_pages_count_free();
        reply = get_aligned(scene, (there + 1) * 2 * MIB, 2 * MIB, NULL);
        g_assert_cmpuint(page_size_of(scene, &reply), ==, 4096);
        g_assert_cmpuint(huge_pages_count_free(), ==, there);
        assert_works(scene->alice, &reply);

        reply = get_aligned(scene, there * 2 * MIB, 2 * MIB, NULL);
        g_assert_cmpuint(page_size_of(scene, &reply), ==, 2 * MIB);
        g_assert_cmpuint(huge_pages_count_free(), ==, 0);
        reply = get_aligned(scene, 1, 2 * MIB, NULL);
        g_assert_cmpuint(page_size_of(scene, &reply), ==, 4096);
        assert_works(scene->alice, &reply);
        scene_clear(scene);
        huge_pages_restore();
}

static void test_no_huge(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        if (!have_no_huge_pages())
                return;
        reply = get_aligned(scene, MIB, 2 * MIB, NULL);
        g_assert_cmpuint(reply.length, ==, 2 * MIB);
        g_assert_cmpuint(page_size_of(scene, &reply), ==, 4096);
        assert_works(scene->alice, &reply);
        scene_clear(scene);

        /* who insists is told */
        reply = user_allocate(scene->alice, MIB, 1, "page-size=2097152");
        reply_assert(reply, "NoHugePages");
        assert_says(reply.message, "1 pages of 2 MiB are needed, 0 are free");
        footprint_assert_back(scene->broker, &scene->before);
}

static void test_page_size(Scene *scene, gconstpointer unused) {
        static const char *const bad[] = { "page-size=0", "page-size=3", "page-size=4097",
                                          "page-size=18446744073709551615" };
        static const char *const unknown[] = { "page-size=1", "page-size=2048", "page-size=8192",
                                               "page-size=9223372036854775808" };
        Reply reply;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                reply = user_allocate(scene->alice, 1, 1, bad[i]);
                reply_assert(reply, "BadOption");
                assert_says(reply.message, "option page-size");
                assert_says(reply.message, "not a power of two");
        }
        for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++) {
                reply = user_allocate(scene->alice, 1, 1, unknown[i]);
                reply_assert(reply, "BadOption");
                assert_says(reply.message, "option page-size: this machine has no pages of");
        }

        if (!have_huge_pages(4))
                return;
        /* small ones although there are huge ones */
        reply = get_aligned(scene, 5000, 2 * MIB, "page-size=4096");
        g_assert_cmpuint(reply.length, ==, 8192);
        g_assert_cmpuint(page_size_of(scene, &reply), ==, 4096);
        /* huge ones although small ones would do */
        reply = get_aligned(scene, 1, 1, "page-size=2097152");
        g_assert_cmpuint(reply.length, ==, 2 * MIB);
        g_assert_cmpuint(page_size_of(scene, &reply), ==, 2 * MIB);
        assert_works(scene->alice, &reply);
        scene_clear(scene);
        huge_pages_restore();
}

/* A shortage is an error now, and never a SIGBUS later. */
static void test_shortage(Scene *scene, gconstpointer unused) {
        g_autofree char *says = NULL;
        uint64_t there;
        Reply reply;

        (void) unused;
        if (!have_huge_pages(4))
                return;
        there = huge_pages_count_free();
        says = g_strdup_printf("%" PRIu64 " pages of 2 MiB are needed, %" PRIu64 " are free", there + 1,
                               there);
        reply = user_allocate(scene->alice, there * 2 * MIB + 1, 1, "page-size=2097152");
        reply_assert(reply, "NoHugePages");
        assert_says(reply.message, says);
        assert_says(reply.message, "vm.nr_hugepages");
        footprint_assert_back(scene->broker, &scene->before);
        g_assert_cmpuint(huge_pages_count_free(), ==, there);

        reply = get_aligned(scene, there * 2 * MIB, 1, "page-size=2097152");
        reply_assert(user_allocate(scene->alice, 1, 1, "page-size=2097152"), "NoHugePages");
        /* even if the admin wants them back now */
        huge_pages_restore();
        assert_works(scene->alice, &reply);
        scene_clear(scene);
}

static void test_shortage_at_once(Scene *scene, gconstpointer unused) {
        User *guests[12];
        uint64_t there, n = 0;

        (void) unused;
        if (!have_huge_pages(4))
                return;
        there = huge_pages_count_free();
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
                guests[i] = user_new("alice");
                user_begin_allocate(guests[i], 1, 1, "page-size=2097152");
        }
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
                Reply reply = user_end_reply(guests[i]);

                if (reply.error[0] == '\0') {
                        n++;
                        assert_works(guests[i], &reply);
                } else
                        reply_assert(reply, "NoHugePages");
        }
        g_assert_cmpuint(n, ==, MIN(there, G_N_ELEMENTS(guests)));
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                user_free(guests[i]);
        footprint_assert_back(scene->broker, &scene->before);
        huge_pages_restore();
}

/* ---- Prefault -------------------------------------------------------------------------------------------------- */

static void assert_present(Scene *scene, const Reply *reply) {
        Span span = { .slot = reply->slot, .length = reply->length };

        g_assert_cmpuint(user_bytes_present(scene->alice, reply->slot), ==, reply->length);
        g_assert_cmpint(user_map(scene->alice, reply->slot), ==, 0);
        g_assert_cmpint(user_call(scene->alice, do_count_resident, &span, sizeof(span), NULL, 0), ==,
                        (int64_t) (reply->length / 4096));
        g_assert_cmpint(user_is_filled(scene->alice, reply->slot, 0), ==, 1);
}

static void test_prefault(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        /* without it, nothing is there before it is used */
        reply = get_aligned(scene, 64 * MIB, 1, "prefault=0");
        g_assert_cmpuint(user_bytes_present(scene->alice, reply.slot), ==, 0);

        reply = get_aligned(scene, 64 * MIB, 1, "prefault=1");
        assert_present(scene, &reply);
        reply = get_aligned(scene, 1, 1, "prefault=1");
        assert_present(scene, &reply);
        reply = get_aligned(scene, 64 * MIB, 2 * MIB, "prefault=1");
        assert_present(scene, &reply);
        reply = get_aligned(scene, 16 * MIB, 1, "prefault=1 page-size=4096 name=later");
        assert_present(scene, &reply);
}

static void test_prefault_too_much(Scene *scene, gconstpointer unused) {
        Reply reply = user_allocate(scene->alice, region_get("all", "Size"), 1, "region=all prefault=1");

        (void) unused;
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, "option prefault: the machine has ");
        g_assert_cmpuint(region_get("all", "Available"), ==, region_get("all", "Size"));
        footprint_assert_back(scene->broker, &scene->before);

        /* that it may be more than there is now is nobody's business without it */
        reply_assert(user_allocate(scene->alice, region_get("all", "Size"), 1, "region=all"), "");
}

/* While one waits for his pages, others get theirs. */
static void test_prefault_meanwhile(Scene *scene, gconstpointer unused) {
        User *patient = user_new("alice");
        Reply reply;
        unsigned n = 0;

        (void) unused;
        user_begin_allocate(patient, GIB, 1, "prefault=1");
        while (!user_is_done(patient) && n < 1000) {
                reply = user_get(scene->root, 1, NULL);
                user_drop(scene->root, reply.slot);
                n++;
        }
        reply = user_end_reply(patient);
        reply_assert(reply, "");
        g_assert_cmpuint(user_bytes_present(patient, reply.slot), ==, GIB);
        g_assert_cmpuint(n, >, 5);
        user_free(patient);
}

/* ---- Nodes ----------------------------------------------------------------------------------------------------- */

static void assert_policy(User *user, const Reply *reply, const char *policy) {
        g_autofree char *line = NULL;

        g_assert_cmpint(user_map(user, reply->slot), ==, 0);
        line = get_numa_map(user, reply->slot);
        assert_says(line, policy);
}

static void test_node(Scene *scene, gconstpointer unused) {
        Reply reply, other;
        g_autofree char *line = NULL;

        (void) unused;
        if (!have_numa())
                return;
        reply = get_aligned(scene, MIB, 1, NULL);
        assert_policy(scene->alice, &reply, " default ");
        reply = get_aligned(scene, MIB, 1, "numa-node=0 name=bound mode=0606");
        assert_policy(scene->alice, &reply, " bind:0 ");
        reply = get_aligned(scene, MIB, 1, "region=here");
        assert_policy(scene->alice, &reply, " bind:0 ");
        reply = get_aligned(scene, MIB, 1, "region=here numa-node=0 prefault=1");
        assert_present(scene, &reply);
        line = get_numa_map(scene->alice, reply.slot);
        assert_says(line, " bind:0 ");
        assert_says(line, " N0=256");

        /* it is the memory's, not its first holder's */
        other = user_open(scene->bob, "bound", NULL);
        reply_assert(other, "");
        assert_policy(scene->bob, &other, " bind:0 ");
        broker_restart(scene->broker);
        other = user_open(scene->bob, "bound", NULL);
        reply_assert(other, "");
        assert_policy(scene->bob, &other, " bind:0 ");
}

static void test_node_huge(Scene *scene, gconstpointer unused) {
        g_autofree char *line = NULL;
        Reply reply;

        (void) unused;
        if (!have_numa() || !have_huge_pages(4))
                return;
        reply = get_aligned(scene, 4 * MIB, 2 * MIB, "numa-node=0 page-size=2097152");
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_fill(scene->alice, reply.slot, 1), ==, 0);
        line = get_numa_map(scene->alice, reply.slot);
        assert_says(line, " N0=2");

        /* the thread that made it is itself again */
        g_assert_false(broker_is_bound(scene->broker));
        reply = get_aligned(scene, 1, 1, NULL);
        assert_policy(scene->alice, &reply, " default ");
        scene_clear(scene);
        huge_pages_restore();
}

static void test_bad_node(Scene *scene, gconstpointer unused) {
        static const char *const bad[] = { "numa-node=77", "numa-node=1023", "numa-node=1024",
                                          "numa-node=2147483648", "numa-node=4294967295" };
        Reply reply;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *says = g_strdup_printf("no node %s with memory", strchr(bad[i], '=') + 1);

                reply = user_allocate(scene->alice, 1, 1, bad[i]);
                reply_assert(reply, "BadOption");
                assert_says(reply.message, "option numa-node");
                assert_says(reply.message, says);
        }
        footprint_assert_back(scene->broker, &scene->before);

        if (!g_file_test(NODE "1", G_FILE_TEST_IS_DIR))
                return;
        reply = user_allocate(scene->alice, 1, 1, "region=here numa-node=1");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "lies on node 0");
}

/* ---- The descriptor -------------------------------------------------------------------------------------------- */

static void assert_sealed(User *user, const Reply *reply) {
        int seals = user_get_seals(user, reply->slot);
        int64_t mode = user_call(user, do_get_mode, &reply->slot, sizeof(reply->slot), NULL, 0);

        /* kernels before 6.3 know no F_SEAL_EXEC */
        g_assert_cmpint(seals & ~F_SEAL_EXEC, ==, F_SEAL_GROW | F_SEAL_SEAL);
        g_assert_true(S_ISREG(mode));
        g_assert_cmpint(mode & 0111, ==, 0);
        g_assert_cmpint(mode & 07000, ==, 0);
        g_assert_cmpint(user_call(user, do_execute, &reply->slot, sizeof(reply->slot), NULL, 0), ==,
                        -EACCES);
        g_assert_cmpint(user_call(user, do_change_mode, &reply->slot, sizeof(reply->slot), NULL, 0), ==,
                        -EPERM);
}

/* Its size is what was granted, whatever its holder tries. */
static void assert_cannot_grow(User *user, const Reply *reply) {
        static const unsigned seals[] = { F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE,
                                         F_SEAL_FUTURE_WRITE };
        uint64_t length = reply->length;

        g_assert_cmpint(user_truncate(user, reply->slot, length + 4096), <, 0);
        g_assert_cmpint(user_truncate(user, reply->slot, length + 2 * MIB), ==, -EPERM);
        g_assert_cmpint(user_fallocate(user, reply->slot, 0, 0, length + 2 * MIB), ==, -EPERM);
        g_assert_cmpint(user_fallocate(user, reply->slot, FALLOC_FL_KEEP_SIZE, length, 2 * MIB), ==, -EPERM);
        g_assert_cmpint(user_pwrite(user, reply->slot, length, 1), <, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(seals); i++)
                g_assert_cmpint(user_add_seals(user, reply->slot, seals[i]), ==, -EPERM);
        g_assert_cmpuint(user_bytes_present(user, reply->slot), <=, length);

        /* not even back to what it was */
        g_assert_cmpint(user_truncate(user, reply->slot, 0), ==, 0);
        g_assert_cmpint(user_truncate(user, reply->slot, length), ==, -EPERM);
}

static void test_descriptor(Scene *scene, gconstpointer unused) {
        Reply reply = get_aligned(scene, MIB, 1, NULL);

        (void) unused;
        assert_sealed(scene->alice, &reply);
        assert_cannot_grow(scene->alice, &reply);
        reply = get_aligned(scene, MIB, 1, "prefault=1 name=there");
        assert_sealed(scene->alice, &reply);
        reply = user_open(scene->alice, "there", "read-only=1");
        reply_assert(reply, "");
        assert_sealed(scene->alice, &reply);
}

static void test_descriptor_huge(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        if (!have_huge_pages(4))
                return;
        reply = get_aligned(scene, 4 * MIB, 2 * MIB, "page-size=2097152");
        assert_sealed(scene->alice, &reply);
        assert_cannot_grow(scene->alice, &reply);
        scene_clear(scene);
        huge_pages_restore();
}

/* Programs that take a path open /proc/self/fd/N; whoever holds the descriptor may, whichever uid he has. */
static void assert_opens_again(Scene *scene, const Reply *reply) {
        int slot = user_give(scene->alice, reply->slot, scene->bob);

        g_assert_cmpint(user_reopen(scene->alice, reply->slot, O_RDWR), ==, 0);
        g_assert_cmpint(user_map(scene->alice, reply->slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, reply->slot, 0, 23), ==, 0);
        g_assert_cmpint(user_reopen(scene->bob, slot, O_RDWR), ==, 0);
        g_assert_cmpint(user_map(scene->bob, slot), ==, 0);
        g_assert_cmpint(user_peek(scene->bob, slot, 0), ==, 23);
        g_assert_cmpint(user_poke(scene->bob, slot, 0, 24), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, reply->slot, 0), ==, 24);
        user_unmap(scene->bob, slot);
        g_assert_cmpint(user_reopen(scene->bob, slot, O_RDONLY), ==, 0);
        g_assert_cmpint(user_map(scene->bob, slot), ==, -EACCES);
        g_assert_cmpint(user_map_read_only(scene->bob, slot), ==, 0);
        g_assert_cmpint(user_peek(scene->bob, slot, 0), ==, 24);
}

static void test_reopen(Scene *scene, gconstpointer unused) {
        Reply reply = get_aligned(scene, MIB, 1, NULL);

        (void) unused;
        assert_opens_again(scene, &reply);
}

static void test_reopen_huge(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        if (!have_huge_pages(2))
                return;
        reply = get_aligned(scene, 2 * MIB, 2 * MIB, "page-size=2097152");
        assert_opens_again(scene, &reply);
        scene_clear(scene);
        huge_pages_restore();
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/memory/huge", CONFIGURATION, test_huge);
        scene_add("/memory/huge-fallback", CONFIGURATION, test_huge_fallback);
        scene_add("/memory/no-huge", CONFIGURATION, test_no_huge);
        scene_add("/memory/page-size", CONFIGURATION, test_page_size);
        scene_add("/memory/shortage", CONFIGURATION, test_shortage);
        scene_add("/memory/shortage-at-once", CONFIGURATION, test_shortage_at_once);
        scene_add("/memory/prefault", CONFIGURATION, test_prefault);
        scene_add("/memory/prefault-too-much", CONFIGURATION, test_prefault_too_much);
        scene_add("/memory/prefault-meanwhile", CONFIGURATION, test_prefault_meanwhile);
        scene_add("/memory/node", CONFIGURATION, test_node);
        scene_add("/memory/node-huge", CONFIGURATION, test_node_huge);
        scene_add("/memory/bad-node", CONFIGURATION, test_bad_node);
        scene_add("/memory/descriptor", CONFIGURATION, test_descriptor);
        scene_add("/memory/descriptor-huge", CONFIGURATION, test_descriptor_huge);
        scene_add("/memory/reopen", CONFIGURATION, test_reopen);
        scene_add("/memory/reopen-huge", CONFIGURATION, test_reopen_huge);
        return g_test_run();
}
