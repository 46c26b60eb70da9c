/* SPDX-License-Identifier: MIT */

/* polkitd reads its rules again, all of them, whenever a file in its folders changes, some time later and without saying
 * which. So that tests need not guess, a second file is written after the one that matters. It says yes to a question
 * with a number in it that nobody but this file asks, and no to another one, whatever earlier rules said to everything;
 * when it does, both files are in force. */

#include "polkit.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "provider.h"
#include "world.h"

#define RULES "/etc/polkit-1/rules.d/10-test.rules"
#define GENERATION_RULES "/etc/polkit-1/rules.d/05-generation.rules"

#define BUS_NAME "org.freedesktop.PolicyKit1"

static void write_rules(const char *path, const char *javascript) {
        g_assert_true(g_file_set_contents(path, javascript, -1, NULL));
        g_assert_cmpint(chmod(path, 0644), ==, 0);
}

/* Would bob be allowed? The question needs somebody who is not root: no rule is asked about root. */
static bool is_allowed(sd_bus *bus, const char *answer, const char *generation) {
        sd_bus_message *reply = NULL;
        int authorized = 0, r;

        r = sd_bus_call_method(bus, BUS_NAME, "/org/freedesktop/PolicyKit1/Authority", BUS_NAME ".Authority",
                               "CheckAuthorization", NULL, &reply, "(sa{sv})sa{ss}us",
                               "unix-process", 3, "pid", "u", (uint32_t) getpid(), "start-time", "t", (uint64_t) 0,
                               "uid", "i", (int32_t) world_get_uid("bob"),
                               "org.daxbroker1.allocate", 1, answer, generation, (uint32_t) 0, "");
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(reply, "b", &authorized);
        sd_bus_message_unref(reply);
        return r >= 0 && authorized;
}

static bool is_in_force(sd_bus *bus, const char *generation) {
        return is_allowed(bus, "test-yes", generation) && !is_allowed(bus, "test-no", generation);
}

void polkit_set_rules(const char *javascript) {
        static unsigned number;
        g_autofree char *generation = g_strdup_printf("%d-%u", getpid(), number++), *probe = NULL;
        sd_bus *bus = NULL;

        if (javascript) {
                g_autofree char *rules = provider_text(javascript);

                write_rules(RULES, rules);
        } else
                (void) g_unlink(RULES);

        probe = g_strdup_printf("polkit.addRule(function(action, subject) {\n"
                                "    if (action.lookup('test-yes') == '%s')\n"
                                "        return polkit.Result.YES;\n"
                                "    if (action.lookup('test-no') == '%s')\n"
                                "        return polkit.Result.NO;\n"
                                "});\n", generation, generation);
        write_rules(GENERATION_RULES, probe);

        g_assert_cmpint(sd_bus_open_system(&bus), >=, 0);
        g_assert_true(wait_until(20, is_in_force(bus, generation)));
        sd_bus_flush_close_unref(bus);
}

void polkit_freeze(void) {
        g_assert_cmpint(kill(world_read_pid("polkitd.pid"), SIGSTOP), ==, 0);
}

void polkit_thaw(void) {
        g_assert_cmpint(kill(world_read_pid("polkitd.pid"), SIGCONT), ==, 0);
}

void polkit_kill(void) {
        process_kill(world_read_pid("polkitd.pid"));
        g_assert_true(bus_wait_name(BUS_NAME, false, 20));
}

void polkit_start(void) {
        world_run("start-polkitd");
}
