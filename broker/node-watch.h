/* SPDX-License-Identifier: MIT */
#pragma once

/* When has everybody let go of a device node? The kernel reports the end of an open file when its last descriptor, in any
 * process or in flight between two, and its last mapping are gone. So the broker hands out copies of one open file of each
 * kind, for writing and for reading only, and waits for the end of those.
 *
 * The inotify instance is kept by the service manager like the descriptors of the memory: what happens while there is no
 * broker waits in its queue. */

#include <stdbool.h>
#include <systemd/sd-event.h>
#include <uthash.h>

typedef struct NodeWatch NodeWatch;

/* One node, embedded in what is about it. */
typedef struct Node {
        int wd;            /* -1 if it is not watched */
        bool letting_go;   /* our own copies are closed, or are being closed */
        bool has_reader;   /* there was a file for reading only */
        bool writer_gone, reader_gone;
        bool doubtful;     /* events were lost, or cannot be told from those of somebody else's files */
        unsigned n_others; /* files that somebody else has open: an admin, nobody else can */
        void (*changed)(struct Node *node);
        UT_hash_handle hh;
} Node;

/* fd is an instance that an earlier broker has used, taken over, or -EBADF. */
int node_watch_new(sd_event *event, int fd, NodeWatch **ret);
NodeWatch *node_watch_free(NodeWatch *watch);
int node_watch_fd(const NodeWatch *watch);

/* Watches the node that fd is open on; a node that is watched already by this instance goes on. */
int node_watch_add(NodeWatch *watch, Node *node, int fd, bool has_reader, void (*changed)(Node *node));
/* The same by name, for a node that we have no descriptor of. */
int node_watch_add_path(NodeWatch *watch, Node *node, const char *path, bool has_reader, void (*changed)(Node *node));
void node_watch_remove(NodeWatch *watch, Node *node);

/* From now on, the end of a file is one of those that were handed out. changed() is called whenever something is new. */
void node_watch_let_go(NodeWatch *watch, Node *node);

/* Whether all that was handed out is gone, for sure. */
bool node_is_drained(const Node *node);

/* Whether this kernel reports the end of descriptors that only name a file (O_PATH), too. Anybody can open such ones of any
 * node, so anybody could then make it seem that the reader of it has gone. Fixed in Linux 6.10, and in older ones that are
 * maintained since the middle of 2024. */
bool node_watch_can_be_deceived(void);

/* Looks at events that have arrived, now. */
void node_watch_process(NodeWatch *watch);
