/* SPDX-License-Identifier: MIT */

/* Requests to the witness. What is accepted can be worked through without a sum that overflows. */

#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "request.h"

static void check_accepted(const WitnessRequest *request) {
        uint64_t n_pages = 0;

        check(request->kind == WITNESS_KIND_ASK || request->kind == WITNESS_KIND_TEACH);
        check(page_size_order(request->page_size) >= 0);
        check(request->n_ranges > 0 && request->n_ranges <= WITNESS_WIRE_RANGES_MAX);
        for (size_t i = 0; i < request->n_ranges; i++) {
                const WitnessWireRange *range = &request->ranges[i];

                check(range->length > 0 && range->length <= WITNESS_WIRE_ADDRESS_MAX);
                check(range->start <= WITNESS_WIRE_ADDRESS_MAX - range->length);
                check(range->start % request->page_size == 0 && range->length % request->page_size == 0);
                n_pages += range->length / request->page_size;
        }
        check(n_pages > 0 && n_pages <= WITNESS_WIRE_PAGES_MAX);
}

static void try_one(const uint8_t *data, size_t size) {
        const char *why = NULL;
        WitnessRequest request;
        int r;

        r = request_check(data, size, &request, &why);
        if (r < 0) {
                check(r == -EPROTO || r == -EINVAL);
                check(why && strlen(why) < sizeof(((WitnessReply *) NULL)->reason) && text_is_printable(why));
                return;
        }
        check(size == sizeof(request) && memcmp(data, &request, size) == 0);
        check_accepted(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t whole[sizeof(WitnessRequest)] = { 0 };

        try_one(data, size);
        /* Most are of a wrong size, which says nothing about the rest */
        memcpy(whole, data, size < sizeof(whole) ? size : sizeof(whole));
        try_one(whole, sizeof(whole));
        return 0;
}
