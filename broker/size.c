/* SPDX-License-Identifier: MIT */

/* Sizes as text and back. Nothing wraps around: a size that is too large is an error, never something near it. What a
 * fraction says beyond whole bytes ("0.1K") is dropped. */

#include "size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int size_round_up(uint64_t size, uint64_t multiple, uint64_t *ret) {
        uint64_t sum;

        if (__builtin_add_overflow(size, multiple - 1, &sum))
                return -EOVERFLOW;

        *ret = sum & ~(multiple - 1);
        return 0;
}

/* Reads "K", "KiB" or "" at text, the number of bytes it stands for. */
static int unit_parse(const char *text, uint64_t *ret) {
        static const char letters[] = "KMGTPE";
        const char *letter;

        if (text[0] == '\0' || strcmp(text, "B") == 0) {
                *ret = 1;
                return 0;
        }

        letter = strchr(letters, text[0]);
        if (!letter)
                return -EINVAL;
        if (text[1] != '\0' && strcmp(text + 1, "B") != 0 && strcmp(text + 1, "iB") != 0)
                return -EINVAL;

        *ret = UINT64_C(1) << (10 * (letter - letters + 1));
        return 0;
}

/* Digits at text; how many there were, so that the caller sees where they end. */
static int digits_parse(const char *text, uint64_t *ret, size_t *ret_digits) {
        uint64_t value = 0;
        size_t n;

        for (n = 0; text[n] >= '0' && text[n] <= '9'; n++)
                if (__builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t) (text[n] - '0'), &value))
                        return -ERANGE;

        if (n == 0)
                return -EINVAL;

        *ret = value;
        *ret_digits = n;
        return 0;
}

int size_parse(const char *text, uint64_t *ret) {
        uint64_t whole, fraction = 0, unit, divisor = 1, bytes;
        size_t n, fraction_digits = 0;
        int r;

        if (strcmp(text, "infinity") == 0) {
                *ret = SIZE_INFINITE;
                return 0;
        }

        r = digits_parse(text, &whole, &n);
        if (r < 0)
                return r;
        text += n;

        if (*text == '.') {
                r = digits_parse(text + 1, &fraction, &fraction_digits);
                if (r < 0)
                        return r;
                text += 1 + fraction_digits;
                if (fraction_digits > 6)
                        return -ERANGE;
        }

        while (*text == ' ')
                text++;
        r = unit_parse(text, &unit);
        if (r < 0)
                return r;

        for (size_t i = 0; i < fraction_digits; i++)
                divisor *= 10;
        if (fraction != 0 && unit == 1)
                return -EINVAL; /* half a byte */

        /* unit < 2^61 and fraction < 10^6 < 2^20: dividing first, by parts, keeps every step below 2^64 */
        if (__builtin_mul_overflow(whole, unit, &bytes) ||
            __builtin_add_overflow(bytes, unit / divisor * fraction + unit % divisor * fraction / divisor, &bytes))
                return -ERANGE;
        if (bytes == SIZE_INFINITE)
                return -ERANGE;

        *ret = bytes;
        return 0;
}

int size_parse_part(const char *text, uint64_t whole, uint64_t *ret) {
        uint64_t percent;
        size_t n;
        int r;

        if (text[0] == '\0' || text[strlen(text) - 1] != '%')
                return size_parse(text, ret);

        r = digits_parse(text, &percent, &n);
        if (r < 0)
                return r;
        if (text[n] != '%' || text[n + 1] != '\0')
                return -EINVAL;
        if (percent > 100)
                return -ERANGE;

        *ret = whole / 100 * percent + whole % 100 * percent / 100;
        return 0;
}

char *size_format(uint64_t size, char buffer[static SIZE_TEXT_MAX]) {
        static const char *const names[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB" };
        size_t i = 0;

        if (size == SIZE_INFINITE) {
                (void) snprintf(buffer, SIZE_TEXT_MAX, "no limit");
                return buffer;
        }

        while (i + 1 < sizeof(names) / sizeof(names[0]) && size >= 1024 && size % 1024 == 0) {
                size /= 1024;
                i++;
        }

        (void) snprintf(buffer, SIZE_TEXT_MAX, "%" PRIu64 " %s", size, size == 1 && i == 0 ? "byte" : names[i]);
        return buffer;
}
