/* SPDX-License-Identifier: MIT */

/* The error table made usable. Everything here is derived from error-table.h; nothing is written twice. */

#include "error-names.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const struct {
        const char *bus_name;
        const char *meaning;
        int number;
} table[_REFUSAL_MAX] = {
#define X(name, errno_number, what) [REFUSAL_##name] = { DAXBROKER_ERROR_PREFIX #name, what, errno_number },
        DAXBROKER_ERROR_TABLE(X)
#undef X
};

const char *refusal_to_bus_name(Refusal refusal) {
        return (unsigned) refusal < _REFUSAL_MAX ? table[refusal].bus_name : NULL;
}

int refusal_to_errno(Refusal refusal) {
        return (unsigned) refusal < _REFUSAL_MAX ? table[refusal].number : 0;
}

const char *refusal_to_meaning(Refusal refusal) {
        return (unsigned) refusal < _REFUSAL_MAX ? table[refusal].meaning : NULL;
}

Refusal refusal_from_bus_name(const char *name) {
        for (Refusal refusal = REFUSAL_NONE + 1; name && refusal < _REFUSAL_MAX; refusal++)
                if (strcmp(table[refusal].bus_name, name) == 0)
                        return refusal;

        return REFUSAL_NONE;
}
