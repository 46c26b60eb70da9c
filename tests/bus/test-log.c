/* SPDX-License-Identifier: MIT */

/* What the admin finds in the log: a record with fields for each grant, refusal and end, and for whatever cannot be used. */

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "memory.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION                                                  \
        "[Region dram]\nSize=3G\n"                                     \
        "[Region broken]\nProvider=magnetic-drum\nSize=64M\n"          \
        "[Quota user:alice]\nMaxBytes=2G\n"

static bool has_record(Broker *broker, size_t mark, const char *const *parts) {
        g_autofree char *text = broker_get_log(broker);
        g_auto(GStrv) lines = g_strsplit(text + mark, "\n", -1);

        for (char **line = lines; *line; line++) {
                /* a field ends with a blank or with the line */
                g_autofree char *padded = g_strconcat(*line, " ", NULL);
                const char *const *part = parts;

                while (*part && strstr(padded, *part))
                        part++;
                if (!*part)
                        return true;
        }
        return false;
}

/* Waits for one record that has all of these in it. */
static void assert_record(Scene *scene, size_t mark, ...) G_GNUC_NULL_TERMINATED;
static void assert_record(Scene *scene, size_t mark, ...) {
        g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *all = NULL;
        const char *part;
        va_list ap;

        va_start(ap, mark);
        for (part = va_arg(ap, const char *); part; part = va_arg(ap, const char *))
                g_ptr_array_add(parts, provider_text(part));
        va_end(ap);
        g_ptr_array_add(parts, NULL);
        if (wait_until(10, has_record(scene->broker, mark, (const char *const *) parts->pdata)))
                return;

        broker_print_log(scene->broker);
        all = g_strjoinv("\", \"", (char **) parts->pdata);
        g_error("There is no record with \"%s\"", all);
}

static char *field_uid(const char *user) {
        return g_strdup_printf(" DAXBROKER_UID=%u ", world_get_uid(user));
}

/* What becomes of so many bytes that are asked for. Of the last few, so that one call can be about two. */
static const char *length(uint64_t size) {
        static char texts[4][64];
        static unsigned n;
        char *text = texts[n++ % G_N_ELEMENTS(texts)];

        (void) snprintf(text, sizeof(texts[0]), " DAXBROKER_LENGTH=%" PRIu64 " ", provider_length(size));
        return text;
}

static char *field_allocation(const Reply *reply) {
        return g_strdup_printf(" DAXBROKER_ALLOCATION=%s ", strrchr(reply->object, '/') + 1);
}

#define EVENT(name) " DAXBROKER_EVENT=" name " "
#define REGION(name) " DAXBROKER_REGION=" name " "
#define REFUSED(error) " DAXBROKER_DECISION=org.daxbroker1.Error." error " "

/* ---- Grants ---------------------------------------------------------------------------------------------------- */

static void test_grants(Scene *scene, gconstpointer unused) {
        size_t mark = broker_mark_log(scene->broker);
        g_autofree char *alice = field_uid("alice"), *bob = field_uid("bob"),
                        *root = g_strdup(" DAXBROKER_UID=0 ");
        g_autofree char *id = NULL, *unnamed_id = NULL;
        Reply reply = user_get(scene->alice, UNIT, "name=known mode=0604"),
              unnamed = user_get(scene->root, 1, NULL);

        (void) unused;
        id = field_allocation(&reply);
        unnamed_id = field_allocation(&unnamed);
        assert_record(scene, mark, "'known'", EVENT("grant"), alice, REGION("dram"), id, length(UNIT),
                      "DAXBROKER_DECISION=org.daxbroker1.allocate", NULL);
        assert_record(scene, mark, EVENT("grant"), root, REGION("dram"), unnamed_id, length(1),
                      "DAXBROKER_DECISION=org.daxbroker1.allocate", NULL);

        /* each with how it was decided */
        reply_assert(user_open(scene->alice, "known", NULL), "");
        assert_record(scene, mark, "'known'", EVENT("open"), alice, REGION("dram"), id, length(UNIT),
                      "DAXBROKER_DECISION=", NULL);
        reply_assert(user_open(scene->bob, "known", "read-only=1"), "");
        assert_record(scene, mark, "'known'", "read-only", EVENT("open"), bob, id,
                      "DAXBROKER_DECISION=mode ", NULL);
        reply_assert(user_open(scene->root, "known", NULL), "");
        assert_record(scene, mark, "'known'", EVENT("open"), root, id,
                      "DAXBROKER_DECISION=org.daxbroker1.open-other", NULL);
}

