/* SPDX-License-Identifier: MIT */
#pragma once

/* A thread for work that shall only be done while no processor has anything better to do. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct Idler Idler;

typedef struct IdleWork {
        void (*work)(void *userdata); /* called in the thread */
        void (*done)(void *userdata); /* called in the event loop */
        void *userdata;
} IdleWork;

int idler_new(sd_event *event, Idler **ret);

/* Only when no thread is at work, which idler_is_busy() tells; it is until done() is called. */
int idler_start(Idler *idler, const IdleWork *work);
bool idler_is_busy(const Idler *idler);

/* Waits for work() to return, for at most so many microseconds, and calls done(). False if it did not: then what it works
 * with must stay as it is until the process ends. */
bool idler_drain(Idler *idler, uint64_t grace);
/* done() is not called any more. */
Idler *idler_free(Idler *idler);
