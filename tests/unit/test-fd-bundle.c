/* SPDX-License-Identifier: MIT */

/* Descriptors that wait in the queues of sockets. The broker is a child process, which ends whenever the test says; the
 * service manager is the parent: what the child has told it by then is what the next child begins with. */

#include "fd-bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fd-store.h"

/* ---- The service manager ---- */

typedef struct Kept {
        char name[32];
        int fd;
} Kept;

static GArray *kept;
static unsigned n_pushed;
static int line[2]; /* from the child */
static bool absent;

typedef struct Told {
        char name[32];
        bool removes;
} Told;

int __wrap_fd_store_push(const char *name, int fd);
int __wrap_fd_store_push(const char *name, int fd) {
        Told told = { 0 };
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct iovec data = { &told, sizeof(told) };
        struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        if (absent)
                return 0;
        g_strlcpy(told.name, name, sizeof(told.name));
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
        g_assert_cmpint(sendmsg(line[1], &message, 0), ==, sizeof(told));
        return 1;
}

int __wrap_fd_store_remove(const char *name);
int __wrap_fd_store_remove(const char *name) {
        Told told = { .removes = true };

        g_strlcpy(told.name, name, sizeof(told.name));
        g_assert_cmpint(send(line[1], &told, sizeof(told), 0), ==, sizeof(told));
        return 1;
}

static void *listen_to_child(void *unused) {
        (void) unused;
        for (;;) {
                Told told;
                union {
                        struct cmsghdr header;
                        char space[CMSG_SPACE(sizeof(int))];
                } control;
                struct iovec data = { &told, sizeof(told) };
                struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                                          .msg_controllen = sizeof(control) };
                ssize_t n = recvmsg(line[0], &message, MSG_CMSG_CLOEXEC);

                if (n <= 0)
                        return NULL;
                g_assert_cmpint(n, ==, sizeof(told));
                if (told.removes) {
                        guint i = 0;

                        while (i < kept->len && !g_str_equal(g_array_index(kept, Kept, i).name, told.name))
                                i++;
                        g_assert_cmpuint(i, <, kept->len);
                        g_assert_cmpint(close(g_array_index(kept, Kept, i).fd), ==, 0);
                        g_array_remove_index(kept, i);
                } else {
                        const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
                        Kept new = { .fd = -1 };

                        if (header)
                                memcpy(&new.fd, CMSG_DATA(header), sizeof(int));
                        g_assert_cmpint(new.fd, >=, 0);
                        g_strlcpy(new.name, told.name, sizeof(new.name));
                        for (guint i = 0; i < kept->len; i++)
                                g_assert_cmpstr(g_array_index(kept, Kept, i).name, !=, new.name);
                        g_array_append_val(kept, new);
                        n_pushed++;
                }
        }
}

/* ---- The broker ---- */

#define IDS_MAX 20000
#define MANY 2000

/* Both see it. */
typedef struct Shared {
        bool wanted[IDS_MAX + 1]; /* that it was added, and not removed since */
        ino_t inodes[IDS_MAX];
        unsigned n_used;  /* an id is used once */
        unsigned n_calls; /* that may be the last */
} Shared;

static Shared *shared;
static unsigned last_call; /* 0: lives on */
static unsigned full_after; /* messages, once */
static bool found[IDS_MAX];
static unsigned n_found;

static const char *id_of(unsigned i, char ret[17]) {
        g_snprintf(ret, 17, "%08x%08x", i * 2654435761U, i);
        return ret;
}

static void call(void) {
        if (++shared->n_calls == last_call)
                _exit(0);
}

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
        ssize_t n;

        if (fd == line[1])
                return __real_sendmsg(fd, message, flags);
        if (full_after > 0 && --full_after == 0) {
                errno = EAGAIN;
                return -1;
        }
        call();
        n = __real_sendmsg(fd, message, flags);
        call();
        return n;
}

ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags) {
        ssize_t n = __real_recvmsg(fd, message, flags);

        if (fd != line[0])
                call();
        return n;
}

