/* SPDX-License-Identifier: MIT */

/* The command line. There is one table of options; each command states which of them it takes, so that an
 * option that would have no effect is an error and never ignored. Whatever is wrong is told here, with
 * what would be right. */

#include "options.h"
#include "command.h"
#include "size.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const OptionHelp option_help[] = {
        { OPTION_SIZE, "--size=BYTES", "how much; required" },
        { OPTION_ALIGN, "--align=BYTES", "alignment, a power of two (default: a page)" },
        { OPTION_REGION, "--region=REGION", "where from (default: the service's default region)" },
        { OPTION_PREFER, "--prefer=WHAT", "instead: from what is best at bandwidth, latency or capacity" },
        { OPTION_NAME, "--name=NAME", "give it a name: it then stays until it is freed" },
        { OPTION_MODE, "--mode=MODE", "who may open it by name, as in chmod (default: 0600)" },
        { OPTION_GROUP, "--group=GROUP", "the group that the mode's group bits mean" },
        { OPTION_NUMA_NODE, "--numa-node=NODE", "take it from this NUMA node" },
        { OPTION_PAGE_SIZE, "--page-size=BYTES", "have pages of exactly this size, or fail" },
        { OPTION_CONTIGUOUS, "--contiguous", "have it in one range of physical addresses, or fail" },
        { OPTION_PREFAULT, "--prefault", "have all of the memory present at once" },
        { OPTION_PERSISTENT, "--persistent", "contents must survive a reboot" },
        { OPTION_RESERVE, "--reserve", "with --name: have its place again after a reboot, empty" },
        { OPTION_GRANT, "--grant=GRANT", "take it from this grant: its object, or its ID" },
        { OPTION_OWNER, "--owner=USER", "whose it shall be, a name or a number" },
        { OPTION_INTERACTIVE, "--interactive", "a password may be asked for (default: on a terminal)" },
        { OPTION_NO_ASK_PASSWORD, "--no-ask-password", "never ask for a password" },
        { OPTION_NO_HOLD, "--no-hold", "with --name: leave it there and return at once" },
        { OPTION_READ_ONLY, "--read-only", "have a descriptor with which writing is impossible" },
        { OPTION_FORCE, "--force", "take it from who does not let go; twice: at any risk" },
        { OPTION_USER, "--user=USER", "ask for this user instead of yourself; for root only" },
        { OPTION_JSON, "--json[=pretty|short|off]",
          "print JSON (default: pretty on a terminal, else short)" },
        { OPTION_NO_LEGEND, "--no-legend", "leave out headers and the line that counts" },
        { OPTION_HELP, "-h, --help", "print this" },
        { OPTION_VERSION, "--version", "print the version" },
        {},
};

