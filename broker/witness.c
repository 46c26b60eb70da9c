/* SPDX-License-Identifier: MIT */

/* The client of daxbroker-witness. What is asked may be of any size: it is cut into as many requests as it takes, over one
 * connection, and the first answer that is not "idle" is the answer. All of them together have one deadline. Whatever goes
 * wrong is "unknown": memory of which we do not know that it is idle is treated as if it were not. */

#include "witness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "cleanup.h"
#include "clock.h"
#include "witness-wire.h"

/* It may have to be started first, and a region of 4 KiB pages takes its time. */
#define WITNESS_SECONDS 15

/* Where cutting up has got to. */
typedef struct Cursor {
        const Range *ranges;
        size_t n, i;
        uint64_t done; /* bytes of ranges[i] that were asked about already */
} Cursor;

static const char *socket_path(void) {
        const char *path = getenv("DAXBROKER_WITNESS");

        return path && *path ? path : WITNESS_SOCKET;
}

bool witness_installed(void) {
        struct stat st;

        return stat(socket_path(), &st) == 0 && S_ISSOCK(st.st_mode);
}

/* The next call on the socket that blocks ends by the deadline. */
static int limit_time(int fd, int option, uint64_t deadline) {
        uint64_t now = now_usec();
        struct timeval t;

        if (now >= deadline)
                return -ETIMEDOUT;
        t.tv_sec = (time_t) ((deadline - now) / 1000000);
        t.tv_usec = (suseconds_t) ((deadline - now) % 1000000);
        return setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)) < 0 ? -errno : 0;
}

static int timed_out(int error) {
        return error == EAGAIN || error == EINPROGRESS ? -ETIMEDOUT : -error;
}

static int witness_connect(uint64_t deadline, int *ret_fd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        size_t length = strlen(socket_path());
        int r;

        if (length >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, socket_path(), length + 1);

        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        do {
                r = limit_time(fd, SO_SNDTIMEO, deadline);
                if (r < 0)
                        return r;
                r = connect(fd, (const struct sockaddr *) &address, sizeof(address));
        } while (r < 0 && errno == EINTR);
        if (r < 0)
                return timed_out(errno);

        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Sends one request and takes its reply. */
static int witness_exchange(int fd, const WitnessRequest *request, uint64_t deadline, WitnessReply *ret) {
        WitnessReply reply;
        ssize_t n;
        int r;

        do {
                r = limit_time(fd, SO_SNDTIMEO, deadline);
                if (r < 0)
                        return r;
                n = send(fd, request, sizeof(*request), MSG_NOSIGNAL);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
                return timed_out(errno);

        do {
                r = limit_time(fd, SO_RCVTIMEO, deadline);
                if (r < 0)
                        return r;
                n = recv(fd, &reply, sizeof(reply), MSG_TRUNC);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
                return timed_out(errno);
        if (n == 0)
                return -ECONNRESET;
        if (n != (ssize_t) sizeof(reply) || reply.version != WITNESS_WIRE_VERSION)
                return -EPROTO;

        reply.reason[sizeof(reply.reason) - 1] = '\0';
        *ret = reply;
        return 0;
}

/* Fills a request with as much as it takes of what is left. Returns whether there was something. */
static bool cursor_fill(Cursor *cursor, WitnessRequest *request) {
        uint64_t room = WITNESS_WIRE_PAGES_MAX * request->page_size;

        request->n_ranges = 0;
        memset(request->ranges, 0, sizeof(request->ranges));

        while (cursor->i < cursor->n && request->n_ranges < WITNESS_WIRE_RANGES_MAX && room > 0) {
                const Range *range = &cursor->ranges[cursor->i];
                uint64_t left = range->length - cursor->done;
                uint64_t length = left < room ? left : room;

                request->ranges[request->n_ranges++] = (WitnessWireRange){ range->start + cursor->done, length };
                room -= length;
                cursor->done += length;
                if (cursor->done == range->length) {
                        cursor->i++;
                        cursor->done = 0;
                }
        }

        return request->n_ranges > 0;
}

/* Puts all questions. 0 with the first answer that is not "idle", or the last one. */
static int witness_converse(WitnessKind kind, const Range *ranges, size_t n_ranges, uint64_t page_size, WitnessReply *ret) {
        WitnessRequest request = { .version = WITNESS_WIRE_VERSION, .kind = kind, .page_size = page_size };
        Cursor cursor = { .ranges = ranges, .n = n_ranges };
        uint64_t deadline = now_usec() + WITNESS_SECONDS * UINT64_C(1000000);
        _cleanup_close_ int fd = -EBADF;
        WitnessReply reply = { 0 };
        int r;

        /* What would not fit into sums; the rest is the witness's to judge */
        if (n_ranges == 0 || page_size == 0 || page_size > UINT64_MAX / WITNESS_WIRE_PAGES_MAX)
                return -EINVAL;

        r = witness_connect(deadline, &fd);
        if (r < 0)
                return r;
        while (cursor_fill(&cursor, &request)) {
                r = witness_exchange(fd, &request, deadline, &reply);
                if (r < 0)
                        return r;
                if (reply.verdict != WITNESS_WIRE_IDLE)
                        break;
        }

        *ret = reply;
        return 0;
}

/* It goes into logs and properties. */
static void copy_printable(char *to, size_t size, const char *from) {
        size_t n = 0;

        for (; *from && n + 1 < size; from++)
                to[n++] = *from >= ' ' && *from <= '~' ? *from : '?';
        if (size > 0)
                to[n] = '\0';
}

WitnessVerdict witness_ask(const Range *ranges, size_t n_ranges, uint64_t page_size, char *ret_why, size_t size) {
        WitnessReply reply;
        int r;

        r = witness_converse(WITNESS_KIND_ASK, ranges, n_ranges, page_size, &reply);
        if (r < 0) {
                (void) snprintf(ret_why, size, "the witness cannot be asked: %s", strerrordesc_np(-r));
                return WITNESS_UNKNOWN;
        }

        switch (reply.verdict) {
        case WITNESS_WIRE_IDLE:
                copy_printable(ret_why, size, "");
                return WITNESS_IDLE;
        case WITNESS_WIRE_REFERENCED:
                copy_printable(ret_why, size, reply.reason);
                return WITNESS_REFERENCED;
        default:
                copy_printable(ret_why, size, reply.reason);
                return WITNESS_UNKNOWN;
        }
}

int witness_teach(const Range *ranges, size_t n_ranges, uint64_t page_size) {
        WitnessReply reply;
        int r;

        r = witness_converse(WITNESS_KIND_TEACH, ranges, n_ranges, page_size, &reply);
        if (r < 0)
                return r;

        switch (reply.verdict) {
        case WITNESS_WIRE_IDLE:
                return 0;
        case WITNESS_WIRE_REFERENCED:
                return -EBUSY;
        default:
                return -ENODATA;
        }
}