static int add_with(unsigned i, int (*function)(const char *id, int fd)) {
        char id[17];
        struct stat st;
        int fd, r;

        fd = memfd_create("piece", MFD_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        r = function(id_of(i, id), fd);
        if (r > 0) {
                shared->inodes[i] = st.st_ino;
                shared->wanted[i] = true;
        }
        close(fd);
        return r;
}

static int add(unsigned i) {
        return add_with(i, fd_bundle_add);
}

static void drop(unsigned i) {
        char id[17];

        shared->wanted[i] = false;
        g_assert_true(fd_bundle_remove(id_of(i, id)));
}

static int on_found(const char *id, int fd, void *userdata) {
        unsigned i = (unsigned) strtoul(id + 8, NULL, 16);
        char again[17];
        struct stat st;

        g_assert_true(userdata == &found);
        g_assert_cmpuint(i, <, IDS_MAX);
        g_assert_cmpstr(id, ==, id_of(i, again));
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        if (shared->wanted[i])
                g_assert_cmpuint(st.st_ino, ==, shared->inodes[i]);
        g_assert_false(found[i]);
        found[i] = true;
        n_found++;
        close(fd);
        return 0;
}

/* As at a start. */
static void take_all(void) {
        memset(found, 0, sizeof(found));
        n_found = 0;
        for (guint i = 0; i < kept->len; i++) {
                const Kept *each = &g_array_index(kept, Kept, i);

                g_assert_true(fd_bundle_is_name(each->name));
                g_assert_cmpint(fd_bundle_take(each->name, fcntl(each->fd, F_DUPFD_CLOEXEC, 3), on_found, &found), ==, 0);
        }
        fd_bundle_tidy();
        for (unsigned i = 0; i < IDS_MAX; i++)
                if (shared->wanted[i])
                        g_assert_true(found[i]);
                else if (found[i]) { /* had been removed */
                        char id[17];

                        g_assert_true(fd_bundle_remove(id_of(i, id)));
                        n_found--;
                }
}

static unsigned count_wanted(void) {
        unsigned n = 0;

        for (unsigned i = 0; i < IDS_MAX; i++)
                n += shared->wanted[i];
        return n;
}

/* Lets the child live until it ends or the call comes. */
static void live(unsigned until, void (*what)(unsigned argument), unsigned argument) {
        GThread *listener;
        int status;
        pid_t pid;

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line), ==, 0);
        shared->n_calls = 0;
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                close(line[0]);
                line[0] = -1;
                take_all();
                shared->n_calls = 0;
                last_call = until;
                what(argument);
                _exit(0);
        }

        close(line[1]);
        line[1] = -1;
        listener = g_thread_new("listener", listen_to_child, NULL);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        (void) g_thread_join(listener);
        close(line[0]);
}

static void do_nothing(unsigned unused) {
        (void) unused;
}

static void add_many(unsigned n) {
        for (unsigned i = 0; i < n; i++)
                g_assert_cmpint(add(i), ==, 1);
}

static void remove_all(unsigned unused) {
        (void) unused;
        for (unsigned i = 0; i < IDS_MAX; i++)
                if (shared->wanted[i])
                        drop(i);
}

/* ---- Tests ---- */

/* The next broker has no use for a bundle with nothing in it. */
static void assert_nothing_is_left(void) {
        g_assert_cmpuint(count_wanted(), ==, 0);
        g_assert_cmpuint(kept->len, <=, 1);
        live(0, do_nothing, 0);
        g_assert_cmpuint(kept->len, ==, 0);
}

static void test_one(void) {
        live(0, add_many, 1);
        g_assert_cmpuint(kept->len, ==, 1);
        live(0, remove_all, 0);
        assert_nothing_is_left();
}

static void check_found(unsigned n) {
        g_assert_cmpuint(n_found, ==, n);
}

static void test_many(void) {
        live(0, add_many, 1000);
        g_assert_cmpuint(kept->len, ==, (1000 + FD_BUNDLE_MAX - 1) / FD_BUNDLE_MAX);
        live(0, check_found, 1000);
        live(0, remove_all, 0);
        assert_nothing_is_left();
}

/* One of each bundle stays, and no bundle stays for it alone. */
static void thin_out(unsigned step) {
        for (unsigned i = 0; i < IDS_MAX; i++)
                if (shared->wanted[i] && i % step != 0)
                        drop(i);
}

static void test_thin_out(void) {
        live(0, add_many, MANY);
        live(0, thin_out, FD_BUNDLE_MAX);
        g_assert_cmpuint(count_wanted(), ==, (MANY + FD_BUNDLE_MAX - 1) / FD_BUNDLE_MAX);
        g_assert_cmpuint(kept->len, <=, 2);
        live(0, remove_all, 0);
        assert_nothing_is_left();
}

/* One after the other, and then some at a time: all in the same bundle, of which nothing stays behind. */
static void come_and_go(unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                g_assert_cmpint(add(i), ==, 1);
                drop(i);
        }
        for (unsigned i = n; i < 2 * n; i += 4) {
                for (unsigned j = i; j < i + 4; j++)
                        g_assert_cmpint(add(j), ==, 1);
                for (unsigned j = i; j < i + 4; j++)
                        drop(j);
        }
}

