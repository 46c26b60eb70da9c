/* SPDX-License-Identifier: MIT */

/* When has everybody let go of a node? Asked of the real kernel, about nodes that are copies of /dev/null where we may make
 * such, and about files otherwise: the end of an open file is told in the same way. */

#include "node-watch.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "open-fds.h"

#define MAP_LENGTH 8192

/* What the broker has of one device. */
typedef struct Device {
        Node node;
        char *path;
        int writer, reader; /* its own; what holders get are copies */
        unsigned n_changed;
} Device;

static char *folder;
static sd_event *event;
static NodeWatch *watch;

static void on_changed(Node *node) {
        Device *device = (Device *) (void *) ((char *) node - offsetof(Device, node));

        device->n_changed++;
}

static int open_node(const Device *device, int flags) {
        int fd = open(device->path, flags | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        return fd;
}

static void make_node(const char *path) {
        int fd;

        /* where it is made but cannot be opened, because the file system has no devices, it will not do */
        if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) >= 0) {
                fd = open(path, O_RDWR | O_CLOEXEC);
                if (fd >= 0) {
                        close(fd);
                        return;
                }
                g_assert_no_errno(unlink(path));
        }
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        g_assert_cmpint(fd, >=, 0);
        close(fd);
}

static void make_file(const char *path) {
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        g_assert_no_errno(ftruncate(fd, MAP_LENGTH));
        close(fd);
}

static void device_open(Device *device, const char *name, void (*make)(const char *path), bool has_reader) {
        *device = (Device){ .path = g_build_filename(folder, name, NULL), .node.wd = -1 };
        make(device->path);
        device->writer = open_node(device, O_RDWR);
        device->reader = has_reader ? open_node(device, O_RDONLY) : -EBADF;
        g_assert_cmpint(node_watch_add(watch, &device->node, device->writer, has_reader, on_changed), ==, 0);
        g_assert_cmpint(device->node.wd, >=, 0);
        g_assert_false(node_is_drained(&device->node));
}

/* The broker's part of the end. */
static void device_let_go(Device *device) {
        node_watch_let_go(watch, &device->node);
        device->writer = safe_close(device->writer);
        device->reader = safe_close(device->reader);
}

static void device_done(Device *device) {
        node_watch_remove(watch, &device->node);
        node_watch_remove(watch, &device->node);
        safe_close(device->writer);
        safe_close(device->reader);
        (void) g_unlink(device->path);
        g_free(device->path);
}

static bool is_drained(const Device *device) {
        node_watch_process(watch);
        return node_is_drained(&device->node);
}

static int copy(int fd) {
        int r = fcntl(fd, F_DUPFD_CLOEXEC, 0);

        g_assert_cmpint(r, >=, 0);
        return r;
}

/* ---- Another process that has what we have, until it is told to end ---- */

typedef struct Holder {
        pid_t pid;
        int line;
} Holder;

/* Of our copies it has none but keep, if that is a descriptor. */
static Holder holder_start(const Device *device, int keep) {
        int line[2];
        char byte;
        pid_t pid;

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line));
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                close(line[0]);
                if (device->writer != keep)
                        safe_close(device->writer);
                if (device->reader != keep)
                        safe_close(device->reader);
                (void) !write(line[1], "", 1);
                (void) !read(line[1], &byte, 1);
                _exit(0);
        }

        close(line[1]);
        g_assert_cmpint(read(line[0], &byte, 1), ==, 1);
        return (Holder){ pid, line[0] };
}

static void holder_end(Holder *holder) {
        int status;

        g_assert_cmpint(write(holder->line, "", 1), ==, 1);
        close(holder->line);
        g_assert_cmpint(waitpid(holder->pid, &status, 0), ==, holder->pid);
        g_assert_true(WIFEXITED(status));
}

/* ---- Ours ---- */

