/* SPDX-License-Identifier: MIT */

/* daxbrokerctl alloc, run and open: get memory, then either hold it and tell where it is, or run a
 * command with it. */

#include "agent.h"
#include "cleanup.h"
#include "command.h"
#include "details.h"
#include "fields.h"
#include "output.h"
#include "program.h"
#include "refusal.h"
#include "request.h"

#include <inttypes.h>
#include <unistd.h>

/* Where a process of the same user finds a descriptor of this one. */
#define DESCRIPTOR_PATH_MAX 64

static const char *descriptor_path(int fd, char path[static DESCRIPTOR_PATH_MAX]) {
        snprintf(path, DESCRIPTOR_PATH_MAX, "/proc/%d/fd/%d", getpid(), fd);
        return path;
}

static void allocation_print(const Details *details, const daxbroker_allocation *allocation, bool held) {
        char path[DESCRIPTOR_PATH_MAX];

        field_print("Object", "%s", daxbroker_allocation_get_object(allocation));
        if (*details->name)
                field_print("Name", "%s", details->name);
        if (*details->region)
                field_print("Region", "%s", details->region);
        field_print_size("Length", daxbroker_allocation_get_length(allocation));
        if (details->alignment > 0)
                field_print_size("Alignment", details->alignment);
        if (details->page_size > 0)
                field_print_size("Page size", details->page_size);
        if (!held)
                return;

        field_print("Offset", "%" PRIu64, daxbroker_allocation_get_offset(allocation));
        field_print("Memory", "%s", descriptor_path(daxbroker_allocation_get_fd(allocation), path));
        puts("\nHeld until interrupted.");
}

static json_t *string_or_null(const char *text) {
        return *text ? output_string(text) : json_null();
}

static json_t *number_or_null(uint64_t number) {
        return number > 0 ? output_number(number) : json_null();
}

static Status allocation_print_json(const Details *details, const daxbroker_allocation *allocation,
                                    bool held, JsonMode mode) {
        int fd = daxbroker_allocation_get_fd(allocation);
        char path[DESCRIPTOR_PATH_MAX];
        _cleanup_(json_decrefp) json_t *value = json_pack(
                        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                        "object", output_string(daxbroker_allocation_get_object(allocation)),
                        "name", string_or_null(details->name),
                        "region", string_or_null(details->region),
                        "length", output_number(daxbroker_allocation_get_length(allocation)),
                        "alignment", number_or_null(details->alignment),
                        "page_size", number_or_null(details->page_size),
                        "offset", output_number(daxbroker_allocation_get_offset(allocation)),
                        "memory", string_or_null(held ? descriptor_path(fd, path) : ""));

        return output_json(value, mode);
}

/* Tells what was got. Who may open an allocation need not be allowed to look at it, hence not knowing is
 * no error. */
static Status allocation_tell(const Options *options, daxbroker_client *client,
                              const daxbroker_allocation *allocation, bool held) {
        _cleanup_(daxbroker_info_freep) daxbroker_info *info = NULL;
        Details details;

        (void) daxbroker_get_allocation(client, daxbroker_allocation_get_object(allocation), &info);
        details = details_read(info);

        if (options->json != JSON_OFF)
                return allocation_print_json(&details, allocation, held, options->json);

        allocation_print(&details, allocation, held);
        return STATUS_OK;
}

static Status allocation_get(const Options *options, daxbroker_client *client, daxbroker_allocation **ret) {
        _cleanup_(daxbroker_request_freep) daxbroker_request *request = NULL;
        int r;

        r = request_new(options, &request);
        if (r >= 0)
                r = daxbroker_request_set_interactive(request, options->interactive);
        if (r >= 0)
                r = daxbroker_allocate(client, request, ret);
        if (r < 0)
                return refusal_tell(r, "allocate memory");
        return STATUS_OK;
}

static Status allocation_open(const Options *options, daxbroker_client *client, daxbroker_allocation **ret) {
        const char *name = options->arguments[0];
        uint64_t flags = 0;
        int r;

        if (options->given & OPTION_READ_ONLY)
                flags |= DAXBROKER_READ_ONLY;
        if (options->interactive)
                flags |= DAXBROKER_INTERACTIVE;

        r = daxbroker_open(client, name, flags, ret);
        if (r < 0)
                return refusal_tell(r, "open '%s'", name);
        return STATUS_OK;
}

static Status allocation_use(const Options *options,
                             Status (*get)(const Options *, daxbroker_client *, daxbroker_allocation **)) {
        _cleanup_(daxbroker_client_freep) daxbroker_client *client = NULL;
        _cleanup_(daxbroker_allocation_closep) daxbroker_allocation *allocation = NULL;
        bool held = !(options->given & OPTION_NO_HOLD);
        pid_t agent = 0;
        Status status;
        int r;

        r = daxbroker_client_new(&client);
        if (r < 0)
                return refusal_tell(r, "reach the service");

        if (options->interactive)
                agent = agent_start();
        status = get(options, client, &allocation);
        agent_stop(agent);
        if (status != STATUS_OK)
                return status;

        /* who reads what is told may send the signal at once */
        if (!options->program && held)
                hold_prepare();
        if (!options->program)
                status = allocation_tell(options, client, allocation, held);
        if (status != STATUS_OK)
                return status;

        /* a connection that nobody reads would only fill up from here on */
        client = daxbroker_client_free(client);
        fflush(stdout);

        if (options->program)
                return (Status) program_run(options->program, allocation);
        if (held)
                hold_wait();
        return STATUS_OK;
}

Status command_alloc(const Options *options) {
        return allocation_use(options, allocation_get);
}

Status command_run(const Options *options) {
        return allocation_use(options, allocation_get);
}

Status command_open(const Options *options) {
        return allocation_use(options, allocation_open);
}
