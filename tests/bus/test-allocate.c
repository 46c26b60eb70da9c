/* SPDX-License-Identifier: MIT */

/* Allocate with everything that may be asked for and everything that may not. Whatever is refused is put to Check as
 * well, which has to say the same in the same words. */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "memory.h"
#include "names.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define REGION_SIZE (256 * MIB)
#define PAGE provider_page_size()
#define CONFIGURATION                       \
        "[Region dram]\nSize=256M\n"        \
        "[Region other]\nProvider=memfd\nSize=64M\n" \
        "[Region broken]\nProvider=magnetic-drum\nSize=64M\n"
#define NAME_63 "0123456789-abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVW.X"

static void assert_refused_at(Scene *scene, uint64_t size, uint64_t alignment, const char *options,
                              const char *error, const char *says, const char *file, int line) {
        Reply check = user_check(scene->alice, size, alignment, options);
        Reply reply = user_allocate(scene->alice, size, alignment, options);

        reply_assert_error(reply, error, file, line);
        assert_says_at(reply.message, says, file, line);
        reply_assert_error(check, error, file, line);
        g_assert_false(check.allowed);
        g_assert_cmpstr(check.message, ==, reply.message);
        footprint_assert_back(scene->broker, &scene->before);
}
#define assert_refused(scene, size, alignment, options, error, says) \
        assert_refused_at(scene, size, alignment, options, error, says, __FILE__, __LINE__)

/* And lets go of it at once. */
static void assert_granted(Scene *scene, uint64_t size, uint64_t alignment, const char *options,
                           uint64_t length) {
        Reply check = user_check(scene->alice, size, alignment, options);
        Reply reply = user_allocate(scene->alice, size, alignment, options);

        reply_assert(reply, "");
        reply_assert(check, "");
        g_assert_true(check.allowed);
        g_assert_cmpuint(check.length, ==, length);
        g_assert_cmpuint(reply.length, ==, length);
        g_assert_cmpuint(reply.offset, ==, 0);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Length"), ==, length);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Alignment"), ==, alignment);
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, reply.slot, length - 1), ==, 0);
        scene_clear(scene);
}

/* ---- Sizes and alignments -------------------------------------------------------------------------------------- */

static void test_sizes(Scene *scene, gconstpointer unused) {
        const uint64_t most = provider_largest(REGION_SIZE);
        const uint64_t pairs[][2] = {
                { 1, PAGE }, { PAGE - 1, PAGE }, { PAGE, PAGE }, { PAGE + 1, 2 * PAGE },
                { UNIT - 1, UNIT }, { UNIT + 1, UNIT + PAGE },
                { most - (PAGE - 1), most }, { most, most },
        };

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++)
                assert_granted(scene, pairs[i][0], 1, NULL, provider_length(pairs[i][1]));
}

static void test_bad_sizes(Scene *scene, gconstpointer unused) {
        const uint64_t half = UINT64_C(1) << 63;

        (void) unused;
        assert_refused(scene, 0, 1, NULL, "BadSize", "at least 1 byte");
        assert_refused(scene, REGION_SIZE + 1, 1, NULL, "NoSpace", "holds 256 MiB in all");
        assert_refused(scene, GIB, 2 * MIB, NULL, "NoSpace", "holds 256 MiB in all");
        if (provider_is_nvdimm()) /* with its page map it is more than there are numbers for */
                assert_refused(scene, half - PAGE, 1, NULL, "BadSize", "with a page map");
        else
                assert_refused(scene, half - PAGE, 1, NULL, "NoSpace", "holds 256 MiB in all");
        assert_refused(scene, half - 1, 1, NULL, "BadSize", "2^63 - 1");
        assert_refused(scene, half - 1, 2 * MIB, NULL, "BadSize", "2^63 - 1");
        assert_refused(scene, half, 1, NULL, "BadSize", "2^63 - 1");
        assert_refused(scene, UINT64_MAX, 1, NULL, "BadSize", "2^63 - 1");
        assert_refused(scene, UINT64_MAX, GIB, NULL, "BadSize", "2^63 - 1");
}

