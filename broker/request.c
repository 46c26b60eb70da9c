/* SPDX-License-Identifier: MIT */

/* Requests are hostile until they have passed here. What depends on the region (space, page sizes, nodes) is judged by
 * the region's provider in its plan(), after this and equally without side effects. */

#include "request.h"

#include <inttypes.h>
#include <string.h>

#include "name.h"
#include "size.h"

int name_validate(const char *name, Failure *failure) {
        size_t size = strlen(name);

        if (size > DAXBROKER_NAME_MAX)
                return failure_set(failure, REFUSAL_BadName, "the name has %zu bytes, %d are allowed", size,
                                   DAXBROKER_NAME_MAX);
        if (!name_is_valid(name))
                return failure_set(failure, REFUSAL_BadName,
                                   size == 0 ? "the name is empty; leave the option out for an allocation without a name"
                                             : "a name consists of the characters A-Z a-z 0-9 . _ - and nothing else");
        return 0;
}

int mode_validate(uint32_t mode, uint32_t group, Failure *failure) {
        if (mode & ~UINT32_C(0666))
                return failure_set(failure, REFUSAL_BadMode,
                                   "mode 0%" PRIo32 " has bits beyond 0666: read and write for owner, group and others",
                                   mode);
        if ((mode & 0222 & ~(mode >> 1)) != 0)
                return failure_set(failure, REFUSAL_BadMode,
                                   "mode 0%" PRIo32 " allows writing without reading, which memory cannot do", mode);
        if ((mode >> 3 & 06 & ~mode) && group == DAXBROKER_NO_GROUP)
                return failure_set(failure, REFUSAL_BadMode,
                                   "mode 0%" PRIo32 " lets a group do what others may not, but there is no group; say which "
                                                    "with the option group",
                                   mode);
        return 0;
}

static int group_validate(uint32_t group, const gid_t *groups, size_t n_groups, Failure *failure) {
        for (size_t i = 0; i < n_groups; i++)
                if (groups[i] == group)
                        return 0;

        return failure_set(failure, REFUSAL_BadOption, "option group: the caller is not in group %" PRIu32, group);
}

int request_validate(const Request *request, const gid_t *groups, size_t n_groups, Failure *failure) {
        int r;

        if (request->size == 0)
                return failure_set(failure, REFUSAL_BadSize, "the size is 0; ask for at least 1 byte");
        if (request->size > INT64_MAX)
                return failure_set(failure, REFUSAL_BadSize,
                                   "the size %" PRIu64 " is beyond what any descriptor can hold (2^63 - 1 bytes)",
                                   request->size);
        if (!is_power_of_two(request->alignment) || request->alignment > DAXBROKER_ALIGNMENT_MAX)
                return failure_set(failure, REFUSAL_BadAlignment,
                                   "the alignment %" PRIu64 " is not a power of two from 1 to 1073741824 (1 GiB)",
                                   request->alignment);
        if (request->prefer != PREFER_NOTHING && request->region)
                return failure_set(failure, REFUSAL_BadOption,
                                   "options region and prefer: the one names a region, the other has it chosen");
        if (request->prefer != PREFER_NOTHING && request->grant)
                return failure_set(failure, REFUSAL_BadOption,
                                   "options grant and prefer: a grant is of a region, the other has one chosen");
        if (request->page_size_set && !is_power_of_two(request->page_size))
                return failure_set(failure, REFUSAL_BadOption, "option page-size: %" PRIu64 " is not a power of two",
                                   request->page_size);

        if (request->name) {
                r = name_validate(request->name, failure);
                if (r < 0)
                        return r;
        } else if (request->mode_set || request->group_set)
                return failure_set(failure, REFUSAL_BadOption,
                                   "options mode and group say who may open an allocation by name, and it has none");
        else if (request->persistent)
                return failure_set(failure, REFUSAL_BadOption,
                                   "option persistent: what shall be found again after a reboot needs a name");

        if (request->reserve && !request->name)
                return failure_set(failure, REFUSAL_BadOption, "option reserve: what shall have its place again after a "
                                                               "reboot needs a name");
        if (request->reserve && request->persistent)
                return failure_set(failure, REFUSAL_BadOption,
                                   "options persistent and reserve: the one keeps the contents, the other the place alone");

        if (request->group_set) {
                r = group_validate(request->group, groups, n_groups, failure);
                if (r < 0)
                        return r;
        }
        if (request->mode_set)
                return mode_validate(request->mode, request->group_set ? request->group : DAXBROKER_NO_GROUP, failure);

        return 0;
}
