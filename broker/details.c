/* SPDX-License-Identifier: MIT */

/* Details are texts under names, in the order in which they were added: bounded in number and in length, so that a question
 * is kept without allocating anything. What is too long is cut, what is too much is left out. */

#include "details.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 4, 0)))
static void details_vadd(Details *details, const char *key, bool fleeting, const char *format, va_list ap) {
        struct Detail *item = &details->items[details->n];

        if (details->n >= DETAILS_MAX)
                return;

        details->n++;
        item->key = key;
        item->fleeting = fleeting;
        (void) vsnprintf(item->value, sizeof(item->value), format, ap);
}

void details_add(Details *details, const char *key, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        details_vadd(details, key, false, format, ap);
        va_end(ap);
}

void details_add_fleeting(Details *details, const char *key, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        details_vadd(details, key, true, format, ap);
        va_end(ap);
}

bool details_equal(const Details *a, const Details *b) {
        if (a->n != b->n)
                return false;

        for (unsigned i = 0; i < a->n; i++)
                if (strcmp(a->items[i].key, b->items[i].key) != 0 ||
                    (!a->items[i].fleeting && strcmp(a->items[i].value, b->items[i].value) != 0))
                        return false;

        return true;
}

/* Texts end with their NUL, which cannot be in them, so that no two lists of them look the same. */
static bool key_append(char *key, size_t *n, const char *text) {
        size_t size = strlen(text) + 1;

        if (size > DETAILS_KEY_MAX - *n)
                return false;

        memcpy(key + *n, text, size);
        *n += size;
        return true;
}

size_t details_key(const Details *details, const char *action, char ret[static DETAILS_KEY_MAX]) {
        size_t n = 0;

        if (!key_append(ret, &n, action))
                return 0;
        for (unsigned i = 0; i < details->n; i++)
                if (!key_append(ret, &n, details->items[i].key) || !key_append(ret, &n, details->items[i].value))
                        return 0;

        return n;
}
