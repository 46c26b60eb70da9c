/* SPDX-License-Identifier: MIT */

/* The library while what it talks to goes away and comes back: between calls, during calls, for good. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "library.h"
#include "polkit.h"
#include "provider.h"
#include "world.h"

#define CONFIGURATION                                                                                \
        "[Broker]\n"                                                                                 \
        "PolkitTimeoutSec=60\n"                                                                      \
        "[Region dram]\n"                                                                            \
        "Size=256M\n"

/* An emulated machine may take longer to start everything again than the library waits. Then it is asked again. */
#define sooner_or_later(call)                                                                        \
        ({                                                                                           \
                int _late;                                                                           \
                                                                                                     \
                (void) wait_until(20, (_late = (call)) != -EHOSTDOWN || !provider_is_slow());        \
                _late;                                                                               \
        })

/* ---- In the user's process ----------------------------------------------------------------------------------------- */

static daxbroker_allocation *kept, *named;

static int64_t do_keep(UserCall *call) {
        (void) call;
        kept = allocation_make(NULL, MIB, NULL);
        named = allocation_make(NULL, MIB, "kept");
        memset(allocation_address(kept), 1, MIB);
        memset(allocation_address(named), 2, MIB);
        return 0;
}

/* A grant goes on, and a Reserve that met a restart is made again. */
static daxbroker_grant *granted;

static int64_t do_reserve(UserCall *call) {
        daxbroker_request *request = request_make(8 * MIB, 1, NULL);

        (void) call;
        assert_works(daxbroker_reserve(NULL, request, &granted));
        daxbroker_request_free(request);
        return 0;
}

static int64_t do_use_grant(UserCall *call) {
        daxbroker_request *request = request_make(8 * MIB, 1, NULL);
        daxbroker_allocation *allocation;

        (void) call;
        assert_works(daxbroker_request_set_grant(request, daxbroker_grant_get_object(granted)));
        assert_works(daxbroker_allocate(NULL, request, &allocation));
        daxbroker_allocation_close(allocation);
        granted = daxbroker_grant_close(granted);
        daxbroker_request_free(request);
        return 0;
}

static unsigned count_allocations(void) {
        daxbroker_list *list;
        size_t n;

        assert_works(sooner_or_later(daxbroker_list_allocations(NULL, &list)));
        n = daxbroker_list_get_size(list);
        daxbroker_list_free(list);
        return (unsigned) n;
}

/* Nothing is lost, and the next calls succeed, whatever has happened. */
static int64_t do_look_after(UserCall *call) {
        daxbroker_allocation *allocation;
        daxbroker_info *info;

        (void) call;
        g_assert_true(is_filled(allocation_address(kept), 1, MIB));
        g_assert_true(is_filled(allocation_address(named), 2, MIB));

        /* a device that was let go of last time is listed until it is clean, a file until its blocks are free */
        if (provider_is_device() || provider_is_files())
                (void) wait_until(20, count_allocations() == 2);
        g_assert_cmpuint(count_allocations(), ==, 2);
        assert_works(daxbroker_get_allocation(NULL, daxbroker_allocation_get_object(kept), &info));
        g_assert_cmpstr(info_text(info, "State"), ==, "live");
        g_assert_cmpuint(info_number(info, "InUse"), ==, 1);
        daxbroker_info_free(info);

        assert_works(daxbroker_open(NULL, "kept", 0, &allocation));
        g_assert_true(is_filled(allocation_address(allocation), 2, MIB));
        daxbroker_allocation_close(allocation);
        daxbroker_free(daxbroker_alloc(MIB, 2 * MIB));
        return 0;
}

static int64_t do_let_go(UserCall *call) {
        (void) call;
        daxbroker_allocation_close(kept);
        daxbroker_allocation_close(named);
        assert_works(daxbroker_end_allocation(NULL, "kept"));
        return 0;
}

static int64_t do_allocate(UserCall *call) {
        daxbroker_request *request = request_make(MIB, 1, NULL);
        daxbroker_allocation *allocation;

        (void) call;
        assert_works(sooner_or_later(daxbroker_allocate(NULL, request, &allocation)));
        g_assert_true(is_filled(allocation_address(allocation), 0, MIB));
        daxbroker_allocation_close(allocation);
        daxbroker_request_free(request);
        return 0;
}

