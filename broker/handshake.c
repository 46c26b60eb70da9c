/* SPDX-License-Identifier: MIT */

/* Clients name a mechanism, and the only one there is is EXTERNAL: that the kernel says who they are. They may say it as
 * well, in hexadecimal digits of the decimal number; then it has to be true. All other mechanisms are rejected, among them
 * the one by which a client is nobody. */

#include "handshake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Clients try a few mechanisms at most. */
#define LINES_MAX 32

/* Whether what a client calls himself is true: "31303030" for 1000, or nothing. */
static bool names_uid(const char *hex, uid_t uid) {
        char number[16], expected[2 * sizeof(number) + 1];
        int n;

        if (hex[0] == '\0')
                return true;

        n = snprintf(number, sizeof(number), "%u", (unsigned) uid);
        for (int i = 0; i < n; i++)
                (void) snprintf(expected + 2 * i, 3, "%02x", (unsigned) number[i]);
        return strcmp(hex, expected) == 0;
}

/* If the line begins with this word, what comes behind it. */
static const char *after_word(const char *line, const char *word) {
        size_t n = strlen(word);

        if (strncmp(line, word, n) != 0 || (line[n] != ' ' && line[n] != '\0'))
                return NULL;
        return line[n] == ' ' ? line + n + 1 : line + n;
}

/* The answer to a line; "OK" is to be followed by our id. */
static const char *answer(Handshake *handshake, const char *line) {
        const char *rest, *name;

        if (handshake->accepted) {
                if (strcmp(line, "NEGOTIATE_UNIX_FD") != 0)
                        return "ERROR";
                handshake->fds = true;
                return "AGREE_UNIX_FD";
        }

        rest = after_word(line, "AUTH");
        if (rest && strcmp(rest, "EXTERNAL") == 0) {
                handshake->asked = true;
                return "DATA";
        }

        name = rest ? after_word(rest, "EXTERNAL") : handshake->asked ? after_word(line, "DATA") : NULL;
        if (!name && !rest && !after_word(line, "CANCEL") && !after_word(line, "ERROR"))
                return "ERROR";

        handshake->asked = false;
        handshake->accepted = name && names_uid(name, handshake->uid);
        return handshake->accepted ? "OK" : "REJECTED EXTERNAL";
}

ssize_t handshake_read(Handshake *handshake, const char *text, size_t n, char reply[static HANDSHAKE_REPLY_MAX]) {
        size_t done = 0, written = 0;

        reply[0] = '\0';
        if (n > 0 && !handshake->begun) {
                if (text[0] != '\0')
                        return -EPROTO;
                handshake->begun = true;
                done = 1;
        }

        while (!handshake->done) {
                const char *end = memmem(text + done, n - done, "\r\n", 2), *said, *id;
                char line[HANDSHAKE_MAX];
                size_t length;

                if (!end)
                        break;
                length = (size_t) (end - (text + done));
                if (++handshake->n_lines > LINES_MAX || length >= sizeof(line) || memchr(text + done, '\0', length))
                        return -EPROTO;
                memcpy(line, text + done, length);
                line[length] = '\0';
                done += length + 2;

                if (strcmp(line, "BEGIN") == 0) {
                        if (!handshake->accepted)
                                return -EPROTO;
                        handshake->done = true;
                        break;
                }
                said = answer(handshake, line);
                id = strcmp(said, "OK") == 0 ? handshake->id : "";
                written += (size_t) snprintf(reply + written, HANDSHAKE_REPLY_MAX - written, "%s%s%s\r\n", said,
                                             id[0] ? " " : "", id);
        }

        return (ssize_t) done;
}
