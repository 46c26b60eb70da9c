/* SPDX-License-Identifier: MIT */

/* Text from elsewhere, made fit for JSON and for terminals. Names are harmless by the service's rules,
 * but reasons and unit names come from further away: none of them may move a cursor, break a line or make
 * output invalid. */

#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define REPLACEMENT 0xfffd

static bool is_continuation(char c) {
        return ((unsigned char) c & 0xc0) == 0x80;
}

/* Bytes of the sequence that begins with this byte, and the bits of the byte that belong to the
 * character. */
static size_t sequence_length(unsigned char first, uint32_t *ret_bits) {
        if (first >= 0xc2 && first <= 0xdf) {
                *ret_bits = first & 0x1f;
                return 2;
        }
        if (first >= 0xe0 && first <= 0xef) {
                *ret_bits = first & 0x0f;
                return 3;
        }
        if (first >= 0xf0 && first <= 0xf4) {
                *ret_bits = first & 0x07;
                return 4;
        }
        return 1;
}

size_t text_decode(const char *text, uint32_t *ret) {
        /* the smallest character that needs a sequence of this length: shorter ones are forged */
        static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
        unsigned char first = (unsigned char) text[0];
        uint32_t character = 0;
        size_t length;

        if (first < 0x80) {
                *ret = first;
                return first == '\0' ? 0 : 1;
        }

        *ret = REPLACEMENT;
        length = sequence_length(first, &character);
        if (length == 1)
                return 1;

        /* stops at the final NUL, which is no continuation */
        for (size_t i = 1; i < length; i++) {
                if (!is_continuation(text[i]))
                        return 1;
                character = character << 6 | ((unsigned char) text[i] & 0x3f);
        }

        if (character < smallest[length] || character > 0x10ffff ||
            (character >= 0xd800 && character <= 0xdfff))
                return 1;

        *ret = character;
        return length;
}

/* Appends text's first `length` bytes, or a replacement where `keep` is false. */
static char *append(char *end, const char *text, size_t length, bool keep, const char *replacement) {
        return keep ? mempcpy(end, text, length) : stpcpy(end, replacement);
}

/* The replacement is the longest that a single byte can turn into. */
static char *copy_new(const char *text) {
        size_t size;

        if (__builtin_mul_overflow(strlen(text), strlen("\ufffd"), &size) ||
            __builtin_add_overflow(size, 1, &size))
                return NULL;
        return malloc(size);
}

char *text_to_utf8(const char *text) {
        char *copy = copy_new(text), *end = copy;
        uint32_t character;
        size_t length;

        if (!copy)
                return NULL;

        while ((length = text_decode(text, &character)) > 0) {
                end = append(end, text, length, character != REPLACEMENT, "\ufffd");
                text += length;
        }

        *end = '\0';
        return copy;
}

static bool is_printable(uint32_t character, bool utf8) {
        if (character < 0x80)
                return character >= 0x20 && character != 0x7f;
        return utf8 && character != REPLACEMENT && wcwidth((wchar_t) character) >= 0;
}

char *text_to_printable(const char *text, bool utf8) {
        char *copy = copy_new(text), *end = copy;
        uint32_t character;
        size_t length;

        if (!copy)
                return NULL;

        while ((length = text_decode(text, &character)) > 0) {
                end = append(end, text, length, is_printable(character, utf8), utf8 ? "\ufffd" : "?");
                text += length;
        }

        *end = '\0';
        return copy;
}

static size_t character_width(uint32_t character) {
        int width = character < 0x80 ? 1 : wcwidth((wchar_t) character);

        return width < 0 ? 1 : (size_t) width;
}

size_t text_width(const char *printable) {
        size_t width = 0, length;
        uint32_t character;

        while ((length = text_decode(printable, &character)) > 0) {
                width += character_width(character);
                printable += length;
        }
        return width;
}

char *text_shorten(const char *printable, size_t columns, bool utf8) {
        const char *ellipsis = utf8 ? "\u2026" : "...", *p = printable;
        size_t ellipsis_width = utf8 ? 1 : 3, width = 0, length;
        uint32_t character;
        char *copy;

        if (text_width(printable) <= columns)
                return strdup(printable);
        if (columns <= ellipsis_width)
                ellipsis = "", ellipsis_width = 0;

        while ((length = text_decode(p, &character)) > 0) {
                width += character_width(character);
                if (width > columns - ellipsis_width)
                        break;
                p += length;
        }

        copy = malloc((size_t) (p - printable) + strlen(ellipsis) + 1);
        if (!copy)
                return NULL;
        stpcpy(mempcpy(copy, printable, (size_t) (p - printable)), ellipsis);
        return copy;
}
