/* SPDX-License-Identifier: MIT */

/* The library in programs that are not as simple as a manual page's: with threads, with children, with signals that arrive
 * all the time, without descriptors to spare. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"
#include "provider.h"
#include "world.h"

#define CONFIGURATION                                                                                \
        "[Region dram]\n"                                                                            \
        "Size=256M\n"

#define N_THREADS 16
#define N_ROUNDS 25
#define N_CHILDREN 20

/* ---- Threads ------------------------------------------------------------------------------------------------------- */

/* Each has several pieces at any time, of which nobody else has a byte. */
static void *allocate_and_free(void *userdata) {
        uint8_t mark = (uint8_t) GPOINTER_TO_UINT(userdata);
        uint8_t *pieces[4] = { NULL };
        size_t sizes[4] = { 0 };

        for (unsigned i = 0; i < provider_rounds(N_ROUNDS); i++) {
                unsigned k = i % G_N_ELEMENTS(pieces);

                if (pieces[k])
                        g_assert_true(is_filled(pieces[k], mark, sizes[k]));
                daxbroker_free(pieces[k]);

                sizes[k] = 1 + (i * 7919 + mark * 104729) % (256 * KIB);
                pieces[k] = daxbroker_alloc(sizes[k], UINT64_C(1) << (i % 22));
                if (!pieces[k])
                        g_error("%s", daxbroker_last_error());
                g_assert_true(is_filled(pieces[k], 0, sizes[k]));
                memset(pieces[k], mark, sizes[k]);
        }

        for (unsigned k = 0; k < G_N_ELEMENTS(pieces); k++)
                daxbroker_free(pieces[k]);
        return NULL;
}

static void run_threads(GThreadFunc function, void *const *userdata) {
        GThread *threads[N_THREADS];

        for (unsigned i = 0; i < N_THREADS; i++)
                threads[i] = g_thread_new(NULL, function, userdata ? userdata[0] : GUINT_TO_POINTER(i + 1));
        for (unsigned i = 0; i < N_THREADS; i++)
                g_thread_join(threads[i]);
}

static int64_t do_threads(UserCall *call) {
        unsigned fds;

        (void) call;
        daxbroker_free(daxbroker_alloc(1, 1));
        fds = count_own_fds();
        run_threads(allocate_and_free, NULL);
        /* a few idle connections may be kept */
        g_assert_cmpuint(count_own_fds(), <=, fds + 3);
        return 0;
}

/* The same handle, mapped and asked by all at once. */
static void *use_handle(void *userdata) {
        daxbroker_allocation *allocation = userdata;
        uint64_t granularity, page_size;
        uint8_t *address = allocation_address(allocation);

        g_assert_true(address == daxbroker_allocation_get_address(allocation));
        assert_works(daxbroker_get_store_granularity(allocation, &granularity));
        assert_works(daxbroker_persist(allocation, address, 1));
        assert_works(daxbroker_allocation_get_page_size(allocation, &page_size));
        return NULL;
}

static int64_t do_one_handle(UserCall *call) {
        (void) call;
        for (unsigned i = 0; i < 20; i++) {
                daxbroker_allocation *allocation = allocation_make(NULL, MIB, NULL);
                void *userdata = allocation;

                run_threads(use_handle, &userdata);
                daxbroker_allocation_close(allocation);
        }
        return 0;
}

/* One client, every kind of call. */
static void *use_client(void *userdata) {
        daxbroker_client *client = userdata;

        for (unsigned i = 0; i < 10; i++) {
                g_autofree char *name = g_strdup_printf("thread-%p-%u", (void *) g_thread_self(), i),
                                *version = NULL;
                daxbroker_allocation *allocation, *opened;
                daxbroker_list *list;
                daxbroker_info *info;

                allocation = allocation_make(client, 4096, name);
                assert_works(daxbroker_open(client, name, 0, &opened));
                assert_works(daxbroker_get_allocation(client, name, &info));
                assert_works(daxbroker_list_allocations(client, &list));
                assert_works(daxbroker_get_version(client, &version));
                assert_works(daxbroker_set_mode(client, name, 0644));
                daxbroker_info_free(info);
                daxbroker_list_free(list);
                daxbroker_allocation_close(opened);
                daxbroker_allocation_close(allocation);
                assert_works(daxbroker_end_allocation(client, name));
                assert_fails(daxbroker_end_allocation(client, name), ENOENT, name);
        }
        return NULL;
}