static void test_come_and_go(void) {
        int n_bytes;

        n_pushed = 0;
        live(0, come_and_go, 1000);
        g_assert_cmpuint(n_pushed, ==, 1);
        g_assert_cmpuint(kept->len, ==, 1);
        g_assert_cmpint(ioctl(g_array_index(kept, Kept, 0).fd, FIONREAD, &n_bytes), ==, 0);
        g_assert_cmpint(n_bytes, ==, 0);
        assert_nothing_is_left();
}

/* The end at each step of that. */
static void test_kill_going(void) {
        for (unsigned until = 1;; until++) {
                live(until, come_and_go, 4);
                if (shared->n_calls < until)
                        break;
                live(0, remove_all, 0);
                assert_nothing_is_left();
        }
        g_assert_cmpuint(shared->n_calls, >, 16);
        assert_nothing_is_left();
}

/* What restarts leave half empty is put together. */
static void add_one(unsigned i) {
        g_assert_cmpint(add(i), ==, 1);
}

static void test_restarts(void) {
        for (unsigned i = 0; i < 80; i++)
                live(0, add_one, i);
        g_assert_cmpuint(count_wanted(), ==, 80);
        g_assert_cmpuint(kept->len, <=, 2 * 80 / (FD_BUNDLE_MAX / 2) + 2);
        live(0, remove_all, 0);
        assert_nothing_is_left();
}

static void add_and_remove(unsigned seed) {
        GRand *dice = g_rand_new_with_seed(seed);

        for (unsigned n = 0; n < 600; n++) {
                unsigned i = (unsigned) g_rand_int_range(dice, 0, (gint) shared->n_used + 1);

                if (shared->wanted[i])
                        drop(i);
                else if (g_rand_int_range(dice, 0, 4) == 0 && shared->n_used < IDS_MAX)
                        (void) add(shared->n_used++);
        }
        g_rand_free(dice);
}

/* The end between any two steps. What was added is there; that which was being added or removed may be. */
static void test_kill(void) {
        unsigned n_cut = 0;

        shared->n_used = 300;
        live(0, add_many, 300);
        for (unsigned i = 0; i < 60; i++) {
                unsigned until = 1 + (unsigned) g_test_rand_int_range(0, 600);

                live(until, add_and_remove, (unsigned) g_test_rand_int());
                n_cut += shared->n_calls == until;
        }
        g_test_message("%u of 60 were cut off, %u used, %u are left", n_cut, shared->n_used, count_wanted());
        g_assert_cmpuint(n_cut, >, 15);
        live(0, do_nothing, 0);
        live(0, remove_all, 0);
        assert_nothing_is_left();
}

/* The end while what is left of one bundle is moved to another. */
static void cut_moving(unsigned unused) {
        (void) unused;
        for (unsigned i = 0; i < FD_BUNDLE_MAX; i++)
                if (shared->wanted[i] && i % 3 != 0)
                        drop(i);
}

static void test_kill_moving(void) {
        for (unsigned until = 1;; until++) {
                live(0, add_many, FD_BUNDLE_MAX);
                live(until, cut_moving, 0);
                if (shared->n_calls < until)
                        break;
                live(0, do_nothing, 0);
                live(0, remove_all, 0);
                assert_nothing_is_left();
        }
        g_assert_cmpuint(shared->n_calls, >, FD_BUNDLE_MAX);
        live(0, remove_all, 0);
}

static void add_until_full(unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                if (i == 10)
                        full_after = 1;
                g_assert_cmpint(add(i), ==, 1);
        }
}

static void test_queue_full(void) {
        live(0, add_until_full, 20);
        g_assert_cmpuint(kept->len, ==, 2);
        live(0, check_found, 20);
        live(0, remove_all, 0);
        assert_nothing_is_left();
}

static void add_bad(unsigned unused) {
        char id[17];

        (void) unused;
        g_assert_cmpint(fd_bundle_add("", 0), ==, -EINVAL);
        g_assert_cmpint(fd_bundle_add("0123456789abcde", 0), ==, -EINVAL);
        g_assert_cmpint(fd_bundle_add("0123456789abcdef0", 0), ==, -EINVAL);
        g_assert_cmpint(fd_bundle_add("0123456789ABCDEF", 0), ==, -EINVAL);
        g_assert_cmpint(fd_bundle_add(id_of(1, id), -EBADF), ==, -EBADF);
        g_assert_cmpint(add(1), ==, 1);
        g_assert_cmpint(add(1), ==, -EEXIST);
        g_assert_false(fd_bundle_remove(id_of(2, id)));
        g_assert_false(fd_bundle_remove("bundle1"));
        drop(1);
        g_assert_false(fd_bundle_remove(id_of(1, id)));
}

static void test_bad(void) {
        static const char *const names[] = {
                "", "bundle", "bundle-1", "bundle01", "bundle1x", "bundle9999999999", "0123456789abcdef",
        };

        live(0, add_bad, 0);
        assert_nothing_is_left();
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                g_assert_false(fd_bundle_is_name(names[i]));
        g_assert_true(fd_bundle_is_name("bundle17"));
}

