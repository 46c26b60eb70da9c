/* SPDX-License-Identifier: MIT */

/* The library in somebody else's event loop, here poll(): calls whose answers come later, and the watch. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"
#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "world.h"

#define CONFIGURATION                                                                                \
        "[Broker]\n"                                                                                 \
        "PolkitTimeoutSec=60\n"                                                                      \
        "[Region dram]\n"                                                                            \
        "Size=256M\n"

/* ---- A loop -------------------------------------------------------------------------------------------------------- */

static int wait_msec(daxbroker_client *client) {
        uint64_t usec, now = (uint64_t) g_get_monotonic_time();

        assert_works(daxbroker_client_get_timeout(client, &usec));
        if (usec <= now)
                return 0;
        return (int) MIN((usec - now + 999) / 1000, 100u);
}

static void turn(daxbroker_client *client) {
        struct pollfd polled = { .fd = daxbroker_client_get_fd(client) };
        int r;

        g_assert_cmpint(polled.fd, >=, 0);
        g_assert_cmpint(fcntl(polled.fd, F_GETFD), ==, FD_CLOEXEC);
        polled.events = (short) assert_works(daxbroker_client_get_events(client));
        (void) poll(&polled, 1, wait_msec(client));
        do
                r = assert_works(daxbroker_client_process(client));
        while (r > 0);
}

/* Until the condition holds. */
#define run_until(client, condition)                                                                    \
        ({                                                                                              \
                uint64_t _end = now_msec() + 60000;                                                     \
                                                                                                        \
                while (!(condition)) {                                                                  \
                        g_assert_cmpuint(now_msec(), <, _end);                                          \
                        turn(client);                                                                   \
                }                                                                                       \
        })

static daxbroker_client *client_make(void) {
        daxbroker_client *client;

        assert_works(daxbroker_client_new(&client));
        return client;
}

/* ---- Calls --------------------------------------------------------------------------------------------------------- */

typedef struct Answers {
        unsigned n, n_failed;
        int error; /* of the last one that failed */
        char message[1024];
        daxbroker_allocation *allocation; /* the last one */
} Answers;

static void on_answer(daxbroker_allocation *allocation, int error, const char *message, void *userdata) {
        Answers *answers = userdata;

        answers->n++;
        if (error < 0) {
                g_assert_null(allocation);
                g_assert_cmpstr(message, !=, "");
                answers->n_failed++;
                answers->error = error;
                g_strlcpy(answers->message, message, sizeof(answers->message));
                return;
        }
        g_assert_nonnull(allocation);
        g_assert_cmpstr(message, ==, "");
        daxbroker_allocation_close(answers->allocation);
        answers->allocation = allocation;
}

static void ask(daxbroker_client *client, uint64_t size, const char *name,
                daxbroker_allocation_callback callback, void *userdata) {
        daxbroker_request *request = request_make(size, 1, name);

        assert_works(daxbroker_allocate_async(client, request, callback, userdata));
        daxbroker_request_free(request);
}

static int64_t do_many(UserCall *call) {
        unsigned fds = count_own_fds();
        daxbroker_client *client = client_make();
        unsigned n = provider_rounds(50); /* that have to be answered in 25 seconds */
        Answers answers = { 0 };

        (void) call;
        for (unsigned i = 0; i < n; i++)
                ask(client, MIB, NULL, on_answer, &answers);
        /* never from within the call */
        g_assert_cmpuint(answers.n, ==, 0);
        run_until(client, answers.n == n);
        if (answers.n_failed > 0)
                g_error("%u of %u failed, at last: %s", answers.n_failed, n, answers.message);
        g_assert_true(is_filled(allocation_address(answers.allocation), 0, MIB));
        daxbroker_allocation_close(answers.allocation);
        daxbroker_client_free(client);
        g_assert_cmpuint(count_own_fds(), ==, fds);
        return 0;
}

static int64_t do_open(UserCall *call) {
        daxbroker_client *client = client_make();
        Answers answers = { 0 };

        (void) call;
        ask(client, MIB, "opened", on_answer, &answers);
        run_until(client, answers.n == 1);
        memset(allocation_address(answers.allocation), 7, MIB);

        assert_works(daxbroker_open_async(client, "opened", DAXBROKER_READ_ONLY, on_answer, &answers));
        run_until(client, answers.n == 2);
        g_assert_cmpint(fcntl(daxbroker_allocation_get_fd(answers.allocation), F_GETFL) & O_ACCMODE, ==,
                        O_RDONLY);
        g_assert_true(is_filled(allocation_address(answers.allocation), 7, MIB));
        g_assert_cmpuint(answers.n_failed, ==, 0);
        daxbroker_allocation_close(answers.allocation);

        /* the loop and waiting calls do not get in each other's way */
        assert_works(daxbroker_end_allocation(client, "opened"));
        daxbroker_client_free(client);
        return 0;
}

