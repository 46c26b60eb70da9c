/* SPDX-License-Identifier: MIT */
#pragma once

#include "error-table.h"

/* The refusals as an enumeration, and the ways between enumeration, D-Bus error name and errno. */

typedef enum Refusal {
        REFUSAL_NONE,
#define X(name, number, meaning) REFUSAL_##name,
        DAXBROKER_ERROR_TABLE(X)
#undef X
        _REFUSAL_MAX,
} Refusal;

#define DAXBROKER_ERROR_PREFIX "org.daxbroker1.Error."

/* "org.daxbroker1.Error.NoSpace". NULL for REFUSAL_NONE and for values that are no refusal. */
const char *refusal_to_bus_name(Refusal refusal);

/* ENOSPC. 0 for REFUSAL_NONE and for values that are no refusal. */
int refusal_to_errno(Refusal refusal);

/* One sentence on what the refusal means, for documentation and for messages of last resort. */
const char *refusal_to_meaning(Refusal refusal);

/* The other way; REFUSAL_NONE for a name that is not in the table, NULL included. */
Refusal refusal_from_bus_name(const char *name);
