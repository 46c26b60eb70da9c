/* SPDX-License-Identifier: MIT */

/* The broker's way to ask the witness, and the witness's way to serve, one talking to the other over a real socket. In
 * place of the kernel there are counts that the test sets. */

#include "witness.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lessons.h"
#include "open-fds.h"
#include "server.h"

#define MIB (UINT64_C(1) << 20)
#define BIG (2 * MIB)
#define GIB (1024 * MIB)
#define NOWHERE UINT64_MAX

/* ---- A clock that can be put forward ---------------------------------------------------------------------------------- */

static int64_t skip_ms; /* right after it was looked at next */
static int64_t skipped_ms;

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        int r = __real_clock_gettime(clock, ret);

        ret->tv_sec += skipped_ms / 1000;
        ret->tv_nsec += skipped_ms % 1000 * 1000000;
        ret->tv_sec += ret->tv_nsec / 1000000000;
        ret->tv_nsec %= 1000000000;
        skipped_ms += skip_ms;
        skip_ms = 0;
        return r;
}

/* ---- The witness ------------------------------------------------------------------------------------------------------ */

typedef struct Fixture {
        char *folder, *path;
        Judge judge;
        Server server;
        GThread *thread;
        pthread_t server_thread;
        int result;
        unsigned n_fds; /* that were open before */

        /* of the one page that is different */
        uint64_t odd_page;
        int64_t odd_references;
        uint64_t n_looked;
} Fixture;

static int look(void *context, Look *look_) {
        Fixture *f = context;
        uint64_t last = look_->first + (look_->count << look_->order);
        bool odd = f->odd_page >= look_->first && f->odd_page < last;

        f->n_looked += look_->count;
        look_->outcome = LOOK_DONE;
        look_->references = 1;
        look_->n_below = look_->idle > 1 ? look_->count - odd : 0;
        look_->n_above = look_->idle < 1 ? look_->count - odd : 0;
        look_->n_pinned = 0;
        if (odd) {
                look_->n_above += f->odd_references > look_->idle;
                look_->n_below += f->odd_references < look_->idle;
        }
        return 0;
}

static int make_listener(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpuint(strlen(path), <, sizeof(address.sun_path));
        memcpy(address.sun_path, path, strlen(path) + 1);
        g_assert_cmpint(bind(fd, (const struct sockaddr *) &address, sizeof(address)), ==, 0);
        g_assert_cmpint(listen(fd, 16), ==, 0);
        return fd;
}

static gpointer serve(gpointer data) {
        Fixture *f = data;

        f->server_thread = pthread_self();
        f->result = server_run(&f->server);
        return NULL;
}

/* The data says who the broker is, if it is not us. */
static void set_up(Fixture *f, gconstpointer data) {
        f->n_fds = open_fds_count();
        f->folder = g_dir_make_tmp("daxbroker-witness-XXXXXX", NULL);
        f->path = g_build_filename(f->folder, "socket", NULL);
        f->odd_page = NOWHERE;
        judge_init(&f->judge, look, f);
        g_assert_true(g_setenv("DAXBROKER_WITNESS", f->path, TRUE));
        g_assert_false(witness_installed());

        f->server = (Server){ .listener = make_listener(f->path), .broker = getuid() + GPOINTER_TO_UINT(data),
                              .judge = &f->judge, .lessons = -EBADF, .idle_seconds = 1, .silence_seconds = 60 };
        f->thread = g_thread_new("witness", serve, f);
        g_assert_true(witness_installed());
}

/* It ends by itself, since nobody asks any more. */
static void tear_down(Fixture *f, gconstpointer data) {
        (void) data;
        g_thread_join(f->thread);
        g_assert_cmpint(f->result, ==, 0);
        g_assert_cmpint(close(f->server.listener), ==, 0);
        g_assert_cmpuint(open_fds_count(), ==, f->n_fds);
        g_assert_cmpint(g_unlink(f->path), ==, 0);
        g_assert_cmpint(g_rmdir(f->folder), ==, 0);
        g_free(f->path);
        g_free(f->folder);
}