static void test_alignments(Scene *scene, gconstpointer unused) {
        static const uint64_t small[] = { 1, 2, 64, 4096, 8192, MIB }, large[] = { 2 * MIB, 64 * MIB };
        static const uint64_t bad[] = {
                        0, 3, 4095, 4097, GIB - 1, GIB + 1, 2 * GIB, UINT64_C(1) << 63, UINT64_MAX };

        (void) unused;
        skip_on_small_pages("where they are not mapped with DAX, files have small pages only");
        for (size_t i = 0; i < G_N_ELEMENTS(small); i++)
                assert_granted(scene, PAGE + 1, small[i], NULL, provider_length(2 * PAGE));
        /* from here on it is whole huge pages, so that the end can be mapped with one, too */
        for (size_t i = 0; i < G_N_ELEMENTS(large); i++)
                assert_granted(scene, 5000, large[i], NULL, UNIT);
        /* of this one there is none in so small a region of devices, where an alignment is one of the address */
        if (!provider_is_device())
                assert_granted(scene, 5000, GIB, NULL, 2 * MIB);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                assert_refused(scene, 4096, bad[i], NULL, "BadAlignment",
                               "power of two from 1 to 1073741824");
}

/* The message says what is free now, and that much is to be had. */
static void test_space(Scene *scene, gconstpointer unused) {
        Reply most = user_get(scene->alice, 200 * MIB, NULL), rest, reply;
        uint64_t left = REGION_SIZE - provider_taken(200 * MIB);
        g_autofree char *says = g_strdup_printf("has %" G_GUINT64_FORMAT " MiB free of 256 MiB", left / MIB);

        (void) unused;
        reply = user_allocate(scene->alice, left + 1, 1, NULL);
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, says);
        g_assert_cmpuint(region_get("dram", "Available"), ==, left);
        g_assert_cmpuint(region_get("dram", "LargestAvailable"), ==, provider_largest(left));

        rest = user_get(scene->alice, provider_largest(left), NULL);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 0);
        reply = user_allocate(scene->alice, 1, 1, NULL);
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, "has 0 bytes free of 256 MiB");
        footprint_assert_sums(scene->root);

        user_drop(scene->alice, rest.slot);
        g_assert_cmpuint(region_wait("dram", "Available", left), ==, left);
        user_drop(scene->alice, most.slot);
        g_assert_cmpuint(region_wait("dram", "Available", REGION_SIZE), ==, REGION_SIZE);
}

/* ---- Options --------------------------------------------------------------------------------------------------- */

static void test_options(Scene *scene, gconstpointer unused) {
        static const char *const wrong_types[] = {
                        "region/u=1",       "name/t=5",       "name/b=1",     "mode/t=384",
                        "mode/i=384",       "mode/s=0600",    "group/s=dax",  "numa-node/i=0",
                        "page-size/u=4096", "prefault/s=yes", "prefault/u=1", "persistent/u=1",
        };

        (void) unused;
        assert_refused(scene, 1, 1, "colour=red", "BadOption", "option colour is unknown");
        assert_refused(scene, 1, 1, "colour=red", "BadOption",
                       "region, name, mode, group, numa-node, page-size, prefault, persistent");
        assert_refused(scene, 1, 1, "Name=x", "BadOption", "option Name is unknown");
        assert_refused(scene, 1, 1, "read-only=0", "BadOption", "option read-only is unknown");

        for (size_t i = 0; i < G_N_ELEMENTS(wrong_types); i++) {
                g_autofree char *says = g_strndup(wrong_types[i], strcspn(wrong_types[i], "/"));

                assert_refused(scene, 1, 1, wrong_types[i], "BadOption", says);
        }
        assert_refused(scene, 1, 1, "page-size/u=4096", "BadOption", "64-bit number (t)");

        assert_refused(scene, 1, 1, "name=a name=a", "BadOption", "option name is given twice");
        assert_refused(scene, 1, 1, "prefault=1 prefault=0", "BadOption", "option prefault is given twice");
        assert_refused(scene, 1, 1, "region=dram region=other", "BadOption", "option region is given twice");
}

