/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>
#include <stddef.h>

/* Starts a thread with a stack of this many bytes. ret_thread is to be joined; if it is NULL, the thread is detached.
 * Returns 0, or -errno: -EAGAIN where there can be no more of them. */
int thread_start(size_t stack, void *(*run)(void *userdata), void *userdata, pthread_t *ret_thread);