static int64_t do_one_client(UserCall *call) {
        unsigned fds = count_own_fds();
        daxbroker_client *client;
        void *userdata;

        (void) call;
        assert_works(daxbroker_client_new(&client));
        userdata = client;
        run_threads(use_client, &userdata);
        daxbroker_client_free(client);
        g_assert_cmpuint(count_own_fds(), ==, fds);
        return 0;
}

static void test_threads(Scene *scene, const void *unused) {
        (void) unused;
        skip_on_nvdimm("there is not room for so many at once");
        as(scene->alice, do_threads);
}

TEST_AS(alice, one_handle)
TEST_AS(alice, one_client)

static void noop(const char *event, const char *object, const char *properties, void *userdata) {
        (void) event;
        (void) object;
        (void) properties;
        (void) userdata;
}

/* ---- Children ------------------------------------------------------------------------------------------------------ */

static pid_t child_begin(void) {
        pid_t pid = fork();

        g_assert_cmpint(pid, >=, 0);
        if (pid == 0)
                alarm(60); /* instead of hanging for ever */
        return pid;
}

static void child_end(pid_t pid) {
        int status;

        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
}

static unsigned count_allocations(daxbroker_client *client) {
        daxbroker_list *list;
        size_t n;

        assert_works(daxbroker_list_allocations(client, &list));
        n = daxbroker_list_get_size(list);
        daxbroker_list_free(list);
        return (unsigned) n;
}

/* What ends because its last lease was closed ends a little later. */
static void assert_allocations(unsigned n) {
        g_assert_true(wait_until(20, count_allocations(NULL) == n));
}

static int64_t do_fork(UserCall *call) {
        daxbroker_client *client;
        daxbroker_allocation *allocation, *other;
        uint8_t *p, *q;
        int pipes[2];
        char byte = 0;
        pid_t pid;

        (void) call;
        assert_works(daxbroker_client_new(&client));
        allocation = allocation_make(client, MIB, NULL);
        p = daxbroker_alloc(MIB, 2 * MIB);
        q = allocation_address(allocation);
        g_assert_cmpint(pipe2(pipes, O_CLOEXEC), ==, 0);

        pid = child_begin();
        if (pid == 0) {
                /* what it inherited is the same memory */
                p[0] = 1;
                q[0] = 2;

                /* requests of its own, by the parent's clients and by one of its own */
                other = allocation_make(client, MIB, NULL);
                g_assert_true(is_filled(allocation_address(other), 0, MIB));
                g_assert_cmpuint(count_allocations(NULL), ==, 3);
                daxbroker_allocation_close(other);
                daxbroker_client_free(client);
                assert_works(daxbroker_client_new(&client));
                other = allocation_make(client, MIB, NULL);
                daxbroker_allocation_close(other);
                daxbroker_client_free(client);

                /* its copies go, the parent's stay */
                daxbroker_free(p);
                g_assert_cmpint(signal_of_reading(p), ==, SIGSEGV);
                daxbroker_allocation_close(allocation);
                _exit(0);
        }
        child_end(pid);

        assert_allocations(2);
        g_assert_cmpint(p[0], ==, 1);
        g_assert_cmpint(q[0], ==, 2);

        /* the other way around: the parent lets go, the child still has it */
        pid = child_begin();
        if (pid == 0) {
                close(pipes[1]);
                g_assert_cmpint(read(pipes[0], &byte, 1), ==, 0);
                g_assert_cmpint(p[0] + q[0], ==, 3);
                daxbroker_free(p);
                _exit(0);
        }
        daxbroker_free(p);
        daxbroker_allocation_close(allocation);
        for (unsigned i = 0; i < 3; i++) {
                g_usleep(20000);
                g_assert_cmpuint(count_allocations(client), ==, 2);
        }
        close(pipes[0]);
        close(pipes[1]);
        child_end(pid);
        assert_allocations(0);

        daxbroker_client_free(client);
        return 0;
}

/* Ended for everybody: also for the child. */
static int64_t do_end_in_child(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, MIB, NULL);
        uint8_t *address = allocation_address(allocation);
        pid_t pid;

        (void) call;
        address[0] = 1;
        pid = child_begin();
        if (pid == 0) {
                assert_works(daxbroker_end_allocation(NULL, daxbroker_allocation_get_object(allocation)));
                _exit(0);
        }
        child_end(pid);
        g_assert_cmpint(signal_of_reading(address), ==, signal_of_ended());
        daxbroker_allocation_close(allocation);
        return 0;
}

