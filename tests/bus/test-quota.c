/* SPDX-License-Identifier: MIT */

/* Quotas: by whom, how much, how many, and that what is held is counted exactly as long as it is held. */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "memory.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define REGION "[Region dram]\nSize=256M\n"

/* ---- Limits, for the user who asks ----------------------------------------------------------------------------- */

/* Of a size that is rounded up to whole pages. */
static const char *rounded(const char *ordinary, const char *device) {
        return provider_is_device() ? device : ordinary;
}

#define LARGER "the least that a namespace has is more than these quotas"

/* The user, who holds nothing, may have exactly that many bytes. */
static void assert_bytes(Scene *scene, User *user, uint64_t limit) {
        Reply reply;

        if (limit > UNIT)
                reply_assert(user_allocate(user, limit - UNIT, 1, NULL), "");
        reply_assert(user_allocate(user, UNIT, 1, NULL), "");
        reply = user_allocate(user, 1, 1, NULL);
        reply_assert(reply, "QuotaExceeded");
        reply_assert(user_check(user, 1, 1, NULL), "QuotaExceeded");
        assert_says(reply.message, "MaxBytes");
        assert_says(reply.message, rounded("4 KiB were asked for", "2 MiB were asked for"));
        scene_clear(scene);
}

static void assert_count(Scene *scene, User *user, unsigned limit) {
        g_autofree char *held = g_strdup_printf("may hold no more allocations: holds %u,", limit),
                        *most = g_strdup_printf("MaxAllocations is %u", limit);
        Reply reply;

        for (unsigned i = 0; i < limit; i++)
                reply_assert(user_allocate(user, 1, 1, NULL), "");
        reply = user_allocate(user, 1, 1, NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, held);
        assert_says(reply.message, most);
        scene_clear(scene);
}

static void reload(Scene *scene, const char *quotas) {
        g_autofree char *text = g_strconcat(REGION, quotas, NULL);

        broker_configure(scene->broker, text);
        broker_reload(scene->broker);
}

static void test_bytes(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=8M\n");
        reply = user_allocate(scene->alice, 8 * MIB + 1, 1, NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "may hold 8 MiB ([Quota] MaxBytes), holds 0 bytes, 8 MiB are left, ");
        assert_says(reply.message, rounded("8196 KiB were asked for", "10 MiB were asked for"));

        reply = user_get(scene->alice, 6 * MIB, "name=six");
        reply = user_allocate(scene->alice, 2 * MIB + 1, 1, NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "may hold 8 MiB ([Quota] MaxBytes), holds 6 MiB, 2 MiB are left, ");
        assert_says(reply.message, rounded("2052 KiB were asked for", "4 MiB were asked for"));
        reply_assert(user_allocate(scene->alice, UINT64_C(1) << 62, 1, NULL), "QuotaExceeded");
        reply = user_get(scene->alice, 2 * MIB, NULL);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 248 * MIB);
        reply_assert(user_release(scene->alice, reply.object), "");
        user_let_go(scene->alice, reply.slot);
        reply = user_get(scene->alice, 2 * MIB - 1, NULL);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 248 * MIB);
        scene_clear(scene);

        assert_bytes(scene, scene->alice, 8 * MIB);
}

/* What is rounded up counts as what it was rounded to. */
static void test_small_bytes(Scene *scene, gconstpointer unused) {
        const uint64_t page = provider_page_size(), too_little[] = { 0, 1, page - 1 };
        g_autofree char *enough = g_strdup_printf("[Quota]\nMaxBytes=%" G_GUINT64_FORMAT "\n", page);

        (void) unused;
        skip_on_nvdimm(LARGER);
        for (size_t i = 0; i < G_N_ELEMENTS(too_little); i++) {
                g_autofree char *quota = g_strdup_printf("[Quota]\nMaxBytes=%" G_GUINT64_FORMAT "\n", too_little[i]);
                Reply reply;

                reload(scene, quota);
                reply = user_allocate(scene->alice, 1, 1, NULL);
                reply_assert(reply, "QuotaExceeded");
                assert_says(reply.message, rounded("4 KiB were asked for", "2 MiB were asked for"));
        }

        reload(scene, enough);
        reply_assert(user_allocate(scene->alice, 1, 1, NULL), "");
        reply_assert(user_allocate(scene->alice, 1, 1, NULL), "QuotaExceeded");
        scene_clear(scene);

        /* none is the same as one beyond everything */
        reload(scene, "[Quota]\nMaxBytes=infinity\n");
        reply_assert(user_allocate(scene->alice, 256 * MIB, 1, NULL), "");
        scene_clear(scene);
        reload(scene, "[Quota]\nMaxBytes=16383P\n");
        reply_assert(user_allocate(scene->alice, 256 * MIB, 1, NULL), "");
}

