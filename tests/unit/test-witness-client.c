/* SPDX-License-Identifier: MIT */

/* The broker's way to ask the witness, and the witness's way to serve, one talking to the other over a real socket. In
 * place of the kernel there are counts that the test sets. */

#include "witness.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server.h"

#define MIB (UINT64_C(1) << 20)
#define BIG (2 * MIB)
#define GIB (1024 * MIB)
#define NOWHERE UINT64_MAX

typedef struct Fixture {
        char *folder, *path;
        Judge judge;
        Server server;
        GThread *thread;
        int result;

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

        f->result = server_run(&f->server);
        return NULL;
}

/* The data says who the broker is, if it is not us. */
static void set_up(Fixture *f, gconstpointer data) {
        f->folder = g_dir_make_tmp("daxbroker-witness-XXXXXX", NULL);
        f->path = g_build_filename(f->folder, "socket", NULL);
        f->odd_page = NOWHERE;
        judge_init(&f->judge, look, f);
        g_assert_true(g_setenv("DAXBROKER_WITNESS", f->path, TRUE));
        g_assert_false(witness_installed());

        f->server = (Server){ .listener = make_listener(f->path), .broker = getuid() + GPOINTER_TO_UINT(data),
                              .judge = &f->judge, .lessons = -EBADF, .idle_seconds = 1 };
        f->thread = g_thread_new("witness", serve, f);
        g_assert_true(witness_installed());
}

/* It ends by itself, since nobody asks any more. */
static void tear_down(Fixture *f, gconstpointer data) {
        (void) data;
        g_thread_join(f->thread);
        g_assert_cmpint(f->result, ==, 0);
        g_assert_cmpint(close(f->server.listener), ==, 0);
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
        g_assert_cmpint(witness_teach(&range, 1, BIG), ==, -EBUSY);
        g_assert_cmpint(witness_teach(&range, 1, 4096), ==, -ENODATA);
}

static void test_nonsense(Fixture *f, gconstpointer data) {
        const Range unaligned = { GIB + 1, BIG }, empty = { GIB, 0 }, wrapping = { -BIG, 4 * MIB }, good = { GIB, BIG };
        char why[200];

        (void) f;
        (void) data;
        g_assert_cmpint(witness_teach(&good, 1, BIG), ==, 0);
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
        impostor.size = 0;
        g_assert_cmpint(ask_impostor(&impostor, why, sizeof(why)), ==, WITNESS_UNKNOWN);

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

        g_assert_cmpint(close(impostor.listener), ==, 0);
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
        g_test_add_func("/witness/client/impostor", test_impostor);
        return g_test_run();
}