static void add_without_descriptors(unsigned unused) {
        struct rlimit limit = { 64, 64 };
        char id[17];

        (void) unused;
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        for (unsigned i = 0; i < 3; i++)
                g_assert_cmpint(add(i), ==, 1);
        while (dup(0) >= 0)
                ;
        g_assert_cmpint(fd_bundle_add(id_of(3, id), 0), ==, 1); /* needs none */
        drop(0);
}

static void test_no_descriptors(void) {
        live(0, add_without_descriptors, 0);
        live(0, check_found, 2);
        live(0, remove_all, 0);
        assert_nothing_is_left();
}

static void add_to_nobody(unsigned unused) {
        (void) unused;
        absent = true;
        g_assert_cmpint(add(1), ==, 0);
        g_assert_cmpint(add(1), ==, 0);
        g_unsetenv("NOTIFY_SOCKET"); /* then there is nothing to wait for */
        g_assert_cmpint(fd_store_try_push_memory("0123456789abcdef", STDERR_FILENO), ==, 0);
        absent = false;
        g_assert_cmpint(add(1), ==, 1);
        drop(1);
}

static void test_absent(void) {
        live(0, add_to_nobody, 0);
        assert_nothing_is_left();
}

/* Without a bundle that has room, one would have to be given to the service manager. */
static void try_to_add(unsigned unused) {
        char id[17];

        (void) unused;
        g_assert_cmpint(add_with(0, fd_bundle_try_add), ==, -EAGAIN);
        for (unsigned i = 0; i < FD_BUNDLE_MAX; i++)
                g_assert_cmpint(i % 3 == 0 ? add(i) : add_with(i, fd_bundle_try_add), ==, 1);
        g_assert_cmpint(add_with(FD_BUNDLE_MAX, fd_bundle_try_add), ==, -EAGAIN);
        g_assert_false(fd_bundle_remove(id_of(FD_BUNDLE_MAX, id)));
        g_assert_cmpint(add(FD_BUNDLE_MAX), ==, 1);

        full_after = 1;
        g_assert_cmpint(add_with(FD_BUNDLE_MAX + 1, fd_bundle_try_add), ==, -EAGAIN);
        g_assert_cmpint(add_with(FD_BUNDLE_MAX + 1, fd_bundle_try_add), ==, 1);
        g_assert_cmpint(add_with(FD_BUNDLE_MAX + 1, fd_bundle_try_add), ==, -EEXIST);
}

static void test_try(void) {
        live(0, try_to_add, 0);
        g_assert_cmpuint(kept->len, ==, 2);
        live(0, check_found, FD_BUNDLE_MAX + 2);
        live(0, remove_all, 0);
        assert_nothing_is_left();
}

/* What somebody else has put there. */
static void take_rubbish(unsigned kind) {
        int fds[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
        if (kind == 0)
                close(fds[1]);
        else
                g_assert_cmpint(write(fds[1], "rubbish", 7), ==, 7);
        g_assert_cmpint(fd_bundle_take("bundle3", fds[0], on_found, &found), ==, kind == 0 ? 0 : -EBADMSG);
        g_assert_cmpint(fd_bundle_take("bundle4", open("/dev/null", O_RDONLY), on_found, &found), ==, -ENOTSOCK);
        fd_bundle_forget();
}

static void test_rubbish(void) {
        live(0, take_rubbish, 0);
        live(0, take_rubbish, 1);
}

int main(int argc, char **argv) {
        static const struct {
                const char *path;
                void (*test)(void);
        } tests[] = {
                { "/fd-bundle/one", test_one },
                { "/fd-bundle/many", test_many },
                { "/fd-bundle/thin-out", test_thin_out },
                { "/fd-bundle/come-and-go", test_come_and_go },
                { "/fd-bundle/kill-going", test_kill_going },
                { "/fd-bundle/restarts", test_restarts },
                { "/fd-bundle/kill", test_kill },
                { "/fd-bundle/kill-moving", test_kill_moving },
                { "/fd-bundle/queue-full", test_queue_full },
                { "/fd-bundle/bad", test_bad },
                { "/fd-bundle/no-descriptors", test_no_descriptors },
                { "/fd-bundle/absent", test_absent },
                { "/fd-bundle/try", test_try },
                { "/fd-bundle/rubbish", test_rubbish },
        };

        g_test_init(&argc, &argv, NULL);
        kept = g_array_new(false, false, sizeof(Kept));
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert_true(shared != MAP_FAILED);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_func(tests[i].path, tests[i].test);
        return g_test_run();
}