/* What the helper for options cannot say: containers, and arguments of another type altogether. */
static int64_t do_odd_calls(UserCall *call) {
        static const struct {
                const char *signature, *type;
        } odd[] = { { "tta{sv}", "as" }, { "tta{sv}", "v" }, { "tta{sv}", "(s)" }, { "tta{sv}", "a{sv}" } };
        sd_bus_error error = SD_BUS_ERROR_NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(odd); i++) {
                sd_bus_message *message = NULL;
                int r;

                g_assert_cmpint(sd_bus_message_new_method_call(user_bus(), &message, DAXBROKER_BUS_NAME,
                                                               DAXBROKER_ROOT_PATH,
                                                               DAXBROKER_MANAGER_INTERFACE, "Allocate"),
                                >=, 0);
                g_assert_cmpint(sd_bus_message_append(message, "tt", UINT64_C(1), UINT64_C(1)), >=, 0);
                g_assert_cmpint(sd_bus_message_open_container(message, 'a', "{sv}"), >=, 0);
                g_assert_cmpint(sd_bus_message_open_container(message, 'e', "sv"), >=, 0);
                g_assert_cmpint(sd_bus_message_append(message, "s", "name"), >=, 0);
                g_assert_cmpint(sd_bus_message_open_container(message, 'v', odd[i].type), >=, 0);
                if (g_str_equal(odd[i].type, "(s)"))
                        r = sd_bus_message_append(message, "(s)", "x");
                else if (g_str_equal(odd[i].type, "v"))
                        r = sd_bus_message_append(message, "v", "s", "x");
                else
                        r = sd_bus_message_append(message, odd[i].type, 0);
                g_assert_cmpint(r, >=, 0);
                for (int depth = 0; depth < 3; depth++)
                        g_assert_cmpint(sd_bus_message_close_container(message), >=, 0);

                g_assert_cmpint(sd_bus_call(user_bus(), message, 0, &error, NULL), <, 0);
                g_assert_cmpstr(error.name, ==, DAXBROKER_BUS_NAME ".Error.BadOption");
                sd_bus_error_free(&error);
                sd_bus_message_unref(message);
        }

        g_assert_cmpint(sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                           DAXBROKER_MANAGER_INTERFACE, "Allocate", &error, NULL, "ss", "1",
                                           "1"),
                        <, 0);
        g_assert_cmpstr(error.name, ==, SD_BUS_ERROR_INVALID_ARGS);
        sd_bus_error_free(&error);
        (void) call;
        return 0;
}

static void test_odd_calls(Scene *scene, gconstpointer unused) {
        (void) unused;
        user_call(scene->alice, do_odd_calls, NULL, 0, NULL, 0);
}

static void test_regions(Scene *scene, gconstpointer unused) {
        g_autofree char *region = NULL;
        Reply reply;

        (void) unused;
        assert_refused(scene, 1, 1, "region=nowhere", "NoSuchRegion", "'nowhere'");
        assert_refused(scene, 1, 1, "region=", "NoSuchRegion", "ListRegions");
        assert_refused(scene, 1, 1, "region=../dram", "NoSuchRegion", "'../dram'");
        assert_refused(scene, 1, 1, "region=broken", "RegionUnusable", "no provider 'magnetic-drum'");
        assert_refused(scene, 65 * MIB, 1, "region=other", "NoSpace", "region 'other' holds 64 MiB in all");

        reply = user_get(scene->alice, MIB, "region=other");
        region = allocation_get_string(scene->alice, reply.object, "Region");
        g_assert_cmpstr(region, ==, "other");
        g_assert_cmpuint(region_get("other", "Available"), ==, 63 * MIB);
        g_assert_cmpuint(region_get("dram", "Available"), ==, REGION_SIZE);
        user_drop(scene->alice, reply.slot);
        g_assert_cmpuint(region_wait("other", "Available", 64 * MIB), ==, 64 * MIB);
}

/* ---- Names, modes ---------------------------------------------------------------------------------------------- */

