/* SPDX-License-Identifier: MIT */

/* The configuration of a running broker: which files count, what becomes of mistakes, and what changes with a reload while
 * memory is in use. */

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "names.h"
#include "provider.h"
#include "scene.h"
#include "signals.h"
#include "world.h"

#define CONFIGURATION "[Region dram]\nSize=256M\n"

static uint64_t memory_size(void) {
        return (uint64_t) sysconf(_SC_PHYS_PAGES) * (uint64_t) sysconf(_SC_PAGESIZE);
}

static uint64_t pages_of(uint64_t size) {
        return size - size % (uint64_t) sysconf(_SC_PAGESIZE);
}

static bool region_exists(User *root, const char *name) {
        g_autofree char *option = g_strconcat("region=", name, NULL);

        return !g_str_equal(user_check(root, 1, 1, option).error, DAXBROKER_BUS_NAME ".Error.NoSuchRegion");
}

static void assert_reason(const char *region, const char *says) {
        g_autofree char *state = region_get_string(region, "State"),
                        *reason = region_get_string(region, "Reason");

        assert_says(reason, says);
        g_assert_cmpstr(state, ==, "unusable");
        g_assert_cmpuint(region_get(region, "Available"), ==, 0);
        g_assert_cmpuint(region_get(region, "LargestAvailable"), ==, 0);
}

