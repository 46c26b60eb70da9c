/* SPDX-License-Identifier: MIT */

/* What the targets have in common. */

#include "fuzz.h"

#include <stdio.h>
#include <string.h>

void check_failed(const char *condition, const char *file, int line) {
        fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, condition);
        abort();
}

char *text_of(const uint8_t *data, size_t size) {
        char *text;

        text = malloc(size + 1);
        check(text);
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        return text;
}

uint8_t input_byte(Input *input) {
        if (input->size == 0)
                return 0;

        input->size--;
        return *input->data++;
}

uint32_t input_u32(Input *input) {
        uint32_t value = 0;

        for (unsigned i = 0; i < 4; i++)
                value |= (uint32_t) input_byte(input) << (8 * i);
        return value;
}

uint64_t input_u64(Input *input) {
        uint64_t low = input_u32(input);

        return low | (uint64_t) input_u32(input) << 32;
}

char *input_text(Input *input) {
        size_t size = input_byte(input);
        char *text;

        if (size > input->size)
                size = input->size;
        text = text_of(input->data, size);
        input->data += size;
        input->size -= size;
        return text;
}

int text_is_printable(const char *text) {
        for (; *text; text++)
                if (*text < ' ' || *text > '~')
                        return 0;
        return 1;
}