static const struct option long_options[] = {
        { "size", required_argument, NULL, OPTION_SIZE },
        { "align", required_argument, NULL, OPTION_ALIGN },
        { "region", required_argument, NULL, OPTION_REGION },
        { "prefer", required_argument, NULL, OPTION_PREFER },
        { "name", required_argument, NULL, OPTION_NAME },
        { "mode", required_argument, NULL, OPTION_MODE },
        { "group", required_argument, NULL, OPTION_GROUP },
        { "numa-node", required_argument, NULL, OPTION_NUMA_NODE },
        { "page-size", required_argument, NULL, OPTION_PAGE_SIZE },
        { "contiguous", no_argument, NULL, OPTION_CONTIGUOUS },
        { "prefault", no_argument, NULL, OPTION_PREFAULT },
        { "persistent", no_argument, NULL, OPTION_PERSISTENT },
        { "reserve", no_argument, NULL, OPTION_RESERVE },
        { "grant", required_argument, NULL, OPTION_GRANT },
        { "owner", required_argument, NULL, OPTION_OWNER },
        { "interactive", no_argument, NULL, OPTION_INTERACTIVE },
        { "no-ask-password", no_argument, NULL, OPTION_NO_ASK_PASSWORD },
        { "no-hold", no_argument, NULL, OPTION_NO_HOLD },
        { "read-only", no_argument, NULL, OPTION_READ_ONLY },
        { "force", no_argument, NULL, OPTION_FORCE },
        { "user", required_argument, NULL, OPTION_USER },
        { "json", optional_argument, NULL, OPTION_JSON },
        { "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
        { "help", no_argument, NULL, OPTION_HELP },
        { "version", no_argument, NULL, OPTION_VERSION },
        {},
};

/* The name as it was declared, for an error message. */
static const char *option_name(OptionSet option) {
        for (const struct option *o = long_options; o->name; o++)
                if ((OptionSet) o->val == option)
                        return o->name;
        return "?";
}

/* Digits only, in this base; strtoul() alone would take blanks and signs. */
static int number_parse(const char *text, int base, unsigned long max, unsigned long *ret) {
        unsigned long value;
        char *end;

        if (*text < '0' || *text > '9')
                return -EINVAL;

        errno = 0;
        value = strtoul(text, &end, base);
        if (errno != 0 || *end != '\0' || value > max)
                return -EINVAL;

        *ret = value;
        return 0;
}

int mode_parse(const char *text, mode_t *ret) {
        unsigned long mode;
        int r;

        r = number_parse(text, 8, 0777, &mode);
        if (r < 0)
                return r;

        *ret = (mode_t) mode;
        return 0;
}

static int option_parse_size(const char *option, const char *text, uint64_t *ret) {
        int r = size_parse(text, ret);

        if (r == -ERANGE)
                complain("--%s: '%s' is more than can be counted", option, text);
        else if (r < 0)
                complain("--%s: '%s' is not a size; write it like " SIZE_FORMS, option, text);
        return r < 0 ? -EINVAL : 0;
}

static int option_parse_group(const char *text, gid_t *ret) {
        const struct group *group = getgrnam(text);
        unsigned long gid;
        int r;

        if (group) {
                *ret = group->gr_gid;
                return 0;
        }

        /* the largest means "no group" everywhere */
        r = number_parse(text, 10, UINT32_MAX - 1, &gid);
        if (r < 0) {
                complain("--group: there is no group '%s'", text);
                return r;
        }

        *ret = (gid_t) gid;
        return 0;
}

static int option_parse_numa_node(const char *text, unsigned *ret) {
        unsigned long node;
        int r = number_parse(text, 10, UINT32_MAX, &node);

        if (r < 0) {
                complain("--numa-node: '%s' is not a node's number; see 'numactl --hardware'", text);
                return r;
        }

        *ret = (unsigned) node;
        return 0;
}

static int option_parse_json(const char *text, JsonMode *ret) {
        if (!text)
                *ret = isatty(STDOUT_FILENO) ? JSON_PRETTY : JSON_SHORT;
        else if (strcmp(text, "pretty") == 0)
                *ret = JSON_PRETTY;
        else if (strcmp(text, "short") == 0)
                *ret = JSON_SHORT;
        else if (strcmp(text, "off") == 0)
                *ret = JSON_OFF;
        else {
                complain("--json: '%s' is none of pretty, short and off", text);
                return -EINVAL;
        }
        return 0;
}

static int option_parse(Options *options, int option, const char *text) {
        int r;

        options->given |= (OptionSet) option;

        switch (option) {
        case OPTION_SIZE:
                return option_parse_size("size", text, &options->size);
        case OPTION_ALIGN:
                return option_parse_size("align", text, &options->alignment);
        case OPTION_PAGE_SIZE:
                return option_parse_size("page-size", text, &options->page_size);
        case OPTION_GROUP:
                return option_parse_group(text, &options->group);
        case OPTION_NUMA_NODE:
                return option_parse_numa_node(text, &options->numa_node);
        case OPTION_JSON:
                return option_parse_json(text, &options->json);
        case OPTION_MODE:
                r = mode_parse(text, &options->mode);
                if (r < 0)
                        complain("--mode: '%s' is not a mode; write it like 0640", text);
                return r;
        case OPTION_REGION:
                options->region = text;
                return 0;
        case OPTION_PREFER:
                options->prefer = text;
                return 0;
        case OPTION_GRANT:
                options->grant = text;
                return 0;
        case OPTION_FORCE:
                options->force++;
                return 0;
        case OPTION_NAME:
                options->name = text;
                return 0;
        case OPTION_OWNER:
                options->owner = text;
                return 0;
        case OPTION_USER:
                options->user = text;
                return 0;
        case OPTION_INTERACTIVE:
                options->interactive = true;
                return 0;
        case OPTION_NO_ASK_PASSWORD:
                options->interactive = false;
                return 0;
        default:
                return 0;
        }
}

/* Reads the options up to the first argument, or all that there are. Sets optind. */
static int options_read(Options *options, int argc, char *argv[], bool to_first_argument) {
        static char program[] = "daxbrokerctl";
        int option, r;

        /* getopt complains in this name, and 0 makes it start anew */
        argv[0] = program;
        optind = 0;

        while ((option = getopt_long(argc, argv, to_first_argument ? "+h" : "h", long_options, NULL)) >= 0) {
                if (option == '?')
                        return -EINVAL;
                r = option_parse(options, option == 'h' ? OPTION_HELP : option, optarg);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Reads what follows the command's name, which is argv[0]. */
static int command_line_read(Options *options, int argc, char *argv[]) {
        const Command *command = options->command;
        int end = argc, r;

        /* getopt would mix what stands before "--" with what stands behind it */
        if (command->takes_program && !command->needs_program)
                for (int i = 1; i < argc && !options->program; i++)
                        if (strcmp(argv[i], "--") == 0) {
                                end = i;
                                options->program = argv + i + 1;
                        }

        r = options_read(options, end, argv, command->needs_program);
        if (r < 0)
                return r;

        options->arguments = argv + optind;
        if (command->needs_program)
                options->program = argv + optind;
        else
                options->n_arguments = end - optind;
        return 0;
}

static int command_line_check(const Options *options) {
        const Command *command = options->command;
        OptionSet foreign = options->given & ~(command->options | OPTIONS_ALWAYS);
        OptionSet missing = command->required & ~options->given;

        if (foreign) {
                complain("'%s' does not take --%s", command->name, option_name(foreign & -foreign));
                return -EINVAL;
        }
        if (missing) {
                complain("'%s' needs --%s", command->name, option_name(missing & -missing));
                return -EINVAL;
        }
        if (options->n_arguments < command->arguments_min || (options->program && !*options->program)) {
                complain("'%s' needs arguments: %s", command->name, command->synopsis);
                return -EINVAL;
        }
        if (options->n_arguments > command->arguments_max) {
                complain("'%s' has no use for '%s'", command->name,
                         options->arguments[command->arguments_max]);
                return -EINVAL;
        }
        if (options->program && options->json != JSON_OFF) {
                complain("--json: the output belongs to the command that is run");
                return -EINVAL;
        }
        if ((options->given & OPTION_NO_HOLD) && !options->name) {
                complain("--no-hold: without --name the memory would be gone at once");
                return -EINVAL;
        }
        return 0;
}

static int options_parse_all(int argc, char *argv[], Options *options) {
        int r;

        r = options_read(options, argc, argv, true);
        if (r < 0)
                return r;

        if (optind < argc) {
                int first = optind;

                options->command = command_find(argv[first]);
                if (!options->command) {
                        complain("there is no command '%s'", argv[first]);
                        return -EINVAL;
                }
                r = command_line_read(options, argc - first, argv + first);
                if (r < 0)
                        return r;
        }

        if (options->given & OPTIONS_ALWAYS)
                return 0;
        if (!options->command) {
                complain("a command is missing");
                return -EINVAL;
        }
        return command_line_check(options);
}

int options_parse(int argc, char *argv[], Options *ret) {
        Options options = {
                .alignment = (uint64_t) sysconf(_SC_PAGESIZE),
                .interactive = isatty(STDIN_FILENO),
        };
        int r;

        r = options_parse_all(argc, argv, &options);
        if (r < 0) {
                if (options.command)
                        complain("see 'daxbrokerctl %s --help'", options.command->name);
                else
                        complain("see 'daxbrokerctl --help'");
                return r;
        }

        *ret = options;
        return 0;
}
