/* SPDX-License-Identifier: MIT */

/* A file on a file system that the process itself serves, in a user namespace, which needs no privilege. An O_DIRECT
 * read(2) of it holds the pages until the server answers, and then writes to them; an O_DIRECT write(2) holds them until
 * the server fetches the request, and then reads them.
 *
 * A child serves, and the parent tells it when to go on over a socket. A grandchild has one thread in the system call, and
 * lets go of everything else once the pages are held. They have to be two: a process that dies while it waits for itself to
 * answer never ends. */

#include "pin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_NODE 2
#define REQUEST_MAX (PIN_LENGTH + 8192)

/* What the parent says. */
typedef struct Order {
        char what; /* 'w' answer with this value, 'l' look, 'd' drop */
        uint8_t value;
} Order;

typedef struct Client {
        char path[64];
        uint8_t *address;
        bool reads;
} Client;

static void *client_run(void *userdata) {
        const Client *client = userdata;
        int fd = open(client->path, (client->reads ? O_RDONLY : O_WRONLY) | O_DIRECT);

        if (fd >= 0)
                (void) !(client->reads ? read(fd, client->address, PIN_LENGTH) : write(fd, client->address, PIN_LENGTH));
        return NULL;
}

/* Forks the client; a byte over the socket says that the pages are held, one back that it has let go. */
static int client_start(Client *client, int fuse, void (*let_go)(void)) {
        int sockets[2];
        pthread_t thread;
        char byte;
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
                return -errno;
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(fuse);
                close(sockets[0]);
                if (pthread_create(&thread, NULL, client_run, client) == 0 && read(sockets[1], &byte, 1) == 1) {
                        let_go();
                        (void) !write(sockets[1], &byte, 1);
                        pthread_join(thread, NULL);
                }
                _exit(0);
        }
        close(sockets[1]);
        return sockets[0];
}

static int write_file(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

        if (fd < 0)
                return -errno;
        if (write(fd, text, strlen(text)) < 0)
                r = -errno;
        close(fd);
        return r;
}

/* In a namespace of our own; returns the server's descriptor. */
static int mount_here(const char *directory) {
        char text[128];
        uid_t uid = geteuid();
        gid_t gid = getegid();
        int fuse;

        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                return -errno;
        snprintf(text, sizeof(text), "0 %u 1", uid);
        if (write_file("/proc/self/uid_map", text) < 0)
                return -EPERM;
        (void) write_file("/proc/self/setgroups", "deny");
        snprintf(text, sizeof(text), "0 %u 1", gid);
        if (write_file("/proc/self/gid_map", text) < 0)
                return -EPERM;

        fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        if (fuse < 0)
                return -errno;
        snprintf(text, sizeof(text), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
        return mount("pin", directory, "fuse", MS_NOSUID | MS_NODEV, text) < 0 ? -errno : fuse;
}

static void reply(int fuse, uint64_t unique, int error, const void *data, size_t size) {
        struct fuse_out_header header = { .len = (uint32_t) (sizeof(header) + size), .error = error, .unique = unique };
        const struct iovec parts[] = {
                { .iov_base = &header, .iov_len = sizeof(header) },
                { .iov_base = (void *) (uintptr_t) data, .iov_len = size },
        };

        (void) !writev(fuse, parts, size > 0 ? 2 : 1);
}

static struct fuse_attr attributes(uint64_t node) {
        return (struct fuse_attr) {
                .ino = node,
                .size = node == FILE_NODE ? PIN_LENGTH : 0,
                .mode = node == FILE_NODE ? S_IFREG | 0666 : S_IFDIR | 0777,
                .nlink = 1,
                .blksize = 4096,
        };
}

/* Everything but reading and writing. */
static void serve(int fuse, const struct fuse_in_header *request) {
        struct fuse_init_out init = {
                .major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 0, .max_write = PIN_LENGTH,
                .flags = FUSE_MAX_PAGES | FUSE_BIG_WRITES, .max_pages = PIN_LENGTH / 4096, .max_background = 4,
                .congestion_threshold = 4
        };
        struct fuse_entry_out entry = { .nodeid = FILE_NODE, .attr = attributes(FILE_NODE) };
        struct fuse_attr_out attr = { .attr = attributes(request->nodeid) };
        struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO };

        switch (request->opcode) {
        case FUSE_INIT:
                reply(fuse, request->unique, 0, &init, sizeof(init));
                break;
        case FUSE_LOOKUP:
                reply(fuse, request->unique, 0, &entry, sizeof(entry));
                break;
        case FUSE_GETATTR:
        case FUSE_SETATTR:
                reply(fuse, request->unique, 0, &attr, sizeof(attr));
                break;
        case FUSE_OPEN:
                reply(fuse, request->unique, 0, &opened, sizeof(opened));
                break;
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
                break;
        case FUSE_FLUSH:
        case FUSE_RELEASE:
                reply(fuse, request->unique, 0, NULL, 0);
                break;
        default:
                reply(fuse, request->unique, -ENOSYS, NULL, 0);
        }
}

