/* SPDX-License-Identifier: MIT */

/* The commands, in the order in which a newcomer meets them, and the help texts, which are made from the
 * same tables that the command line is judged by. */

#include "command.h"

#include <limits.h>
#include <string.h>

const Command commands[] = {
        {
                .name = "regions",
                .synopsis = "",
                .meaning = "List where memory can be had from",
                .options = OPTION_JSON | OPTION_NO_LEGEND,
                .run = command_regions,
        },
        {
                .name = "list",
                .synopsis = "",
                .meaning = "List allocations: your own, and those that you may see",
                .options = OPTION_JSON | OPTION_NO_LEGEND,
                .run = command_list,
        },
        {
                .name = "show",
                .synopsis = "NAME|ID",
                .meaning = "Show everything about one allocation",
                .options = OPTION_JSON,
                .arguments_min = 1,
                .arguments_max = 1,
                .run = command_show,
        },
        {
                .name = "run",
                .synopsis = "[--] COMMAND [ARGUMENT...]",
                .meaning = "Run a command that inherits a new allocation",
                .options = OPTIONS_REQUEST | OPTIONS_ASK,
                .required = OPTION_SIZE,
                .takes_program = true,
                .needs_program = true,
                .run = command_run,
        },
        {
                .name = "alloc",
                .synopsis = "",
                .meaning = "Allocate memory and hold it until interrupted",
                .options = OPTIONS_REQUEST | OPTIONS_ASK | OPTION_NO_HOLD | OPTION_JSON,
                .required = OPTION_SIZE,
                .run = command_alloc,
        },
        {
                .name = "open",
                .synopsis = "NAME [-- COMMAND [ARGUMENT...]]",
                .meaning = "Open a named allocation: hold it, or run a command that inherits it",
                .options = OPTION_READ_ONLY | OPTIONS_ASK | OPTION_JSON,
                .arguments_min = 1,
                .arguments_max = 1,
                .takes_program = true,
                .run = command_open,
        },
        {
                .name = "free",
                .synopsis = "NAME|ID...",
                .meaning = "End allocations, for everybody who holds them",
                .options = OPTION_FORCE,
                .arguments_min = 1,
                .arguments_max = INT_MAX,
                .run = command_free,
        },
        {
                .name = "grant",
                .synopsis = "[-- COMMAND [ARGUMENT...]]",
                .meaning = "Have memory kept free for you: until interrupted, or while a command runs",
                .options = OPTIONS_RESERVE | OPTIONS_ASK | OPTION_JSON,
                .required = OPTION_SIZE,
                .takes_program = true,
                .program_gets_grant = true,
                .run = command_grant,
        },
        {
                .name = "grants",
                .synopsis = "",
                .meaning = "List what is kept free: your own, and what you may see",
                .options = OPTION_JSON | OPTION_NO_LEGEND,
                .run = command_grants,
        },
        {
                .name = "release",
                .synopsis = "GRANT...",
                .meaning = "End grants, whoever holds them",
                .arguments_min = 1,
                .arguments_max = INT_MAX,
                .run = command_release,
        },
        {
                .name = "set-mode",
                .synopsis = "NAME|ID MODE",
                .meaning = "Change who may open an allocation from now on (MODE as in chmod: 0640)",
                .arguments_min = 2,
                .arguments_max = 2,
                .run = command_set_mode,
        },
        {
                .name = "rename",
                .synopsis = "NAME|ID NEW-NAME",
                .meaning = "Give an allocation another name",
                .arguments_min = 2,
                .arguments_max = 2,
                .run = command_rename,
        },
        {
                .name = "resize",
                .synopsis = "NAME|ID BYTES",
                .meaning = "Make an allocation longer or shorter (BYTES like 64M)",
                .arguments_min = 2,
                .arguments_max = 2,
                .run = command_resize,
        },
        {
                .name = "set-owner",
                .synopsis = "NAME|ID USER",
                .meaning = "Give an allocation to another user, for administrators",
                .arguments_min = 2,
                .arguments_max = 2,
                .run = command_set_owner,
        },
        {
                .name = "adopt",
                .synopsis = "ID",
                .meaning = "Give what was found and is nobody's to a user, for administrators",
                .options = OPTION_OWNER | OPTION_NAME,
                .required = OPTION_OWNER,
                .arguments_min = 1,
                .arguments_max = 1,
                .run = command_adopt,
        },
        {
                .name = "check-policy",
                .synopsis = "",
                .meaning = "Tell whether a request would be granted, and if not, why",
                .options = OPTIONS_REQUEST | OPTION_USER | OPTION_JSON,
                .required = OPTION_SIZE,
                .run = command_check_policy,
        },
        {
                .name = "monitor",
                .synopsis = "",
                .meaning = "Tell what comes, changes and goes, until interrupted",
                .options = OPTION_JSON,
                .run = command_monitor,
        },
        {
                .name = "reload",
                .synopsis = "",
                .meaning = "Make the service read its configuration again",
                .run = command_reload,
        },
        {},
};

const Command *command_find(const char *name) {
        for (const Command *command = commands; command->name; command++)
                if (strcmp(command->name, name) == 0)
                        return command;
        return NULL;
}

static void options_print(OptionSet options, FILE *file) {
        fputs("\nOptions:\n", file);
        for (const OptionHelp *help = option_help; help->text; help++)
                if (options & help->option)
                        fprintf(file, "  %-27s %s\n", help->text, help->meaning);
}

static void command_help_print(const Command *command, FILE *file) {
        fprintf(file,
                "Usage: daxbrokerctl %s [OPTION...]%s%s\n\n%s.\n",
                command->name,
                *command->synopsis ? " " : "",
                command->synopsis,
                command->meaning);
        options_print(command->options | OPTIONS_ALWAYS, file);
        if (command->options & OPTION_SIZE)
                fputs("\nBYTES are written like 4096, 64M, 64MiB or 1.5G; the base is 1024.\n", file);
        if (command->program_gets_grant)
                fputs("\nThe command finds the grant's object in DAXBROKER_GRANT; what it runs takes from it with\n"
                      "--grant=\"$DAXBROKER_GRANT\". Its exit status is passed on.\n",
                      file);
        else if (command->takes_program)
                fputs("\nThe command finds the memory in the environment: DAXBROKER_FD, DAXBROKER_OFFSET,\n"
                      "DAXBROKER_LENGTH and DAXBROKER_LEASE_FD. Its exit status is passed on.\n",
                      file);
}

void help_print(const Command *command, FILE *file) {
        if (command) {
                command_help_print(command, file);
                return;
        }

        fputs("Usage: daxbrokerctl COMMAND [OPTION...] [ARGUMENT...]\n\n"
              "Memory from the daxbroker service.\n\n"
              "Commands:\n",
              file);
        for (command = commands; command->name; command++)
                fprintf(file, "  %-13s %s\n", command->name, command->meaning);
        options_print(OPTION_JSON | OPTION_NO_LEGEND | OPTIONS_ALWAYS, file);
        fputs("\n'daxbrokerctl COMMAND --help' tells more about a command. See daxbrokerctl(1).\n", file);
}