/* Of any memory: what there is the least of. */
static void test_units(Scene *scene, gconstpointer unused) {
        g_autofree char *quota = g_strdup_printf("[Quota]\nMaxBytes=%" G_GUINT64_FORMAT "\n", 4 * UNIT - 1);
        Reply replies[3];

        (void) unused;
        reload(scene, quota);
        for (unsigned round = 0; round < 2; round++) {
                for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
                        replies[i] = user_get(scene->alice, UNIT, NULL);
                reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), "QuotaExceeded");
                broker_kill(scene->broker);
                broker_start(scene->broker);
                reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), "QuotaExceeded");
                user_drop(scene->alice, replies[0].slot);
                g_assert_true(allocation_wait_gone(scene->root, replies[0].object));
                (void) user_get(scene->alice, UNIT, NULL);
                reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), "QuotaExceeded");
                scene_clear(scene);
        }
}

static void test_count(Scene *scene, gconstpointer unused) {
        (void) unused;
        for (unsigned limit = 0; limit < 4; limit++) {
                g_autofree char *quota = g_strdup_printf("[Quota]\nMaxAllocations=%u\n", limit);

                reload(scene, quota);
                assert_count(scene, scene->alice, limit);
        }
        reload(scene, "[Quota]\nMaxAllocations=infinity\n");
        for (unsigned i = 0; i < 15; i++)
                reply_assert(user_allocate(scene->alice, 1, 1, NULL), "");
}

/* ---- For whom -------------------------------------------------------------------------------------------------- */

static void test_scopes(Scene *scene, gconstpointer unused) {
        uid_t alice = world_get_uid("alice");
        const struct {
                char *section;
                const char *says;
        } scopes[] = {
                { g_strdup("Quota"), "([Quota] MaxBytes)" },
                { g_strdup("Quota user:alice"), "([Quota user:alice] MaxBytes)" },
                { g_strdup_printf("Quota uid:%u", alice), "MaxBytes)" },
                { g_strdup("Quota group:dax"), "([Quota group:dax] MaxBytes)" },
                { g_strdup_printf("Quota gid:%u", alice), "MaxBytes)" },
        };

        (void) unused;
        skip_on_nvdimm(LARGER);
        for (size_t i = 0; i < G_N_ELEMENTS(scopes); i++) {
                g_autofree char *bytes = g_strdup_printf("[%s]\nMaxBytes=4M\n", scopes[i].section);
                g_autofree char *count = g_strdup_printf("[%s]\nMaxAllocations=2\n", scopes[i].section);
                Reply reply;

                reload(scene, bytes);
                reply = user_allocate(scene->alice, 6 * MIB, 1, NULL);
                reply_assert(reply, "QuotaExceeded");
                assert_says(reply.message, scopes[i].says);
                assert_bytes(scene, scene->alice, 4 * MIB);
                /* nobody else is meant */
                reply_assert(user_allocate(scene->root, 6 * MIB, 1, NULL), i == 0 ? "QuotaExceeded" : "");
                scene_clear(scene);

                reload(scene, count);
                assert_count(scene, scene->alice, 2);
                g_free(scopes[i].section);
        }
}

static void test_root(Scene *scene, gconstpointer unused) {
        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=8M\nMaxAllocations=3\n");
        assert_bytes(scene, scene->root, 8 * MIB);
        assert_count(scene, scene->root, 3);
        reload(scene, "[Quota user:root]\nMaxBytes=0\n");
        reply_assert(user_allocate(scene->root, 1, 1, NULL), "QuotaExceeded");
        reply_assert(user_allocate(scene->alice, 1, 1, NULL), "");
        scene_clear(scene);
        reload(scene, "[Quota uid:0]\nMaxAllocations=1\n");
        assert_count(scene, scene->root, 1);
}

