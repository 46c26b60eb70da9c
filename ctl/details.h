/* SPDX-License-Identifier: MIT */
#pragma once

#include <daxbroker.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* One allocation as the service describes it; what is not told is 0 or "". Strings belong to the info. */
typedef struct Details {
        const char *object;
        const char *id; /* the last part of the object */
        const char *name;
        const char *region;
        const char *grant; /* the object of the one that it was taken from */
        const char *owner_name; /* NULL if it is not told; "" if he is gone */
        const char *device;
        const char *ranges; /* "OFFSET+LENGTH OFFSET+LENGTH" */
        const char *state;
        const char *reason;
        const char *holder_unit;
        uint64_t holder_pid;
        uint64_t owner;
        uint64_t group;
        uint64_t mode;
        uint64_t offset;
        uint64_t length;
        uint64_t alignment;
        uint64_t page_size;
        uint64_t cleaned;
        uint64_t created;
        uint64_t persistent;
        uint64_t reserve;
        uint64_t in_use;
} Details;

/* The value of group that means none. */
#define DETAILS_NO_GROUP UINT32_MAX
/* The value of owner that means nobody. */
#define DETAILS_NOBODY UINT32_MAX

/* NULL gives details that tell nothing. */
Details details_read(const daxbroker_info *info);

/* What people call it: its name, else its id. */
const char *details_get_title(const Details *details);

/* Enough for any state. */
#define STATE_TEXT_MAX 64

/* "live", or "cleaning 45 %". Returns text. */
char *details_format_state(const Details *details, char text[static STATE_TEXT_MAX]);

/* Its owner's name; his uid, and that he is gone, if no user or another one has that today; "-" if it is nobody's. Returns
 * text. */
#define OWNER_TEXT_MAX 288
char *details_format_owner(const Details *details, char text[static OWNER_TEXT_MAX]);

/* Whether it is being zeroed. */
bool details_is_cleaning(const Details *details);

/* Takes the next of the ranges off the text. */
bool ranges_read(const char **ranges, uint64_t *ret_offset, uint64_t *ret_length);

/* Units have names of up to 255 bytes. */
#define HOLDER_TEXT_MAX 288

/* "firefox.service[4711]", or what is known of it; "-" if nothing is. Returns text. */
char *details_format_holder(const Details *details, char text[static HOLDER_TEXT_MAX]);

/* NULL if out of memory. */
json_t *details_to_json(const Details *details);

/* Single properties; "" and 0 if info is NULL or there is none of this name and type. */
const char *info_string(const daxbroker_info *info, const char *property);
uint64_t info_number(const daxbroker_info *info, const char *property);