static int64_t do_allocate_named(UserCall *call) {
        (void) call;
        daxbroker_allocation_close(allocation_make(NULL, MIB, "named"));
        assert_works(daxbroker_end_allocation(NULL, "named"));
        return 0;
}

static int64_t do_fail_at_once(UserCall *call) {
        daxbroker_request *request = request_make(MIB, 1, NULL);
        daxbroker_allocation *allocation;
        daxbroker_list *list;
        uint64_t begin = now_msec();

        (void) call;
        assert_fails(daxbroker_allocate(NULL, request, &allocation), EHOSTDOWN,
                     "the daxbroker service is not running");
        assert_fails(daxbroker_check(NULL, request, NULL), EHOSTDOWN, "not running");
        assert_fails(daxbroker_list_regions(NULL, &list), EHOSTDOWN, "not running");
        errno = 0;
        g_assert_null(daxbroker_alloc(1, 1));
        g_assert_cmpint(errno, ==, EHOSTDOWN);
        g_assert_cmpuint(now_msec() - begin, <, 3000);
        daxbroker_request_free(request);
        return 0;
}

static int64_t do_fail_in_the_end(UserCall *call) {
        uint64_t begin = now_msec();
        daxbroker_list *list;

        (void) call;
        assert_fails(daxbroker_list_regions(NULL, &list), EHOSTDOWN, "the daxbroker service is not running");
        g_assert_cmpuint(now_msec() - begin, >=, 4500);
        g_assert_cmpuint(now_msec() - begin, <, 15000);
        return 0;
}

/* ---- The service --------------------------------------------------------------------------------------------------- */

static void test_between_calls(Scene *scene, const void *unused) {
        (void) unused;
        as(scene->alice, do_keep);
        as(scene->alice, do_look_after);
        for (unsigned i = 0; i < 3; i++) {
                broker_restart(scene->broker);
                as(scene->alice, do_look_after);
                broker_kill(scene->broker);
                broker_start(scene->broker);
                as(scene->alice, do_look_after);
        }
        as(scene->alice, do_let_go);
}

static void test_never_there(Scene *scene, const void *unused) {
        (void) unused;
        if (world_skips_direct("a socket that is listened to by the service manager is there always"))
                return;
        broker_stop(scene->broker);
        as(scene->alice, do_fail_at_once);
        broker_start(scene->broker);
        as(scene->alice, do_allocate);
}

/* A call that finds nobody waits, if there was somebody before. */
static void test_comes_back(Scene *scene, const void *unused) {
        static const UserFunction functions[] = { do_allocate, do_allocate_named, do_look_after };

        (void) unused;
        as(scene->alice, do_keep);
        for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
                broker_stop(scene->broker);
                as_begin(scene->alice, functions[i]);
                g_usleep(500000);
                g_assert_false(user_is_done(scene->alice));
                broker_start(scene->broker);
                as_end(scene->alice);
        }
        as(scene->alice, do_let_go);
}

static void test_stays_away(Scene *scene, const void *unused) {
        (void) unused;
        if (world_skips_direct("a socket that is listened to by the service manager is there always"))
                return;
        as(scene->alice, do_allocate);
        broker_stop(scene->broker);
        as(scene->alice, do_fail_in_the_end);
        broker_start(scene->broker);
        as(scene->alice, do_allocate);
}

/* While polkit thinks about it, so that it cannot have been done. */
static void begin_and_wait(Scene *scene, UserFunction function) {
        polkit_freeze();
        as_begin(scene->alice, function);
        g_usleep(1500000); /* on a busy machine it takes its time to get there */
        g_assert_false(user_is_done(scene->alice));
}

