/* SPDX-License-Identifier: MIT */

/* One thread, one request at a time, a bounded number of connections. Nothing is waited for but in poll(): who does not
 * ask, or does not take his answers, is hung up on. A connection that came too late is the listening socket's, which is the
 * service manager's: it is served by the next witness. */

#include "server.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "lessons.h"
#include "request.h"

#define CONNECTIONS_MAX 32

typedef struct Connection {
        int fd;
        int64_t heard; /* seconds, when it was of any use last */
} Connection;

typedef struct Table {
        Connection connections[CONNECTIONS_MAX];
        size_t n;
} Table;

static int64_t now(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec;
}

static void table_remove(Table *table, size_t i) {
        safe_close(table->connections[i].fd);
        table->connections[i] = table->connections[--table->n];
}

static bool is_broker(int fd, uid_t broker) {
        struct ucred peer;
        socklen_t size = sizeof(peer);

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && size == sizeof(peer) && peer.uid == broker;
}

/* A connection that ended before it was accepted, or could not be, is no concern of the others. */
static int accept_one(const Server *server, Table *table) {
        _cleanup_close_ int fd = -EBADF;

        fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
                return errno == EBADF || errno == EINVAL || errno == ENOTSOCK ? -errno : 0;

        if (is_broker(fd, server->broker))
                table->connections[table->n++] = (Connection){ .fd = TAKE_FD(fd), .heard = now() };
        return 0;
}

static void answer(Server *server, const void *data, size_t size, WitnessReply *ret) {
        int64_t before[N_PAGE_SIZES];
        WitnessRequest request;
        const char *why;
        int r;

        r = request_check(data, size, &request, &why);
        if (r < 0) {
                reply_unknown(ret, why);
                return;
        }

        memcpy(before, server->judge->idle, sizeof(before));
        judge_answer(server->judge, &request, ret);
        if (server->lessons < 0 || memcmp(before, server->judge->idle, sizeof(before)) == 0)
                return;
        r = lessons_write(server->lessons, server->judge);
        if (r < 0)
                fprintf(stderr, SD_WARNING "What was learnt cannot be kept: %s\n", strerror(-r));
}

/* Whether the connection lives on. */
static bool serve(Server *server, int fd) {
        char data[sizeof(WitnessRequest) + 1]; /* one byte more shows what is too long */
        WitnessReply reply;
        ssize_t n;

        n = recv(fd, data, sizeof(data), 0);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR;
        if (n == 0)
                return false;

        answer(server, data, (size_t) n, &reply);
        return send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) == (ssize_t) sizeof(reply);
}

/* Backwards, since the last one takes the place of one that is removed. */
static void serve_all(Server *server, Table *table, const struct pollfd *polled) {
        for (size_t i = table->n; i-- > 0;) {
                Connection *connection = &table->connections[i];

                if (polled[i].revents != 0) {
                        if (serve(server, connection->fd))
                                connection->heard = now();
                        else
                                table_remove(table, i);
                } else if (now() - connection->heard >= server->silence_seconds)
                        table_remove(table, i);
        }
}

static int server_wait(const Server *server, const Table *table, struct pollfd *polled) {
        int seconds = table->n > 0 ? server->silence_seconds : server->idle_seconds;
        int r;

        for (size_t i = 0; i < table->n; i++)
                polled[i] = (struct pollfd){ .fd = table->connections[i].fd, .events = POLLIN };
        polled[table->n] = (struct pollfd){ .fd = table->n < CONNECTIONS_MAX ? server->listener : -1, .events = POLLIN };

        r = poll(polled, table->n + 1, seconds * 1000);
        return r < 0 ? -errno : r;
}

int server_run(Server *server) {
        struct pollfd polled[CONNECTIONS_MAX + 1];
        Table table = { 0 };

        for (;;) {
                size_t n = table.n;
                int r;

                r = server_wait(server, &table, polled);
                if (r == -EINTR)
                        continue;
                if (r < 0)
                        return r;
                if (r == 0 && n == 0)
                        return 0;

                serve_all(server, &table, polled);
                if (polled[n].revents != 0 && table.n < CONNECTIONS_MAX) {
                        r = accept_one(server, &table);
                        if (r < 0)
                                return r;
                }
        }
}