/* Nearest to the user first: user, group, everybody; of two groups the more generous. */
static void test_precedence(Scene *scene, gconstpointer unused) {
        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=2M\n[Quota group:dax]\nMaxBytes=4M\n");
        assert_bytes(scene, scene->alice, 4 * MIB);
        reload(scene, "[Quota]\nMaxBytes=32M\n[Quota group:dax]\nMaxBytes=4M\n");
        assert_bytes(scene, scene->alice, 4 * MIB);
        reload(scene, "[Quota group:dax]\nMaxBytes=4M\n[Quota group:alice]\nMaxBytes=8M\n");
        assert_bytes(scene, scene->alice, 8 * MIB);
        reload(scene, "[Quota group:alice]\nMaxBytes=8M\n[Quota group:dax]\nMaxBytes=4M\n");
        assert_bytes(scene, scene->alice, 8 * MIB);
        reload(scene,
               "[Quota user:alice]\nMaxBytes=2M\n[Quota group:dax]\nMaxBytes=4M\n[Quota]\nMaxBytes=32M\n");
        assert_bytes(scene, scene->alice, 2 * MIB);
        reload(scene, "[Quota group:dax]\nMaxBytes=4M\n[Quota user:alice]\nMaxBytes=32M\n");
        assert_bytes(scene, scene->alice, 32 * MIB);
        reload(scene, "[Quota]\nMaxBytes=2M\n[Quota user:alice]\nMaxBytes=infinity\n");
        reply_assert(user_allocate(scene->alice, 256 * MIB, 1, NULL), "");
}

/* Each of the two limits is found by itself. */
static void test_both_limits(Scene *scene, gconstpointer unused) {
        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=8M\n[Quota user:alice]\nMaxAllocations=3\n");
        assert_bytes(scene, scene->alice, 8 * MIB);
        assert_count(scene, scene->alice, 3);
        reload(scene, "[Quota group:dax]\nMaxBytes=12M\nMaxAllocations=3\n"
                      "[Quota group:alice]\nMaxBytes=2M\nMaxAllocations=5\n");
        assert_bytes(scene, scene->alice, 12 * MIB);
        assert_count(scene, scene->alice, 5);
}

/* ---- What is counted ------------------------------------------------------------------------------------------- */

static void test_end(Scene *scene, gconstpointer unused) {
        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=4M\nMaxAllocations=1\n");
        for (unsigned round = 0; round < 12; round++) {
                User *guest = user_new("alice");
                Reply reply;

                /* and each must be able to have all of it */
                reply = user_allocate(guest, 4 * MIB, 1, NULL);
                reply_assert(reply, "");
                switch (round % 4) {
                case 0:
                        reply_assert(user_release(guest, reply.object), "");
                        break;
                case 1:
                        user_close_lease(guest, reply.slot);
                        break;
                case 2:
                        user_kill(guest);
                        break;
                case 3:
                        break;
                }
                user_free(guest);
        }
}

static void test_refusal_costs_nothing(Scene *scene, gconstpointer unused) {
        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=4M\nMaxAllocations=1\n");
        for (unsigned i = 0; i < 5; i++) {
                reply_assert(user_allocate(scene->alice, 6 * MIB, 1, NULL), "QuotaExceeded");
                reply_assert(user_allocate(scene->alice, MIB, 3, NULL), "BadAlignment");
                reply_assert(user_allocate(scene->bob, MIB, 1, NULL), "NotAuthorized");
                reply_assert(user_check(scene->alice, 4 * MIB, 1, NULL), "");
        }
        reply_assert(user_allocate(scene->alice, 4 * MIB, 1, NULL), "");
}

/* Who opens what is another's does not pay for it; who has ended it for him does not either. */
static void test_owner_pays(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=0\n[Quota user:alice]\nMaxBytes=4M\n");
        reply = user_get(scene->alice, 4 * MIB, "name=paid mode=0606");
        reply_assert(user_open(scene->bob, "paid", NULL), "");
        user_drop_all(scene->alice);
        reply_assert(user_allocate(scene->alice, 1, 1, NULL), "QuotaExceeded");
        reply_assert(user_release(scene->root, reply.object), "");
        user_let_go(scene->bob, -1);
        reply_assert(user_allocate(scene->alice, 4 * MIB, 1, NULL), "");
}

/* A second region is no second helping. */
static void test_regions(Scene *scene, gconstpointer unused) {
        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Region other]\nProvider=memfd\nSize=64M\n[Quota]\nMaxBytes=8M\n");
        reply_assert(user_allocate(scene->alice, 6 * MIB, 1, "region=other"), "");
        reply_assert(user_allocate(scene->alice, 4 * MIB, 1, NULL), "QuotaExceeded");
        reply_assert(user_allocate(scene->alice, 2 * MIB, 1, NULL), "");
}

static void assert_held(Scene *scene) {
        Reply reply = user_allocate(scene->alice, 2 * MIB + 1, 1, NULL);

        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "holds 6 MiB, 2 MiB are left");
        footprint_assert_sums(scene->root);
}

