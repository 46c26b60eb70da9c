/* SPDX-License-Identifier: MIT */

/* Sizes as people write and read them, in the forms that the service's configuration knows, too. The base is
 * always 1024, whatever the suffix looks like.
 *
 * Reading rounds up, since nobody is to get less than was asked for; writing rounds down, since nobody is
 * to be told of more than there is. */

#include "size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Position = power of 1024. */
static const char units[] = "BKMGTPE";

/* More decimals than this could not be told apart, even in exbibytes. */
#define DECIMALS_MAX 18

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* The power of 1024 that a suffix stands for, -1 if it is none: "", "B", "M", "mb", "MiB". */
static int unit_power(const char *suffix) {
        const char *unit;

        if (*suffix == '\0')
                return 0;

        unit = strchr(units, *suffix >= 'a' && *suffix <= 'z' ? *suffix - 'a' + 'A' : *suffix);
        if (!unit)
                return -1;
        if (suffix[1] != '\0' &&
            (unit == units || (strcasecmp(suffix + 1, "B") != 0 && strcasecmp(suffix + 1, "iB") != 0)))
                return -1;

        return (int) (unit - units);
}

/* Reads the digits after the point as numerator / denominator. */
static int fraction_parse(const char **text, uint64_t *ret_numerator, uint64_t *ret_denominator) {
        uint64_t numerator = 0, denominator = 1;
        const char *p = *text;

        if (!is_digit(*p))
                return -EINVAL;

        for (; is_digit(*p); p++) {
                if (p - *text >= DECIMALS_MAX)
                        return -EINVAL;
                numerator = numerator * 10 + (uint64_t) (*p - '0');
                denominator *= 10;
        }

        *text = p;
        *ret_numerator = numerator;
        *ret_denominator = denominator;
        return 0;
}

int size_parse(const char *text, uint64_t *ret) {
        uint64_t whole = 0, numerator = 0, denominator = 1, size;
        bool overflow = false, fraction = false;
        const char *p = text;
        int power, r;

        if (!is_digit(*p))
                return -EINVAL;

        /* read to the end even after an overflow: "99999999999999999999x" is nonsense, not too large */
        for (; is_digit(*p); p++)
                overflow |= __builtin_mul_overflow(whole, 10, &whole) ||
                            __builtin_add_overflow(whole, (uint64_t) (*p - '0'), &whole);

        if (*p == '.') {
                p++;
                fraction = true;
                r = fraction_parse(&p, &numerator, &denominator);
                if (r < 0)
                        return r;
        }

        if (*p == ' ' && p[1] != '\0')
                p++;
        power = unit_power(p);
        if (power < 0 || (fraction && power == 0))
                return -EINVAL;

        overflow |= __builtin_mul_overflow(whole, UINT64_C(1) << (10 * power), &size);
        if (fraction) {
                unsigned __int128 bytes = ((unsigned __int128) numerator << (10 * power)) + denominator - 1;

                overflow |= __builtin_add_overflow(size, (uint64_t) (bytes / denominator), &size);
        }
        if (overflow)
                return -ERANGE;

        *ret = size;
        return 0;
}

char *size_format(uint64_t size, char text[static SIZE_TEXT_MAX]) {
        int power = 0;
        unsigned tenths;
        uint64_t unit;

        while (power < (int) strlen(units) - 1 && size >> (10 * (power + 1)) != 0)
                power++;

        unit = UINT64_C(1) << (10 * power);
        tenths = (unsigned) ((unsigned __int128) (size % unit) * 10 / unit);

        if (tenths == 0)
                snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 "%c", size / unit, units[power]);
        else
                snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 ".%u%c", size / unit, tenths, units[power]);
        return text;
}
