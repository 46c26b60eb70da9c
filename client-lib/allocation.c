/* SPDX-License-Identifier: MIT */

/* A hold on a piece of memory: the memory's descriptor, the lease that keeps it alive, and where in the
 * descriptor it lies.
 *
 * Closing it is a local affair: the service sees that the last copy of the lease is gone. That is what
 * makes it right in a forked child too, which lets go of its own copy and of nobody else's.
 *
 * What the service answers is checked before it is believed, so that a wrong answer is an error here and
 * not a wild pointer later. */

#include "allocation.h"

#include "map.h"
#include "names.h"
#include "request.h"
#include "util.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A device may have to be zeroed first, after a boot all of it, and within the bandwidth that an admin allows. */
#define SLOW_SIZE (UINT64_C(1) << 30)

int allocation_new_consume_fds(int memory_fd, int lease_fd, uint64_t offset, uint64_t length,
                               uint64_t alignment, const char *object, daxbroker_allocation **ret) {
        uint64_t page_size = map_page_size(memory_fd);
        daxbroker_allocation *allocation;
        size_t mapped_length, reserve;
        int r;

        r = map_layout(length, page_size, 1, &mapped_length, &reserve);
        if (r < 0)
                return error_set(r, "the memory is larger than the address space");

        allocation = calloc(1, sizeof(*allocation));
        if (!allocation)
                return error_set(-ENOMEM, "out of memory");

        allocation->object = strdup(object ?: "");
        if (!allocation->object) {
                free(allocation);
                return error_set(-ENOMEM, "out of memory");
        }

        allocation->mapped_length = mapped_length;
        allocation->page_size = page_size;
        allocation->memory_fd = memory_fd;
        allocation->lease_fd = lease_fd;
        allocation->offset = offset;
        allocation->length = length;
        allocation->alignment = alignment;
        atomic_init(&allocation->address, NULL);
        atomic_init(&allocation->persistence, NULL);
        atomic_init(&allocation->lacks_map_sync, false);

        *ret = allocation;
        return 0;
}

_public_ daxbroker_allocation *daxbroker_allocation_close(daxbroker_allocation *allocation) {
        int saved = errno;

        if (!allocation)
                return NULL;

        /* The lease last: while it is held, nobody else can be given this memory. */
        allocation_unmap(allocation);
        fd_close(allocation->memory_fd);
        fd_close(allocation->lease_fd);
        free(atomic_load(&allocation->persistence));
        free(allocation->object);
        free(allocation);

        errno = saved;
        return NULL;
}

/* Whether the descriptor can really hold that. Device nodes have no size of their own. */
static int allocation_check_range(int memory_fd, uint64_t offset, uint64_t length, uint64_t size) {
        struct stat status;
        uint64_t end;

        if (length == 0 || length < size || length > SIZE_MAX ||
            __builtin_add_overflow(offset, length, &end) || end > INT64_MAX)
                return error_set(-EPROTO, "the service's answer has an impossible offset or length");

        if (fstat(memory_fd, &status) < 0)
                return error_set_errno(-errno, "cannot look at the memory's descriptor");

        if (S_ISREG(status.st_mode) && (uint64_t) status.st_size < end)
                return error_set(-EPROTO, "the memory is smaller than was said, or has ended meanwhile");

        return 0;
}

/* For Call.parse. */
static int allocation_parse(sd_bus_message *reply, uint64_t size, uint64_t alignment,
                            daxbroker_allocation **ret) {
        _cleanup_(fd_close_p) int memory_fd = -EBADF, lease_fd = -EBADF;
        int memory, lease, r; /* borrowed from the message */
        uint64_t offset, length;
        const char *object;

        r = sd_bus_message_read(reply, "ohhtt", &object, &memory, &lease, &offset, &length);
        if (r <= 0)
                return error_set(-EPROTO, "the service's answer is not what its interface says");

        memory_fd = fcntl(memory, F_DUPFD_CLOEXEC, 3);
        if (memory_fd < 0)
                return error_set_errno(-errno, "cannot keep the memory's descriptor");

        lease_fd = fcntl(lease, F_DUPFD_CLOEXEC, 3);
        if (lease_fd < 0)
                return error_set_errno(-errno, "cannot keep the lease's descriptor");

        r = allocation_check_range(memory_fd, offset, length, size);
        if (r < 0)
                return r;

        r = allocation_new_consume_fds(memory_fd, lease_fd, offset, length, alignment, object, ret);
        if (r < 0)
                return r;

        TAKE_FD(memory_fd);
        TAKE_FD(lease_fd);
        return 0;
}