static int64_t do_be_left_in_doubt(UserCall *call) {
        daxbroker_request *request = request_make(MIB, 1, "doubtful");
        daxbroker_allocation *allocation;
        daxbroker_info *info;

        (void) call;
        assert_fails(daxbroker_allocate(NULL, request, &allocation), EHOSTDOWN,
                     "perhaps after it did its work");
        /* the name tells */
        assert_fails(sooner_or_later(daxbroker_get_allocation(NULL, "doubtful", &info)), ENOENT, "doubtful");
        daxbroker_request_free(request);
        return 0;
}

/* One that is stopped says that nothing was done, so that even what has a name is asked for again. Of one that is killed
 * nobody can tell. */
static void test_during_call(Scene *scene, const void *unused) {
        static const struct {
                void (*end)(Broker *);
                UserFunction with_name;
        } ways[] = { { broker_stop, do_allocate_named }, { broker_kill, do_be_left_in_doubt } };

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
                begin_and_wait(scene, do_allocate);
                ways[i].end(scene->broker);
                broker_start(scene->broker);
                polkit_thaw();
                as_end(scene->alice);

                begin_and_wait(scene, ways[i].with_name);
                ways[i].end(scene->broker);
                broker_start(scene->broker);
                polkit_thaw();
                as_end(scene->alice);
        }
}

/* What lasts is there once, however often it was asked for without anybody's doing. */

#define ROUNDS 12

static int64_t do_allocate_lasting(UserCall *call) {
        daxbroker_request *request = request_make(32 * MIB, 1, "lasting");
        daxbroker_allocation *allocation;
        daxbroker_list *list;

        (void) call;
        assert_works(daxbroker_request_set_region(request, "files"));
        assert_works(daxbroker_request_set_persistent(request, 1));
        assert_works(daxbroker_allocate(NULL, request, &allocation));
        g_assert_true(is_filled(allocation_address(allocation), 0, 32 * MIB));
        assert_works(daxbroker_list_allocations(NULL, &list));
        g_assert_cmpuint(daxbroker_list_get_size(list), ==, 1);
        daxbroker_list_free(list);
        assert_works(daxbroker_end_allocation(NULL, "lasting"));
        daxbroker_allocation_close(allocation);
        daxbroker_request_free(request);
        return 0;
}

static void test_killed_while_it_is_made(Scene *scene, const void *unused) {
        (void) unused;
        as(scene->alice, do_allocate_lasting); /* and so it has seen the service */
        for (unsigned i = 0; i < ROUNDS; i++) {
                as_begin(scene->alice, do_allocate_lasting);
                g_usleep((gulong) g_test_rand_int_range(0, 40000));
                broker_kill(scene->broker);
                broker_start(scene->broker);
                as_end(scene->alice);
        }
}

/* How often each of those who work meanwhile has got through, shared with them. */
#define WORKERS 3U
static volatile unsigned *progress;

static bool is_over(void) {
        return access("over", F_OK) == 0;
}

/* A name of its own each time. It may be left in doubt, and then finds out. */
static void use_name(unsigned number) {
        g_autofree char *name = g_strdup_printf("load-%d-%u", getpid(), number);
        daxbroker_request *request = request_make(MIB, 1, name);
        daxbroker_allocation *allocation = NULL;
        daxbroker_info *info;
        int r;

        r = daxbroker_allocate(NULL, request, &allocation);
        daxbroker_request_free(request);
        if (r == -EHOSTDOWN) {
                assert_says(daxbroker_last_error(), "perhaps after it did its work");
                r = daxbroker_get_allocation(NULL, name, &info);
                if (r == -ENOENT)
                        return;
                assert_works(r);
                daxbroker_info_free(info);
        } else
                assert_works(r);

        daxbroker_allocation_close(allocation);
        assert_works(daxbroker_open(NULL, name, 0, &allocation));
        g_assert_true(is_filled(allocation_address(allocation), 0, MIB));
        daxbroker_allocation_close(allocation);
        assert_works(daxbroker_set_mode(NULL, name, 0644));
        assert_works(daxbroker_end_allocation(NULL, name));
        assert_fails(daxbroker_get_allocation(NULL, name, &info), ENOENT, name);
}

