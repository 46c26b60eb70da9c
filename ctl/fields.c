/* SPDX-License-Identifier: MIT */

/* Lines of label and value, for what is told about a single thing. */

#include "fields.h"
#include "size.h"
#include "terminal.h"
#include "text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* As wide as the longest label. */
#define LABEL_WIDTH 10

void field_print(const char *label, const char *format, ...) {
        char *value = NULL, *printable = NULL;
        va_list arguments;
        int r;

        va_start(arguments, format);
        r = vasprintf(&value, format, arguments);
        va_end(arguments);

        if (r >= 0) {
                printable = text_to_printable(value, terminal_look().utf8);
                free(value);
        }
        printf("%*s: %s\n", LABEL_WIDTH, label, printable ? printable : "(out of memory)");
        free(printable);
}

void field_print_size(const char *label, uint64_t size) {
        char text[SIZE_TEXT_MAX];

        if (size < 1024)
                field_print(label, "%" PRIu64 " bytes", size);
        else
                field_print(label, "%s (%" PRIu64 " bytes)", size_format(size, text), size);
}