static int64_t do_refusals(UserCall *call) {
        daxbroker_client *client = client_make();
        daxbroker_request *request = request_make(1, 1, NULL);
        Answers answers = { 0 };

        (void) call;
        ask(client, GIB, NULL, on_answer, &answers);
        run_until(client, answers.n == 1);
        g_assert_cmpint(answers.error, ==, -ENOSPC);
        assert_says(answers.message, "256 MiB");

        assert_works(daxbroker_open_async(client, "nothing", 0, on_answer, &answers));
        run_until(client, answers.n == 2);
        g_assert_cmpint(answers.error, ==, -ENOENT);
        assert_says(answers.message, "nothing");
        g_assert_cmpuint(answers.n_failed, ==, 2);

        /* what makes no sense is said at once, and owes no callback */
        assert_fails(daxbroker_allocate_async(NULL, request, on_answer, &answers), EINVAL,
                     "client of one's own");
        assert_fails(daxbroker_allocate_async(client, NULL, on_answer, &answers), EINVAL, "no request");
        assert_fails(daxbroker_allocate_async(client, request, NULL, &answers), EINVAL, "callback");
        assert_fails(daxbroker_open_async(NULL, "x", 0, on_answer, &answers), EINVAL, "client of one's own");
        assert_fails(daxbroker_open_async(client, NULL, 0, on_answer, &answers), EINVAL, "no name");
        assert_fails(daxbroker_open_async(client, "x", 64, on_answer, &answers), EINVAL, "flag");
        assert_fails(daxbroker_open_async(client, "\xff", 0, on_answer, &answers), EINVAL, "UTF-8");
        assert_fails(daxbroker_client_get_fd(NULL), EINVAL, "client of one's own");
        assert_fails(daxbroker_client_get_events(NULL), EINVAL, "client of one's own");
        assert_fails(daxbroker_client_get_timeout(NULL, NULL), EINVAL, "client of one's own");
        assert_fails(daxbroker_client_process(NULL), EINVAL, "client of one's own");
        g_assert_cmpint(daxbroker_client_process(client), ==, 0);
        g_assert_cmpuint(answers.n, ==, 2);
        daxbroker_request_free(request);
        daxbroker_client_free(client);
        return 0;
}

static uint64_t seconds_of_patience(daxbroker_client *client) {
        uint64_t usec;

        assert_works(daxbroker_client_get_timeout(client, &usec));
        return (usec - (uint64_t) g_get_monotonic_time()) / G_USEC_PER_SEC;
}

/* What may have to be zeroed first, as it is much, is waited for longer. */
static int64_t do_patience(UserCall *call) {
        daxbroker_client *client = client_make();
        Answers answers = { 0 };

        (void) call;
        ask(client, MIB, NULL, on_answer, &answers);
        run_until(client, answers.n == 1);
        ask(client, GIB, NULL, on_answer, &answers);
        g_assert_cmpuint(seconds_of_patience(client), >, 500);
        ask(client, GIB - 1, NULL, on_answer, &answers);
        g_assert_cmpuint(seconds_of_patience(client), <=, 25);
        run_until(client, answers.n == 3);
        daxbroker_allocation_close(answers.allocation);
        daxbroker_client_free(client);
        return 0;
}

static int64_t do_unauthorized(UserCall *call) {
        daxbroker_client *client = client_make();
        Answers answers = { 0 };

        (void) call;
        ask(client, MIB, NULL, on_answer, &answers);
        run_until(client, answers.n == 1);
        g_assert_cmpint(answers.error, ==, -EACCES);
        assert_says(answers.message, "polkit does not allow");
        daxbroker_client_free(client);
        return 0;
}

