/* SPDX-License-Identifier: MIT */
#pragma once

/* Many descriptors that the service manager keeps as one: they lie in the queue of a socket, and that is what it is given.
 * So there can be far more of them than names fit into LISTEN_FDNAMES, and storing one more costs it nothing.
 *
 * What lies in a queue cannot be taken out of its middle. A descriptor that was removed stays until its bundle is dropped,
 * which is when half of what is in it has been removed, or all of it: only what needs no closing, since nothing is left in
 * it by then, may be put into one. All functions may be called in any thread. None waits for an answer; but all except
 * fd_bundle_try_add() may have to wait until the service manager takes what it is sent. */

#include <stdbool.h>
#include <stdint.h>

/* So many descriptors are in one at most, */
#define FD_BUNDLE_MAX 128
/* and so many bundles there are. */
#define FD_BUNDLES_MAX 2048

/* Keeps a copy of fd under this id, of 16 hexadecimal digits, that nothing else has or has had. 1 if it is kept, 0 without a
 * service manager; -ENOSPC if there are too many bundles, -ETOOMANYREFS if the limit of open files is reached. */
int fd_bundle_add(const char *id, int fd);

/* The same, but -EAGAIN where it would have to wait: for another thread, or for a new bundle to be given away. */
int fd_bundle_try_add(const char *id, int fd);

/* Whether it was there. */
bool fd_bundle_remove(const char *id);

/* Whether a stored descriptor of this name is a bundle. */
bool fd_bundle_is_name(const char *name);

/* Takes over a bundle of an earlier broker, and gives each descriptor in it to the function, which takes it over. An id that
 * another bundle has brought already is that same descriptor, and left out. Returns what the function does if that is
 * negative, or -errno: the rest of what is in the bundle is lost to us then. */
typedef int (*FdBundleHandler)(const char *id, int fd, void *userdata);
int fd_bundle_take(const char *name, int bundle, FdBundleHandler handler, void *userdata);

/* Puts together what is less than half full, once all that there was has been taken. */
void fd_bundle_tidy(void);

/* Forgets all, without telling the service manager. For tests. */
void fd_bundle_forget(void);
