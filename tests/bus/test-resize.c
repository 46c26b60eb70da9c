/* SPDX-License-Identifier: MIT */

/* Lengths, which can be changed where memory is files. */

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "memory.h"
#include "provider.h"
#include "scene.h"
#include "signals.h"
#include "world.h"

#define CONFIGURATION "[Region dram]\nSize=256M\n"

/* This memory has the length it was made with, and says so; nothing else is tried before. */
static void test_resize_not(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data mode=0666"), reply;

        (void) unused;
        skip_on_files("files have the length that is asked for");
        reply = user_resize(scene->alice, data.object, 2 * MIB);
        reply_assert(reply, "NotSupported");
        assert_says(reply.message, provider_name());
        reply_assert(user_resize(scene->alice, data.object, 0), "BadSize");
        reply_assert(user_resize(scene->alice, data.object, UINT64_MAX), "BadSize");
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Length"), ==, provider_length(MIB));
}

static uint64_t file_size(const Reply *reply) {
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(reply->object, '/') + 1, NULL);
        struct stat st;

        g_assert_cmpint(stat(path, &st), ==, 0);
        return (uint64_t) st.st_size;
}

/* Whoever holds it: it is there, zeroed, and counted, and what is cut off is neither. */
static void test_resize(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, 2 * MIB, "name=data region=files persistent=1 mode=0604"), again, reply;

        (void) unused;
        user_listen(scene_listener(scene));
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_fill(scene->alice, data.slot, 7), ==, 0);
        g_assert_cmpuint(region_wait("files", "Available", 62 * MIB), ==, 62 * MIB);

        reply = user_resize(scene->alice, data.object, 5 * MIB - 1);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, 5 * MIB);
        user_assert_hears(scene_listener(scene), "changed %s org.daxbroker1.Allocation -Length", data.object);
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Length"), ==, 5 * MIB);
        g_assert_cmpuint(file_size(&data), ==, 5 * MIB);
        g_assert_cmpuint(region_wait("files", "Available", 59 * MIB), ==, 59 * MIB);
        /* the old mapping is as it was, a new one has all of it */
        g_assert_cmpint(user_is_filled(scene->alice, data.slot, 7), ==, 1);
        again = user_open(scene->alice, "data", NULL);
        g_assert_cmpuint(again.length, ==, 5 * MIB);
        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 2 * MIB - 1), ==, 7);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 2 * MIB), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, again.slot, 5 * MIB - 1, 9), ==, 0);

        scene_restart(scene);
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Length"), ==, 5 * MIB);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 5 * MIB - 1), ==, 9);

        /* the length it has */
        reply = user_resize(scene->alice, data.object, 5 * MIB);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, 5 * MIB);

        reply = user_resize(scene->alice, data.object, MIB);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, MIB);
        g_assert_cmpuint(file_size(&data), ==, MIB);
        g_assert_cmpuint(region_wait("files", "Available", 63 * MIB), ==, 63 * MIB);
        g_assert_cmpint(user_peek(scene->alice, again.slot, MIB - 1), ==, 7);
        g_assert_cmpint(user_peek(scene->alice, again.slot, MIB), ==, -EFAULT);

        /* what was cut off does not come back */
        reply_assert(user_resize(scene->alice, data.object, 5 * MIB), "");
        g_assert_cmpint(user_peek(scene->alice, again.slot, 5 * MIB - 1), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, again.slot, MIB), ==, 0);
        scene_restart(scene);
        reply_assert(user_open(scene->alice, "data", NULL), "");
}

/* What is on its way back is waited for, as by Allocate. */
static void test_resize_waits(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, 2 * MIB, "name=data region=files persistent=1");

        (void) unused;
        for (unsigned i = 0; i < 20; i++) {
                (void) user_get(scene->bob, 60 * MIB, "region=files");
                user_drop_all(scene->bob);
                reply_assert(user_resize(scene->alice, data.object, 63 * MIB), "");
                reply_assert(user_resize(scene->alice, data.object, 2 * MIB), "");
        }
}

static void test_resize_refused(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, 2 * MIB, "name=data region=files persistent=1 mode=0666"), reply;
        Reply other = user_get(scene->root, MIB, "name=other region=files persistent=1");

        (void) unused;
        reply = user_resize(scene->alice, data.object, 64 * MIB);
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, "'files'");
        reply_assert(user_resize(scene->alice, data.object, 0), "BadSize");
        reply_assert(user_resize(scene->alice, data.object, UINT64_MAX), "BadSize");
        reply_assert(user_resize(scene->bob, data.object, 3 * MIB), "AuthenticationRequired");
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Length"), ==, 2 * MIB);
        g_assert_cmpuint(region_wait("files", "Available", 61 * MIB), ==, 61 * MIB);
        /* one more byte than there is */
        reply_assert(user_resize(scene->alice, data.object, 63 * MIB), "");
        reply_assert(user_resize(scene->root, other.object, MIB + 1), "NoSpace");
        reply_assert(user_release(scene->alice, data.object), "");
        reply_assert(user_resize(scene->alice, data.object, MIB), "NoSuchAllocation");
}

