/* SPDX-License-Identifier: MIT */

/* The one lock of the library.
 *
 * It guards the pools of idle connections, the list of all connections, the addresses that
 * daxbroker_alloc() handed out, and libpmem2's book of mappings. All of these are touched for
 * microseconds, so one lock is enough, and one lock is what fork() can be made safe with: it is taken
 * before the fork and released on both sides, so a child never inherits it locked by a thread that it has
 * not got.
 *
 * What must not be shared with a parent are its sockets: two processes writing to one would destroy the
 * stream for both. The child closes its copies before fork() returns. */

#include "lock.h"

#include "connection.h"

#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void library_lock(void) {
        (void) pthread_mutex_lock(&mutex);
}

void library_unlock(void) {
        (void) pthread_mutex_unlock(&mutex);
}

static void library_after_fork_in_child(void) {
        connection_disown_all();
        library_unlock();
}

__attribute__((constructor)) static void library_watch_forks(void) {
        /* Failing means being out of memory before main(). Connections notice a fork by their pid as
         * well. */
        (void) pthread_atfork(library_lock, library_unlock, library_after_fork_in_child);
}