static int64_t do_load(UserCall *call) {
        const size_t *worker = call->data;
        unsigned n = 0;

        g_assert_cmpint(chdir(world_get_path()), ==, 0);
        while (!is_over()) {
                uint8_t *p = daxbroker_alloc(MIB, 1);

                if (!p)
                        g_error("%s", daxbroker_last_error());
                g_assert_true(is_filled(p, 0, MIB));
                memset(p, 0xa5, MIB);
                use_name(n++);
                g_assert_true(is_filled(p, 0xa5, MIB));
                daxbroker_free(p);
                progress[*worker]++;
        }
        g_assert_cmpuint(n, >, 1);
        return 0;
}

static bool are_ahead(const unsigned *before) {
        for (size_t i = 0; i < WORKERS; i++)
                if (progress[i] == before[i])
                        return false;
        return true;
}

/* At random moments. Nobody who uses the library sees an error, but for the doubt. Calls wait for five seconds, though;
 * where a start may take a good part of that, each has to be worth it. */
static void test_killed_under_load(Scene *scene, const void *unused) {
        g_autofree char *over = g_build_filename(world_get_path(), "over", NULL);
        User *users[WORKERS];

        (void) unused;
        progress = mmap(NULL, WORKERS * sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert_true(progress != MAP_FAILED);
        for (size_t i = 0; i < WORKERS; i++) {
                users[i] = user_new("alice");
                as(users[i], do_allocate);
                user_begin(users[i], do_load, &i, sizeof(i), NULL, 0);
        }
        for (unsigned i = 0; i < 12; i++) {
                g_usleep((gulong) g_test_rand_int_range(0, 300000));
                broker_kill(scene->broker);
                broker_start(scene->broker);
                if (provider_is_slow()) {
                        unsigned before[WORKERS] = { progress[0], progress[1], progress[2] };

                        g_assert_true(wait_until(20, are_ahead(before)));
                }
        }
        g_assert_true(g_file_set_contents(over, "", 0, NULL));
        for (size_t i = 0; i < WORKERS; i++) {
                as_end(users[i]);
                user_free(users[i]);
        }
        g_assert_cmpint(unlink(over), ==, 0);
        g_assert_cmpint(munmap((void *) (uintptr_t) progress, WORKERS * sizeof(*progress)), ==, 0);
}

static int64_t do_lose_patience(UserCall *call) {
        uint64_t begin = now_msec();
        daxbroker_request *request = request_make(MIB, 1, NULL);
        daxbroker_allocation *allocation;

        (void) call;
        assert_fails(daxbroker_allocate(NULL, request, &allocation), ETIMEDOUT, "did not answer in time");
        g_assert_cmpuint(now_msec() - begin, >=, 24000);
        g_assert_cmpuint(now_msec() - begin, <, 60000);
        daxbroker_request_free(request);
        return 0;
}

/* It hangs. The answer that comes too late is nobody's: the memory in it goes back. */
static void test_silent(Scene *scene, const void *unused) {
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        g_assert_cmpint(kill(scene->broker->pid, SIGSTOP), ==, 0);
        as(scene->alice, do_lose_patience);
        g_assert_cmpint(kill(scene->broker->pid, SIGCONT), ==, 0);
        if (!broker_wait_log(scene->broker, mark, "1 MiB granted"))
                g_test_message("the broker has noticed in time that nobody waits any more");
        footprint_assert_back(scene->broker, &scene->before);
        as(scene->alice, do_allocate);
}

/* ---- The bus ------------------------------------------------------------------------------------------------------- */

/* Without a bus the broker ends by itself, to be started again. */
static void reap_broker(Broker *broker) {
        int status;

        g_assert_true(wait_until(60, waitpid(broker->pid, &status, WNOHANG) == broker->pid));
        g_assert_true(WIFEXITED(status));
        broker->pid = 0;
}

static void test_bus_between_calls(Scene *scene, const void *unused) {
        (void) unused;
        as(scene->alice, do_keep);
        as(scene->alice, do_look_after);
        bus_kill();
        reap_broker(scene->broker);
        bus_start();
        broker_start(scene->broker);
        as(scene->alice, do_look_after);
        as(scene->alice, do_let_go);
}

static void test_bus_comes_back(Scene *scene, const void *unused) {
        (void) unused;
        as(scene->alice, do_keep);
        bus_kill();
        reap_broker(scene->broker);
        as_begin(scene->alice, do_look_after);
        g_usleep(500000);
        g_assert_false(user_is_done(scene->alice));
        bus_start();
        broker_start(scene->broker);
        as_end(scene->alice);
        as(scene->alice, do_let_go);
}

/* Who is connected directly hears from the broker, which cannot go on without the bus, that nothing was done. */
static void test_bus_during_call(Scene *scene, const void *unused) {
        const UserFunction functions[] = { do_allocate, world_is_direct() ? do_allocate_named : do_be_left_in_doubt };

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
                begin_and_wait(scene, functions[i]);
                bus_kill();
                reap_broker(scene->broker);
                bus_start();
                broker_start(scene->broker);
                as_end(scene->alice);
        }
}

