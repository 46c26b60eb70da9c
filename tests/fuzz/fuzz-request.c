/* SPDX-License-Identifier: MIT */

/* Requests: what is admitted keeps within all limits and can be planned; what is not is refused in words. */

#include "fuzz.h"

#include "name.h"
#include "provider.h"
#include "region.h"
#include "request.h"
#include "size.h"

static const gid_t groups[] = { 0, 100, 65534 };

static void check_refused(int r, const Failure *failure) {
        check(r < 0);
        check(failure->refusal != REFUSAL_NONE);
        check(r == -refusal_to_errno(failure->refusal));
        check(failure->text[0] != '\0' && text_is_printable(failure->text));
}

static void check_plan(const Request *request) {
        static char name[] = "r";
        static const Region region = {
                .name = name, .provider = &provider_memfd, .size = GIB, .granularity = 4096, .numa_node = -1
        };
        Failure failure = { 0 };
        Piece piece;
        int r;

        r = provider_memfd.plan(&region, request, &piece, &failure);
        if (r < 0) {
                check_refused(r, &failure);
                return;
        }

        check(piece.length >= request->size && piece.length <= INT64_MAX);
        check(is_power_of_two(piece.page_size) && piece.length % piece.page_size == 0);
        check(piece.length - request->size < piece.page_size);
        check(piece.fd < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input input = { data, size };
        uint8_t flags = input_byte(&input), more = input_byte(&input);
        Request request = {
                .size = input_u64(&input),
                .alignment = input_u64(&input),
                .page_size = input_u64(&input),
                .mode = input_u32(&input),
                .group = input_u32(&input),
                .numa_node = input_u32(&input),
                .mode_set = flags & 1,
                .group_set = flags & 2,
                .numa_node_set = flags & 4,
                .page_size_set = flags & 8,
                .persistent = flags & 16,
                .prefault = flags & 32,
                .contiguous = more & 2,
                .reserve = more & 16,
                .prefer = (Preference) (more >> 2 & 3),
        };
        char *name = input_text(&input), *region = input_text(&input);
        Failure failure = { 0 };
        int r;

        request.name = flags & 64 ? name : NULL;
        request.region = flags & 128 ? region : NULL;
        if (more & 1) /* else nearly all of them end here */
                request.alignment = UINT64_C(1) << (request.alignment % 31);

        r = request_validate(&request, groups, sizeof(groups) / sizeof(groups[0]), &failure);
        if (r < 0)
                check_refused(r, &failure);
        else {
                check(request.size > 0 && request.size <= INT64_MAX);
                check(is_power_of_two(request.alignment) && request.alignment <= GIB);
                check(!request.name || name_is_valid(request.name));
                check(request.name ||
                      !(request.mode_set || request.group_set || request.persistent || request.reserve));
                check(!request.reserve || !request.persistent);
                check(request.prefer == PREFER_NOTHING || !request.region);
                check(!request.mode_set || (request.mode & ~UINT32_C(0666)) == 0);
                check_plan(&request);
        }

        check((name_validate(name, &failure) == 0) == name_is_valid(name));
        r = mode_validate(request.mode, request.group, &failure);
        if (r < 0)
                check_refused(r, &failure);

        free(name);
        free(region);
        return 0;
}