/* ---- Refusals -------------------------------------------------------------------------------------------------- */

static void test_refusals(Scene *scene, gconstpointer unused) {
        size_t mark = broker_mark_log(scene->broker);
        g_autofree char *alice = field_uid("alice"), *bob = field_uid("bob");

        (void) unused;
        reply_assert(user_allocate(scene->alice, 0, 1, NULL), "BadSize");
        assert_record(scene, mark, "Allocate", EVENT("refusal"), alice, REFUSED("BadSize"), NULL);
        reply_assert(user_allocate(scene->alice, MIB, 1, "region=nowhere"), "NoSuchRegion");
        assert_record(scene, mark, "'nowhere'", EVENT("refusal"), alice, REFUSED("NoSuchRegion"), NULL);
        reply_assert(user_open(scene->alice, "nothing", NULL), "NoSuchAllocation");
        assert_record(scene, mark, "Open", "'nothing'", EVENT("refusal"), alice, REFUSED("NoSuchAllocation"),
                      NULL);

        /* once it is known what it is about, the record knows, too */
        reply_assert(user_allocate(scene->alice, MIB, 1, "region=broken"), "RegionUnusable");
        assert_record(scene, mark, EVENT("refusal"), alice, REGION("broken"), REFUSED("RegionUnusable"),
                      NULL);
        reply_assert(user_allocate(scene->bob, UNIT, 1, NULL), "NotAuthorized");
        assert_record(scene, mark, EVENT("refusal"), bob, REGION("dram"), length(UNIT),
                      REFUSED("NotAuthorized"), NULL);
        reply_assert(user_allocate(scene->alice, 2 * GIB + 1, 1, NULL), "QuotaExceeded");
        assert_record(scene, mark, EVENT("refusal"), alice, REGION("dram"), length(2 * GIB + 1),
                      REFUSED("QuotaExceeded"), NULL);
        reply_assert(user_allocate(scene->root, 4 * GIB, 1, NULL), "NoSpace");
        assert_record(scene, mark, EVENT("refusal"), " DAXBROKER_UID=0 ", REGION("dram"),
                      length(4 * GIB), REFUSED("NoSpace"), NULL);
}

static void test_refusals_of_allocations(Scene *scene, gconstpointer unused) {
        size_t mark = broker_mark_log(scene->broker);
        Reply reply = user_get(scene->alice, UNIT, "name=known");
        g_autofree char *bob = field_uid("bob"), *id = field_allocation(&reply);

        (void) unused;
        reply_assert(user_release(scene->bob, reply.object), "AuthenticationRequired");
        assert_record(scene, mark, "Free", EVENT("refusal"), bob, REGION("dram"), id, length(UNIT),
                      REFUSED("AuthenticationRequired"), NULL);
        reply_assert(user_open(scene->bob, "known", NULL), "AuthenticationRequired");
        assert_record(scene, mark, "Open", EVENT("refusal"), bob, REGION("dram"), id, length(UNIT),
                      REFUSED("AuthenticationRequired"), NULL);
        reply_assert(user_set_mode(scene->bob, reply.object, 0606), "AuthenticationRequired");
        assert_record(scene, mark, "SetMode", EVENT("refusal"), bob, id, REFUSED("AuthenticationRequired"),
                      NULL);
}

/* Refused by the kernel, when everybody else had said yes. */
static void test_refusals_while_carving(Scene *scene, gconstpointer unused) {
        g_autofree char *alice = field_uid("alice"), *text = NULL;
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        skip_on_files("files have none that could be missing");
        skip_on_devices("a dax region has no huge pages that could be missing");
        if (!g_file_get_contents("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", &text, NULL,
                                 NULL) ||
            g_ascii_strtoull(text, NULL, 10) > 0) {
                g_test_skip("needs a machine that knows pages of 1 GiB and has none of them free");
                return;
        }
        reply_assert(user_allocate(scene->alice, 1, 1, "page-size=1073741824"), "NoHugePages");
        assert_record(scene, mark, EVENT("refusal"), alice, REGION("dram"), length(GIB),
                      REFUSED("NoHugePages"), NULL);
}

