/* SPDX-License-Identifier: MIT */

/* The other half is in user_serve(): it runs in the fork, reads a request (a function's address and bytes, which means
 * the same on both sides), calls it, and sends back what came of it. One message each way on a SOCK_SEQPACKET socket. */

#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

#define PATIENCE_SEC 120

typedef struct Header {
        UserFunction function; /* of a request */
        int64_t result;        /* of a reply */
} Header;

/* For interfaces that only read what they take, and do not say so. */
static void *without_const(const void *pointer) {
        return (void *) (uintptr_t) pointer;
}

static void message_send(int socket, const Header *header, const void *data, size_t size, const int *fds, unsigned n_fds) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * USER_FDS_MAX)];
        } control = {};
        struct iovec iov[] = {
                { .iov_base = without_const(header), .iov_len = sizeof(*header) },
                { .iov_base = without_const(data), .iov_len = size },
        };
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };
        ssize_t n;

        g_assert_cmpuint(size, <=, USER_DATA_MAX);
        g_assert_cmpuint(n_fds, <=, USER_FDS_MAX);
        if (n_fds > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n_fds);
        }

        do
                n = sendmsg(socket, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                g_error("Cannot talk to the user's process: %s", g_strerror(errno));
}

/* Returns the number of bytes after the header, or -1 if the other side is gone. */
static ssize_t message_receive(int socket, Header *header, void *data, size_t size, int *fds, unsigned *ret_n_fds) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * USER_FDS_MAX)];
        } control = {};
        struct iovec iov[] = {
                { .iov_base = header, .iov_len = sizeof(*header) },
                { .iov_base = data, .iov_len = size },
        };
        struct msghdr message = {
                .msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        const struct cmsghdr *c;
        ssize_t n;

        do
                n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < (ssize_t) sizeof(*header))
                return -1;
        g_assert_false(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));

        *ret_n_fds = 0;
        c = CMSG_FIRSTHDR(&message);
        if (c) {
                *ret_n_fds = (unsigned) ((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
                memcpy(fds, CMSG_DATA(c), *ret_n_fds * sizeof(int));
        }
        return n - (ssize_t) sizeof(*header);
}

static void user_serve(int socket) {
        static char data[USER_DATA_MAX], answer[USER_DATA_MAX];

        for (;;) {
                UserCall call = { .data = data, .answer = answer };
                Header header = {};
                ssize_t n;

                n = message_receive(socket, &header, data, sizeof(data), call.fds, &call.n_fds);
                if (n < 0)
                        return;

                call.size = (size_t) n;
                header.result = header.function(&call);
                message_send(socket, &header, answer, call.answer_size, call.answer_fds, call.n_answer_fds);
        }
}

/* In the child: becomes the user and keeps nothing of the test's but one socket. */
static void become(const char *name, int keep) {
        g_assert_cmpint(dup2(keep, 3), >=, 0);
        g_assert_cmpint(close_range(4, ~0U, 0), ==, 0);
        if (strcmp(name, "root") != 0)
                world_become(name);
        /* after it, for it is lost when the user changes */
        g_assert_cmpint(prctl(PR_SET_PDEATHSIG, SIGKILL), ==, 0);
        g_assert_cmpint(prctl(PR_SET_DUMPABLE, 1), ==, 0);
}

User *user_new(const char *name) {
        User *user = g_new0(User, 1);
        int pair[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
        user->name = g_strdup(name);
        user->socket = pair[0];
        user->pid = world_fork();
        g_assert_cmpint(user->pid, >=, 0);
        if (user->pid == 0) {
                become(name, pair[1]);
                user_serve(3);
                /* no exit handlers: they belong to the test */
                _exit(EXIT_SUCCESS);
        }

        close(pair[1]);
        return user;
}

User *user_free(User *user) {
        int status = 0;

        if (!user)
                return NULL;

        close(user->socket);
        if (user->pid > 0) {
                g_assert_true(wait_until(PATIENCE_SEC, waitpid(user->pid, &status, WNOHANG) == user->pid));
                g_assert_cmpint(status, ==, 0);
        }
        g_free(user->name);
        g_free(user);
        return NULL;
}

void user_kill(User *user) {
        int status;

        g_assert_cmpint(user->pid, >, 0);
        g_assert_cmpint(kill(user->pid, SIGKILL), ==, 0);
        g_assert_cmpint(waitpid(user->pid, &status, 0), ==, user->pid);
        user->pid = 0;
        user->busy = false;
}

void user_stop(User *user) {
        int status;

        g_assert_cmpint(kill(user->pid, SIGSTOP), ==, 0);
        g_assert_cmpint(waitpid(user->pid, &status, WUNTRACED), ==, user->pid);
}

void user_continue(User *user) {
        g_assert_cmpint(kill(user->pid, SIGCONT), ==, 0);
}

void user_begin(User *user, UserFunction function, const void *data, size_t size, const int *fds, unsigned n_fds) {
        Header header = { .function = function };

        g_assert_false(user->busy);
        message_send(user->socket, &header, data, size, fds, n_fds);
        user->busy = true;
}

bool user_is_done(User *user) {
        struct pollfd polled = { .fd = user->socket, .events = POLLIN };

        g_assert_true(user->busy);
        return poll(&polled, 1, 0) > 0;
}

int64_t user_end(User *user, void *answer, size_t answer_size, int *answer_fds, unsigned *n_answer_fds) {
        struct pollfd polled = { .fd = user->socket, .events = POLLIN };
        Header header = {};
        int fds[USER_FDS_MAX];
        unsigned n_fds = 0;
        ssize_t n;
        int r;

        g_assert_true(user->busy);
        do
                r = poll(&polled, 1, PATIENCE_SEC * 1000);
        while (r < 0 && errno == EINTR);
        if (r <= 0)
                g_error("%s does not answer", user->name);

        n = message_receive(user->socket, &header, answer, answer_size, fds, &n_fds);
        if (n < 0)
                g_error("%s is gone", user->name);
        user->busy = false;

        if (answer_fds) {
                memcpy(answer_fds, fds, n_fds * sizeof(int));
                *n_answer_fds = n_fds;
        } else
                for (unsigned i = 0; i < n_fds; i++)
                        close(fds[i]);
        return header.result;
}

int64_t user_call(User *user, UserFunction function, const void *data, size_t size, void *answer, size_t answer_size) {
        user_begin(user, function, data, size, NULL, 0);
        return user_end(user, answer, answer_size, NULL, NULL);
}

sd_bus *user_bus(void) {
        static sd_bus *bus;
        int r;

        /* It may have been lost with the bus, or with the broker. */
        while (bus && world_is_direct() && sd_bus_process(bus, NULL) > 0)
                ;
        if (bus && sd_bus_is_open(bus) <= 0)
                bus = sd_bus_close_unref(bus);
        if (!bus) {
                r = world_connect(&bus);
                if (r < 0)
                        g_error("No connection to the bus: %s", g_strerror(-r));
                g_assert_cmpint(sd_bus_set_method_call_timeout(bus, 100 * G_USEC_PER_SEC), >=, 0);
        }
        return bus;
}

/* Runs in a fork of a program with threads, and must not allocate memory there. */
static void merge_output(void *unused) {
        (void) unused;
        (void) dup2(STDOUT_FILENO, STDERR_FILENO);
}

int user_run(const char *name, const char *const *argv, char **ret_output) {
        g_autofree char *become = g_build_filename(g_getenv("DAXBROKER_WORLD_TOOLS"), "become", NULL);
        g_autoptr(GPtrArray) all = g_ptr_array_new();
        g_autoptr(GError) error = NULL;
        int status;

        if (strcmp(name, "root") != 0) {
                g_ptr_array_add(all, become);
                g_ptr_array_add(all, without_const(name));
        }
        for (; *argv; argv++)
                g_ptr_array_add(all, without_const(*argv));
        g_ptr_array_add(all, NULL);

        if (!g_spawn_sync(NULL, (char **) all->pdata, NULL, G_SPAWN_SEARCH_PATH, merge_output, NULL, ret_output, NULL,
                          &status, &error))
                g_error("%s: %s", (char *) all->pdata[0], error->message);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