/* A client that nobody has used yet: something to poll, nothing to do, nothing to wait for. */
static int64_t do_idle(UserCall *call) {
        daxbroker_client *client = client_make();
        struct pollfd polled;
        uint64_t usec;

        (void) call;
        polled = (struct pollfd){ .fd = daxbroker_client_get_fd(client), .events = POLLIN };
        assert_works(daxbroker_client_get_timeout(client, &usec));
        g_assert_cmpuint(usec, ==, UINT64_MAX);
        g_assert_cmpint(poll(&polled, 1, 100), ==, 0);
        g_assert_cmpint(daxbroker_client_process(client), ==, 0);
        daxbroker_client_free(client);
        return 0;
}

/* ---- What callbacks do --------------------------------------------------------------------------------------------- */

typedef struct Chain {
        daxbroker_client *client;
        unsigned n, left;
} Chain;

/* Everything is allowed, except to process. */
static void on_answer_go_on(daxbroker_allocation *allocation, int error, const char *message,
                            void *userdata) {
        Chain *chain = userdata;
        daxbroker_list *list;

        (void) message;
        assert_works(error);
        assert_fails(daxbroker_client_process(chain->client), EBUSY, "processed already");
        assert_works(daxbroker_list_allocations(chain->client, &list));
        daxbroker_list_free(list);
        assert_works(daxbroker_end_allocation(chain->client, daxbroker_allocation_get_object(allocation)));
        daxbroker_allocation_close(allocation);
        chain->n++;
        if (chain->left > 0) {
                chain->left--;
                ask(chain->client, MIB, NULL, on_answer_go_on, chain);
        }
}

static int64_t do_chain(UserCall *call) {
        Chain chain = { client_make(), 0, 10 };

        (void) call;
        ask(chain.client, MIB, NULL, on_answer_go_on, &chain);
        run_until(chain.client, chain.n == 11);
        daxbroker_client_free(chain.client);
        return 0;
}

static void on_answer_free_client(daxbroker_allocation *allocation, int error, const char *message,
                                  void *userdata) {
        Chain *chain = userdata;

        (void) message;
        assert_works(error);
        daxbroker_allocation_close(allocation);
        chain->n++;
        g_assert_null(daxbroker_client_free(chain->client));
        chain->client = NULL;
}

/* The others are never called, and what was made for them goes back. */
static int64_t do_free_client_in_callback(UserCall *call) {
        unsigned fds = count_own_fds();
        Chain chain = { client_make(), 0, 0 };

        (void) call;
        for (unsigned i = 0; i < 10; i++)
                ask(chain.client, MIB, NULL, on_answer_free_client, &chain);
        run_until(chain.client, chain.n > 0 || !chain.client);
        g_assert_cmpuint(chain.n, ==, 1);
        g_assert_cmpuint(count_own_fds(), ==, fds);
        return 0;
}

static int64_t do_free_client_with_calls(UserCall *call) {
        unsigned fds = count_own_fds();

        (void) call;
        for (unsigned i = 0; i < 10; i++) {
                daxbroker_client *client = client_make();
                Answers answers = { 0 };

                for (unsigned j = 0; j < 10; j++)
                        ask(client, MIB, NULL, on_answer, &answers);
                daxbroker_client_free(client);
                g_assert_cmpuint(answers.n, ==, 0);
        }
        g_assert_cmpuint(count_own_fds(), ==, fds);
        return 0;
}

/* Callbacks that the parent waits for are not the child's. */
static int64_t do_fork(UserCall *call) {
        daxbroker_client *client = client_make();
        Answers answers = { 0 };
        int status;
        pid_t pid;

        (void) call;
        ask(client, MIB, NULL, on_answer, &answers);
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                alarm(60);
                for (unsigned i = 0; i < 3; i++)
                        turn(client);
                g_assert_cmpuint(answers.n, ==, 0);
                /* its own are */
                ask(client, MIB, NULL, on_answer, &answers);
                run_until(client, answers.n == 1);
                daxbroker_allocation_close(answers.allocation);
                daxbroker_client_free(client);
                _exit(0);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        run_until(client, answers.n == 1);
        g_assert_cmpuint(answers.n_failed, ==, 0);
        daxbroker_allocation_close(answers.allocation);
        daxbroker_client_free(client);
        return 0;
}