static void assert_usable(const char *region, uint64_t size) {
        g_autofree char *state = region_get_string(region, "State"),
                        *reason = region_get_string(region, "Reason");

        g_assert_cmpstr(reason, ==, "");
        g_assert_cmpstr(state, ==, "usable");
        g_assert_cmpuint(region_get(region, "Size"), ==, size);
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

/* A broker whose configuration is in two folders, the first of which goes first. */
typedef struct Folders {
        Broker *broker;
        User *root;
        char *first, *second, *variable;
        char *environment[2];
} Folders;

static char *make_folder(const Broker *broker, const char *name) {
        g_autofree char *drop_ins = g_build_filename(broker->directory, name, "daxbroker.conf.d", NULL);

        g_assert_cmpint(g_mkdir_with_parents(drop_ins, 0755), ==, 0);
        return g_build_filename(broker->directory, name, NULL);
}

static void folders_set_up(Folders *folders, gconstpointer unused) {
        (void) unused;
        folders->root = user_new("root");
        folders->broker = broker_new(NULL);
        folders->first = make_folder(folders->broker, "first");
        folders->second = make_folder(folders->broker, "second");
        folders->variable =
                        g_strdup_printf("CONFIGURATION_DIRECTORY=%s:%s", folders->first, folders->second);
        folders->environment[0] = folders->variable;
        folders->broker->environment = folders->environment;
}

static void folders_tear_down(Folders *folders, gconstpointer unused) {
        (void) unused;
        user_free(folders->root);
        broker_free(folders->broker);
        g_free(folders->first);
        g_free(folders->second);
        g_free(folders->variable);
}

/* name is one in the folder, or one in its daxbroker.conf.d if it starts with '+'. */
static char *path_of(const char *folder, const char *name) {
        return name[0] == '+' ? g_build_filename(folder, "daxbroker.conf.d", name + 1, NULL)
                              : g_build_filename(folder, name, NULL);
}

static void put(const char *folder, const char *name, const char *text) {
        g_autofree char *path = path_of(folder, name);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_assert_cmpint(chmod(path, 0644), ==, 0);
}

static void put_size(const char *folder, const char *name, unsigned mib) {
        g_autofree char *text = g_strdup_printf("[Region dram]\nSize=%uM\n", mib);

        put(folder, name, text);
}

static void assert_size(Folders *folders, unsigned mib) {
        broker_reload(folders->broker);
        assert_usable("dram", mib * MIB);
}

static void test_defaults(Folders *folders, gconstpointer unused) {
        g_autofree char *provider = NULL;
        uint64_t quarter = pages_of(memory_size() / 4);

        (void) unused;
        skip_on_files("about what is configured where, whatever it says");
        skip_on_devices("about what is configured where, whatever it says");
        broker_start(folders->broker);
        provider = region_get_string("dram", "Provider");
        g_assert_cmpstr(provider, ==, "memfd");
        /* it is computed with percents */
        g_assert_cmpuint(region_get("dram", "Size"), <=, quarter);
        g_assert_cmpuint(region_get("dram", "Size"), >, quarter - 2 * 4096);
        reply_assert(user_allocate(folders->root, MIB, 1, NULL), "");
        g_assert_cmpuint(broker_count_log(folders->broker, 0, "^warning: (?!the limit of)"), ==, 0);
}

static void test_main_file(Folders *folders, gconstpointer unused) {
        (void) unused;
        skip_on_files("about what is configured where, whatever it says");
        skip_on_devices("about what is configured where, whatever it says");
        put(folders->second, "daxbroker.conf",
            "[Region dram]\nSize=32M\n[Region second]\nProvider=memfd\nSize=1M\n");
        broker_start(folders->broker);
        assert_usable("dram", 32 * MIB);
        g_assert_true(region_exists(folders->root, "second"));

        /* only one of them is read */
        put_size(folders->first, "daxbroker.conf", 16);
        broker_restart(folders->broker);
        assert_usable("dram", 16 * MIB);
        g_assert_false(region_exists(folders->root, "second"));
}

static void test_drop_ins(Folders *folders, gconstpointer unused) {
        (void) unused;
        skip_on_files("about what is configured where, whatever it says");
        skip_on_devices("about what is configured where, whatever it says");
        put_size(folders->first, "daxbroker.conf", 16);
        broker_start(folders->broker);

        put_size(folders->second, "+10-early.conf", 20);
        assert_size(folders, 20);
        put_size(folders->first, "+50-middle.conf", 24);
        assert_size(folders, 24);
        /* by name, whichever folder they are in */
        put_size(folders->second, "+60-late.conf", 28);
        assert_size(folders, 28);
        put_size(folders->first, "+05-first.conf", 32);
        assert_size(folders, 28);
        /* of two of the same name, the one in the first folder */
        put_size(folders->first, "+60-late.conf", 36);
        assert_size(folders, 36);
        put_size(folders->second, "+50-middle.conf", 40);
        assert_size(folders, 36);
        /* key by key */
        put(folders->second, "+70-other.conf", "[Region dram]\nNumaNode=0\n");
        assert_size(folders, 36);
        g_assert_cmpuint(region_get("dram", "NumaNode"), ==, 0);
}

static void test_masks(Folders *folders, gconstpointer unused) {
        g_autofree char *null = path_of(folders->first, "+70-b.conf");

        (void) unused;
        skip_on_files("about what is configured where, whatever it says");
        skip_on_devices("about what is configured where, whatever it says");
        put_size(folders->second, "daxbroker.conf", 16);
        put_size(folders->second, "+60-a.conf", 20);
        put_size(folders->second, "+70-b.conf", 24);
        broker_start(folders->broker);
        assert_usable("dram", 24 * MIB);

        g_assert_cmpint(symlink("/dev/null", null), ==, 0);
        assert_size(folders, 20);
        put(folders->first, "+60-a.conf", "");
        assert_size(folders, 16);
        put(folders->first, "daxbroker.conf", "");
        broker_reload(folders->broker);
        g_assert_cmpuint(region_get("dram", "Size"), >, 64 * MIB);
}

/* What lies around beside configuration files, and what ought to be one and cannot be read. */
static void test_other_files(Folders *folders, gconstpointer unused) {
        g_autofree char *folder = path_of(folders->first, "+97-folder.conf"),
                        *secret = path_of(folders->first, "+98-secret.conf");
        g_autofree char *nowhere = path_of(folders->first, "+99-nowhere.conf"),
                        *fifo = path_of(folders->first, "+96-fifo.conf");
        size_t mark;

        (void) unused;
        skip_on_files("about what is configured where, whatever it says");
        skip_on_devices("about what is configured where, whatever it says");
        put_size(folders->first, "daxbroker.conf", 16);
        broker_start(folders->broker);
        put_size(folders->first, "+.90-hidden.conf", 20);
        put_size(folders->first, "+91-backup.conf~", 20);
        put_size(folders->first, "+92-note.txt", 20);
        put_size(folders->first, "+conf", 20);
        assert_size(folders, 16);

        mark = broker_mark_log(folders->broker);
        g_assert_cmpint(g_mkdir(folder, 0755), ==, 0);
        put_size(folders->first, "+98-secret.conf", 20);
        g_assert_cmpint(chmod(secret, 0), ==, 0);
        g_assert_cmpint(symlink("/nowhere", nowhere), ==, 0);
        g_assert_cmpint(mkfifo(fifo, 0644), ==, 0);
        put_size(folders->first, "+99-z.conf", 24);
        assert_size(folders, 24);
        g_assert_true(broker_wait_log(folders->broker, mark, "^warning: .*97-folder.conf: not a file"));
        g_assert_true(broker_wait_log(folders->broker, mark, "^warning: .*96-fifo.conf: not a file"));
        g_assert_true(broker_wait_log(folders->broker, mark,
                                      "^warning: .*98-secret.conf: cannot be read.*Permission denied"));
}

/* ---- Mistakes -------------------------------------------------------------------------------------------------- */

static void test_bad_lines(Folders *folders, gconstpointer unused) {
        static const struct {
                const char *line, *says; /* NULL for lines that are right */
        } lines[] = {
                { "[Region dram]", NULL },
                { "Size=lots", "not a size" },
                { "Size=64M", NULL },
                { "Size=101%", "not a size" },
                { "Size=-1", "not a size" },
                { "Size=", "not a size" },
                { "nonsense", "not a \"key=value\" line" },
                { "Colour=red", "no such key" },
                { "size=1M", "no such key" },
                { "Enabled=perhaps", "not yes or no" },
                { "NumaNode=first", "not a number" },
                { "[Broken", "not closed" },
                { "Size=1M", "" },
                { "[Nonsense]", NULL },
                { "Size=1M", "no such section" },
                { "[Region a/b]", NULL },
                { "Size=1M", "a region's name" },
                { "[Quota user:no-such-user]", NULL },
                { "MaxBytes=1", "no such user" },
                { "[Quota]", NULL },
                { "MaxBytes=-1", "not a size" },
                { "MaxAllocations=many", "not a number" },
                { "MaxAllocations=2", NULL },
                { "[Broker]", NULL },
                { "SystemCallFilter=never", "not kill, log or off" },
                { "PolkitTimeoutSec=0", "not a number from 1" },
                { "DefaultRegion=no name", "not a region's name" },
                { "Unknown=1", "no such key" },
        };
        g_autoptr(GString) text = g_string_new(NULL);

        (void) unused;
        skip_on_files("about what is configured where, whatever it says");
        skip_on_devices("about what is configured where, whatever it says");
        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
                g_string_append_printf(text, "%s\n", lines[i].line);
        put(folders->second, "+90-bad.conf", text->str);
        broker_start(folders->broker);

        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                g_autofree char *where = g_strdup_printf(
                                "^warning: .*/second/daxbroker.conf.d/90-bad.conf:%zu: ", i + 1);
                g_autofree char *what = lines[i].says ? g_strconcat(where, ".*", lines[i].says, NULL) : NULL;

                if (lines[i].says && !broker_wait_log(folders->broker, 0, what))
                        g_error("no warning like %s", what);
                g_assert_cmpuint(broker_count_log(folders->broker, 0, where), ==, lines[i].says ? 1 : 0);
        }

        /* the rest holds */
        assert_usable("dram", 64 * MIB);
        reply_assert(user_allocate(folders->root, 1, 1, NULL), "");
        reply_assert(user_allocate(folders->root, 1, 1, NULL), "");
        reply_assert(user_allocate(folders->root, 1, 1, NULL), "QuotaExceeded");
}

