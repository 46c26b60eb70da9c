/* SPDX-License-Identifier: MIT */
#pragma once

/* The service manager keeps our descriptors while we are not there. */

#include <uthash.h>

/* The most descriptors that can be stored one by one: their names come back in LISTEN_FDNAMES, each an id of 16 characters
 * and a colon, some with a suffix, beside the bundles with short names (fd-bundle.h). The kernel starts no program with an
 * environment variable of 128 KiB or more: with more of them the broker could never be started again.
 * FileDescriptorStoreMax= in the unit must not be less than all together, for the service manager drops what goes beyond
 * it without a word. */
#define FD_STORE_MAX 5000

/* One descriptor it kept. */
typedef struct StoredFd {
        char *name;
        int fd; /* -EBADF once somebody has taken it */
        UT_hash_handle hh;
} StoredFd;

/* What the names mean: an allocation's id is its memory, the id and this its memory for reading only. */
#define FD_STORE_READ_ONLY "-ro"
/* The watch over device nodes. */
#define FD_STORE_WATCH "watch"
/* That many are stored beside those of allocations. */
#define FD_STORE_OTHERS 4

/* Gives it a descriptor under a name. 1 if it was told, 0 if there is no service manager. May block. */
int fd_store_push(const char *name, int fd);

/* The same for memory that has no bytes left when it is removed, under the id of an allocation: it is put into a bundle. */
int fd_store_push_memory(const char *id, int fd);

/* That, without blocking: -EAGAIN if it would have to. */
int fd_store_try_push_memory(const char *id, int fd);

/* Tells it to drop the descriptor. Nothing else can be done about an error than to say so. May block. */
int fd_store_remove(const char *name);

/* What it kept for us; once per process. Entries that are not ours are closed. */
int fd_store_take(StoredFd **ret);

/* The descriptor kept under this name, now the caller's; -EBADF if there is none. */
int fd_store_find(StoredFd *store, const char *name);

/* Closes what nobody took; the service manager keeps its own. Returns NULL. */
StoredFd *fd_store_free(StoredFd *store);
