/* SPDX-License-Identifier: MIT */

/* The list of providers. */

#include "provider.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "size.h"

static const Provider *const providers[] = {
        &provider_memfd,
        &provider_devdax,
        &provider_fsdax,
        &provider_nvdimm,
};

const Provider *provider_find(const char *name) {
        for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
                if (strcmp(providers[i]->name, name) == 0)
                        return providers[i];

        return NULL;
}

int piece_copy_fd(Piece *piece, bool read_only, int *ret_fd, Failure *failure) {
        int fd = fcntl(read_only ? piece->fd_read_only : piece->fd, F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
                return failure_set_errno(failure, -errno, "cannot copy the descriptor");

        *ret_fd = fd;
        return 0;
}

int piece_round_up(Piece *piece, uint64_t size, Failure *failure) {
        int r;

        r = size_round_up(size, piece->page_size, &piece->length);
        if (r < 0 || piece->length > INT64_MAX)
                return failure_set(failure, REFUSAL_BadSize,
                                   "the size %" PRIu64
                                   ", rounded up to pages of %s, is beyond what any descriptor can hold (2^63 - 1 bytes)",
                                   size, SIZE_TEXT(piece->page_size));
        return 0;
}

void piece_close(Piece *piece) {
        piece->fd = safe_close(piece->fd);
        piece->fd_read_only = safe_close(piece->fd_read_only);
}

void piece_done(Piece *piece) {
        piece_close(piece);
        free(piece->handle);
        piece->handle = NULL;
}