static void test_nobody(void) {
        Device device;

        device_open(&device, "a", make_node, true);
        g_assert_false(is_drained(&device));
        g_assert_cmpuint(device.n_changed, ==, 0);

        device_let_go(&device);
        g_assert_false(node_is_drained(&device.node)); /* nothing was looked at yet */
        g_assert_true(is_drained(&device));
        g_assert_cmpuint(device.n_changed, ==, 2);
        g_assert_cmpuint(device.node.n_others, ==, 0);
        g_assert_false(device.node.doubtful);
        device_done(&device);
}

static void test_no_reader(void) {
        Device device;

        device_open(&device, "a", make_node, false);
        device_let_go(&device);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* Each of the two has to end. */
static void test_both(void) {
        static const int flags[] = { O_RDWR, O_RDONLY };

        for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
                Device device;
                int held;

                device_open(&device, "a", make_node, true);
                held = copy(flags[i] == O_RDWR ? device.writer : device.reader);
                device_let_go(&device);
                g_assert_false(is_drained(&device));
                g_assert_cmpint(device.node.writer_gone, ==, flags[i] == O_RDONLY);
                g_assert_cmpint(device.node.reader_gone, ==, flags[i] == O_RDWR);

                close(held);
                g_assert_true(is_drained(&device));
                device_done(&device);
        }
}

/* The end of one of many copies is nothing. */
static void test_copies(void) {
        Device device;
        int held[8];

        device_open(&device, "a", make_node, true);
        for (size_t i = 0; i < G_N_ELEMENTS(held); i++)
                held[i] = copy(i % 2 == 0 ? device.writer : device.reader);
        close(held[0]);
        device_let_go(&device);
        for (size_t i = 1; i < G_N_ELEMENTS(held); i++) {
                g_assert_false(is_drained(&device));
                close(held[i]);
        }
        g_assert_true(is_drained(&device));
        device_done(&device);
}