/* Nobody writes records of his own, or colours them. */
static void test_forgery(Scene *scene, gconstpointer unused) {
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        reply_assert(user_allocate(scene->bob, 1, 1, "x\nDAXBROKER_EVENT=grant=1"), "BadOption");
        reply_assert(user_allocate(scene->bob, 1, 1, "region=\nDAXBROKER_EVENT=grant\r\x1b[31m"),
                     "NoSuchRegion");
        reply_assert(user_open(scene->bob, "\ninfo: granted", NULL), "BadName");
        assert_record(scene, mark, REFUSED("BadName"), NULL);
        broker_configure(scene->broker, CONFIGURATION "[Broker]\nColour=red\rinfo: granted\x1b[31m\n");
        broker_reload(scene->broker);
        assert_record(scene, mark, "warning: ", "Colour=red", "no such key", NULL);

        g_assert_cmpuint(broker_count_log(scene->broker, mark, "^DAXBROKER"), ==, 0);
        g_assert_cmpuint(broker_count_log(scene->broker, mark, "^info: granted"), ==, 0);
        g_assert_cmpuint(broker_count_log(scene->broker, mark, "[\\x01-\\x08\\x0b-\\x1f]"), ==, 0);
}

/* ---- Ends ------------------------------------------------------------------------------------------------------ */

static void test_ends(Scene *scene, gconstpointer unused) {
        size_t mark = broker_mark_log(scene->broker);
        g_autofree char *alice = field_uid("alice"), *freed_id = NULL, *lapsed_id = NULL, *killed_id = NULL;
        User *guest = user_new("alice");
        Reply freed = user_get(scene->alice, UNIT, "name=known"),
              lapsed = user_get(scene->alice, 2 * UNIT, NULL);
        Reply killed = user_get(guest, 3 * UNIT, NULL);

        (void) unused;
        freed_id = field_allocation(&freed);
        lapsed_id = field_allocation(&lapsed);
        killed_id = field_allocation(&killed);
        reply_assert(user_release(scene->root, freed.object), "");
        user_let_go(scene->alice, freed.slot);
        /* the name of a device is given up when its end begins */
        assert_record(scene, mark, provider_is_nvdimm() ? "14 MiB" : provider_is_device() ? "2 MiB" : "'known'",
                      " ended: it was freed by user ", EVENT("end"), alice, REGION("dram"), freed_id, length(UNIT), NULL);
        user_close_lease(scene->alice, lapsed.slot);
        user_let_go(scene->alice, lapsed.slot);
        assert_record(scene, mark, " ended: its last holder let go ", EVENT("end"), alice, REGION("dram"), lapsed_id,
                      length(2 * UNIT), NULL);
        user_kill(guest);
        user_free(guest);
        assert_record(scene, mark, " ended: its last holder let go ", EVENT("end"), alice, REGION("dram"), killed_id,
                      length(3 * UNIT), NULL);
}

/* ---- What cannot be used --------------------------------------------------------------------------------------- */

static void test_unusable_regions(Scene *scene, gconstpointer unused) {
        size_t mark;

        (void) unused;
        assert_record(scene, 0, "no provider 'magnetic-drum'", EVENT("unusable"), REGION("broken"), NULL);
        mark = broker_mark_log(scene->broker);
        broker_configure(scene->broker, "[Region dram]\nSize=3G\n[Region late]\nProvider=memfd\n"
                                        "[Region broken]\nEnabled=no\n");
        broker_reload(scene->broker);
        assert_record(scene, mark, "has no Size=", EVENT("unusable"), REGION("late"), NULL);
        assert_record(scene, mark, "Enabled=no", EVENT("unusable"), REGION("broken"), NULL);
}

/* A broker that gets its descriptors back from nobody. */
static void test_unusable_allocations(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, NULL);
        g_autofree char *alice = field_uid("alice"), *id = field_allocation(&reply), *state = NULL;
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        skip_on_files("files are found again without a descriptor");
        broker_stop(scene->broker);
        service_manager_drop_fds(scene->broker->manager, NULL);
        broker_start(scene->broker);
        state = allocation_get_string(scene->alice, reply.object, "State");
        g_assert_cmpstr(state, ==, "detached");
        assert_record(scene, mark, EVENT("unusable"), alice, REGION("dram"), id, length(UNIT), NULL);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/log/grants", CONFIGURATION, test_grants);
        scene_add("/log/refusals", CONFIGURATION, test_refusals);
        scene_add("/log/refusals-of-allocations", CONFIGURATION, test_refusals_of_allocations);
        scene_add("/log/refusals-while-carving", CONFIGURATION, test_refusals_while_carving);
        scene_add("/log/forgery", CONFIGURATION, test_forgery);
        scene_add("/log/ends", CONFIGURATION, test_ends);
        scene_add("/log/unusable-regions", CONFIGURATION, test_unusable_regions);
        scene_add("/log/unusable-allocations", CONFIGURATION, test_unusable_allocations);
        return g_test_run();
}
