/* SPDX-License-Identifier: MIT */

/* The stand-in for systemd. It follows systemd's rules where a broker could notice the difference: only the main process
 * is listened to; a descriptor that is stored already is not stored twice; several may share a name; FDSTOREREMOVE drops
 * all of a name; descriptors beyond the limit are dropped and nobody is told; the stored ones reach the next process in
 * one LISTEN_FDNAMES, which has to fit what execve(2) takes.
 *
 * Messages stay in the socket after their sender died: service_manager_prepare() reads what is left before it looks. */

#include "service-manager.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "world.h"

#define FDS_PER_MESSAGE 253 /* SCM_MAX_FD */
#define LISTEN_FDS_START 3

typedef struct Stored {
        int fd;
        struct stat stat;
        char *name;
} Stored;

struct ServiceManager {
        char *path;
        int socket;
        int quit; /* eventfd that ends the thread */
        GThread *thread;

        GMutex lock; /* for all that follows, and for reading the socket */
        GCond changed;
        GPtrArray *stored;
        unsigned fd_max;
        bool running;
        pid_t main;
        unsigned ready, reloading, stopping, watchdog;
        char *status;
};

static void stored_free(void *data) {
        Stored *stored = data;

        close(stored->fd);
        g_free(stored->name);
        g_free(stored);
}

static bool name_is_valid(const char *name) {
        size_t n = strlen(name);

        for (const char *c = name; *c; c++)
                if (*c < ' ' || *c >= 127 || *c == ':')
                        return false;
        return n > 0 && n <= 255;
}

/* The same open file, not just the same inode. The inode tells them apart quickly where there are thousands. */
static bool is_same_file(const Stored *stored, const struct stat *stat, int fd) {
        return stored->stat.st_dev == stat->st_dev && stored->stat.st_ino == stat->st_ino &&
                        syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, stored->fd, fd) == 0;
}

static void store_consume_fd(ServiceManager *manager, const char *name, int fd) {
        Stored *stored;
        struct stat stat;

        g_assert_cmpint(fstat(fd, &stat), ==, 0);
        for (unsigned i = 0; i < manager->stored->len; i++) {
                stored = g_ptr_array_index(manager->stored, i);
                if (is_same_file(stored, &stat, fd)) {
                        close(fd);
                        return;
                }
        }
        if (manager->stored->len >= manager->fd_max) {
                close(fd);
                return;
        }

        stored = g_new(Stored, 1);
        *stored = (Stored) { .fd = fd, .stat = stat, .name = g_strdup(name && name_is_valid(name) ? name : "stored") };
        g_ptr_array_add(manager->stored, stored);
}

static void drop(ServiceManager *manager, const char *name) {
        for (unsigned i = manager->stored->len; i > 0; i--) {
                const Stored *stored = g_ptr_array_index(manager->stored, i - 1);

                if (!name || strcmp(stored->name, name) == 0)
                        g_ptr_array_remove_index(manager->stored, i - 1);
        }
}

static void handle(ServiceManager *manager, const char *text, int *fds, unsigned n_fds) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        const char *name = NULL;
        bool keep = false, forget = false;

        for (char **line = lines; *line; line++) {
                if (g_str_has_prefix(*line, "FDNAME="))
                        name = *line + strlen("FDNAME=");
                else if (g_str_has_prefix(*line, "STATUS=")) {
                        g_free(manager->status);
                        manager->status = g_strdup(*line + strlen("STATUS="));
                }
                keep = keep || g_str_equal(*line, "FDSTORE=1");
                forget = forget || g_str_equal(*line, "FDSTOREREMOVE=1");
                manager->ready += g_str_equal(*line, "READY=1");
                manager->reloading += g_str_equal(*line, "RELOADING=1");
                manager->stopping += g_str_equal(*line, "STOPPING=1");
                manager->watchdog += g_str_equal(*line, "WATCHDOG=1");
        }

        if (forget && name)
                drop(manager, name);
        for (unsigned i = 0; i < n_fds; i++)
                if (keep && !forget)
                        store_consume_fd(manager, name, fds[i]);
                else
                        close(fds[i]);
}