static int allocation_parse_allocate(sd_bus_message *reply, const void *arguments, void *result) {
        const daxbroker_request *request = arguments;

        return allocation_parse(reply, request->size, request->alignment, result);
}

static int allocation_parse_open(sd_bus_message *reply, const void *arguments, void *result) {
        (void) arguments;

        return allocation_parse(reply, 1, 0, result);
}

static int allocation_append_open(sd_bus_message *message, const void *arguments) {
        const OpenArguments *open = arguments;

        if (open->flags & DAXBROKER_READ_ONLY)
                return sd_bus_message_append(message, "sa{sv}", open->name, 1, "read-only", "b", 1);

        return sd_bus_message_append(message, "sa{sv}", open->name, 0);
}

int allocation_call_allocate(const daxbroker_request *request, Call *ret) {
        if (!request)
                return error_set(-EINVAL, "there is no request");

        *ret = (Call) {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = "Allocate",
                .append = request_append,
                .arguments = request,
                .parse = allocation_parse_allocate,
                .interactive = request->interactive,
                .slow = request->prefault || request->size >= SLOW_SIZE,
                /* A nameless one that nobody received ends by itself, and a persistent one is got again; any
                 * other named one would be in its own way. */
                .once = request->name && !request->persistent,
        };
        return 0;
}

int allocation_call_open(const OpenArguments *arguments, Call *ret) {
        if (!arguments->name)
                return error_set(-EINVAL, "there is no name");

        if (arguments->flags & ~(DAXBROKER_READ_ONLY | DAXBROKER_INTERACTIVE))
                return error_set(-EINVAL, "a flag is unknown");

        *ret = (Call) {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = "Open",
                .append = allocation_append_open,
                .arguments = arguments,
                .parse = allocation_parse_open,
                .interactive = arguments->flags & DAXBROKER_INTERACTIVE,
        };
        return 0;
}

_public_ int daxbroker_allocate(daxbroker_client *client, const daxbroker_request *request,
                                daxbroker_allocation **ret) {
        daxbroker_allocation *allocation;
        Call call;
        int r;

        r = allocation_call_allocate(request, &call);
        if (r < 0)
                return r;

        call.result = &allocation;
        r = call_run(client, &call, NULL);
        if (r < 0)
                return r;

        *ret = allocation;
        return 0;
}

_public_ int daxbroker_open(daxbroker_client *client, const char *name, uint64_t flags,
                            daxbroker_allocation **ret) {
        OpenArguments arguments = { .name = (char *) (uintptr_t) name, .flags = flags };
        daxbroker_allocation *allocation;
        Call call;
        int r;

        r = allocation_call_open(&arguments, &call);
        if (r < 0)
                return r;

        call.result = &allocation;
        r = call_run(client, &call, NULL);
        if (r < 0)
                return r;

        *ret = allocation;
        return 0;
}

_public_ int daxbroker_allocation_get_fd(const daxbroker_allocation *allocation) {
        return allocation->memory_fd;
}

_public_ int daxbroker_allocation_get_lease_fd(const daxbroker_allocation *allocation) {
        return allocation->lease_fd >= 0 ? allocation->lease_fd : -1;
}

_public_ uint64_t daxbroker_allocation_get_offset(const daxbroker_allocation *allocation) {
        return allocation->offset;
}

_public_ uint64_t daxbroker_allocation_get_length(const daxbroker_allocation *allocation) {
        return allocation->length;
}

_public_ void *daxbroker_allocation_get_address(const daxbroker_allocation *allocation) {
        return atomic_load(&allocation->address);
}

_public_ const char *daxbroker_allocation_get_object(const daxbroker_allocation *allocation) {
        return allocation->object;
}