static void test_ask(Fixture *f, gconstpointer data) {
        const Range range = { GIB, GIB };
        char why[200];

        (void) data;
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpstr(why, !=, "");
        g_assert_cmpint(witness_teach(&range, 1, BIG), ==, 0);
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, sizeof(why)), ==, WITNESS_IDLE);
        g_assert_cmpstr(why, ==, "");

        f->odd_page = (GIB + 4 * MIB) >> 12;
        f->odd_references = 2;
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, sizeof(why)), ==, WITNESS_REFERENCED);
        g_assert_cmpstr(why, !=, "");
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, 8), ==, WITNESS_REFERENCED);
        g_assert_cmpuint(strlen(why), ==, 7);
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, 0), ==, WITNESS_REFERENCED);
        g_assert_cmpuint(strlen(why), ==, 7);
        g_assert_cmpint(witness_teach(&range, 1, BIG), ==, -EBUSY);
        g_assert_cmpint(witness_teach(&range, 1, 4096), ==, -ENODATA);
}

static void test_nonsense(Fixture *f, gconstpointer data) {
        const Range unaligned = { GIB + 1, BIG }, empty = { GIB, 0 }, wrapping = { -BIG, 4 * MIB }, good = { GIB, BIG };
        char why[200];

        (void) f;
        (void) data;
        g_assert_cmpint(witness_teach(&good, 1, BIG), ==, 0);
        g_assert_cmpint(witness_teach(&good, 1, 0), ==, -EINVAL);
        g_assert_cmpint(witness_teach(&good, 1, 3), ==, -ENODATA);
        g_assert_cmpint(witness_teach(&good, 1, UINT64_MAX / WITNESS_WIRE_PAGES_MAX), ==, -ENODATA);
        g_assert_cmpint(witness_teach(&good, 1, UINT64_MAX / WITNESS_WIRE_PAGES_MAX + 1), ==, -EINVAL);
        g_assert_cmpint(witness_ask(&unaligned, 1, BIG, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(witness_ask(&empty, 1, BIG, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(witness_ask(&wrapping, 1, BIG, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(witness_ask(&good, 1, 3, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(witness_ask(&good, 1, 0, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(witness_ask(&good, 1, UINT64_MAX, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(witness_ask(&good, 0, BIG, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(witness_teach(NULL, 0, BIG), ==, -EINVAL);
}

/* More ranges and more pages than go into one request: each page is looked at once. */
static void test_much(Fixture *f, gconstpointer data) {
        Range ranges[200];
        const Range large = { 0, 3 * WITNESS_WIRE_PAGES_MAX * 4096 + 4096 }, small = { 0, 4096 };
        uint64_t n_pages = 0;
        char why[200];

        (void) data;
        g_assert_cmpint(witness_teach(&small, 1, 4096), ==, 0);
        f->n_looked = 0;
        g_assert_cmpint(witness_ask(&large, 1, 4096, why, sizeof(why)), ==, WITNESS_IDLE);
        g_assert_cmpuint(f->n_looked, ==, large.length / 4096);

        for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
                ranges[i] = (Range){ i * GIB, (i + 1) * MIB };
                n_pages += (i + 1) * MIB / 4096;
        }
        f->n_looked = 0;
        g_assert_cmpint(witness_ask(ranges, G_N_ELEMENTS(ranges), 4096, why, sizeof(why)), ==, WITNESS_IDLE);
        g_assert_cmpuint(f->n_looked, ==, n_pages);

        f->odd_references = 2;
        f->odd_page = (199 * GIB + 200 * MIB - 4096) >> 12;
        g_assert_cmpint(witness_ask(ranges, G_N_ELEMENTS(ranges), 4096, why, sizeof(why)), ==, WITNESS_REFERENCED);
        f->odd_page = 3 * WITNESS_WIRE_PAGES_MAX;
        g_assert_cmpint(witness_ask(&large, 1, 4096, why, sizeof(why)), ==, WITNESS_REFERENCED);

        /* after that nobody asks on */
        f->odd_page = 0;
        f->n_looked = 0;
        g_assert_cmpint(witness_ask(&large, 1, 4096, why, sizeof(why)), ==, WITNESS_REFERENCED);
        g_assert_cmpuint(f->n_looked, ==, WITNESS_WIRE_PAGES_MAX);
}

static void test_stranger(Fixture *f, gconstpointer data) {
        const Range range = { GIB, BIG };
        char why[200];

        (void) data;
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_nonnull(strstr(why, "cannot be asked"));
        g_assert_cmpint(witness_teach(&range, 1, BIG), <, 0);
        g_assert_cmpuint(f->n_looked, ==, 0);
}

/* ---- Connections ------------------------------------------------------------------------------------------------------ */

static int connect_to(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        memcpy(address.sun_path, path, strlen(path) + 1);
        g_assert_cmpint(connect(fd, (const struct sockaddr *) &address, sizeof(address)), ==, 0);
        return fd;
}

/* A request as it should be, but for its size. */
static void send_bytes(int fd, size_t size) {
        struct {
                WitnessRequest request;
                char more[8];
        } bytes = { .request = { .version = WITNESS_WIRE_VERSION, .kind = WITNESS_KIND_TEACH, .n_ranges = 1,
                                 .page_size = BIG, .ranges = { { GIB, BIG } } } };

        g_assert_cmpint(send(fd, &bytes, size, MSG_NOSIGNAL), ==, size);
}

/* The verdict, or 0 if it was hung up instead. */
static int receive_verdict(int fd) {
        WitnessReply reply;
        ssize_t n = recv(fd, &reply, sizeof(reply), 0);

        if (n <= 0)
                return 0;
        g_assert_cmpint(n, ==, sizeof(reply));
        return (int) reply.verdict;
}

/* Neither the one nor the other, for a moment. */
static void assert_nothing(int fd) {
        WitnessReply reply;

        g_usleep(300000);
        g_assert_cmpint(recv(fd, &reply, sizeof(reply), MSG_DONTWAIT), <, 0);
        g_assert_cmpint(errno, ==, EAGAIN);
}

static void test_sizes(Fixture *f, gconstpointer data) {
        int fd = connect_to(f->path);

        (void) data;
        for (size_t size = 1; size <= sizeof(WitnessRequest) + 8; size++) {
                send_bytes(fd, size);
                g_assert_cmpint(receive_verdict(fd), ==,
                                size == sizeof(WitnessRequest) ? WITNESS_WIRE_IDLE : WITNESS_WIRE_UNKNOWN);
        }
        /* a packet without anything in it cannot be told from an end */
        g_assert_cmpint(send(fd, "", 0, 0), ==, 0);
        g_assert_cmpint(receive_verdict(fd), ==, 0);
        close(fd);
}

/* Who comes when there are as many as there may be waits until one has gone. */
static void test_too_many(Fixture *f, gconstpointer data) {
        enum { MAX = 32 };
        int fds[MAX], late;

        (void) data;
        for (size_t i = 0; i < MAX; i++) {
                fds[i] = connect_to(f->path);
                send_bytes(fds[i], sizeof(WitnessRequest));
                g_assert_cmpint(receive_verdict(fds[i]), ==, WITNESS_WIRE_IDLE);
        }
        late = connect_to(f->path);
        send_bytes(late, sizeof(WitnessRequest));
        assert_nothing(late);
        for (size_t i = 0; i < MAX; i++) {
                send_bytes(fds[i], sizeof(WitnessRequest));
                g_assert_cmpint(receive_verdict(fds[i]), ==, WITNESS_WIRE_IDLE);
        }
        close(fds[7]);
        g_assert_cmpint(receive_verdict(late), ==, WITNESS_WIRE_IDLE);
        for (size_t i = 0; i < MAX; i++)
                if (i != 7) {
                        send_bytes(fds[i], sizeof(WitnessRequest));
                        g_assert_cmpint(receive_verdict(fds[i]), ==, WITNESS_WIRE_IDLE);
                        close(fds[i]);
                }
        close(late);
}

/* Who asks now and then is kept, and who says nothing is not, however often others ask. */
static void test_silence(Fixture *f, gconstpointer data) {
        int talking, silent;

        (void) data;
        f->server.silence_seconds = 4;
        talking = connect_to(f->path);
        silent = connect_to(f->path);
        for (unsigned i = 0; i < 10; i++) {
                send_bytes(talking, sizeof(WitnessRequest));
                g_assert_cmpint(receive_verdict(talking), ==, WITNESS_WIRE_IDLE);
                if (i == 0)
                        assert_nothing(silent);
                g_usleep(500000);
        }
        g_assert_cmpint(receive_verdict(silent), ==, 0);
        send_bytes(talking, sizeof(WitnessRequest));
        g_assert_cmpint(receive_verdict(talking), ==, WITNESS_WIRE_IDLE);
        close(talking);
        close(silent);
}

static void on_signal(int number) {
        (void) number;
}

/* A signal is no reason to end. */
static void test_interrupted(Fixture *f, gconstpointer data) {
        const struct sigaction action = { .sa_handler = on_signal };
        int fd = connect_to(f->path);

        (void) data;
        g_assert_cmpint(sigaction(SIGUSR1, &action, NULL), ==, 0);
        for (unsigned i = 0; i < 3; i++) {
                send_bytes(fd, sizeof(WitnessRequest));
                g_assert_cmpint(receive_verdict(fd), ==, WITNESS_WIRE_IDLE);
                g_usleep(20000);
                g_assert_cmpint(pthread_kill(f->server_thread, SIGUSR1), ==, 0);
        }
        close(fd);
}

/* What is learnt is written down, and only then. */
static void test_kept(Fixture *f, gconstpointer data) {
        FILE *file = tmpfile();
        const Range range = { GIB, BIG };
        char why[200];
        Judge other;

        (void) data;
        f->server.lessons = fileno(file);
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(lseek(fileno(file), 0, SEEK_END), ==, 0);
        g_assert_cmpint(witness_teach(&range, 1, BIG), ==, 0);
        judge_init(&other, look, f);
        lessons_read(fileno(file), &other);
        g_assert_cmpint(other.idle[PAGE_SIZE_2M], ==, 1);

        g_assert_cmpint(ftruncate(fileno(file), 0), ==, 0);
        g_assert_cmpint(witness_teach(&range, 1, BIG), ==, 0);
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, sizeof(why)), ==, WITNESS_IDLE);
        g_assert_cmpint(lseek(fileno(file), 0, SEEK_END), ==, 0);

        /* if it cannot be, it is true all the same */
        f->server.lessons = open("/dev/full", O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(witness_teach(&range, 1, 4096), ==, 0);
        close(f->server.lessons);
        fclose(file);
}

/* What it cannot listen to ends it. */
static void test_no_listener(void) {
        Judge judge;
        Server server = { .judge = &judge, .lessons = -EBADF, .idle_seconds = 5, .silence_seconds = 5 };

        server.listener = open("/dev/null", O_RDWR | O_CLOEXEC);
        g_assert_cmpint(server_run(&server), ==, -ENOTSOCK);
        close(server.listener);
        g_assert_cmpint(server_run(&server), ==, -EBADF);
        server.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        g_assert_cmpint(server_run(&server), ==, -EINVAL);
        close(server.listener);
}

static void test_nobody(void) {
        const Range range = { GIB, BIG };
        char why[200];

        g_assert_true(g_setenv("DAXBROKER_WITNESS", "/no/such/socket", TRUE));
        g_assert_false(witness_installed());
        g_assert_cmpint(witness_ask(&range, 1, BIG, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_nonnull(strstr(why, "cannot be asked"));
        g_assert_cmpint(witness_teach(&range, 1, BIG), ==, -ENOENT);
        g_assert_true(g_setenv("DAXBROKER_WITNESS", "/dev/null", TRUE));
        g_assert_false(witness_installed());
}

/* The name of a socket has 107 bytes at most. */
static void test_long_path(void) {
        g_autofree char *folder = g_dir_make_tmp("daxbroker-witness-XXXXXX", NULL);
        const Range range = { GIB, BIG };
        char path[110];

        for (size_t length = 106; length <= 109; length++) {
                memset(path, '/', sizeof(path));
                memcpy(path, folder, strlen(folder));
                path[length - 1] = 'x';
                path[length] = '\0';
                g_assert_true(g_setenv("DAXBROKER_WITNESS", path, TRUE));
                g_assert_cmpint(witness_teach(&range, 1, BIG), ==, length > 107 ? -ENAMETOOLONG : -ENOENT);
                if (length == 107) {
                        int fd = make_listener(path);

                        g_assert_true(witness_installed());
                        path[length - 1] = '\0';
                        g_assert_true(g_setenv("DAXBROKER_WITNESS", path, TRUE));
                        g_assert_false(witness_installed());
                        path[length - 1] = 'x';
                        g_assert_cmpint(g_unlink(path), ==, 0);
                        close(fd);
                }
        }
        g_assert_cmpint(g_rmdir(folder), ==, 0);
}

static void test_no_descriptors(void) {
        const Range range = { GIB, BIG };
        struct rlimit before, none;
        int r;

        g_assert_true(g_setenv("DAXBROKER_WITNESS", "/no/such/socket", TRUE));
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
        none = (struct rlimit){ 0, before.rlim_max };
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
        r = witness_teach(&range, 1, BIG);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
        g_assert_cmpint(r, ==, -EMFILE);
}

/* ---- Something else that answers ------------------------------------------------------------------------------------- */

typedef struct Impostor {
        int listener;
        WitnessReply reply;
        size_t size; /* of the reply; 0 to hang up instead */
} Impostor;

static gpointer impersonate(gpointer data) {
        const Impostor *impostor = data;
        WitnessRequest request;
        int fd = accept(impostor->listener, NULL, NULL);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(recv(fd, &request, sizeof(request), 0), ==, sizeof(request));
        if (impostor->size > 0)
                g_assert_cmpint(send(fd, &impostor->reply, impostor->size, 0), ==, impostor->size);
        g_assert_cmpint(close(fd), ==, 0);
        return NULL;
}

static WitnessVerdict ask_impostor(Impostor *impostor, char *ret_why, size_t size) {
        const Range range = { GIB, BIG };
        GThread *thread = g_thread_new("impostor", impersonate, impostor);
        WitnessVerdict verdict = witness_ask(&range, 1, BIG, ret_why, size);

        g_thread_join(thread);
        return verdict;
}

static int teach_impostor(Impostor *impostor) {
        const Range range = { GIB, BIG };
        GThread *thread = g_thread_new("impostor", impersonate, impostor);
        int r = witness_teach(&range, 1, BIG);

        g_thread_join(thread);
        return r;
}

static void test_impostor(void) {
        g_autofree char *folder = g_dir_make_tmp("daxbroker-witness-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(folder, "socket", NULL);
        const WitnessReply good = { .version = WITNESS_WIRE_VERSION, .verdict = WITNESS_WIRE_IDLE };
        Impostor impostor = { .reply = good, .size = sizeof(good) };
        char why[200];

        g_assert_true(g_setenv("DAXBROKER_WITNESS", path, TRUE));
        impostor.listener = make_listener(path);
        g_assert_cmpint(fcntl(impostor.listener, F_SETFL, 0), ==, 0);

        g_assert_cmpint(ask_impostor(&impostor, why, sizeof(why)), ==, WITNESS_IDLE);
        impostor.size = sizeof(good) - 1;
        g_assert_cmpint(ask_impostor(&impostor, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(teach_impostor(&impostor), ==, -EPROTO);
        impostor.size = 0;
        g_assert_cmpint(ask_impostor(&impostor, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpint(teach_impostor(&impostor), ==, -ECONNRESET);

        impostor.size = sizeof(good);
        impostor.reply.version++;
        g_assert_cmpint(ask_impostor(&impostor, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        impostor.reply = good;
        impostor.reply.verdict = 0;
        g_assert_cmpint(ask_impostor(&impostor, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        impostor.reply.verdict = 4;
        memset(impostor.reply.reason, '\n', sizeof(impostor.reply.reason));
        g_assert_cmpint(ask_impostor(&impostor, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpuint(strlen(why), ==, sizeof(impostor.reply.reason) - 1);
        g_assert_cmpuint(strspn(why, "?"), ==, strlen(why));
        memcpy(impostor.reply.reason, " ~\x7f\xc3\x1f", 6);
        g_assert_cmpint(ask_impostor(&impostor, why, sizeof(why)), ==, WITNESS_UNKNOWN);
        g_assert_cmpstr(why, ==, " ~???");

        g_assert_cmpint(close(impostor.listener), ==, 0);
        g_assert_cmpint(g_unlink(path), ==, 0);
        g_assert_cmpint(g_rmdir(folder), ==, 0);
}

/* Somebody who takes what is sent, and his time: all that is waited for has one end. */
static void test_late(void) {
        g_autofree char *folder = g_dir_make_tmp("daxbroker-witness-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(folder, "socket", NULL);
        static const struct {
                int64_t skip; /* of 15 seconds */
                gint64 min, max; /* that it then takes, on a machine that may be busy */
        } cases[] = { { 14700, 250, 5000 }, { 13600, 1350, 6000 }, { 15000, 0, 5000 }, { 100000, 0, 5000 } };
        const struct sigaction action = { .sa_handler = on_signal };
        const struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, never = { 0 };
        const Range range = { GIB, BIG };
        int listener, fd = -1;

        g_assert_true(g_setenv("DAXBROKER_WITNESS", path, TRUE));
        listener = make_listener(path);
        g_assert_cmpint(sigaction(SIGALRM, &action, NULL), ==, 0);

        /* it waits for a reply, and then for a connection, and is disturbed meanwhile */
        for (size_t i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
                size_t n = i % G_N_ELEMENTS(cases);
                gint64 begin, took;
                int r;

                if (i == G_N_ELEMENTS(cases)) {
                        int waiting;

                        while ((waiting = accept(listener, NULL, NULL)) >= 0)
                                close(waiting);
                        g_assert_cmpint(listen(listener, 0), ==, 0);
                        fd = connect_to(path);
                }
                begin = g_get_monotonic_time();
                skip_ms = cases[n].skip;
                g_assert_cmpint(setitimer(ITIMER_REAL, i % 2 == 0 ? &often : &never, NULL), ==, 0);
                r = witness_teach(&range, 1, BIG);
                g_assert_cmpint(setitimer(ITIMER_REAL, &never, NULL), ==, 0);
                took = (g_get_monotonic_time() - begin) / 1000;
                g_assert_cmpint(r, ==, -ETIMEDOUT);
                g_assert_cmpint(took, >=, cases[n].min);
                g_assert_cmpint(took, <, cases[n].max);
        }

        close(fd);
        close(listener);
        g_assert_cmpint(g_unlink(path), ==, 0);
        g_assert_cmpint(g_rmdir(folder), ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add("/witness/client/ask", Fixture, NULL, set_up, test_ask, tear_down);
        g_test_add("/witness/client/nonsense", Fixture, NULL, set_up, test_nonsense, tear_down);
        g_test_add("/witness/client/much", Fixture, NULL, set_up, test_much, tear_down);
        g_test_add("/witness/client/stranger", Fixture, GUINT_TO_POINTER(1), set_up, test_stranger, tear_down);
        g_test_add_func("/witness/client/nobody", test_nobody);
        g_test_add_func("/witness/client/long-path", test_long_path);
        g_test_add_func("/witness/client/no-descriptors", test_no_descriptors);
        g_test_add_func("/witness/client/impostor", test_impostor);
        g_test_add_func("/witness/client/late", test_late);
        g_test_add("/witness/server/sizes", Fixture, NULL, set_up, test_sizes, tear_down);
        g_test_add("/witness/server/too-many", Fixture, NULL, set_up, test_too_many, tear_down);
        g_test_add("/witness/server/silence", Fixture, NULL, set_up, test_silence, tear_down);
        g_test_add("/witness/server/interrupted", Fixture, NULL, set_up, test_interrupted, tear_down);
        g_test_add("/witness/server/kept", Fixture, NULL, set_up, test_kept, tear_down);
        g_test_add_func("/witness/server/no-listener", test_no_listener);
        return g_test_run();
}
