/* SPDX-License-Identifier: MIT */

/* Signals are written down, in the user's process, when it is asked what it has heard; until then they wait in the
 * connection. */

#include "signals.h"

#include <glib.h>
#include <stdarg.h>
#include <string.h>

#include "names.h"
#include "provider.h"
#include "world.h"

static GString *heard;

static void hear_value(sd_bus_message *m, const char *property) {
        const char *contents, *text;
        uint64_t large;
        int32_t small;
        char type;

        g_assert_cmpint(sd_bus_message_peek_type(m, &type, &contents), >, 0);
        if (g_str_equal(contents, "t")) {
                g_assert_cmpint(sd_bus_message_read(m, "v", "t", &large), >, 0);
                g_string_append_printf(heard, " %s=%" G_GUINT64_FORMAT, property, large);
        } else if (g_str_equal(contents, "i")) {
                g_assert_cmpint(sd_bus_message_read(m, "v", "i", &small), >, 0);
                g_string_append_printf(heard, " %s=%d", property, small);
        } else if (g_str_equal(contents, "s")) {
                g_assert_cmpint(sd_bus_message_read(m, "v", "s", &text), >, 0);
                g_string_append_printf(heard, " %s=%s", property, text);
        } else {
                g_assert_cmpint(sd_bus_message_skip(m, "v"), >, 0);
                g_string_append_printf(heard, " %s=...", property);
        }
}

static void hear_changed(sd_bus_message *m) {
        const char *interface, *property;

        g_assert_cmpint(sd_bus_message_read(m, "s", &interface), >, 0);
        g_string_append_printf(heard, "changed %s %s", sd_bus_message_get_path(m), interface);
        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "{sv}"), >, 0);
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                g_assert_cmpint(sd_bus_message_read(m, "s", &property), >, 0);
                hear_value(m, property);
                g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
        }
        g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "s"), >, 0);
        while (sd_bus_message_read(m, "s", &property) > 0)
                g_string_append_printf(heard, " -%s", property);
}

unsigned message_skip_values(sd_bus_message *m) {
        unsigned n = 0;

        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "{sv}"), >, 0);
        for (; sd_bus_message_at_end(m, false) == 0; n++)
                g_assert_cmpint(sd_bus_message_skip(m, "{sv}"), >, 0);
        g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
        return n;
}

static void hear_added(sd_bus_message *m) {
        const char *path, *interface;

        g_assert_cmpint(sd_bus_message_read(m, "o", &path), >, 0);
        g_string_append_printf(heard, "added %s", path);
        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "{sa{sv}}"), >, 0);
        while (sd_bus_message_enter_container(m, 'e', "sa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_read(m, "s", &interface), >, 0);
                g_string_append_printf(heard, " %s(%u)", interface, message_skip_values(m));
                g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
        }
}

static void hear_removed(sd_bus_message *m) {
        const char *path, *interface;

        g_assert_cmpint(sd_bus_message_read(m, "o", &path), >, 0);
        g_string_append_printf(heard, "removed %s", path);
        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "s"), >, 0);
        while (sd_bus_message_read(m, "s", &interface) > 0)
                g_string_append_printf(heard, " %s", interface);
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.Properties", "PropertiesChanged"))
                hear_changed(m);
        else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded"))
                hear_added(m);
        else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved"))
                hear_removed(m);
        else
                g_string_append_printf(heard, "unexpected %s", sd_bus_message_get_member(m));
        g_string_append_c(heard, '\n');
        (void) userdata;
        (void) error;
        return 0;
}

static int64_t do_listen(UserCall *call) {
        (void) call;
        heard = g_string_new(NULL);
        return sd_bus_match_signal(user_bus(), NULL, DAXBROKER_BUS_NAME, NULL, NULL, NULL, on_signal, NULL);
}

void user_listen(User *user) {
        g_assert_cmpint(user_call(user, do_listen, NULL, 0, NULL, 0), >=, 0);
}

static int64_t do_hear(UserCall *call) {
        /* what was sent before the reply has arrived before it */
        g_assert_cmpint(sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                           DAXBROKER_MANAGER_INTERFACE, "ListRegions", NULL, NULL, NULL),
                        >=, 0);
        while (sd_bus_process(user_bus(), NULL) > 0)
                ;
        g_assert_cmpuint(heard->len, <, USER_DATA_MAX);
        memcpy(call->answer, heard->str, heard->len + 1);
        call->answer_size = heard->len + 1;
        return 0;
}

char *user_get_heard(User *user) {
        char *text = g_malloc(USER_DATA_MAX);

        user_call(user, do_hear, NULL, 0, text, USER_DATA_MAX);
        return text;
}

static bool hears(User *user, const char *pattern) {
        g_autofree char *text = user_get_heard(user);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (char **line = lines; *line; line++)
                if (g_pattern_match_simple(pattern, *line))
                        return true;
        return false;
}

void user_assert_hears(User *user, const char *format, ...) {
        g_autofree char *meant = NULL, *pattern = NULL, *text = NULL;
        va_list ap;

        va_start(ap, format);
        meant = g_strdup_vprintf(format, ap);
        va_end(ap);
        pattern = provider_text(meant);
        if (wait_until(10, hears(user, pattern)))
                return;

        text = user_get_heard(user);
        g_error("%s has not heard \"%s\", only:\n%s", user->name, pattern, text);
}
