/* SPDX-License-Identifier: MIT */

/* How a D-Bus connection begins: who says who he is, and whom we believe. */

#include "handshake.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define ID "0123456789abcdef0123456789abcdef"

/* Feeds it in pieces of so many bytes, as a socket would; returns all that was answered. */
static char *converse(Handshake *handshake, const char *text, size_t size, size_t piece, ssize_t *ret_last) {
        GString *said = g_string_new(NULL);
        size_t done = 0, there = 0;

        *ret_last = 0;
        while (there < size && *ret_last >= 0 && !handshake->done) {
                char reply[HANDSHAKE_REPLY_MAX];

                there = MIN(size, there + piece);
                *ret_last = handshake_read(handshake, text + done, there - done, reply);
                if (*ret_last > 0)
                        done += (size_t) *ret_last;
                g_string_append(said, reply);
        }
        if (*ret_last >= 0)
                *ret_last = (ssize_t) done;
        return g_string_free(said, FALSE);
}

static void test_conversations(void) {
        static const struct {
                const char *client, *server;
                bool done, fds;
        } cases[] = {
                { "AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", "DATA\r\nOK " ID "\r\n", true, false },
                { "AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n",
                  "DATA\r\nOK " ID "\r\nAGREE_UNIX_FD\r\n", true, true },
                { "AUTH\r\nAUTH EXTERNAL 31303030\r\nBEGIN\r\n", "REJECTED EXTERNAL\r\nOK " ID "\r\n", true, false },
                { "AUTH EXTERNAL\r\nDATA 31303030\r\nBEGIN\r\n", "DATA\r\nOK " ID "\r\n", true, false },
                { "AUTH EXTERNAL 31303031\r\n", "REJECTED EXTERNAL\r\n", false, false },
                { "AUTH EXTERNAL 3130303\r\n", "REJECTED EXTERNAL\r\n", false, false },
                { "AUTH EXTERNAL 3130303030\r\n", "REJECTED EXTERNAL\r\n", false, false },
                { "AUTH ANONYMOUS\r\n", "REJECTED EXTERNAL\r\n", false, false },
                { "AUTH EXTERNALLY\r\n", "REJECTED EXTERNAL\r\n", false, false },
                { "DATA\r\nNEGOTIATE_UNIX_FD\r\nHELLO\r\n", "ERROR\r\nERROR\r\nERROR\r\n", false, false },
                { "AUTH EXTERNAL\r\nCANCEL\r\nDATA\r\n", "DATA\r\nREJECTED EXTERNAL\r\nERROR\r\n", false, false },
                { "AUTH EXTERNAL\r\nDATA\r\nAUTH EXTERNAL 31\r\nBEGIN\r\n", "DATA\r\nOK " ID "\r\nERROR\r\n", true, false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                for (size_t piece = 1; piece < 64; piece += 9) {
                        Handshake handshake = { .uid = 1000, .id = ID };
                        g_autofree char *said = NULL, *text = g_strconcat(" ", cases[i].client, "messages", NULL);
                        size_t size = strlen(text);
                        ssize_t last;

                        text[0] = '\0';
                        said = converse(&handshake, text, size, piece, &last);
                        g_assert_cmpstr(said, ==, cases[i].server);
                        g_assert_cmpint(last, ==, (ssize_t) strlen(cases[i].client) + 1);
                        g_assert_true(handshake.done == cases[i].done && handshake.fds == cases[i].fds);
                }
}

static void test_strangers(void) {
        static const struct {
                const char *text;
                size_t size;
        } cases[] = {
                { "AUTH EXTERNAL\r\n", 15 }, { "\0BEGIN\r\n", 8 }, { "\0AUTH EXTERNAL 32\r\nBEGIN\r\n", 27 },
                { "\0A\0B\r\n", 6 }, { "\0AUTH EXTERNAL\r\nBEGIN\r\n", 23 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Handshake handshake = { .uid = 1000, .id = ID };
                char reply[HANDSHAKE_REPLY_MAX];

                g_assert_cmpint(handshake_read(&handshake, cases[i].text, cases[i].size, reply), ==, -EPROTO);
                g_assert_false(handshake.done);
        }
}

/* Nobody keeps us busy with it for ever, and as many lines as fit are answered. */
static void test_many_lines(void) {
        g_autoptr(GString) text = g_string_new_len("", 1);
        Handshake handshake = { .uid = 1000, .id = ID };
        char reply[HANDSHAKE_REPLY_MAX];

        for (unsigned i = 0; i < 32; i++)
                g_string_append(text, "AUTH\r\n");
        g_assert_cmpint(handshake_read(&handshake, text->str, text->len, reply), ==, (ssize_t) text->len);
        g_assert_cmpuint(strlen(reply), ==, 32 * strlen("REJECTED EXTERNAL\r\n"));
        g_assert_cmpint(handshake_read(&handshake, "AUTH\r\n", 6, reply), ==, -EPROTO);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/handshake/conversations", test_conversations);
        g_test_add_func("/handshake/strangers", test_strangers);
        g_test_add_func("/handshake/many-lines", test_many_lines);
        return g_test_run();
}