/* ---- Regions --------------------------------------------------------------------------------------------------- */

static void configure(Scene *scene, const char *more) {
        g_autofree char *text = g_strconcat(CONFIGURATION, more, NULL);

        broker_configure(scene->broker, text);
}

static void reload(Scene *scene, const char *more) {
        configure(scene, more);
        broker_reload(scene->broker);
}

static void test_regions(Scene *scene, gconstpointer unused) {
        static const struct {
                const char *name, *lines, *says;
        } regions[] = {
                { "disabled", "Provider=memfd\nSize=1M\nEnabled=no\n", "Enabled=no" },
                { "unknown", "Provider=magnetic-drum\nSize=1M\n", "no provider 'magnetic-drum'" },
                { "unsaid", "Size=1M\n", "no Provider=" },
                { "sizeless", "Provider=memfd\n", "no Size=" },
                { "tiny", "Provider=memfd\nSize=100\n", "less than a page" },
                { "huge", "Provider=memfd\nSize=1024T\n", "Size=1024T is more than" },
                { "remote", "Provider=memfd\nSize=1M\nNumaNode=77\n", "NumaNode=77" },
        };
        g_autoptr(GString) text = g_string_new("[Region tenth]\nProvider=memfd\nSize=10%\n"
                                               "[Region all]\nProvider=memfd\nSize=100%\n");
        uint64_t tenth;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(regions); i++)
                g_string_append_printf(text, "[Region %s]\n%s", regions[i].name, regions[i].lines);
        reload(scene, text->str);

        for (size_t i = 0; i < G_N_ELEMENTS(regions); i++) {
                g_autofree char *option = g_strconcat("region=", regions[i].name, NULL);
                Reply reply = user_allocate(scene->alice, 1, 1, option);

                assert_reason(regions[i].name, regions[i].says);
                reply_assert(reply, "RegionUnusable");
                assert_says(reply.message, regions[i].says);
        }

        tenth = region_get("tenth", "Size");
        g_assert_cmpuint(tenth, <=, memory_size() / 10);
        g_assert_cmpuint(tenth, >, memory_size() / 10 - 2 * 4096);
        assert_usable("all", pages_of(memory_size()));
        assert_usable("dram", 256 * MIB);
}

