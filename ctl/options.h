/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Every option there is, as a bit: what a command takes, and what was given, are sets of them. */
typedef enum OptionSet {
        OPTION_SIZE = 1 << 0,
        OPTION_ALIGN = 1 << 1,
        OPTION_REGION = 1 << 2,
        OPTION_NAME = 1 << 3,
        OPTION_MODE = 1 << 4,
        OPTION_GROUP = 1 << 5,
        OPTION_NUMA_NODE = 1 << 6,
        OPTION_PAGE_SIZE = 1 << 7,
        OPTION_PREFAULT = 1 << 8,
        OPTION_PERSISTENT = 1 << 9,
        OPTION_INTERACTIVE = 1 << 10,
        OPTION_NO_ASK_PASSWORD = 1 << 11,
        OPTION_NO_HOLD = 1 << 12,
        OPTION_READ_ONLY = 1 << 13,
        OPTION_USER = 1 << 14,
        OPTION_JSON = 1 << 15,
        OPTION_NO_LEGEND = 1 << 16,
        OPTION_HELP = 1 << 17,
        OPTION_VERSION = 1 << 18,
        OPTION_PREFER = 1 << 19,
        OPTION_CONTIGUOUS = 1 << 20,
        OPTION_FORCE = 1 << 21,
        OPTION_OWNER = 1 << 22,
        OPTION_RESERVE = 1 << 23,
        OPTION_GRANT = 1 << 24,
} OptionSet;

/* What describes a piece of memory; whether a password may be asked for; what every command takes. */
#define OPTIONS_REQUEST                                                                                \
        (OPTION_SIZE | OPTION_ALIGN | OPTION_REGION | OPTION_NAME | OPTION_MODE | OPTION_GROUP |       \
         OPTION_NUMA_NODE | OPTION_PAGE_SIZE | OPTION_PREFAULT | OPTION_PERSISTENT | OPTION_PREFER |   \
         OPTION_CONTIGUOUS | OPTION_RESERVE | OPTION_GRANT)
/* What describes a grant. */
#define OPTIONS_RESERVE                                                                                \
        (OPTION_SIZE | OPTION_ALIGN | OPTION_REGION | OPTION_NUMA_NODE | OPTION_PAGE_SIZE |            \
         OPTION_PREFER | OPTION_CONTIGUOUS | OPTION_PERSISTENT)
#define OPTIONS_ASK (OPTION_INTERACTIVE | OPTION_NO_ASK_PASSWORD)
#define OPTIONS_ALWAYS (OPTION_HELP | OPTION_VERSION)

typedef enum JsonMode {
        JSON_OFF,
        JSON_SHORT,
        JSON_PRETTY,
} JsonMode;

typedef struct Command Command;

/* A command line that was understood. Strings are borrowed from argv. */
typedef struct Options {
        const Command *command; /* NULL with only --help or --version */
        OptionSet given;

        char **arguments;
        int n_arguments;
        char **program; /* what follows "--" where a command may follow; NULL if nothing does */

        uint64_t size;
        uint64_t alignment;
        uint64_t page_size;
        const char *region;
        const char *name;
        mode_t mode;
        gid_t group;
        unsigned numa_node;
        bool interactive;

        const char *prefer;
        const char *grant;
        unsigned force; /* how often */

        const char *user;
        const char *owner;
        JsonMode json;
} Options;

/* One line of a help text. */
typedef struct OptionHelp {
        OptionSet option;
        const char *text; /* "--size=BYTES" */
        const char *meaning;
} OptionHelp;

/* Ends with a NULL text. */
extern const OptionHelp option_help[];

/* Reads the command line and complains about what is wrong with it. argv is reordered. Errors: EINVAL. */
int options_parse(int argc, char *argv[], Options *ret);

/* "0640" and nothing else; permission bits only. Errors: EINVAL. */
int mode_parse(const char *text, mode_t *ret);
