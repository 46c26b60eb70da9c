/* SPDX-License-Identifier: MIT */

/* Memory that is made ahead of requests: it is there at once, clean, counted as available, in nobody's way, and nothing is
 * left of it. It is made by a thread that only runs when no processor has anything better to do, so it is waited for with
 * patience. */

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "huge-pages.h"
#include "memory.h"
#include "scene.h"
#include "signals.h"
#include "world.h"

#define SIZE "[Region dram]\nSize=16M\n"
/* Too little for anything: but the broker has what it needs for that from the start. */
#define LITTLE SIZE "Warm=4K\n"
#define PATIENCE 100

static char *fifo_of(const Scene *scene) {
        return g_build_filename(scene->broker->directory, "pressure", NULL);
}

static bool wait_ready(uint64_t bytes) {
        return wait_until(PATIENCE, region_get("dram", "WarmAvailable") == bytes);
}

static void configure(Scene *scene, const char *configuration) {
        broker_configure(scene->broker, configuration);
        broker_reload(scene->broker);
}

/* The machine's own pressure is none of these tests' business. */
static void set_up(Scene *scene, gconstpointer configuration) {
        static char *environment[2];
        g_autofree char *fifo = NULL;

        scene->broker = broker_new(LITTLE);
        fifo = fifo_of(scene);
        g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
        g_assert_cmpint(chown(fifo, world_get_uid("daxbroker"), (gid_t) -1), ==, 0);
        g_free(environment[0]);
        environment[0] = g_strdup_printf("MEMORY_PRESSURE_WATCH=%s", fifo);
        scene->broker->environment = environment;
        scene->alice = user_new("alice");
        scene->bob = user_new("bob");
        scene->carol = user_new("carol");
        scene->root = user_new("root");
        broker_start(scene->broker);
        (void) user_get(scene->alice, 1, NULL);
        user_drop_all(scene->alice);
        g_assert_cmpuint(region_wait("dram", "Available", 16 * MIB), ==, 16 * MIB);
        scene->before = footprint_take(scene->broker);
        configure(scene, configuration);
}

static void assert_counts(uint64_t hits, uint64_t misses) {
        g_assert_cmpuint(region_get("dram", "WarmHits"), ==, hits);
        g_assert_cmpuint(region_get("dram", "WarmMisses"), ==, misses);
}

/* With nothing of it left, the broker has what it had. */
static void tear_down(Scene *scene, gconstpointer configuration) {
        configure(scene, LITTLE);
        g_assert_true(wait_ready(0));
        scene_tear_down(scene, configuration);
}

static Reply get_aligned(Scene *scene, uint64_t size, uint64_t alignment, const char *options) {
        Reply reply = user_allocate(scene->alice, size, alignment, options);

        reply_assert(reply, "");
        return reply;
}

/* ---- What the kernel says ---------------------------------------------------------------------------------------- */

static int64_t do_get_name(UserCall *call) {
        g_autofree char *path = NULL;
        ssize_t n;
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        path = g_strdup_printf("/proc/self/fd/%d", memory);
        n = readlink(path, call->answer, USER_DATA_MAX - 1);
        g_assert_cmpint(n, >, 0);
        ((char *) call->answer)[n] = '\0';
        call->answer_size = (size_t) n + 1;
        return 0;
}

/* Descriptors of the broker's that are memory. */
static unsigned count_memfds(const Scene *scene) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd", scene->broker->pid);
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        const char *name;
        unsigned n = 0;

        while ((name = g_dir_read_name(dir))) {
                g_autofree char *link = g_build_filename(path, name, NULL), *target = g_file_read_link(link, NULL);

                n += target && g_str_has_prefix(target, "/memfd:daxbroker:");
        }
        return n;
}

static void assert_clean(User *user, const Reply *reply) {
        g_assert_cmpint(user_map(user, reply->slot), ==, 0);
        g_assert_cmpint(user_is_filled(user, reply->slot, 0), ==, 1);
        g_assert_cmpint(user_fill(user, reply->slot, 0x5a), ==, 0);
}

/* ---- Ready ------------------------------------------------------------------------------------------------------- */