static void test_processes(void) {
        Holder first, second;
        Device device;

        device_open(&device, "a", make_node, true);
        first = holder_start(&device, device.writer);
        second = holder_start(&device, device.reader);
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        holder_end(&first);
        g_assert_false(is_drained(&device));
        g_assert_true(device.node.writer_gone);
        holder_end(&second);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

static void send_copy(int socket, int fd) {
        union {
                char buffer[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = { 0 };
        struct iovec data = { .iov_base = (char[1]){ 0 }, .iov_len = 1 };
        struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.buffer,
                                  .msg_controllen = sizeof(control.buffer) };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
        g_assert_cmpint(sendmsg(socket, &message, 0), ==, 1);
}

/* No process has it, and it is not gone. */
static void test_in_flight(void) {
        Device device;
        int line[2];

        device_open(&device, "a", make_node, true);
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line));
        send_copy(line[0], device.writer);
        close(line[0]);
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        close(line[1]);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* A mapping is as good as a descriptor, also what is left of one. */
static void test_mappings(void) {
        Device device;
        char *writable, *readable;

        device_open(&device, "a", make_file, true);
        writable = mmap(NULL, MAP_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, device.writer, 0);
        readable = mmap(NULL, MAP_LENGTH, PROT_READ, MAP_SHARED, device.reader, 0);
        g_assert_true(writable != MAP_FAILED && readable != MAP_FAILED);
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        g_assert_false(device.node.writer_gone || device.node.reader_gone);

        g_assert_no_errno(munmap(readable, MAP_LENGTH));
        g_assert_no_errno(munmap(writable, MAP_LENGTH / 2));
        g_assert_false(is_drained(&device));
        g_assert_true(device.node.reader_gone);
        g_assert_no_errno(munmap(writable + MAP_LENGTH / 2, MAP_LENGTH / 2));
        g_assert_true(is_drained(&device));
        device_done(&device);
}

static void test_inherited_mapping(void) {
        Holder holder;
        Device device;
        char *address;

        device_open(&device, "a", make_file, true);
        address = mmap(NULL, MAP_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, device.writer, 0);
        g_assert_true(address != MAP_FAILED);
        holder = holder_start(&device, -1);
        g_assert_no_errno(munmap(address, MAP_LENGTH));
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        holder_end(&holder);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* ---- Somebody else's ---- */

/* While we have copies of ours, an end is not one of ours. */
static void test_others_before(void) {
        Device device;
        int other;

        device_open(&device, "a", make_node, true);
        other = open_node(&device, O_RDWR);
        g_assert_false(is_drained(&device));
        g_assert_cmpuint(device.node.n_others, ==, 1);
        close(other);
        other = open_node(&device, O_RDONLY);
        close(other);
        g_assert_false(is_drained(&device));
        g_assert_cmpuint(device.node.n_others, ==, 0);
        g_assert_cmpuint(device.n_changed, ==, 0);

        /* and what had ended when we let go, but was not looked at */
        close(open_node(&device, O_RDWR));
        device_let_go(&device);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* One that was open before there was a watch: its end is told, though its beginning was not. */
static void test_others_unheard(void) {
        Device device;
        int other, held;

        device_open(&device, "a", make_node, true);
        other = open_node(&device, O_RDWR);
        node_watch_remove(watch, &device.node);
        g_assert_cmpint(node_watch_add(watch, &device.node, device.writer, true, NULL), ==, 0);
        close(other);
        g_assert_false(is_drained(&device));
        g_assert_cmpuint(device.node.n_others, ==, 0);
        held = copy(device.writer);
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        close(held);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* Whose end it is cannot be told any more. */
static void test_others_during(void) {
        static const int flags[] = { O_RDWR, O_RDONLY };

        for (size_t i = 0; i < G_N_ELEMENTS(flags) * 2; i++) {
                Device device;
                int other, held;
                bool ours_first = i >= G_N_ELEMENTS(flags);

                device_open(&device, "a", make_node, true);
                held = copy(device.writer);
                other = open_node(&device, flags[i % 2]);
                device_let_go(&device);
                g_assert_cmpuint(device.node.n_others, ==, 1);
                g_assert_false(is_drained(&device));

                close(ours_first ? held : other);
                g_assert_false(is_drained(&device));
                g_assert_true(device.node.doubtful);
                close(ours_first ? other : held);
                g_assert_false(is_drained(&device));
                device_done(&device);
        }
}

static void test_others_after(void) {
        Device device;
        int held;

        device_open(&device, "a", make_node, true);
        held = copy(device.writer);
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        close(open_node(&device, O_RDWR));
        g_assert_false(is_drained(&device));
        g_assert_true(device.node.doubtful);
        close(held);
        g_assert_false(is_drained(&device));
        device_done(&device);
}

/* ---- Nodes ---- */

static void test_two(void) {
        Device a, b;
        int held;

        device_open(&a, "a", make_node, true);
        device_open(&b, "b", make_node, true);
        g_assert_cmpint(a.node.wd, !=, b.node.wd);
        held = copy(a.writer);
        close(open_node(&b, O_RDWR));
        device_let_go(&a);
        device_let_go(&b);
        g_assert_false(is_drained(&a));
        g_assert_true(is_drained(&b));
        close(held);
        g_assert_true(is_drained(&a));
        device_done(&a);
        device_done(&b);
}

static void test_add(void) {
        g_autofree char *nowhere = g_build_filename(folder, "nowhere", NULL);
        union {
                struct inotify_event event;
                char buffer[4096];
        } told;
        Node again = { .wd = -1 };
        Device device;

        g_assert_cmpint(node_watch_add_path(watch, &again, nowhere, true, on_changed), ==, -ENOENT);
        g_assert_cmpint(node_watch_add(watch, &again, -1, true, on_changed), <, 0);
        device_open(&device, "a", make_node, true);
        g_assert_cmpint(node_watch_add_path(watch, &again, device.path, true, on_changed), ==, -EEXIST);
        g_assert_cmpint(again.wd, ==, -1);
        node_watch_remove(watch, &again);

        /* what is not watched is not told about; what is watched again is */
        node_watch_remove(watch, &device.node);
        g_assert_cmpint(device.node.wd, ==, -1);
        g_assert_cmpint(read(node_watch_fd(watch), &told, sizeof(told)), ==, sizeof(told.event));
        g_assert_cmphex(told.event.mask, ==, IN_IGNORED);
        close(open_node(&device, O_RDWR));
        g_assert_cmpint(read(node_watch_fd(watch), &told, sizeof(told)), <, 0);
        node_watch_process(watch);
        g_assert_cmpuint(device.node.n_others, ==, 0);
        g_assert_cmpint(node_watch_add_path(watch, &device.node, device.path, true, on_changed), ==, 0);
        device_let_go(&device);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* An admin, or udev, removes the node under the feet of its holders. */
static void test_removed_node(void) {
        Device device, next;
        int held;

        device_open(&device, "a", make_node, true);
        held = copy(device.writer);
        g_assert_no_errno(unlink(device.path));
        g_assert_false(is_drained(&device));
        device_let_go(&device);
        g_assert_false(is_drained(&device));

        close(held);
        g_assert_true(is_drained(&device));
        g_assert_cmpint(device.node.wd, ==, -1);

        /* the next of this name is another one */
        device_open(&next, "a", make_node, true);
        g_assert_false(is_drained(&next));
        device_let_go(&next);
        g_assert_true(is_drained(&next));
        device_done(&next);
        device_done(&device);
}

/* With its last holder it is forgotten by the kernel, so nobody has it: that counts for more than what was not heard. */
static void test_removed_uncertain(void) {
        Device doubtful, unheard;
        int held;

        device_open(&doubtful, "a", make_node, true);
        held = copy(doubtful.writer);
        device_let_go(&doubtful);
        close(open_node(&doubtful, O_RDWR));
        g_assert_false(is_drained(&doubtful));
        g_assert_true(doubtful.node.doubtful);
        g_assert_no_errno(unlink(doubtful.path));
        close(held);
        g_assert_true(is_drained(&doubtful));
        device_done(&doubtful);

        device_open(&unheard, "b", make_node, true);
        held = copy(unheard.writer);
        unheard.reader = safe_close(unheard.reader);
        g_assert_false(is_drained(&unheard));
        device_let_go(&unheard);
        g_assert_no_errno(unlink(unheard.path));
        g_assert_false(is_drained(&unheard));
        close(held);
        g_assert_true(is_drained(&unheard));
        g_assert_cmpint(unheard.node.wd, ==, -1);
        device_done(&unheard);
}

/* Both ends alone are nothing: who has not let go has it himself. */
static void test_drained(void) {
        Node node = { .letting_go = true, .has_reader = true, .writer_gone = true, .reader_gone = true };

        g_assert_true(node_is_drained(&node));
        node.letting_go = false;
        g_assert_false(node_is_drained(&node));
}

/* ---- The instance ---- */

static unsigned max_queued_events(void) {
        g_autofree char *text = NULL;

        if (!g_file_get_contents("/proc/sys/fs/inotify/max_queued_events", &text, NULL, NULL))
                return UINT_MAX;
        return (unsigned) g_ascii_strtoull(text, NULL, 10);
}

/* Then nobody is believed to have let go; what is watched from then on is not concerned. */
static void test_overflow(void) {
        unsigned n = max_queued_events();
        Device a, b, c;

        if (n > 1000000) {
                g_test_skip("the queue of inotify has room for too many events");
                return;
        }

        device_open(&a, "a", make_node, true);
        device_open(&b, "b", make_node, true);
        for (unsigned i = 0; i <= n / 2 + 1; i++)
                close(open_node(&a, O_RDWR));
        node_watch_process(watch);
        g_assert_true(a.node.doubtful);
        g_assert_true(b.node.doubtful);

        device_open(&c, "c", make_node, true);
        device_let_go(&a);
        device_let_go(&b);
        device_let_go(&c);
        g_assert_false(is_drained(&a));
        g_assert_false(is_drained(&b));
        g_assert_true(is_drained(&c));
        device_done(&a);
        device_done(&b);
        device_done(&c);
}

/* What the service manager keeps, and the next broker begins with. */
static void replace_watch(void) {
        int kept = copy(node_watch_fd(watch));

        watch = node_watch_free(watch);
        g_assert_cmpint(node_watch_new(event, kept, &watch), ==, 0);
        g_assert_cmpint(node_watch_fd(watch), ==, kept);
}

/* What happens while there is no broker is not missed. */
static void test_take_over(void) {
        Device device;
        int held, wd, kept;

        device_open(&device, "a", make_node, true);
        wd = device.node.wd;
        held = copy(device.writer);
        device_let_go(&device);
        kept = copy(node_watch_fd(watch));
        watch = node_watch_free(watch);
        close(held);

        g_assert_cmpint(node_watch_new(event, kept, &watch), ==, 0);
        g_assert_cmpint(node_watch_add_path(watch, &device.node, device.path, true, on_changed), ==, 0);
        g_assert_cmpint(device.node.wd, ==, wd);
        device.node.letting_go = true;
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* One that is still ours is watched on, and the next broker may be the one that lets go. */
static void test_take_over_live(void) {
        Device device;
        int held;

        device_open(&device, "a", make_node, true);
        held = copy(device.reader);
        replace_watch();
        g_assert_cmpint(node_watch_add(watch, &device.node, device.writer, true, on_changed), ==, 0);
        g_assert_false(is_drained(&device));
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        close(held);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* What a predecessor has heard and not passed on is not made up. */
static void test_take_over_half(void) {
        Device device;
        int held;

        device_open(&device, "a", make_node, true);
        held = copy(device.writer);
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        g_assert_true(device.node.reader_gone);

        replace_watch();
        g_assert_cmpint(node_watch_add_path(watch, &device.node, device.path, true, on_changed), ==, 0);
        device.node.letting_go = true;
        close(held);
        g_assert_false(is_drained(&device));
        g_assert_true(device.node.writer_gone);
        device_done(&device);
}

/* Whoever can see a node can have a descriptor that names it, and no more. Here nothing comes of it; on a kernel where it
 * does, nobody may believe what is told of readers. */
static void test_named_only(void) {
        Device device;
        bool deceived;
        int reader, fd;

        device_open(&device, "named", make_file, true);
        reader = copy(device.reader);
        device_let_go(&device);
        g_assert_false(is_drained(&device));
        fd = open(device.path, O_PATH | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        close(fd);
        deceived = is_drained(&device);
        g_assert_cmpint(deceived, ==, node_watch_can_be_deceived());
        close(reader);
        g_assert_true(is_drained(&device));
        device_done(&device);
}

/* What cannot be tried is taken for the worse. The answer is kept, so each is asked for by a process of its own, which can
 * open that many files and no more: of three. */
static void test_cannot_try(void) {
        for (int n_left = 0; n_left < 3; n_left++) {
                pid_t pid = fork();
                int status;

                g_assert_cmpint(pid, >=, 0);
                if (pid == 0) {
                        struct rlimit limit;
                        int next = dup(0);

                        close(next);
                        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                                _exit(2);
                        limit.rlim_cur = (rlim_t) (next + n_left);
                        _exit(setrlimit(RLIMIT_NOFILE, &limit) < 0 ? 2 : node_watch_can_be_deceived());
                }
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                g_assert_true(WIFEXITED(status));
                g_assert_cmpint(WEXITSTATUS(status), ==, 1);
        }
}

static int on_other(sd_event_source *source, void *userdata) {
        const Device *device = userdata;

        (void) source;
        g_assert_true(node_is_drained(&device->node));
        return 0;
}

/* What has ended is known before anything else is done that could be asked for meanwhile. */
static void test_first_of_all(void) {
        sd_event_source *other;
        Device device;

        device_open(&device, "a", make_node, true);
        device_let_go(&device);
        g_assert_cmpint(sd_event_add_defer(event, &other, on_other, &device), ==, 0);
        g_assert_cmpint(sd_event_run(event, 0), >, 0);
        g_assert_cmpint(sd_event_run(event, 0), >, 0);
        sd_event_source_unref(other);
        device_done(&device);
}

static void test_event_loop(void) {
        Device device;
        int held;

        device_open(&device, "a", make_node, true);
        held = copy(device.writer);
        device_let_go(&device);
        while (sd_event_run(event, 0) > 0)
                ;
        g_assert_false(node_is_drained(&device.node));
        close(held);
        g_assert_cmpint(sd_event_run(event, G_USEC_PER_SEC), >, 0);
        g_assert_true(node_is_drained(&device.node));
        device_done(&device);
}

/* A descriptor that is none of inotify, or none at all, stays whose it was. */
static void test_refused(void) {
        NodeWatch *none = NULL;
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(node_watch_new(event, fd, &none), <, 0);
        g_assert_null(none);
        g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);
        close(fd);
        g_assert_null(node_watch_free(NULL));
        node_watch_remove(NULL, &(Node){ .wd = 1 });
}

/* In a folder and with an instance of its own. */
static const struct Test {
        const char *path;
        void (*function)(void);
} tests[] = {
        { "/node-watch/nobody", test_nobody },
        { "/node-watch/no-reader", test_no_reader },
        { "/node-watch/both", test_both },
        { "/node-watch/copies", test_copies },
        { "/node-watch/processes", test_processes },
        { "/node-watch/in-flight", test_in_flight },
        { "/node-watch/mappings", test_mappings },
        { "/node-watch/inherited-mapping", test_inherited_mapping },
        { "/node-watch/others-before", test_others_before },
        { "/node-watch/others-unheard", test_others_unheard },
        { "/node-watch/others-during", test_others_during },
        { "/node-watch/others-after", test_others_after },
        { "/node-watch/two", test_two },
        { "/node-watch/add", test_add },
        { "/node-watch/removed-node", test_removed_node },
        { "/node-watch/removed-uncertain", test_removed_uncertain },
        { "/node-watch/drained", test_drained },
        { "/node-watch/overflow", test_overflow },
        { "/node-watch/take-over", test_take_over },
        { "/node-watch/take-over-live", test_take_over_live },
        { "/node-watch/take-over-half", test_take_over_half },
        { "/node-watch/cannot-try", test_cannot_try }, /* before one that does try */
        { "/node-watch/named-only", test_named_only },
        { "/node-watch/event-loop", test_event_loop },
        { "/node-watch/first-of-all", test_first_of_all },
        { "/node-watch/refused", test_refused },
};

static void run(gconstpointer test) {
        unsigned n_fds = open_fds_count();

        folder = g_dir_make_tmp("daxbroker-nodes-XXXXXX", NULL);
        g_assert_nonnull(folder);
        g_assert_cmpint(sd_event_new(&event), ==, 0);
        g_assert_cmpint(node_watch_new(event, -EBADF, &watch), ==, 0);
        g_assert_cmpint(fcntl(node_watch_fd(watch), F_GETFD), ==, FD_CLOEXEC);

        ((const struct Test *) test)->function();

        watch = node_watch_free(watch);
        event = sd_event_unref(event);
        g_assert_no_errno(g_rmdir(folder));
        g_clear_pointer(&folder, g_free);
        g_assert_cmpuint(open_fds_count(), ==, n_fds);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_data_func(tests[i].path, &tests[i], run);
        return g_test_run();
}
