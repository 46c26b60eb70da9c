/* SPDX-License-Identifier: MIT */
#pragma once

/* Reads the a{sv} options that methods end with. */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-bus.h>

#include "failure.h"
#include "request.h"

/* One option that a method knows: where its value goes in a structure, and where it is noted that it was given. */
typedef struct Option {
        const char *name;
        char type; /* s, o, u, t or b; a b is stored as bool */
        size_t value, given; /* offsets; given is of a bool, or OPTION_NOT_NOTED */
} Option;

#define OPTION_NOT_NOTED SIZE_MAX

/* Reads a dictionary at the message's position into target. Strings are borrowed from the message. BadOption for one that
 * is unknown, given twice, or of another type. The table ends with a NULL name. */
int options_read(sd_bus_message *message, const Option *table, void *target, Failure *failure);

/* Reads size, alignment and options of Allocate and Check. */
int request_read(sd_bus_message *message, Request *ret, Failure *failure);

/* Reads size and options of Reserve. */
int reserve_request_read(sd_bus_message *message, Request *ret, Failure *failure);

/* Reads the options of Open. */
int open_options_read(sd_bus_message *message, bool *ret_read_only, Failure *failure);

/* Reads the options of Revoke. */
int revoke_options_read(sd_bus_message *message, bool *ret_despite_references, Failure *failure);

/* Reads the options of SetOwner; *ret_name is NULL if there is no such option, else borrowed from the message. */
int owner_options_read(sd_bus_message *message, const char **ret_name, Failure *failure);

/* Of a page of a list: it begins behind the id "after", "" for the first one, and has up to limit entries. */
typedef struct PageOptions {
        const char *after; /* borrowed from the message */
        uint32_t limit;
} PageOptions;

/* Reads the options of ListAllocationsPaged and its like; the object to begin behind has to be below the parent, and max is
 * what a page has at most. */
int page_options_read(sd_bus_message *message, const char *parent, uint32_t max, PageOptions *ret, Failure *failure);

/* Reads options where there are none yet. */
int no_options_read(sd_bus_message *message, Failure *failure);