static void test_restart(Scene *scene, gconstpointer unused) {
        Reply unnamed;

        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=8M\nMaxAllocations=3\n");
        (void) user_get(scene->alice, 4 * MIB, "name=stays");
        unnamed = user_get(scene->alice, 2 * MIB, NULL);
        assert_held(scene);
        broker_kill(scene->broker);
        broker_start(scene->broker);
        assert_held(scene);
        broker_restart(scene->broker);
        assert_held(scene);

        /* the same count, too */
        (void) user_get(scene->alice, 1, NULL);
        reply_assert(user_allocate(scene->alice, 1, 1, NULL), "QuotaExceeded");
        user_drop(scene->alice, unnamed.slot);
        reply_assert(user_allocate(scene->alice, 2 * MIB, 1, NULL), "");
}

/* Without anybody to keep descriptors, holders keep their memory, and it still counts. */
static void test_restart_alone(Scene *scene, gconstpointer unused) {
        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=8M\n");
        broker_stop(scene->broker);
        scene->broker->has_manager = false;
        broker_start(scene->broker);
        (void) user_get(scene->alice, 4 * MIB, NULL);
        (void) user_get(scene->alice, 2 * MIB, NULL);
        broker_restart(scene->broker);
        assert_held(scene);
        user_drop_all(scene->alice);
        reply_assert(user_allocate(scene->alice, 8 * MIB, 1, NULL), "");

        /* for the comparison at the end, as it was in the beginning */
        user_drop_all(scene->alice);
        g_assert_cmpuint(region_wait("dram", "Available", 256 * MIB), ==, 256 * MIB);
        broker_stop(scene->broker);
        scene->broker->has_manager = true;
        broker_start(scene->broker);
}

/* A limit below what is held takes nothing away. */
static void test_lowered(Scene *scene, gconstpointer unused) {
        Reply reply, refused;

        (void) unused;
        skip_on_nvdimm(LARGER);
        reply = user_get(scene->alice, 8 * MIB, "name=more");
        reload(scene, "[Quota]\nMaxBytes=4M\n");
        refused = user_allocate(scene->alice, 1, 1, NULL);
        reply_assert(refused, "QuotaExceeded");
        assert_says(refused.message, "may hold 4 MiB ([Quota] MaxBytes), holds 8 MiB, 0 bytes are left");
        reply_assert(user_open(scene->alice, "more", NULL), "");
        broker_restart(scene->broker);
        reply_assert(user_open(scene->alice, "more", NULL), "");
        g_assert_cmpuint(region_get("dram", "Available"), ==, 248 * MIB);
        reply_assert(user_release(scene->alice, reply.object), "");
        user_let_go(scene->alice, -1);
        assert_bytes(scene, scene->alice, 4 * MIB);
}

/* Many at once cannot have more between them than one after the other. */
static void test_race(Scene *scene, gconstpointer unused) {
        User *guests[16];
        unsigned n = 0;

        (void) unused;
        skip_on_nvdimm(LARGER);
        reload(scene, "[Quota]\nMaxBytes=10M\n");
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                guests[i] = user_new("alice");
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                user_begin_allocate(guests[i], UNIT, 1, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
                Reply reply = user_end_reply(guests[i]);

                if (reply.error[0] == '\0')
                        n++;
                else
                        reply_assert(reply, "QuotaExceeded");
        }
        g_assert_cmpuint(n, ==, 5);
        footprint_assert_sums(scene->root);
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                user_free(guests[i]);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/quota/bytes", REGION, test_bytes);
        scene_add("/quota/small-bytes", REGION, test_small_bytes);
        scene_add("/quota/units", REGION, test_units);
        scene_add("/quota/count", REGION, test_count);
        scene_add("/quota/scopes", REGION, test_scopes);
        scene_add("/quota/root", REGION, test_root);
        scene_add("/quota/precedence", REGION, test_precedence);
        scene_add("/quota/both-limits", REGION, test_both_limits);
        scene_add("/quota/end", REGION, test_end);
        scene_add("/quota/refusal-costs-nothing", REGION, test_refusal_costs_nothing);
        scene_add("/quota/owner-pays", REGION, test_owner_pays);
        scene_add("/quota/regions", REGION, test_regions);
        scene_add("/quota/restart", REGION, test_restart);
        scene_add("/quota/restart-alone", REGION, test_restart_alone);
        scene_add("/quota/lowered", REGION, test_lowered);
        scene_add("/quota/race", REGION, test_race);
        return g_test_run();
}
