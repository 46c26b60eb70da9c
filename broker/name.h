/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <string.h>

#include "names.h"

/* Whether text can name an allocation or a region: 1 to 63 characters A-Z a-z 0-9 . _ - */
static inline bool name_is_valid(const char *text) {
        size_t n;

        for (n = 0; text[n] != '\0'; n++) {
                char c = text[n];

                if (n == DAXBROKER_NAME_MAX)
                        return false;
                if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
                      c == '_' || c == '-'))
                        return false;
        }

        return n > 0;
}

/* Whether text is the id of an allocation, as in object paths and names of records. */
static inline bool is_id(const char *text) {
        return strspn(text, "0123456789abcdef") == 16 && text[16] == '\0';
}