static char *default_region(void) {
        g_autofree char *output = NULL;
        const char *argv[] = { "busctl", "get-property", DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                               DAXBROKER_MANAGER_INTERFACE, "DefaultRegion", NULL };

        g_assert_cmpint(user_run("bob", argv, &output), ==, 0);
        return g_strdup(g_strstrip(output));
}

static void test_default_region(Scene *scene, gconstpointer unused) {
        g_autofree char *before = default_region(), *now = NULL, *region = NULL;
        g_autofree char *expected = provider_text("s \"dram\"");
        size_t mark = broker_mark_log(scene->broker);
        Reply reply;

        (void) unused;
        g_assert_cmpstr(before, ==, expected);
        user_listen(scene->bob);
        reload(scene, "[Broker]\nDefaultRegion=other\n[Region other]\nProvider=memfd\nSize=8M\n");
        now = default_region();
        g_assert_cmpstr(now, ==, "s \"other\"");
        user_assert_hears(scene->bob, "changed " DAXBROKER_ROOT_PATH " " DAXBROKER_MANAGER_INTERFACE
                                      " DefaultRegion=other");
        reply = user_get(scene->alice, MIB, NULL);
        region = allocation_get_string(scene->alice, reply.object, "Region");
        g_assert_cmpstr(region, ==, "other");
        reply_assert(user_allocate(scene->alice, 9 * MIB, 1, NULL), "NoSpace");

        reload(scene, "[Broker]\nDefaultRegion=missing\n");
        g_assert_true(broker_wait_log(scene->broker, mark,
                                      "^warning: DefaultRegion=missing: there is no such region"));
        reply = user_allocate(scene->alice, MIB, 1, NULL);
        reply_assert(reply, "NoSuchRegion");
        assert_says(reply.message, "'missing'");
        reply_assert(user_allocate(scene->alice, MIB, 1, "region=dram"), "");
}

