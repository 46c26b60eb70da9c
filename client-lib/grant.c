/* SPDX-License-Identifier: MIT */

/* A hold on a grant: the lease that keeps it alive, and the object by which requests name it.
 *
 * As with an allocation, closing it is a local affair: the service sees that the last copy of the lease is gone. What was
 * taken from it has leases of its own. */

#include "call.h"
#include "info.h"
#include "list.h"
#include "names.h"
#include "request.h"
#include "service.h"
#include "util.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct daxbroker_grant {
        int lease_fd;
        uint64_t size;
        char *object;
};

_public_ daxbroker_grant *daxbroker_grant_close(daxbroker_grant *grant) {
        int saved = errno;

        if (!grant)
                return NULL;

        fd_close(grant->lease_fd);
        free(grant->object);
        free(grant);

        errno = saved;
        return NULL;
}

/* For Call.parse. */
static int grant_parse(sd_bus_message *reply, const void *arguments, void *result) {
        const daxbroker_request *request = arguments;
        daxbroker_grant *grant;
        const char *object;
        uint64_t size;
        int lease; /* borrowed from the message */

        if (sd_bus_message_read(reply, "oht", &object, &lease, &size) <= 0 || size < request->size)
                return error_set(-EPROTO, "the service's answer is not what its interface says");

        grant = calloc(1, sizeof(*grant));
        if (!grant)
                return error_set(-ENOMEM, "out of memory");

        grant->size = size;
        grant->object = strdup(object);
        grant->lease_fd = fcntl(lease, F_DUPFD_CLOEXEC, 3);
        if (!grant->object || grant->lease_fd < 0) {
                int r = grant->object ? error_set_errno(-errno, "cannot keep the lease's descriptor")
                                      : error_set(-ENOMEM, "out of memory");

                free(grant->object);
                free(grant);
                return r;
        }

        *(daxbroker_grant **) result = grant;
        return 0;
}

/* What a grant has no use for is a mistake of whoever asks. */
static int grant_check_request(const daxbroker_request *request) {
        if (!request)
                return error_set(-EINVAL, "there is no request");
        if (request->name || request->has_mode || request->has_group || request->prefault || request->reserve ||
            request->grant)
                return error_set(-EINVAL, "a grant has a size, an alignment, what says where, and whether it may last; the "
                                          "rest is for what is taken from it");
        return 0;
}

_public_ int daxbroker_reserve(daxbroker_client *client, const daxbroker_request *request, daxbroker_grant **ret) {
        daxbroker_grant *grant;
        Call call = {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = "Reserve",
                .append = request_append_reserve,
                .arguments = request,
                .parse = grant_parse,
                .result = &grant,
        };
        int r;

        r = grant_check_request(request);
        if (r < 0)
                return r;

        call.interactive = request->interactive;
        r = call_run(client, &call, NULL);
        if (r < 0)
                return r;

        *ret = grant;
        return 0;
}

_public_ const char *daxbroker_grant_get_object(const daxbroker_grant *grant) {
        return grant->object;
}

_public_ int daxbroker_grant_get_lease_fd(const daxbroker_grant *grant) {
        return grant->lease_fd;
}

_public_ uint64_t daxbroker_grant_get_size(const daxbroker_grant *grant) {
        return grant->size;
}

/* ---- Any grant, by its object or the last part of that ---- */

static int grant_resolve(const char *which, char **ret) {
        bool is_id = which && service_is_allocation_id(which);

        if (!which || (!is_id && (strncmp(which, DAXBROKER_GRANT_PATH "/", strlen(DAXBROKER_GRANT_PATH "/")) != 0 ||
                                  sd_bus_object_path_is_valid(which) <= 0)))
                return error_set(-ENOENT, "'%s' is not the object of a grant", which ?: "");

        if (asprintf(ret, "%s%s", is_id ? DAXBROKER_GRANT_PATH "/" : "", which) < 0)
                return error_set(-ENOMEM, "out of memory");
        return 0;
}

_public_ int daxbroker_request_set_grant(daxbroker_request *request, const char *which) {
        char *object = NULL;
        int r;

        r = which ? grant_resolve(which, &object) : 0;
        if (r < 0)
                return r;

        free(request->grant);
        request->grant = object;
        return 0;
}

_public_ int daxbroker_get_grant(daxbroker_client *client, const char *which, daxbroker_info **ret) {
        _cleanup_(freep) char *object = NULL;
        int r;

        r = grant_resolve(which, &object);
        return r < 0 ? r : service_get_properties(client, object, DAXBROKER_GRANT_INTERFACE, ret);
}

_public_ int daxbroker_release_grant(daxbroker_client *client, const char *which) {
        _cleanup_(freep) char *object = NULL;
        Call call = {
                .interface = DAXBROKER_GRANT_INTERFACE,
                .member = "Release",
        };
        bool acted = false;
        int r;

        r = grant_resolve(which, &object);
        if (r < 0)
                return r;

        call.path = object;
        r = call_run(client, &call, &acted);
        if (r == -ENOENT && acted)
                return 0; /* an attempt whose answer was lost has done it */

        return r;
}

_public_ int daxbroker_list_grants(daxbroker_client *client, daxbroker_list **ret) {
        return list_get_paged(client, "ListGrantsPaged", ret);
}
