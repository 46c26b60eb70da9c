/* SPDX-License-Identifier: MIT */
#pragma once

/* What a fuzz target is: a function that takes any bytes and returns 0, as libFuzzer wants it. What must not happen
 * aborts. Linked with driver.c it replays a corpus; linked with libFuzzer it is a campaign (see run). */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(condition)                                                                                       \
        do                                                                                                     \
                if (!(condition))                                                                              \
                        check_failed(#condition, __FILE__, __LINE__);                                          \
        while (0)

/* In fuzz.c. */
_Noreturn void check_failed(const char *condition, const char *file, int line);

/* A copy as a string, which ends at the first NUL byte if there is one; free() it. */
char *text_of(const uint8_t *data, size_t size);

/* Bytes that are used up from the front; zeros when there are none left. */
typedef struct Input {
        const uint8_t *data;
        size_t size;
} Input;

uint8_t input_byte(Input *input);
uint32_t input_u32(Input *input);
uint64_t input_u64(Input *input);
/* A length byte and that many bytes, as text_of() makes them. */
char *input_text(Input *input);

/* Whether this can be shown to people and sent over the bus: what refusals have to be. */
int text_is_printable(const char *text);
