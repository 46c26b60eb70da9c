/* SPDX-License-Identifier: MIT */
#pragma once

#include "complaint.h"
#include "options.h"

#include <stdio.h>

/* A command of the tool: what it is called, what it takes, what it does. */
struct Command {
        const char *name;
        const char *synopsis; /* of its arguments */
        const char *meaning;
        OptionSet options;  /* those it takes */
        OptionSet required; /* those it cannot do without */
        int arguments_min, arguments_max;
        bool takes_program; /* a command line to run may follow, after "--" */
        bool program_gets_grant; /* and no memory */
        bool needs_program; /* … must follow; "--" may be left out */
        Status (*run)(const Options *options);
};

/* Ends with a NULL name. */
extern const Command commands[];

/* NULL if there is none of this name. */
const Command *command_find(const char *name);

/* What --help prints; NULL for the tool as a whole. */
void help_print(const Command *command, FILE *file);

Status command_adopt(const Options *options);
Status command_alloc(const Options *options);
Status command_check_policy(const Options *options);
Status command_free(const Options *options);
Status command_grant(const Options *options);
Status command_grants(const Options *options);
Status command_list(const Options *options);
Status command_monitor(const Options *options);
Status command_open(const Options *options);
Status command_regions(const Options *options);
Status command_release(const Options *options);
Status command_reload(const Options *options);
Status command_rename(const Options *options);
Status command_resize(const Options *options);
Status command_run(const Options *options);
Status command_set_mode(const Options *options);
Status command_set_owner(const Options *options);
Status command_show(const Options *options);