/* Reads one message. false if there is none. */
static bool receive(ServiceManager *manager) {
        char text[4096];
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * FDS_PER_MESSAGE)];
        } control;
        struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        int fds[FDS_PER_MESSAGE];
        unsigned n_fds = 0;
        pid_t sender = 0;
        ssize_t n;

        do
                n = recvmsg(manager->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0) {
                g_assert_cmpint(errno, ==, EAGAIN);
                return false;
        }
        g_assert_false(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
        text[n] = '\0';

        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
                if (c->cmsg_type == SCM_RIGHTS) {
                        n_fds = (unsigned) ((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
                        memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
                } else if (c->cmsg_type == SCM_CREDENTIALS) {
                        struct ucred credentials;

                        memcpy(&credentials, CMSG_DATA(c), sizeof(credentials));
                        sender = credentials.pid;
                }
        }

        if (sender == manager->main && sender > 0)
                handle(manager, text, fds, n_fds);
        else
                for (unsigned i = 0; i < n_fds; i++)
                        close(fds[i]);
        return true;
}

static void drain(ServiceManager *manager) {
        while (receive(manager))
                ;
        g_cond_broadcast(&manager->changed);
}

static void *run(void *userdata) {
        ServiceManager *manager = userdata;

        g_mutex_lock(&manager->lock);
        manager->running = true;
        g_cond_broadcast(&manager->changed);
        g_mutex_unlock(&manager->lock);

        for (;;) {
                struct pollfd polled[] = {
                        { .fd = manager->socket, .events = POLLIN },
                        { .fd = manager->quit, .events = POLLIN },
                };

                if (poll(polled, 2, -1) < 0)
                        continue;
                if (polled[1].revents)
                        return NULL;

                world_lock_fork();
                g_mutex_lock(&manager->lock);
                drain(manager);
                g_mutex_unlock(&manager->lock);
                world_unlock_fork();
        }
}

ServiceManager *service_manager_new(void) {
        static unsigned number;
        ServiceManager *manager = g_new0(ServiceManager, 1);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int size = 8 << 20, yes = 1;

        g_mutex_init(&manager->lock);
        g_cond_init(&manager->changed);
        manager->stored = g_ptr_array_new_with_free_func(stored_free);
        manager->fd_max = 7100; /* as in daxbroker.service */
        manager->path = g_strdup_printf("%s/notify-%d-%u", world_get_path(), getpid(), number++);
        manager->status = g_strdup("");

        manager->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(manager->socket, >=, 0);
        g_assert_cmpint(setsockopt(manager->socket, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)), ==, 0);
        g_assert_cmpint(setsockopt(manager->socket, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), ==, 0);
        g_strlcpy(address.sun_path, manager->path, sizeof(address.sun_path));
        g_assert_cmpint(bind(manager->socket, (struct sockaddr *) &address, sizeof(address)), ==, 0);
        g_assert_cmpint(chmod(manager->path, 0666), ==, 0);

        manager->quit = eventfd(0, EFD_CLOEXEC);
        g_assert_cmpint(manager->quit, >=, 0);
        manager->thread = g_thread_new("service-manager", run, manager);

        /* what a thread allocates to begin with is allocated */
        g_mutex_lock(&manager->lock);
        while (!manager->running)
                g_cond_wait(&manager->changed, &manager->lock);
        g_mutex_unlock(&manager->lock);
        return manager;
}

ServiceManager *service_manager_free(ServiceManager *manager) {
        if (!manager)
                return NULL;

        g_assert_cmpint(eventfd_write(manager->quit, 1), ==, 0);
        g_thread_join(manager->thread);
        close(manager->quit);
        close(manager->socket);
        (void) unlink(manager->path);
        g_ptr_array_unref(manager->stored);
        g_cond_clear(&manager->changed);
        g_mutex_clear(&manager->lock);
        g_free(manager->status);
        g_free(manager->path);
        g_free(manager);
        return NULL;
}

const char *service_manager_get_socket(ServiceManager *manager) {
        return manager->path;
}

void service_manager_set_fd_max(ServiceManager *manager, unsigned max) {
        g_mutex_lock(&manager->lock);
        manager->fd_max = max;
        g_mutex_unlock(&manager->lock);
}

void service_manager_prepare(ServiceManager *manager, Inheritance *ret) {
        GString *names = g_string_new(NULL);

        g_mutex_lock(&manager->lock);
        drain(manager);
        manager->main = 0;

        ret->n = manager->stored->len;
        ret->fds = g_new(int, ret->n + 1);
        for (unsigned i = 0; i < ret->n; i++) {
                const Stored *stored = g_ptr_array_index(manager->stored, i);

                ret->fds[i] = fcntl(stored->fd, F_DUPFD_CLOEXEC, 0);
                g_assert_cmpint(ret->fds[i], >=, 0);
                g_string_append_printf(names, "%s%s", i > 0 ? ":" : "", stored->name);
        }
        g_mutex_unlock(&manager->lock);

        ret->names = g_string_free(names, FALSE);
}

void inheritance_apply(const Inheritance *inheritance, const char *notify_socket) {
        g_autofree char *number = g_strdup_printf("%u", inheritance->n);
        g_autofree char *pid = g_strdup_printf("%d", getpid());
        int above = LISTEN_FDS_START + (int) inheritance->n;

        /* first out of the way, then into place */
        for (unsigned i = 0; i < inheritance->n; i++) {
                inheritance->fds[i] = fcntl(inheritance->fds[i], F_DUPFD_CLOEXEC, above);
                g_assert_cmpint(inheritance->fds[i], >=, 0);
        }
        for (unsigned i = 0; i < inheritance->n; i++)
                g_assert_cmpint(dup2(inheritance->fds[i], LISTEN_FDS_START + (int) i), >=, 0);

        g_assert_cmpint(setenv("NOTIFY_SOCKET", notify_socket, 1), ==, 0);
        if (inheritance->n > 0) {
                g_assert_cmpint(setenv("LISTEN_FDS", number, 1), ==, 0);
                g_assert_cmpint(setenv("LISTEN_PID", pid, 1), ==, 0);
                g_assert_cmpint(setenv("LISTEN_FDNAMES", inheritance->names, 1), ==, 0);
        }
}