static void test_hit(Scene *scene, gconstpointer unused) {
        char name[USER_DATA_MAX];
        Reply reply;

        (void) unused;
        user_listen(scene_listener(scene));
        g_assert_cmpuint(region_get("dram", "Warm"), ==, 4 * MIB);
        g_assert_true(wait_ready(4 * MIB));
        g_assert_cmpuint(region_get("dram", "WarmLength"), ==, 2 * MIB);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 16 * MIB);
        g_assert_cmpuint(count_memfds(scene), ==, 2);

        reply = get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
        g_assert_cmpuint(user_bytes_present(scene->alice, reply.slot), ==, 2 * MIB);
        assert_counts(1, 1); /* the other one was asked for by the set-up */
        g_assert_cmpuint(region_get("dram", "Available"), ==, 14 * MIB);
        user_assert_hears(scene_listener(scene), "changed */region/dram * WarmHits=1 WarmMisses=1*");
        /* it is called as the allocation is */
        g_assert_cmpint(user_call(scene->alice, do_get_name, &reply.slot, sizeof(reply.slot), name, sizeof(name)), ==, 0);
        assert_says(name, strrchr(reply.object, '/') + 1);
        assert_clean(scene->alice, &reply);

        /* what another one gets is another one */
        g_assert_true(wait_ready(4 * MIB));
        user_assert_hears(scene_listener(scene), "changed */region/dram * WarmAvailable=4194304*");
        reply = get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
        assert_counts(2, 1);
        assert_clean(scene->alice, &reply);

        /* and what was freed does not come back */
        for (unsigned i = 0; i < 4; i++) {
                user_drop_all(scene->alice);
                g_assert_cmpuint(region_wait("dram", "Available", 16 * MIB), ==, 16 * MIB);
                g_assert_true(wait_ready(4 * MIB));
                reply = get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
                assert_clean(scene->alice, &reply);
        }
        assert_counts(6, 1);
}

/* It has no owner, and who gets it is charged for it as for any other. */
static void test_quota(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        configure(scene, SIZE "Warm=8M\n[Quota]\nMaxBytes=2M\nMaxAllocations=1\n");
        g_assert_true(wait_ready(8 * MIB));
        reply = get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
        reply_assert(user_allocate(scene->alice, 2 * MIB, 2 * MIB, NULL), "QuotaExceeded");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Owner"), ==, world_get_uid("alice"));
        user_drop_all(scene->alice);
        g_assert_true(allocation_wait_gone(scene->root, reply.object));
        (void) get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
        g_assert_cmpuint(region_get("dram", "WarmHits"), ==, 2);
}

/* Names, modes and restarts make no difference. */
static void test_life(Scene *scene, gconstpointer unused) {
        Reply reply, again;

        (void) unused;
        g_assert_true(wait_ready(4 * MIB));
        reply = get_aligned(scene, 2 * MIB, 2 * MIB, "name=warm mode=0644");
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_fill(scene->alice, reply.slot, 0x77), ==, 0);
        broker_restart(scene->broker);
        again = user_open(scene->alice, "warm", NULL);
        reply_assert(again, "");
        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, again.slot, 0x77), ==, 1);
        reply_assert(user_release(scene->alice, reply.object), "");
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, -EFAULT);
}

static void test_learn(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        g_assert_true(wait_ready(4 * MIB));
        for (unsigned i = 0; i < 3; i++)
                (void) get_aligned(scene, 256 * KIB, 1, NULL);
        g_assert_cmpuint(region_get("dram", "WarmLength"), ==, 256 * KIB);
        g_assert_true(wait_until(PATIENCE, count_memfds(scene) == 3 + 16));
        g_assert_true(wait_ready(4 * MIB));
        assert_counts(0, 4);

        reply = get_aligned(scene, 256 * KIB, 1, NULL);
        assert_counts(1, 4);
        g_assert_cmpuint(user_bytes_present(scene->alice, reply.slot), ==, 256 * KIB);
        assert_clean(scene->alice, &reply);

        /* what is longer than all that is to be kept is no use to know */
        for (unsigned i = 0; i < 12; i++) {
                (void) get_aligned(scene, 5 * MIB, 1, NULL);
                user_drop_all(scene->alice);
                g_assert_cmpuint(region_wait("dram", "Available", 16 * MIB), ==, 16 * MIB);
        }
        g_assert_cmpuint(region_get("dram", "WarmLength"), ==, 256 * KIB);
}

/* ---- In nobody's way --------------------------------------------------------------------------------------------- */

/* Whoever needs the region's bytes has them at once. */
static void test_room(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        configure(scene, SIZE "Warm=100%\n");
        g_assert_true(wait_ready(16 * MIB));
        reply = get_aligned(scene, 9 * MIB, 1, NULL);
        assert_clean(scene->alice, &reply);
        g_assert_true(wait_ready(6 * MIB));
        (void) get_aligned(scene, 7 * MIB, 1, NULL);
        g_assert_true(wait_ready(0));
        reply_assert(user_allocate(scene->alice, 1, 1, NULL), "NoSpace");

        user_drop_all(scene->alice);
        g_assert_true(wait_ready(16 * MIB));
        reply = user_reserve(scene->alice, 16 * MIB, NULL);
        reply_assert(reply, "");
        g_assert_true(wait_ready(0));
        g_assert_true(wait_until(PATIENCE, count_memfds(scene) == 0));
}

