/* SPDX-License-Identifier: MIT */
#pragma once

/* A running broker as an object: the program that the environment variable DAXBROKERD names, as user daxbroker, with
 * folders of its own and a service manager. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "service-manager.h"

typedef struct Broker {
        ServiceManager *manager;
        pid_t pid; /* 0 when it does not run */
        char *directory;
        char *configuration; /* the folders below it */
        char *runtime;
        char *state;
        char *log;
        int socket; /* where it listens for direct connections, if the service manager made that; else -1 */
        char *files; /* where the memory is, if it is files; else NULL */

        /* May be changed before broker_start(): */
        bool has_manager;       /* true: notifications and fd store; false: nobody is there */
        uint64_t watchdog_usec; /* 0 for none */
        uint64_t max_fds;       /* RLIMIT_NOFILE; 0 for what the unit sets, as far as this machine allows */
        char **environment;     /* more variables, NAME=VALUE; borrowed */
} Broker;

/* With this text as its configuration (NULL for none); not started yet. */
Broker *broker_new(const char *configuration);
/* Stops it first if it runs. Its folders go, too. */
Broker *broker_free(Broker *broker);

/* Replaces the configuration; it is read at the next start or reload. */
void broker_configure(Broker *broker, const char *configuration);

/* Makes RUNTIME_DIRECTORY a file system of its own with these mount options, such as "size=64k,nr_inodes=32"; call it
 * again to change them, NULL to undo. */
void broker_limit_runtime(Broker *broker, const char *options);
/* Takes all that this file system has room for; and gives it back. */
void broker_fill_runtime(Broker *broker);
void broker_unfill_runtime(Broker *broker);

/* Starts it and waits until it is ready. */
void broker_start(Broker *broker);
/* Starts it and does not wait. */
void broker_launch(Broker *broker);
/* Starts it, and that has to fail; returns its exit status. */
int broker_start_failing(Broker *broker);
/* SIGTERM. It has to end with status 0, soon. */
void broker_stop(Broker *broker);
/* SIGKILL. */
void broker_kill(Broker *broker);
/* Stop and start. */
void broker_restart(Broker *broker);
/* SIGHUP, and waits until it says that it is done. */
void broker_reload(Broker *broker);
/* Whether the process is still there; if it ended by itself, its log is printed. */
bool broker_is_running(Broker *broker);

unsigned broker_count_fds(Broker *broker);
/* Bytes of resident memory that is its own (not shared, as mappings of memfds are). */
uint64_t broker_get_rss(Broker *broker);
/* Entries of RUNTIME_DIRECTORY and its subfolders, folders not counted. */
unsigned broker_count_runtime_files(Broker *broker);
void broker_print_runtime_files(Broker *broker);

/* Everything it said so far; g_free() it. */
char *broker_get_log(Broker *broker);
/* How much that is: a place to search from. */
size_t broker_mark_log(Broker *broker);
/* How many lines after that place match the regular expression. */
unsigned broker_count_log(Broker *broker, size_t mark, const char *regex);
/* Waits for such a line, for at most ten seconds. */
bool broker_wait_log(Broker *broker, size_t mark, const char *regex);
/* Into the test's output, when something went wrong. */
void broker_print_log(Broker *broker);
