/* SPDX-License-Identifier: MIT */

/* daxbrokerctl check-policy: would this request be granted? Root can ask on behalf of a user by becoming
 * that user first: the service and polkit then judge a real caller, and nobody's word. */

#include "cleanup.h"
#include "command.h"
#include "output.h"
#include "refusal.h"
#include "request.h"
#include "size.h"
#include "user.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static Status answer_print_json(int error, const char *reason, uint64_t length, JsonMode mode) {
        bool allowed = error == 0;
        char user[USER_TEXT_MAX];
        _cleanup_(json_decrefp) json_t *value = json_pack(
                        "{s:b, s:o, s:o, s:o, s:o}",
                        "allowed", allowed,
                        "user", output_string(user_format(geteuid(), user)),
                        "error", allowed ? json_null() : output_string(strerrorname_np(-error)),
                        "reason", allowed ? json_null() : output_string(reason),
                        "length", output_number(length));

        return output_json(value, mode);
}

static Status answer_print(int error, const char *reason, uint64_t length, JsonMode mode) {
        Status status = STATUS_OK;
        char size[SIZE_TEXT_MAX];

        if (mode != JSON_OFF)
                status = answer_print_json(error, reason, length, mode);
        else if (error == 0)
                printf("yes: %s (%" PRIu64 " bytes)\n", size_format(length, size), length);
        else
                printf("no: %s\n", reason);

        return error == 0 ? status : STATUS_REFUSED;
}

Status command_check_policy(const Options *options) {
        _cleanup_(daxbroker_request_freep) daxbroker_request *request = NULL;
        uint64_t length = 0;
        const char *reason;
        int r;

        if (options->user) {
                r = user_become(options->user);
                if (r < 0)
                        return r == -ENOENT ? STATUS_USAGE : STATUS_REFUSED;
        }

        r = request_new(options, &request);
        if (r < 0)
                return refusal_tell(r, "ask");

        r = daxbroker_check(NULL, request, &length);
        if (r < 0 && refusal_get_status(r) == STATUS_UNREACHABLE)
                return refusal_tell(r, "ask");

        reason = daxbroker_last_error();
        return answer_print(r < 0 ? r : 0, *reason ? reason : strerror(-r), length, options->json);
}
