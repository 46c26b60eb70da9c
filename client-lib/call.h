/* SPDX-License-Identifier: MIT */
#pragma once

#include "daxbroker.h"
#include "error.h"

/* One method call: what is said, and how the answer is read. Plain data, so that it can be said again. */

typedef struct Call {
        const char *path, *interface, *member;

        /* Adds the arguments; NULL for none. */
        int (*append)(sd_bus_message *message, const void *arguments);
        const void *arguments;

        /* Reads the reply; NULL if there is nothing in it. Its error is final, and its own to describe. */
        int (*parse)(sd_bus_message *reply, const void *arguments, void *result);
        void *result;

        bool interactive; /* polkit may ask for a password */
        bool slow;        /* it takes its time even if all is well */
        bool once;        /* doing it twice is not the same as doing it once */
} Call;

/* How long a call is made again and again while the service is away. */
#define CALL_PATIENCE_USEC (5 * USEC_PER_SEC)

/* Pauses between attempts grow up to a quarter of a second. */
uint64_t call_pause(unsigned attempt);

/* Microseconds that the service has for its answer. */
uint64_t call_timeout(const Call *call);

/* Whether a call that met this fate may be made again. */
bool call_is_repeatable(const Call *call, Fate fate, int local, bool service_was_seen);

/* Notes the sentence for a call that failed for good and returns its errno. */
int call_fail(const Call *call, Fate fate, const sd_bus_error *error, int local);

int call_new_message(const Call *call, sd_bus *bus, sd_bus_message **ret, sd_bus_error *error);

/* Takes in what has arrived and calls who waits for it; 0 if there is nothing. -EMFILE: descriptors came that
 * the kernel could not deliver, since our table is full; sd-bus has a word of its own for that. The
 * connection is of no use then. */
int call_process(sd_bus *bus);

/* What is wrong with a reply, NULL if nothing is. sd-bus has one name for "took too long" and for "went
 * away"; the time by which there should have been an answer tells which it was. */
const sd_bus_error *call_get_error(sd_bus_message *reply, uint64_t answer_by);

/* Makes the call and waits for the answer. ret_acted, if not NULL, is set, also on failure: whether an
 * earlier attempt may have been acted on although its answer never came. */
int call_run(daxbroker_client *client, const Call *call, bool *ret_acted);

/* Parsers that several calls share. */
int call_parse_string(sd_bus_message *reply, const void *arguments, void *result); /* char **, to be freed */
int call_append_string(sd_bus_message *message, const void *arguments);           /* const char * */
