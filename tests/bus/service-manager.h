/* SPDX-License-Identifier: MIT */
#pragma once

/* Systemd's part in a world without systemd: it takes notifications, keeps descriptors, and gives them to the next
 * broker. All functions may be called while the broker runs; a thread reads the socket, so that no broker ever waits. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ServiceManager ServiceManager;

ServiceManager *service_manager_new(void);
ServiceManager *service_manager_free(ServiceManager *manager);

/* How many descriptors it keeps at most; what comes on top is dropped silently, as systemd does. */
void service_manager_set_fd_max(ServiceManager *manager, unsigned max);

/* In the process that will be the broker, before it gives up root: sets the environment and puts the stored descriptors
 * where they belong. fds and names come from service_manager_prepare(), called before the fork. */
typedef struct Inheritance {
        unsigned n;
        int *fds;
        char *names; /* joined by ':' */
} Inheritance;
void service_manager_prepare(ServiceManager *manager, Inheritance *ret);
void inheritance_apply(const Inheritance *inheritance, const char *notify_socket);
void inheritance_clear(Inheritance *inheritance);
const char *service_manager_get_socket(ServiceManager *manager);

/* Whose messages count from now on (NotifyAccess=main). What the predecessor said is forgotten, what it stored is kept. */
void service_manager_set_main(ServiceManager *manager, pid_t pid);

/* Waits until the broker has said READY=1 that many times since it was started. false when the time is over or the
 * process is gone. */
bool service_manager_wait_ready(ServiceManager *manager, unsigned times, unsigned seconds);

unsigned service_manager_count_ready(ServiceManager *manager);
unsigned service_manager_count_reloading(ServiceManager *manager);
unsigned service_manager_count_stopping(ServiceManager *manager);
unsigned service_manager_count_watchdog(ServiceManager *manager);
/* The last STATUS=, or "". g_free() it. */
char *service_manager_get_status(ServiceManager *manager);

/* Descriptors it keeps: of that name; or all that are something or have something in them (NULL). */
unsigned service_manager_count_fds(ServiceManager *manager, const char *name);
/* Bundles with nothing in them, of which a broker has at most one. */
unsigned service_manager_count_empty(ServiceManager *manager);
/* Their names, sorted, one a line; g_free() it. */
char *service_manager_list_fds(ServiceManager *manager);
/* A duplicate of the first of that name, or -1. */
int service_manager_dup_fd(ServiceManager *manager, const char *name);
/* Drops those of that name, or all (NULL), as "systemctl stop" does. */
void service_manager_drop_fds(ServiceManager *manager, const char *name);
