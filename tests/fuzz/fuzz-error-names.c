/* SPDX-License-Identifier: MIT */

/* Error names that somebody else sent, and refusals that are none; and what becomes of quoted text. */

#include "fuzz.h"

#include <string.h>

#include "failure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = text_of(data, size);
        Input input = { data, size };
        Refusal refusal;
        Failure failure;

        refusal = refusal_from_bus_name(text);
        if (refusal == REFUSAL_NONE) {
                check(!refusal_to_bus_name(refusal));
                check(refusal_to_errno(refusal) == 0);
        } else
                check(strcmp(refusal_to_bus_name(refusal), text) == 0);

        refusal = (Refusal) input_u32(&input);
        check((refusal_to_errno(refusal) > 0) == (refusal > REFUSAL_NONE && refusal < _REFUSAL_MAX));
        check(!refusal_to_bus_name(refusal) == !refusal_to_meaning(refusal));

        (void) failure_set(&failure, REFUSAL_Failed, "'%.64s' and '%s'", text, text);
        check(text_is_printable(failure.text));
        (void) failure_set_errno(&failure, -(int) input_byte(&input), "%s", text);
        check(text_is_printable(failure.text));
        check(failure.refusal == REFUSAL_Failed || failure.refusal == REFUSAL_NoResources);

        free(text);
        return 0;
}