/* Whoever needs pages of which there are only so many has them at once, too. */
static void test_huge_pages(Scene *scene, gconstpointer unused) {
        uint64_t n = 4;
        Reply reply;

        (void) unused;
        if (huge_pages_count_free() > 0) {
                g_test_skip("this machine has free huge pages, which are somebody's");
                return;
        }
        if (!huge_pages_reserve((unsigned) n)) {
                huge_pages_restore();
                g_test_skip("this machine has no huge pages to spare");
                return;
        }
        configure(scene, SIZE "Warm=100%\n");
        g_assert_true(wait_ready(16 * MIB));
        g_assert_cmpuint(huge_pages_count_free(), ==, 0);

        /* those that are of huge pages are handed out first, as they were made first */
        reply = get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "PageSize"), ==, 2 * MIB);
        assert_clean(scene->alice, &reply);
        user_drop_all(scene->alice);
        g_assert_cmpuint(region_wait("dram", "Available", 16 * MIB), ==, 16 * MIB);
        g_assert_true(wait_ready(16 * MIB));
        g_assert_cmpuint(huge_pages_count_free(), ==, 0);

        /* who insists on them */
        reply = get_aligned(scene, n * 2 * MIB, 1, "page-size=2097152");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "PageSize"), ==, 2 * MIB);
        assert_clean(scene->alice, &reply);
        user_drop_all(scene->alice);
        g_assert_cmpuint(region_wait("dram", "Available", 16 * MIB), ==, 16 * MIB);
        g_assert_true(wait_ready(16 * MIB));
        g_assert_cmpuint(huge_pages_count_free(), ==, 0);

        /* and who would have got them */
        reply = get_aligned(scene, (n - 1) * 2 * MIB, 2 * MIB, NULL);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "PageSize"), ==, 2 * MIB);
        assert_clean(scene->alice, &reply);
        user_drop_all(scene->alice);
        configure(scene, LITTLE);
        g_assert_true(wait_until(PATIENCE, huge_pages_count_free() == n));
        huge_pages_restore();
}

/* What cannot be had is not made ahead, and what is ready stays so, however often it is asked for. */
static void test_impossible(Scene *scene, gconstpointer unused) {
        (void) unused;
        if (huge_pages_count_free() > 0) {
                g_test_skip("this machine has free huge pages, which are somebody's");
                return;
        }
        g_assert_true(wait_ready(4 * MIB));
        for (unsigned i = 0; i < 20; i++)
                reply_assert(user_allocate(scene->alice, 4 * MIB, 1, "page-size=2097152"), "NoHugePages");
        g_assert_cmpuint(region_get("dram", "WarmLength"), ==, 2 * MIB);
        g_assert_cmpuint(region_get("dram", "WarmAvailable"), ==, 4 * MIB);
        (void) get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
        assert_counts(1, 1 + 20);
}

static void test_pressure(Scene *scene, gconstpointer unused) {
        g_autofree char *fifo = fifo_of(scene);
        size_t mark = broker_mark_log(scene->broker);
        int fd;

        (void) unused;
        g_assert_true(wait_ready(4 * MIB));
        (void) get_aligned(scene, 4 * MIB, 1, NULL);
        fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write(fd, "!", 1), ==, 1);
        g_assert_true(broker_wait_log(scene->broker, mark, "memory is short: giving back 4 MiB that nobody has yet"));
        close(fd);
        g_assert_true(wait_ready(0));
        g_assert_cmpuint(region_get("dram", "Available"), ==, 12 * MIB);
        g_assert_true(wait_until(PATIENCE, count_memfds(scene) == 1));
        /* for a while there is nothing ready, and that is all */
        (void) get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
        assert_counts(0, 3);
}

/* ---- Nothing is left --------------------------------------------------------------------------------------------- */