void inheritance_clear(Inheritance *inheritance) {
        for (unsigned i = 0; i < inheritance->n; i++)
                close(inheritance->fds[i]);
        g_free(inheritance->fds);
        g_free(inheritance->names);
        *inheritance = (Inheritance) {};
}

void service_manager_set_main(ServiceManager *manager, pid_t pid) {
        g_mutex_lock(&manager->lock);
        manager->main = pid;
        manager->ready = manager->reloading = manager->stopping = manager->watchdog = 0;
        g_free(manager->status);
        manager->status = g_strdup("");
        g_mutex_unlock(&manager->lock);
}

bool service_manager_wait_ready(ServiceManager *manager, unsigned times, unsigned seconds) {
        gint64 end = g_get_monotonic_time() + seconds * G_TIME_SPAN_SECOND;
        bool is_ready;

        g_mutex_lock(&manager->lock);
        while (manager->ready < times && g_get_monotonic_time() < end) {
                gint64 next = g_get_monotonic_time() + 100 * G_TIME_SPAN_MILLISECOND;

                if (!process_is_alive(manager->main))
                        break;
                g_cond_wait_until(&manager->changed, &manager->lock, MIN(next, end));
        }
        is_ready = manager->ready >= times;
        g_mutex_unlock(&manager->lock);

        return is_ready;
}

static unsigned get(ServiceManager *manager, const unsigned *counter) {
        unsigned value;

        g_mutex_lock(&manager->lock);
        drain(manager);
        value = *counter;
        g_mutex_unlock(&manager->lock);
        return value;
}

unsigned service_manager_count_ready(ServiceManager *manager) {
        return get(manager, &manager->ready);
}

unsigned service_manager_count_reloading(ServiceManager *manager) {
        return get(manager, &manager->reloading);
}

unsigned service_manager_count_stopping(ServiceManager *manager) {
        return get(manager, &manager->stopping);
}

unsigned service_manager_count_watchdog(ServiceManager *manager) {
        return get(manager, &manager->watchdog);
}

char *service_manager_get_status(ServiceManager *manager) {
        char *status;

        g_mutex_lock(&manager->lock);
        drain(manager);
        status = g_strdup(manager->status);
        g_mutex_unlock(&manager->lock);
        return status;
}

/* A bundle (broker/fd-bundle.h) that nothing is in. */
static bool is_empty(const Stored *stored) {
        int n = 0;

        return g_str_has_prefix(stored->name, "bundle") && ioctl(stored->fd, FIONREAD, &n) >= 0 && n == 0;
}

unsigned service_manager_count_empty(ServiceManager *manager) {
        unsigned n = 0;

        g_mutex_lock(&manager->lock);
        drain(manager);
        for (unsigned i = 0; i < manager->stored->len; i++)
                n += is_empty(g_ptr_array_index(manager->stored, i));
        g_mutex_unlock(&manager->lock);
        return n;
}

unsigned service_manager_count_fds(ServiceManager *manager, const char *name) {
        unsigned n = 0;

        g_mutex_lock(&manager->lock);
        drain(manager);
        for (unsigned i = 0; i < manager->stored->len; i++) {
                const Stored *stored = g_ptr_array_index(manager->stored, i);

                n += name ? strcmp(stored->name, name) == 0 : !is_empty(stored);
        }
        g_mutex_unlock(&manager->lock);
        return n;
}

static int compare_names(const void *a, const void *b) {
        const Stored *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

char *service_manager_list_fds(ServiceManager *manager) {
        g_autoptr(GPtrArray) sorted = NULL;
        GString *names = g_string_new(NULL);

        g_mutex_lock(&manager->lock);
        drain(manager);
        sorted = g_ptr_array_copy(manager->stored, NULL, NULL);
        g_ptr_array_set_free_func(sorted, NULL);
        g_ptr_array_sort(sorted, compare_names);
        for (unsigned i = 0; i < sorted->len; i++)
                g_string_append_printf(names, "%s\n", ((const Stored *) g_ptr_array_index(sorted, i))->name);
        g_mutex_unlock(&manager->lock);
        return g_string_free(names, FALSE);
}

int service_manager_dup_fd(ServiceManager *manager, const char *name) {
        int fd = -1;

        g_mutex_lock(&manager->lock);
        drain(manager);
        for (unsigned i = 0; i < manager->stored->len && fd < 0; i++) {
                const Stored *stored = g_ptr_array_index(manager->stored, i);

                if (strcmp(stored->name, name) == 0)
                        fd = fcntl(stored->fd, F_DUPFD_CLOEXEC, 0);
        }
        g_mutex_unlock(&manager->lock);
        return fd;
}

void service_manager_drop_fds(ServiceManager *manager, const char *name) {
        g_mutex_lock(&manager->lock);
        drain(manager);
        drop(manager, name);
        g_mutex_unlock(&manager->lock);
}
