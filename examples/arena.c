/* SPDX-License-Identifier: MIT */

/* An allocator that takes what it needs piece by piece, up to a limit that it knows in advance. It has that much reserved
 * first: whether it may is decided once, for all of it, and no piece can fail later because somebody else was faster. What
 * is not taken yet costs the others of this machine nothing but the promise. */

#include <daxbroker.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (UINT64_C(64) << 20)
#define PIECE (UINT64_C(2) << 20)
#define N (SIZE / PIECE)

static int fail(const char *what) {
        fprintf(stderr, "arena: %s: %s\n", what, daxbroker_last_error());
        return EXIT_FAILURE;
}

/* Who wants other pieces than these makes a request for each of them. */
static int take(const daxbroker_request *request, daxbroker_allocation **ret) {
        void *address;

        if (daxbroker_allocate(NULL, request, ret) < 0)
                return -1;
        if (daxbroker_allocation_map(*ret, &address) < 0) {
                *ret = daxbroker_allocation_close(*ret);
                return -1;
        }

        memset(address, 1, PIECE);
        return 0;
}

static int use(const daxbroker_request *request) {
        daxbroker_allocation *pieces[N] = { NULL }, *more = NULL;
        uint64_t n = 0;
        int status = EXIT_FAILURE;

        while (n < N && take(request, &pieces[n]) == 0)
                n++;
        if (n < N)
                status = fail("a piece is missing");
        else if (take(request, &more) == 0)
                fprintf(stderr, "arena: there is more of it than was reserved\n");
        else {
                printf("%" PRIu64 " MiB reserved, and taken in %" PRIu64 " pieces\n", SIZE >> 20, n);
                status = EXIT_SUCCESS;
        }

        daxbroker_allocation_close(more);
        for (uint64_t i = 0; i < n; i++)
                daxbroker_allocation_close(pieces[i]); /* goes back to the grant */
        return status;
}

int main(void) {
        daxbroker_request *whole, *piece = NULL;
        daxbroker_grant *grant;
        int r, status;

        if (daxbroker_request_new(SIZE, PIECE, &whole) < 0)
                return fail("cannot make a request");
        r = daxbroker_reserve(NULL, whole, &grant);
        daxbroker_request_free(whole);
        if (r < 0)
                return fail("cannot reserve memory");

        if (daxbroker_request_new(PIECE, PIECE, &piece) < 0 ||
            daxbroker_request_set_grant(piece, daxbroker_grant_get_object(grant)) < 0)
                status = fail("cannot make a request");
        else
                status = use(piece);

        daxbroker_request_free(piece);
        daxbroker_grant_close(grant);
        return status;
}