static int64_t do_few_fds(UserCall *call) {
        daxbroker_client *client = client_make();
        Answers answers = { 0 };
        struct rlimit limit, few;
        uint64_t begin;

        (void) call;
        ask(client, MIB, NULL, on_answer, &answers);
        run_until(client, answers.n == 1);
        daxbroker_allocation_close(answers.allocation);
        answers.allocation = NULL;

        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        few = limit;
        few.rlim_cur = (rlim_t) open("/dev/null", O_RDONLY | O_CLOEXEC);
        close((int) few.rlim_cur);
        begin = now_msec();
        ask(client, MIB, NULL, on_answer, &answers);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &few), ==, 0);
        run_until(client, answers.n == 2);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        g_assert_cmpint(answers.error, ==, -EMFILE);
        assert_says(answers.message, "open files");
        g_assert_cmpuint(now_msec() - begin, <, 4000);

        ask(client, MIB, NULL, on_answer, &answers);
        run_until(client, answers.n == 3);
        g_assert_cmpuint(answers.n_failed, ==, 1);
        daxbroker_allocation_close(answers.allocation);
        daxbroker_client_free(client);
        return 0;
}

TEST_AS(alice, many)
TEST_AS(alice, open)
TEST_AS(alice, refusals)
TEST_AS(alice, patience)
TEST_AS(bob, unauthorized)
TEST_AS(alice, idle)
TEST_AS(alice, chain)
TEST_AS(alice, free_client_in_callback)
TEST_AS(alice, free_client_with_calls)
TEST_AS(alice, fork)
TEST_AS(alice, few_fds)

/* ---- The service comes and goes ------------------------------------------------------------------------------------ */

/* These stay over several calls of the test. */
static daxbroker_client *loop_client;
static Answers loop_answers;

static int64_t do_begin(UserCall *call) {
        uint64_t begin;

        (void) call;
        loop_client = client_make();
        ask(loop_client, MIB, NULL, on_answer, &loop_answers);
        run_until(loop_client, loop_answers.n == 1);

        /* nobody answers any more, and nothing waits for that but the callback */
        g_assert_cmpint(raise(SIGSTOP), ==, 0);
        begin = now_msec();
        ask(loop_client, MIB, NULL, on_answer, &loop_answers);
        ask(loop_client, MIB, "in-doubt", on_answer, &loop_answers);
        for (unsigned i = 0; i < 5; i++)
                turn(loop_client);
        g_assert_cmpuint(now_msec() - begin, <, 5000);
        g_assert_cmpuint(loop_answers.n, ==, 1);
        return 0;
}

static int64_t do_go_on(UserCall *call) {
        (void) call;
        run_until(loop_client, loop_answers.n == 3);
        g_assert_cmpuint(loop_answers.n_failed, ==, 1);
        g_assert_cmpint(loop_answers.error, ==, -EHOSTDOWN);
        assert_says(loop_answers.message, "perhaps after it did its work");
        daxbroker_allocation_close(loop_answers.allocation);
        daxbroker_client_free(loop_client);
        loop_answers = (Answers){ 0 };
        return 0;
}

/* Calls that were on their way when the broker was killed. */
static void test_killed(Scene *scene, const void *unused) {
        (void) unused;
        as_begin(scene->alice, do_begin);
        g_assert_cmpint(waitpid(scene->alice->pid, NULL, WUNTRACED), ==, scene->alice->pid);
        polkit_freeze();
        user_continue(scene->alice);
        as_end(scene->alice);

        broker_kill(scene->broker);
        broker_start(scene->broker);
        polkit_thaw();
        as(scene->alice, do_go_on);
}

static int64_t do_find_nobody(UserCall *call) {
        daxbroker_client *client = client_make();
        Answers answers = { 0 };
        uint64_t begin = now_msec();

        (void) call;
        ask(client, MIB, NULL, on_answer, &answers);
        run_until(client, answers.n == 1);
        g_assert_cmpint(answers.error, ==, -EHOSTDOWN);
        assert_says(answers.message, "the daxbroker service is not running");
        g_assert_cmpuint(now_msec() - begin, <, 3000);
        daxbroker_client_free(client);
        return 0;
}

static void test_nobody(Scene *scene, const void *unused) {
        (void) unused;
        if (world_skips_direct("the service manager listens meanwhile"))
                return;
        broker_stop(scene->broker);
        as(scene->alice, do_find_nobody);
        broker_start(scene->broker);
}

