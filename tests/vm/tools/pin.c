/* SPDX-License-Identifier: MIT */

/* The two that need nothing but a few system calls. A pipe has references to the pages themselves after vmsplice(2); so
 * has a socket whose queue is full, after a send(2) with MSG_ZEROCOPY. */

#include "pin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void sight_add(Sight *sight, const uint8_t *bytes, size_t size) {
        for (size_t i = 0; i < size; i++)
                sight->count[bytes[i]]++;
}

/* Reads until there is nothing more, now. */
static int read_all(int fd, Sight *sight) {
        static uint8_t buffer[PIN_LENGTH];

        for (;;) {
                ssize_t n = read(fd, buffer, sizeof(buffer));

                if (n < 0)
                        return errno == EAGAIN ? 0 : -errno;
                if (n == 0)
                        return 0;
                sight_add(sight, buffer, (size_t) n);
        }
}

static void close_all(Pin *pin) {
        for (unsigned i = 0; i < sizeof(pin->fds) / sizeof(*pin->fds); i++)
                if (pin->fds[i] >= 0)
                        close(pin->fds[i]);
}

/* ---- Pipe: fds are its two ends, and those of another one that copies of the references go to ------------------- */

static int pipe_take(Pin *pin, uint8_t *address, void (*let_go)(void)) {
        struct iovec memory = { .iov_base = address, .iov_len = PIN_LENGTH };
        ssize_t n;

        (void) let_go;
        if (pipe2(pin->fds, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(pin->fds + 2, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        n = vmsplice(pin->fds[1], &memory, 1, SPLICE_F_NONBLOCK);
        if (n < 0)
                return -errno;
        return n == PIN_LENGTH ? 0 : -EIO;
}

static int pipe_look(Pin *pin, Sight *sight) {
        if (tee(pin->fds[0], pin->fds[3], PIN_LENGTH, SPLICE_F_NONBLOCK) < 0)
                return -errno;
        return read_all(pin->fds[2], sight);
}

const PinKind pin_pipe = { .name = "pipe", .take = pipe_take, .look = pipe_look, .drop = close_all };

/* ---- Socket: fds are the sending and the receiving end; what has been received is a copy ------------------------- */

static int connect_pair(int *ret_from, int *ret_to) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;

        if (listener < 0)
                return -errno;
        *ret_from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (*ret_from < 0 || bind(listener, (struct sockaddr *) &address, size) < 0 || listen(listener, 1) < 0 ||
            getsockname(listener, (struct sockaddr *) &address, &size) < 0 ||
            connect(*ret_from, (struct sockaddr *) &address, size) < 0)
                r = -errno;
        *ret_to = r < 0 ? -1 : accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (r == 0 && *ret_to < 0)
                r = -errno;
        close(listener);
        return r;
}

static int zerocopy_take(Pin *pin, uint8_t *address, void (*let_go)(void)) {
        int one = 1, r;

        (void) let_go;
        r = connect_pair(&pin->fds[0], &pin->fds[1]);
        if (r < 0)
                return r;
        if (setsockopt(pin->fds[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) < 0)
                return -errno;
        /* the more, the more is still waiting to be received; each costs the kernel a little memory, which is limited */
        for (int i = 0; i < 1000; i++)
                if (send(pin->fds[0], address, PIN_LENGTH, MSG_ZEROCOPY | MSG_DONTWAIT) < 0)
                        return errno == EAGAIN || errno == ENOBUFS ? 0 : -errno;
        return -ENOBUFS;
}

static int zerocopy_look(Pin *pin, Sight *sight) {
        /* what is received makes room for what is not */
        for (int i = 0; i < 50; i++) {
                int r = read_all(pin->fds[1], sight);

                if (r < 0)
                        return r;
                usleep(10000);
        }
        return 0;
}

const PinKind pin_zerocopy = { .name = "zerocopy", .take = zerocopy_take, .look = zerocopy_look, .drop = close_all };
