/* SPDX-License-Identifier: MIT */
#pragma once

#include <daxbroker.h>

/* Variables that tidy up after themselves. They only ever hold what they own. */

#define _cleanup_(function) __attribute__((cleanup(function)))

#define DEFINE_CLEANUP(Type, function)                                                                 \
        static inline void function##p(Type **object) {                                                \
                function(*object);                                                                     \
        }

DEFINE_CLEANUP(daxbroker_client, daxbroker_client_free)
DEFINE_CLEANUP(daxbroker_request, daxbroker_request_free)
DEFINE_CLEANUP(daxbroker_allocation, daxbroker_allocation_close)
DEFINE_CLEANUP(daxbroker_info, daxbroker_info_free)
DEFINE_CLEANUP(daxbroker_list, daxbroker_list_free)