/* ---- Reloading ------------------------------------------------------------------------------------------------- */

static void test_reload_method(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        configure(scene, "[Region late]\nProvider=memfd\nSize=8M\n");
        reply = user_reload(scene->bob);
        reply_assert(reply, "AuthenticationRequired");
        assert_says(reply.message, "org.daxbroker1.manage");
        reply_assert(user_reload(scene->alice), "AuthenticationRequired");
        g_assert_false(region_exists(scene->root, "late"));

        scene_set_rules(scene, "polkit.addRule(function(action, subject) {\n"
                               "    if (action.id == 'org.daxbroker1.manage' && subject.user == 'bob')\n"
                               "        return polkit.Result.YES;\n"
                               "});\n");
        /* when the reply arrives, it is done */
        reply_assert(user_reload(scene->bob), "");
        assert_usable("late", 8 * MIB);
        reply_assert(user_reload(scene->alice), "AuthenticationRequired");

        configure(scene, "[Region late]\nProvider=memfd\nSize=9M\n");
        reply_assert(user_reload(scene->root), "");
        assert_usable("late", 9 * MIB);
}

static void assert_status(Scene *scene, unsigned n_usable, unsigned n) {
        g_autofree char *status = NULL,
                        *expected = g_strdup_printf("%u of %u regions usable", n_usable, provider_regions(n));

        if (wait_until(10, (g_free(status), status = service_manager_get_status(scene->broker->manager),
                            g_str_has_prefix(status, expected))))
                return;
        g_error("status is \"%s\", not \"%s\"", status, expected);
}

static void test_reload_signal(Scene *scene, gconstpointer unused) {
        ServiceManager *manager = scene->broker->manager;
        unsigned ready = service_manager_count_ready(manager);

        (void) unused;
        g_assert_cmpuint(service_manager_count_reloading(manager), ==, 0);
        assert_status(scene, 1, 1);
        reload(scene, "[Region late]\nProvider=memfd\nSize=8M\n[Region off]\nEnabled=no\n");
        g_assert_cmpuint(service_manager_count_reloading(manager), ==, 1);
        g_assert_cmpuint(service_manager_count_ready(manager), ==, ready + 1);
        assert_status(scene, 2, 3);
        assert_usable("late", 8 * MIB);

        /* the status is about what is, whoever wanted it so */
        configure(scene, "[Region late]\nProvider=memfd\nSize=8M\n[Region off]\nProvider=memfd\nSize=8M\n");
        reply_assert(user_reload(scene->root), "");
        assert_status(scene, 3, 3);
}

/* However many want it at once, each has what he wrote in force when he is told so. */
static void test_reload_often(Scene *scene, gconstpointer unused) {
        unsigned ready = service_manager_count_ready(scene->broker->manager);
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        for (unsigned i = 1; i <= 20; i++) {
                g_autofree char *text = g_strdup_printf("[Region late]\nProvider=memfd\nSize=%uM\n", i);

                configure(scene, text);
                g_assert_cmpint(kill(scene->broker->pid, SIGHUP), ==, 0);
                reply_assert(user_reload(scene->root), "");
                assert_usable("late", i * MIB);
        }
        g_assert_true(wait_until(20, service_manager_count_ready(scene->broker->manager) > ready));
        g_assert_true(wait_until(
                        20, broker_count_log(scene->broker, mark, "^notice: configuration loaded") >= 20));
        g_assert_true(broker_is_running(scene->broker));
}

