/* SPDX-License-Identifier: MIT */

/* The only place that looks at what came over the socket. Whoever sent it is taken to be an enemy, although only the broker
 * gets so far: a broker that was taken over is what the witness has to fear. */

#include "request.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define BASE_PAGE_SHIFT 12

int page_size_order(uint64_t page_size) {
        switch (page_size) {
        case UINT64_C(1) << 12:
                return 0;
        case UINT64_C(1) << 21:
                return 21 - BASE_PAGE_SHIFT;
        case UINT64_C(1) << 30:
                return 30 - BASE_PAGE_SHIFT;
        default:
                return -EINVAL;
        }
}

static bool range_is_sane(const WitnessWireRange *range, uint64_t page_size) {
        uint64_t end;

        return range->length > 0 && range->start % page_size == 0 && range->length % page_size == 0 &&
               !__builtin_add_overflow(range->start, range->length, &end) && end <= WITNESS_WIRE_ADDRESS_MAX;
}

static const char *ranges_find_fault(const WitnessRequest *request) {
        static const WitnessWireRange none;
        uint64_t n_pages = 0;

        if (request->n_ranges == 0)
                return "the request names no range";
        if (request->n_ranges > WITNESS_WIRE_RANGES_MAX)
                return "the request names too many ranges";

        for (size_t i = 0; i < request->n_ranges; i++) {
                if (!range_is_sane(&request->ranges[i], request->page_size))
                        return "a range is empty, not aligned to the page size, or beyond all addresses";
                n_pages += request->ranges[i].length / request->page_size; /* at most 64 times 2^40 */
        }
        if (n_pages > WITNESS_WIRE_PAGES_MAX)
                return "the request is about too many pages";

        for (size_t i = request->n_ranges; i < WITNESS_WIRE_RANGES_MAX; i++)
                if (memcmp(&request->ranges[i], &none, sizeof(none)) != 0)
                        return "the request has ranges beyond their number";

        return NULL;
}

int request_check(const void *data, size_t size, WitnessRequest *ret, const char **ret_why) {
        WitnessRequest request;
        const char *why;

        if (size != sizeof(request)) {
                *ret_why = "the request has the wrong size";
                return -EPROTO;
        }
        memcpy(&request, data, sizeof(request));
        if (request.version != WITNESS_WIRE_VERSION) {
                *ret_why = "broker and witness are of different versions";
                return -EPROTO;
        }

        if (request.kind != WITNESS_KIND_ASK && request.kind != WITNESS_KIND_TEACH)
                why = "the request is of no known kind";
        else if (request.zero != 0)
                why = "the request has something where nothing belongs";
        else if (page_size_order(request.page_size) < 0)
                why = "the page size is none of 4 KiB, 2 MiB and 1 GiB";
        else
                why = ranges_find_fault(&request);
        if (why) {
                *ret_why = why;
                return -EINVAL;
        }

        *ret = request;
        return 0;
}
