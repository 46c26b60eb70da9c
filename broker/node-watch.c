/* SPDX-License-Identifier: MIT */

/* Events tell which node, and whether the file that ended was open for writing, but not which file. There is one of each
 * kind that we hand out; any other is an admin's, for nobody else may open a node. As long as we have copies of ours, each
 * end is one of the others'. Once we have let go and others are open, an end says nothing for certain: then the node is
 * doubtful, and whoever asks has to wait for an admin's word rather than for an event.
 *
 * Equal events that follow each other in the queue are merged by the kernel, which is harmless here: each of ours can end
 * only once. */

#include "node-watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

struct NodeWatch {
        int fd;
        sd_event_source *source;
        Node *nodes; /* by wd */
};

/* What came before a request has to be known before the request is served. */
#define WATCH_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

bool node_is_drained(const Node *node) {
        return node->letting_go && !node->doubtful && node->writer_gone && (node->reader_gone || !node->has_reader);
}

static void node_closed(Node *node, bool writer) {
        if (!node->letting_go) {
                if (node->n_others > 0)
                        node->n_others--;
                return;
        }
        if (node->n_others > 0) {
                node->doubtful = true;
                return;
        }
        if (writer)
                node->writer_gone = true;
        else
                node->reader_gone = true;
}

static void node_handle(NodeWatch *watch, const struct inotify_event *event) {
        Node *node;

        HASH_FIND_INT(watch->nodes, &event->wd, node);
        if (!node)
                return;

        if (event->mask & IN_OPEN)
                node->n_others++;
        if (event->mask & IN_CLOSE_WRITE)
                node_closed(node, true);
        if (event->mask & IN_CLOSE_NOWRITE)
                node_closed(node, false);
        if (event->mask & IN_IGNORED) {
                /* The node was removed, and with its last open file the kernel has forgotten it: nobody has it, whatever
                 * was uncertain before. While we have copies of ours it does not come to that. */
                HASH_DEL(watch->nodes, node);
                node->wd = -1;
                node->writer_gone = node->reader_gone = true;
                node->doubtful = false;
        }
        if (node->letting_go && node->changed)
                node->changed(node);
}

static void watch_lost_events(NodeWatch *watch) {
        Node *node, *next;

        log_warning("events of device nodes were lost: who holds what is uncertain from now on");
        HASH_ITER(hh, watch->nodes, node, next)
                node->doubtful = true;
}

void node_watch_process(NodeWatch *watch) {
        char buffer[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)]
                __attribute__((aligned(__alignof__(struct inotify_event))));

        for (;;) {
                ssize_t n = read(watch->fd, buffer, sizeof(buffer));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return;
                for (char *at = buffer; at < buffer + n;) {
                        const struct inotify_event *event = (const struct inotify_event *) (const void *) at;

                        if (event->mask & IN_Q_OVERFLOW)
                                watch_lost_events(watch);
                        else
                                node_handle(watch, event);
                        at += sizeof(*event) + event->len;
                }
        }
}

static int on_events(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void) source;
        (void) fd;
        (void) revents;
        node_watch_process(userdata);
        return 0;
}

/* Asked of a file of our own, once: a kernel does not change. What cannot be tried is taken for the worse. */
bool node_watch_can_be_deceived(void) {
        static int answer = -1;
        _cleanup_close_ int file = -EBADF, watch = -EBADF, path_fd = -EBADF;
        struct inotify_event event;
        char path[64];

        if (answer >= 0)
                return answer;

        file = memfd_create("daxbroker-probe", MFD_CLOEXEC);
        watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
        if (file < 0 || watch < 0 || inotify_add_watch(watch, path, IN_CLOSE) < 0)
                return true;
        path_fd = open(path, O_PATH | O_CLOEXEC);
        if (path_fd < 0)
                return true;
        safe_close(TAKE_FD(path_fd));

        answer = read(watch, &event, sizeof(event)) >= 0 || errno != EAGAIN;
        if (answer)
                log_warning("this kernel lets anybody pretend that a reader has let go of a device (a newer one does not)");
        return answer;
}

int node_watch_new(sd_event *event, int fd, NodeWatch **ret) {
        NodeWatch *watch;
        int r;

        watch = calloc(1, sizeof(*watch));
        if (!watch)
                return -ENOMEM;

        watch->fd = fd >= 0 ? fd : inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        r = watch->fd < 0 ? -errno : sd_event_add_io(event, &watch->source, watch->fd, EPOLLIN, on_events, watch);
        if (r >= 0)
                r = sd_event_source_set_priority(watch->source, WATCH_PRIORITY);
        if (r < 0) {
                if (watch->fd == fd)
                        watch->fd = -EBADF; /* still the caller's */
                node_watch_free(watch);
                return r;
        }

        *ret = watch;
        return 0;
}

NodeWatch *node_watch_free(NodeWatch *watch) {
        if (!watch)
                return NULL;

        HASH_CLEAR(hh, watch->nodes);
        sd_event_source_disable_unref(watch->source);
        safe_close(watch->fd);
        free(watch);
        return NULL;
}

int node_watch_fd(const NodeWatch *watch) {
        return watch->fd;
}

int node_watch_add_path(NodeWatch *watch, Node *node, const char *path, bool has_reader, void (*changed)(Node *node)) {
        Node *twin;
        int wd;

        wd = inotify_add_watch(watch->fd, path, IN_OPEN | IN_CLOSE);
        if (wd < 0)
                return -errno;

        HASH_FIND_INT(watch->nodes, &wd, twin);
        if (twin)
                return -EEXIST;

        *node = (Node){ .wd = wd, .has_reader = has_reader, .changed = changed };
        HASH_ADD_INT(watch->nodes, wd, node);
        return 0;
}

int node_watch_add(NodeWatch *watch, Node *node, int fd, bool has_reader, void (*changed)(Node *node)) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return node_watch_add_path(watch, node, path, has_reader, changed);
}

void node_watch_remove(NodeWatch *watch, Node *node) {
        if (!watch || node->wd < 0)
                return;

        HASH_DEL(watch->nodes, node);
        (void) inotify_rm_watch(watch->fd, node->wd);
        node->wd = -1;
}

void node_watch_let_go(NodeWatch *watch, Node *node) {
        node_watch_process(watch); /* what ended until now was not ours */
        node->letting_go = true;
        if (node->n_others > 0)
                log_debug("files of somebody else that are open of a node that is being let go: %u", node->n_others);
}