static void test_names(Scene *scene, gconstpointer unused) {
        static const char *const good[] = { "a", "0", "-", "_", ".", "..", "x.y-z_0", NAME_63 };
        static const char *const bad[] = { "name=a/b",  "name=/",    "name=\xc3\xa4", "name=a=b",
                                          "name=a\nb", "name=a\tb", "name=%s" };

        (void) unused;
        G_STATIC_ASSERT(sizeof(NAME_63) - 1 == 63);
        for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
                g_autofree char *option = g_strconcat("name=", good[i], NULL), *name = NULL;
                Reply reply = user_get(scene->alice, 1, option);

                name = allocation_get_string(scene->alice, reply.object, "Name");
                g_assert_cmpstr(name, ==, good[i]);
                reply = user_get_allocation(scene->alice, good[i]);
                reply_assert(reply, "");
        }
        scene_clear(scene);

        assert_refused(scene, 1, 1, "name=", "BadName", "the name is empty");
        assert_refused(scene, 1, 1, "name=" NAME_63 "4", "BadName", "has 64 bytes, 63 are allowed");
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                assert_refused(scene, 1, 1, bad[i], "BadName", "A-Z a-z 0-9 . _ -");
}

static void test_taken_names(Scene *scene, gconstpointer unused) {
        Reply first = user_get(scene->alice, UNIT, "name=mine"), check, reply;
        uint64_t available = region_get("dram", "Available");

        (void) unused;
        reply = user_allocate(scene->alice, 1, 1, "name=mine");
        reply_assert(reply, "NameExists");
        assert_says(reply.message, "'mine'");
        check = user_check(scene->alice, 1, 1, "name=mine");
        reply_assert(check, "NameExists");
        reply = user_allocate(scene->root, 1, 1, "name=mine region=other");
        reply_assert(reply, "NameExists");
        g_assert_cmpuint(region_get("dram", "Available"), ==, available);

        /* names of different case are different names */
        reply = user_get(scene->alice, 1, "name=Mine");
        g_assert_cmpstr(reply.object, !=, first.object);
}

static void test_modes(Scene *scene, gconstpointer unused) {
        g_autofree char *own_group = g_strdup_printf("name=m mode=0640 group=%u", world_get_uid("alice"));
        Reply reply;

        (void) unused;
        assert_refused(scene, 1, 1, "mode=0600", "BadOption", "open an allocation by name");
        assert_refused(scene, 1, 1, "group=0", "BadOption", "open an allocation by name");
        assert_refused(scene, 1, 1, "name=m mode=0700", "BadMode", "beyond 0666");
        assert_refused(scene, 1, 1, "name=m mode=01666", "BadMode", "beyond 0666");
        assert_refused(scene, 1, 1, "name=m mode=0xffffffff", "BadMode", "beyond 0666");
        assert_refused(scene, 1, 1, "name=m mode=0200", "BadMode", "writing without reading");
        assert_refused(scene, 1, 1, "name=m mode=0602", "BadMode", "writing without reading");
        assert_refused(scene, 1, 1, "name=m mode=0640", "BadMode", "option group");
        assert_refused(scene, 1, 1, "name=m mode=0640 group=0", "BadOption", "not in group 0");
        assert_refused(scene, 1, 1, "name=m group=4294967295", "BadOption", "not in group 4294967295");

        /* what everybody may, a group may, whichever it is */
        assert_granted(scene, 1, 1, "name=m mode=0666", provider_length(1));
        assert_granted(scene, 1, 1, "name=m mode=0644", provider_length(1));

        reply = user_get(scene->alice, 1, own_group);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0640);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Group"), ==, world_get_uid("alice"));
        reply = user_get(scene->alice, 1, "name=default");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0600);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Group"), ==, UINT32_MAX);
        reply = user_get(scene->alice, 1, "name=nobody mode=0");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0);
}

static void test_persistent(Scene *scene, gconstpointer unused) {
        (void) unused;
        skip_on_media("it is");
        assert_refused(scene, 1, 1, "persistent=1", "BadOption", "needs a name");
        assert_refused(scene, 1, 1, "name=p persistent=1", "BadOption",
                       provider_is_device() ? "gone after a reboot" : "ordinary memory");
        assert_granted(scene, 1, 1, "name=p persistent=0", PAGE);
}

static void test_stranger(Scene *scene, gconstpointer unused) {
        Reply reply = user_allocate(scene->bob, MIB, 1, "name=x"),
              check = user_check(scene->bob, MIB, 1, "name=x");

        (void) unused;
        reply_assert(reply, "NotAuthorized");
        assert_says(reply.message, "org.daxbroker1.allocate");
        reply_assert(check, "NotAuthorized");
        g_assert_false(check.allowed);
        /* what is wrong with the question is said even to him */
        reply = user_allocate(scene->bob, 0, 1, NULL);
        reply_assert(reply, "BadSize");
}