static int64_t do_find_no_bus(UserCall *call) {
        g_autofree char *address = g_strdup(g_getenv("DBUS_SYSTEM_BUS_ADDRESS"));
        daxbroker_client *client;
        daxbroker_list *list;

        (void) call;
        assert_works(daxbroker_client_new(&client));
        g_assert_cmpint(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere", 1), ==, 0);
        assert_fails(daxbroker_list_regions(client, &list), EHOSTDOWN,
                     "cannot connect to the system bus: No such file");
        errno = 0;
        g_assert_null(daxbroker_alloc(1, 1));
        g_assert_cmpint(errno, ==, EHOSTDOWN);
        g_assert_cmpint(setenv("DBUS_SYSTEM_BUS_ADDRESS", "nonsense", 1), ==, 0);
        assert_fails(daxbroker_list_regions(client, &list), EHOSTDOWN, "cannot connect to the system bus: ");

        g_assert_cmpint(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), ==, 0);
        assert_works(daxbroker_list_regions(client, &list));
        daxbroker_list_free(list);
        daxbroker_client_free(client);
        return 0;
}

TEST_AS(alice, find_no_bus)

static int64_t do_miss_polkit(UserCall *call) {
        daxbroker_request *request = request_make(MIB, 1, NULL);
        daxbroker_allocation *allocation;

        (void) call;
        assert_fails(daxbroker_allocate(NULL, request, &allocation), EAGAIN, "polkit");
        daxbroker_request_free(request);
        return 0;
}

static void test_no_polkit(Scene *scene, const void *unused) {
        (void) unused;
        polkit_kill();
        as(scene->alice, do_miss_polkit);
        polkit_start();
        as(scene->alice, do_allocate);
}

#define add(path, function) scene_add("/library-restart/" path, CONFIGURATION, function)

static void test_grant(Scene *scene, const void *unused) {
        (void) unused;
        skip_on_nvdimm("nothing is promised of it");
        for (unsigned i = 0; i < 4; i++) {
                as(scene->alice, do_reserve);
                if (i % 2)
                        broker_restart(scene->broker);
                else {
                        broker_kill(scene->broker);
                        broker_start(scene->broker);
                }
                as(scene->alice, do_use_grant);

                /* asked while there is nobody */
                broker_stop(scene->broker);
                as_begin(scene->alice, do_reserve);
                broker_start(scene->broker);
                as_end(scene->alice);
                as(scene->alice, do_use_grant);
        }
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        add("service/between-calls", test_between_calls);
        add("service/grant", test_grant);
        add("service/never-there", test_never_there);
        add("service/comes-back", test_comes_back);
        add("service/stays-away", test_stays_away);
        add("service/during-call", test_during_call);
        if (!provider_is_device() && files_are_possible())
                files_add("/library-restart/service/killed-while-it-is-made", CONFIGURATION, test_killed_while_it_is_made);
        add("service/killed-under-load", test_killed_under_load);
        add("service/silent", test_silent);
        add("bus/between-calls", test_bus_between_calls);
        add("bus/comes-back", test_bus_comes_back);
        add("bus/during-call", test_bus_during_call);
        if (!world_is_direct())
                add("bus/none", test_find_no_bus);
        add("no-polkit", test_no_polkit);
        return g_test_run();
}