static int64_t do_find_no_bus(UserCall *call) {
        g_autofree char *address = g_strdup(g_getenv("DBUS_SYSTEM_BUS_ADDRESS"));
        daxbroker_client *client = client_make();
        daxbroker_request *request = request_make(1, 1, NULL);
        Answers answers = { 0 };

        (void) call;
        g_assert_cmpint(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere", 1), ==, 0);
        assert_fails(daxbroker_allocate_async(client, request, on_answer, &answers), EHOSTDOWN,
                     "cannot connect to the system bus");
        assert_fails(daxbroker_watch(client, (daxbroker_watch_callback) NULL, NULL), EINVAL, "no callback");
        g_assert_cmpint(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), ==, 0);
        ask(client, MIB, NULL, on_answer, &answers);
        run_until(client, answers.n == 1);
        g_assert_cmpuint(answers.n_failed, ==, 0);
        daxbroker_allocation_close(answers.allocation);
        daxbroker_request_free(request);
        daxbroker_client_free(client);
        return 0;
}

TEST_AS(alice, find_no_bus)

/* ---- The watch ----------------------------------------------------------------------------------------------------- */

/* What was seen, a line each: "added /org/daxbroker1/allocation/…", "changed /org/… Mode", "reset ". */
static GString *seen;

static void on_event(const char *event, const char *object, const char *properties, void *userdata) {
        g_assert_true(userdata == &seen);
        g_string_append_printf(seen, "%s %s%s%s\n", event, object, *properties ? " " : "", properties);
}

static bool has_seen(const char *event, const char *object, const char *properties) {
        g_autofree char *line =
                        g_strdup_printf("%s %s%s%s\n", event, object, *properties ? " " : "", properties);

        return strstr(seen->str, line);
}

static int64_t do_watch(UserCall *call) {
        (void) call;
        seen = g_string_new(NULL);
        loop_client = client_make();
        assert_fails(daxbroker_watch(NULL, on_event, &seen), EINVAL, "client of one's own");
        assert_works(daxbroker_watch(loop_client, on_event, &seen));
        return 0;
}

static int64_t do_end_watch(UserCall *call) {
        (void) call;
        daxbroker_client_free(loop_client);
        g_string_free(seen, true);
        seen = NULL;
        return 0;
}

/* What happened since the watch began, without anybody having processed anything meanwhile. */
static int64_t do_see_events(UserCall *call) {
        g_autofree char *region = provider_text("changed /org/daxbroker1/region/dram ");
        const char *object = call->data;

        run_until(loop_client, has_seen("added", object, ""));
        run_until(loop_client, has_seen("changed", object, "Mode"));
        run_until(loop_client, has_seen("removed", object, ""));
        run_until(loop_client, strstr(seen->str, region));
        g_assert_null(strstr(seen->str, "reset"));
        return 0;
}

static int64_t do_see_reset(UserCall *call) {
        (void) call;
        run_until(loop_client, has_seen("reset", "", ""));
        g_string_truncate(seen, 0);
        return 0;
}

static void make_events(User *user, char object[static 128]) {
        Reply reply = user_get(user, MIB, "name=watched");

        g_strlcpy(object, reply.object, 128);
        reply = user_set_mode(user, object, 0644);
        reply_assert(reply, "");
        reply = user_release(user, object);
        reply_assert(reply, "");
        user_drop_all(user);
}

static void see_events(User *watcher, const char *object) {
        g_assert_cmpint(user_call(watcher, do_see_events, object, strlen(object) + 1, NULL, 0), ==, 0);
}

/* Bob sees that alice's allocations come and go, and not what they are. */
static void test_watch(Scene *scene, const void *unused) {
        User *watcher = scene_listener(scene);
        char object[128];

        (void) unused;
        as(watcher, do_watch);
        make_events(scene->alice, object);
        see_events(watcher, object);
        as(watcher, do_end_watch);
}

static void test_watch_restarts(Scene *scene, const void *unused) {
        User *watcher = scene_listener(scene);
        char object[128];

        (void) unused;
        as(watcher, do_watch);
        for (unsigned i = 0; i < 2; i++) {
                broker_restart(scene->broker);
                as(watcher, do_see_reset);
                make_events(scene->alice, object);
                see_events(watcher, object);
                broker_kill(scene->broker);
                broker_start(scene->broker);
                as(watcher, do_see_reset);
        }
        as(watcher, do_end_watch);
}

static void test_watch_bus_restarts(Scene *scene, const void *unused) {
        char object[128];
        User *guest;

        (void) unused;
        if (world_skips_direct("it is about the bus"))
                return;
        as(scene->bob, do_watch);
        broker_stop(scene->broker);
        bus_kill();
        bus_start();
        broker_start(scene->broker);
        as(scene->bob, do_see_reset);
        guest = user_new("alice"); /* with a connection to this bus */
        make_events(guest, object);
        user_free(guest);
        see_events(scene->bob, object);
        as(scene->bob, do_end_watch);
}

