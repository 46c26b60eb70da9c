/* SPDX-License-Identifier: MIT */

/* 64 MiB aligned to 2 MiB: allocate, map, see that it is all zeros, write, read back, free. This is the
 * full interface, where daxbroker_alloc() is the short one: a request says what is wanted, an allocation
 * is what one got. */

#include <daxbroker.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE (UINT64_C(64) << 20)
#define ALIGNMENT (UINT64_C(2) << 20)

/* Words that depend on where they stand, so that a page in the wrong place would be noticed. */
static uint64_t pattern(uint64_t i) {
        return i * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static int fail(const char *what) {
        fprintf(stderr, "alloc-64m: %s: %s\n", what, daxbroker_last_error());
        return EXIT_FAILURE;
}

static int use(daxbroker_allocation *allocation) {
        uint64_t *words, page_size, n = SIZE / sizeof(*words);
        void *address;

        if (daxbroker_allocation_map(allocation, &address) < 0)
                return fail("cannot map it");

        if ((uintptr_t) address % ALIGNMENT != 0) {
                fprintf(stderr, "alloc-64m: %p is not aligned to %" PRIu64 "\n", address, ALIGNMENT);
                return EXIT_FAILURE;
        }

        words = address;
        for (uint64_t i = 0; i < n; i++)
                if (words[i] != 0) {
                        fprintf(stderr, "alloc-64m: word %" PRIu64 " is not zero\n", i);
                        return EXIT_FAILURE;
                }

        for (uint64_t i = 0; i < n; i++)
                words[i] = pattern(i);

        for (uint64_t i = 0; i < n; i++)
                if (words[i] != pattern(i)) {
                        fprintf(stderr, "alloc-64m: word %" PRIu64 " was not kept\n", i);
                        return EXIT_FAILURE;
                }

        /* Asked now that all of it has been touched; before that, nothing is mapped. */
        if (daxbroker_allocation_get_page_size(allocation, &page_size) < 0)
                return fail("cannot tell the page size");

        printf("%" PRIu64 " MiB at %p, in pages of %" PRIu64 " KiB: zeros at first, written and read back\n",
               daxbroker_allocation_get_length(allocation) >> 20, address, page_size >> 10);
        return EXIT_SUCCESS;
}

int main(void) {
        daxbroker_allocation *allocation;
        daxbroker_request *request;
        int r, status;

        if (daxbroker_request_new(SIZE, ALIGNMENT, &request) < 0)
                return fail("cannot make a request");

        /* NULL for the client: the library makes one when it is first needed. */
        r = daxbroker_allocate(NULL, request, &allocation);
        daxbroker_request_free(request);
        if (r < 0)
                return fail("got no memory");

        status = use(allocation);

        /* Unmaps it and lets it go. It has no name, so it ends here. */
        daxbroker_allocation_close(allocation);
        return status;
}
