/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>

/* Errors: the sentence of the thread's last failure, and what an error from the bus means. */

/* What became of a call that did not succeed. */
typedef enum Fate {
        FATE_ANSWERED,    /* the answer is no, or the call was never fit to be sent: final */
        FATE_UNDELIVERED, /* nobody was there to act on it */
        FATE_LOST,        /* the service or the bus went away in the middle: perhaps it was acted on */
} Fate;

/* Notes the sentence for daxbroker_last_error() and returns error, a negative errno. */
int error_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a failed system call: "what: strerror". */
int error_set_errno(int error, const char *what);

/* The same for an error of the bus; local is what sd-bus returned and counts if the name says nothing. */
int error_set_bus(const sd_bus_error *bus_error, int local);

/* The negative errno for the name of a D-Bus error. */
int error_number(const char *name, int local);

/* Whether it is the service itself that says no. */
bool error_is_refusal(const char *name);

Fate error_fate(const char *name, int local);