/* It may begin before there is a service. */
static void test_watch_early(Scene *scene, const void *unused) {
        char object[128];

        (void) unused;
        if (world_skips_direct("the service manager listens meanwhile"))
                return;
        broker_stop(scene->broker);
        as(scene->bob, do_watch);
        broker_start(scene->broker);
        as(scene->bob, do_see_reset);
        make_events(scene->alice, object);
        see_events(scene->bob, object);
        as(scene->bob, do_end_watch);
}

/* Signals that anybody can send, to everybody or to one. */
static int64_t do_forge(UserCall *call) {
        static const char object[] = "/org/daxbroker1/allocation/0000000000000000";
        const char *victim = call->data;
        sd_bus *bus = user_bus();
        sd_bus_message *m;

        for (unsigned i = 0; i < 2; i++) {
                g_assert_cmpint(sd_bus_message_new_signal(bus, &m, "/org/daxbroker1",
                                                          "org.freedesktop.DBus.ObjectManager",
                                                          "InterfacesRemoved"),
                                >=, 0);
                g_assert_cmpint(sd_bus_message_append(m, "oas", object, 1, "org.daxbroker1.Allocation"), >=,
                                0);
                g_assert_cmpint(i == 0 ? sd_bus_send(bus, m, NULL) : sd_bus_send_to(bus, m, victim, NULL),
                                >=, 0);
                sd_bus_message_unref(m);
        }
        return sd_bus_flush(bus) < 0;
}

static int64_t do_tell_names(UserCall *call) {
        sd_bus_message *reply = NULL;
        g_autoptr(GString) names = g_string_new(NULL);
        const char *name;

        g_assert_cmpint(sd_bus_call_method(user_bus(), "org.freedesktop.DBus", "/", "org.freedesktop.DBus",
                                           "ListNames", NULL, &reply, ""),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "s"), >, 0);
        while (sd_bus_message_read(reply, "s", &name) > 0)
                if (*name == ':')
                        g_string_append_printf(names, "%s\n", name);
        sd_bus_message_unref(reply);
        call->answer_size = names->len + 1;
        memcpy(call->answer, names->str, names->len + 1);
        return 0;
}

static int64_t do_see_no_forgery(UserCall *call) {
        (void) call;
        for (unsigned i = 0; i < 5; i++)
                turn(loop_client);
        g_assert_null(strstr(seen->str, "0000000000000000"));
        return 0;
}

static void test_watch_forged(Scene *scene, const void *unused) {
        char names[USER_DATA_MAX], object[128];
        g_auto(GStrv) lines = NULL;

        (void) unused;
        if (world_skips_direct("only the broker can send signals there"))
                return;
        as(scene->bob, do_watch);
        g_assert_cmpint(user_call(scene->carol, do_tell_names, NULL, 0, names, sizeof(names)), ==, 0);
        lines = g_strsplit(names, "\n", -1);
        for (char **name = lines; *name; name++)
                if (**name != '\0')
                        g_assert_cmpint(user_call(scene->carol, do_forge, *name, strlen(*name) + 1, NULL, 0),
                                        ==, 0);
        make_events(scene->alice, object);
        see_events(scene->bob, object);
        as(scene->bob, do_see_no_forgery);
        as(scene->bob, do_end_watch);
}

#define add(path, function) scene_add("/library-loop/" path, CONFIGURATION, function)

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        add("calls/many", test_many);
        add("calls/open", test_open);
        add("calls/refusals", test_refusals);
        add("calls/patience", test_patience);
        add("calls/unauthorized", test_unauthorized);
        add("calls/idle", test_idle);
        add("calls/chain", test_chain);
        add("calls/free-client-in-callback", test_free_client_in_callback);
        add("calls/free-client-with-calls", test_free_client_with_calls);
        add("calls/fork", test_fork);
        add("calls/few-fds", test_few_fds);
        add("service/killed", test_killed);
        add("service/nobody", test_nobody);
        if (!world_is_direct())
                add("service/no-bus", test_find_no_bus);
        add("watch/events", test_watch);
        add("watch/restarts", test_watch_restarts);
        add("watch/bus-restarts", test_watch_bus_restarts);
        add("watch/early", test_watch_early);
        add("watch/forged", test_watch_forged);
        return g_test_run();
}