/* Two processes that write to one socket would destroy it for both, and the bus would think that a parent lives as long as
 * its children. */
static int64_t do_inherit_no_connection(UserCall *call) {
        unsigned fds = count_own_fds();
        daxbroker_client *client;
        pid_t pid;

        (void) call;
        assert_works(daxbroker_client_new(&client));
        assert_works(daxbroker_watch(client, noop, NULL));
        daxbroker_free(daxbroker_alloc(1, 1));
        daxbroker_allocation_close(allocation_make(client, 1, NULL));
        g_assert_cmpuint(count_own_fds(), ==, fds + 3);

        pid = child_begin();
        if (pid == 0) {
                g_assert_cmpuint(count_own_fds(), ==, fds);
                _exit(0);
        }
        child_end(pid);
        daxbroker_client_free(client);
        return 0;
}

static gint stop; /* for threads */

/* It takes the library's lock, and keeps it for a while, without any help from the service. */
static void learn_granularity(int memory) {
        daxbroker_allocation *allocation;
        uint64_t granularity;

        assert_works(daxbroker_adopt_fds(fcntl(memory, F_DUPFD_CLOEXEC, 3), -1, 0, MIB, &allocation));
        (void) allocation_address(allocation);
        assert_works(daxbroker_get_store_granularity(allocation, &granularity));
        daxbroker_allocation_close(allocation);
}

static void *learn_until_told(void *userdata) {
        while (!g_atomic_int_get(&stop))
                learn_granularity(GPOINTER_TO_INT(userdata));
        return NULL;
}

/* While threads hold locks most of the time. A child has none of these threads, and must not wait for them. */
static int64_t do_fork_among_locks(UserCall *call) {
        daxbroker_allocation *allocation = allocation_make(NULL, MIB, NULL);
        int memory = daxbroker_allocation_get_fd(allocation);
        GThread *threads[4];

        (void) call;
        g_atomic_int_set(&stop, 0);
        for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
                threads[i] = g_thread_new(NULL, learn_until_told, GINT_TO_POINTER(memory));
        for (unsigned i = 0; i < 5 * N_CHILDREN; i++) {
                pid_t pid = child_begin();

                if (pid == 0) {
                        learn_granularity(memory);
                        _exit(0);
                }
                child_end(pid);
        }
        g_atomic_int_set(&stop, 1);
        for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
                g_thread_join(threads[i]);
        daxbroker_allocation_close(allocation);
        return 0;
}

static void *allocate_until_told(void *unused) {
        (void) unused;
        while (!g_atomic_int_get(&stop)) {
                void *p = daxbroker_alloc(4096, 1);

                g_assert_nonnull(p);
                daxbroker_free(p);
        }
        return NULL;
}

/* At any moment of what other threads are doing. */
static int64_t do_fork_among_threads(UserCall *call) {
        GThread *threads[4];

        (void) call;
        g_atomic_int_set(&stop, 0);
        for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
                threads[i] = g_thread_new(NULL, allocate_until_told, NULL);

        for (unsigned i = 0; i < provider_rounds(N_CHILDREN); i++) {
                pid_t pid = child_begin();

                if (pid == 0) {
                        uint8_t *p = daxbroker_alloc(4096, 1);

                        if (!p || !is_filled(p, 0, 4096))
                                _exit(1);
                        daxbroker_free(p);
                        _exit(0);
                }
                child_end(pid);
        }

        g_atomic_int_set(&stop, 1);
        for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
                g_thread_join(threads[i]);
        assert_allocations(0);
        return 0;
}

/* Children of children, exit handlers and all. */
static int64_t do_exit_handlers(UserCall *call) {
        uint8_t *p = daxbroker_alloc(MIB, 1);
        pid_t pid;

        (void) call;
        g_assert_nonnull(p);
        pid = child_begin();
        if (pid == 0) {
                pid_t grandchild = child_begin();

                if (grandchild == 0) {
                        daxbroker_free(daxbroker_alloc(1, 1));
                        p[0]++;
                        /* the library's destructor runs; the test's own handlers, and sanitizers, are not for here */
                        quick_exit(0);
                }
                child_end(grandchild);
                daxbroker_free(daxbroker_alloc(1, 1));
                p[0]++;
                _exit(0);
        }
        child_end(pid);
        g_assert_cmpint(p[0], ==, 2);
        daxbroker_free(p);
        assert_allocations(0);
        return 0;
}

