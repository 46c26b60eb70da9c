/* SPDX-License-Identifier: MIT */

/* Options are tables, so that every method refuses the same mistakes in the same words, and a new option is a new line. */

#include "options-bus.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A request, and what is yet to be made of it. */
typedef struct AllocateOptions {
        Request request; /* first, so that offsets in it are offsets here */
        const char *prefer;
} AllocateOptions;

static const Option allocate_options[] = {
        { "region", 's', offsetof(Request, region), OPTION_NOT_NOTED },
        { "name", 's', offsetof(Request, name), OPTION_NOT_NOTED },
        { "mode", 'u', offsetof(Request, mode), offsetof(Request, mode_set) },
        { "group", 'u', offsetof(Request, group), offsetof(Request, group_set) },
        { "numa-node", 'u', offsetof(Request, numa_node), offsetof(Request, numa_node_set) },
        { "page-size", 't', offsetof(Request, page_size), offsetof(Request, page_size_set) },
        { "prefault", 'b', offsetof(Request, prefault), OPTION_NOT_NOTED },
        { "persistent", 'b', offsetof(Request, persistent), OPTION_NOT_NOTED },
        { "prefer", 's', offsetof(AllocateOptions, prefer), OPTION_NOT_NOTED },
        { "contiguous", 'b', offsetof(Request, contiguous), OPTION_NOT_NOTED },
        { "reserve", 'b', offsetof(Request, reserve), OPTION_NOT_NOTED },
        { "grant", 'o', offsetof(Request, grant), OPTION_NOT_NOTED },
        { 0 },
};

static const Option reserve_options[] = {
        { "region", 's', offsetof(Request, region), OPTION_NOT_NOTED },
        { "alignment", 't', offsetof(Request, alignment), OPTION_NOT_NOTED },
        { "numa-node", 'u', offsetof(Request, numa_node), offsetof(Request, numa_node_set) },
        { "page-size", 't', offsetof(Request, page_size), offsetof(Request, page_size_set) },
        { "persistent", 'b', offsetof(Request, persistent), OPTION_NOT_NOTED },
        { "prefer", 's', offsetof(AllocateOptions, prefer), OPTION_NOT_NOTED },
        { "contiguous", 'b', offsetof(Request, contiguous), OPTION_NOT_NOTED },
        { 0 },
};

static const Option open_options[] = {
        { "read-only", 'b', 0, OPTION_NOT_NOTED },
        { 0 },
};

static const Option revoke_options[] = {
        { "despite-references", 'b', 0, OPTION_NOT_NOTED },
        { 0 },
};

static const Option owner_options[] = {
        { "name", 's', 0, OPTION_NOT_NOTED },
        { 0 },
};

static const Option page_options[] = {
        { "after", 'o', offsetof(PageOptions, after), OPTION_NOT_NOTED },
        { "limit", 'u', offsetof(PageOptions, limit), OPTION_NOT_NOTED },
        { 0 },
};

static const Option no_options[] = {
        { 0 },
};

static const char *type_name(char type) {
        switch (type) {
        case 's':
                return "string (s)";
        case 'u':
                return "32-bit number (u)";
        case 'o':
                return "object path (o)";
        case 't':
                return "64-bit number (t)";
        default:
                return "boolean (b)";
        }
}

static int bad_message(int r, Failure *failure) {
        return failure_set(failure, REFUSAL_BadOption, "the call cannot be read: %s", strerror(-r));
}

static int option_unknown(const char *name, const Option *table, Failure *failure) {
        char known[256] = "";
        size_t n = 0;

        for (; table->name && n < sizeof(known); table++)
                n += (size_t) snprintf(known + n, sizeof(known) - n, "%s%s", n > 0 ? ", " : "", table->name);

        return failure_set(failure, REFUSAL_BadOption, "option %.64s is unknown; there %s%s", name,
                           n > 0 ? "are: " : "is none", known);
}

static int option_read(sd_bus_message *message, const Option *option, void *target, Failure *failure) {
        char type[2] = { option->type, '\0' }, *value = (char *) target + option->value;
        const char *contents;
        int truth, r;

        r = sd_bus_message_peek_type(message, NULL, &contents);
        if (r < 0)
                return bad_message(r, failure);
        if (strcmp(contents, type) != 0)
                return failure_set(failure, REFUSAL_BadOption, "option %s is a %s, the call has it as %.16s", option->name,
                                   type_name(option->type), contents);

        if (option->type == 'b') {
                r = sd_bus_message_read(message, "v", type, &truth);
                if (r >= 0)
                        *(bool *) value = truth;
        } else
                r = sd_bus_message_read(message, "v", type, value);
        if (r < 0)
                return bad_message(r, failure);

        if (option->given != OPTION_NOT_NOTED)
                *(bool *) ((char *) target + option->given) = true;
        return 0;
}