/* ---- Properties of what was handed out ------------------------------------------------------------------------- */

static void test_facts(Scene *scene, gconstpointer unused) {
        uint64_t before = (uint64_t) g_get_real_time(), created;
        Reply reply = user_get(scene->alice, MIB, "name=facts");
        g_autofree char *state = allocation_get_string(scene->alice, reply.object, "State");
        g_autofree char *reason = allocation_get_string(scene->alice, reply.object, "Reason");

        (void) unused;
        created = allocation_get(scene->alice, reply.object, "Created");
        g_assert_cmpuint(created, >=, before);
        g_assert_cmpuint(created, <=, (uint64_t) g_get_real_time());
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Owner"), ==, world_get_uid("alice"));
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "PageSize"), ==, PAGE);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Persistent"), ==, 0);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "InUse"), ==, 1);
        g_assert_cmpstr(state, ==, "live");
        g_assert_cmpstr(reason, ==, "");

        user_drop(scene->alice, reply.slot);
        g_assert_true(wait_until(20, allocation_get(scene->alice, reply.object, "InUse") == 0));
}

/* ---- Contents and accounting ----------------------------------------------------------------------------------- */

static void test_zeros(Scene *scene, gconstpointer unused) {
        (void) unused;
        for (unsigned round = 0; round < 4; round++) {
                /* every other time it is all of the region, so that it has to be what was there before */
                uint64_t size = round % 2 == 0 ? provider_largest(REGION_SIZE) : 100 * MIB;
                Reply reply = user_allocate(scene->alice, size, round < 2 ? 1 : 2 * MIB, NULL);

                reply_assert(reply, "");
                g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
                g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 0), ==, 1);
                g_assert_cmpint(user_fill(scene->alice, reply.slot, 0xd5), ==, 0);
                g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 0xd5), ==, 1);
                user_drop(scene->alice, reply.slot);
        }
}

static void test_accounts(Scene *scene, gconstpointer unused) {
        Reply replies[16];
        uint64_t sum = 0;

        (void) unused;
        for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
                replies[i] = user_allocate(scene->alice, (i + 1) * 100000, i % 3 == 2 ? 2 * MIB : 1, NULL);
                reply_assert(replies[i], "");
                sum += provider_taken(replies[i].length);
                g_assert_cmpuint(region_get("dram", "Available"), ==, REGION_SIZE - sum);
        }
        footprint_assert_sums(scene->root);

        for (unsigned i = 0; i < G_N_ELEMENTS(replies); i += 2) {
                Reply reply = user_release(scene->alice, replies[i].object);

                reply_assert(reply, "");
                sum -= provider_taken(replies[i].length);
                /* not later, now */
                user_let_go(scene->alice, replies[i].slot);
                footprint_assert_available(REGION_SIZE - sum);
        }
        footprint_assert_sums(scene->root);
}

static void assert_from(User *user, Reply reply, const char *region) {
        g_autofree char *found = NULL;

        reply_assert(reply, "");
        found = allocation_get_string(user, reply.object, "Region");
        g_assert_cmpstr(found, ==, provider_region(region));
}

/* No region here publishes how fast it is, so that the default is as good as any, as long as there is room. */
static void test_prefer(Scene *scene, gconstpointer unused) {
        static const char *const wishes[] = { "prefer=bandwidth", "prefer=latency", "prefer=capacity" };

        (void) unused;
        skip_on_media("it is about several regions of ordinary memory");
        for (size_t i = 0; i < G_N_ELEMENTS(wishes); i++)
                assert_from(scene->alice, user_allocate(scene->alice, MIB, 1, wishes[i]), "dram");
        (void) user_get(scene->alice, REGION_SIZE - 16 * MIB, NULL);
        assert_from(scene->alice, user_allocate(scene->alice, MIB, 1, "prefer=bandwidth"), "dram");
        assert_from(scene->alice, user_allocate(scene->alice, MIB, 1, "prefer=capacity numa-node=0"), "other");
        for (size_t i = 0; i < G_N_ELEMENTS(wishes); i++)
                assert_from(scene->alice, user_allocate(scene->alice, 16 * MIB, 1, wishes[i]), "other");
        scene_clear(scene);

        assert_refused(scene, MIB, 1, "prefer=speed", "BadOption", "bandwidth, latency or capacity");
        assert_refused(scene, MIB, 1, "prefer=", "BadOption", "bandwidth, latency or capacity");
        assert_refused(scene, MIB, 1, "prefer/u=1", "BadOption", "option prefer is a string");
        assert_refused(scene, MIB, 1, "prefer=latency region=dram", "BadOption", "options region and prefer");
        assert_refused(scene, REGION_SIZE + 1, 1, "prefer=latency", "NoSpace", "region 'dram' holds");
        assert_refused(scene, MIB, 1, "prefer=latency numa-node=1000", "BadOption", "there is no node 1000");
        assert_refused(scene, MIB, 1, "prefer=latency name=x persistent=1", "BadOption",
                       provider_is_device() ? "gone after a reboot" : "forgets at power-off");
}