static char *inherited_fds(void) {
        const char *argv[] = { "/bin/sh", "-c", "exec ls /proc/self/fd", NULL };
        g_autofree char *output = NULL;
        int pipes[2], status;
        pid_t pid;

        g_assert_cmpint(pipe(pipes), ==, 0);
        pid = fork();
        if (pid == 0) {
                g_assert_cmpint(dup2(pipes[1], STDOUT_FILENO), >=, 0);
                close(pipes[0]);
                close(pipes[1]);
                execv(argv[0], (char **) (uintptr_t) argv);
                _exit(127);
        }
        close(pipes[1]);
        output = g_malloc0(4096);
        for (ssize_t n, size = 0; (n = read(pipes[0], output + size, (size_t) (4095 - size))) > 0;)
                size += n;
        close(pipes[0]);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        return g_steal_pointer(&output);
}

/* Programs that are started get nothing of it. */
static int64_t do_exec(UserCall *call) {
        g_autofree char *before = inherited_fds(), *after = NULL;
        daxbroker_allocation *allocation, *reader;
        daxbroker_client *client, *idle;
        void *p;

        (void) call;
        assert_works(daxbroker_client_new(&client));
        assert_works(daxbroker_client_new(&idle));
        assert_works(daxbroker_watch(client, noop, NULL));
        g_assert_cmpint(daxbroker_client_get_fd(idle), >=, 0);
        allocation = allocation_make(client, MIB, "inherited");
        assert_works(daxbroker_open(NULL, "inherited", DAXBROKER_READ_ONLY, &reader));
        p = daxbroker_alloc(MIB, 2 * MIB);
        g_assert_nonnull(p);

        after = inherited_fds();
        g_assert_cmpstr(after, ==, before);

        daxbroker_free(p);
        daxbroker_allocation_close(reader);
        daxbroker_allocation_close(allocation);
        assert_works(daxbroker_end_allocation(client, "inherited"));
        daxbroker_client_free(idle);
        daxbroker_client_free(client);
        return 0;
}

TEST_AS(alice, fork)
TEST_AS(alice, end_in_child)
TEST_AS(alice, inherit_no_connection)
#if defined(__SANITIZE_ADDRESS__)
/* A child of a process that has threads may find the allocator locked by a thread that it has not got. glibc sees to that,
 * the sanitizer of gcc 12 does not. */
static void skip_fork_among(Scene *scene, const void *unused) {
        (void) scene;
        (void) unused;
        (void) do_fork_among_locks;
        (void) do_fork_among_threads;
        g_test_skip("the sanitizer's allocator does not outlive a fork among threads; other builds try it");
}
#define test_fork_among_locks skip_fork_among
#define test_fork_among_threads skip_fork_among
#else
TEST_AS(alice, fork_among_locks)
TEST_AS(alice, fork_among_threads)
#endif
TEST_AS(alice, exit_handlers)
TEST_AS(alice, exec)

/* ---- Descriptors and signals --------------------------------------------------------------------------------------- */

/* As many as before, whatever was done and however it ended. */
static int64_t do_no_fd_is_lost(UserCall *call) {
        unsigned fds = count_own_fds();

        (void) call;
        for (unsigned i = 0; i < 10; i++) {
                daxbroker_request *request = request_make(GIB, 1, NULL);
                daxbroker_allocation *allocation, *opened;
                daxbroker_client *client;
                daxbroker_list *list;

                assert_works(daxbroker_client_new(&client));
                assert_works(daxbroker_watch(client, noop, NULL));
                assert_fails(daxbroker_allocate(client, request, &allocation), ENOSPC,
                             provider_is_nvdimm() ? "1038 MiB" : "1 GiB");
                assert_fails(daxbroker_open(client, "nothing", 0, &opened), ENOENT, "nothing");
                allocation = allocation_make(client, MIB, "something");
                assert_works(daxbroker_open(client, "something", DAXBROKER_READ_ONLY, &opened));
                (void) allocation_address(opened);
                assert_works(daxbroker_list_regions(client, &list));
                daxbroker_list_free(list);
                daxbroker_allocation_close(opened);
                daxbroker_allocation_close(allocation);
                assert_works(daxbroker_end_allocation(client, "something"));
                daxbroker_client_free(client);
                daxbroker_request_free(request);
                g_assert_cmpuint(count_own_fds(), ==, fds);
        }
        return 0;
}

