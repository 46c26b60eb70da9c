/* SPDX-License-Identifier: MIT */

/* From options to a request. Only what was given is set: defaults are the service's business, and so is
 * the judgement of values. */

#include "request.h"
#include "cleanup.h"

static int request_fill(daxbroker_request *request, const Options *options) {
        OptionSet given = options->given;
        int r = 0;

        if (given & OPTION_REGION)
                r = daxbroker_request_set_region(request, options->region);
        if (r >= 0 && (given & OPTION_PREFER))
                r = daxbroker_request_set_prefer(request, options->prefer);
        if (r >= 0 && (given & OPTION_NAME))
                r = daxbroker_request_set_name(request, options->name);
        if (r >= 0 && (given & OPTION_MODE))
                r = daxbroker_request_set_mode(request, options->mode);
        if (r >= 0 && (given & OPTION_GROUP))
                r = daxbroker_request_set_group(request, options->group);
        if (r >= 0 && (given & OPTION_NUMA_NODE))
                r = daxbroker_request_set_numa_node(request, options->numa_node);
        if (r >= 0 && (given & OPTION_PAGE_SIZE))
                r = daxbroker_request_set_page_size(request, options->page_size);
        if (r >= 0 && (given & OPTION_CONTIGUOUS))
                r = daxbroker_request_set_contiguous(request, 1);
        if (r >= 0 && (given & OPTION_PREFAULT))
                r = daxbroker_request_set_prefault(request, 1);
        if (r >= 0 && (given & OPTION_PERSISTENT))
                r = daxbroker_request_set_persistent(request, 1);
        if (r >= 0 && (given & OPTION_RESERVE))
                r = daxbroker_request_set_reserve(request, 1);
        if (r >= 0 && (given & OPTION_GRANT))
                r = daxbroker_request_set_grant(request, options->grant);
        return r;
}

int request_new(const Options *options, daxbroker_request **ret) {
        _cleanup_(daxbroker_request_freep) daxbroker_request *request = NULL;
        int r;

        r = daxbroker_request_new(options->size, options->alignment, &request);
        if (r < 0)
                return r;

        r = request_fill(request, options);
        if (r < 0)
                return r;

        *ret = request;
        request = NULL;
        return 0;
}