/* A signal that comes while the files are being read is not lost. */
static void test_reload_meanwhile(Scene *scene, gconstpointer unused) {
        (void) unused;
        for (unsigned i = 1; i <= 100; i++) {
                g_autofree char *early = g_strdup_printf("[Region late]\nProvider=memfd\nSize=%uM\n", i);
                g_autofree char *late =
                                g_strdup_printf("[Region late]\nProvider=memfd\nSize=%uM\n", i + 100);

                configure(scene, early);
                g_assert_cmpint(kill(scene->broker->pid, SIGHUP), ==, 0);
                g_usleep(i * 10);
                configure(scene, late);
                g_assert_cmpint(kill(scene->broker->pid, SIGHUP), ==, 0);
                g_assert_true(wait_until(10, region_exists(scene->root, "late")));
                g_assert_cmpuint(region_wait("late", "Size", (i + 100) * MIB), ==, (i + 100) * MIB);
        }
}

static void test_restart_needed(Scene *scene, gconstpointer unused) {
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        reload(scene, "[Broker]\nPolkitTimeoutSec=5\n");
        g_assert_true(broker_wait_log(scene->broker, mark, "^notice: configuration loaded"));
        g_assert_cmpuint(broker_count_log(scene->broker, mark, "restart"), ==, 0);
        reload(scene, "[Broker]\nSystemCallFilter=log\n");
        g_assert_true(broker_wait_log(scene->broker, mark,
                                      "^warning: SystemCallFilter= has changed.*restart"));
}

/* ---- With memory in use ---------------------------------------------------------------------------------------- */

static void test_region_appears(Scene *scene, gconstpointer unused) {
        (void) unused;
        user_listen(scene->bob);
        g_assert_false(region_exists(scene->root, "late"));
        reload(scene, "[Region late]\nProvider=memfd\nSize=8M\n");
        user_assert_hears(scene->bob,
                          "added " DAXBROKER_REGION_PATH "/late *" DAXBROKER_REGION_INTERFACE "(27)*");
        reply_assert(user_allocate(scene->alice, 8 * MIB, 1, "region=late"), "");
        reply_assert(user_allocate(scene->alice, 1, 1, "region=late"), "NoSpace");
}

/* What has changed is told, whichever property it is. */
static void test_region_changes(Scene *scene, gconstpointer unused) {
        static const char changed[] = "changed " DAXBROKER_REGION_PATH "/dram " DAXBROKER_REGION_INTERFACE;

        (void) unused;
        user_listen(scene->bob);
        if (!provider_is_device()) {
                reload(scene, "[Region dram]\nSize=128M\n");
                user_assert_hears(scene->bob, "%s* Size=134217728*", changed);
                user_assert_hears(scene->bob, "%s* Available=134217728*", changed);
        }
        reload(scene, "[Region dram]\nEnabled=no\n");
        user_assert_hears(scene->bob, "%s* State=unusable*", changed);
        user_assert_hears(scene->bob, "%s* Reason=*Enabled=no*", changed);
        user_assert_hears(scene->bob, "%s* Available=0*", changed);
        reload(scene, "[Region dram]\nNumaNode=0\n");
        user_assert_hears(scene->bob, "%s* State=usable*", changed);
        user_assert_hears(scene->bob, "%s* NumaNode=0*", changed);
        reload(scene, NULL);
}

static void test_region_shrinks(Scene *scene, gconstpointer unused) {
        Reply most, reply;

        (void) unused;
        skip_on_devices("a dax region has the size it has");
        most = user_get(scene->alice, 200 * MIB, "name=most");
        g_assert_cmpint(user_map(scene->alice, most.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, most.slot, 200 * MIB - 1, 42), ==, 0);
        reload(scene, "[Region dram]\nSize=100M\n");

        /* nobody loses anything, nobody gets anything */
        g_assert_cmpuint(region_get("dram", "Size"), ==, 100 * MIB);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, most.slot, 200 * MIB - 1), ==, 42);
        reply_assert(user_open(scene->alice, "most", NULL), "");
        reply = user_allocate(scene->alice, 1, 1, NULL);
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, "has 0 bytes free of 100 MiB");

        /* and a restart makes no difference */
        broker_restart(scene->broker);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, most.slot, 200 * MIB - 1), ==, 42);

        reply_assert(user_release(scene->alice, most.object), "");
        g_assert_cmpuint(region_get("dram", "Available"), ==, 100 * MIB);
        reload(scene, NULL);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 256 * MIB);
}

