/* SPDX-License-Identifier: MIT */

/* A handle is written by us alone, but read from a file: what makes no sense is refused. */

#include "devdax-handle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "file.h"

int devdax_handle_format(const char *device, const Range *ranges, size_t n_ranges, char **ret) {
        char *text = NULL;
        size_t size;
        FILE *file;

        file = open_memstream(&text, &size);
        if (!file)
                return -ENOMEM;
        fputs(device, file);
        for (size_t i = 0; i < n_ranges; i++)
                fprintf(file, "%c%" PRIx64 "+%" PRIx64, i == 0 ? ' ' : ',', ranges[i].start, ranges[i].length);

        return text_stream_close(file, &text, SIZE_MAX, ret);
}

static int hex_parse(const char **text, uint64_t *ret) {
        static const char digits[] = "0123456789abcdef";
        uint64_t value = 0;
        unsigned n = 0;

        for (; **text; (*text)++) {
                const char *digit = strchr(digits, **text);

                if (!digit)
                        break;
                if (++n > 16)
                        return -EBADMSG;
                value = value << 4 | (uint64_t) (digit - digits);
        }
        if (n == 0)
                return -EBADMSG;

        *ret = value;
        return 0;
}

int devdax_ranges_parse(const char *at, Range ret[static DAX_RANGES_MAX], unsigned *ret_n) {
        unsigned n = 0;
        bool more;

        do {
                if (n == DAX_RANGES_MAX || hex_parse(&at, &ret[n].start) < 0 || *at++ != '+' ||
                    hex_parse(&at, &ret[n].length) < 0 || ret[n].length == 0 || ret[n].length % DAX_GRANULARITY != 0 ||
                    ret[n].start % DAX_GRANULARITY != 0)
                        return -EBADMSG;
                n++;
                more = *at == ',';
                if (more)
                        at++;
        } while (more);
        if (*at != '\0')
                return -EBADMSG;

        *ret_n = n;
        return 0;
}

int devdax_handle_parse(const char *handle, char ret_device[static DAX_NAME_MAX], Range ret[static DAX_RANGES_MAX],
                        unsigned *ret_n) {
        const char *at = handle ? strchr(handle, ' ') : NULL;
        unsigned region, number;
        char end;

        if (!at || at == handle || at - handle >= DAX_NAME_MAX)
                return -EBADMSG;
        (void) snprintf(ret_device, DAX_NAME_MAX, "%.*s", (int) (at - handle), handle);
        /* daxX.0 is never ours */
        if (sscanf(ret_device, "dax%9u.%9u%c", &region, &number, &end) != 2 || number == 0)
                return -EBADMSG;

        return devdax_ranges_parse(at + 1, ret, ret_n);
}
