/* SPDX-License-Identifier: MIT */

/* daxbrokerctl grant, grants and release: memory that is kept free for a user, from which alloc and run take with --grant.
 * As with memory itself, it is held until interrupted, or while a command runs. */

#include "agent.h"
#include "cleanup.h"
#include "command.h"
#include "details.h"
#include "fields.h"
#include "moment.h"
#include "output.h"
#include "program.h"
#include "refusal.h"
#include "request.h"
#include "size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(Table, table_free)
DEFINE_CLEANUP(daxbroker_grant, daxbroker_grant_close)

/* ---- grant ---- */

static Status grant_tell(const daxbroker_grant *grant, JsonMode mode) {
        const char *object = daxbroker_grant_get_object(grant);
        uint64_t size = daxbroker_grant_get_size(grant);

        if (mode != JSON_OFF) {
                _cleanup_(json_decrefp) json_t *value = json_pack("{s:o, s:o}", "object", output_string(object),
                                                                  "size", output_number(size));

                return output_json(value, mode);
        }

        field_print("Object", "%s", object);
        field_print_size("Size", size);
        puts("\nHeld until interrupted.");
        return STATUS_OK;
}

static Status grant_get(const Options *options, daxbroker_grant **ret) {
        _cleanup_(daxbroker_request_freep) daxbroker_request *request = NULL;
        pid_t agent = 0;
        int r;

        r = request_new(options, &request);
        if (r >= 0)
                r = daxbroker_request_set_interactive(request, options->interactive);
        if (options->interactive)
                agent = agent_start();
        if (r >= 0)
                r = daxbroker_reserve(NULL, request, ret);
        agent_stop(agent);
        return r < 0 ? refusal_tell(r, "reserve memory") : STATUS_OK;
}

Status command_grant(const Options *options) {
        _cleanup_(daxbroker_grant_closep) daxbroker_grant *grant = NULL;
        Status status;

        status = grant_get(options, &grant);
        if (status != STATUS_OK)
                return status;

        if (options->program) {
                if (setenv("DAXBROKER_GRANT", daxbroker_grant_get_object(grant), 1) < 0) {
                        complain("cannot set the environment: %s", strerror(errno));
                        return STATUS_CANNOT_EXECUTE;
                }
                return (Status) program_run(options->program, NULL);
        }

        /* who reads what is told may send the signal at once */
        hold_prepare();
        status = grant_tell(grant, options->json);
        if (status != STATUS_OK)
                return status;
        fflush(stdout);
        hold_wait();
        return STATUS_OK;
}

/* ---- grants ---- */

static json_t *grant_to_json(const daxbroker_info *grant) {
        Details details = details_read(grant);

        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o}",
                         "object", output_string(details.object),
                         "region", output_string(details.region),
                         "owner", output_number(details.owner),
                         "size", output_number(info_number(grant, "Size")),
                         "available", output_number(info_number(grant, "Available")),
                         "largest_available", output_number(info_number(grant, "LargestAvailable")),
                         "persistent", details.persistent != 0,
                         "created", output_moment(details.created));
}

static Status grants_print_json(const daxbroker_list *list, JsonMode mode) {
        _cleanup_(json_decrefp) json_t *array = json_array();

        for (size_t i = 0; i < daxbroker_list_get_size(list); i++)
                if (json_array_append_new(array, grant_to_json(daxbroker_list_get(list, i))) < 0)
                        return output_json(NULL, mode);

        return output_json(array, mode);
}

static void grant_add(Table *table, const daxbroker_info *grant) {
        char text[SIZE_TEXT_MAX], owner[OWNER_TEXT_MAX], moment[MOMENT_TEXT_MAX], holder[HOLDER_TEXT_MAX];
        Details details = details_read(grant);

        table_add(table, COLOUR_PLAIN, "%s", details.id);
        table_add(table, COLOUR_PLAIN, "%s", details.region);
        table_add(table, COLOUR_PLAIN, "%s", details_format_owner(&details, owner));
        table_add(table, COLOUR_PLAIN, "%s", size_format(info_number(grant, "Size"), text));
        table_add(table, COLOUR_PLAIN, "%s", size_format(info_number(grant, "Available"), text));
        table_add(table, COLOUR_PLAIN, "%s", moment_format(details.created, moment));
        table_add(table, COLOUR_PLAIN, "%s", details_format_holder(&details, holder));
}

static Status grants_print(const daxbroker_list *list, const Options *options) {
        static const TableColumn columns[] = {
                { .title = "ID" },
                { .title = "REGION", .shortened = 2, .minimum = 6 },
                { .title = "OWNER", .shortened = 1, .minimum = 5 },
                { .title = "SIZE", .right = true },
                { .title = "AVAILABLE", .right = true },
                { .title = "CREATED" },
                { .title = "HOLDER", .shortened = 3, .minimum = 6 },
        };
        _cleanup_(table_freep) Table *table = table_new(columns, sizeof columns / sizeof columns[0]);
        size_t n = daxbroker_list_get_size(list);
        Status status;

        for (size_t i = 0; i < n; i++)
                grant_add(table, daxbroker_list_get(list, i));

        status = output_table(table, options);
        if (status == STATUS_OK && !(options->given & OPTION_NO_LEGEND))
                printf("\n%zu grant%s listed.\n", n, n == 1 ? "" : "s");
        return status;
}

Status command_grants(const Options *options) {
        _cleanup_(daxbroker_list_freep) daxbroker_list *list = NULL;
        int r;

        r = daxbroker_list_grants(NULL, &list);
        if (r < 0)
                return refusal_tell(r, "list grants");

        return options->json != JSON_OFF ? grants_print_json(list, options->json) : grants_print(list, options);
}

/* ---- release ---- */

Status command_release(const Options *options) {
        Status status = STATUS_OK;

        for (int i = 0; i < options->n_arguments; i++) {
                int r = daxbroker_release_grant(NULL, options->arguments[i]);

                if (r < 0)
                        status = refusal_tell(r, "release '%s'", options->arguments[i]);
        }
        return status;
}