int options_read(sd_bus_message *message, const Option *table, void *target, Failure *failure) {
        uint64_t given = 0;
        const char *name;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r < 0)
                return bad_message(r, failure);

        while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                size_t i = 0;

                r = sd_bus_message_read(message, "s", &name);
                if (r < 0)
                        return bad_message(r, failure);
                while (table[i].name && strcmp(table[i].name, name) != 0)
                        i++;
                if (!table[i].name)
                        return option_unknown(name, table, failure);
                if (given & (UINT64_C(1) << i))
                        return failure_set(failure, REFUSAL_BadOption, "option %s is given twice", name);
                given |= UINT64_C(1) << i;

                r = option_read(message, &table[i], target, failure);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return bad_message(r, failure);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);

        return r < 0 ? bad_message(r, failure) : 0;
}

static int preference_read(const char *text, Preference *ret, Failure *failure) {
        static const char *const words[] = {
                [PREFER_BANDWIDTH] = "bandwidth", [PREFER_LATENCY] = "latency", [PREFER_CAPACITY] = "capacity",
        };

        for (Preference i = PREFER_BANDWIDTH; i <= PREFER_CAPACITY; i++)
                if (strcmp(text, words[i]) == 0) {
                        *ret = i;
                        return 0;
                }

        return failure_set(failure, REFUSAL_BadOption, "option prefer is bandwidth, latency or capacity, and not '%.64s'",
                           text);
}

static int request_options_read(sd_bus_message *message, const Option *table, AllocateOptions *options, Failure *failure) {
        int r;

        r = options_read(message, table, options, failure);
        if (r >= 0 && options->prefer)
                r = preference_read(options->prefer, &options->request.prefer, failure);
        return r;
}

int request_read(sd_bus_message *message, Request *ret, Failure *failure) {
        AllocateOptions options = { 0 };
        int r;

        r = sd_bus_message_read(message, "tt", &options.request.size, &options.request.alignment);
        if (r < 0)
                return bad_message(r, failure);
        r = request_options_read(message, allocate_options, &options, failure);
        if (r < 0)
                return r;

        *ret = options.request;
        return 0;
}

int reserve_request_read(sd_bus_message *message, Request *ret, Failure *failure) {
        AllocateOptions options = { .request.alignment = 1 };
        int r;

        r = sd_bus_message_read(message, "t", &options.request.size);
        if (r < 0)
                return bad_message(r, failure);
        r = request_options_read(message, reserve_options, &options, failure);
        if (r < 0)
                return r;

        *ret = options.request;
        return 0;
}

int open_options_read(sd_bus_message *message, bool *ret_read_only, Failure *failure) {
        bool read_only = false;
        int r;

        r = options_read(message, open_options, &read_only, failure);
        if (r < 0)
                return r;

        *ret_read_only = read_only;
        return 0;
}

int revoke_options_read(sd_bus_message *message, bool *ret_despite_references, Failure *failure) {
        bool despite_references = false;
        int r;

        r = options_read(message, revoke_options, &despite_references, failure);
        if (r < 0)
                return r;

        *ret_despite_references = despite_references;
        return 0;
}

int owner_options_read(sd_bus_message *message, const char **ret_name, Failure *failure) {
        const char *name = NULL;
        int r;

        r = options_read(message, owner_options, &name, failure);
        if (r < 0)
                return r;

        *ret_name = name;
        return 0;
}

int page_options_read(sd_bus_message *message, const char *parent, uint32_t max, PageOptions *ret, Failure *failure) {
        PageOptions options = { .limit = max };
        size_t n = strlen(parent);
        int r;

        r = options_read(message, page_options, &options, failure);
        if (r < 0)
                return r;
        if (options.limit == 0)
                return failure_set(failure, REFUSAL_BadOption, "option limit: a page has one entry at least");
        if (options.after && strncmp(options.after, parent, n) != 0)
                return failure_set(failure, REFUSAL_BadOption, "option after: %.64s is not below %s", options.after, parent);

        ret->after = options.after ? options.after + n : "";
        ret->limit = options.limit < max ? options.limit : max;
        return 0;
}

int no_options_read(sd_bus_message *message, Failure *failure) {
        return options_read(message, no_options, NULL, failure);
}