static void test_reload(Scene *scene, gconstpointer unused) {
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        g_assert_true(wait_ready(4 * MIB));
        configure(scene, SIZE "Warm=2M\n");
        g_assert_true(wait_ready(2 * MIB));
        g_assert_cmpuint(region_get("dram", "Warm"), ==, 2 * MIB);
        configure(scene, SIZE "Warm=50%\n");
        g_assert_cmpuint(region_get("dram", "Warm"), ==, 8 * MIB);
        g_assert_true(wait_ready(8 * MIB));
        configure(scene, "[Region dram]\nSize=3M\nWarm=8M\n");
        g_assert_cmpuint(region_get("dram", "Warm"), ==, 3 * MIB);
        g_assert_true(wait_ready(2 * MIB));
        configure(scene, SIZE "Warm=infinity\n");
        g_assert_true(broker_wait_log(scene->broker, mark, "Warm=infinity.*not a size"));
        g_assert_true(wait_ready(0));
        g_assert_cmpuint(region_get("dram", "Warm"), ==, 0);
        configure(scene, SIZE "Warm=4M\n");
        g_assert_true(wait_ready(4 * MIB));
        configure(scene, SIZE "Warm=4M\nEnabled=no\n");
        g_assert_true(wait_ready(0));
        g_assert_true(wait_until(PATIENCE, count_memfds(scene) == 0));
}

static void test_restart(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        for (unsigned i = 0; i < 3; i++) {
                g_assert_true(wait_ready(4 * MIB));
                assert_counts(0, i == 0 ? 1 : 0);
                if (i == 0)
                        broker_restart(scene->broker);
                else {
                        broker_kill(scene->broker);
                        g_assert_cmpuint(broker_count_runtime_files(scene->broker), ==, scene->before.files);
                        broker_start(scene->broker);
                }
        }
        g_assert_true(wait_ready(4 * MIB));
        /* the first one of all has to wait for the service manager, and is what was ready all the same */
        reply = get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
        g_assert_cmpuint(user_bytes_present(scene->alice, reply.slot), ==, 2 * MIB);
        assert_counts(1, 0);
}

/* As it is made: it is given up, or lost, and either way gone. */
static void test_restart_while_made(Scene *scene, gconstpointer unused) {
        (void) unused;
        configure(scene, SIZE "Warm=100%\n");
        for (unsigned i = 0; i < 12; i++) {
                g_usleep(i * 3000);
                if (i % 2 == 0)
                        broker_restart(scene->broker);
                else {
                        broker_kill(scene->broker);
                        broker_start(scene->broker);
                }
        }
        g_assert_true(wait_ready(16 * MIB));
        g_assert_cmpuint(region_get("dram", "Available"), ==, 16 * MIB);
}

/* What cannot be made for one region keeps no other from having its own. */
static void test_neighbour(Scene *scene, gconstpointer unused) {
        g_autofree char *options = NULL;
        Reply grant;

        (void) unused;
        if (huge_pages_count_free() > 0) {
                g_test_skip("this machine has free huge pages, which are somebody's");
                return;
        }
        if (!huge_pages_reserve(1)) {
                huge_pages_restore();
                g_test_skip("this machine has no huge pages to spare");
                return;
        }

        /* alice gets the only one again and again, while there is no room for anything to be made; and then keeps it */
        grant = user_reserve(scene->alice, 16 * MIB, NULL);
        reply_assert(grant, "");
        g_assert_true(wait_ready(0));
        options = g_strdup_printf("page-size=2097152 grant=%s", grant.object);
        for (unsigned i = 0; i < 8; i++) {
                Reply reply = get_aligned(scene, 2 * MIB, 1, options);

                if (i < 7)
                        user_drop(scene->alice, reply.slot);
                g_assert_true(wait_until(PATIENCE, huge_pages_count_free() == (i < 7)));
        }
        user_drop(scene->alice, grant.slot);
        g_assert_cmpuint(region_wait("dram", "Available", 14 * MIB), ==, 14 * MIB);

        configure(scene, SIZE "Warm=4M\n[Region other]\nProvider=memfd\nSize=16M\nWarm=4M\n");
        g_assert_true(wait_until(PATIENCE, region_get("other", "WarmAvailable") == 4 * MIB));
        g_assert_cmpuint(region_get("dram", "WarmAvailable"), ==, 0);
        configure(scene, LITTLE "[Region other]\nProvider=memfd\nSize=16M\nWarm=4K\n");
        g_assert_true(wait_until(PATIENCE, region_get("other", "WarmAvailable") == 0));
        user_drop_all(scene->alice);
        g_assert_true(wait_until(PATIENCE, huge_pages_count_free() == 1));
        huge_pages_restore();
}