static void limit_fds(unsigned n) {
        struct rlimit limit;

        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        limit.rlim_cur = n;
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
}

/* With too few of them it fails, says so, keeps nothing, and works again when there are enough. */
static int64_t do_few_fds(UserCall *call) {
        unsigned n_failed = 0, fds, highest;
        daxbroker_client *client;
        struct rlimit limit;

        (void) call;
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        highest = (unsigned) open("/dev/null", O_RDONLY | O_CLOEXEC);
        close((int) highest);
        fds = count_own_fds();

        for (unsigned spare = 0; spare < 10; spare++) {
                daxbroker_request *request = request_make(MIB, 1, NULL);
                daxbroker_allocation *allocation = NULL;
                int r;

                assert_works(daxbroker_client_new(&client));
                limit_fds(highest + spare);
                r = daxbroker_allocate(client, request, &allocation);
                if (r < 0) {
                        g_assert_true(r == -EMFILE || r == -ENFILE);
                        assert_says(daxbroker_last_error(), "open files");
                        n_failed++;
                } else
                        daxbroker_allocation_close(allocation);

                limit_fds((unsigned) limit.rlim_cur);
                daxbroker_allocation_close(allocation_make(client, MIB, NULL));
                daxbroker_client_free(client);
                daxbroker_request_free(request);
                g_assert_cmpuint(count_own_fds(), ==, fds);
                assert_allocations(0);
                fds = count_own_fds(); /* with the hidden client's connection, from now on */
                highest = (unsigned) open("/dev/null", O_RDONLY | O_CLOEXEC);
                close((int) highest);
        }
        g_assert_cmpuint(n_failed, >=, 2);
        g_assert_cmpuint(n_failed, <, 10);
        return 0;
}

static gint n_signals;

static void on_alarm(int number) {
        (void) number;
        g_atomic_int_inc(&n_signals);
}

/* Interrupted every 200 microseconds, and no system call is restarted. */
static int64_t do_signals(UserCall *call) {
        const struct sigaction action = { .sa_handler = on_alarm };
        const struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
        daxbroker_list *list;

        (void) call;
        g_assert_cmpint(sigaction(SIGALRM, &action, NULL), ==, 0);
        g_assert_cmpint(setitimer(ITIMER_REAL, &often, NULL), ==, 0);
        for (unsigned i = 0; i < provider_rounds(100); i++) {
                daxbroker_client *client;
                daxbroker_allocation *allocation;

                assert_works(daxbroker_client_new(&client));
                assert_works(daxbroker_watch(client, noop, NULL));
                allocation = allocation_make(client, MIB, NULL);
                (void) allocation_address(allocation);
                assert_works(daxbroker_persist(allocation, allocation_address(allocation), MIB));
                assert_works(daxbroker_list_allocations(client, &list));
                daxbroker_list_free(list);
                daxbroker_allocation_close(allocation);
                daxbroker_client_free(client);
        }
        g_assert_cmpint(setitimer(ITIMER_REAL, &never, NULL), ==, 0);
        g_assert_cmpint(g_atomic_int_get(&n_signals), >, 100);
        return 0;
}

TEST_AS(alice, no_fd_is_lost)
TEST_AS(alice, few_fds)
TEST_AS(alice, signals)

#define add(path, function) scene_add("/library-process/" path, CONFIGURATION, function)

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        add("threads", test_threads);
        add("threads/one-handle", test_one_handle);
        add("threads/one-client", test_one_client);
        add("fork", test_fork);
        add("fork/end-in-child", test_end_in_child);
        add("fork/no-connection", test_inherit_no_connection);
        add("fork/among-locks", test_fork_among_locks);
        add("fork/among-threads", test_fork_among_threads);
        add("fork/exit-handlers", test_exit_handlers);
        add("exec", test_exec);
        add("fds/none-is-lost", test_no_fd_is_lost);
        add("fds/few", test_few_fds);
        add("signals", test_signals);
        return g_test_run();
}
