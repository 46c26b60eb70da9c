/* SPDX-License-Identifier: MIT */

#include "scene.h"

#include <string.h>
#include <sys/resource.h>

#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "world.h"

void scene_set_up(Scene *scene, gconstpointer configuration) {
        uint64_t available;

        scene->broker = broker_new(configuration);
        scene->alice = user_new("alice");
        scene->bob = user_new("bob");
        scene->carol = user_new("carol");
        scene->root = user_new("root");
        broker_start(scene->broker);

        /* what it keeps once it has worked is not left over */
        available = region_get("dram", "Available");
        (void) user_get(scene->alice, 1, NULL);
        user_drop_all(scene->alice);
        g_assert_cmpuint(region_wait("dram", "Available", available), ==, available);
        scene->before = footprint_take(scene->broker);
}

void scene_clear(Scene *scene) {
        g_autofree char *list = NULL;
        g_auto(GStrv) lines = NULL;

        user_drop_all(scene->alice);
        user_drop_all(scene->bob);
        user_drop_all(scene->carol);
        user_drop_all(scene->root);

        list = user_list(scene->root);
        lines = g_strsplit(list, "\n", -1);
        for (char **line = lines; *line; line++)
                if (**line != '\0') {
                        /* those that end by themselves may be gone by now */
                        Reply reply = user_release(scene->root, strchr(*line, ' ') + 1);

                        if (**line != ' ')
                                reply_assert(reply, "");
                }
        footprint_assert_back(scene->broker, &scene->before);
}

void scene_tear_down(Scene *scene, gconstpointer configuration) {
        (void) configuration;
        if (scene->has_rules)
                polkit_set_rules(NULL);
        scene_clear(scene);
        user_free(scene->alice);
        user_free(scene->bob);
        user_free(scene->carol);
        user_free(scene->root);
        broker_free(scene->broker);
}

void scene_assert_gone(Scene *scene, const Reply *reply) {
        g_autofree char *list = NULL;

        if (provider_is_device())
                (void) allocation_wait_gone(scene->root, reply->object);
        list = user_list(scene->root);
        g_assert_null(strstr(list, reply->object));
}

static bool is_draining(Scene *scene, const Reply *reply) {
        g_autofree char *state = allocation_get_string(scene->root, reply->object, "State");

        return g_str_equal(state, "draining");
}

void scene_revoke(Scene *scene, const Reply *reply) {
        g_assert_true(wait_until(20, is_draining(scene, reply)));
        reply_assert(user_revoke(scene->root, reply->object, NULL), "");
        scene_assert_gone(scene, reply);
}

void scene_set_rules(Scene *scene, const char *javascript) {
        polkit_set_rules(javascript);
        scene->has_rules = true;
}

typedef struct Limit {
        pid_t pid;
        int resource;
        uint64_t value;
} Limit;

static int64_t do_limit(UserCall *call) {
        const Limit *wanted = call->data;
        struct rlimit limit;

        g_assert_cmpint(prlimit(wanted->pid, wanted->resource, NULL, &limit), ==, 0);
        limit.rlim_cur = MIN(wanted->value, limit.rlim_max);
        g_assert_cmpint(prlimit(wanted->pid, wanted->resource, &limit, NULL), ==, 0);
        return 0;
}

/* By its own user: root may lack the capability. */
void scene_limit_broker(const Scene *scene, int resource, uint64_t value) {
        Limit limit = { .pid = scene->broker->pid, .resource = resource, .value = value };
        User *daxbroker = user_new("daxbroker");

        user_call(daxbroker, do_limit, &limit, sizeof(limit), NULL, 0);
        user_free(daxbroker);
}

void scene_restart(Scene *scene) {
        broker_kill(scene->broker);
        broker_start(scene->broker);
}

void scene_assert_owner(Scene *scene, const char *object, const char *name) {
        g_autofree char *owner_name = allocation_get_string(scene->root, object, "OwnerName");

        g_assert_cmpstr(owner_name, ==, name);
        if (name[0] != '\0')
                g_assert_cmpuint(allocation_get(scene->root, object, "Owner"), ==, world_get_uid(name));
}

void scene_assert_named(Scene *scene, const char *object, const char *name) {
        g_autofree char *found = allocation_get_string(scene->root, object, "Name");

        g_assert_cmpstr(found, ==, name);
}

void scene_assert_state(Scene *scene, const Reply *reply, const char *state) {
        g_autofree char *seen = allocation_get_string(scene->root, reply->object, "State");

        g_assert_cmpstr(seen, ==, state);
}

bool scene_is_listed(Scene *scene, const Reply *reply) {
        g_autofree char *list = user_list(scene->root);

        return strstr(list, reply->object);
}

User *scene_listener(const Scene *scene) {
        return world_is_direct() ? scene->root : scene->bob;
}

Reply user_get(User *user, uint64_t size, const char *options) {
        Reply reply = user_allocate(user, size, 1, options);

        reply_assert(reply, "");
        return reply;
}

Reply user_allocate_from(User *user, const Reply *grant, uint64_t size, const char *more) {
        g_autofree char *options = g_strdup_printf("grant=%s %s", grant->object, more ? more : "");

        return user_allocate(user, size, 1, options);
}

Reply user_take(User *user, uint64_t size, const char *options, uint8_t value) {
        Reply reply = user_get(user, size, options);

        g_assert_cmpint(user_map(user, reply.slot), ==, 0);
        g_assert_cmpint(user_fill(user, reply.slot, value), ==, 0);
        return reply;
}

void user_give_back(User *user, const Reply *reply) {
        reply_assert(user_release(user, reply->object), "");
        user_let_go(user, reply->slot);
}

void assert_says_at(const char *message, const char *text, const char *file, int line) {
        g_autofree char *meant = provider_text(text);

        if (!strstr(message, meant))
                g_error("%s:%d: \"%s\" does not say \"%s\"", file, line, message, meant);
}

static Reply take_filled(User *user, const char *options, uint8_t value) {
        Reply reply = user_get(user, UINT64_C(1) << 20, options);

        g_assert_cmpint(user_map(user, reply.slot), ==, 0);
        g_assert_cmpint(user_fill(user, reply.slot, value), ==, 0);
        return reply;
}

void assert_others_go_on(User *user) {
        gint64 begin = g_get_monotonic_time();

        for (unsigned i = 0; i < 5; i++) {
                Reply unnamed = take_filled(user, NULL, 1);
                Reply named = take_filled(user, "name=others prefault=1", 2);

                reply_assert(user_open(user, "others", NULL), "");
                reply_assert(user_set_mode(user, named.object, 0644), "");
                reply_assert(user_release(user, named.object), "");
                reply_assert(user_release(user, unnamed.object), "");
                user_let_go(user, unnamed.slot);
                g_assert_cmpint(user_peek(user, unnamed.slot, 0), ==, -EFAULT);
                user_drop_all(user);
        }
        g_assert_cmpint(g_get_monotonic_time() - begin, <, provider_patience(3));
}