/* Memory without an address is contiguous enough. */
static void test_contiguous(Scene *scene, gconstpointer unused) {
        (void) unused;
        assert_granted(scene, UNIT, 1, "contiguous=1", UNIT);
        assert_granted(scene, UNIT, 1, "contiguous=0", UNIT);
        assert_refused(scene, MIB, 1, "contiguous/u=1", "BadOption", "option contiguous is a boolean");
}

/* What somebody has just let go of is not missing when he asks for memory again, although it takes a moment to end. */
static void test_parking(Scene *scene, gconstpointer unused) {
        (void) unused;
        for (unsigned round = 0; round < provider_rounds(50); round++) {
                Reply reply = user_allocate(scene->alice, REGION_SIZE * 6 / 10, 1, NULL);

                reply_assert(reply, "");
                g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
                g_assert_cmpint(user_poke(scene->alice, reply.slot, round * MIB, 1), ==, 0);
                if (round % 2 == 0) {
                        user_close_lease(scene->alice, reply.slot);
                        user_let_go(scene->alice, reply.slot);
                } else
                        user_drop(scene->alice, reply.slot);
        }
}

/* The same for a name that is being freed by somebody who has not got his answer yet. */
static void test_name_parking(Scene *scene, gconstpointer unused) {
        User *other = user_new("alice");
        Reply reply = user_get(scene->alice, MIB, "name=again");

        (void) unused;
        for (unsigned round = 0; round < provider_rounds(50); round++) {
                Reply freed;

                user_begin_allocate(other, MIB, 1, "name=again");
                freed = user_release(scene->alice, reply.object);
                reply_assert(freed, "");
                user_let_go(scene->alice, -1);
                reply = user_end_reply(other);
                if (reply.error[0] != '\0') {
                        /* it came first, and was refused */
                        reply_assert(reply, "NameExists");
                        reply = user_get(other, MIB, "name=again");
                }
        }
        user_free(other);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/allocate/sizes", CONFIGURATION, test_sizes);
        scene_add("/allocate/bad-sizes", CONFIGURATION, test_bad_sizes);
        scene_add("/allocate/alignments", CONFIGURATION, test_alignments);
        scene_add("/allocate/space", CONFIGURATION, test_space);
        scene_add("/allocate/options", CONFIGURATION, test_options);
        scene_add("/allocate/odd-calls", CONFIGURATION, test_odd_calls);
        scene_add("/allocate/regions", CONFIGURATION, test_regions);
        scene_add("/allocate/prefer", CONFIGURATION, test_prefer);
        scene_add("/allocate/contiguous", CONFIGURATION, test_contiguous);
        scene_add("/allocate/names", CONFIGURATION, test_names);
        scene_add("/allocate/taken-names", CONFIGURATION, test_taken_names);
        scene_add("/allocate/modes", CONFIGURATION, test_modes);
        scene_add("/allocate/persistent", CONFIGURATION, test_persistent);
        scene_add("/allocate/stranger", CONFIGURATION, test_stranger);
        scene_add("/allocate/facts", CONFIGURATION, test_facts);
        scene_add("/allocate/zeros", CONFIGURATION, test_zeros);
        scene_add("/allocate/accounts", CONFIGURATION, test_accounts);
        scene_add("/allocate/parking", CONFIGURATION, test_parking);
        scene_add("/allocate/name-parking", CONFIGURATION, test_name_parking);
        return g_test_run();
}
