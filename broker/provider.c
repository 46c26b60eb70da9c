/* SPDX-License-Identifier: MIT */

/* The list of providers. */

#include "provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

static const Provider *const providers[] = {
        &provider_memfd,
        &provider_devdax,
        &provider_fsdax,
};

const Provider *provider_find(const char *name) {
        for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
                if (strcmp(providers[i]->name, name) == 0)
                        return providers[i];

        return NULL;
}

/* A handle begins with the device where pieces have ranges. */
char *piece_device(const Piece *piece, char buffer[static DAX_NAME_MAX]) {
        bool named = piece->handle && piece->n_ranges > 0;

        (void) snprintf(buffer, DAX_NAME_MAX, "%.*s", named ? (int) strcspn(piece->handle, " ") : 0,
                        named ? piece->handle : "");
        return buffer;
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