static void assert_alive(Scene *scene, const Reply *reply, const char *name) {
        Reply again = user_open(scene->alice, name, NULL);

        reply_assert(again, "");
        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 0), ==, 42);
        g_assert_cmpint(user_peek(scene->alice, reply->slot, 0), ==, 42);
        user_drop(scene->alice, again.slot);
}

#define LATE "[Region late]\nProvider=memfd\nSize=8M\n"

static void test_region_disappears(Scene *scene, gconstpointer unused) {
        Reply kept, freed;

        (void) unused;
        reload(scene, LATE);
        kept = user_get(scene->alice, 3 * MIB, "name=kept region=late");
        freed = user_get(scene->alice, 2 * MIB, "name=freed region=late");
        g_assert_cmpint(user_map(scene->alice, kept.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, kept.slot, 0, 42), ==, 0);

        reload(scene, NULL);
        assert_reason("late", "no longer configured");
        assert_alive(scene, &kept, "kept");
        reply_assert(user_allocate(scene->alice, 1, 1, "region=late"), "RegionUnusable");
        reply_assert(user_release(scene->alice, freed.object), "");

        broker_restart(scene->broker);
        assert_reason("late", "no longer configured");
        assert_alive(scene, &kept, "kept");

        reload(scene, LATE);
        assert_usable("late", 8 * MIB);
        g_assert_cmpuint(region_get("late", "Available"), ==, 5 * MIB);
        assert_alive(scene, &kept, "kept");

        reload(scene, LATE "Enabled=no\n");
        assert_reason("late", "Enabled=no");
        assert_alive(scene, &kept, "kept");
        broker_kill(scene->broker);
        broker_start(scene->broker);
        assert_reason("late", "Enabled=no");
        assert_alive(scene, &kept, "kept");
        reload(scene, LATE);
        g_assert_cmpuint(region_get("late", "Available"), ==, 5 * MIB);
        reply_assert(user_release(scene->alice, kept.object), "");
        g_assert_cmpuint(region_get("late", "Available"), ==, 8 * MIB);

        /* an empty one goes with the next start */
        configure(scene, NULL);
        broker_restart(scene->broker);
        g_assert_false(region_exists(scene->root, "late"));
}

#define add_files(path, function) \
        g_test_add(path, Folders, NULL, folders_set_up, function, folders_tear_down)

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        add_files("/config/defaults", test_defaults);
        add_files("/config/main-file", test_main_file);
        add_files("/config/drop-ins", test_drop_ins);
        add_files("/config/masks", test_masks);
        add_files("/config/other-files", test_other_files);
        add_files("/config/bad-lines", test_bad_lines);
        scene_add("/config/regions", CONFIGURATION, test_regions);
        scene_add("/config/default-region", CONFIGURATION, test_default_region);
        scene_add("/config/reload-method", CONFIGURATION, test_reload_method);
        scene_add("/config/reload-signal", CONFIGURATION, test_reload_signal);
        scene_add("/config/reload-often", CONFIGURATION, test_reload_often);
        scene_add("/config/reload-meanwhile", CONFIGURATION, test_reload_meanwhile);
        scene_add("/config/restart-needed", CONFIGURATION, test_restart_needed);
        scene_add("/config/region-appears", CONFIGURATION, test_region_appears);
        scene_add("/config/region-changes", CONFIGURATION, test_region_changes);
        scene_add("/config/region-shrinks", CONFIGURATION, test_region_shrinks);
        scene_add("/config/region-disappears", CONFIGURATION, test_region_disappears);
        return g_test_run();
}
