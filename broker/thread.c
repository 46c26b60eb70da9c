/* SPDX-License-Identifier: MIT */

/* How all threads of the broker are started: with stacks of a size that is known, for there can be more than a hundred. */

#include "thread.h"

int thread_start(size_t stack, void *(*run)(void *userdata), void *userdata, pthread_t *ret_thread) {
        pthread_attr_t attributes;
        pthread_t thread;
        int r;

        r = pthread_attr_init(&attributes);
        if (r != 0)
                return -r;
        (void) pthread_attr_setstacksize(&attributes, stack);
        if (!ret_thread)
                (void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        r = pthread_create(&thread, &attributes, run, userdata);
        (void) pthread_attr_destroy(&attributes);
        if (r != 0)
                return -r;

        if (ret_thread)
                *ret_thread = thread;
        return 0;
}