/* Serves until the pages are held: a read is held once its request is here, a write as long as it is not fetched. The
 * write is the first request after the open, but the kernel may ask for attributes in between; so it is given a moment to
 * have asked, then its request is what is left. */
static int serve_until_held(int fuse, bool reads, uint64_t *ret_unique) {
        static _Alignas(8) uint8_t buffer[REQUEST_MAX];
        const struct fuse_in_header *request = (const struct fuse_in_header *) (void *) buffer;
        bool is_open = false;

        for (;;) {
                struct pollfd wait = { .fd = fuse, .events = POLLIN };

                if (poll(&wait, 1, 10000) <= 0)
                        return -ETIMEDOUT;
                if (!reads && is_open)
                        return 0;
                if (read(fuse, buffer, sizeof(buffer)) < 0)
                        return -errno;
                if (request->opcode == FUSE_READ) {
                        *ret_unique = request->unique;
                        return 0;
                }
                serve(fuse, request);
                is_open = request->opcode == FUSE_OPEN;
        }
}

static void answer(int fuse, int socket, uint64_t unique, Order order) {
        static _Alignas(8) uint8_t buffer[REQUEST_MAX];
        const struct fuse_in_header *request = (const struct fuse_in_header *) (void *) buffer;
        const size_t before_data = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in);
        ssize_t n;
        Sight sight = {};

        switch (order.what) {
        case 'w':
                memset(buffer, order.value, PIN_LENGTH);
                reply(fuse, unique, 0, buffer, PIN_LENGTH);
                break;
        case 'l':
                n = read(fuse, buffer, sizeof(buffer));
                if (n >= (ssize_t) before_data && request->opcode == FUSE_WRITE)
                        sight_add(&sight, buffer + before_data, (size_t) n - before_data);
                break;
        default:
                break;
        }
        (void) !write(socket, &sight, sizeof(sight));
}

static int child_start(bool reads, uint8_t *address, void (*let_go)(void), int *ret_fuse, uint64_t *ret_unique) {
        Client client = { .address = address, .reads = reads };
        char directory[] = "/tmp/pin-XXXXXX", byte = 0;
        int socket, r;

        if (!mkdtemp(directory))
                return -errno;
        *ret_fuse = mount_here(directory);
        if (*ret_fuse < 0)
                return *ret_fuse;
        snprintf(client.path, sizeof(client.path), "%s/file", directory);
        socket = client_start(&client, *ret_fuse, let_go);
        if (socket < 0)
                return socket;
        r = serve_until_held(*ret_fuse, reads, ret_unique);
        if (r < 0)
                return r;
        let_go();
        return write(socket, &byte, 1) == 1 && read(socket, &byte, 1) == 1 ? 0 : -EIO;
}

static _Noreturn void child_run(int socket, bool reads, uint8_t *address, void (*let_go)(void)) {
        uint64_t unique = 0;
        Order order;
        int fuse = -1, r;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        r = child_start(reads, address, let_go, &fuse, &unique);
        (void) !write(socket, &r, sizeof(r));
        while (r == 0 && read(socket, &order, sizeof(order)) == sizeof(order) && order.what != 'd')
                answer(fuse, socket, unique, order);
        _exit(0);
}

static int fuse_take(Pin *pin, bool reads, uint8_t *address, void (*let_go)(void)) {
        int sockets[2], r;

        if (access("/dev/fuse", F_OK) < 0)
                return -EOPNOTSUPP;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
                return -errno;
        pin->child = fork();
        if (pin->child == 0)
                child_run(sockets[1], reads, address, let_go);
        close(sockets[1]);
        pin->fds[0] = sockets[0];
        if (pin->child < 0 || read(pin->fds[0], &r, sizeof(r)) != sizeof(r))
                return -EIO;
        return r;
}

static int fuse_order(Pin *pin, Order order, Sight *sight) {
        if (write(pin->fds[0], &order, sizeof(order)) != sizeof(order) ||
            read(pin->fds[0], sight, sizeof(*sight)) != sizeof(*sight))
                return -EIO;
        return 0;
}

static int fuse_read_take(Pin *pin, uint8_t *address, void (*let_go)(void)) {
        return fuse_take(pin, true, address, let_go);
}

static int fuse_write_take(Pin *pin, uint8_t *address, void (*let_go)(void)) {
        return fuse_take(pin, false, address, let_go);
}

static int fuse_look(Pin *pin, Sight *sight) {
        return fuse_order(pin, (Order) { .what = 'l' }, sight);
}

static int fuse_write(Pin *pin, uint8_t value) {
        Sight nothing;

        return fuse_order(pin, (Order) { .what = 'w', .value = value }, &nothing);
}

static void fuse_drop(Pin *pin) {
        if (pin->fds[0] >= 0)
                close(pin->fds[0]);
        if (pin->child > 0) {
                kill(pin->child, SIGKILL);
                waitpid(pin->child, NULL, 0);
        }
}

const PinKind pin_fuse_read = { .name = "fuse-read", .take = fuse_read_take, .write = fuse_write, .drop = fuse_drop };
const PinKind pin_fuse_write = { .name = "fuse-write", .take = fuse_write_take, .look = fuse_look, .drop = fuse_drop };