/* What is not supported is said, once, and is no harm. */
static void test_refused(Scene *scene, gconstpointer unused) {
        static const char says[] = "region 'files': Warm=1M is not supported for provider 'fsdax'";
        static const char files[] = SIZE "Warm=4K\n[Region files]\nProvider=fsdax\nPath=/nowhere\n";
        g_autofree char *warm = g_strconcat(files, "Warm=1M\n", NULL), *cold = g_strconcat(files, "Warm=0\n", NULL);
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        configure(scene, cold);
        g_assert_cmpuint(broker_count_log(scene->broker, mark, "Warm="), ==, 0);
        configure(scene, warm);
        configure(scene, warm);
        g_assert_true(wait_until(20, broker_count_log(scene->broker, mark, "configuration loaded") >= 3));
        g_assert_cmpuint(broker_count_log(scene->broker, mark, says), ==, 1);
        g_assert_cmpuint(region_get("files", "Warm"), ==, 0);
        scene->before = footprint_take(scene->broker); /* such a region has a descriptor, and stays listed */
}

/* Who does not ask for it notices nothing. */
static void test_none(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        configure(scene, SIZE);
        broker_restart(scene->broker);
        for (unsigned i = 0; i < 4; i++) {
                reply = get_aligned(scene, 2 * MIB, 2 * MIB, NULL);
                if (allocation_get(scene->alice, reply.object, "PageSize") == 4 * KIB)
                        g_assert_cmpuint(user_bytes_present(scene->alice, reply.slot), ==, 0);
                user_drop_all(scene->alice);
                g_assert_true(allocation_wait_gone(scene->root, reply.object));
        }
        assert_counts(0, 0);
        g_assert_cmpuint(region_get("dram", "Warm"), ==, 0);
        g_assert_cmpuint(region_get("dram", "WarmAvailable"), ==, 0);
        g_assert_cmpuint(region_get("dram", "WarmLength"), ==, 0);
        g_assert_cmpuint(count_memfds(scene), ==, 0);
}

/* Many at a time, some more than are ready, of several kinds, while what is ready is made and given back. */
static void test_many(Scene *scene, gconstpointer unused) {
        static const uint64_t sizes[] = { 2 * MIB, 64 * KIB, 2 * MIB, MIB };
        User *guests[8];

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                guests[i] = user_new("alice");
        for (unsigned round = 0; round < 12; round++) {
                for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                        user_begin_allocate(guests[i], sizes[(i + round) % 4], i % 2 ? 1 : 2 * MIB, NULL);
                for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
                        Reply reply = user_end_reply(guests[i]);

                        if (g_str_has_suffix(reply.error, "NoSpace"))
                                continue;
                        reply_assert(reply, "");
                        assert_clean(guests[i], &reply);
                }
                for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                        user_drop_all(guests[i]);
                configure(scene, round % 2 == 0 ? SIZE "Warm=8M\n" : SIZE "Warm=2M\n");
        }
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                user_free(guests[i]);
        g_assert_cmpuint(region_wait("dram", "Available", 16 * MIB), ==, 16 * MIB);
}

static void test_other(void) {
        g_test_skip("this is about ordinary memory; the case warm of the emulated machine is about devices");
}

#define warm_add(path, configuration, function) \
        g_test_add(path, Scene, configuration, set_up, function, tear_down)

int main(int argc, char *argv[]) {
        world_init(&argc, &argv);
        if (provider_is_device() || provider_is_files()) {
                g_test_add_func("/warm/other", test_other);
                return g_test_run();
        }
        warm_add("/warm/hit", SIZE "Warm=4M\n", test_hit);
        warm_add("/warm/quota", LITTLE, test_quota);
        warm_add("/warm/life", SIZE "Warm=4M\n", test_life);
        warm_add("/warm/learn", SIZE "Warm=4M\n", test_learn);
        warm_add("/warm/room", LITTLE, test_room);
        warm_add("/warm/huge-pages", LITTLE, test_huge_pages);
        warm_add("/warm/impossible", SIZE "Warm=4M\n", test_impossible);
        warm_add("/warm/pressure", SIZE "Warm=4M\n", test_pressure);
        warm_add("/warm/reload", SIZE "Warm=4M\n", test_reload);
        warm_add("/warm/restart", SIZE "Warm=4M\n", test_restart);
        warm_add("/warm/restart-while-made", LITTLE, test_restart_while_made);
        warm_add("/warm/neighbour", SIZE "Warm=4M\n", test_neighbour);
        warm_add("/warm/refused", LITTLE, test_refused);
        warm_add("/warm/none", LITTLE, test_none);
        warm_add("/warm/many", LITTLE, test_many);
        return g_test_run();
}