/* It is the owner's quota, whoever makes it grow. */
static void test_resize_quota(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->bob, 2 * MIB, "name=data region=files persistent=1"), reply;

        (void) unused;
        reply = user_resize(scene->bob, data.object, 5 * MIB);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "MaxBytes");
        reply_assert(user_resize(scene->root, data.object, 5 * MIB), "QuotaExceeded");
        /* the number of allocations does not change by it */
        (void) user_get(scene->bob, MIB, "name=second region=files persistent=1");
        reply_assert(user_resize(scene->bob, data.object, 3 * MIB), "");
        reply_assert(user_resize(scene->bob, data.object, 3 * MIB + 1), "QuotaExceeded");
        reply_assert(user_resize(scene->root, data.object, 3 * MIB + 1), "QuotaExceeded");
        reply_assert(user_resize(scene->root, data.object, MIB), "");
        reply_assert(user_resize(scene->root, data.object, 2 * MIB), "");
        g_assert_cmpuint(region_wait("files", "Available", 61 * MIB), ==, 61 * MIB);
}

/* It stays a multiple of the pages that it was made with, also if it was copied to where it cannot have these. */
static void test_resize_pages(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, 2 * MIB, "name=data region=files persistent=1"), reply;
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(data.object, '/') + 1, NULL), *record = NULL;

        (void) unused;
        if (provider_has_dax_files()) {
                g_test_skip("here it may have them");
                return;
        }
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        record = files_get_record(path);
        files_put_record(path, record, "page-size=4096", "page-size=2097152");
        broker_start(scene->broker);
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "PageSize"), ==, 4096);

        reply = user_resize(scene->alice, data.object, 2 * MIB + 1);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, 4 * MIB);
        reply_assert(user_resize(scene->alice, data.object, INT64_MAX), "BadSize");
        reply = user_allocate(scene->alice, 4 * MIB, 1, "name=data region=files persistent=1 page-size=4096");
        reply_assert(reply, "NameExists");
        assert_says(reply.message, "pages of 2097152 (not 4096)");
}

/* What a record says can be more than there is, and more than can be counted. */
static void test_beyond_medium(Scene *scene, gconstpointer unused) {
        static const char *const names[] = { FILES_PATH "/00000000000000aa", FILES_PATH "/00000000000000bb" };
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1");
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(data.object, '/') + 1, NULL), *record = NULL;

        (void) unused;
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        record = files_get_record(path);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *name = g_strdup_printf("name=data%zu\n", i);
                g_autoptr(GString) text = g_string_new(record);

                g_string_replace(text, "name=data\n", name, 1);
                files_put_record(names[i], text->str, "length=1048576", "length=9223372036854771712");
                g_assert_cmpint(truncate(names[i], 4096), ==, 0);
        }
        broker_start(scene->broker);

        reply_assert(user_open(scene->alice, "data0", NULL), "NoSuchAllocation");
        g_assert_cmpuint(region_wait("files", "Available", 63 * MIB - 8192), ==, 63 * MIB - 8192);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *object = g_strdup_printf("/org/daxbroker1/allocation/%s", strrchr(names[i], '/') + 1);
                g_autofree char *state = allocation_get_string(scene->root, object, "State");

                g_assert_cmpstr(state, ==, "orphan");
                reply_assert(user_release(scene->root, object), "");
        }
        reply_assert(user_open(scene->alice, "data", NULL), "");
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/resize/not", CONFIGURATION, test_resize_not);
        files_add("/resize/both-ways", CONFIGURATION, test_resize);
        files_add("/resize/pages", CONFIGURATION, test_resize_pages);
        files_add("/resize/beyond-medium", CONFIGURATION, test_beyond_medium);
        files_add("/resize/waits", CONFIGURATION, test_resize_waits);
        files_add("/resize/refused", CONFIGURATION, test_resize_refused);
        files_add("/resize/quota", CONFIGURATION "[Quota user:bob]\nMaxBytes=4M\nMaxAllocations=2\n", test_resize_quota);
        return g_test_run();
}
